/* SPDX-License-Identifier: Apache-2.0 */
/* The log in good times: what goes in comes out, segments roll, are released and recycled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raftd/wal/format.h"
#include "tests/unit/test_wal_fixture.h"

static void an_empty_directory_begins_a_log(void **state)
{
    struct wal_options options = {
        .cluster_id = 1, .member_id = 2, .segment_bytes = 4096, .synchronous = true};
    struct disk *d = options.disk = memory_disk_new();
    struct wal *w;
    bool new = false;

    (void)state;
    assert_int_equal(wal_open(&options, &w, &new, NULL), ST_OK);
    assert_true(new);
    wal_start(w);
    wal_close(w);
    assert_int_equal(wal_open(&options, &w, &new, NULL), ST_OK);
    assert_false(new);
    wal_close(w);
    d->ops->free(d);
}

static void what_was_appended_is_replayed(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 64 << 10);
    fixture_start(&fx);
    fixture_append_hard(&fx, (struct raft_hard_state){3, 7, 0}, true);
    fixture_append(&fx, 1, 1, 3, 0);
    for (uint32_t len = 1; len < 40; len++)
        fixture_append(&fx, 1 + len, 1, 3, len);
    fixture_append(&fx, 41, 20, 4, 700);
    fixture_append_hard(&fx, (struct raft_hard_state){4, 7, 60}, false);
    fixture_reopen(&fx);
    fixture_append(&fx, 61, 2, 4, 9);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

/* Wherever in the segments the entry lies that the snapshot contradicts. */
static void a_snapshot_that_contradicts_the_log_takes_its_place(void **state)
{
    (void)state;
    for (raft_index at = 1; at <= 30; at++) {
        struct fixture fx;
        fixture_init(&fx, 1024);
        fixture_start(&fx);
        for (raft_index i = 1; i <= 30; i++)
            fixture_append(&fx, i, 1, 1, 50);
        wal_release(fx.wal, at, 2); /* it holds another entry there: of term 1 */
        fx.model.begin = at;
        fx.model.begin_term = 2;
        fx.model.count = 0;
        fixture_reopen(&fx);
        fixture_append(&fx, at + 1, 3, 2, 50);
        fixture_reopen(&fx);
        fixture_fini(&fx);
    }
}

static void a_batch_of_nothing_has_a_ticket(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    assert_int_equal(wal_append(fx.wal, NULL, NULL, 0, true), 1);
    assert_int_equal(wal_append(fx.wal, NULL, NULL, 0, false), 2);
    assert_int_equal(wal_durable(fx.wal), 2);
    fixture_fini(&fx);
}

static void later_entries_replace_a_suffix(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 1024); /* so that the suffix lies in several segments */
    fixture_start(&fx);
    for (raft_index i = 1; i <= 30; i++)
        fixture_append(&fx, i, 1, 1, 50);
    fixture_append(&fx, 12, 3, 2, 20);
    fixture_reopen(&fx);
    assert_int_equal(model_last(&fx.model), 14);
    fixture_append(&fx, 1, 1, 3, 20);
    fixture_reopen(&fx);
    assert_int_equal(model_last(&fx.model), 1);
    fixture_fini(&fx);
}

static void replay_leaves_out_what_the_store_has(void **state)
{
    struct raft_hard_state hard;
    struct raft_entry **entries;
    struct fixture fx;
    size_t count;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_append(&fx, 1, 10, 1, 5);
    fixture_close(&fx);
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_OK);
    assert_int_equal(wal_replay(fx.wal, 8, &hard, &entries, &count, NULL), ST_OK);
    assert_int_equal(count, 2);
    assert_int_equal(entries[0]->index, 9);
    raft_entry_unref(entries[0]);
    raft_entry_unref(entries[1]);
    free(entries);
    fixture_fini(&fx);
}

static void replay_refuses_a_store_that_is_behind_the_log(void **state)
{
    struct raft_hard_state hard;
    struct raft_entry **entries;
    struct fixture fx;
    size_t count;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_append(&fx, 1, 10, 1, 5);
    fixture_release(&fx, 6);
    fixture_close(&fx);
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_OK);
    assert_int_equal(wal_replay(fx.wal, 5, &hard, &entries, &count, &fx.error), ST_CORRUPT);
    fixture_fini(&fx);
}

static void a_batch_larger_than_a_segment_gets_one_of_its_own(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 1024);
    fixture_start(&fx);
    fixture_append(&fx, 1, 2, 1, 10);
    fixture_append(&fx, 3, 10, 1, 3000);
    fixture_append(&fx, 13, 2, 1, 10);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

static void restarts_do_not_add_segments(void **state)
{
    struct wal_stats stats;
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_append(&fx, 1, 2, 1, 10);
    for (int i = 0; i < 20; i++)
        fixture_reopen(&fx);
    wal_get_stats(fx.wal, &stats);
    assert_int_equal(stats.segments, 1);
    fixture_fini(&fx);
}

