/* SPDX-License-Identifier: Apache-2.0 */
/* Put, DeleteRange and Txn on the store. etcd: server/etcdserver/txn */
#include <string.h>

#include "common/limits.h"
#include "common/planted.h"
#include "proto/wire.h"
#include "raftd/node/kv.h"

enum { PUT_HEADER = 1, PUT_PREV = 2 };
enum { DELETE_HEADER = 1, DELETE_COUNT = 2, DELETE_PREVS = 3 };
enum { TXN_HEADER = 1, TXN_SUCCEEDED = 2, TXN_RESPONSES = 3 };

static struct slice bytes_of(const ProtobufCBinaryData *b)
{
    return slice_of(b->data, b->len);
}

static struct mvcc_span span_of(const ProtobufCBinaryData *key, const ProtobufCBinaryData *end)
{
    return mvcc_span_of(bytes_of(key), bytes_of(end));
}

/* ---- what can be refused is refused before anything changes ---- */

/* There are no leases yet, so no put can name one. */
static enum status check_lease(int64_t lease)
{
    return lease ? ST_LEASE_NOT_FOUND : ST_OK;
}

/*
 * is_inner: of a transaction. There what stands under the key is read now, for it is part of what will: the put itself would find too late
 * that it cannot be, as others can precede it.
 */
static enum status judge_put(struct mvcc *store, const Etcdserverpb__PutRequest *r, bool is_inner)
{
    bool needs_old = r->ignore_value || r->ignore_lease;
    struct mvcc_kv old;
    enum status st = check_lease(r->lease);

    if (st != ST_OK || (!needs_old && !is_inner))
        return st;
    st = mvcc_get(store, bytes_of(&r->key), 0, false, &old);
    if (st == ST_NOT_FOUND)
        return needs_old ? ST_KEY_NOT_FOUND : ST_OK;
    return st;
}

static bool is_unreadable(enum status st)
{
    return st == ST_CORRUPT || st == ST_IO;
}

/* Of what only the answer needs. */
static enum status answer_status(enum status st)
{
    return is_unreadable(st) ? ST_ANSWER_UNREADABLE : st;
}

/* ---- single requests ---- */

static enum status do_put(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__PutRequest *r,
                          struct buf *out)
{
    bool needs_old = r->ignore_value || r->ignore_lease || (r->prev_kv && out);
    struct mvcc_kv old = {0};
    enum status st = ST_NOT_FOUND;

    if (needs_old) {
        st = mvcc_get(store, bytes_of(&r->key), 0, true, &old);
        if (st != ST_OK && st != ST_NOT_FOUND)
            return st;
        /* Judged before; a delete earlier in the same transaction can have taken it away since. */
        if (st == ST_NOT_FOUND && (r->ignore_value || r->ignore_lease))
            old = (struct mvcc_kv){0};
    }
    if (out && r->prev_kv && st == ST_OK)
        kv_encode(out, PUT_PREV, &old, false);
    if (r->ignore_value) {
        /* The old value's slice is valid until the next call into the store: the put is that call, and copies it. */
        struct buf copy = {0};
        buf_append_slice(&copy, old.value);
        st = mvcc_put(store, bytes_of(&r->key), buf_slice(&copy), r->ignore_lease ? old.lease : r->lease);
        buf_fini(&copy);
    } else {
        st = mvcc_put(store, bytes_of(&r->key), bytes_of(&r->value), r->ignore_lease ? old.lease : r->lease);
    }
    if (out && st == ST_OK)
        kv_encode_header(out, PUT_HEADER, h, mvcc_pending_revision(store));
    return st;
}

struct prev_writer {
    struct buf *out;
    size_t bytes_max;
};

static bool write_prev(const struct mvcc_kv *kv, void *arg)
{
    struct prev_writer *w = arg;

    kv_encode(w->out, DELETE_PREVS, kv, false);
    return buf_len(w->out) <= w->bytes_max;
}

/* Always done; only its answer can fail. */
static enum status do_delete(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__DeleteRangeRequest *r,
                             struct buf *out)
{
    struct mvcc_query q = {.span = span_of(&r->key, &r->range_end), .values = true};
    struct prev_writer w = {out, h->answer_bytes_max};
    struct mvcc_range_result result;
    int64_t deleted;
    enum status st = ST_OK;

