/* SPDX-License-Identifier: Apache-2.0 */
/* Members compare what they hold: the judgement, and a member that asks, is asked, and raises the alarm. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "raftd/node/divergence.h"
#include "tests/unit/one_node.h"

/* ---- the judgement ---- */

static const struct raft_conf three = {.voters = {1, 2, 3}, .voter_count = 3};
static const struct raft_conf five = {.voters = {1, 2, 3, 4, 5}, .voter_count = 5};
static const struct raft_conf two = {.voters = {1, 2}, .voter_count = 2};

static struct divergence find(const struct raft_conf *conf, const struct hash_row *rows, unsigned count)
{
    struct divergence d;

    divergence_find(rows, count, conf, &d);
    return d;
}

#define FIND(conf, ...)                                                                                                         \
    find(conf, (const struct hash_row[]){__VA_ARGS__}, sizeof(const struct hash_row[]){__VA_ARGS__} / sizeof(struct hash_row))

static void who_differs_from_a_quorum_is_named(void **state)
{
    struct divergence d;

    (void)state;
    d = FIND(&three, {1, true, 7, 0}, {2, true, 7, 0}, {3, true, 7, 0});
    assert_true(d.agreed && !d.doubtful && !d.wrong_count);
    d = FIND(&three, {1, true, 7, 0}, {2, true, 8, 0}, {3, true, 7, 0});
    assert_true(d.agreed && !d.doubtful && d.wrong_count == 1 && d.wrong[0] == 2);
    d = FIND(&three, {1, true, 8, 0}, {2, true, 7, 0}, {3, true, 7, 0}); /* whoever asked */
    assert_true(d.wrong_count == 1 && d.wrong[0] == 1);
    d = FIND(&five, {1, true, 7, 0}, {2, true, 8, 0}, {3, true, 7, 0}, {4, true, 9, 0},
             {5, true, 7, 0});
    assert_true(d.wrong_count == 2 && d.wrong[0] == 2 && d.wrong[1] == 4);
}

static void without_a_quorum_nobody_is_named(void **state)
{
    struct divergence d;

    (void)state;
    d = FIND(&two, {1, true, 7, 0}, {2, true, 8, 0});
    assert_true(!d.agreed && d.doubtful && !d.wrong_count);
    d = FIND(&three, {1, true, 7, 0}, {2, true, 8, 0}, {3, true, 9, 0});
    assert_true(!d.agreed && d.doubtful && !d.wrong_count);
    d = FIND(&three, {1, true, 7, 0}, {3, true, 8, 0}); /* the third has not answered */
    assert_true(!d.agreed && d.doubtful && !d.wrong_count);
    d = FIND(&three, {1, true, 7, 0}); /* alone one cannot differ */
    assert_true(!d.agreed && !d.doubtful && !d.wrong_count);
    assert_false(find(&three, NULL, 0).doubtful);
}

static void who_cannot_tell_and_who_forgot_another_part_is_not_judged(void **state)
{
    struct divergence d;

    (void)state;
    d = FIND(&three, {1, true, 7, 0}, {2, true, 7, 0}, {3, false, 8, 0});
    assert_true(d.agreed && !d.wrong_count);
    d = FIND(&three, {1, true, 7, 5}, {2, true, 7, 5}, {3, true, 8, 9});
    assert_true(d.agreed && !d.doubtful && !d.wrong_count);
    d = FIND(&three, {1, true, 7, 5}, {2, true, 8, 6}, {3, true, 9, 7});
    assert_true(!d.agreed && !d.doubtful && !d.wrong_count);
}

static void who_was_compared_is_counted(void **state)
{
    struct divergence d;

    (void)state;
    d = FIND(&three, {1, true, 7, 5}, {2, true, 7, 6}, {3, true, 7, 7});
    assert_true(!d.agreed && !d.doubtful && d.compared == 1);
    d = FIND(&three, {1, true, 7, 5}, {2, true, 7, 6}, {3, true, 8, 6});
    assert_true(!d.agreed && d.doubtful && d.compared == 2 && d.compact_rev == 6);
    d = FIND(&three, {1, true, 8, 5}, {2, true, 7, 6}, {3, true, 7, 6});
    assert_true(d.agreed && d.compared == 2 && d.compact_rev == 6 && d.alike_count == 2 && d.alike[0] == 2 && d.alike[1] == 3);
    d = FIND(&three, {1, false, 7, 5}, {2, false, 7, 5});
    assert_int_equal(d.compared, 0);
    assert_int_equal(find(&three, NULL, 0).compared, 0);
}

