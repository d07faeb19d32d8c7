/* SPDX-License-Identifier: Apache-2.0 */
/* The store against a naive one, through seals, crashes and reopening; and what damage may do to it. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "mvcc/watch.h"
#include "tests/unit/check.h"
#include "tests/unit/mvcc_model.h"
#include "tests/unit/temp_dir.h"

static char base[120], dir[160], copy[160];

/* ---- files ---- */

static void empty_dir(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    char name[500];

    while (d && (e = readdir(d))) {
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        unlink(name);
    }
    if (d)
        closedir(d);
}

static uint8_t *file_read(const char *path, size_t *ret_len)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    uint8_t *data;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    data = mem_alloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return data;
}

static void file_write(const char *path, const uint8_t *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static const char *name_of(const char *in, unsigned sequence, const char *suffix)
{
    static char path[4][400];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, 400, "%s/%016x%s", in, sequence, suffix);
    return p;
}

static void copy_file(const char *from, const char *to, size_t len_max)
{
    size_t len;
    uint8_t *data = file_read(from, &len);

    file_write(to, data, len < len_max ? len : len_max);
    free(data);
}

/* ---- stores ---- */

static enum status try_open(const char *path, struct mvcc **ret_store, struct error *ret_error)
{
    struct mvcc_options o = {.dir = path, .memtable_bytes = 1000, .seal_entries = 20, .no_sync = true};

    return mvcc_open(&o, ret_store, ret_error);
}

static struct mvcc *open_store(const char *path)
{
    struct error error = {0};
    struct mvcc *s = NULL;

    if (try_open(path, &s, &error) != ST_OK)
        fail_msg("%s", error.text);
    return s;
}

static void seal_all(struct mvcc *s, const char *state)
{
    struct mvcc_seal *seal = mvcc_seal_begin(s, slice_of_text(state));
    struct error error = {0};
    uint64_t index, term;

    assert_non_null(seal);
    assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
    assert_int_equal(mvcc_seal_end(s, seal, &index, &term, &error), ST_OK);
    assert_int_equal(index, mvcc_applied_index(s));
}

static int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(base, sizeof base, "mvcc"));
    snprintf(dir, sizeof dir, "%s/store", base);
    snprintf(copy, sizeof copy, "%s/copy", base);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(copy, 0700), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    empty_dir(dir);
    empty_dir(copy);
    rmdir(dir);
    rmdir(copy);
    return rmdir(base);
}

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
        assert_int_equal(mvcc_hash_step(s, &h, n % 2 ? 1 : 3, n % 3 ? SIZE_MAX : 1), ST_OK);
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

/* ---- damage ---- */

/* A put on what cannot be read is refused: with another creation time than on other replicas it would be theirs no more. */
static void check_put(const struct model *m, struct mvcc *s, unsigned key)
{
    const struct model_change *c = model_at(m, key, 0);
    struct mvcc_kv kv;
    enum status st;

    mvcc_begin(s, mvcc_applied_index(s) + 1, 1, 1);
    st = mvcc_put(s, model_key(key), slice_of_text("new"), 0);
    assert_true(st == ST_OK || st == ST_CORRUPT);
    if (st == ST_OK) {
        assert_int_equal(mvcc_get(s, model_key(key), 0, true, &kv), ST_OK);
        assert_int_equal(kv.create_time_ns, c ? c->create_time_ns : kv.mod_time_ns);
    }
    mvcc_end(s);
}

/* Every answer is right, or a refusal; and a refusal at opening names the file. */
static void check_damaged(const struct model *m, const char *file)
{
    struct error error = {0};
    struct mvcc *s = NULL;
    enum status st = try_open(copy, &s, &error);

    if (st != ST_OK) {
        assert_true(st == ST_CORRUPT || st == ST_IO);
        assert_non_null(strstr(error.text, copy));
        assert_non_null(strstr(error.text, file));
        return;
    }
    assert_int_equal(mvcc_revision(s), m->revision);
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        mvcc_rev rev = m->revision - key % 3;
        const struct model_change *c = model_at(m, key, rev);
        struct mvcc_kv kv;
        st = mvcc_get(s, model_key(key), rev, true, &kv);
        assert_true(st == (c ? ST_OK : ST_NOT_FOUND) || st == ST_CORRUPT);
        if (st == ST_OK)
            model_check_kv(c, &kv, true);
    }
    st = model_compare_history(m, s, 2, m->revision);
    assert_true(st == ST_OK || st == ST_CORRUPT);
    for (unsigned key = 0; key < MODEL_KEYS; key += 5)
        check_put(m, s, key);
    mvcc_close(s);
}

