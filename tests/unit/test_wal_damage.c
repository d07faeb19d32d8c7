/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that was damaged: refused, or the damage is where nothing durable was. Only an
 * unacknowledged suffix may vanish, and a bad record that is followed by proof that it had been
 * stored is no tail (PAR, "Protocol-Aware Recovery for Consensus-Based Storage").
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "raftd/wal/format.h"
#include "raftd/wal/promise.h"
#include "tests/unit/test_wal_fixture.h"

/* A log of some segments, a release and a replaced suffix, everything acknowledged. */
static void fill(struct fixture *fx)
{
    fixture_init(fx, 768);
    fixture_start(fx);
    fixture_append_hard(fx, (struct raft_hard_state){2, 1, 0}, true);
    for (raft_index i = 1; i <= 20; i++)
        fixture_append(fx, i, 1, 2, 30);
    fixture_append(fx, 19, 2, 3, 10);
    fixture_release(fx, 7);
    fixture_append_hard(fx, (struct raft_hard_state){3, 1, 20}, true);
    fixture_append(fx, 21, 2, 3, 40);
}

/* Opens what is there: refused without a change, or equal to the model. Returns whether it was
 * refused. */
static bool refused_or_equal(struct fixture *fx, const char *name, size_t at)
{
    unsigned changes = memory_disk_changes(fx->disk);
    enum status st = fixture_open(fx, TEST_CLUSTER, TEST_MEMBER);
    struct model found;

    if (st == ST_OK) {
        fixture_read(fx, &found);
        if (!model_equal(&found, &fx->model))
            fail_msg("%s: damage at %zu changed the log: %zu entries behind %llu, commit %llu",
                     name, at, found.count, (unsigned long long)found.begin,
                     (unsigned long long)found.hard.commit);
        fixture_close(fx);
    } else {
        assert_true(st == ST_CORRUPT || st == ST_BAD_ARGUMENT);
        assert_non_null(strstr(fx->error.text, ".wal"));
    }
    assert_int_equal(memory_disk_changes(fx->disk), changes);
    return st != ST_OK;
}

/* Where it stands. */
static size_t last_record(const uint8_t *bytes, size_t len, struct record *ret_record)
{
    size_t at = SEGMENT_HEADER_BYTES, last = at;
    struct segment_header h;

    *ret_record = (struct record){0};
    assert_int_equal(wal_segment_header_decode(slice_of(bytes, len), &h), ST_OK);
    for (; wal_record_at(slice_of(bytes, len), h.identity, at, ret_record) == ST_OK; at += ret_record->size)
        last = at;
    return last;
}

