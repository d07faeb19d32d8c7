/* SPDX-License-Identifier: Apache-2.0 */
/* What Range, Put, DeleteRange and Txn mean: etcd's rules of revision and version, refusals, nesting, limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/nesting.h"
#include "raftd/node/kv.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

typedef Etcdserverpb__RequestOp request_op;

static char dir[120];
static struct mvcc *s;
static uint64_t entry;
static struct kv_header header = {.cluster_id = 1, .member_id = 2, .raft_term = 3, .answer_bytes_max = RESPONSE_BYTES_MAX};
static struct buf out;
static const struct kv_limits limits = {.txn_ops_max = TXN_OPS_MAX};

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static int set_up(void **state)
{
    struct mvcc_options o = {.dir = dir, .memtable_bytes = UINT64_MAX, .seal_entries = UINT64_MAX, .no_sync = true};
    struct error error = {0};

    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "kv"));
    entry = 0;
    header.answer_bytes_max = RESPONSE_BYTES_MAX;
    return mvcc_open(&o, &s, &error) == ST_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    mvcc_close(s);
    buf_fini(&out);
    return rmdir(dir);
}

/* ---- doing it ---- */

static void begin(void)
{
    buf_clear(&out);
    entry++;
    mvcc_begin(s, entry, 1, (int64_t)entry);
}

static enum status put(const char *key, const char *value)
{
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
    enum status st;

    r.key = bytes(key);
    r.value = bytes(value);
    begin();
    st = kv_apply_put(s, &header, &r, &out);
    mvcc_end(s);
    return st;
}

static Etcdserverpb__RangeResponse *range(const char *key, const char *end, mvcc_rev rev)
{
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *answer;

    r.key = bytes(key);
    r.range_end = bytes(end);
    r.revision = rev;
    buf_clear(&out);
    assert_int_equal(kv_range(s, &header, &r, &out), ST_OK);
    answer = etcdserverpb__range_response__unpack(NULL, buf_len(&out), out.data + out.start);
    assert_non_null(answer);
    return answer;
}

static void check_kv(const char *key, const char *value, mvcc_rev create, mvcc_rev mod, int64_t version)
{
    Etcdserverpb__RangeResponse *r = range(key, "", 0);

    assert_int_equal(r->n_kvs, 1);
    assert_int_equal(r->kvs[0]->value.len, strlen(value));
    assert_memory_equal(r->kvs[0]->value.data, value, strlen(value));
    assert_int_equal(r->kvs[0]->create_revision, create);
    assert_int_equal(r->kvs[0]->mod_revision, mod);
    assert_int_equal(r->kvs[0]->version, version);
    assert_int_equal(r->header->revision, mvcc_revision(s));
    etcdserverpb__range_response__free_unpacked(r, NULL);
}

static bool is_there(const char *key)
{
    Etcdserverpb__RangeResponse *r = range(key, "", 0);
    bool found = r->n_kvs > 0;

    etcdserverpb__range_response__free_unpacked(r, NULL);
    return found;
}

static enum status delete(const char *key, const char *end, bool prev, int64_t *ret_deleted, size_t *ret_prevs)
{
    Etcdserverpb__DeleteRangeRequest r = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *answer;
    enum status st;

    r.key = bytes(key);
    r.range_end = bytes(end);
    r.prev_kv = prev;
    begin();
    st = kv_apply_delete(s, &header, &r, &out);
    mvcc_end(s);
    if (st != ST_OK)
        return st;
    answer = etcdserverpb__delete_range_response__unpack(NULL, buf_len(&out), out.data + out.start);
    assert_non_null(answer);
    *ret_deleted = answer->deleted;
    *ret_prevs = answer->n_prev_kvs;
    assert_int_equal(answer->header->revision, mvcc_revision(s));
    etcdserverpb__delete_range_response__free_unpacked(answer, NULL);
    return st;
}

/* ---- operations of transactions, from one pool ---- */

static struct {
    request_op ops[400];
    Etcdserverpb__PutRequest puts[400];
    Etcdserverpb__DeleteRangeRequest deletes[100];
    Etcdserverpb__RangeRequest ranges[200];
    Etcdserverpb__TxnRequest txns[100];
    request_op *lists[100][400];
    unsigned op, put, del, range, txn, list;
} pool;