/* A workload that fills, releases and recycles; after every step the log is read again. */
static void released_segments_are_recycled_and_their_records_never_come_back(void **state)
{
    struct wal_stats stats;
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 1024);
    fixture_start(&fx);
    for (unsigned round = 0; round < 60; round++) {
        raft_index next = model_last(&fx.model) + 1;
        fixture_append(&fx, next, 1 + round % 4, 1 + round / 20, 40 + round % 60);
        fixture_append_hard(&fx, (struct raft_hard_state){1 + round / 20, 5, next}, round % 2);
        if (round % 7 == 6)
            fixture_release(&fx, next - 3);
        fixture_reopen(&fx);
    }
    wal_get_stats(fx.wal, &stats);
    assert_true(stats.segments <= 8); /* of some forty that there were */
    /* One that was released lies ready for the next roll. */
    assert_null(memory_disk_name(fx.disk, "spare.tmp", 0));
    assert_null(memory_disk_name(fx.disk, "new.tmp", 0));
    fixture_fini(&fx);
}

static void a_release_keeps_the_newest_hard_state(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 1024);
    fixture_start(&fx);
    fixture_append_hard(&fx, (struct raft_hard_state){9, 4, 0}, true);
    for (raft_index i = 1; i <= 40; i++)
        fixture_append(&fx, i, 1, 9, 100);
    fixture_release(&fx, 40);
    fixture_reopen(&fx);
    assert_int_equal(fx.model.hard.vote, 4);
    assert_int_equal(fx.model.count, 0);
    fixture_append(&fx, 41, 1, 9, 100);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

static void a_release_beyond_the_end_begins_the_log_anew(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 1024);
    fixture_start(&fx);
    fixture_append(&fx, 1, 30, 2, 10);
    wal_release(fx.wal, 100, 5);
    model_release(&fx.model, 100, 5);
    fixture_reopen(&fx);
    fixture_append(&fx, 101, 3, 5, 10);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

/* Raft section 7: entries behind a snapshot stay only if the log holds the snapshot's last entry.
 */
static void a_release_of_another_term_lets_go_of_what_follows(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_append(&fx, 1, 30, 2, 10);
    wal_release(fx.wal, 20, 5);
    model_release(&fx.model, 20, 5);
    assert_int_equal(fx.model.count, 0);
    fixture_reopen(&fx);
    fixture_append(&fx, 21, 3, 5, 10);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

static void a_suffix_replaced_before_a_release_stays_replaced(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 1024);
    fixture_start(&fx);
    for (raft_index i = 1; i <= 40; i++)
        fixture_append(&fx, i, 1, 1, 60);
    fixture_append(&fx, 22, 3, 2, 60); /* 22..24, and 25..40 are no more */
    fixture_release(&fx, 23);
    fixture_reopen(&fx);
    assert_int_equal(model_last(&fx.model), 24);
    fixture_fini(&fx);
}

static struct raft_entry *entry_of(raft_index index, uint32_t len)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, len);

    e->index = index;
    e->term = 1;
    memset(e->data, 7, len);
    return e;
}

static void a_stepped_log_without_space_keeps_what_waits_in_order(void **state)
{
    struct wal_options options = {
        .cluster_id = 1, .member_id = 2, .segment_bytes = 1024, .synchronous = true, .stepped = true};
    struct disk *d = options.disk = memory_disk_new();
    struct raft_hard_state hard;
    struct raft_entry **entries, *e;
    uint64_t ticket = 0, durable;
    struct wal *w;
    size_t count;
    bool new;

    (void)state;
    assert_int_equal(wal_open(&options, &w, &new, NULL), ST_OK);
    wal_start(w);
    memory_disk_set_size(d, memory_disk_used(d));
    for (raft_index i = 1; i <= 6; i++) {
        e = entry_of(i, 300);
        ticket = wal_append(w, NULL, &e, 1, true);
        raft_entry_unref(e);
    }
    assert_true(wal_step(w));
    durable = wal_durable(w);
    assert_true(durable > 0 && durable < ticket);
    assert_true(wal_wants_step(w));
    wal_step(w);
    assert_int_equal(wal_durable(w), durable);
    memory_disk_set_size(d, UINT64_MAX);
    wal_step(w);
    assert_int_equal(wal_durable(w), ticket);
    assert_false(wal_wants_step(w));
    wal_close(w);
    assert_int_equal(wal_open(&options, &w, &new, NULL), ST_OK);
    assert_int_equal(wal_replay(w, 0, &hard, &entries, &count, NULL), ST_OK);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i]->index, i + 1);
        raft_entry_unref(entries[i]);
    }
    free(entries);
    wal_close(w);
    d->ops->free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_directory_begins_a_log),
        cmocka_unit_test(what_was_appended_is_replayed),
        cmocka_unit_test(a_snapshot_that_contradicts_the_log_takes_its_place),
        cmocka_unit_test(a_batch_of_nothing_has_a_ticket),
        cmocka_unit_test(later_entries_replace_a_suffix),
        cmocka_unit_test(replay_leaves_out_what_the_store_has),
        cmocka_unit_test(replay_refuses_a_store_that_is_behind_the_log),
        cmocka_unit_test(a_batch_larger_than_a_segment_gets_one_of_its_own),
        cmocka_unit_test(restarts_do_not_add_segments),
        cmocka_unit_test(released_segments_are_recycled_and_their_records_never_come_back),
        cmocka_unit_test(a_release_keeps_the_newest_hard_state),
        cmocka_unit_test(a_release_beyond_the_end_begins_the_log_anew),
        cmocka_unit_test(a_release_of_another_term_lets_go_of_what_follows),
        cmocka_unit_test(a_suffix_replaced_before_a_release_stays_replaced),
        cmocka_unit_test(a_stepped_log_without_space_keeps_what_waits_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
