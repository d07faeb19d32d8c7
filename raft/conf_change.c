/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the configuration: their bytes, when one may be proposed, and what applying one does. */
#include "raft/conf_change.h"

#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "common/planted.h"
#include "raft/internal.h"

/*
 * An entry's data:
 *     0  1       format, 1
 *     1  1       transition
 *     2  1       count of changes
 *     3  1       0
 *     4  9 each  type (1), member id (8, little-endian)
 *        rest    context
 */
#define CHANGE_FORMAT 1u
#define CHANGE_HEADER_BYTES 4u
#define CHANGE_BYTES 9u

struct raft_entry *raft_conf_change_encode(const struct raft_conf_change *change)
{
    size_t len = CHANGE_HEADER_BYTES + change->count * CHANGE_BYTES + change->context.len;
    struct raft_entry *e;
    uint8_t *p;

    INVARIANT(change->count <= RAFT_CHANGES_MAX && change->context.len <= RAFT_CHANGE_CONTEXT_MAX);
    e = raft_entry_new(RAFT_ENTRY_CONF, (uint32_t)len);
    p = put_u8(put_u8(e->data, CHANGE_FORMAT), (uint8_t)change->transition);
    p = put_u8(put_u8(p, (uint8_t)change->count), 0);
    for (unsigned i = 0; i < change->count; i++)
        p = put_le64(put_u8(p, (uint8_t)change->changes[i].type), change->changes[i].id);
    put_bytes(p, change->context.data, change->context.len);
    return e;
}

enum status raft_conf_change_decode(const struct raft_entry *e, struct raft_conf_change *ret_change)
{
    struct reader r = reader_of(slice_of(e->data, e->len));
    struct raft_conf_change c = {0};
    unsigned format, transition, zero;

    if (e->type != RAFT_ENTRY_CONF)
        return ST_CORRUPT;
    format = read_u8(&r);
    transition = read_u8(&r);
    c.count = read_u8(&r);
    zero = read_u8(&r);
    if (r.bad || format != CHANGE_FORMAT || zero || transition > RAFT_TRANSITION_JOINT_EXPLICIT ||
        c.count > RAFT_CHANGES_MAX)
        return ST_CORRUPT;
    c.transition = (enum raft_transition)transition;
    for (unsigned i = 0; i < c.count; i++) {
        unsigned type = read_u8(&r);
        c.changes[i] = (struct raft_change){(enum raft_change_type)type, read_le64(&r)};
        if (type > RAFT_CHANGE_ADD_LEARNER || !c.changes[i].id)
            return ST_CORRUPT;
    }
    if (r.bad || reader_left(&r) > RAFT_CHANGE_CONTEXT_MAX)
        return ST_CORRUPT;
    c.context = read_slice(&r, reader_left(&r));
    *ret_change = c;
    return ST_OK;
}

/* ---- proposing ---- */

bool raft_may_change_conf(const struct raft *r)
{
    /* Else two leaders could decide by majorities of configurations that do not overlap (raft-dev, July 2015). */
    return (r->pending_conf <= r->log.applied || PLANTED(conf_while_pending)) &&
           (raft_log_term(&r->log, r->log.commit) == r->term || PLANTED(conf_before_own_commit));
}

enum status raft_judge_conf_entry(const struct raft *r, const struct raft_entry *e)
{
    struct raft_conf_change change;
    struct raft_conf conf;
    enum status st;

    if (raft_conf_change_decode(e, &change) != ST_OK)
        return ST_BAD_ARGUMENT;
    if (!raft_may_change_conf(r))
        return ST_CONF_PENDING;
    st = r->options.judge_conf_fn ? r->options.judge_conf_fn(r->options.judge_conf_arg, e) : ST_OK;
    return st == ST_OK ? raft_conf_changed(&r->conf, &change, &conf) : st;
}

void raft_maybe_leave_joint(struct raft *r)
{
    struct raft_entry *e;

    if (r->role != RAFT_LEADER || !r->conf.auto_leave || !raft_may_change_conf(r))
        return;
    e = raft_conf_change_encode(&(struct raft_conf_change){0});
    /* The leader may be among those who leave; if it cannot append, it is no member and no leader for long. */
    if (raft_append_proposals(r, &e, 1) == ST_OK)
        raft_trace(r, "%llx leaves the joint configuration", (unsigned long long)r->options.id);
    raft_entry_unref(e);
}

