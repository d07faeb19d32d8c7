/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that clients wait for. A write waits for its entry to be applied here; it is handed to Raft with all others of
 * the same round. A read belongs to a round of ReadIndex: one attempt is under way at a time and serves everything
 * that was asked before it began (etcd: v3_server.go, linearizableReadLoop); a lost attempt is repeated with a fresh context.
 */
#include "raftd/node/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec.h"
#include "common/mem.h"
#include "common/planted.h"

/* etcd repeats a ReadIndex after 500 ms. */
#define READ_RETRY_NS (500 * NS_PER_MS)

void requests_init(struct node *n)
{
    TAILQ_INIT(&n->proposing);
    TAILQ_INIT(&n->proposed);
    TAILQ_INIT(&n->changing);
    TAILQ_INIT(&n->reading);
    TAILQ_INIT(&n->asked);
    TAILQ_INIT(&n->reached);
    TAILQ_INIT(&n->handing_over);
    TAILQ_INIT(&n->ending);
    n->earliest_deadline_ns = INT64_MAX;
    /* Unique over restarts of this member: a start nobody had before. */
    n->next_request_id = PLANTED(request_ids_repeat) ? 0 : rng_next(&n->rng);
    n->next_context = rng_next(&n->rng) | 1;
}

void request_move(struct request_list *to, struct node_request *r)
{
    if (r->list)
        TAILQ_REMOVE(r->list, r, link);
    r->list = to;
    if (to)
        TAILQ_INSERT_TAIL(to, r, link);
}

struct node_request *request_new(struct node *n, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                                 struct request_list *list)
{
    struct node_request *r = mem_zero(sizeof *r);
    int64_t now_ns = n->options.now_ns_fn ? n->options.now_ns_fn(n->options.arg) : n->now_ns;
    int64_t latest = now_ns + node_request_timeout_ns(n);

    r->deadline_ns = deadline_ns < latest ? deadline_ns : latest;
    r->done_fn = done_fn;
    r->arg = arg;
    if (r->deadline_ns < n->earliest_deadline_ns)
        n->earliest_deadline_ns = r->deadline_ns;
    n->waiting++;
    request_move(list, r);
    n->options.work_fn(n->options.arg);
    return r;
}

/* Out of every table; its callback is not called. */
static void request_free(struct node *n, struct node_request *r)
{
    if (r->id)
        HASH_DEL(n->writes, r);
    if (r->entry) {
        n->queued_bytes -= r->entry->len;
        raft_entry_unref(r->entry);
    }
    raft_entry_unref(r->change);
    request_move(NULL, r);
    n->waiting--;
    free(r);
}

void request_finish(struct node *n, struct node_request *r, enum status st, struct slice answer)
{
    node_done_fn done_fn = r->done_fn;
    void *arg = r->arg;

    request_free(n, r);
    done_fn(arg, st, answer);
}

/*
 * Callbacks may propose, read and cancel. So what ends is put aside first: nobody walks a list that they change, and
 * what they ask for anew does not end with the old.
 */
void requests_finish_ending(struct node *n, enum status st)
{
    while (!TAILQ_EMPTY(&n->ending))
        request_finish(n, TAILQ_FIRST(&n->ending), st, slice_of(NULL, 0));
}

static void finish_all(struct node *n, struct request_list *list, enum status st)
{
    while (!TAILQ_EMPTY(list))
        request_move(&n->ending, TAILQ_FIRST(list));
    requests_finish_ending(n, st);
}

void requests_fini(struct node *n)
{
    n->stopping = true;
    finish_all(n, &n->proposing, ST_STOPPED);
    finish_all(n, &n->proposed, ST_STOPPED);
    finish_all(n, &n->changing, ST_STOPPED);
    finish_all(n, &n->reading, ST_STOPPED);
    finish_all(n, &n->asked, ST_STOPPED);
    finish_all(n, &n->reached, ST_STOPPED);
    finish_all(n, &n->handing_over, ST_STOPPED);
    free(n->batch);
}

uint64_t requests_next_id(struct node *n)
{
    return ++n->next_request_id ? n->next_request_id : ++n->next_request_id;
}

/* etcd refuses when what is committed runs too far ahead of what is applied. */
static bool apply_lags(const struct node *n)
{
    struct raft_status st;

    raft_get_status(n->raft, &st);
    return st.hard.commit > st.applied + n->options.bounds.apply_lag_max && !PLANTED(apply_lag_unbounded);
}

enum status node_propose(struct node *n, enum command_kind kind, struct slice payload,
                         int64_t deadline_ns, node_done_fn done_fn, void *arg,
                         struct node_request **ret_request)
{
    const struct node_bounds *bounds = &n->options.bounds;
    struct command header = {.kind = kind, .origin = n->options.member_id};
    struct node_request *r;
    enum status st = space_admit(n, kind, payload);

    if (n->stopping)
        return ST_STOPPED;
    if (payload.len > REQUEST_BYTES_MAX)
        return ST_REQUEST_TOO_LARGE;
    if (st == ST_OK && apply_refuses(n, kind))
        st = ST_CORRUPT_CLUSTER;
    if (st != ST_OK)
        return st;
    if (n->waiting >= bounds->pending_max || n->queued_bytes > bounds->uncommitted_bytes_max || stall_is_log_full(n) || apply_lags(n))
        return ST_TOO_MANY_REQUESTS;
    st = apply_foresee(n, kind, payload);
    if (st != ST_OK)
        return st;
    header.request = requests_next_id(n);
    header.time_ns = n->options.wall_ns_fn(n->options.arg);
    r = request_new(n, deadline_ns, done_fn, arg, &n->proposing);
    r->id = header.request;
    HASH_ADD(hh, n->writes, id, sizeof r->id, r);
    r->entry = command_new(&header, payload.len);
    put_bytes(command_payload_room(r->entry), payload.data, payload.len);
    n->queued_bytes += r->entry->len;
    if (ret_request)
        *ret_request = r;
    return ST_OK;
}

