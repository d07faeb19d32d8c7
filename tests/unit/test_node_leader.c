/* SPDX-License-Identifier: Apache-2.0 */
/* A member that leads, and gives that away or loses it. */
#include <string.h>

#include "raftd/node/membership.h"
#include "tests/unit/one_node.h"

/* It is elected by 2, which also stores all that it is sent; 3 stores what the test says. */
static void answer(enum raft_message_type type, uint64_t from, raft_term term, raft_index index)
{
    struct raft_message m = {.type = type, .from = from, .to = 1, .term = term, .index = index};

    node_step(node, &m);
    node_run(node);
}

/* "I could not take the lead now." */
static void answer_unfit(uint64_t from)
{
    struct raft_message m = {.type = RAFT_MSG_HEARTBEAT_RESPONSE, .from = from, .to = 1, .term = 1, .reject = true};

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

static void the_heir_could_lead(void **state)
{
    struct wish w;

    (void)state;
    open_node(3, UINT64_MAX, false);
    lead();
    assert_int_equal(node_propose(node, COMMAND_PUT, slice_of("\x0a\x01k", 3), INT64_MAX, on_done, &(struct wish){0}, NULL),
                     ST_OK);
    node_run(node);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 2);
    answer_unfit(3); /* with every answer to a heartbeat: it has the most, and is not chosen */
    assert_int_equal(node_heir(node), 2);
    answer_unfit(2);
    assert_int_equal(node_heir(node), 0);
    answer(RAFT_MSG_HEARTBEAT_RESPONSE, 3, 1, 0);
    assert_int_equal(node_heir(node), 3);
    /* It became unfit after its last answer: it says so when it is told to lead, and who waits hears of it. */
    assert_int_equal(wish(&w, 3, INT64_MAX), ST_OK);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 1);
    assert_int_equal(w.ended, 0);
    answer_unfit(3);
    assert_true(w.ended == 1 && w.status == ST_TIMEOUT_TRANSFER);
    assert_int_equal(status().transferee, 0);
    assert_int_equal(status().role, RAFT_LEADER);
    close_node();
}

/* What a member that runs out of space says to all. */
static void raise_no_space(uint64_t id)
{
    uint8_t bytes[] = {0x08, 0x01, 0x10, (uint8_t)id, 0x18, 0x01}; /* ACTIVATE, of that member, NOSPACE */

    assert_int_equal(node_propose(node, COMMAND_ALARM, slice_of(bytes, sizeof bytes), INT64_MAX, on_done, &(struct wish){0}, NULL),
                     ST_OK);
    node_run(node);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, status().last);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, status().last);
}

static void an_heir_short_of_space_is_the_last_choice(void **state)
{
    (void)state;
    open_node(3, UINT64_MAX, false);
    lead();
    assert_int_equal(node_heir(node), 2);
    raise_no_space(2);
    assert_int_equal(node_heir(node), 3);
    raise_no_space(3);
    assert_int_equal(node_heir(node), 2);
    close_node();
}

/* ---- a disk that stalls ---- */

/* Does all there is, and the member hears of it. */
static void disk_works(void)
{
    while (wal_step(wal)) {
        node_on_wal(node);
        node_run(node);
    }
}

/* The others answer heartbeats all the while. */
static void pass_heard(int64_t ms)
{
    for (int64_t end = now + ms * MS; now < end;) {
        pass(10);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, status().hard.term, 0);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 3, status().hard.term, 0);
    }
}

static void lead_on_a_stepped_disk(unsigned members)
{
    open_node(members, UINT64_MAX, true);
    now = 0;
    while (status().role != RAFT_PRE_CANDIDATE)
        pass(10);
    answer(RAFT_MSG_PRE_VOTE_RESPONSE, 2, 1, 0);
    disk_works();
    answer(RAFT_MSG_VOTE_RESPONSE, 2, 1, 0);
    disk_works();
    assert_int_equal(status().role, RAFT_LEADER);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 1);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 1);
    disk_works();
}

