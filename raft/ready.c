/* SPDX-License-Identifier: Apache-2.0 */
/* Putting together what the owner has to do next. Arrays point into the core: nothing is copied. */
#include <string.h>

#include "common/planted.h"
#include "raft/internal.h"

/*
 * Proposals for the leader, in messages that the transport takes, a change of the configuration in one of its own: it may
 * be refused. Without a leader they are dropped, and their client's deadline answers.
 */
static void fill_forward(struct raft *r)
{
    if (!r->leader || r->role == RAFT_LEADER)
        return;
    for (size_t from = 0, to = 0; from < r->forward_count; from = to) {
        struct raft_message *m = raft_emit(r, &r->out, RAFT_MSG_PROPOSE, r->leader);
        size_t bytes = 0;
        do
            bytes += raft_entry_bytes(r->forward[to++]);
        while (to < r->forward_count && bytes + raft_entry_bytes(r->forward[to]) <= r->options.message_bytes_max &&
               r->forward[to - 1]->type == RAFT_ENTRY_NORMAL && r->forward[to]->type == RAFT_ENTRY_NORMAL);
        m->context = ++r->forward_messages;
        m->hint_index = r->forward_life;
        m->entries = r->forward + from;
        m->entry_count = to - from;
    }
}

static void fill_storage(struct raft *r, struct raft_ready *rd)
{
    struct raft_log *l = &r->log;
    struct raft_hard_state hard = {r->term, PLANTED(vote_not_stored) ? 0 : r->vote, l->commit};

    rd->entry_count = (size_t)(raft_log_last(l) - l->given);
    rd->entries = rd->entry_count ? raft_log_slot(l, l->given + 1) : NULL;
    rd->hard = hard;
    rd->hard_changed = memcmp(&hard, &r->emitted, sizeof hard) != 0;
    rd->must_sync = rd->entry_count || hard.term != r->emitted.term || hard.vote != r->emitted.vote;
    if (PLANTED(vote_not_synced))
        rd->must_sync = rd->entry_count;
}

/* How far entries may be out: with what is out already they fit, or nothing is. */
static raft_index appliable(const struct raft *r, raft_index upto)
{
    const struct raft_log *l = &r->log;
    raft_index index = l->applied;
    size_t bytes = 0;

    while (index < upto) {
        bytes += raft_entry_bytes(*raft_log_slot(l, index + 1));
        if (bytes > r->options.applying_bytes_max && index > l->applied)
            break;
        index++;
    }
    return index;
}

static void fill_committed(struct raft *r, struct raft_ready *rd)
{
    struct raft_log *l = &r->log;
    raft_index upto = l->commit < l->stored || PLANTED(apply_unstored) ? l->commit : l->stored;

    if (r->options.applying_bytes_max)
        upto = appliable(r, upto);
    if (r->applying_is_put_off || upto <= l->handed)
        return;
    rd->committed = raft_log_slot(l, l->handed + 1);
    rd->committed_count = (size_t)(upto - l->handed);
}

bool raft_ready(struct raft *r, struct raft_ready *ret_ready)
{
    struct raft_ready rd = {0};

    INVARIANT(!r->in_ready);
    raft_place_kept_proposals(r);
    raft_maybe_leave_joint(r);
    raft_begin_read_round(r);
    raft_fill_appends(r);
    raft_fill_pull_response(r);
    fill_forward(r);
    fill_storage(r, &rd);
    fill_committed(r, &rd);
    rd.messages = r->out.items;
    rd.message_count = r->out.count;
    rd.messages_after_stored = r->after.items;
    rd.message_after_count = r->after.count;
    rd.reads = r->read_states;
    rd.read_count = r->read_state_count;
    if (!rd.hard_changed && !rd.entry_count && !rd.message_count && !rd.message_after_count && !rd.committed_count &&
        !rd.read_count)
        return false;
    r->in_ready = true;
    rd.batch = ++r->batch;
    *ret_ready = rd;
    r->emitted = rd.hard;
    raft_log_give(&r->log, rd.batch);
    r->log.handed += rd.committed_count;
    return true;
}

void raft_advance(struct raft *r)
{
    INVARIANT(r->in_ready);
    r->in_ready = false;
    r->out.count = r->after.count = 0;
    r->read_state_count = 0;
    for (size_t i = 0; i < r->forward_count; i++)
        raft_entry_unref(r->forward[i]);
    r->forward_count = 0;
}
