/* SPDX-License-Identifier: Apache-2.0 */
/* The store against a naive one, through seals, crashes and reopening. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mvcc/watch.h"
#include "tests/unit/mvcc_fixture.h"
#include "tests/unit/mvcc_model.h"

/* ---- the model ---- */

static void it_answers_like_a_naive_store_through_seals_and_reopening(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct rng rng = {.state = seed};
        struct mvcc_seal *seal = NULL;
        struct error error = {0};
        struct mvcc_checkpoint checkpoint;
        uint64_t index, term, sealed = 0;
        struct mvcc *s;
        struct model m;

        empty_dir(dir);
        model_init(&m);
        s = open_store(dir);
        for (int step = 0; step < 120; step++) {
            for (unsigned n = 1 + (unsigned)rng_below(&rng, 4); n; n--)
                model_draw(&m, &rng);
            model_feed(&m, s);
            if (!seal && mvcc_wants_seal(s)) {
                seal = mvcc_seal_begin(s, slice_of_text("state"));
                sealed = mvcc_applied_index(s);
                assert_false(mvcc_wants_seal(s));
                assert_null(mvcc_seal_begin(s, slice_of_text("one at a time")));
            } else if (seal && rng_below(&rng, 3) == 0) {
                assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
                if (rng_below(&rng, 2))
                    model_compare(&m, s, &rng, 2); /* written, not yet taken over */
                assert_int_equal(mvcc_seal_end(s, seal, &index, &term, &error), ST_OK);
                assert_int_equal(index, sealed);
                seal = NULL;
            }
            model_compare(&m, s, &rng, 3);
            if (!seal && rng_below(&rng, 10) == 0) {
                mvcc_close(s);
                s = open_store(dir);
                mvcc_get_checkpoint(s, &checkpoint);
                assert_int_equal(checkpoint.applied_index, mvcc_applied_index(s));
                if (checkpoint.applied_index)
                    assert_true(slice_equal(checkpoint.state, slice_of_text("state")));
                model_feed(&m, s);
            }
        }
        if (seal) {
            assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
            assert_int_equal(mvcc_seal_end(s, seal, &index, &term, &error), ST_OK);
        }
        model_compare(&m, s, &rng, 50);
        mvcc_close(s);
        model_fini(&m);
    }
}

struct sealing {
    struct mvcc_seal *seal;
    struct error error;
    enum status status;
};

static void *write_seal(void *arg)
{
    struct sealing *x = arg;

    x->status = mvcc_seal_write(x->seal, &x->error);
    return NULL;
}

