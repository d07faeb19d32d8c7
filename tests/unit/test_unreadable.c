/* SPDX-License-Identifier: Apache-2.0 */
/* A record that cannot be read: what depends on it waits or is refused, all else goes on, and the process does not end. */
#include <string.h>

#include "tests/unit/one_node.h"

#define SEALED 3u /* entries in the segment */

static enum status answered;
static unsigned answers;

static void on_done(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    (void)answer;
    answered = st;
    answers++;
}

/* ---- requests ---- */

static struct slice packed(const ProtobufCMessage *m)
{
    static uint8_t bytes[1000];

    assert_true(protobuf_c_message_get_packed_size(m) <= sizeof bytes);
    return slice_of(bytes, protobuf_c_message_pack(m, bytes));
}

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static Etcdserverpb__PutRequest put_of(const char *key, const char *value)
{
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;

    r.key = data(key);
    r.value = data(value);
    return r;
}

static enum status propose(enum command_kind kind, const ProtobufCMessage *m)
{
    enum status st = node_propose(node, kind, packed(m), INT64_MAX, on_done, NULL, NULL);

    node_run(node);
    return st;
}

static enum status put(const char *key, const char *value)
{
    Etcdserverpb__PutRequest r = put_of(key, value);

    return propose(COMMAND_PUT, &r.base);
}

/* Was it done, and with this answer? */
static void check_done(enum status st, enum status expected)
{
    assert_int_equal(st, ST_OK);
    assert_int_equal(answers, 1);
    assert_int_equal(answered, expected);
    answers = 0;
}

static bool has(const char *key)
{
    struct mvcc_span span = mvcc_span_of(slice_of_text(key), slice_of(NULL, 0));

    return mvcc_count(store, &span);
}

/* `read` is shown, `compared` (if not NULL) is compared, and "new" is written, or `written`. */
static enum status txn(const char *read, const char *compared, const char *written)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__PutRequest puts[2] = {put_of("new", "1"), put_of(written, "1")};
    Etcdserverpb__RequestOp ops[3] = {ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *list[3] = {&ops[0], &ops[1], &ops[2]};
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[1] = {&compare};
    Etcdserverpb__TxnRequest r = ETCDSERVERPB__TXN_REQUEST__INIT;

    range.key = data(read);
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[0].request_range = &range;
    for (int i = 0; i < 2; i++) {
        ops[1 + i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[1 + i].request_put = &puts[i];
    }
    compare.key = data(compared ? compared : "");
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    r.compare = compares;
    r.n_compare = compared != NULL;
    r.success = list;
    r.n_success = 3;
    return propose(COMMAND_TXN, &r.base);
}

/* ---- alone ---- */

/* "bad" has a record that is damaged, "good" and "other" have not. */
static void begin_alone(void)
{
    answers = 0;
    open_node(1, SEALED + 1, false);
    check_done(put("bad", "damaged"), ST_OK);
    check_done(put("good", "sound"), ST_OK);
    check_done(put("other", "sound"), ST_OK);
    write_seal();
    flip_in_store("damaged");
}

static void alone_what_depends_on_it_is_refused_before_it_is_in_the_log(void **state)
{
    (void)state;
    begin_alone();
    assert_int_equal(put("bad", "new"), ST_CORRUPT);
    assert_int_equal(txn("good", "bad", "other"), ST_CORRUPT);
    assert_int_equal(txn("good", NULL, "bad"), ST_CORRUPT);
    assert_int_equal(answers + unreadables, 0);
    assert_false(has("new"));
    check_done(put("good", "2"), ST_OK);
    check_done(txn("good", "other", "other"), ST_OK);
    assert_true(has("new"));
    close_node();
    open_node(1, SEALED + 1, false); /* nothing in the log keeps it from starting */
    assert_int_equal(unreadables, 0);
    check_done(put("good", "3"), ST_OK);
    close_node();
}

static void what_only_the_answer_would_show_is_done_all_the_same(void **state)
{
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    (void)state;
    begin_alone();
    check_done(txn("bad", "good", "other"), ST_ANSWER_UNREADABLE);
    assert_true(has("new"));
    del.key = data("bad");
    del.prev_kv = true;
    check_done(propose(COMMAND_DELETE_RANGE, &del.base), ST_ANSWER_UNREADABLE);
    assert_false(has("bad"));
    check_done(put("bad", "again"), ST_OK); /* what replaces nothing depends on nothing */
    close_node();
}

/* The damage comes when the entry is in the log already: it waits, with all behind it, and so does a start. */
static void what_is_in_the_log_waits(void **state)
{
    uint64_t sealed;

    (void)state;
    begin_alone();
    flip_in_store("damaged");
    sealed = mvcc_applied_index(store);
    check_done(put("bad", "new"), ST_OK);
    check_done(put("good", "2"), ST_OK);
    close_node();
    flip_in_store("damaged");
    open_node(1, UINT64_MAX, false);
    assert_int_equal(unreadables, 1);
    assert_int_equal(mvcc_applied_index(store), sealed);
    for (int i = 1; i < 100; i++) {
        node_tick(node, i * 10 * MS);
        node_run(node);
    }
    assert_int_equal(unreadables, 1); /* it is said once */
    assert_int_equal(mvcc_applied_index(store), sealed);
    flip_in_store("damaged");
    node_tick(node, NS_PER_S);
    node_run(node);
    assert_true(mvcc_applied_index(store) > sealed + 1);
    check_done(put("bad", "3"), ST_OK);
    close_node();
}

/* ---- one of three ---- */

static struct raft_entry *entry_of(raft_index index, const char *key)
{
    Etcdserverpb__PutRequest r = put_of(key, strcmp(key, "bad") ? "sound" : "damaged");
    struct slice payload = packed(&r.base);
    struct command header = {.kind = COMMAND_PUT, .origin = 2, .request = index, .time_ns = (int64_t)index};
    struct raft_entry *e = command_new(&header, payload.len);

    memcpy(command_payload_room(e), payload.data, payload.len);
    e->index = index;
    e->term = 1;
    return e;
}

/* The leader, 2, sends these behind `index`, and they are committed. */
static void hear(raft_index index, struct raft_entry **entries, size_t count)
{
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 1, .index = index, .log_term = index > 0,
                             .commit = index + count, .entries = entries, .entry_count = count};

    node_step(node, &m);
    node_run(node);
    for (size_t i = 0; i < count; i++)
        raft_entry_unref(entries[i]);
}

