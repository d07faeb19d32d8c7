/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait on a member, and callbacks that do everything they may: cancel others, ask anew, in the middle. */
#include <string.h>

#include "tests/unit/one_node.h"

/* ---- callbacks ---- */

struct waiter {
    struct node_request *request;
    unsigned ended;
    enum status status;
    void (*then_fn)(struct waiter *w);
};

static struct waiter waiters[8];

static void on_done(void *arg, enum status st, struct slice answer)
{
    struct waiter *w = arg;

    (void)answer;
    w->ended++;
    w->status = st;
    w->request = NULL;
    if (w->then_fn)
        w->then_fn(w);
}

static enum status ask(unsigned i, int64_t deadline_ns, bool write)
{
    struct waiter *w = &waiters[i];

    if (write)
        return node_propose(node, COMMAND_PUT, slice_of("\x0a\x01k", 3), deadline_ns, on_done, w, &w->request);
    return node_read(node, deadline_ns, on_done, w, &w->request);
}

/* The connection breaks: all the others that wait on it go. */
static void cancel_the_others(struct waiter *w)
{
    for (unsigned i = 0; i < 8; i++)
        if (&waiters[i] != w && waiters[i].request) {
            node_cancel(node, waiters[i].request);
            waiters[i].request = NULL;
        }
}

static enum status asked_anew;

static void ask_again(struct waiter *w)
{
    w->then_fn = NULL;
    asked_anew = ask((unsigned)(w - waiters), 300 * MS, w == &waiters[1]);
}

static void what_expires_may_cancel_what_expires_with_it(void **state)
{
    unsigned ended = 0;

    (void)state;
    memset(waiters, 0, sizeof waiters);
    open_node(3, UINT64_MAX, false); /* alone of three: nothing is ever decided */
    for (unsigned i = 0; i < 8; i++) {
        waiters[i].then_fn = cancel_the_others;
        assert_int_equal(ask(i, 100 * MS, i % 2), ST_OK);
    }
    node_tick(node, 50 * MS);
    node_run(node);
    node_tick(node, 200 * MS);
    for (unsigned i = 0; i < 8; i++)
        ended += waiters[i].ended;
    assert_int_equal(ended, 1);
    node_tick(node, 900 * MS);
    for (unsigned i = 0; i < 8; i++)
        assert_null(waiters[i].request);
    close_node();
}

static void what_is_asked_anew_from_a_callback_has_its_own_deadline(void **state)
{
    (void)state;
    memset(waiters, 0, sizeof waiters);
    open_node(3, UINT64_MAX, false);
    for (unsigned i = 0; i < 2; i++) {
        waiters[i].then_fn = ask_again;
        assert_int_equal(ask(i, 100 * MS, i), ST_OK);
    }
    assert_int_equal(ask(2, 10 * NS_PER_S, false), ST_OK);
    assert_true(node_tick(node, 150 * MS) <= 300 * MS);
    assert_int_equal(asked_anew, ST_OK);
    assert_true(waiters[0].ended == 1 && waiters[1].ended == 1);
    assert_int_equal(waiters[1].status, ST_TIMEOUT);
    node_tick(node, 301 * MS);
    assert_true(waiters[0].ended == 2 && waiters[1].ended == 2 && waiters[2].ended == 0);
    close_node();
    assert_int_equal(waiters[2].status, ST_STOPPED);
}

/* The process was stopped for longer than a request may take; the first thing that it does then is to hear one. */
static void the_time_of_a_request_after_a_pause_begins_with_it(void **state)
{
    (void)state;
    memset(waiters, 0, sizeof waiters);
    clock_ns = 50 * MS;
    open_node(3, UINT64_MAX, false);
    node_tick(node, clock_ns);
    clock_ns = 60 * NS_PER_S;
    assert_int_equal(ask(0, INT64_MAX, true), ST_OK);
    node_tick(node, clock_ns);
    assert_int_equal(waiters[0].ended, 0);
    node_tick(node, clock_ns + node_request_timeout_ns(node));
    assert_int_equal(waiters[0].ended, 1);
    assert_int_equal(waiters[0].status, ST_TIMEOUT);
    close_node();
    clock_ns = 0;
}

