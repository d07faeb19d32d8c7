/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges in slices: whatever the slices and whatever is written between them, the answer is that of one piece. */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rng.h"
#include "proto/wire.h"
#include "raftd/node/kv_range.h"
#include "tests/unit/temp_dir.h"

#define KEYS 60
#define REQUESTS 4000

static struct mvcc *store;
static char dir[64];
static struct rng rng = {.state = 7};

static int open_store(void **state)
{
    struct mvcc_options o = {.dir = dir, .memtable_bytes = 1 << 20, .no_sync = true};
    struct error error;

    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "range"));
    assert_int_equal(mvcc_open(&o, &store, &error), ST_OK);
    return 0;
}

static int close_store(void **state)
{
    (void)state;
    mvcc_close(store);
    assert_int_equal(rmdir(dir), 0); /* nothing was sealed */
    return 0;
}

/* Keys of one to three components, so that groups of all sizes come to be. */
static size_t make_key(char *out, size_t cap)
{
    unsigned n = (unsigned)rng_below(&rng, KEYS);

    return (size_t)snprintf(out, cap, n % 3 == 0 ? "k%u" : n % 3 == 1 ? "d/k%u" : "d/e%u/k", n % 3 == 2 ? n % 7 : n);
}

static void write_something(void)
{
    char key[32], value[64];
    size_t len = make_key(key, sizeof key);
    struct mvcc_span span = mvcc_span_of(slice_of(key, len), slice_of(NULL, 0));

    mvcc_begin(store, mvcc_applied_index(store) + 1, 1, 0);
    if (rng_below(&rng, 4) == 0) {
        mvcc_delete(store, &span);
    } else {
        size_t value_len = (size_t)snprintf(value, sizeof value, "%llu", (unsigned long long)rng_below(&rng, 5));
        assert_int_equal(mvcc_put(store, slice_of(key, len), slice_of(value, value_len), (int64_t)rng_below(&rng, 3)), ST_OK);
    }
    mvcc_end(store);
}

struct request {
    Etcdserverpb__RangeRequest r;
    char key[32], end[32];
};

static void make_request(struct request *q)
{
    Etcdserverpb__RangeRequest *r = &q->r;
    mvcc_rev now = mvcc_revision(store);

    etcdserverpb__range_request__init(r);
    q->key[0] = 'a'; /* before all keys */
    r->key.data = (uint8_t *)q->key;
    r->key.len = rng_below(&rng, 3) ? 1 : make_key(q->key, sizeof q->key);
    r->range_end.data = (uint8_t *)q->end;
    switch (rng_below(&rng, 4)) {
    case 0: /* just the key */
        break;
    case 1: /* to the end: one NUL */
        r->range_end.len = 1;
        break;
    default:
        r->range_end.len = make_key(q->end, sizeof q->end);
        break;
    }
    r->limit = rng_below(&rng, 2) ? (int64_t)rng_below(&rng, 12) : 0;
    r->revision = rng_below(&rng, 3) ? 0 : 1 + (int64_t)rng_below(&rng, (uint64_t)now);
    r->sort_order = (Etcdserverpb__RangeRequest__SortOrder)rng_below(&rng, 3);
    r->sort_target = (Etcdserverpb__RangeRequest__SortTarget)rng_below(&rng, 5);
    r->keys_only = rng_below(&rng, 3) == 0;
    r->count_only = rng_below(&rng, 6) == 0;
    r->attributes = rng_below(&rng, 3) == 0;
    if (rng_below(&rng, 3) == 0)
        r->min_mod_revision = (int64_t)rng_below(&rng, (uint64_t)now + 1);
    if (rng_below(&rng, 4) == 0)
        r->max_create_revision = (int64_t)rng_below(&rng, (uint64_t)now + 1);
    if (rng_below(&rng, 5) == 0) {
        r->delimiter.data = (uint8_t *)(uintptr_t) "/";
        r->delimiter.len = 1;
        r->group_offset = (uint32_t)rng_below(&rng, 4);
        r->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
        r->sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    }
}

/* In slices, with writes between them, and without the request's bytes after the first. Returns how many it took. */
static unsigned in_slices(struct request *q, struct buf *out)
{
    const struct kv_header h = {1, 2, 3, SIZE_MAX};
    unsigned steps = 0;
    struct kv_range x;

    kv_range_init(&x, store, &h, &q->r);
    do {
        assert_int_equal(kv_range_step(&x, 1 + (int64_t)rng_below(&rng, 5), out), ST_OK);
        if (!steps++) {
            kv_range_keep(&x);
            memset(q->key, 'z', sizeof q->key);
            memset(q->end, 'z', sizeof q->end);
        }
        if (!kv_range_is_done(&x) && rng_below(&rng, 2))
            write_something();
    } while (!kv_range_is_done(&x));
    kv_range_fini(&x);
    return steps;
}