static void no_flipped_byte_of_a_segment_gives_a_wrong_answer(void **state)
{
    static const char *const suffixes[] = {".tdb", ".keys"};
    struct rng rng = {.state = 21};
    struct model m;
    struct mvcc *s;

    (void)state;
    empty_dir(dir);
    empty_dir(copy);
    model_init(&m);
    s = open_store(dir);
    for (int i = 0; i < 6; i++)
        model_draw(&m, &rng);
    model_feed(&m, s);
    seal_all(s, "state");
    mvcc_close(s);
    for (int i = 0; i < 2; i++)
        copy_file(name_of(dir, 1, suffixes[i]), name_of(copy, 1, suffixes[i]), SIZE_MAX);
    for (int i = 0; i < 2; i++) {
        size_t len;
        uint8_t *data = file_read(name_of(dir, 1, suffixes[i]), &len);
        int fd = open(name_of(copy, 1, suffixes[i]), O_WRONLY);
        assert_true(fd >= 0);
        for (size_t at = 0; at < len; at++) {
            uint8_t flipped = (uint8_t)(data[at] ^ (at % 2 ? 1u << rng_below(&rng, 8) : 0xffu));
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
            check_damaged(&m, "0000000000000001");
            assert_int_equal(pwrite(fd, &data[at], 1, (off_t)at), 1);
        }
        close(fd);
        /* Any shorter file is no better. */
        for (size_t cut = 0; cut < len; cut += 61) {
            file_write(name_of(copy, 1, suffixes[i]), data, cut);
            check_damaged(&m, "0000000000000001");
        }
        file_write(name_of(copy, 1, suffixes[i]), data, len);
        free(data);
    }
    model_fini(&m);
}

/* A file of a store with so many changes that sealed them into segment 1; the caller frees it. */
static uint8_t *sealed_file(struct model *m, uint64_t seed, int changes, const char *suffix, size_t *ret_len)
{
    struct rng rng = {.state = seed};
    struct mvcc *s;

    empty_dir(dir);
    model_init(m);
    s = open_store(dir);
    for (int i = 0; i < changes; i++)
        model_draw(m, &rng);
    model_feed(m, s);
    seal_all(s, "state");
    mvcc_close(s);
    return file_read(name_of(dir, 1, suffix), ret_len);
}

/* A disk that reads or writes the wrong block: each is whole, and not the one that should be there. */
static void no_misplaced_block_of_a_segment_gives_a_wrong_answer(void **state)
{
    static const char *const suffixes[] = {".tdb", ".keys"};
    static const size_t sizes[] = {512, 4096};
    struct rng rng = {.state = 23};
    struct model m, other_model;
    size_t len, other_len;

    (void)state;
    for (int i = 0; i < 2; i++) {
        uint8_t *other = sealed_file(&other_model, 41, 150, suffixes[i], &other_len);
        uint8_t *data = sealed_file(&m, 40, 150, suffixes[i], &len);
        uint8_t *damaged = mem_copy(data, len);
        empty_dir(copy);
        for (int k = 0; k < 2; k++)
            copy_file(name_of(dir, 1, suffixes[k]), name_of(copy, 1, suffixes[k]), SIZE_MAX);
        for (unsigned round = 0; round < 300; round++) {
            size_t size = sizes[round % 2], blocks = len / size, to = rng_below(&rng, blocks) * size, from = rng_below(&rng, blocks) * size;
            if (round % 3 && from + size <= other_len)
                memcpy(damaged + to, other + to % (other_len / size * size), size); /* what stood there before */
            else
                memcpy(damaged + to, data + from, size);
            file_write(name_of(copy, 1, suffixes[i]), damaged, len);
            check_damaged(&m, "0000000000000001");
            memcpy(damaged + to, data + to, size);
        }
        free(damaged);
        free(data);
        free(other);
        model_fini(&m);
        model_fini(&other_model);
    }
}

static void a_missing_or_foreign_segment_is_refused(void **state)
{
    struct rng rng = {.state = 31};
    struct error error = {0};
    struct mvcc *s = NULL;
    struct model m;

    (void)state;
    empty_dir(dir);
    model_init(&m);
    s = open_store(dir);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 10; i++)
            model_draw(&m, &rng);
        model_feed(&m, s);
        seal_all(s, "");
    }
    mvcc_close(s);
    copy_file(name_of(dir, 2, ".tdb"), name_of(copy, 2, ".tdb"), SIZE_MAX);
    assert_int_equal(unlink(name_of(dir, 2, ".tdb")), 0);
    assert_int_equal(try_open(dir, &s, &error), ST_CORRUPT);
    copy_file(name_of(dir, 1, ".tdb"), name_of(dir, 2, ".tdb"), SIZE_MAX);
    assert_int_equal(try_open(dir, &s, &error), ST_CORRUPT);
    copy_file(name_of(copy, 2, ".tdb"), name_of(dir, 2, ".tdb"), SIZE_MAX);
    mvcc_close(open_store(dir));
    /* The keys of another segment are not believed. */
    copy_file(name_of(dir, 1, ".keys"), name_of(dir, 2, ".keys"), SIZE_MAX);
    s = open_store(dir);
    model_compare(&m, s, &rng, 50);
    mvcc_close(s);
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
        cmocka_unit_test(no_flipped_byte_of_a_segment_gives_a_wrong_answer),
        cmocka_unit_test(no_misplaced_block_of_a_segment_gives_a_wrong_answer),
        cmocka_unit_test(a_missing_or_foreign_segment_is_refused),
        cmocka_unit_test(every_watcher_gets_every_change_once_and_in_order),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