static void learners_are_judged_and_judge_nobody(void **state)
{
    const struct raft_conf c = {.voters = {1, 2, 3}, .voter_count = 3, .learners = {4, 5}, .learner_count = 2};
    struct divergence d;

    (void)state;
    d = FIND(&c, {1, true, 7, 0}, {2, true, 7, 0}, {4, true, 8, 0}, {5, true, 8, 0});
    assert_true(d.agreed && d.wrong_count == 2 && d.wrong[0] == 4 && d.wrong[1] == 5);
    d = FIND(&c, {1, true, 7, 0}, {4, true, 8, 0}, {5, true, 8, 0});
    assert_true(!d.agreed && d.doubtful);
}

static void a_joint_configuration_needs_both_quorums(void **state)
{
    const struct raft_conf c = {.voters = {1, 2, 3}, .voter_count = 3, .outgoing = {3, 4, 5}, .outgoing_count = 3};
    struct divergence d;

    (void)state;
    d = FIND(&c, {1, true, 7, 0}, {2, true, 7, 0}, {3, true, 8, 0});
    assert_true(!d.agreed && d.doubtful);
    d = FIND(&c, {1, true, 7, 0}, {2, true, 8, 0}, {3, true, 7, 0}, {4, true, 7, 0});
    assert_true(d.agreed && d.wrong_count == 1 && d.wrong[0] == 2);
}

/* ---- a member ---- */

static int64_t now;

static void pass(int64_t ms)
{
    for (int64_t end = now + ms * MS; now < end;) {
        now += 10 * MS;
        node_tick(node, now);
        node_run(node);
    }
}

static struct raft_status status(void)
{
    struct raft_status st;

    node_get_raft_status(node, &st);
    return st;
}

static void answer(enum raft_message_type type, uint64_t from, raft_index index)
{
    struct raft_message m = {.type = type, .from = from, .to = 1, .term = 1, .index = index};

    node_step(node, &m);
    node_run(node);
}

/* The others live, and hold all that they are sent. */
static void pass_heard_up_to(uint64_t last, int64_t ms)
{
    for (int64_t end = now + ms * MS; now < end;) {
        pass(10);
        for (uint64_t id = 2; id <= last; id++) {
            answer(RAFT_MSG_HEARTBEAT_RESPONSE, id, 0);
            answer(RAFT_MSG_APPEND_RESPONSE, id, status().last);
        }
    }
}

static void pass_heard(int64_t ms)
{
    pass_heard_up_to(3, ms);
}

static void lead(unsigned members)
{
    corrupt_check_ns = 1000 * MS;
    open_node(members, UINT64_MAX, false);
    now = 0;
    while (status().role != RAFT_PRE_CANDIDATE)
        pass(10);
    answer(RAFT_MSG_PRE_VOTE_RESPONSE, 2, 0);
    answer(RAFT_MSG_VOTE_RESPONSE, 2, 0);
    assert_int_equal(status().role, RAFT_LEADER);
    pass_heard(50);
}

static enum status put_status;
static unsigned put_ended;

static void on_done(void *arg, enum status st, struct slice bytes)
{
    (void)arg;
    (void)bytes;
    put_status = st;
    put_ended++;
}

/* What a client gets for it. */
static enum status put(void)
{
    enum status st;

    put_ended = 0;
    st = node_propose(node, COMMAND_PUT, slice_of("\x0a\x01k\x12\x01v", 6), INT64_MAX, on_done, NULL, NULL);
    if (st != ST_OK)
        return st;
    pass_heard(30);
    assert_int_equal(put_ended, 1);
    return put_status;
}

/* The last one that asks `to`. */
static const struct raft_message *question(uint64_t to)
{
    for (unsigned i = sent_count; i > 0; i--)
        if (sent[i - 1].type == RAFT_MSG_HASH && sent[i - 1].to == to)
            return &sent[i - 1];
    return NULL;
}

static uint32_t own_hash(mvcc_rev rev)
{
    uint32_t hash;

    assert_int_equal(mvcc_hash(store, rev, &hash), ST_OK);
    return hash;
}

static void tell_hash_of(uint64_t from, const struct raft_message *asked, uint32_t hash, mvcc_rev compact_rev)
{
    struct raft_message m = {.type = RAFT_MSG_HASH_RESPONSE, .from = from, .to = 1, .index = asked->index, .context = asked->context,
                             .hint_term = hash, .commit = (uint64_t)compact_rev};

    node_step(node, &m);
    node_run(node);
}

static void tell_hash(uint64_t from, const struct raft_message *asked, uint32_t hash)
{
    tell_hash_of(from, asked, hash, mvcc_compact_revision(store));
}