bool raft_may_campaign(const struct raft *r)
{
    if (r->fitness != RAFT_FIT || raft_is_recovering(r) || r->term == RAFT_NUMBER_MAX)
        return false;
    if (!raft_conf_is_voter(&r->conf, r->options.id) && !(PLANTED(learner_campaigns) && raft_slot(r, r->options.id) >= 0))
        return false;
    if (PLANTED(campaign_with_old_conf))
        return true;
    /* Who knows of a committed change counts by the changed configuration, or not at all. */
    for (raft_index i = r->log.applied + 1; i <= r->log.commit; i++)
        if ((*raft_log_slot(&r->log, i))->type == RAFT_ENTRY_CONF)
            return false;
    return true;
}

/* ---- applying ---- */

/* Everybody's progress and vote go along to the new places; whoever is new begins at the end of the log. */
static void move_members(struct raft *r, const struct raft_members *to)
{
    struct progress moved[RAFT_MEMBERS_MAX];
    enum vote votes[RAFT_MEMBERS_MAX] = {VOTE_OPEN};
    raft_index next = raft_log_last(&r->log) ? raft_log_last(&r->log) : 1;
    bool taken[RAFT_MEMBERS_MAX] = {false};
    unsigned unused = 0;

    for (unsigned i = 0; i < to->count; i++) {
        int old = raft_members_slot(&r->members, to->ids[i]);
        if (old < 0)
            continue;
        moved[i] = r->progress[old];
        votes[i] = r->votes[old];
        taken[old] = true;
    }
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (i < to->count && raft_members_slot(&r->members, to->ids[i]) >= 0)
            continue;
        while (taken[unused])
            unused++;
        moved[i] = r->progress[unused++]; /* for its ring */
        raft_progress_reset(&moved[i], next);
        moved[i].active = true; /* gets one election timeout to be heard from */
    }
    memcpy(r->progress, moved, sizeof moved);
    memcpy(r->votes, votes, sizeof votes);
    r->members = *to;
}

static void trace_ids(char *line, size_t size, const char *name, const raft_id *ids, unsigned count)
{
    size_t len = strlen(line);

    for (unsigned i = 0; i < count && len < size; i++)
        len += (size_t)snprintf(line + len, size - len, "%s%llx", i ? " " : name, (unsigned long long)ids[i]);
    if (count && len < size)
        snprintf(line + len, size - len, ")");
}

void raft_trace_conf(struct raft *r)
{
    const struct raft_conf *c = &r->conf;
    char line[160] = "";

    if (!r->trace_fn)
        return;
    trace_ids(line, sizeof line, "voters=(", c->voters, c->voter_count);
    trace_ids(line, sizeof line, "&&(", c->outgoing, c->outgoing_count);
    trace_ids(line, sizeof line, " learners=(", c->learners, c->learner_count);
    trace_ids(line, sizeof line, " learners_next=(", c->learners_next, c->learner_next_count);
    raft_trace(r, "%llx switched to configuration %s%s", (unsigned long long)r->options.id,
               line[0] ? line : "voters=()", c->auto_leave ? " autoleave" : "");
}

void raft_switch_conf(struct raft *r, const struct raft_conf *conf)
{
    struct raft_members members;
    bool voter = raft_conf_is_voter(conf, r->options.id);

    raft_conf_members(conf, &members);
    move_members(r, &members);
    r->conf = *conf;
    raft_trace_conf(r);
    if (!raft_conf_is_voter(conf, r->transferee))
        r->transferee = 0;
    if (!voter && (r->role != RAFT_LEADER || r->options.step_down_on_removal)) {
        if (r->role != RAFT_FOLLOWER)
            raft_become_follower(r, r->term, 0);
        return;
    }
    /* Fewer may be needed now than answered already. Reads wait for the next batch: this may be within one. */
    raft_maybe_commit(r);
    r->reads_recount = true;
}

enum status raft_apply_conf_change(struct raft *r, const struct raft_conf_change *change, struct raft_conf *ret_conf)
{
    struct raft_conf conf;
    enum status st = raft_conf_changed(&r->conf, change, &conf);

    if (st != ST_OK)
        return st;
    raft_switch_conf(r, &conf);
    *ret_conf = conf;
    return ST_OK;
}
