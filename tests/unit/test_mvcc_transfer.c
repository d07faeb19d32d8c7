/* SPDX-License-Identifier: Apache-2.0 */
/* A store out of one directory and into another: the same records, whatever the slices, whatever is written meanwhile. */
#include "tests/unit/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/rng.h"
#include "mvcc/transfer.h"
#include "mvcc/watch.h"
#include "tests/unit/temp_dir.h"

#define MEMTABLE 4096 /* tiny: many segments */

static char root[64], from_dir[96], to_dir[96];
static struct mvcc *store;
static struct rng rng = {.state = 11};
static struct error failure;

static struct mvcc_options options_for(const char *dir)
{
    return (struct mvcc_options){.dir = dir, .memtable_bytes = MEMTABLE, .no_sync = true};
}

static int set_up(void **state)
{
    struct mvcc_options o = options_for(from_dir);

    (void)state;
    assert_true(temp_dir_make(root, sizeof root, "transfer"));
    snprintf(from_dir, sizeof from_dir, "%s/from", root);
    snprintf(to_dir, sizeof to_dir, "%s/to", root);
    assert_int_equal(mvcc_open(&o, &store, &failure), ST_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mvcc_close(store);
    assert_int_equal(mvcc_remove(from_dir, &failure), ST_OK);
    assert_int_equal(mvcc_remove(to_dir, &failure), ST_OK);
    assert_int_equal(rmdir(root), 0);
    return 0;
}

static void seal(void)
{
    struct mvcc_seal *seal = mvcc_seal_begin(store, slice_of_text("old state"));
    uint64_t index, term;

    if (!seal)
        return;
    assert_int_equal(mvcc_seal_write(seal, &failure), ST_OK);
    assert_int_equal(mvcc_seal_end(store, seal, &index, &term, &failure), ST_OK);
}

static void write_some(unsigned entries)
{
    for (unsigned i = 0; i < entries; i++) {
        unsigned changes = (unsigned)rng_below(&rng, 4); /* none, too */
        mvcc_begin(store, mvcc_applied_index(store) + 1, 3, (int64_t)i);
        for (unsigned k = 0; k < changes; k++) {
            char key[32], value[200];
            size_t len = (size_t)snprintf(key, sizeof key, "k%u", (unsigned)rng_below(&rng, 40));
            struct mvcc_span span = mvcc_span_of(slice_of(key, len), slice_of(NULL, 0));
            memset(value, 'v', sizeof value);
            if (rng_below(&rng, 3) == 0)
                mvcc_delete(store, &span);
            else
                assert_int_equal(mvcc_put(store, slice_of(key, len), slice_of(value, rng_below(&rng, sizeof value)), 0), ST_OK);
        }
        mvcc_end(store);
        if (mvcc_wants_seal(store))
            seal();
    }
}

static struct mvcc_import *import_begin(void)
{
    struct mvcc_options o = options_for(to_dir);
    struct mvcc_import *m;

    assert_int_equal(mvcc_import_open(&o, &m, &failure), ST_OK);
    return m;
}

static struct mvcc_import *import_begin_anew(void)
{
    assert_int_equal(mvcc_remove(to_dir, &failure), ST_OK);
    return import_begin();
}

static struct mvcc *open_copy(void)
{
    struct mvcc_options o = options_for(to_dir);
    struct mvcc *copy;

    assert_int_equal(mvcc_open(&o, &copy, &failure), ST_OK);
    return copy;
}

static uint32_t hash_of(struct mvcc *s, mvcc_rev rev)
{
    uint32_t hash;

    assert_int_equal(mvcc_hash(s, rev, &hash), ST_OK);
    return hash;
}

static void copied_in_slices_while_writes_go_on_it_is_the_same_store(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) { /* each half as long again as the one before */
        mvcc_rev upto;
        struct mvcc_import_end end = {.state = slice_of_text("state")};
        struct mvcc_import *m = import_begin_anew();
        struct mvcc_position at = mvcc_export_begin(store);
        struct mvcc_checkpoint checkpoint;
        struct mvcc *copy;
        struct buf b = {0};

        write_some(round * 5);
        upto = end.revision = mvcc_revision(store);
        end.applied_index = mvcc_applied_index(store) + 1; /* nothing asks that records bear it out */
        end.applied_term = 3;
        while (at.main <= upto) {
            buf_clear(&b);
            assert_int_equal(mvcc_export(store, &at, upto, 1 + rng_below(&rng, 2000), 1 + (unsigned)rng_below(&rng, 10), &b),
                             ST_OK);
            assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
            write_some(1);
        }
        assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
        mvcc_import_free(m);
        copy = open_copy();
        mvcc_get_checkpoint(copy, &checkpoint);
        assert_int_equal(checkpoint.applied_index, end.applied_index);
        assert_int_equal(checkpoint.applied_term, 3);
        assert_true(slice_equal(checkpoint.state, end.state));
        assert_int_equal(mvcc_revision(copy), upto);
        assert_int_equal(hash_of(copy, 0), hash_of(store, upto));
        mvcc_close(copy);
        buf_fini(&b);
    }
}