static void wait_for_question(void)
{
    sent_count = 0;
    for (int i = 0; i < 300 && !question(2); i++) {
        sent_count = 0; /* heartbeats fill it */
        pass_heard(10);
    }
    assert_non_null(question(2));
    assert_non_null(question(3));
    pass_heard(50); /* its own is made */
}

/* A leader of three has written something and asks; what it asked member 2. */
static struct raft_message begin_comparison(void)
{
    lead(3);
    assert_int_equal(put(), ST_OK);
    wait_for_question();
    return *question(2);
}

static unsigned alarms(struct alarm *ret_list)
{
    return members_alarms(node_members(node), ALARM_CORRUPT, ret_list);
}

static void a_leader_finds_one_that_differs_and_writes_end(void **state)
{
    const uint8_t disarm[] = {0x08, 0x02, 0x10, 3, 0x18, 0x02}; /* DEACTIVATE, of 3, CORRUPT */
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;

    (void)state;
    asked = begin_comparison();
    assert_int_equal(asked.index, mvcc_revision(store));
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index));
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index) + 1);
    pass_heard(30);
    assert_int_equal(alarms(list), 1);
    assert_true(list[0].id == 3 && list[0].type == ALARM_CORRUPT);
    assert_false(node_is_corrupt(node)); /* this one serves reads */
    assert_int_equal(put(), ST_CORRUPT_CLUSTER);
    assert_int_equal(node_propose(node, COMMAND_DELETE_RANGE, slice_of("\x0a\x01k", 3), INT64_MAX, on_done, NULL, NULL), ST_CORRUPT_CLUSTER);
    /* An operator ends it; and what still differs is found again. */
    assert_int_equal(node_propose(node, COMMAND_ALARM, slice_of(disarm, sizeof disarm), INT64_MAX, on_done, NULL, NULL), ST_OK);
    pass_heard(30);
    assert_int_equal(put_status, ST_OK);
    assert_int_equal(alarms(list), 0);
    assert_int_equal(put(), ST_OK);
    wait_for_question();
    asked = *question(3);
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index));
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index) + 1);
    pass_heard(30);
    assert_int_equal(alarms(list), 1);
    close_node();
    /* The alarm is state: a start knows it before it hears of anybody. */
    open_node(3, UINT64_MAX, false);
    assert_int_equal(alarms(list), 1);
    close_node();
}

static void a_leader_may_be_the_one_that_is_wrong(void **state)
{
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;

    (void)state;
    asked = begin_comparison();
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index) + 1);
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index) + 1);
    pass_heard(30);
    assert_int_equal(alarms(list), 1);
    assert_int_equal(list[0].id, 1);
    assert_true(node_is_corrupt(node));
    close_node();
}

/* The third may yet say who is right; when it is not heard of in time, all that is known is that somebody is wrong. */
static void who_is_wrong_stays_open_without_a_quorum(void **state)
{
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;

    (void)state;
    asked = begin_comparison();
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index) + 1);
    pass_heard(2000);
    assert_int_equal(alarms(list), 0);
    assert_int_equal(put(), ST_OK);
    pass_heard(60000);
    assert_int_equal(alarms(list), 1);
    assert_int_equal(list[0].id, 0);
    assert_false(node_is_corrupt(node));
    assert_int_equal(put(), ST_CORRUPT_CLUSTER);
    close_node();
}

/* Who is not there cannot say who is right: the alarm is not put off for it. */
static void a_member_that_is_down_is_not_waited_for(void **state)
{
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;

    (void)state;
    asked = begin_comparison();
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index) + 1);
    pass_heard_up_to(2, 1200);
    assert_int_equal(alarms(list), 1);
    assert_int_equal(list[0].id, 0);
    assert_true(node_refuses_reads(node) && !node_is_corrupt(node));
    close_node();
}

/* Nobody is accused for that, but nobody is said to hold the same, either. */
/* A hash that takes longer than the period, of one that is there: without it a quorum agrees each time. */
static void who_is_slower_than_the_period_is_compared(void **state)
{
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;

    (void)state;
    asked = begin_comparison();
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index));
    for (int i = 0; i < 30; i++) {
        sent_count = 0;
        pass_heard(100);
    }
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index) + 1);
    pass_heard(30);
    assert_int_equal(alarms(list), 1);
    assert_int_equal(list[0].id, 3);
    close_node();
}

