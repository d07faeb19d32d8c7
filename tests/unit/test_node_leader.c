/* SPDX-License-Identifier: Apache-2.0 */
/* A member that leads, and gives that away or loses it. */
#include <string.h>

#include "tests/unit/one_node.h"

/* It is elected by 2, which also stores all that it is sent; 3 stores what the test says. */
static void answer(enum raft_message_type type, uint64_t from, raft_term term, raft_index index)
{
    struct raft_message m = {.type = type, .from = from, .to = 1, .term = term, .index = index};

    node_step(node, &m);
    node_run(node);
}

static struct raft_status status(void)
{
    struct raft_status st;

    node_get_raft_status(node, &st);
    return st;
}

static int64_t now;

static void pass(int64_t ms)
{
    for (int64_t end = now + ms * MS; now < end;) {
        now += 10 * MS;
        node_tick(node, now);
        node_run(node);
    }
}

static void lead(void)
{
    now = 0;
    while (status().role != RAFT_PRE_CANDIDATE)
        pass(10);
    answer(RAFT_MSG_PRE_VOTE_RESPONSE, 2, 1, 0);
    answer(RAFT_MSG_VOTE_RESPONSE, 2, 1, 0);
    assert_int_equal(status().role, RAFT_LEADER);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 1);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 1);
}

/* ---- leadership is given away ---- */

struct wish {
    struct node_request *request;
    unsigned ended;
    enum status status;
};

static void on_done(void *arg, enum status st, struct slice bytes)
{
    struct wish *w = arg;

    (void)bytes;
    w->ended++;
    w->status = st;
}

static enum status wish(struct wish *w, uint64_t to, int64_t deadline_ns)
{
    *w = (struct wish){0};
    return node_transfer_leader(node, to, deadline_ns, on_done, w, &w->request);
}

static void who_asks_for_another_leader_hears_when_it_leads(void **state)
{
    struct raft_message vote = {.type = RAFT_MSG_VOTE, .from = 2, .to = 1, .term = 2, .index = 1, .log_term = 1, .transfer = true};
    struct wish a, b;

    (void)state;
    open_node(3, UINT64_MAX, false);
    assert_int_equal(wish(&a, 2, INT64_MAX), ST_NOT_LEADER);
    lead();
    assert_int_equal(wish(&a, 4, INT64_MAX), ST_BAD_TRANSFEREE);
    assert_int_equal(wish(&a, 1, INT64_MAX), ST_OK);
    node_run(node);
    assert_true(a.ended == 1 && a.status == ST_OK); /* it leads already */
    assert_int_equal(wish(&a, 2, INT64_MAX), ST_OK);
    assert_int_equal(wish(&b, 2, INT64_MAX), ST_OK);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 1);
    assert_true(!a.ended && !b.ended);
    node_step(node, &vote); /* a new term, and nobody leads yet */
    node_run(node);
    assert_int_equal(status().role, RAFT_FOLLOWER);
    assert_true(!a.ended && !b.ended);
    hear_of_leader(2, 2);
    assert_true(a.ended == 1 && a.status == ST_OK && b.ended == 1 && b.status == ST_OK);
    close_node();
}

static void who_asks_for_one_that_does_not_lead_hears_of_that(void **state)
{
    struct wish a, b, c;

    (void)state;
    open_node(3, UINT64_MAX, false);
    lead();
    /* Another wish takes the place of the first. */
    assert_int_equal(wish(&a, 2, INT64_MAX), ST_OK);
    assert_int_equal(wish(&b, 3, INT64_MAX), ST_OK);
    node_run(node);
    assert_true(a.ended == 1 && a.status == ST_TIMEOUT_TRANSFER && !b.ended);
    /* An election timeout passes. */
    pass(50);
    assert_false(b.ended);
    answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
    pass(60);
    assert_true(b.ended == 1 && b.status == ST_TIMEOUT_TRANSFER);
    /* The deadline does; a third one is elected; the client leaves. */
    assert_int_equal(wish(&a, 2, now + 20 * MS), ST_OK);
    assert_int_equal(wish(&b, 2, INT64_MAX), ST_OK);
    assert_int_equal(wish(&c, 2, INT64_MAX), ST_OK);
    node_cancel(node, c.request);
    pass(30);
    assert_true(a.ended == 1 && a.status == ST_TIMEOUT_TRANSFER && !b.ended);
    hear_of_leader(3, 2);
    assert_true(b.ended == 1 && b.status == ST_TIMEOUT_TRANSFER);
    assert_int_equal(c.ended, 0);
    close_node();
}

static void no_more_wait_for_another_leader_than_may(void **state)
{
    static struct wish wishes[TRANSFER_REQUESTS_MAX + 1];

    (void)state;
    open_node(3, UINT64_MAX, false);
    lead();
    for (unsigned i = 0; i < TRANSFER_REQUESTS_MAX; i++)
        assert_int_equal(wish(&wishes[i], 2, INT64_MAX), ST_OK);
    assert_int_equal(wish(&wishes[TRANSFER_REQUESTS_MAX], 2, INT64_MAX), ST_TOO_MANY_REQUESTS);
    close_node();
    for (unsigned i = 0; i < TRANSFER_REQUESTS_MAX; i++)
        assert_true(wishes[i].ended == 1 && wishes[i].status == ST_STOPPED);
}

static void the_heir_is_there_and_has_the_most(void **state)
{
    (void)state;
    open_node(3, UINT64_MAX, false);
    assert_int_equal(node_heir(node), 0);
    lead();
    assert_int_equal(node_propose(node, COMMAND_PUT, slice_of("\x0a\x01k", 3), INT64_MAX, on_done, &(struct wish){0}, NULL),
                     ST_OK);
    node_run(node);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 2);
    assert_int_equal(node_heir(node), 3);
    for (int i = 0; i < 3; i++) {
        pass(50);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
    }
    assert_int_equal(node_heir(node), 2); /* 3 was not heard of for an election timeout */
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_asks_for_another_leader_hears_when_it_leads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_asks_for_one_that_does_not_lead_hears_of_that, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_wait_for_another_leader_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_heir_is_there_and_has_the_most, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