static void hear_puts(raft_index index, const char *const keys[], size_t count)
{
    struct raft_entry *entries[8];

    for (size_t i = 0; i < count; i++)
        entries[i] = entry_of(index + 1 + i, keys[i]);
    hear(index, entries, count);
}

static void hear_change(raft_index index, enum member_change_kind kind, uint64_t id)
{
    char url[] = "http://d:1", *urls[] = {url};
    struct membership_entry change = {.change = {.kind = kind, .id = id, .peer_urls = urls, .peer_url_count = kind != MEMBER_REMOVE}};
    struct raft_entry *e = membership_encode(&change);

    e->index = index + 1;
    e->term = 1;
    hear(index, &e, 1);
}

static unsigned heals_in_a_tick(int64_t now_ns)
{
    heals = 0;
    node_tick(node, now_ns);
    node_run(node);
    return heals;
}

static void begin_as_follower(void)
{
    open_node(3, SEALED, false);
    hear_puts(0, (const char *[]){"bad", "good", "other"}, SEALED);
    write_seal();
    flip_in_store("damaged");
    sent_count = 0;
    hear_puts(SEALED, (const char *[]){"good", "bad", "other"}, 3);
}

static void a_follower_stores_and_votes_and_applies_later(void **state)
{
    struct raft_message vote = {.type = RAFT_MSG_VOTE, .from = 3, .to = 1, .term = 2, .index = SEALED + 3, .log_term = 1, .transfer = true};
    struct mvcc_kv kv;

    (void)state;
    begin_as_follower();
    assert_int_equal(unreadables, 1);
    assert_int_equal(mvcc_applied_index(store), SEALED + 1);
    assert_int_equal(sent_of(RAFT_MSG_APPEND_RESPONSE), 1);
    assert_int_equal(sent[sent_count - 1].index, SEALED + 3);
    node_step(node, &vote);
    node_run(node);
    assert_int_equal(sent_of(RAFT_MSG_VOTE_RESPONSE), 1);
    assert_false(sent[sent_count - 1].reject);
    flip_in_store("damaged");
    node_tick(node, 20 * MS);
    node_run(node);
    assert_int_equal(mvcc_applied_index(store), SEALED + 3);
    assert_int_equal(mvcc_get(store, slice_of_text("bad"), 0, false, &kv), ST_OK);
    assert_true(kv.version == 2 && kv.create_time_ns == 1);
    close_node();
}

