/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of the store that cannot be read: when to begin anew, which gets it back from the others. Who does so votes for nobody until a
 * leader has sent what it lacks, and that leader is elected after (raft/election.c). So those that are there have to suffice without us:
 * else one record would cost the whole cluster, and it waits.
 */
#include "raftd/node/internal.h"
#include "raftd/node/membership.h"

static bool is_other_and_connected(const void *arg, uint64_t id)
{
    const struct node *n = arg;

    return id != n->options.member_id && n->options.connected_fn && n->options.connected_fn(n->options.arg, id) != INT64_MAX;
}

static void follow(struct members *members, const struct raft_entry *e)
{
    if (e->type == RAFT_ENTRY_CONF && membership_follow(members, e) != ST_OK)
        return; /* refused, as it will be when it is applied */
}

/*
 * By the members that there are now. What is applied may be long behind that, for it can be the record that applying waits for (apply.c): so
 * by what the log says that is committed, and by all that may be since.
 */
static bool others_suffice(const struct node *n)
{
    struct members members = {0};
    struct raft_status st;
    bool suffice = true;

    raft_get_status(n->raft, &st);
    members_copy(&members, &n->members);
    for (raft_index i = st.applied; suffice && i <= st.last; i++) {
        if (i > st.applied)
            follow(&members, raft_entry_at(n->raft, i));
        if (i >= st.hard.commit)
            suffice = members_is_quorum(&members.conf, is_other_and_connected, n);
    }
    members_fini(&members);
    return suffice;
}

/* The disk may do what it did not do a tick ago. */
static void apply_again(struct node *n)
{
    raft_put_off_applying(n->raft, false);
    n->options.work_fn(n->options.arg);
}

void heal_on_tick(struct node *n)
{
    if (mvcc_is_damaged(n->options.store) && n->options.damaged_fn && n->last_status.leader && others_suffice(n))
        n->options.damaged_fn(n->options.arg);
    if (n->awaits_record)
        apply_again(n);
}
