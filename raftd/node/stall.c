/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that stalls: the log has something to write and gets nothing done. A leader on it would be followed for ever, for its heartbeats
 * need no disk, and answer nobody, for nothing is applied before it is durable here. After an election timeout of that it gives
 * leadership to the member that is the furthest, or up when nobody takes it; and no member leads, or promises to, while its disk stalls.
 *
 * Counted in ticks and not by the clock: after a pause of the whole process the log was paused as well.
 */
#include "common/planted.h"
#include "raftd/node/internal.h"

static bool is_other_and_active(const void *arg, uint64_t id)
{
    const struct node *n = arg;
    struct raft_progress p;

    return id != n->options.member_id && raft_get_progress(n->raft, id, &p) == ST_OK && p.active;
}

/* Could the others elect one of them? Else this member goes on waiting for its disk: so would they. */
static bool others_can_lead(const struct node *n)
{
    return members_is_quorum(raft_get_conf(n->raft), is_other_and_active, n);
}

static void give_up_leadership(struct node *n)
{
    uint64_t heir = node_heir(n);
    struct raft_status st;

    raft_get_status(n->raft, &st);
    if (st.role != RAFT_LEADER || !others_can_lead(n))
        return;
    /* Half an election timeout is enough for an heir, who leads at once, or says that it cannot: then another. */
    if (n->stalled_ticks < n->options.election_ticks + n->options.election_ticks / 2 &&
        (st.transferee || (heir && raft_transfer_leader(n->raft, heir) == ST_OK)))
        return;
    raft_step_down(n->raft);
}

static void tell(struct node *n, bool stalls)
{
    n->disk_stalls = stalls;
    fitness_set(n);
    if (n->options.disk_fn)
        n->options.disk_fn(n->options.arg, stalls);
}

void stall_on_durable(struct node *n, uint64_t durable)
{
    if (durable != n->durable_ticket)
        n->stalled_ticks = 0;
    n->durable_ticket = durable;
    if (n->disk_stalls && !n->stalled_ticks)
        tell(n, false);
}

void stall_on_tick(struct node *n)
{
    stall_on_durable(n, wal_durable(n->options.wal));
    if (n->durable_ticket == n->last_ticket)
        return;
    n->stalled_ticks++;
    if (n->stalled_ticks == n->options.election_ticks)
        tell(n, true);
    if (n->disk_stalls && !PLANTED(stall_leads_on))
        give_up_leadership(n);
}

bool stall_is_log_full(const struct node *n)
{
    struct raft_status st;

    if (n->unstored_bytes > n->options.bounds.unstored_bytes_max && !PLANTED(unstored_unbounded))
        return true;
    if (!n->awaits_voters && !n->awaits_record)
        return false;
    raft_get_status(n->raft, &st); /* nothing is applied, and so nothing is forgotten */
    return st.log_bytes > n->options.window_bytes_max;
}