static enum status put(struct wish *w, size_t value_len)
{
    static uint8_t bytes[1 << 20];
    uint8_t *p = bytes;

    memcpy(p, "\x0a\x01k\x12", 4); /* key, and a value of that length */
    p += 4;
    for (size_t len = value_len; ; len >>= 7) {
        *p++ = (uint8_t)(len > 127 ? (len & 127) | 128 : len);
        if (len <= 127)
            break;
    }
    *w = (struct wish){0};
    return node_propose(node, COMMAND_PUT, slice_of(bytes, (size_t)(p - bytes) + value_len), INT64_MAX, on_done, w, &w->request);
}

static void a_leader_whose_disk_stalls_hands_over_within_an_election_timeout(void **state)
{
    struct raft_message vote = {.type = RAFT_MSG_VOTE, .from = 3, .to = 1, .term = 2, .index = 2, .log_term = 1, .transfer = true};
    struct wish w;

    (void)state;
    lead_on_a_stepped_disk(3);
    pass_heard(500); /* idle: nothing to write is no stall */
    assert_int_equal(put(&w, 1), ST_OK);
    node_run(node);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 2);
    pass_heard(80);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 0);
    pass_heard(30);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 1);
    assert_int_equal(sent[sent_count - 1].type == RAFT_MSG_TIMEOUT_NOW ? sent[sent_count - 1].to : 3, 3); /* it has everything */
    node_step(node, &vote);
    node_run(node);
    assert_int_equal(status().role, RAFT_FOLLOWER);
    disk_works();
    close_node();
}

static uint64_t last_heir(void)
{
    for (unsigned i = sent_count; i > 0; i--)
        if (sent[i - 1].type == RAFT_MSG_TIMEOUT_NOW)
            return sent[i - 1].to;
    return 0;
}

static void an_heir_that_cannot_makes_room_for_the_next(void **state)
{
    struct wish w;

    (void)state;
    lead_on_a_stepped_disk(3);
    assert_int_equal(put(&w, 1), ST_OK);
    node_run(node);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 2);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 2);
    pass_heard(110);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 1);
    assert_int_equal(last_heir(), 2);
    answer_unfit(2);
    pass(10);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 2);
    assert_int_equal(last_heir(), 3);
    answer_unfit(3);
    pass(10);
    assert_int_equal(status().role, RAFT_FOLLOWER); /* nobody is left to ask */
    disk_works();
    close_node();
}

static void with_nobody_to_hand_over_to_it_steps_down_within_two_and_stays_down(void **state)
{
    struct raft_message ask = {.type = RAFT_MSG_PRE_VOTE, .from = 2, .to = 1, .term = 2, .index = 9, .log_term = 1};
    struct raft_message lead_now = {.type = RAFT_MSG_TIMEOUT_NOW, .from = 2, .to = 1, .term = 2};
    struct wish w;
    unsigned asked;

    (void)state;
    lead_on_a_stepped_disk(3);
    assert_int_equal(put(&w, 1), ST_OK);
    node_run(node);
    pass_heard(140); /* the heir never gets everything */
    assert_int_equal(status().role, RAFT_LEADER);
    pass_heard(20);
    assert_int_equal(status().role, RAFT_FOLLOWER);
    /* As long as the disk stalls it neither campaigns, nor promises anything, nor takes leadership. */
    asked = sent_of(RAFT_MSG_PRE_VOTE);
    pass(1000);
    assert_int_equal(status().role, RAFT_FOLLOWER);
    node_step(node, &ask);
    hear_of_leader(2, 2);
    node_step(node, &lead_now);
    node_run(node);
    assert_int_equal(status().role, RAFT_FOLLOWER);
    assert_int_equal(sent_of(RAFT_MSG_PRE_VOTE), asked);
    assert_int_equal(sent_of(RAFT_MSG_PRE_VOTE_RESPONSE), 0);
    assert_int_equal(sent_of(RAFT_MSG_VOTE), 2); /* those of its own election */
    /* It works again: so does the member. */
    disk_works();
    pass(300);
    assert_true(sent_of(RAFT_MSG_PRE_VOTE) > asked);
    disk_works();
    close_node();
}

