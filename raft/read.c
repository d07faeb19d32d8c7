/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReadIndex, thesis 6.4. A read that arrived gets the commit index of that moment, and is safe once a quorum has
 * confirmed, by answering a heartbeat sent later, that no newer leader had been elected. Every round has a number of
 * its own that is never used again: an answer confirms its round and those before, never a later one.
 */
#include <string.h>

#include "common/mem.h"
#include "common/planted.h"
#include "raft/internal.h"

void raft_queue_read(struct raft *r, raft_id from, uint64_t context)
{
    r->reads = mem_grow(r->reads, &r->read_cap, r->read_count + 1, sizeof *r->reads);
    r->reads[r->read_count++] = (struct pending_read){.from = from, .context = context};
}

void raft_drop_reads(struct raft *r)
{
    r->read_count = 0;
}

void raft_add_read_state(struct raft *r, uint64_t context, raft_index index)
{
    r->read_states = mem_grow(r->read_states, &r->read_state_cap, r->read_state_count + 1, sizeof *r->read_states);
    r->read_states[r->read_state_count++] = (struct raft_read_state){context, index};
}

/*
 * All reads that came since the last round share the next. A leader that has not committed in its term does not know
 * the commit index yet (Raft 8): they wait.
 */
void raft_begin_read_round(struct raft *r)
{
    size_t i;

    if (r->reads_recount && r->read_count && r->role == RAFT_LEADER)
        raft_confirm_reads(r);
    r->reads_recount = false;
    i = r->read_count;
    if (r->role != RAFT_LEADER || !r->read_count || r->reads[r->read_count - 1].round)
        return;
    if (raft_log_term(&r->log, r->log.commit) != r->term && !PLANTED(read_before_own_commit))
        return;
    if (!PLANTED(read_round_reused) || !r->read_round)
        r->read_round++;
    while (i > 0 && !r->reads[i - 1].round) {
        r->reads[i - 1].round = r->read_round;
        r->reads[i - 1].index = r->log.commit;
        i--;
    }
    raft_confirm_reads(r); /* alone, we are a quorum */
    if (r->read_count)
        raft_send_heartbeats(r, r->read_round);
}

void raft_confirm_reads(struct raft *r)
{
    uint64_t rounds[RAFT_MEMBERS_MAX] = {0}, confirmed;
    size_t done = 0;

    for (unsigned i = 0; i < r->members.count; i++)
        rounds[i] = r->members.ids[i] == r->options.id || (PLANTED(read_by_lease) && r->progress[i].active) ?
                        r->read_round :
                        r->progress[i].read_round;
    confirmed = raft_conf_reached(&r->conf, &r->members, rounds);
    if (PLANTED(read_without_quorum))
        confirmed = r->read_round;
    for (; done < r->read_count && r->reads[done].round && r->reads[done].round <= confirmed; done++) {
        const struct pending_read *read = &r->reads[done];
        if (read->from == r->options.id) {
            raft_add_read_state(r, read->context, read->index);
        } else {
            struct raft_message *m = raft_emit(r, &r->out, RAFT_MSG_READ_INDEX_RESPONSE, read->from);
            m->context = read->context;
            m->index = read->index;
        }
    }
    r->read_count -= done;
    memmove(r->reads, r->reads + done, r->read_count * sizeof *r->reads);
}