static void slices_make_the_answer_of_one_piece(void **state)
{
    const struct kv_header h = {1, 2, 3, SIZE_MAX};
    struct buf whole = {0}, sliced = {0};
    unsigned steps = 0;

    (void)state;
    for (int i = 0; i < 200; i++)
        write_something();
    for (int i = 0; i < REQUESTS; i++) {
        struct request q = {0};
        if (i % 8 == 0)
            write_something();
        make_request(&q);
        buf_clear(&whole);
        buf_clear(&sliced);
        buf_append_text(&sliced, "before");
        assert_int_equal(kv_range(store, &h, &q.r, &whole), ST_OK);
        steps += in_slices(&q, &sliced);
        buf_consume(&sliced, 6);
        assert_int_equal(buf_len(&whole), buf_len(&sliced));
        assert_memory_equal(whole.data + whole.start, sliced.data + sliced.start, buf_len(&whole));
    }
    assert_true(steps > 2 * REQUESTS); /* most took several */
    buf_fini(&whole);
    buf_fini(&sliced);
}

/* The answer to a request against what a list of keys says. */
static void expect_keys(Etcdserverpb__RangeRequest *r, const char *keys, int64_t count, bool more)
{
    const struct kv_header h = {.answer_bytes_max = SIZE_MAX};
    struct buf out = {0}, got = {0};
    Etcdserverpb__RangeResponse *a;

    assert_int_equal(kv_range(store, &h, r, &out), ST_OK);
    a = etcdserverpb__range_response__unpack(NULL, buf_len(&out), out.data);
    assert_non_null(a);
    for (size_t i = 0; i < a->n_kvs; i++) {
        buf_append(&got, a->kvs[i]->key.data, a->kvs[i]->key.len);
        buf_append_byte(&got, ' ');
    }
    assert_string_equal(buf_text(&got), keys);
    assert_int_equal(a->count, count);
    assert_int_equal(a->more, more);
    etcdserverpb__range_response__free_unpacked(a, NULL);
    buf_fini(&out);
    buf_fini(&got);
}

static void put(const char *key, const char *value)
{
    mvcc_begin(store, mvcc_applied_index(store) + 1, 1, 0);
    assert_int_equal(mvcc_put(store, slice_of_text(key), slice_of_text(value), 0), ST_OK);
    mvcc_end(store);
}

static void orders_limits_and_filters_are_etcds(void **state)
{
    Etcdserverpb__RangeRequest r;

    (void)state;
    put("a", "3"); /* revisions 2.. */
    put("b", "2");
    put("c", "1");
    put("a", "3");
    etcdserverpb__range_request__init(&r);
    r.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "a"};
    r.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) ""};
    expect_keys(&r, "a b c ", 3, false);
    r.limit = 2;
    expect_keys(&r, "a b ", 3, true);
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    expect_keys(&r, "c b ", 3, true);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    expect_keys(&r, "a b ", 3, true);
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    expect_keys(&r, "c b ", 3, true);
    /* No order: one more than the limit is taken in key order, then sorted, then cut. */
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    r.limit = 1;
    expect_keys(&r, "b ", 3, true);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    r.min_mod_revision = 4;
    expect_keys(&r, "a ", 3, true);
    r.limit = 0;
    expect_keys(&r, "a c ", 3, false);
    r.revision = 4; /* the second put of a is not there yet */
    expect_keys(&r, "c ", 3, false);
    r.min_mod_revision = 0;
    r.limit = 1;
    expect_keys(&r, "a ", 3, true);
    r.count_only = true;
    expect_keys(&r, "", 3, false);
}

static void an_answer_that_is_too_large_is_refused_and_leaves_nothing(void **state)
{
    const struct kv_header h = {.answer_bytes_max = 48}; /* one key and a bit */
    Etcdserverpb__RangeRequest r;
    struct buf out = {0};

    (void)state;
    put("a", "some value");
    put("b", "another value");
    etcdserverpb__range_request__init(&r);
    r.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "a"};
    buf_append_text(&out, "before");
    assert_int_equal(kv_range(store, &h, &r, &out), ST_OK);
    out.end = out.start + 6;
    r.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) ""};
    for (int target = 0; target < 5; target++) {
        r.sort_target = (Etcdserverpb__RangeRequest__SortTarget)target;
        assert_int_equal(kv_range(store, &h, &r, &out), ST_ANSWER_TOO_LARGE);
        assert_int_equal(buf_len(&out), 6);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slices_make_the_answer_of_one_piece, open_store, close_store),
        cmocka_unit_test_setup_teardown(an_answer_that_is_too_large_is_refused_and_leaves_nothing, open_store, close_store),
        cmocka_unit_test_setup_teardown(orders_limits_and_filters_are_etcds, open_store, close_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