/* Before the last record, which proves them, every byte counts: headers, payloads, padding. */
static void every_single_bit_flip_is_refused_or_behind_the_end(void **state)
{
    struct fixture fx;
    const char *name;
    size_t len;

    (void)state;
    fill(&fx);
    fixture_change_disk(&fx,
                        memory_disk_after_kill(fx.disk)); /* not closed: as a crash leaves it */
    for (unsigned n = 0; (name = memory_disk_name(fx.disk, ".wal", n)); n++) {
        uint8_t *bytes = memory_disk_bytes(fx.disk, name, &len);
        struct record last;
        size_t proven = last_record(bytes, len, &last);
        for (size_t bit = 0; bit < len * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (!refused_or_equal(&fx, name, bit) && bit / 8 < proven)
                fail_msg("%s: bit %zu may be either", name, bit);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    assert_false(refused_or_equal(&fx, "", 0));
    fixture_fini(&fx);
}

/* Where the mark stands that proves the last batch of a segment; its length if there is none. */
static size_t mark_of(const uint8_t *bytes, size_t len)
{
    struct record rec;
    size_t last = last_record(bytes, len, &rec);

    return rec.type == RECORD_MARK ? last : len;
}

/*
 * One damage cannot be told from a torn write: that which takes the last batch together with the
 * mark behind it. All others must be.
 */
static void every_damaged_stretch_is_refused_or_harmless(void **state)
{
    static const size_t lengths[] = {1, 4, 8, 16, 64, 512};
    struct rng rng = {.state = 7};
    struct fixture fx;
    const char *name;
    size_t len;

    (void)state;
    fill(&fx);
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    for (unsigned n = 0; (name = memory_disk_name(fx.disk, ".wal", n)); n++) {
        uint8_t *bytes = memory_disk_bytes(fx.disk, name, &len), saved[512];
        size_t mark = mark_of(bytes, len);
        for (size_t k = 0; k < 3 * sizeof lengths / sizeof *lengths; k++)
            for (size_t l = lengths[k / 3], at = 0; at + l <= len; at += 4) {
                if (at < mark && at + l > mark)
                    continue;
                memcpy(saved, bytes + at, l);
                for (size_t i = 0; i < l; i++)
                    bytes[at + i] = k % 3 == 0 ? 0 : k % 3 == 1 ? 0xff : (uint8_t)rng_next(&rng);
                refused_or_equal(&fx, name, at);
                memcpy(bytes + at, saved, l);
            }
    }
    fixture_fini(&fx);
}

static void a_file_that_was_cut_is_refused(void **state)
{
    struct fixture fx;
    const char *name;
    size_t len;

    (void)state;
    fill(&fx);
    for (unsigned n = 0; memory_disk_name(fx.disk, ".wal", n); n++)
        for (size_t cut = 0; cut < 768; cut += 13) {
            fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
            name = memory_disk_name(fx.disk, ".wal", n);
            assert_non_null(memory_disk_bytes(fx.disk, name, &len));
            struct disk *whole = memory_disk_after_kill(fx.disk);
            memory_disk_cut(fx.disk, name, cut);
            assert_true(refused_or_equal(&fx, name, cut));
            fixture_change_disk(&fx, whole);
        }
    fixture_fini(&fx);
}

static void any_segment_that_is_missing_is_noticed(void **state)
{
    struct disk *whole;
    struct fixture fx;
    unsigned n = 0;

    (void)state;
    fill(&fx);
    for (; memory_disk_name(fx.disk, ".wal", n); n++) {
        whole = memory_disk_after_kill(fx.disk);
        fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
        memory_disk_remove(fx.disk, memory_disk_name(fx.disk, ".wal", n));
        assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
        assert_non_null(strstr(fx.error.text, "missing"));
        fixture_change_disk(&fx, whole);
    }
    assert_true(n >= 3);
    fixture_fini(&fx);
}

static void a_segment_under_another_name_is_refused(void **state)
{
    struct fixture fx;

    (void)state;
    fill(&fx);
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    memory_disk_rename(fx.disk, memory_disk_name(fx.disk, ".wal", 1),
                       "00000000000000ff-0000000000000001.wal");
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
    fixture_fini(&fx);
}

static void two_segments_swapped_are_refused(void **state)
{
    struct fixture fx;
    size_t len;

    (void)state;
    fill(&fx);
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    uint8_t *a = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len);
    uint8_t *b = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 1), &len);
    for (size_t i = 0; i < 768; i++) {
        uint8_t c = a[i];
        a[i] = b[i];
        b[i] = c;
    }
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
    fixture_fini(&fx);
}

static void the_log_of_another_member_or_cluster_is_refused(void **state)
{
    struct fixture fx;

    (void)state;
    fill(&fx);
    fixture_close(&fx);
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER + 1, TEST_MEMBER), ST_BAD_ARGUMENT);
    assert_non_null(strstr(fx.error.text, "cluster c1"));
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER + 1), ST_BAD_ARGUMENT);
    assert_non_null(strstr(fx.error.text, "member 3e"));
    fixture_fini(&fx);
}