static void it_leads_only_when_nobody_else_does(void **state)
{
    (void)state;
    begin_as_follower();
    for (int i = 1; i <= 50; i++) { /* five election timeouts */
        node_tick(node, i * 10 * MS);
        node_run(node);
    }
    assert_int_equal(sent_of(RAFT_MSG_PRE_VOTE), 0);
    for (int i = 51; i <= 150; i++) {
        node_tick(node, i * 10 * MS);
        node_run(node);
    }
    assert_true(sent_of(RAFT_MSG_PRE_VOTE) > 0);
    close_node();
}

static void a_member_that_applies_nothing_says_so(void **state)
{
    (void)state;
    begin_as_follower();
    hear_of_leader(2, 1);
    assert_int_equal(put("good", "3"), ST_CORRUPT);
    assert_int_equal(node_read(node, INT64_MAX, on_done, NULL, NULL), ST_CORRUPT);
    flip_in_store("damaged");
    node_tick(node, 20 * MS);
    node_run(node);
    answers = 0;
    assert_int_equal(put("good", "3"), ST_OK);
    assert_int_equal(node_read(node, INT64_MAX, on_done, NULL, NULL), ST_OK);
    close_node();
    assert_int_equal(answers, 2);
}

static void a_member_that_knows_of_damage_refuses_what_depends_on_it(void **state)
{
    struct mvcc_kv kv;

    (void)state;
    open_node(3, SEALED, false);
    hear_puts(0, (const char *[]){"bad", "good", "other"}, SEALED);
    write_seal();
    flip_in_store("damaged");
    assert_int_equal(mvcc_get(store, slice_of_text("bad"), 0, false, &kv), ST_CORRUPT);
    assert_int_equal(put("bad", "3"), ST_CORRUPT);
    assert_int_equal(put("good", "3"), ST_OK);
    close_node();
}

/* By the log, not by what is applied: that stands still. */
static void it_begins_anew_when_those_who_are_members_now_suffice(void **state)
{
    (void)state;
    begin_as_follower();
    hear_of_leader(2, 1);
    connected = 1 << 2;
    assert_int_equal(heals_in_a_tick(20 * MS), 0);
    connected |= 1 << 3;
    assert_int_equal(heals_in_a_tick(30 * MS), 1);
    hear_change(SEALED + 3, MEMBER_REMOVE, 3); /* it is still connected, and votes no more */
    assert_int_equal(heals_in_a_tick(40 * MS), 0);
    hear_change(SEALED + 4, MEMBER_ADD, 4);
    assert_int_equal(heals_in_a_tick(50 * MS), 0);
    connected |= 1 << 4;
    assert_int_equal(heals_in_a_tick(60 * MS), 1);
    assert_int_equal(mvcc_applied_index(store), SEALED + 1);
    close_node();
}

/* What is decreed cannot be put off: until then it is one of several, and hears them. */
static void who_is_to_go_on_alone_does_not_wait(void **state)
{
    static jmp_buf end;

    (void)state;
    begin_as_follower();
    close_node();
    force_new_cluster = true;
    ends_to = &end;
    if (!setjmp(end)) {
        open_node(3, UINT64_MAX, false);
        fail_msg("it starts");
    }
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alone_what_depends_on_it_is_refused_before_it_is_in_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_only_the_answer_would_show_is_done_all_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_the_log_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_follower_stores_and_votes_and_applies_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_leads_only_when_nobody_else_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_applies_nothing_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_begins_anew_when_those_who_are_members_now_suffice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_to_go_on_alone_does_not_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_knows_of_damage_refuses_what_depends_on_it, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