static request_op *new_op(int request_case)
{
    request_op *op = &pool.ops[pool.op++];

    etcdserverpb__request_op__init(op);
    op->request_case = request_case;
    return op;
}

static request_op *op_put(const char *key, const char *value)
{
    request_op *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);

    op->request_put = &pool.puts[pool.put++];
    etcdserverpb__put_request__init(op->request_put);
    op->request_put->key = bytes(key);
    op->request_put->value = bytes(value);
    return op;
}

static request_op *op_delete(const char *key, const char *end)
{
    request_op *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);

    op->request_delete_range = &pool.deletes[pool.del++];
    etcdserverpb__delete_range_request__init(op->request_delete_range);
    op->request_delete_range->key = bytes(key);
    op->request_delete_range->range_end = bytes(end);
    return op;
}

static request_op *op_range(const char *key, const char *end, mvcc_rev rev)
{
    request_op *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);

    op->request_range = &pool.ranges[pool.range++];
    etcdserverpb__range_request__init(op->request_range);
    op->request_range->key = bytes(key);
    op->request_range->range_end = bytes(end);
    op->request_range->revision = rev;
    return op;
}

static request_op *op_txn(Etcdserverpb__TxnRequest *txn)
{
    request_op *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN);

    op->request_txn = txn;
    return op;
}

static Etcdserverpb__TxnRequest *new_txn(void)
{
    Etcdserverpb__TxnRequest *t = &pool.txns[pool.txn++];

    etcdserverpb__txn_request__init(t);
    t->success = pool.lists[pool.list++];
    t->failure = pool.lists[pool.list++];
    return t;
}

static void then(Etcdserverpb__TxnRequest *t, request_op *op)
{
    t->success[t->n_success++] = op;
}

static void otherwise(Etcdserverpb__TxnRequest *t, request_op *op)
{
    t->failure[t->n_failure++] = op;
}

static Etcdserverpb__Compare *version_is(const char *key, int64_t version)
{
    static Etcdserverpb__Compare compares[100];
    static unsigned next;
    Etcdserverpb__Compare *c = &compares[next++ % 100];

    etcdserverpb__compare__init(c);
    c->key = bytes(key);
    c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    c->version = version;
    return c;
}

static enum status run(Etcdserverpb__TxnRequest *t, bool *ret_succeeded)
{
    Etcdserverpb__TxnResponse *answer;
    enum status st;

    begin();
    st = kv_apply_txn(s, &header, t, &out);
    mvcc_end(s);
    memset(&pool.op, 0, sizeof pool - offsetof(__typeof__(pool), op));
    if (st != ST_OK)
        return st;
    answer = etcdserverpb__txn_response__unpack(NULL, buf_len(&out), out.data + out.start);
    assert_non_null(answer);
    assert_int_equal(answer->header->revision, mvcc_revision(s));
    if (ret_succeeded)
        *ret_succeeded = answer->succeeded;
    etcdserverpb__txn_response__free_unpacked(answer, NULL);
    return st;
}

/* ---- revisions and versions ---- */

static void revisions_and_versions_go_as_in_etcd(void **state)
{
    int64_t deleted;
    size_t prevs;

    (void)state;
    assert_int_equal(put("a", "1"), ST_OK);
    check_kv("a", "1", 2, 2, 1);
    assert_int_equal(put("a", "2"), ST_OK);
    check_kv("a", "2", 2, 3, 2);
    assert_int_equal(put("b", ""), ST_OK);
    check_kv("b", "", 4, 4, 1);
    assert_int_equal(delete("x", "", false, &deleted, &prevs), ST_OK); /* nothing: no revision */
    assert_int_equal(deleted, 0);
    assert_int_equal(mvcc_revision(s), 4);
    assert_int_equal(delete("a", "c", true, &deleted, &prevs), ST_OK);
    assert_int_equal(deleted, 2);
    assert_int_equal(prevs, 2);
    assert_int_equal(mvcc_revision(s), 5);
    assert_false(is_there("a"));
    assert_int_equal(put("a", "3"), ST_OK); /* a new generation */
    check_kv("a", "3", 6, 6, 1);
    assert_int_equal(delete("c", "a", false, &deleted, &prevs), ST_OK); /* an empty range */
    assert_int_equal(deleted, 0);
    assert_int_equal(delete("a", "\x01", false, &deleted, &prevs), ST_OK);
    assert_int_equal(deleted, 0);
}