    if (out && r->prev_kv)
        st = mvcc_range(store, &q, write_prev, &w, &result);
    deleted = mvcc_span_is_empty(&q.span) ? 0 : mvcc_delete(store, &q.span);
    if (out) {
        kv_encode_header(out, DELETE_HEADER, h, mvcc_pending_revision(store));
        wire_int(out, DELETE_COUNT, deleted);
    }
    return st == ST_OK && out && buf_len(out) > h->answer_bytes_max ? ST_ANSWER_TOO_LARGE : st;
}

enum status kv_apply_put(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__PutRequest *r,
                         struct buf *out)
{
    enum status st = kv_check_put(r);

    if (st == ST_OK)
        st = judge_put(store, r, false);
    return st == ST_OK ? do_put(store, h, r, out) : st;
}

enum status kv_apply_delete(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__DeleteRangeRequest *r,
                            struct buf *out)
{
    enum status st = kv_check_delete(r);

    return st == ST_OK ? answer_status(do_delete(store, h, r, out)) : st;
}

/* ---- comparing ---- */

static bool holds(Etcdserverpb__Compare__CompareResult result, int c)
{
    switch (result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return c == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return c > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return c < 0;
    default:
        return c != 0;
    }
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Does this key satisfy it? A union that does not fit the target counts as zero. */
static bool compare_kv(const Etcdserverpb__Compare *c, const struct mvcc_kv *kv)
{
    switch (c->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return holds(c->result, compare_numbers(kv->version, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION ?
                                                                 c->version :
                                                                 0));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return holds(c->result,
                     compare_numbers(kv->create_rev,
                                     c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION ?
                                         c->create_revision :
                                         0));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return holds(c->result,
                     compare_numbers(kv->mod_rev, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION ?
                                                      c->mod_revision :
                                                      0));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return holds(c->result, compare_numbers(kv->lease, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE ?
                                                               c->lease :
                                                               0));
    default:
        return holds(c->result,
                     slice_compare(kv->value, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE ?
                                                  bytes_of(&c->value) :
                                                  slice_of(NULL, 0)));
    }
}

struct comparing {
    const Etcdserverpb__Compare *compare;
    bool all, any;
};

static bool compare_each(const struct mvcc_kv *kv, void *arg)
{
    struct comparing *c = arg;

    c->any = true;
    c->all = compare_kv(c->compare, kv);
    return c->all;
}

static enum status evaluate(struct mvcc *store, Etcdserverpb__Compare *const *compares, size_t count, bool *ret_holds)
{
    *ret_holds = true;
    for (size_t i = 0; *ret_holds && i < count; i++) {
        struct comparing c = {.compare = compares[i], .all = true};
        bool is_value = compares[i]->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
        struct mvcc_query q = {.span = span_of(&compares[i]->key, &compares[i]->range_end), .values = is_value};
        struct mvcc_range_result result;
        enum status st = mvcc_range(store, &q, compare_each, &c, &result);
        if (st != ST_OK)
            return st;
        /* A key that is not there: no value compares, everything else is zero. */
        if (!c.any)
            c.all = !is_value && compare_kv(compares[i], &(struct mvcc_kv){0});
        *ret_holds = c.all;
    }
    return ST_OK;
}

/* ---- executing ---- */

/* Which way every transaction inside takes is decided on the state before the first change (etcd: compareToPath). */
#define TXN_PATH_BYTES (TXN_PARTS_MAX / 8 + 1) /* every one inside is a part */
#define PATH_MAX_TXNS (TXN_PATH_BYTES * 8)

struct path {
    uint8_t taken[TXN_PATH_BYTES]; /* a bit a transaction, in the order of the walk */
    unsigned count, next;
    enum status answer; /* ST_OK, or why there is none: what is left is done without */
};

static enum status judge_op(struct mvcc *store, const Etcdserverpb__RequestOp *op, struct path *path);

static enum status judge_txn(struct mvcc *store, const Etcdserverpb__TxnRequest *r, struct path *path)
{
    Etcdserverpb__RequestOp **ops;
    bool success;
    size_t count;
    enum status st = evaluate(store, r->compare, r->n_compare, &success);

    if (st != ST_OK)
        return st;
    if (path->count == PATH_MAX_TXNS)
        return ST_TOO_MANY_OPS;
    if (success)
        path->taken[path->count / 8] |= (uint8_t)(1u << path->count % 8);
    path->count++;
    ops = success ? r->success : r->failure;
    count = success ? r->n_success : r->n_failure;
    for (size_t i = 0; st == ST_OK && i < count; i++)
        st = judge_op(store, ops[i], path);
    return st;
}

/*
 * etcd: a range alone takes every negative revision for the newest; inside a transaction it is held against the compacted
 * one, which is -1 until the first compaction.
 */
static enum status check_range_rev(const struct mvcc *store, mvcc_rev rev)
{
    if (rev >= 0)
        return mvcc_check_rev(store, rev);
    return rev < mvcc_compact_revision(store) ? ST_COMPACTED : ST_OK;
}

static enum status judge_op(struct mvcc *store, const Etcdserverpb__RequestOp *op, struct path *path)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return check_range_rev(store, op->request_range->revision);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return judge_put(store, op->request_put, true);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return judge_txn(store, op->request_txn, path);
    default:
        return ST_OK;
    }
}