static void a_slow_disk_that_gets_something_done_is_no_stall(void **state)
{
    struct wish w[8];

    (void)state;
    lead_on_a_stepped_disk(3);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(put(&w[i], 1), ST_OK);
        node_run(node);
        pass_heard(60);
        assert_true(wal_step(wal)); /* 60 ms each */
        node_on_wal(node);
        node_run(node);
        pass_heard(20);
    }
    assert_int_equal(status().role, RAFT_LEADER);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 0);
    close_node();
}

static void a_leader_without_others_who_could_waits_for_its_disk(void **state)
{
    struct wish w;

    (void)state;
    lead_on_a_stepped_disk(3);
    assert_int_equal(put(&w, 1), ST_OK);
    node_run(node);
    for (int i = 0; i < 60; i++) { /* 3 is gone, so 2 could not be elected */
        pass(10);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
    }
    assert_int_equal(status().role, RAFT_LEADER);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 2);
    assert_int_equal(w.ended, 0);
    disk_works();
    assert_true(w.ended == 1 && w.status == ST_OK);
    close_node();
}

static void a_process_that_was_paused_takes_its_disk_for_no_worse(void **state)
{
    struct wish w;

    (void)state;
    lead_on_a_stepped_disk(3);
    assert_int_equal(put(&w, 1), ST_OK);
    node_run(node);
    now += 60 * NS_PER_S;
    pass_heard(50);
    assert_int_equal(sent_of(RAFT_MSG_TIMEOUT_NOW), 0);
    assert_int_equal(status().role, RAFT_LEADER);
    close_node();
}

static void no_more_waits_for_the_disk_than_may(void **state)
{
    static struct wish wishes[200];
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 1 << 20);
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 3, .entries = &e, .entry_count = 1};
    enum status st = ST_OK;
    struct wish w;
    unsigned taken = 0;

    (void)state;
    lead_on_a_stepped_disk(3);
    for (; taken < 200 && st == ST_OK; taken += st == ST_OK) {
        st = put(&wishes[taken], 1000000);
        node_run(node);
        answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 2 + taken); /* committed by the others: no limit of the core's holds it up */
        answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 2 + taken);
    }
    assert_int_equal(st, ST_TOO_MANY_REQUESTS);
    assert_in_range(taken, RAFT_UNSTORED_BYTES_MAX / 1000200, RAFT_UNSTORED_BYTES_MAX / 1000000 + 2);
    assert_int_equal(status().hard.commit, 1 + taken);
    /* Nor does a leader's append come in, until the disk has done something. */
    m.index = status().last;
    m.log_term = 1;
    e->index = m.index + 1;
    e->term = 3;
    node_step(node, &m);
    node_run(node);
    assert_int_equal(status().last, m.index);
    disk_works();
    assert_true(wishes[taken - 1].ended == 1 && wishes[taken - 1].status == ST_OK);
    assert_int_equal(put(&w, 1), ST_OK);
    node_cancel(node, w.request);
    node_step(node, &m);
    node_run(node);
    assert_int_equal(status().last, m.index + 1);
    raft_entry_unref(e);
    close_node();
}

/* A leader asks at each heartbeat, and none of the answers may go: the last one says it all. */
static void answers_that_wait_for_a_disk_are_not_one_for_each_question(void **state)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 0);
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 5, .entries = &e, .entry_count = 1};

    (void)state;
    open_node(3, UINT64_MAX, true);
    e->index = 1;
    e->term = 5;
    node_step(node, &m);
    node_run(node);
    m = (struct raft_message){.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 5, .index = 1, .log_term = 5};
    for (unsigned i = 0; i < 1000; i++) {
        node_step(node, &m);
        node_run(node);
    }
    assert_int_equal(sent_of(RAFT_MSG_APPEND_RESPONSE), 0);
    disk_works();
    assert_in_range(sent_of(RAFT_MSG_APPEND_RESPONSE), 1, 3);
    raft_entry_unref(e);
    close_node();
}