static void malformed_requests_are_refused_by_name(void **state)
{
    Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    (void)state;
    assert_int_equal(kv_check_put(&p), ST_EMPTY_KEY);
    assert_int_equal(kv_check_range(&r), ST_EMPTY_KEY);
    assert_int_equal(kv_check_delete(&d), ST_EMPTY_KEY);
    p.key = r.key = bytes("k");
    p.value = bytes("v");
    p.ignore_value = true;
    assert_int_equal(kv_check_put(&p), ST_VALUE_PROVIDED);
    p.ignore_value = false;
    p.lease = 5;
    begin();
    assert_int_equal(kv_apply_put(s, &header, &p, &out), ST_LEASE_NOT_FOUND);
    p.ignore_lease = true;
    assert_int_equal(kv_check_put(&p), ST_LEASE_PROVIDED);
    p.lease = 0;
    assert_int_equal(kv_apply_put(s, &header, &p, &out), ST_KEY_NOT_FOUND);
    p.ignore_lease = false;
    p.ignore_value = true;
    p.value.len = 0;
    assert_int_equal(kv_apply_put(s, &header, &p, &out), ST_KEY_NOT_FOUND);
    mvcc_end(s);
    assert_int_equal(mvcc_revision(s), 1); /* refusals change nothing */
    r.sort_order = (Etcdserverpb__RangeRequest__SortOrder)3;
    assert_int_equal(kv_check_range(&r), ST_BAD_SORT_OPTION);
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    r.sort_target = (Etcdserverpb__RangeRequest__SortTarget)-1;
    assert_int_equal(kv_check_range(&r), ST_BAD_SORT_OPTION);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    r.revision = 2;
    assert_int_equal(kv_range(s, &header, &r, &out), ST_FUTURE_REV);
}

static void ignore_value_keeps_the_value_and_counts_a_version(void **state)
{
    Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *answer;

    (void)state;
    assert_int_equal(put("k", "kept"), ST_OK);
    p.key = bytes("k");
    p.ignore_value = p.prev_kv = true;
    begin();
    assert_int_equal(kv_apply_put(s, &header, &p, &out), ST_OK);
    mvcc_end(s);
    answer = etcdserverpb__put_response__unpack(NULL, buf_len(&out), out.data + out.start);
    assert_non_null(answer);
    assert_int_equal(answer->prev_kv->version, 1);
    assert_memory_equal(answer->prev_kv->value.data, "kept", 4);
    etcdserverpb__put_response__free_unpacked(answer, NULL);
    check_kv("k", "kept", 2, 3, 2);
}

/* ---- ranges ---- */

static void check_order(Etcdserverpb__RangeRequest *r, const char *expected, int64_t count, bool more)
{
    Etcdserverpb__RangeResponse *answer;
    char keys[20] = {0};

    buf_clear(&out);
    assert_int_equal(kv_check_range(r), ST_OK);
    assert_int_equal(kv_range(s, &header, r, &out), ST_OK);
    answer = etcdserverpb__range_response__unpack(NULL, buf_len(&out), out.data + out.start);
    assert_non_null(answer);
    for (size_t i = 0; i < answer->n_kvs; i++) {
        keys[i] = (char)answer->kvs[i]->key.data[0];
        assert_int_equal(answer->kvs[i]->value.len == 0, r->keys_only);
    }
    assert_string_equal(keys, expected);
    assert_int_equal(answer->count, count);
    assert_int_equal(answer->more, more);
    etcdserverpb__range_response__free_unpacked(answer, NULL);
}