static void a_node_that_stops_takes_nothing_new(void **state)
{
    (void)state;
    memset(waiters, 0, sizeof waiters);
    open_node(3, UINT64_MAX, false);
    for (unsigned i = 0; i < 8; i++) {
        waiters[i].then_fn = i % 3 ? ask_again : cancel_the_others;
        assert_int_equal(ask(i, NS_PER_S, i % 2), ST_OK);
    }
    waiters[0].then_fn = waiters[1].then_fn = ask_again; /* one of each kind that is told */
    asked_anew = ST_OK;
    close_node();
    assert_int_equal(asked_anew, ST_STOPPED);
    for (unsigned i = 0; i < 8; i++)
        assert_true(waiters[i].ended <= 1);
}

/* ---- reads ---- */

static void a_read_is_asked_again_as_soon_as_there_is_a_new_leader(void **state)
{
    struct raft_message answer = {.type = RAFT_MSG_READ_INDEX_RESPONSE, .from = 2, .to = 1, .term = 1};
    uint64_t first;

    (void)state;
    memset(waiters, 0, sizeof waiters);
    open_node(3, UINT64_MAX, false);
    hear_of_leader(2, 1);
    assert_int_equal(ask(0, NS_PER_S, false), ST_OK);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_READ_INDEX), 1);
    first = answer.context = sent[sent_count - 1].context;
    hear_of_leader(3, 2);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_READ_INDEX), 2);
    assert_int_equal(sent[sent_count - 1].to, 3);
    assert_int_not_equal(sent[sent_count - 1].context, first); /* a new attempt, a new context */
    /* What the old one says now is too late. */
    node_step(node, &answer);
    answer.from = 3;
    answer.term = 2;
    node_step(node, &answer);
    node_run(node);
    assert_int_equal(waiters[0].ended, 0);
    answer.context = sent[sent_count - 1].context;
    node_step(node, &answer);
    node_run(node);
    assert_int_equal(waiters[0].ended, 1);
    assert_int_equal(waiters[0].status, ST_OK);
    close_node();
}

/* ---- storage ---- */

static void nothing_is_promised_before_it_is_durable(void **state)
{
    struct raft_message vote = {.type = RAFT_MSG_VOTE, .from = 2, .to = 1, .term = 5};

    (void)state;
    open_node(3, UINT64_MAX, true);
    node_step(node, &vote);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_VOTE_RESPONSE), 0);
    assert_true(wal_step(wal));
    node_on_wal(node);
    assert_int_equal(sent_of(RAFT_MSG_VOTE_RESPONSE), 1);
    assert_false(sent[sent_count - 1].reject);
    close_node();
    /* And kept over a restart: no second vote in that term. */
    open_node(3, UINT64_MAX, false);
    vote.from = 3;
    node_step(node, &vote);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_VOTE_RESPONSE), 2);
    assert_true(sent[sent_count - 1].reject);
    close_node();
}

static void entries_that_change_nothing_are_sealed_and_released(void **state)
{
    struct error error = {0};
    raft_index begin;
    raft_term term;

    (void)state;
    memset(waiters, 0, sizeof waiters);
    open_node(1, 10, false);
    for (unsigned i = 0; i < 12; i++) /* no key: refused where it is applied */
        assert_int_equal(node_propose(node, COMMAND_PUT, slice_of(NULL, 0), NS_PER_S, on_done, &waiters[0], NULL), ST_OK);
    node_run(node);
    assert_int_equal(waiters[0].ended, 12);
    assert_int_equal(waiters[0].status, ST_EMPTY_KEY);
    assert_int_equal(seals, 1);
    assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
    node_on_seal_written(node, seal, ST_OK, &error);
    close_node();
    open_node(1, 10, false);
    wal_get_begin(wal, &begin, &term);
    assert_int_equal(begin, 13); /* the leader's own, and ours */
    assert_int_equal(mvcc_revision(store), 1);
    close_node();
}

/* ---- space ---- */

static const struct slice key_k = {(const uint8_t *)"\x0a\x01k", 3};         /* field 1: a put, or a delete */
static const struct slice txn_put = {(const uint8_t *)"\x12\x05\x12\x03\x0a\x01k", 7}; /* success: a put */
static const struct slice txn_delete = {(const uint8_t *)"\x1a\x05\x1a\x03\x0a\x01k", 7}; /* failure: a delete */

static enum status propose(enum command_kind kind, struct slice payload)
{
    enum status st = node_propose(node, kind, payload, INT64_MAX, on_done, &waiters[0], NULL);

    node_run(node);
    return st;
}