static void what_cannot_be_compared_is_told(void **state)
{
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;
    mvcc_rev compacted;
    char words[100];

    (void)state;
    asked = begin_comparison();
    compacted = mvcc_compact_revision(store);
    compare_words[0] = '\0';
    tell_hash_of(2, &asked, 1, compacted + 1);
    tell_hash_of(3, &asked, 2, compacted + 2);
    assert_int_equal(alarms(list), 0);
    assert_true(compare_is_bad);
    assert_null(strstr(compare_words, "none differ"));
    assert_non_null(strstr(compare_words, "no hash values could be compared rev=2 answers=3 of=3"));
    snprintf(words, sizeof words, "member=3 compact_rev=%" PRId64 " others=%" PRId64, compacted + 2, compacted);
    assert_non_null(strstr(compare_words, words));
    close_node();
}

static void equal_members_raise_nothing_and_neither_do_old_or_strange_answers(void **state)
{
    struct alarm list[ALARMS_MAX];
    struct raft_message asked, old;

    (void)state;
    lead(3);
    assert_int_equal(put(), ST_OK);
    wait_for_question();
    old = asked = *question(2);
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index));
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index));
    assert_int_equal(put(), ST_OK);
    wait_for_question();
    asked = *question(2);
    assert_true(asked.context != old.context && asked.index == old.index + 1);
    tell_hash(2, &old, 99);
    tell_hash(3, &old, 99);
    tell_hash(7, &asked, 99); /* no member */
    old = asked;
    old.index--;
    tell_hash(2, &old, 99);
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index));
    tell_hash(3, &asked, 99); /* it has said what it says */
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index));
    pass_heard(100);
    assert_int_equal(alarms(list), 0);
    assert_int_equal(put(), ST_OK);
    close_node();
}

static const struct raft_message *told(void)
{
    for (unsigned i = 0; i < sent_count; i++)
        if (sent[i].type == RAFT_MSG_HASH_RESPONSE)
            return &sent[i];
    return NULL;
}

static void who_is_asked_answers_when_it_has_the_revision(void **state)
{
    struct raft_message ask = {.type = RAFT_MSG_HASH, .from = 2, .to = 1, .index = 3, .context = 77};
    struct raft_message stranger = {.type = RAFT_MSG_HASH, .from = 9, .to = 1, .index = 2, .context = 78};

    (void)state;
    lead(3);
    assert_int_equal(put(), ST_OK);
    sent_count = 0;
    node_step(node, &stranger);
    node_step(node, &ask);
    pass_heard(100);
    assert_null(told()); /* it is behind */
    assert_int_equal(put(), ST_OK);
    assert_int_equal(put(), ST_OK);
    pass_heard(20);
    assert_non_null(told());
    assert_true(told()->to == 2 && told()->index == 3 && told()->context == 77 && !told()->reject);
    assert_int_equal(told()->hint_term, own_hash(3));
    /* Asked again, for the answer was lost. */
    sent_count = 0;
    node_step(node, &ask);
    assert_non_null(told());
    assert_int_equal(told()->hint_term, own_hash(3));
    /* What makes no sense. */
    sent_count = 0;
    ask.context++;
    ask.index = UINT64_MAX;
    node_step(node, &ask);
    ask.index = 0;
    node_step(node, &ask);
    pass_heard(50);
    assert_null(told());
    /* Who stops asking is not answered later. */
    ask.index = 6;
    node_step(node, &ask);
    for (int i = 0; i < 30; i++) {
        sent_count = 0;
        pass_heard(100);
    }
    assert_int_equal(put(), ST_OK);
    assert_int_equal(put(), ST_OK);
    pass_heard(50);
    assert_null(told());
    close_node();
}

/* More than a slice, and the others' time is over meanwhile: still it is compared. */
static void a_hash_that_takes_longer_than_the_others_are_waited_for_counts(void **state)
{
    static uint8_t value[1 << 20];
    uint8_t head[] = {0x0a, 0x01, 'k', 0x12, 0x80, 0x80, 0x3c}; /* a key, and a value of 983040 bytes */
    struct alarm list[ALARMS_MAX];
    struct raft_message asked;

    (void)state;
    lead(3);
    memcpy(value, head, sizeof head);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(node_propose(node, COMMAND_PUT, slice_of(value, sizeof head + 983040), INT64_MAX, on_done, NULL, NULL), ST_OK);
        pass_heard(30);
    }
    sent_count = 0;
    for (int i = 0; i < 300 && !question(2); i++) {
        sent_count = 0;
        pass_heard(10);
    }
    asked = *question(2);
    tell_hash(2, &asked, 99);
    tell_hash(3, &asked, 99);
    assert_int_equal(alarms(list), 0); /* its own is not there */
    now += 61 * NS_PER_S;
    node_tick(node, now);
    node_run(node);
    assert_int_equal(alarms(list), 0);
    pass_heard(300);
    assert_int_equal(alarms(list), 1);
    assert_int_equal(list[0].id, 1);
    close_node();
}