static void ranges_are_sorted_filtered_and_limited_as_in_etcd(void **state)
{
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

    (void)state;
    /* key: value, create, mod, version:  a: z 2 2 1   b: y 3 6 2   c: x 4 5 2   d: w 7 7 1 */
    put("a", "z");
    put("b", "0");
    put("c", "0");
    put("c", "x");
    put("b", "y");
    put("d", "w");
    r.key = r.range_end = bytes("a");
    r.range_end = bytes("e");
    check_order(&r, "abcd", 4, false);
    r.limit = 2;
    check_order(&r, "ab", 4, true);
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    check_order(&r, "dc", 4, true);
    r.limit = 0;
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    r.keys_only = true;
    check_order(&r, "abcd", 4, false);
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    r.keys_only = false;
    check_order(&r, "dcba", 4, false);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION;
    check_order(&r, "adbc", 4, false);
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    r.limit = 3;
    check_order(&r, "bca", 4, true);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    check_order(&r, "dbc", 4, true);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    check_order(&r, "dcb", 4, true);
    r.limit = 0;
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    r.min_mod_revision = 5;
    check_order(&r, "bcd", 4, false);
    r.max_mod_revision = 6;
    check_order(&r, "bc", 4, false);
    r.min_create_revision = 4;
    check_order(&r, "c", 4, false);
    r.max_create_revision = 3;
    check_order(&r, "", 4, false);
    r.min_mod_revision = r.max_mod_revision = r.min_create_revision = r.max_create_revision = 0;
    r.revision = 4;
    check_order(&r, "abc", 3, false);
    r.count_only = true;
    r.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    check_order(&r, "", 3, false);
}

/* ---- transactions ---- */

static void comparisons_hold_as_in_etcd(void **state)
{
    static const struct {
        int target;
        const char *key, *end;
        int64_t number;
        const char *value;
        int64_t is; /* the number that is there */
        bool empty; /* nothing there */
    } rows[] = {
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, "k", "", 2, NULL, 2, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, "k", "", 3, NULL, 2, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE, "k", "", 1, NULL, 2, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD, "k", "", 3, NULL, 3, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE, "k", "", 0, NULL, 0, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, "none", "", 0, NULL, 0, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD, "none", "", 7, NULL, 0, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, "k", "", 0, "v", 0, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, "k", "", -1, "u", 0, false},
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, "none", "", 0, "", 0, true}, /* no value compares */
        {ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, "m", "z", 5, NULL, 0, false},
    };
    static const int results[] = {ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER,
                                  ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS, ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL};

    (void)state;
    put("k", "u");
    put("k", "v");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < 4; k++) {
            Etcdserverpb__Compare c = ETCDSERVERPB__COMPARE__INIT, *list = &c;
            Etcdserverpb__TxnRequest *t = new_txn();
            int64_t order = rows[i].value ? -rows[i].number : rows[i].is - rows[i].number;
            bool expected[] = {order == 0, order > 0, order < 0, order != 0}, succeeded;
            c.key = bytes(rows[i].key);
            c.range_end = bytes(rows[i].end);
            c.target = (Etcdserverpb__Compare__CompareTarget)rows[i].target;
            c.result = (Etcdserverpb__Compare__CompareResult)results[k];
            if (rows[i].value) {
                c.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
                c.value = bytes(rows[i].value);
            } else {
                static const Etcdserverpb__Compare__TargetUnionCase unions[] = {
                    ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
                    ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
                    ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE};
                c.target_union_case = unions[rows[i].target];
                c.version = rows[i].number; /* one place for all of them */
            }
            t->compare = &list;
            t->n_compare = 1;
            assert_int_equal(run(t, &succeeded), ST_OK);
            assert_int_equal(succeeded, expected[k] && !rows[i].empty);
        }
    assert_int_equal(mvcc_revision(s), 3);
}

/* Every branch is chosen by what was there before the transaction. */
static void nested_branches_are_decided_before_the_first_change(void **state)
{
    Etcdserverpb__TxnRequest *outer = new_txn(), *inner = new_txn();
    Etcdserverpb__Compare *inner_is = version_is("a", 0);
    bool succeeded;

    (void)state;
    inner->compare = &inner_is;
    inner->n_compare = 1;
    then(inner, op_put("b", "then"));
    otherwise(inner, op_put("b", "else"));
    then(outer, op_put("a", "1"));
    then(outer, op_txn(inner));
    then(outer, op_range("a", "", 0));
    assert_int_equal(run(outer, &succeeded), ST_OK);
    assert_true(succeeded);
    check_kv("a", "1", 2, 2, 1);
    check_kv("b", "then", 2, 2, 1); /* one revision for all of it */
}