static void tick(int64_t now_ns)
{
    node_tick(node, now_ns);
    node_run(node);
    node_tick(node, now_ns);
    node_run(node);
}

static bool has_alarm(void)
{
    return node_members(node)->list[0].no_space;
}

static void open_with_reserve(unsigned members)
{
    memset(waiters, 0, sizeof waiters);
    segment_bytes = 4 << 20;
    space_low_bytes = 1 << 20;
    open_node(members, UINT64_MAX, false);
    tick(NS_PER_S);
}

static void a_short_disk_refuses_what_grows_and_nothing_else(void **state)
{
    (void)state;
    open_with_reserve(1);
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_OK);
    memory_disk_set_size(disk, 4 << 20); /* what there is */
    tick(2 * NS_PER_S);
    assert_true(has_alarm());
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_NO_SPACE);
    assert_int_equal(propose(COMMAND_TXN, txn_put), ST_NO_SPACE);
    assert_int_equal(propose(COMMAND_TXN, txn_delete), ST_OK);
    assert_int_equal(propose(COMMAND_DELETE_RANGE, key_k), ST_OK);
    close_node();
    /* Nothing but the disk says so after a restart, and the alarm is in the log. */
    open_node(1, UINT64_MAX, false);
    assert_true(has_alarm());
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_NO_SPACE);
    memory_disk_set_size(disk, UINT64_MAX);
    tick(NS_PER_S);
    assert_false(has_alarm());
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_OK);
    close_node();
}

static void the_floor_of_the_log_is_left_to_the_cluster(void **state)
{
    unsigned deletes = 0;

    (void)state;
    open_with_reserve(1);
    memory_disk_set_size(disk, 4 << 20);
    tick(2 * NS_PER_S);
    while (deletes < 100000 && propose(COMMAND_DELETE_RANGE, key_k) == ST_OK)
        deletes++;
    assert_in_range(deletes, 20000, 50000); /* 3 of 4 MiB */
    assert_int_equal(propose(COMMAND_MEMBER_PUBLISH, slice_of(NULL, 0)), ST_OK);
    close_node();
}

static void a_seal_without_space_is_kept_and_written_again(void **state)
{
    struct error error = {.text = "no space"};
    struct mvcc_seal *first;

    (void)state;
    memset(waiters, 0, sizeof waiters);
    open_node(1, 2, false);
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_OK);
    tick(NS_PER_S);
    assert_int_equal(seals, 1);
    first = seal;
    node_on_seal_written(node, seal, ST_NO_SPACE, &error);
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_NO_SPACE);
    tick(3 * NS_PER_S);
    assert_int_equal(seals, 2);
    assert_ptr_equal(seal, first);
    assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
    node_on_seal_written(node, seal, ST_OK, &error);
    tick(4 * NS_PER_S);
    assert_int_equal(propose(COMMAND_PUT, key_k), ST_OK);
    close_node();
}

static raft_index log_last(void)
{
    struct raft_status st;

    node_get_raft_status(node, &st);
    return st.last;
}

static void append_to_follower(raft_index index, uint32_t len)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, len);
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 1, .index = index, .log_term = index > 0,
                             .entries = &e, .entry_count = 1};

    e->index = index + 1;
    e->term = 1;
    node_step(node, &m);
    node_run(node);
    raft_entry_unref(e);
}

static void a_full_follower_takes_what_it_has_room_for(void **state)
{
    (void)state;
    open_with_reserve(3);
    append_to_follower(0, 1000);
    assert_int_equal(log_last(), 1);
    memory_disk_set_size(disk, 4 << 20);
    tick(2 * NS_PER_S);
    for (raft_index i = 1; i < 5; i++)
        append_to_follower(i, 1 << 20);
    assert_int_equal(log_last(), 3); /* two, and the floor */
    memory_disk_set_size(disk, UINT64_MAX);
    append_to_follower(3, 1 << 20);
    assert_int_equal(log_last(), 4);
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_expires_may_cancel_what_expires_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_asked_anew_from_a_callback_has_its_own_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_time_of_a_request_after_a_pause_begins_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_stops_takes_nothing_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_is_asked_again_as_soon_as_there_is_a_new_leader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_promised_before_it_is_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entries_that_change_nothing_are_sealed_and_released, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_disk_refuses_what_grows_and_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_floor_of_the_log_is_left_to_the_cluster, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_seal_without_space_is_kept_and_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_follower_takes_what_it_has_room_for, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
