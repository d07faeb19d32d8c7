/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Could this member lead? Not while its disk stalls (stall.c): then it promises no votes, either. Not while it applies nothing, for it
 * cannot read what the next entry depends on (apply.c): it gives the lead away, and takes it as a last resort. And not while the alarm CORRUPT names it:
 * what it holds differs from what a quorum does, and it is the leader who brings members up to date. Such a one votes on and stores
 * the log, which all agree on; it sends no snapshot (snapshot.c), and no one hands it the lead (transfer.c). A leader that is named
 * gives the lead to a voter that is not, as soon as one could take it.
 *
 * A leader must not be missing for that: taking the alarm back, removing a member, and reads at those that are not named need one, and
 * writes are refused anyway. So a named leader goes on until there is an heir; if all voters are named no one is kept from
 * leading; and when there was no leader for LAST_RESORT_ELECTIONS election timeouts, so that those who are not named seem not to be able
 * to lead, a named one campaigns, and has the lead until one of them is. Who lacks more than the log has waits even then: nothing is
 * better than what is wrong.
 */
#include "raftd/node/internal.h"

#define LAST_RESORT_ELECTIONS 6

static bool should_lead(const struct node *n)
{
    return members_may_lead(&n->members, n->options.member_id) && !n->awaits_record;
}

static bool may_lead(const struct node *n)
{
    return should_lead(n) ||
           n->leaderless_ticks >= LAST_RESORT_ELECTIONS * n->options.election_ticks;
}

void fitness_set(struct node *n)
{
    raft_set_fitness(n->raft, n->disk_stalls ? RAFT_UNFIT : may_lead(n) ? RAFT_FIT : RAFT_FIT_TO_FOLLOW);
}

void fitness_on_tick(struct node *n)
{
    struct raft_status st;

    raft_get_status(n->raft, &st);
    n->leaderless_ticks = st.leader ? 0 : n->leaderless_ticks + 1;
    fitness_set(n);
    if (!should_lead(n))
        transfer_offer_lead(n, false);
}
