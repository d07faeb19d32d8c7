/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of leader that somebody asked for and waits for (etcd: MoveLeader, and the end of a leader's process). */
#include "raftd/node/internal.h"

enum status node_transfer_leader(struct node *n, uint64_t to, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                                 struct node_request **ret_request)
{
    struct node_request *r;
    struct raft_status st;
    unsigned count = 0;

    if (n->stopping)
        return ST_STOPPED;
    raft_get_status(n->raft, &st);
    if (st.role != RAFT_LEADER)
        return ST_NOT_LEADER;
    TAILQ_FOREACH(r, &n->handing_over, link)
        count++;
    if (count >= TRANSFER_REQUESTS_MAX)
        return ST_TOO_MANY_REQUESTS;
    if (!members_may_lead(&n->members, to) || raft_transfer_leader(n->raft, to) != ST_OK)
        return ST_BAD_TRANSFEREE;
    r = request_new(n, deadline_ns, done_fn, arg, &n->handing_over);
    r->heir = to;
    if (ret_request)
        *ret_request = r;
    return ST_OK;
}

/* We lead; would this other member, as far as is known: it may, is there, follows our log, and did not say that it cannot? */
static bool could_lead(const struct node *n, raft_id id, raft_index *ret_match)
{
    struct raft_progress p;

    if (id == n->options.member_id || !members_may_lead(&n->members, id) || raft_get_progress(n->raft, id, &p) != ST_OK)
        return false;
    if (!p.active || p.unfit || p.state != RAFT_REPLICATE)
        return false;
    *ret_match = p.match;
    return true;
}

uint64_t node_heir(const struct node *n)
{
    const struct raft_conf *conf = raft_get_conf(n->raft);
    bool best_has_space = false;
    raft_index most = 0, match;
    raft_id best = 0;

    for (unsigned i = 0; i < conf->voter_count; i++) {
        const struct member *m = members_look_up(&n->members, conf->voters[i]);
        bool has_space = m && !m->no_space;
        if (!could_lead(n, conf->voters[i], &match))
            continue;
        if (best && (has_space != best_has_space ? best_has_space : match <= most))
            continue;
        best = conf->voters[i];
        best_has_space = has_space;
        most = match;
    }
    return best;
}

/* Of the voters that could lead the next one, in turn: the best of them may be one that the others do not elect. 0: nobody could now. */
static raft_id next_heir(struct node *n, bool needs_space)
{
    const struct raft_conf *c = &n->members.conf;
    raft_index match;

    for (unsigned i = 0; i < c->voter_count; i++) {
        const struct member *m;
        n->next_leader = (n->next_leader + 1) % c->voter_count;
        m = members_look_up(&n->members, c->voters[n->next_leader]);
        if (!(needs_space && m && m->no_space) && could_lead(n, c->voters[n->next_leader], &match))
            return c->voters[n->next_leader];
    }
    return 0;
}

/*
 * The last offer came to nothing. Who says that it cannot makes room for another at once. Who only lets time pass would have this member
 * neither lead nor follow for good: what waits for the next leader gets its turn before there is another heir.
 */
static bool rests_from_offering(struct node *n)
{
    struct raft_progress p;

    if (n->heir && raft_get_progress(n->raft, n->heir, &p) == ST_OK && !p.unfit)
        n->heirless_ticks = n->options.election_ticks;
    n->heir = 0;
    if (!n->heirless_ticks)
        return false;
    n->heirless_ticks--;
    return true;
}

void transfer_offer_lead(struct node *n, bool needs_space)
{
    struct raft_status st;
    raft_id heir;

    raft_get_status(n->raft, &st);
    if (st.role != RAFT_LEADER || st.transferee || rests_from_offering(n))
        return;
    heir = next_heir(n, needs_space);
    if (heir && raft_transfer_leader(n->raft, heir) == ST_OK) /* else no voter of the core's yet: another with the next tick */
        n->heir = heir;
}

/* The transfer is over, and that one does not lead: it was given up, replaced by another, or a third member was elected. */
static bool has_failed(const struct node_request *r, const struct raft_status *st)
{
    return st->role == RAFT_LEADER ? st->transferee != r->heir : st->leader != 0;
}

void transfers_run(struct node *n)
{
    struct request_list failed = TAILQ_HEAD_INITIALIZER(failed);
    struct node_request *r = TAILQ_FIRST(&n->handing_over), *next;
    struct raft_status st;

    if (!r)
        return;
    raft_get_status(n->raft, &st);
    for (; r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (st.leader == r->heir)
            request_move(&n->ending, r);
        else if (has_failed(r, &st))
            request_move(&failed, r);
    }
    requests_finish_ending(n, ST_OK);
    while ((r = TAILQ_FIRST(&failed)))
        request_finish(n, r, ST_TIMEOUT_TRANSFER, slice_of(NULL, 0));
}

void transfers_expire(struct node *n)
{
    struct node_request *r = TAILQ_FIRST(&n->handing_over), *next;
    struct raft_status st;

    raft_get_status(n->raft, &st);
    if (st.role != RAFT_LEADER)
        n->heir = n->heirless_ticks = 0;
    for (; r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->deadline_ns <= n->now_ns)
            request_move(&n->ending, r);
    }
    requests_finish_ending(n, ST_TIMEOUT_TRANSFER);
}
