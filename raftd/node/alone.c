/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --force-new-cluster: what is left of a cluster that lost its quorum for good goes on as one member. As etcd does it: what is not
 * known to be committed is dropped, and behind the rest stand entries, committed by decree, that remove everybody else.
 */
#include "raftd/node/internal.h"

#include <stdlib.h>

#include "common/mem.h"
#include "common/planted.h"
#include "raftd/node/membership.h"

/* What stands behind what is known to be committed. */
struct decree {
    struct raft_options *o;
    struct raft_entry **entries;
    size_t count, cap;
    raft_term term;
    struct members members; /* as of the last entry */
};

static void append(struct decree *d, struct raft_entry *e)
{
    d->entries = mem_grow(d->entries, &d->cap, d->count + 1, sizeof(*d->entries));
    e->term = d->term;
    e->index = d->o->snapshot_index + d->count + 1;
    d->entries[d->count++] = e;
}

static enum status change(struct decree *d, enum member_change_kind kind, uint64_t id)
{
    struct membership_entry m = {.change = {.kind = kind, .id = id}};

    append(d, membership_encode(&m));
    return membership_follow(&d->members, d->entries[d->count - 1]);
}

static enum status remove_others(struct decree *d)
{
    enum status st = ST_OK;
    unsigned at = 0;

    if (members_is_learner(&d->members, d->o->id))
        st = change(d, MEMBER_PROMOTE, d->o->id);
    while (st == ST_OK && at < d->members.count)
        if (d->members.list[at].id == d->o->id)
            at++;
        else
            st = change(d, MEMBER_REMOVE, d->members.list[at].id);
    return st;
}

static void leave_joint(struct decree *d)
{
    struct raft_conf_change leave = {0};

    if (!raft_conf_is_joint(&d->members.conf))
        return;
    append(d, raft_conf_change_encode(&leave));
    if (membership_follow(&d->members, d->entries[d->count - 1]) != ST_OK)
        INVARIANT(false); /* to leave is always possible */
}

static enum status decree_all(struct decree *d, size_t kept, struct error *ret_error)
{
    enum status st;

    for (size_t i = 0; i < kept; i++)
        if (d->entries[i]->index > d->o->applied && d->entries[i]->type == RAFT_ENTRY_CONF &&
            membership_follow(&d->members, d->entries[i]) != ST_OK)
            continue; /* refused when it is applied, too */
    if (!members_look_up(&d->members, d->o->id))
        return error_set(ret_error, ST_BAD_ARGUMENT, "--force-new-cluster: this member was removed from the cluster");
    leave_joint(d);
    st = remove_others(d);
    if (st != ST_OK)
        return error_set(ret_error, st, "--force-new-cluster: the other members cannot be removed: %s", status_text(st));
    if (d->count == kept)
        append(d, raft_entry_new(RAFT_ENTRY_NORMAL, 0)); /* on disk it takes the place of what was dropped */
    return ST_OK;
}

enum status alone_decree(struct node *n, struct raft_options *o, struct raft_entry ***entries, size_t *count, size_t *ret_from,
                         struct error *ret_error)
{
    size_t committed = (size_t)(o->hard.commit - o->snapshot_index);
    size_t kept = committed < *count && !PLANTED(alone_keeps_tail) ? committed : *count;
    struct decree d = {.o = o, .entries = *entries, .count = *count, .cap = *count, .term = o->hard.term};
    enum status st;

    INVARIANT(o->hard.commit >= o->snapshot_index);
    while (d.count > kept)
        raft_entry_unref(d.entries[--d.count]);
    kept = d.count;
    if (kept && d.entries[kept - 1]->term > d.term)
        d.term = d.entries[kept - 1]->term;
    if (o->snapshot_term > d.term || !d.term)
        d.term = o->snapshot_term ? o->snapshot_term : 1;
    members_copy(&d.members, &n->members);
    st = decree_all(&d, kept, ret_error);
    members_fini(&d.members);
    if (d.term != o->hard.term)
        o->hard.vote = 0;
    o->hard.term = d.term;
    o->hard.commit = o->snapshot_index + d.count;
    *entries = d.entries;
    *count = d.count;
    *ret_from = kept;
    return st;
}