/* ---- at the start ---- */

static int may_serve; /* -1: not known yet */

static void on_compared(void *arg, bool may)
{
    (void)arg;
    assert_int_equal(may_serve, -1);
    may_serve = may;
}

/* A member that was sent one put, applied it, and begins again. */
static struct raft_message begin_again(void)
{
    lead(3);
    assert_int_equal(put(), ST_OK);
    close_node();
    sent_count = 0;
    corrupt_check_ns = 0;
    open_node(3, UINT64_MAX, false);
    may_serve = -1;
    pass(10);
    node_compare_at_start(node, on_compared, NULL);
    pass(50);
    assert_int_equal(may_serve, -1);
    assert_non_null(question(2));
    assert_int_equal(question(2)->index, mvcc_revision(store));
    return *question(2);
}

static void a_member_that_starts_serves_when_a_quorum_holds_the_same(void **state)
{
    struct raft_message asked = begin_again();

    (void)state;
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index));
    assert_int_equal(may_serve, true); /* it need not wait for 2 */
    close_node();
}

static void a_member_that_starts_and_differs_does_not_serve(void **state)
{
    struct raft_message asked = begin_again();

    (void)state;
    tell_hash(3, &asked, 99);
    assert_int_equal(may_serve, -1); /* 3 may be the one */
    tell_hash(2, &asked, 99);
    assert_int_equal(may_serve, false);
    close_node();
}

static void a_member_that_starts_is_not_to_blame_for_another(void **state)
{
    struct raft_message asked = begin_again();

    (void)state;
    tell_hash(3, &asked, 99);
    tell_hash(2, &asked, own_hash((mvcc_rev)asked.index));
    assert_int_equal(may_serve, true);
    close_node();
}

static void a_member_that_starts_waits_no_longer_than_a_request(void **state)
{
    struct raft_message asked = begin_again();
    unsigned again;

    (void)state;
    sent_count = 0;
    pass(2000);
    again = sent_of(RAFT_MSG_HASH);
    assert_in_range(again, 6, 10); /* both are asked again, twice a second */
    tell_hash(3, &asked, 99);
    for (int i = 0; i < 60; i++) {
        sent_count = 0;
        pass(100);
    }
    assert_int_equal(may_serve, false); /* one of two is wrong, and nobody says which */
    close_node();
}

/* Silence is no answer; and nor is one that cannot tell. */
static void a_member_that_starts_alone_waits_for_a_quorum(void **state)
{
    struct raft_message asked = begin_again(), cannot;
    uint64_t first = asked.context;

    (void)state;
    for (int i = 0; i < 200; i++) {
        sent_count = 0;
        pass(100);
    }
    assert_int_equal(may_serve, -1);
    assert_true(compare_is_bad);
    assert_non_null(strstr(compare_words, "clients wait"));
    for (int i = 0; i < 10 && !question(3); i++)
        pass(100);
    asked = *question(3);
    assert_true(asked.context != first); /* anew */
    cannot = (struct raft_message){.type = RAFT_MSG_HASH_RESPONSE, .from = 2, .to = 1, .index = asked.index, .context = asked.context, .reject = true};
    node_step(node, &cannot);
    assert_int_equal(may_serve, -1);
    pass(50); /* its own is made */
    tell_hash(3, &asked, own_hash((mvcc_rev)asked.index));
    assert_int_equal(may_serve, true);
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_differs_from_a_quorum_is_named),
        cmocka_unit_test(without_a_quorum_nobody_is_named),
        cmocka_unit_test(who_cannot_tell_and_who_forgot_another_part_is_not_judged),
        cmocka_unit_test(who_was_compared_is_counted),
        cmocka_unit_test(learners_are_judged_and_judge_nobody),
        cmocka_unit_test(a_joint_configuration_needs_both_quorums),
        cmocka_unit_test_setup_teardown(a_leader_finds_one_that_differs_and_writes_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_may_be_the_one_that_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_wrong_stays_open_without_a_quorum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_slower_than_the_period_is_compared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_is_down_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_compared_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(equal_members_raise_nothing_and_neither_do_old_or_strange_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_asked_answers_when_it_has_the_revision, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hash_that_takes_longer_than_the_others_are_waited_for_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_starts_serves_when_a_quorum_holds_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_starts_and_differs_does_not_serve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_starts_is_not_to_blame_for_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_starts_waits_no_longer_than_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_starts_alone_waits_for_a_quorum, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
