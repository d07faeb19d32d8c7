/* SPDX-License-Identifier: Apache-2.0 */
/* Putting together what the owner has to do next. Arrays point into the core: nothing is copied. */
#include <string.h>

#include "raft/internal.h"

/* Proposals for the leader, in one message; without one they are dropped, and their client's deadline answers. */
static void fill_forward(struct raft *r)
{
    struct raft_message *m;

    if (!r->forward_count || !r->leader || r->role == RAFT_LEADER)
        return;
    m = raft_emit(r, &r->out, RAFT_MSG_PROPOSE, r->leader);
    m->term = 0;
    m->entries = r->forward;
    m->entry_count = r->forward_count;
}

static void fill_storage(struct raft *r, struct raft_ready *rd)
{
    struct raft_log *l = &r->log;
    struct raft_hard_state hard = {r->term, r->vote, l->commit};

    rd->entry_count = (size_t)(raft_log_last(l) - l->given);
    rd->entries = rd->entry_count ? raft_log_slot(l, l->given + 1) : NULL;
    rd->hard = hard;
    rd->hard_changed = memcmp(&hard, &r->emitted, sizeof hard) != 0;
    rd->must_sync = rd->entry_count || hard.term != r->emitted.term || hard.vote != r->emitted.vote;
}

static void fill_committed(struct raft *r, struct raft_ready *rd)
{
    struct raft_log *l = &r->log;
    raft_index upto = l->commit < l->stored ? l->commit : l->stored;

    if (upto <= l->handed)
        return;
    rd->committed = raft_log_slot(l, l->handed + 1);
    rd->committed_count = (size_t)(upto - l->handed);
}

bool raft_ready(struct raft *r, struct raft_ready *ret_ready)
{
    struct raft_ready rd = {0};

    INVARIANT(!r->in_ready);
    raft_begin_read_round(r);
    raft_fill_appends(r);
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
    *ret_ready = rd;
    r->emitted = rd.hard;
    r->log.given = raft_log_last(&r->log);
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