enum status node_read(struct node *n, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                      struct node_request **ret_request)
{
    struct node_request *r;

    if (n->stopping)
        return ST_STOPPED;
    if (n->waiting >= n->options.bounds.pending_max)
        return ST_TOO_MANY_REQUESTS;
    if (n->awaits_record)
        return ST_CORRUPT; /* the read point would not be reached */
    r = request_new(n, deadline_ns, done_fn, arg, &n->reading);
    if (ret_request)
        *ret_request = r;
    return ST_OK;
}

void node_cancel(struct node *n, struct node_request *request)
{
    request_free(n, request);
}

struct node_request *requests_find_write(struct node *n, uint64_t id)
{
    struct node_request *r;

    HASH_FIND(hh, n->writes, &id, sizeof id, r);
    return r;
}

/* The front of the queue, up to a message's worth of bytes, in one call: one batch of the log. */
static enum status send_some_writes(struct node *n)
{
    struct node_request *r;
    size_t count = 0, bytes = 0;
    enum status st;

    TAILQ_FOREACH(r, &n->proposing, link)
    {
        if (count && bytes + r->entry->len + RAFT_ENTRY_OVERHEAD_BYTES > n->options.message_bytes_max)
            break; /* a forwarded batch travels in one frame */
        n->batch = mem_grow(n->batch, &n->batch_cap, count + 1, sizeof *n->batch);
        n->batch[count++] = r->entry;
        bytes += r->entry->len + RAFT_ENTRY_OVERHEAD_BYTES;
    }
    st = raft_propose(n->raft, n->batch, count);
    for (; st == ST_OK && count; count--) {
        r = TAILQ_FIRST(&n->proposing);
        n->queued_bytes -= r->entry->len;
        raft_entry_unref(r->entry);
        r->entry = NULL;
        request_move(&n->proposed, r);
    }
    return st;
}

static void send_writes(struct node *n)
{
    enum status st = ST_OK;

    while (st == ST_OK && !TAILQ_EMPTY(&n->proposing))
        st = send_some_writes(n);
    if (st == ST_TOO_MANY_REQUESTS)
        finish_all(n, &n->proposing, st);
    /* Without a leader they wait for one, until their deadline. */
}

/* One attempt at a time; what is asked meanwhile waits for the next, for its answer would be too old. */
static void send_reads(struct node *n)
{
    struct node_request *r;

    if (n->read_context && n->now_ns < n->read_retry_at_ns) {
        while (PLANTED(read_joins_attempt) && (r = TAILQ_FIRST(&n->reading)))
            request_move(&n->asked, r);
        return;
    }
    if (TAILQ_EMPTY(&n->reading) && TAILQ_EMPTY(&n->asked)) {
        n->read_context = 0;
        return;
    }
    if (!PLANTED(read_context_reused) || !n->read_context)
        n->read_context = n->next_context++;
    if (raft_read_index(n->raft, n->read_context) != ST_OK) {
        n->read_context = 0; /* no leader: again at the next run */
        return;
    }
    n->read_retry_at_ns = n->now_ns + READ_RETRY_NS;
    while ((r = TAILQ_FIRST(&n->reading)))
        request_move(&n->asked, r);
}

void requests_send(struct node *n)
{
    send_writes(n);
    changes_send(n);
    send_reads(n);
}

void requests_on_new_leader(struct node *n)
{
    n->read_context = 0;
    n->options.work_fn(n->options.arg);
}

void requests_on_read_state(struct node *n, const struct raft_read_state *state)
{
    struct node_request *r;

    if (state->context != n->read_context || !n->read_context)
        return; /* the answer of an attempt that was given up */
    n->read_context = 0;
    while ((r = TAILQ_FIRST(&n->asked))) {
        r->index = state->index;
        request_move(&n->reached, r);
    }
}

void requests_on_applied(struct node *n, raft_index applied)
{
    struct node_request *r;

    /* Read points never go down, so the list is in order. */
    while ((r = TAILQ_FIRST(&n->reached)) && (r->index <= applied || PLANTED(read_before_applied)))
        request_finish(n, r, ST_OK, slice_of(NULL, 0));
}

/* Those whose time is over go aside; the earliest deadline of the others. */
static int64_t part_expired(struct node *n, struct request_list *list, int64_t earliest)
{
    struct node_request *r = TAILQ_FIRST(list);

    while (r) {
        struct node_request *next = TAILQ_NEXT(r, link);
        if (r->deadline_ns <= n->now_ns)
            request_move(&n->ending, r);
        else if (r->deadline_ns < earliest)
            earliest = r->deadline_ns;
        r = next;
    }
    return earliest;
}

void requests_expire(struct node *n)
{
    enum status st = n->leader_was_lost ? ST_TIMEOUT_LEADER_FAIL : ST_TIMEOUT;
    int64_t earliest = INT64_MAX;

    if (n->now_ns < n->earliest_deadline_ns)
        return;
    earliest = part_expired(n, &n->proposing, earliest);
    earliest = part_expired(n, &n->proposed, earliest);
    earliest = part_expired(n, &n->changing, earliest);
    earliest = part_expired(n, &n->reading, earliest);
    earliest = part_expired(n, &n->asked, earliest);
    earliest = part_expired(n, &n->reached, earliest);
    n->earliest_deadline_ns = earliest; /* before the callbacks: they may ask for something earlier */
    requests_finish_ending(n, st);
    if (!n->last_status.leader)
        return;
    n->leader_was_lost = false;
}
