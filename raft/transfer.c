/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving leadership away (thesis 3.10), and what becomes of proposals that are on their way to a leader that goes. It appended none
 * of those, and knows each by its sender's count; so it can pass them on to the next leader, or append them if it stays, and each
 * still counts once. Else their clients would wait for their deadline each time a leader is stopped.
 */
#include "common/mem.h"
#include "common/planted.h"
#include "raft/internal.h"

enum status raft_transfer_leader(struct raft *r, raft_id to)
{
    int slot = raft_slot(r, to);

    if (r->role != RAFT_LEADER) {
        if (!r->leader)
            return ST_NO_LEADER;
        raft_emit(r, &r->out, RAFT_MSG_TRANSFER_LEADER, r->leader)->context = to;
        return ST_OK;
    }
    if (slot < 0)
        return ST_NOT_FOUND;
    if (!raft_conf_is_voter(&r->conf, to))
        return ST_BAD_ARGUMENT;
    if (to == r->options.id || to == r->transferee)
        return ST_OK;
    r->transferee = to;
    r->election_elapsed = 0; /* it has one election timeout */
    if (r->progress[slot].match == raft_log_last(&r->log))
        raft_emit(r, &r->out, RAFT_MSG_TIMEOUT_NOW, to);
    return ST_OK;
}

/*
 * A voter that could not campaign says so with every answer to a heartbeat, and when it is told to: its leader chooses another, or
 * goes on leading at once. (A learner is no heir anyway.)
 */
void raft_answer_heartbeat(struct raft *r, raft_id to, uint64_t context)
{
    struct raft_message *answer = raft_emit(r, &r->out, RAFT_MSG_HEARTBEAT_RESPONSE, to);

    answer->context = context;
    answer->reject = raft_conf_is_voter(&r->conf, r->options.id) && !raft_may_campaign(r);
}

void raft_on_timeout_now(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_FOLLOWER || m->from != r->leader)
        return;
    if (raft_may_campaign(r))
        raft_start_election(r, false, true);
    else
        raft_answer_heartbeat(r, m->from, 0);
}

/* What it said before it had our whole log was no answer to what we told it then. */
void raft_note_fitness(struct raft *r, struct progress *p, const struct raft_message *m)
{
    p->unfit = m->reject;
    if (!m->reject || m->from != r->transferee || p->match != raft_log_last(&r->log))
        return;
    raft_trace(r, "%llx cannot hand over to %llx, and leads on", (unsigned long long)r->options.id, (unsigned long long)m->from);
    r->transferee = 0;
}

enum status raft_keep_proposals(struct raft *r, struct raft_entry *const *entries, size_t count)
{
    size_t bytes = r->kept_bytes;

    for (size_t i = 0; i < count; i++)
        bytes += raft_entry_bytes(entries[i]);
    if (bytes > r->options.uncommitted_bytes_max && !PLANTED(kept_unbounded))
        return ST_TOO_MANY_REQUESTS;
    r->kept = mem_grow(r->kept, &r->kept_cap, r->kept_count + count, sizeof *r->kept);
    for (size_t i = 0; i < count; i++)
        r->kept[r->kept_count++] = raft_entry_ref(entries[i]);
    r->kept_bytes = bytes;
    return ST_OK;
}

void raft_place_kept_proposals(struct raft *r)
{
    bool leads = r->role == RAFT_LEADER && !r->transferee, knows = r->role != RAFT_LEADER && r->leader;

    if (!r->kept_count || (!leads && !knows))
        return;
    for (size_t i = 0; i < r->kept_count; i++) {
        /* One that is refused is a lost one, as always. */
        if (raft_propose(r, &r->kept[i], 1) != ST_OK)
            raft_trace(r, "%llx drops a proposal that it kept", (unsigned long long)r->options.id);
        raft_entry_unref(r->kept[i]);
    }
    r->kept_count = r->kept_bytes = 0;
}