static void a_newer_format_is_refused_in_words(void **state)
{
    struct fixture fx;
    uint8_t *header;
    size_t len;

    (void)state;
    fill(&fx);
    fixture_close(&fx);
    header = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len);
    header[8] = WAL_FORMAT + 1;
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT); /* a flipped bit is none */
    put_le32(header + 12, crc32c(crc32c(0, header, 12), header + 16, SEGMENT_HEADER_BYTES - 16));
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_BAD_ARGUMENT);
    assert_non_null(strstr(fx.error.text, "format"));
    fixture_fini(&fx);
}

/* ---- torn tails ---- */

/* Cut the power in the sync of a batch, with each number of its bytes on the disk; stale: over a
 * recycled segment. */
static void every_prefix(bool stale)
{
    struct model before, after;
    struct fixture fx;
    uint64_t all;

    fixture_init(&fx, 4096);
    fixture_start(&fx);
    for (raft_index i = 1; stale && i <= 100; i++) {
        fixture_append(&fx, i, 1, 1, 90);
        if (i % 20 == 0)
            fixture_release(&fx, i);
    }
    fixture_append(&fx, model_last(&fx.model) + 1, 3, 1, 20);
    before = after = fx.model;
    model_append(&after, model_last(&before) - 1, 4, 2, 100);
    fx.catch_failure = true;
    if (setjmp(fx.on_failure) == 0) {
        memory_disk_fail_at(fx.disk, 2, 5); /* its write succeeds, its sync does not */
        fixture_append(&fx, model_last(&before) - 1, 4, 2, 100);
        fail_msg("the sync did not fail");
    }
    fx.catch_failure = false;
    memory_disk_fail_at(fx.disk, 0, 0);
    all = memory_disk_unsynced(fx.disk);
    assert_true(all > 500);
    fixture_close(&fx);
    for (uint64_t keep = 0; keep <= all; keep++) {
        struct fixture cut = {.disk = memory_disk_after_prefix(fx.disk, keep),
                              .segment_bytes = 4096};
        struct model found;
        assert_int_equal(fixture_open(&cut, TEST_CLUSTER, TEST_MEMBER), ST_OK);
        fixture_read(&cut, &found);
        assert_true(model_equal(&found, &before) || model_equal(&found, &after));
        assert_int_equal(model_equal(&found, &after), keep + (stale ? 0 : 4) >= all); /* padding may be zero already */
        cut.model = found;
        wal_start(cut.wal);
        fixture_append(&cut, model_last(&found) + 1, 1, 3, (uint32_t)(keep % 70));
        fixture_reopen(&cut);
        fixture_fini(&cut);
    }
    fixture_fini(&fx);
}

static void every_prefix_of_a_torn_batch_is_cut_whole(void **state)
{
    (void)state;
    every_prefix(false);
}

static void every_prefix_of_a_torn_batch_in_a_recycled_segment_is_cut_whole(void **state)
{
    (void)state;
    every_prefix(true);
}

/* The third batch of one group landed, the second did not: unsynced sectors come in any order. */
static void a_hole_in_what_was_never_synced_is_a_tail(void **state)
{
    struct model found;
    struct fixture fx;
    uint8_t *bytes;
    size_t len, at = 0;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_append(&fx, 1, 2, 1, 20);
    for (uint64_t commit = 1; commit <= 3; commit++)
        wal_append(fx.wal, &(struct raft_hard_state){1, 1, commit}, NULL, 0, false);
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    bytes = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len);
    for (size_t i = SEGMENT_HEADER_BYTES; i + 48 < len; i += RECORD_ALIGN)
        if (bytes[i + 8] == RECORD_HARD && bytes[i + RECORD_HEADER_BYTES + 16] == 2)
            at = i; /* that with commit 2 */
    assert_true(at > 0);
    memset(bytes + at, 0, 48);
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_OK);
    fixture_read(&fx, &found);
    assert_int_equal(found.hard.commit, 1);
    fx.model.hard = found.hard;
    assert_true(model_equal(&found, &fx.model));
    wal_start(fx.wal);
    /* The third must not reappear behind a new second. */
    fixture_append_hard(&fx, (struct raft_hard_state){1, 1, 2}, true);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