static void a_copy_goes_on_as_the_original_does(void **state)
{
    struct mvcc_import_end end = {.applied_term = 3};
    struct mvcc_import *m = import_begin_anew();
    struct mvcc_position at = mvcc_export_begin(store);
    struct mvcc *copy, *original = store;
    struct rng before;
    struct buf b = {0};
    uint32_t expected;

    (void)state;
    write_some(100);
    end.revision = mvcc_revision(store);
    end.applied_index = mvcc_applied_index(store);
    assert_int_equal(mvcc_export(store, &at, end.revision, SIZE_MAX, UINT32_MAX, &b), ST_OK);
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    buf_fini(&b);
    copy = open_copy();
    before = rng;
    write_some(100);
    expected = hash_of(store, 0);
    store = copy;
    rng = before;
    write_some(100);
    assert_int_equal(mvcc_applied_index(copy), mvcc_applied_index(original));
    assert_int_equal(hash_of(copy, 0), expected);
    store = original;
    mvcc_close(copy);
}

/* A watcher's view: events in order, each once. */
struct seen {
    mvcc_rev main;
    int64_t sub, events;
    uint32_t room; /* events until it asks for a pause; 0: no end */
};

static bool on_event(void *arg, const struct mvcc_event *e)
{
    struct seen *s = arg;

    assert_true(e->kv.mod_rev > s->main || (e->kv.mod_rev == s->main && e->sub > s->sub));
    s->main = e->kv.mod_rev;
    s->sub = e->sub;
    s->events++;
    return s->room != 1 && (s->room == 0 || --s->room);
}

static void count_events(struct mvcc *s, mvcc_rev from, const struct mvcc_span *span, int64_t *ret_count)
{
    struct watch_hub *hub = watch_hub_new(s, on_event);
    struct seen seen = {0};
    struct watcher *w;
    bool more = true;

    assert_int_equal(watch_add(hub, span, from, &seen, &w), ST_OK);
    while (more)
        assert_int_equal(watch_catch_up(hub, 7, &more), ST_OK);
    *ret_count = seen.events;
    watch_hub_free(hub);
}