/* As the daemon does it; a sanitizer for threads watches. */
static void a_seal_is_written_on_a_thread_while_the_store_reads_and_writes(void **state)
{
    struct rng rng = {.state = 77};
    struct model m;
    struct mvcc *s;

    (void)state;
    empty_dir(dir);
    model_init(&m);
    s = open_store(dir);
    for (int round = 0; round < 15; round++) {
        struct sealing x = {0};
        uint64_t index, term;
        pthread_t thread;
        for (int i = 0; i < 15; i++)
            model_draw(&m, &rng);
        model_feed(&m, s);
        x.seal = mvcc_seal_begin(s, slice_of_text("state"));
        assert_int_equal(pthread_create(&thread, NULL, write_seal, &x), 0);
        for (int i = 0; i < 15; i++) {
            model_draw(&m, &rng);
            model_feed(&m, s);
            model_compare(&m, s, &rng, 5);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(x.status, ST_OK);
        assert_int_equal(mvcc_seal_end(s, x.seal, &index, &term, &x.error), ST_OK);
        model_compare(&m, s, &rng, 20);
    }
    mvcc_close(s);
    model_fini(&m);
}

static void equal_logs_make_equal_hashes_whatever_is_sealed(void **state)
{
    struct rng rng = {.state = 5};
    uint32_t hash[2], old[2];
    struct model m;

    (void)state;
    model_init(&m);
    for (int i = 0; i < 100; i++)
        model_draw(&m, &rng);
    for (int turn = 0; turn < 2; turn++) {
        struct mvcc *s;
        empty_dir(dir);
        s = open_store(dir);
        for (size_t n = 1; turn == 1 && n < m.log_count; n += 7) {
            model_feed_to(&m, s, n);
            if (mvcc_wants_seal(s))
                seal_all(s, "");
        }
        model_feed(&m, s);
        assert_int_equal(mvcc_hash(s, 0, &hash[turn]), ST_OK);
        assert_int_equal(mvcc_hash(s, m.revision / 2, &old[turn]), ST_OK);
        mvcc_close(s);
    }
    assert_int_equal(hash[0], hash[1]);
    assert_int_equal(old[0], old[1]);
    assert_int_not_equal(hash[0], old[0]);
    model_fini(&m);
}

/* Whatever is written, and sealed, between two slices, the hash is that of its revision. */
static void a_hash_made_in_slices_is_that_of_its_revision(void **state)
{
    struct rng rng = {.state = 6};
    struct mvcc_hasher h;
    uint32_t expected;
    struct model m;
    struct mvcc *s;

    (void)state;
    model_init(&m);
    for (int i = 0; i < 200; i++)
        model_draw(&m, &rng);
    empty_dir(dir);
    s = open_store(dir);
    model_feed_to(&m, s, m.log_count / 2);
    assert_int_equal(mvcc_hash(s, 0, &expected), ST_OK);
    assert_int_equal(mvcc_hash_begin(s, 0, &h), ST_OK);
    assert_int_equal(h.rev, mvcc_revision(s));
    for (size_t n = m.log_count / 2 + 1; !mvcc_hash_is_done(&h); n++) {
        struct mvcc_hasher before = h;
        assert_int_equal(mvcc_hash_step(s, &h, INT64_MAX, n % 2 ? 1 : 3, n % 3 ? SIZE_MAX : 1), ST_OK);
        assert_true(h.main > before.main || h.sub > before.sub); /* at least one */
        model_feed_to(&m, s, n < m.log_count ? n : m.log_count);
        if (mvcc_wants_seal(s))
            seal_all(s, "");
    }
    assert_int_equal(h.crc, expected);
    assert_true(mvcc_revision(s) > h.rev);
    assert_int_equal(mvcc_hash_begin(s, mvcc_revision(s) + 1, &h), ST_FUTURE_REV);
    assert_int_equal(mvcc_hash_begin(s, -1, &h), ST_OK);
    assert_true(mvcc_hash_is_done(&h));
    mvcc_close(s);
    model_fini(&m);
}

/* Where one key ends and its value begins counts. */
static void a_hash_tells_stores_of_the_same_bytes_apart(void **state)
{
    static const char *const texts[][2] = {{"ab", "c"}, {"a", "bc"}};
    uint32_t hash[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct mvcc *s;
        empty_dir(dir);
        s = open_store(dir);
        mvcc_begin(s, 1, 1, 1);
        assert_int_equal(mvcc_put(s, slice_of_text(texts[i][0]), slice_of_text(texts[i][1]), 0), ST_OK);
        mvcc_end(s);
        assert_int_equal(mvcc_hash(s, 0, &hash[i]), ST_OK);
        mvcc_close(s);
    }
    assert_int_not_equal(hash[0], hash[1]);
}

/* Failing comparisons and no-ops fill the log as well. */
static void entries_that_change_nothing_lead_to_a_seal_too(void **state)
{
    struct mvcc *s;

    (void)state;
    empty_dir(dir);
    s = open_store(dir);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_false(mvcc_wants_seal(s));
        mvcc_begin(s, i, 1, 1);
        mvcc_end(s);
    }
    assert_true(mvcc_wants_seal(s));
    seal_all(s, "state");
    assert_false(mvcc_wants_seal(s));
    mvcc_close(s);
    s = open_store(dir);
    assert_int_equal(mvcc_applied_index(s), 20);
    assert_int_equal(mvcc_revision(s), 1);
    mvcc_close(s);
}