/* New records that end just where a torn write left a whole one: that one must not count again. */
static void a_remainder_of_a_torn_write_never_follows_a_new_record(void **state)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 24);
    struct model found;
    struct fixture fx;
    uint8_t *bytes;
    size_t len, at = 0;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    e->index = e->term = 1;
    wal_append(fx.wal, NULL, &e, 1, false);                                 /* 64 bytes */
    wal_append(fx.wal, &(struct raft_hard_state){1, 1, 1}, NULL, 0, false); /* behind them */
    raft_entry_unref(e);
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    bytes = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len);
    for (size_t i = SEGMENT_HEADER_BYTES; !at; i += RECORD_ALIGN)
        if (bytes[i + 8] == RECORD_ENTRY && bytes[i + 16] == 1)
            at = i;
    memset(bytes + at, 0, 64);
    fixture_start(&fx);                                                     /* a mark, 16 bytes */
    wal_append(fx.wal, &(struct raft_hard_state){7, 0, 0}, NULL, 0, false); /* 48 bytes */
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_OK);
    fixture_read(&fx, &found);
    assert_int_equal(found.hard.term, 7);
    assert_int_equal(found.count, 0);
    fixture_fini(&fx);
}

/* Its entries are nowhere else, and nothing behind it has a gap that would show. */
static void a_first_segment_that_is_missing_is_noticed_without_a_gap(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 768);
    fixture_start(&fx);
    fixture_append(&fx, 1, 3, 1, 20);
    for (uint64_t commit = 1; !memory_disk_name(fx.disk, ".wal", 1); commit++)
        fixture_append_hard(&fx, (struct raft_hard_state){1, 1, commit % 3}, true);
    fixture_change_disk(&fx, memory_disk_after_kill(fx.disk));
    memory_disk_remove(fx.disk, memory_disk_name(fx.disk, ".wal", 0));
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
    assert_non_null(strstr(fx.error.text, "missing"));
    fixture_fini(&fx);
}

/* Fills a segment and stops the roll just when the next one is there and the full one is not
 * closed. */
static void stop_within_a_roll(struct fixture *fx)
{
    volatile unsigned nth = 1;

    for (;; nth++) {
        fixture_init(fx, 1024);
        fixture_start(fx);
        fixture_append(fx, 1, 7, 1, 60);
        fx->catch_failure = true;
        memory_disk_fail_at(fx->disk, nth, 5);
        if (setjmp(fx->on_failure) == 0)
            fixture_append(fx, 8, 2, 1, 60);
        fx->catch_failure = false;
        memory_disk_fail_at(fx->disk, 0, 0);
        assert_true(nth < 20);
        if (memory_disk_name(fx->disk, ".wal", 1))
            break;
        fixture_fini(fx);
    }
    /* The call that failed was the sync of the directory; the next process finds the name all the
     * same. */
    fixture_change_disk(fx, memory_disk_after_kill(fx->disk));
}

static void a_full_segment_that_lost_its_end_is_refused(void **state)
{
    struct fixture fx;
    uint8_t *bytes;
    size_t len, end;

    (void)state;
    stop_within_a_roll(&fx);
    assert_false(refused_or_equal(&fx, "whole", 0));
    bytes = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len);
    for (end = len; !bytes[end - 1]; end--)
        ;
    memset(bytes + end - 60, 0,
           60); /* the mark and the end of the last batch: no record there is a proof */
    assert_true(refused_or_equal(&fx, "cut", 0));
    assert_non_null(strstr(fx.error.text, "more had been stored"));
    fixture_fini(&fx);
}

