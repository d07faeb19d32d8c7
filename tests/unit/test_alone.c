/* SPDX-License-Identifier: Apache-2.0 */
/* --force-new-cluster: one member of a cluster whose others are lost goes on with what it knows to be committed. */
#include <string.h>

#include "raftd/node/membership.h"
#include "tests/unit/one_node.h"

static struct raft_entry *put_entry(raft_index index, const char *key)
{
    struct command header = {.kind = COMMAND_PUT, .origin = 2, .request = index};
    struct raft_entry *e = command_new(&header, 3);
    uint8_t *p = command_payload_room(e);

    p[0] = 0x0a;
    p[1] = 1;
    p[2] = (uint8_t)*key;
    e->term = 3;
    e->index = index;
    return e;
}

static bool has_key(const char *key)
{
    struct mvcc_kv kv;

    return mvcc_get(store, slice_of_text(key), 0, true, &kv) == ST_OK;
}

/* Three entries of another leader, of which this one knows two to be committed. */
static void hear_appends(void)
{
    struct raft_entry *entries[] = {put_entry(1, "a"), put_entry(2, "b"), put_entry(3, "c")};
    struct raft_message m = {
        .type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 3, .commit = 2, .entries = entries, .entry_count = 3};

    node_step(node, &m);
    node_run(node);
    for (unsigned i = 0; i < 3; i++)
        raft_entry_unref(entries[i]);
}

struct waiter {
    unsigned ended;
    enum status status;
};

static void on_done(void *arg, enum status st, struct slice answer)
{
    struct waiter *w = arg;

    (void)answer;
    w->ended++;
    w->status = st;
}

static void who_is_left_of_a_cluster_goes_on_alone(void **state)
{
    struct waiter w = {0};
    struct raft_status st;

    (void)state;
    open_node(3, UINT64_MAX, false);
    hear_appends();
    assert_true(has_key("a") && has_key("b") && !has_key("c"));
    close_node();
    force_new_cluster = true;
    open_node(3, UINT64_MAX, false);
    force_new_cluster = false;
    node_run(node);
    node_get_raft_status(node, &st);
    assert_int_equal(st.role, RAFT_LEADER);
    assert_int_equal(node_members(node)->count, 1);
    assert_true(members_is_removed(node_members(node), 2) && members_is_removed(node_members(node), 3));
    assert_int_equal(node_propose(node, COMMAND_PUT, slice_of("\x0a\x01k", 3), NS_PER_S, on_done, &w, NULL), ST_OK);
    node_run(node);
    assert_true(w.ended == 1 && w.status == ST_OK);
    assert_true(has_key("a") && has_key("b") && !has_key("c") && has_key("k"));
    close_node();
    /* And so without the flag; with it once more nothing is lost. */
    for (unsigned i = 0; i < 2; i++) {
        force_new_cluster = i;
        open_node(3, UINT64_MAX, false);
        force_new_cluster = false;
        assert_int_equal(node_members(node)->count, 1);
        assert_true(has_key("a") && has_key("b") && !has_key("c") && has_key("k"));
        close_node();
    }
}

/* It is applied at once. With it in a checkpoint, and a crash before it is in the log, what was dropped would stand in its place there. */
static void no_checkpoint_is_ahead_of_what_was_decreed(void **state)
{
    (void)state;
    open_node(3, UINT64_MAX, false);
    hear_appends();
    close_node();
    force_new_cluster = true;
    open_node(3, 1, true);
    force_new_cluster = false;
    node_run(node);
    assert_int_equal(node_members(node)->count, 1);
    assert_int_equal(seals, 0);
    while (wal_step(wal))
        ;
    node_on_wal(node);
    node_run(node);
    assert_int_equal(seals, 1);
    close_node();
}

/* Removed by an entry that is committed and not applied yet, in this process: there is nobody to go on. */
static void who_was_removed_cannot_go_on(void **state)
{
    struct membership_entry change = {.change = {.kind = MEMBER_REMOVE, .id = 1}};
    struct raft_entry *entry = membership_encode(&change), *entries[] = {entry};
    struct raft_message m = {
        .type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 3, .commit = 1, .entries = entries, .entry_count = 1};

    (void)state;
    entry->term = 3;
    entry->index = 1;
    open_node(3, UINT64_MAX, false);
    node_step(node, &m);
    node_run(node);
    assert_true(members_is_removed(node_members(node), 1));
    raft_entry_unref(entry);
    close_node();
    force_new_cluster = true;
    open_fails = true;
    open_node(3, UINT64_MAX, false);
    assert_null(node);
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_left_of_a_cluster_goes_on_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_checkpoint_is_ahead_of_what_was_decreed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_was_removed_cannot_go_on, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