static void watchers_go_on_in_the_new_store_without_a_loss_or_a_repetition(void **state)
{
    struct mvcc_import_end end = {.applied_term = 3};
    struct mvcc_span spans[3] = {
        mvcc_span_of(slice_of_text("k"), slice_of_text("l")),
        mvcc_span_of(slice_of_text("k1"), slice_of(NULL, 0)),
        mvcc_span_of(slice_of_text("k2"), slice_of(NULL, 0)),
    };
    struct mvcc_position at = mvcc_export_begin(store);
    struct watch_hub *hub;
    struct watcher *watchers[6];
    struct seen seen[6] = {{.room = 3}};
    mvcc_rev starts[6];
    struct mvcc *copy, *old = store;
    struct mvcc_options o = options_for(to_dir);
    struct mvcc_import *m;
    struct buf b = {0};
    bool more = true;

    (void)state;
    assert_int_equal(mvcc_import_open(&o, &m, &failure), ST_OK);
    write_some(60);
    hub = watch_hub_new(store, on_event);
    for (unsigned i = 0; i < 6; i++) {
        starts[i] = i % 2 ? mvcc_revision(store) + 1 : 2; /* in step, and behind */
        if (i == 5)
            starts[i] = mvcc_revision(store) + 1000; /* waits for the future */
        assert_int_equal(watch_add(hub, &spans[i % 3], starts[i], &seen[i], &watchers[i]), ST_OK);
    }
    write_some(5);
    assert_int_equal(watch_publish(hub), ST_OK);
    write_some(5); /* applied, not published yet */
    /* The new store is what this one becomes later. */
    write_some(50);
    assert_int_equal(mvcc_export(store, &at, mvcc_revision(store), SIZE_MAX, UINT32_MAX, &b), ST_OK);
    end.revision = mvcc_revision(store);
    end.applied_index = mvcc_applied_index(store);
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    copy = open_copy();
    watch_restore(hub, copy);
    store = copy;
    write_some(10);
    assert_int_equal(watch_publish(hub), ST_OK);
    for (unsigned i = 0; i < 6; i++)
        watch_resume(hub, watchers[i]);
    seen[0].room = 0;
    while (more)
        assert_int_equal(watch_catch_up(hub, 5, &more), ST_OK);
    for (unsigned i = 0; i < 6; i++) {
        int64_t expected = 0;
        if (i < 5)
            count_events(store, starts[i], &spans[i % 3], &expected);
        assert_int_equal(seen[i].events, expected);
        assert_true(watch_is_synced(watchers[i]));
    }
    assert_true(seen[1].events > 0);
    watch_hub_free(hub);
    store = old;
    mvcc_close(copy);
    buf_fini(&b);
}

static void an_empty_store_can_be_copied(void **state)
{
    struct mvcc_import_end end = {.applied_index = 7, .applied_term = 2, .revision = 1, .state = slice_of_text("s")};
    struct mvcc_import *m = import_begin_anew();
    struct mvcc_position at = mvcc_export_begin(store);
    struct mvcc *copy;

    (void)state;
    assert_true(at.main > mvcc_revision(store));
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    copy = open_copy();
    assert_int_equal(mvcc_revision(copy), 1);
    assert_int_equal(mvcc_applied_index(copy), 7);
    mvcc_close(copy);
}

/* In slices of any size, given up after any of them: some have written segments, some nothing, some end within a revision. */
static void an_import_that_was_cut_short_goes_on_where_it_was(void **state)
{
    struct mvcc_import_end end = {.applied_term = 3, .state = slice_of_text("state")};
    struct mvcc_import *m = import_begin();
    struct mvcc_position at = mvcc_export_begin(store);
    struct buf b = {0};
    unsigned reopened = 0, forgotten = 0;
    struct mvcc *copy;

    (void)state;
    write_some(2000);
    end.revision = mvcc_revision(store);
    end.applied_index = mvcc_applied_index(store);
    while (at.main <= end.revision) {
        buf_clear(&b);
        assert_int_equal(mvcc_export(store, &at, end.revision, 1 + rng_below(&rng, 3000), UINT32_MAX, &b), ST_OK);
        assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
        if (rng_below(&rng, 3)) {
            continue;
        } else if (rng_below(&rng, 3)) { /* the stream ends here, another comes */
            forgotten += at.sub > 0;
        } else { /* the process ends */
            mvcc_import_free(m);
            m = import_begin();
            reopened++;
        }
        assert_true(mvcc_import_rewind(m) < at.main);
        at = (struct mvcc_position){.main = mvcc_import_rewind(m) + 1};
    }
    assert_true(reopened > 10 && forgotten > 10);
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    copy = open_copy();
    assert_int_equal(hash_of(copy, 0), hash_of(store, end.revision));
    mvcc_close(copy);
    buf_fini(&b);
}