static void garbage_is_never_a_log(void **state)
{
    struct rng rng = {.state = 3};

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t bytes[SEGMENT_HEADER_BYTES + 256];
        struct segment_header h;
        struct record rec;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(rng_below(&rng, 3) ? rng_next(&rng) : 0);
        assert_int_equal(
            wal_segment_header_decode(slice_of(bytes, rng_below(&rng, sizeof bytes)), &h),
            ST_CORRUPT);
        assert_int_equal(
            wal_record_at(slice_of(bytes, sizeof bytes), 1, SEGMENT_HEADER_BYTES, &rec),
            ST_NOT_FOUND);
    }
}

static void a_length_beyond_the_file_is_no_record(void **state)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES + 64] = {0};
    uint8_t *r = bytes + SEGMENT_HEADER_BYTES;
    struct record rec;

    (void)state;
    wal_record_begin_at(r, RECORD_ENTRY, 40);
    wal_record_seal(r, 1, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES);
    assert_int_equal(wal_record_at(slice_of(bytes, sizeof bytes), 1, SEGMENT_HEADER_BYTES, &rec),
                     ST_OK);
    assert_int_equal(
        wal_record_at(slice_of(bytes, sizeof bytes - 1), 1, SEGMENT_HEADER_BYTES, &rec),
        ST_NOT_FOUND);
    assert_int_equal(wal_record_at(slice_of(bytes, sizeof bytes), 2, SEGMENT_HEADER_BYTES, &rec),
                     ST_NOT_FOUND);
    r[3] = 0xff;
    assert_int_equal(wal_record_at(slice_of(bytes, sizeof bytes), 1, SEGMENT_HEADER_BYTES, &rec),
                     ST_NOT_FOUND);
    assert_int_equal(wal_record_at(slice_of(bytes, sizeof bytes), 1, 1u << 30, &rec), ST_NOT_FOUND);
}

/* ---- the promise ---- */

static struct wal_options options_of(struct fixture *fx)
{
    return (struct wal_options){.disk = fx->disk,
                                .cluster_id = TEST_CLUSTER,
                                .member_id = TEST_MEMBER,
                                .segment_bytes = fx->segment_bytes,
                                .synchronous = true};
}

static void one_damage_leaves_a_promise_whole(void **state)
{
    struct fixture fx;
    struct promise p;
    uint8_t *file;
    size_t len;

    (void)state;
    fill(&fx);
    fixture_close(&fx);
    file = memory_disk_bytes(fx.disk, PROMISE_NAME, &len);
    for (size_t at = 0; at < len * 8; at++) {
        file[at / 8] ^= (uint8_t)(1u << at % 8);
        assert_int_equal(wal_promise_read(fx.disk, TEST_CLUSTER, TEST_MEMBER, &p, &fx.error), ST_OK);
        assert_true(p.term == 3 && p.vote == 1 && p.lost_term == 0);
        file[at / 8] ^= (uint8_t)(1u << at % 8);
    }
    file[20] ^= 1;
    file[4096 + 50] ^= 1;
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
    assert_non_null(strstr(fx.error.text, "wal/promise"));
    fixture_fini(&fx);
}

/* The end of a log is gone, and it looks as if it had never been: but for the vote. */
static void a_log_that_lost_a_vote_is_refused(void **state)
{
    struct fixture fx;
    uint8_t *file;
    size_t len;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_append(&fx, 1, 3, 1, 30);
    fixture_append_hard(&fx, (struct raft_hard_state){2, 1, 0}, true);
    fixture_close(&fx);
    file = memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len);
    memset(file + SEGMENT_HEADER_BYTES, 0, len - SEGMENT_HEADER_BYTES);
    assert_true(refused_or_equal(&fx, "end", 0));
    assert_non_null(strstr(fx.error.text, "promised"));
    memory_disk_remove(fx.disk, memory_disk_name(fx.disk, ".wal", 0));
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
    assert_non_null(strstr(fx.error.text, "missing"));
    fixture_fini(&fx);
}