static void the_wildest_clock_does_not_stop_time(void **state)
{
    static const int64_t times[] = {INT64_MAX, INT64_MIN, 0, INT64_MAX, INT64_MAX};
    int64_t before = 0;
    struct mvcc_kv kv;
    struct mvcc *s;

    (void)state;
    empty_dir(dir);
    s = open_store(dir);
    for (unsigned i = 0; i < 5; i++) {
        mvcc_begin(s, i + 1, 1, times[i]);
        assert_int_equal(mvcc_put(s, slice_of_text("k"), slice_of_text("v"), 0), ST_OK);
        mvcc_end(s);
        assert_int_equal(mvcc_get(s, slice_of_text("k"), 0, false, &kv), ST_OK);
        assert_true(kv.mod_time_ns > before);
        before = kv.mod_time_ns;
    }
    mvcc_close(s);
}

/* ---- crashes ---- */

/* The states that a crash can leave a directory in while a segment is written. */
static void whatever_a_crash_leaves_of_a_seal_the_store_opens(void **state)
{
    static const struct {
        const char *tdb, *keys; /* NULL: not there */
        bool sealed;
    } cases[] = {{".tdb.tmp", NULL, false}, {".tdb.tmp", ".keys.tmp", false}, {".tdb.tmp", ".keys", false},
                 {".tdb", ".keys.tmp", true}, {".tdb", NULL, true},          {".tdb", ".keys", true}};
    struct rng rng = {.state = 11};
    uint64_t first;
    struct model m;
    struct mvcc *s;

    (void)state;
    empty_dir(dir);
    model_init(&m);
    s = open_store(dir);
    for (int i = 0; i < 40; i++)
        model_draw(&m, &rng);
    model_feed(&m, s);
    seal_all(s, "one");
    first = mvcc_applied_index(s);
    for (int i = 0; i < 40; i++)
        model_draw(&m, &rng);
    model_feed(&m, s);
    seal_all(s, "two");
    mvcc_close(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t cut = 0; cut <= 10; cut++) { /* a temporary file may be of any length */
            struct mvcc_checkpoint checkpoint;
            size_t len = cut == 10 ? SIZE_MAX : cut * 700;
            bool is_tmp = strcmp(cases[i].tdb, ".tdb.tmp") == 0;
            if (!is_tmp && cut != 10)
                continue;
            empty_dir(copy);
            copy_file(name_of(dir, 1, ".tdb"), name_of(copy, 1, ".tdb"), SIZE_MAX);
            copy_file(name_of(dir, 1, ".keys"), name_of(copy, 1, ".keys"), SIZE_MAX);
            copy_file(name_of(dir, 2, ".tdb"), name_of(copy, 2, cases[i].tdb), is_tmp ? len : SIZE_MAX);
            if (cases[i].keys)
                copy_file(name_of(dir, 2, ".keys"), name_of(copy, 2, cases[i].keys), SIZE_MAX);
            s = open_store(copy);
            mvcc_get_checkpoint(s, &checkpoint);
            assert_true(slice_equal(checkpoint.state, slice_of_text(cases[i].sealed ? "two" : "one")));
            assert_int_equal(mvcc_applied_index(s), cases[i].sealed ? m.log_count : first);
            model_feed(&m, s);
            model_compare(&m, s, &rng, 20);
            /* It can be sealed again, over what was left. */
            if (!cases[i].sealed)
                seal_all(s, "again");
            mvcc_close(s);
            s = open_store(copy);
            model_feed(&m, s);
            model_compare(&m, s, &rng, 20);
            mvcc_close(s);
            assert_int_equal(access(name_of(copy, 2, ".tdb.tmp"), F_OK), -1);
            assert_int_equal(access(name_of(copy, 2, ".keys.tmp"), F_OK), -1);
        }
    model_fini(&m);
}

/* ---- watching ---- */

struct watching {
    const struct model *m;
    struct mvcc_span span;
    size_t next; /* in the model's changes */
    unsigned room;
    unsigned delivered;
};

static bool on_watch(void *arg, const struct mvcc_event *e)
{
    struct watching *w = arg;
    const struct model_change *c;

    while (w->next < w->m->count && !mvcc_span_contains(&w->span, model_key(w->m->changes[w->next].key)))
        w->next++;
    assert_true(w->next < w->m->count);
    c = &w->m->changes[w->next++];
    assert_int_equal(e->kv.mod_rev, c->main);
    assert_int_equal(e->sub, c->sub);
    assert_int_equal(e->is_delete, c->tombstone);
    w->delivered++;
    if (w->room)
        w->room--;
    return w->room > 0;
}

