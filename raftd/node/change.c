/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the members on their way: asked for here, judged and appended by the leader, applied everywhere, answered here. The
 * leader's refusal of one that a follower forwarded comes back as a message of its own (RAFT_MSG_PROPOSE_REFUSED); it is about a
 * proposal that was taken from the follower and dropped for good, so the number it names is never in the log. Who waits because
 * another change is under way asks again, under a new number.
 */
#include "raftd/node/internal.h"

#include "common/mem.h"
#include "raftd/node/membership.h"

/* Of what is asked for, and of what is asked for again. */
static void number_change(struct node *n, struct node_request *r, struct membership_entry *e)
{
    if (r->id)
        HASH_DEL(n->writes, r);
    raft_entry_unref(r->change);
    r->id = e->request = requests_next_id(n);
    HASH_ADD(hh, n->writes, id, sizeof r->id, r);
    r->change = membership_encode(e);
}

static int64_t never_connected(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
    return INT64_MAX;
}

enum status node_change_members(struct node *n, const struct member_change *change, int64_t deadline_ns, node_done_fn done_fn,
                                void *arg, struct node_request **ret_request)
{
    struct membership_view view = {
        .members = &n->members,
        .self = n->options.member_id,
        .now_ns = n->now_ns,
        .connected_fn = n->options.connected_fn ? n->options.connected_fn : never_connected,
        .arg = n->options.arg,
    };
    struct membership_entry e = {
        .change = *change, .learners_max = n->options.learners_max, .origin = n->options.member_id};
    struct node_request *r;
    enum status st;

    if (n->stopping)
        return ST_STOPPED;
    if (n->waiting >= n->options.bounds.pending_max)
        return ST_TOO_MANY_REQUESTS;
    st = n->options.strict_reconfig_check ? membership_is_safe(&view, change) : ST_OK;
    if (st != ST_OK)
        return st;
    r = request_new(n, deadline_ns, done_fn, arg, &n->changing);
    number_change(n, r, &e);
    if (ret_request)
        *ret_request = r;
    return ST_OK;
}

void changes_send(struct node *n)
{
    struct node_request *r;

    if (n->now_ns < n->change_retry_ns)
        return;
    while ((r = TAILQ_FIRST(&n->changing))) {
        enum status st = raft_propose(n->raft, &r->change, 1);
        if (st == ST_CONF_PENDING || st == ST_NO_LEADER)
            return; /* later, in order */
        if (st != ST_OK) {
            request_finish(n, r, st, slice_of(NULL, 0));
            n->options.work_fn(n->options.arg); /* the others in the next round: the callback may have asked anew */
            return;
        }
        request_move(&n->proposed, r);
    }
}

void changes_on_refused(struct node *n, const struct raft_message *m)
{
    struct node_request *r = requests_find_write(n, m->context);
    enum status st = m->hint_index > ST_OK && m->hint_index < ST_COUNT ? (enum status)m->hint_index : ST_UNKNOWN_ERROR;
    struct membership_entry e;

    if (!r || !r->change)
        return;
    if (st != ST_CONF_PENDING) {
        request_finish(n, r, st, slice_of(NULL, 0));
        return;
    }
    INVARIANT(membership_decode(&n->arena, r->change, &e) == ST_OK);
    number_change(n, r, &e);
    arena_reset(&n->arena);
    request_move(&n->changing, r);
    n->change_retry_ns = n->now_ns + n->options.tick_ns;
}

/* A follower's change was not taken: it is told, for nobody will ever find it in the log. */
void changes_refuse(struct node *n, const struct raft_message *m, enum status st)
{
    struct raft_message answer = {.type = RAFT_MSG_PROPOSE_REFUSED,
                                  .from = n->options.member_id,
                                  .to = m->from,
                                  .term = m->term,
                                  .hint_index = st};
    struct membership_entry e;

    if (st == ST_NO_LEADER || m->entry_count != 1 || membership_decode(&n->arena, m->entries[0], &e) != ST_OK) {
        arena_reset(&n->arena);
        return; /* it may be taken yet, or it is a write: the client's deadline answers */
    }
    answer.context = e.request;
    arena_reset(&n->arena);
    n->options.send_fn(n->options.arg, &answer);
}

/* A learner that is to vote would hold up everybody if it had to be sent the log first. */
static enum status judge_promotion(const struct node *n, uint64_t id)
{
    struct raft_progress learner, self;

    if (raft_get_progress(n->raft, id, &learner) != ST_OK ||
        raft_get_progress(n->raft, n->options.member_id, &self) != ST_OK)
        return ST_MEMBER_NOT_FOUND;
    if (!membership_is_in_sync(learner.match, self.match))
        return ST_LEARNER_NOT_READY;
    return n->options.strict_reconfig_check ? membership_may_promote(&n->members) : ST_OK;
}

/* The core of a leader asks before it appends; all changes of before are applied. */
enum status changes_judge(void *arg, const struct raft_entry *entry)
{
    struct node *n = arg;
    struct raft_conf_change leave;
    struct membership_entry e;
    struct arena arena; /* another may be in use */
    enum status st;

    if (membership_is_leave(entry, &leave))
        return ST_OK;
    arena_init(&arena);
    st = membership_decode(&arena, entry, &e);
    if (st == ST_OK)
        st = membership_judge(&n->members, &e);
    if (st == ST_OK && e.change.kind == MEMBER_PROMOTE)
        st = judge_promotion(n, e.change.id);
    arena_fini(&arena);
    return st;
}