/* Whether it lacks something, or what it may not do before it has caught up: that was in there. */
static void a_log_without_its_promise_is_refused(void **state)
{
    struct fixture fx;

    (void)state;
    fill(&fx);
    fixture_close(&fx);
    memory_disk_remove(fx.disk, PROMISE_NAME);
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
    assert_non_null(strstr(fx.error.text, "wal/promise: missing"));
    fixture_fini(&fx);
}

/* A crash came between the first segment and the promise: nothing was promised. */
static void a_log_that_has_just_begun_needs_no_promise(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, 4096);
    fixture_start(&fx);
    fixture_close(&fx);
    memory_disk_remove(fx.disk, PROMISE_NAME);
    assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_OK);
    fixture_fini(&fx);
}

/* In every crash of the change-over: there is a log, or it is damaged; and what is known of the lost one only grows. */
static void a_new_log_knows_that_another_was_lost(void **state)
{
    struct wal_options options;
    struct model found = {0};
    struct fixture fx;
    raft_term lost = 0;

    (void)state;
    fill(&fx);
    fixture_close(&fx);
    for (unsigned round = 1; round <= 5; round++) {
        size_t len;
        memory_disk_bytes(fx.disk, memory_disk_name(fx.disk, ".wal", 0), &len)[40] ^= 1;
        assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
        options = options_of(&fx);
        assert_int_equal(wal_open_anew(&options, 12, 2, &fx.wal, &fx.error), ST_OK);
        assert_true(wal_lost_term(fx.wal) > lost);
        lost = wal_lost_term(fx.wal);
        fixture_close(&fx); /* before it was begun */
        assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_CORRUPT);
        assert_int_equal(wal_open_anew(&options, 12, 2, &fx.wal, &fx.error), ST_OK);
        assert_int_equal(wal_lost_term(fx.wal), lost + 1);
        wal_start(fx.wal);
        fixture_close(&fx);
        assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_OK);
        fixture_read(&fx, &found);
        assert_true(found.hard.term == lost + 2 && found.hard.vote == 0 && found.begin == 12 && found.count == 0);
        assert_int_equal(wal_lost_term(fx.wal), lost + 1);
        fixture_close(&fx);
        lost++;
    }
    assert_null(memory_disk_name(fx.disk, ".wal", 40)); /* three logs aside, and this one */
    fixture_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_single_bit_flip_is_refused_or_behind_the_end),
        cmocka_unit_test(every_damaged_stretch_is_refused_or_harmless),
        cmocka_unit_test(a_file_that_was_cut_is_refused),
        cmocka_unit_test(any_segment_that_is_missing_is_noticed),
        cmocka_unit_test(a_segment_under_another_name_is_refused),
        cmocka_unit_test(two_segments_swapped_are_refused),
        cmocka_unit_test(the_log_of_another_member_or_cluster_is_refused),
        cmocka_unit_test(a_newer_format_is_refused_in_words),
        cmocka_unit_test(every_prefix_of_a_torn_batch_is_cut_whole),
        cmocka_unit_test(every_prefix_of_a_torn_batch_in_a_recycled_segment_is_cut_whole),
        cmocka_unit_test(a_hole_in_what_was_never_synced_is_a_tail),
        cmocka_unit_test(a_remainder_of_a_torn_write_never_follows_a_new_record),
        cmocka_unit_test(a_first_segment_that_is_missing_is_noticed_without_a_gap),
        cmocka_unit_test(a_full_segment_that_lost_its_end_is_refused),
        cmocka_unit_test(garbage_is_never_a_log),
        cmocka_unit_test(a_length_beyond_the_file_is_no_record),
        cmocka_unit_test(one_damage_leaves_a_promise_whole),
        cmocka_unit_test(a_log_that_lost_a_vote_is_refused),
        cmocka_unit_test(a_log_without_its_promise_is_refused),
        cmocka_unit_test(a_log_that_has_just_begun_needs_no_promise),
        cmocka_unit_test(a_new_log_knows_that_another_was_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