/* What was noted last of all that is there: of records in memory only until these are in a segment. */
static void a_note_is_as_durable_as_the_records_that_it_is_of(void **state)
{
    struct mvcc_import_end end = {.applied_index = 9, .applied_term = 3, .state = slice_of_text("state")};
    struct mvcc_import *m = import_begin_anew();
    struct mvcc_position at = mvcc_export_begin(store);
    struct buf b = {0};
    mvcc_rev held;

    (void)state;
    write_some(600);
    assert_int_equal(mvcc_import_note(m).len, 0);
    mvcc_import_set_note(m, slice_of_text("one"));
    assert_int_equal(mvcc_export(store, &at, mvcc_revision(store), 21000, UINT32_MAX, &b), ST_OK);
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    held = mvcc_import_rewind(m);
    mvcc_import_set_note(m, slice_of_text("two")); /* in no segment yet */
    mvcc_import_free(m);
    m = import_begin();
    assert_true(mvcc_import_rewind(m) > 1 && mvcc_import_rewind(m) < held);
    assert_true(slice_equal(mvcc_import_note(m), slice_of_text("one")));
    mvcc_import_set_note(m, slice_of_text("three"));
    at = (struct mvcc_position){.main = mvcc_import_rewind(m) + 1};
    buf_clear(&b);
    end.revision = mvcc_revision(store);
    assert_int_equal(mvcc_export(store, &at, end.revision, SIZE_MAX, UINT32_MAX, &b), ST_OK);
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    /* It came to its end, and a crash left it all the same. */
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    m = import_begin();
    assert_int_equal(mvcc_import_rewind(m), end.revision);
    assert_true(slice_equal(mvcc_import_note(m), slice_of_text("three")));
    mvcc_import_free(m);
    buf_fini(&b);
}

/* Killed again and again before a segment of the usual size is full: what is durable grows all the same. */
static void an_import_gets_on_however_often_it_is_cut_short(void **state)
{
    struct mvcc_position at = mvcc_export_begin(store);
    mvcc_rev held = 0;
    struct buf b = {0};

    (void)state;
    write_some(500);
    while (held < mvcc_revision(store) - 20) {
        struct mvcc_import *m = import_begin();
        mvcc_rev before = held;
        held = mvcc_import_rewind(m);
        assert_true(held > before);
        at = (struct mvcc_position){.main = held + 1};
        buf_clear(&b);
        assert_int_equal(mvcc_export(store, &at, mvcc_revision(store), MEMTABLE / 4, UINT32_MAX, &b), ST_OK);
        assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
        mvcc_import_free(m);
    }
    buf_fini(&b);
}

/* What does not hang together is not built upon. */
static void segments_that_do_not_follow_are_begun_anew(void **state)
{
    struct mvcc_position at = mvcc_export_begin(store);
    struct mvcc_import *m = import_begin();
    struct buf b = {0};
    char path[MVCC_FILE_BYTES];

    (void)state;
    write_some(500);
    assert_int_equal(mvcc_export(store, &at, mvcc_revision(store), SIZE_MAX, UINT32_MAX, &b), ST_OK);
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    mvcc_import_free(m);
    m = import_begin();
    assert_true(mvcc_import_rewind(m) > 1);
    mvcc_import_free(m);
    snprintf(path, sizeof path, "%s/0000000000000002.tdb", to_dir);
    assert_int_equal(unlink(path), 0);
    m = import_begin();
    assert_int_equal(mvcc_import_rewind(m), 1);
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    mvcc_import_free(m);
    snprintf(path, sizeof path, "%s/0000000000000001.tdb", to_dir);
    assert_int_equal(truncate(path, 100), 0);
    m = import_begin();
    assert_int_equal(mvcc_import_rewind(m), 1);
    mvcc_import_free(m);
    buf_fini(&b);
}

