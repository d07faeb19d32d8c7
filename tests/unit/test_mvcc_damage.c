/* SPDX-License-Identifier: Apache-2.0 */
/* What damage of its files may do to a store: refuse, never answer wrongly. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/unit/mvcc_fixture.h"
#include "tests/unit/mvcc_model.h"

/* A put on what cannot be read is refused: with another creation time than on other replicas it would be theirs no more. */
static void check_put(const struct model *m, struct mvcc *s, unsigned key)
{
    const struct model_change *c = model_at(m, key, 0);
    uint64_t applied = mvcc_applied_index(s);
    struct mvcc_kv kv;
    enum status st;

    mvcc_begin(s, applied + 1, 1, 1);
    st = mvcc_put(s, model_key(key), slice_of_text("new"), 0);
    if (st != ST_OK) {
        assert_int_equal(st, ST_CORRUPT);
        assert_false(mvcc_has_changes(s));
        mvcc_cancel(s);
        assert_int_equal(mvcc_applied_index(s), applied);
        return;
    }
    assert_int_equal(mvcc_get(s, model_key(key), 0, true, &kv), ST_OK);
    assert_int_equal(kv.create_time_ns, c ? c->create_time_ns : kv.mod_time_ns);
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
        for (unsigned round = 0; round < 100; round++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_flipped_byte_of_a_segment_gives_a_wrong_answer),
        cmocka_unit_test(no_misplaced_block_of_a_segment_gives_a_wrong_answer),
        cmocka_unit_test(a_missing_or_foreign_segment_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