/* ---- back-pressure ---- */

static void too_far_ahead_of_what_is_applied_no_more_is_taken(void **state)
{
    static struct wish wishes[RAFT_APPLY_LAG_MAX + 1];
    struct wish w;

    (void)state;
    lead_on_a_stepped_disk(3);
    for (unsigned i = 0; i <= RAFT_APPLY_LAG_MAX; i++)
        assert_int_equal(put(&wishes[i], 1), ST_OK);
    node_run(node);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 1 + RAFT_APPLY_LAG_MAX); /* committed by the others, durable nowhere here */
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 1 + RAFT_APPLY_LAG_MAX);
    assert_int_equal(status().hard.commit - status().applied, RAFT_APPLY_LAG_MAX);
    assert_int_equal(put(&w, 1), ST_OK);
    node_cancel(node, w.request);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, 2 + RAFT_APPLY_LAG_MAX);
    answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, 2 + RAFT_APPLY_LAG_MAX);
    assert_int_equal(put(&w, 1), ST_TOO_MANY_REQUESTS);
    disk_works();
    assert_true(wishes[RAFT_APPLY_LAG_MAX].ended == 1 && wishes[RAFT_APPLY_LAG_MAX].status == ST_OK);
    assert_int_equal(put(&w, 1), ST_OK);
    node_cancel(node, w.request);
    close_node();
}

/* Without a leader everything waits. */
static void no_more_requests_wait_than_may(void **state)
{
    static struct wish wishes[PENDING_REQUESTS_MAX];
    struct wish w;

    (void)state;
    open_node(3, UINT64_MAX, false);
    for (unsigned i = 0; i < PENDING_REQUESTS_MAX; i++) {
        wishes[i] = (struct wish){0};
        assert_int_equal(i % 2 ? put(&wishes[i], 1) : node_read(node, INT64_MAX, on_done, &wishes[i], &wishes[i].request),
                         ST_OK);
    }
    assert_int_equal(put(&w, 1), ST_TOO_MANY_REQUESTS);
    assert_int_equal(node_read(node, INT64_MAX, on_done, &w, NULL), ST_TOO_MANY_REQUESTS);
    node_cancel(node, wishes[0].request);
    assert_int_equal(put(&w, 1), ST_OK);
    close_node();
    assert_true(wishes[1].ended == 1 && wishes[1].status == ST_STOPPED);
}

static void no_more_bytes_wait_for_a_leader_than_may(void **state)
{
    static struct wish wishes[400];
    unsigned taken = 0;

    (void)state;
    open_node(3, UINT64_MAX, false);
    while (taken < 400 && put(&wishes[taken], 1000000) == ST_OK)
        taken++;
    assert_in_range(taken, RAFT_UNCOMMITTED_BYTES_MAX / 1000100, RAFT_UNCOMMITTED_BYTES_MAX / 1000000 + 2);
    assert_int_equal(put(&wishes[taken], 1), ST_TOO_MANY_REQUESTS);
    node_cancel(node, wishes[0].request);
    node_cancel(node, wishes[1].request);
    assert_int_equal(put(&wishes[0], 1), ST_OK);
    close_node();
}

/* ---- no space ---- */

static void a_leader_without_space_gives_the_lead_to_one_that_can_take_it(void **state)
{
    (void)state;
    segment_bytes = 4 << 20;
    space_low_bytes = 1 << 20;
    open_node(3, UINT64_MAX, false);
    lead();
    answer_unfit(2);
    memory_disk_set_size(disk, 4 << 20);
    for (int i = 0; i < 5; i++) {
        pass(10);
        answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, status().last); /* its alarm */
    }
    assert_int_equal(last_heir(), 3);
    /* That one cannot, either, and the first one can by now. */
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, status().last);
    answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
    answer_unfit(3);
    pass(10);
    assert_int_equal(last_heir(), 2);
    close_node();
}