/* The time of the last commit decides over the times of those that follow: that of records which were forgotten must not. */
static void a_revision_that_was_forgotten_leaves_no_time(void **state)
{
    struct mvcc_import_end end = {.applied_index = 1, .applied_term = 1, .revision = 2};
    struct mvcc_position at = mvcc_export_begin(store);
    struct mvcc_import *m = import_begin();
    struct mvcc *copy;
    struct mvcc_kv kv;
    struct buf b = {0};

    (void)state;
    for (int i = 1; i <= 2; i++) {
        mvcc_begin(store, (uint64_t)i, 1, i * 1000);
        assert_int_equal(mvcc_put(store, slice_of_text("a"), slice_of_text("1"), 0), ST_OK);
        assert_int_equal(mvcc_put(store, slice_of_text("b"), slice_of_text("2"), 0), ST_OK);
        mvcc_end(store);
    }
    assert_int_equal(mvcc_export(store, &at, 3, SIZE_MAX, 3, &b), ST_OK); /* the first of two changes of revision 3, too */
    assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    assert_int_equal(mvcc_import_rewind(m), 2);
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    copy = open_copy();
    mvcc_begin(copy, 2, 1, 1500);
    assert_int_equal(mvcc_put(copy, slice_of_text("c"), slice_of_text("3"), 0), ST_OK);
    mvcc_end(copy);
    assert_int_equal(mvcc_get(copy, slice_of_text("c"), 0, true, &kv), ST_OK);
    assert_int_equal(kv.mod_time_ns, 1500);
    mvcc_close(copy);
    buf_fini(&b);
}

static void every_sealed_record_is_in_the_file_that_is_named(void **state)
{
    struct mvcc_position at = mvcc_export_begin(store);
    char path[MVCC_FILE_BYTES];
    mvcc_rev next;
    unsigned files = 0;

    (void)state;
    write_some(500);
    while (mvcc_export_file(store, &at, path, &next)) {
        assert_int_equal(access(path, R_OK), 0);
        mvcc_read_ahead(path, files % 2);
        assert_true(next > at.main && next <= mvcc_revision(store) + 1);
        at.main = next;
        files++;
    }
    assert_true(files > 3);
    mvcc_read_ahead("/nowhere", true); /* no matter */
}

static void records_that_do_not_follow_are_refused(void **state)
{
    struct mvcc_import_end end = {.applied_index = 1, .applied_term = 1};
    struct mvcc_position at = mvcc_export_begin(store), second;
    struct mvcc_import *m = import_begin();
    struct buf first = {0}, later = {0};

    (void)state;
    write_some(20);
    end.revision = mvcc_revision(store);
    assert_int_equal(mvcc_export(store, &at, end.revision, 1, 1, &first), ST_OK);
    second = at;
    assert_int_equal(mvcc_export(store, &second, end.revision, SIZE_MAX, UINT32_MAX, &later), ST_OK);
    /* a gap, a repetition, an end that is too early */
    assert_int_equal(mvcc_import_add(m, buf_slice(&later), &failure), ST_CORRUPT);
    assert_int_equal(mvcc_import_add(m, buf_slice(&first), &failure), ST_OK);
    assert_int_equal(mvcc_import_add(m, buf_slice(&first), &failure), ST_CORRUPT);
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_CORRUPT);
    /* any flipped bit, any cut */
    for (size_t i = 0; i < buf_len(&first) * 8; i++) {
        struct mvcc_import *fresh = import_begin();
        first.data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(mvcc_import_add(fresh, buf_slice(&first), &failure), ST_CORRUPT);
        first.data[i / 8] ^= (uint8_t)(1u << i % 8);
        if (i && i < buf_len(&first))
            assert_int_equal(mvcc_import_add(fresh, slice_of(first.data, i), &failure), ST_CORRUPT);
        mvcc_import_free(fresh);
    }
    mvcc_import_free(m);
    buf_fini(&first);
    buf_fini(&later);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copied_in_slices_while_writes_go_on_it_is_the_same_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_goes_on_as_the_original_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watchers_go_on_in_the_new_store_without_a_loss_or_a_repetition, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_store_can_be_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_import_that_was_cut_short_goes_on_where_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_import_gets_on_however_often_it_is_cut_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_note_is_as_durable_as_the_records_that_it_is_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(segments_that_do_not_follow_are_begun_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_revision_that_was_forgotten_leaves_no_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_sealed_record_is_in_the_file_that_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(records_that_do_not_follow_are_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