/* A watcher of some span, from some revision, past or to come. */
static void begin_watching(struct watch_hub *hub, const struct model *m, struct rng *rng, struct watching *w, struct watcher **ret_watcher)
{
    mvcc_rev start = rng_below(rng, 3) ? 1 + (mvcc_rev)rng_below(rng, (uint64_t)m->revision + 5) : 0;

    w->m = m;
    w->room = 1 + (unsigned)rng_below(rng, 20);
    w->span = model_draw_span(rng);
    w->next = 0;
    while (w->next < m->count && m->changes[w->next].main < (start ? start : m->revision + 1))
        w->next++;
    if (start > m->revision)
        return; /* the model cannot say yet where it begins */
    assert_int_equal(watch_add(hub, &w->span, start, w, ret_watcher), mvcc_span_is_empty(&w->span) ? ST_BAD_ARGUMENT : ST_OK);
}

static void every_watcher_gets_every_change_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng = {.state = seed};
        struct watching watching[12] = {0};
        struct watcher *watchers[12] = {0};
        struct watch_hub *hub;
        unsigned delivered = 0;
        struct model m;
        struct mvcc *s;
        bool more;

        empty_dir(dir);
        model_init(&m);
        s = open_store(dir);
        hub = watch_hub_new(s, on_watch);
        for (int step = 0; step < 100; step++) {
            unsigned i = (unsigned)rng_below(&rng, 12);
            model_draw(&m, &rng);
            model_feed(&m, s);
            if (mvcc_wants_seal(s))
                seal_all(s, "");
            if (rng_below(&rng, 3))
                assert_int_equal(watch_publish(hub), ST_OK);
            if (!watchers[i]) {
                begin_watching(hub, &m, &rng, &watching[i], &watchers[i]);
            } else if (rng_below(&rng, 8) == 0) {
                watch_remove(hub, watchers[i]);
                watchers[i] = NULL;
            } else if (!watching[i].room) {
                watching[i].room = 1 + (unsigned)rng_below(&rng, 20);
                watch_resume(hub, watchers[i]);
            }
            if (rng_below(&rng, 2))
                assert_int_equal(watch_catch_up(hub, 1 + (unsigned)rng_below(&rng, 30), &more), ST_OK);
        }
        assert_int_equal(watch_publish(hub), ST_OK);
        for (unsigned i = 0; i < 12; i++) {
            watching[i].room = UINT32_MAX;
            if (watchers[i])
                watch_resume(hub, watchers[i]);
        }
        do
            assert_int_equal(watch_catch_up(hub, 50, &more), ST_OK);
        while (more);
        for (unsigned i = 0; i < 12; i++) {
            struct watching *w = &watching[i];
            delivered += w->delivered;
            if (!watchers[i])
                continue;
            assert_true(watch_is_synced(watchers[i]));
            assert_int_equal(watch_position(hub, watchers[i]), m.revision);
            for (; w->next < m.count; w->next++) /* nothing of its span is missing */
                assert_false(mvcc_span_contains(&w->span, model_key(m.changes[w->next].key)));
        }
        assert_true(delivered > 50);
        watch_hub_free(hub);
        mvcc_close(s);
        model_fini(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_like_a_naive_store_through_seals_and_reopening),
        cmocka_unit_test(a_seal_is_written_on_a_thread_while_the_store_reads_and_writes),
        cmocka_unit_test(equal_logs_make_equal_hashes_whatever_is_sealed),
        cmocka_unit_test(a_hash_made_in_slices_is_that_of_its_revision),
        cmocka_unit_test(a_hash_tells_stores_of_the_same_bytes_apart),
        cmocka_unit_test(entries_that_change_nothing_lead_to_a_seal_too),
        cmocka_unit_test(the_wildest_clock_does_not_stop_time),
        cmocka_unit_test(whatever_a_crash_leaves_of_a_seal_the_store_opens),
        cmocka_unit_test(every_watcher_gets_every_change_once_and_in_order),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