/* It answers heartbeats, and neither refuses the lead nor takes it. Whoever writes here waits meanwhile. */
static void an_heir_that_lets_time_pass_holds_up_nobody_for_good(void **state)
{
    raft_index last;
    int64_t rest = 0;
    struct wish w;

    (void)state;
    segment_bytes = 4 << 20;
    space_low_bytes = 1 << 20;
    open_node(3, UINT64_MAX, false);
    lead();
    memory_disk_set_size(disk, 4 << 20);
    while (!status().transferee) {
        pass(10);
        answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, status().last);
        answer(RAFT_MSG_APPEND_RESPONSE, 3, 1, status().last);
    }
    last = status().last;
    w = (struct wish){0};
    assert_int_equal(node_propose(node, COMMAND_DELETE_RANGE, slice_of("\x0a\x01k", 3), now + NS_PER_S, on_done, &w, NULL), ST_OK);
    for (int i = 0; i < 40; i++) { /* ticks; a timeout is 10 of them */
        pass(10);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 3, 1, 0);
        rest += !status().transferee;
    }
    assert_in_range(rest, 10, 25);
    assert_true(status().last > last);
    answer(RAFT_MSG_APPEND_RESPONSE, 2, 1, status().last);
    assert_true(w.ended == 1 && w.status == ST_OK);
    close_node();
}

/* ---- changes of members that others ask for ---- */

/* Whoever asked is waiting for it; no deadline is to tell what is known at once. */
static void a_leader_short_of_space_tells_why_it_takes_no_change(void **state)
{
    struct membership_entry e = {.change = {.kind = MEMBER_REMOVE, .id = 99}, .learners_max = 1, .origin = 2, .request = 5};
    struct raft_entry *entry = membership_encode(&e);
    struct raft_message m = {.type = RAFT_MSG_PROPOSE, .from = 2, .to = 1, .term = 1, .hint_index = 7, .context = 1,
                             .entries = &entry, .entry_count = 1};

    (void)state;
    segment_bytes = 4 << 20;
    space_low_bytes = 1 << 20;
    open_node(3, UINT64_MAX, false);
    lead();
    memory_disk_set_size(disk, 4 << 20);
    for (int i = 0; i < 300; i++) { /* it looks at the disk, and tries to give leadership away, which keeps changes for the heir */
        pass(10);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
    }
    assert_int_equal(node_propose(node, COMMAND_PUT, slice_of("", 0), now + NS_PER_S, on_done, NULL, NULL), ST_NO_SPACE);
    sent_count = 0;
    for (m.context = 1; m.context < 40 && !sent_of(RAFT_MSG_PROPOSE_REFUSED); m.context++) {
        node_step(node, &m);
        pass(10);
        answer(RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1, 0);
    }
    assert_true(sent_of(RAFT_MSG_PROPOSE_REFUSED) > 0);
    raft_entry_unref(entry);
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_asks_for_another_leader_hears_when_it_leads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_asks_for_one_that_does_not_lead_hears_of_that, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_wait_for_another_leader_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_heir_is_there_and_has_the_most, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_heir_could_lead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_heir_short_of_space_is_the_last_choice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_heir_that_cannot_makes_room_for_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_without_space_gives_the_lead_to_one_that_can_take_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_whose_disk_stalls_hands_over_within_an_election_timeout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(with_nobody_to_hand_over_to_it_steps_down_within_two_and_stays_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_disk_that_gets_something_done_is_no_stall, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_without_others_who_could_waits_for_its_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_process_that_was_paused_takes_its_disk_for_no_worse, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_waits_for_the_disk_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_that_wait_for_a_disk_are_not_one_for_each_question, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_far_ahead_of_what_is_applied_no_more_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_requests_wait_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_bytes_wait_for_a_leader_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_heir_that_lets_time_pass_holds_up_nobody_for_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_short_of_space_tells_why_it_takes_no_change, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
