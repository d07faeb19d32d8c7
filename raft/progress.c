/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a leader knows of one member: probing (one append at a time, until the logs are known to agree somewhere),
 * replicating (a stream, bounded by a window), or waiting for a snapshot.
 */
#include "common/planted.h"
#include "raft/internal.h"

void raft_progress_reset(struct progress *p, raft_index next)
{
    struct inflight *ring = p->inflight;

    *p = (struct progress){.next = next, .state = RAFT_PROBE, .inflight = ring};
}

static void raft_progress_enter(struct progress *p, enum raft_progress_state state)
{
    p->state = state;
    p->paused = false;
    p->inflight_from = p->inflight_count = 0;
    p->inflight_bytes = 0;
    p->lacks = 0;
    p->next = p->match + 1;
}

void raft_progress_probe(struct progress *p)
{
    raft_progress_enter(p, RAFT_PROBE);
}

void raft_progress_replicate(struct progress *p)
{
    raft_progress_enter(p, RAFT_REPLICATE);
}

bool raft_progress_accept(struct progress *p, raft_index index)
{
    bool news = index > p->match;

    if (news) {
        p->match = index;
        p->paused = false;
    }
    if (p->next <= index)
        p->next = index + 1;
    return news;
}

bool raft_progress_reject(struct progress *p, raft_index rejected, raft_index agreement)
{
    raft_index next = rejected < agreement + 1 ? rejected : agreement + 1;

    if (p->state == RAFT_REPLICATE) {
        if (rejected <= p->match)
            return false;
        p->next = p->match + 1;
        return true;
    }
    /* Only the answer to the one probe that is out counts. */
    if (p->next - 1 != rejected)
        return false;
    p->next = next > p->match + 1 ? next : p->match + 1;
    p->lacks = rejected;
    p->paused = false;
    return true;
}

bool raft_progress_is_full(const struct progress *p, const struct raft_options *o)
{
    return p->inflight_count >= o->inflight_messages_max ||
           (p->inflight_count > 0 && p->inflight_bytes >= o->inflight_bytes_max && !PLANTED(inflight_unbounded));
}

void raft_progress_sent(struct progress *p, const struct raft_options *o, raft_index last, size_t bytes)
{
    unsigned at = (p->inflight_from + p->inflight_count) % o->inflight_messages_max;

    p->next = last + 1;
    p->inflight[at] = (struct inflight){last, bytes};
    p->inflight_count++;
    p->inflight_bytes += bytes;
}

void raft_progress_free_inflight(struct progress *p, const struct raft_options *o, raft_index up_to)
{
    while (p->inflight_count && p->inflight[p->inflight_from].last <= up_to) {
        p->inflight_bytes -= PLANTED(inflight_leaks) ? 0 : p->inflight[p->inflight_from].bytes;
        p->inflight_from = (p->inflight_from + 1) % o->inflight_messages_max;
        p->inflight_count--;
    }
}

bool raft_progress_take_proposal(struct progress *p, uint64_t life, uint64_t count)
{
    for (unsigned i = 0; i < PROPOSER_LIVES; i++) {
        struct proposer *known = &p->proposers[i];
        if (!known->last || known->life != life)
            continue;
        if (count <= known->last)
            return PLANTED(proposals_taken_twice);
        known->last = count;
        return true;
    }
    if (!count)
        return false; /* they count from 1 */
    p->proposers[p->proposer_next] = (struct proposer){life, count};
    p->proposer_next = (p->proposer_next + 1) % PROPOSER_LIVES;
    return true;
}