/*
 * inner: the header of the answers inside. etcd: who answers stands in the outer header only; a transaction inside has an
 * empty one, without a revision.
 */
static enum status run_txn(struct mvcc *store, const struct kv_header *inner, const Etcdserverpb__TxnRequest *r,
                           struct path *path, struct buf *out);

static enum status run_op(struct mvcc *store, const struct kv_header *inner, const Etcdserverpb__RequestOp *op,
                          struct path *path, struct buf *out)
{
    /* The field of the answer in a ResponseOp has the number of the request in a RequestOp. */
    size_t opened = out ? wire_open(out, (uint32_t)op->request_case) : 0;
    enum status st = ST_OK, answer;

    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        if (out)
            path->answer = kv_range(store, inner, op->request_range, out);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        st = do_put(store, inner, op->request_put, out);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        answer = do_delete(store, inner, op->request_delete_range, out);
        if (out)
            path->answer = answer;
        break;
    default:
        st = run_txn(store, inner, op->request_txn, path, out);
        if (out && st == ST_OK)
            wire_message(out, TXN_HEADER, 0);
        break;
    }
    if (out && st == ST_OK)
        wire_close(out, opened);
    return st;
}

/* Everything of a TxnResponse but the header. */
static enum status run_txn(struct mvcc *store, const struct kv_header *inner, const Etcdserverpb__TxnRequest *r,
                           struct path *path, struct buf *out)
{
    bool success = path->taken[path->next / 8] >> path->next % 8 & 1;
    Etcdserverpb__RequestOp **ops = success ? r->success : r->failure;
    size_t count = success ? r->n_success : r->n_failure;
    enum status st = ST_OK;

    path->next++;
    for (size_t i = 0; st == ST_OK && i < count; i++) {
        size_t opened = out ? wire_open(out, TXN_RESPONSES) : 0;
        if (PLANTED(apply_less_unwatched) && !out && i)
            break;
        st = run_op(store, inner, ops[i], path, out);
        if (path->answer != ST_OK)
            out = NULL;
        if (out && st == ST_OK)
            wire_close(out, opened);
    }
    if (out && st == ST_OK)
        wire_bool(out, TXN_SUCCEEDED, success);
    return st;
}

static enum status answer_txn(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__TxnRequest *r,
                              struct path *path, struct buf *out)
{
    const struct kv_header inner = {.answer_bytes_max = h->answer_bytes_max};
    enum status st = run_txn(store, &inner, r, path, out);

    if (st == ST_OK && path->answer == ST_OK && out)
        kv_encode_header(out, TXN_HEADER, h, mvcc_pending_revision(store));
    return st;
}

enum status kv_apply_txn(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__TxnRequest *r,
                         struct buf *out)
{
    struct kv_limits limits = {.txn_ops_max = TXN_OPS_MAX};
    struct path path = {0};
    enum status st = kv_check_txn(r, &limits);

    if (st == ST_OK)
        st = judge_txn(store, r, &path);
    if (st == ST_OK)
        st = answer_txn(store, h, r, &path, out);
    return st == ST_OK ? answer_status(path.answer) : st;
}

/* ---- looking ahead ---- */

enum status kv_foresee_put(struct mvcc *store, const Etcdserverpb__PutRequest *r)
{
    enum status st = judge_put(store, r, true);

    return is_unreadable(st) ? st : ST_OK;
}

enum status kv_foresee_txn(struct mvcc *store, const Etcdserverpb__TxnRequest *r)
{
    struct path path = {0};
    enum status st = judge_txn(store, r, &path);

    return is_unreadable(st) ? st : ST_OK;
}

enum status kv_txn_read(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__TxnRequest *r,
                        struct buf *out)
{
    struct path path = {0};
    enum status st = judge_txn(store, r, &path);

    if (st == ST_OK)
        st = answer_txn(store, h, r, &path, out);
    return st == ST_OK ? path.answer : st;
}