static void no_key_is_written_twice(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        Etcdserverpb__TxnRequest *t = new_txn(), *inner = new_txn(), *second = new_txn();
        enum status expected = i < 8 ? ST_DUPLICATE_KEY : ST_OK;
        switch (i) {
        case 0:
            then(t, op_put("a", "1"));
            then(t, op_put("a", "2"));
            break;
        case 1:
            then(t, op_put("b", "1"));
            then(t, op_delete("a", "c"));
            break;
        case 2:
            then(t, op_delete("a", "c"));
            then(t, op_put("b", "1"));
            break;
        case 3:
            otherwise(t, op_put("a", "1"));
            otherwise(t, op_put("a", "2"));
            break;
        case 4: /* in a branch of a transaction inside */
            otherwise(inner, op_put("a", "1"));
            then(t, op_txn(inner));
            then(t, op_put("a", "2"));
            break;
        case 5:
            then(inner, op_put("a", "1"));
            then(second, op_put("a", "2"));
            then(t, op_txn(inner));
            then(t, op_txn(second));
            break;
        case 6:
            then(inner, op_delete("a", ""));
            then(t, op_put("a", "1"));
            then(t, op_txn(inner));
            break;
        case 7:
            then(t, op_put("a", "1"));
            then(t, op_delete("", "")); /* an empty key is found first */
            expected = ST_EMPTY_KEY;
            break;
        case 8: /* only one of two branches is taken */
            then(t, op_put("a", "1"));
            otherwise(t, op_put("a", "2"));
            break;
        case 9:
            then(inner, op_put("a", "1"));
            otherwise(inner, op_put("a", "2"));
            then(t, op_txn(inner));
            break;
        case 10:
            then(t, op_delete("a", "c"));
            then(t, op_delete("b", "d"));
            break;
        default:
            then(t, op_put("b", "1"));
            then(t, op_delete("a", "b")); /* the end is outside */
            break;
        }
        assert_int_equal(run(t, NULL), expected);
    }
}

static void transactions_are_bounded(void **state)
{
    Etcdserverpb__TxnRequest *t = new_txn(), *deep = NULL;
    char keys[200][8];

    (void)state;
    for (unsigned i = 0; i < 129; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        then(t, op_put(keys[i], "v"));
    }
    assert_int_equal(kv_check_txn(t, &limits), ST_TOO_MANY_OPS);
    t->n_success = 128;
    assert_int_equal(kv_check_txn(t, &limits), ST_OK);
    /* What is inside counts against what is left. */
    t->n_success = 127;
    deep = new_txn();
    then(deep, op_put("x", ""));
    then(t, op_txn(deep));
    assert_int_equal(kv_check_txn(t, &limits), ST_TOO_MANY_OPS);
    t->n_success = 100;
    then(t, op_txn(deep));
    assert_int_equal(kv_check_txn(t, &limits), ST_OK);
    assert_int_equal(run(t, NULL), ST_OK);
    for (unsigned depth = 1; depth <= TXN_DEPTH_MAX + 1; depth++) {
        Etcdserverpb__TxnRequest *outer = new_txn();
        if (depth > 1)
            then(outer, op_txn(deep));
        deep = outer;
        assert_int_equal(kv_check_txn(outer, &limits), depth <= TXN_DEPTH_MAX ? ST_OK : ST_TOO_MANY_OPS);
    }
    t = new_txn();
    then(t, new_op(ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET));
    assert_int_equal(run(t, NULL), ST_KEY_NOT_FOUND);
}

/* Nothing of a refused transaction happens. */
static void a_refusal_leaves_everything_as_it_was(void **state)
{
    Etcdserverpb__TxnRequest *t = new_txn();
    request_op *op;

    (void)state;
    then(t, op_put("a", "1"));
    then(t, op_range("a", "", 99));
    assert_int_equal(run(t, NULL), ST_FUTURE_REV);
    t = new_txn();
    then(t, op_put("a", "1"));
    op = op_put("b", "");
    op->request_put->ignore_value = true;
    then(t, op);
    assert_int_equal(run(t, NULL), ST_KEY_NOT_FOUND);
    assert_false(is_there("a"));
    assert_int_equal(mvcc_revision(s), 1);
}

/* ---- limits ---- */

static void an_answer_that_is_too_large_is_refused_and_the_write_is_done(void **state)
{
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__TxnRequest *t = new_txn(), *inner = new_txn();
    int64_t deleted = 0;
    size_t prevs = 0;
    char value[400];

    (void)state;
    memset(value, 'x', sizeof value);
    value[399] = 0;
    for (unsigned i = 0; i < 5; i++) {
        char key[2] = {(char)('a' + i), 0};
        assert_int_equal(put(key, value), ST_OK);
    }
    header.answer_bytes_max = 1000;
    r.key = bytes("a");
    r.range_end = bytes("z");
    buf_clear(&out);
    assert_int_equal(kv_range(s, &header, &r, &out), ST_ANSWER_TOO_LARGE);
    assert_int_equal(buf_len(&out), 0);
    r.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    assert_int_equal(kv_range(s, &header, &r, &out), ST_ANSWER_TOO_LARGE);
    then(t, op_put("first", "1"));
    then(inner, op_range("a", "z", 0));
    then(inner, op_put("second", "2"));
    then(t, op_txn(inner));
    then(t, op_put("third", "3"));
    assert_int_equal(run(t, NULL), ST_ANSWER_TOO_LARGE);
    assert_int_equal(delete("a", "f", true, &deleted, &prevs), ST_ANSWER_TOO_LARGE);
    header.answer_bytes_max = RESPONSE_BYTES_MAX;
    assert_true(is_there("first") && is_there("second") && is_there("third"));
    assert_false(is_there("a") || is_there("e"));
    /* Nobody waits for an answer on the other replicas: the same is done there. */
    t = new_txn();
    then(t, op_range("a", "z", 0));
    then(t, op_delete("first", ""));
    mvcc_begin(s, ++entry, 1, 1);
    assert_int_equal(kv_apply_txn(s, &header, t, NULL), ST_OK);
    mvcc_end(s);
    assert_false(is_there("first"));
}

/* `depth` transactions in each other, written from the inside out, to the end of the room. */
static struct slice nested(unsigned depth, uint8_t *room, size_t size)
{
    uint8_t *begin = room + size;

    while (--depth) {
        size_t inner = (size_t)(room + size - begin), op = 1 + varint_len(inner) + inner;
        uint8_t head[24], *p = put_varint(put_u8(head, 2 << 3 | 2), op);
        p = put_varint(put_u8(p, 4 << 3 | 2), inner);
        begin -= p - head;
        memcpy(begin, head, (size_t)(p - head));
    }
    return slice_of(begin, (size_t)(room + size - begin));
}

/* protobuf-c decodes by recursion: a request of a megabyte would run over the stack. */
static void a_transaction_nested_too_deep_is_not_decoded(void **state)
{
    uint8_t *room = mem_alloc(REQUEST_BYTES_MAX);
    struct arena arena;
    struct slice most;

    (void)state;
    arena_init(&arena);
    for (unsigned depth = 1; depth < 40; depth++) {
        bool decoded = kv_unpack_txn(&arena, nested(depth, room, REQUEST_BYTES_MAX)) != NULL;
        arena_reset(&arena);
        assert_int_equal(decoded, depth * 2 - 1 <= NESTING_MAX);
    }
    most = nested(190000, room, REQUEST_BYTES_MAX);
    assert_true(most.len > REQUEST_BYTES_MAX / 2);
    assert_null(kv_unpack_txn(&arena, most));
    arena_fini(&arena);
    free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(revisions_and_versions_go_as_in_etcd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_requests_are_refused_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ignore_value_keeps_the_value_and_counts_a_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ranges_are_sorted_filtered_and_limited_as_in_etcd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(comparisons_hold_as_in_etcd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nested_branches_are_decided_before_the_first_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_key_is_written_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transactions_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_leaves_everything_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_that_is_too_large_is_refused_and_the_write_is_done, set_up, tear_down),
        cmocka_unit_test(a_transaction_nested_too_deep_is_not_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
