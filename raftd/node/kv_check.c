/* SPDX-License-Identifier: Apache-2.0 */
/* Is a request well-formed? What is refused here never reaches the log. etcd: api/v3rpc/key.go */
#include <stdlib.h>

#include "common/limits.h"
#include "common/mem.h"
#include "proto/nesting.h"
#include "raftd/node/kv.h"

static struct slice bytes_of(const ProtobufCBinaryData *b)
{
    return slice_of(b->data, b->len);
}

Etcdserverpb__TxnRequest *kv_unpack_txn(struct arena *arena, struct slice bytes)
{
    if (!proto_nests_within(&etcdserverpb__txn_request__descriptor, bytes, NESTING_MAX))
        return NULL;
    return etcdserverpb__txn_request__unpack(&arena->allocator, bytes.len, bytes.data);
}

enum status kv_check_range(const Etcdserverpb__RangeRequest *r)
{
    if (!r->key.len)
        return ST_EMPTY_KEY;
    if ((unsigned)r->sort_order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ||
        (unsigned)r->sort_target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        return ST_BAD_SORT_OPTION;
    if (r->delimiter.len > 1)
        return ST_BAD_ARGUMENT;
    return ST_OK;
}

enum status kv_check_put(const Etcdserverpb__PutRequest *r)
{
    if (!r->key.len)
        return ST_EMPTY_KEY;
    if (r->ignore_value && r->value.len)
        return ST_VALUE_PROVIDED;
    if (r->ignore_lease && r->lease)
        return ST_LEASE_PROVIDED;
    return ST_OK;
}

enum status kv_check_delete(const Etcdserverpb__DeleteRangeRequest *r)
{
    return r->key.len ? ST_OK : ST_EMPTY_KEY;
}

/* ---- transactions: fields and budgets ---- */

/* parts_left: of all levels together. etcd's budgets alone allow hundreds of thousands, each compared with each other below. */
static enum status check_op(const Etcdserverpb__RequestOp *op, unsigned ops_left, unsigned depth, size_t *parts_left);

static enum status check_shape(const Etcdserverpb__TxnRequest *r, unsigned ops_left, unsigned depth, size_t *parts_left)
{
    size_t parts = r->n_compare + r->n_success + r->n_failure;
    size_t most = r->n_compare > r->n_success ? r->n_compare : r->n_success;
    enum status st = ST_OK;

    if (r->n_failure > most)
        most = r->n_failure;
    if (most > ops_left || depth > TXN_DEPTH_MAX || parts > *parts_left)
        return ST_TOO_MANY_OPS;
    *parts_left -= parts;
    for (size_t i = 0; i < r->n_compare; i++) {
        if (!r->compare[i]->key.len)
            return ST_EMPTY_KEY;
        if ((unsigned)r->compare[i]->target > ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE ||
            (unsigned)r->compare[i]->result > ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL)
            return ST_BAD_ARGUMENT;
    }
    /* What is left for transactions inside: etcd's rule. */
    for (size_t i = 0; st == ST_OK && i < r->n_success; i++)
        st = check_op(r->success[i], ops_left - (unsigned)most, depth, parts_left);
    for (size_t i = 0; st == ST_OK && i < r->n_failure; i++)
        st = check_op(r->failure[i], ops_left - (unsigned)most, depth, parts_left);
    return st;
}

static enum status check_op(const Etcdserverpb__RequestOp *op, unsigned ops_left, unsigned depth, size_t *parts_left)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return kv_check_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return kv_check_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return kv_check_delete(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_shape(op->request_txn, ops_left, depth + 1, parts_left);
    default:
        return ST_KEY_NOT_FOUND; /* etcd's answer to an operation that is none */
    }
}

/* ---- transactions: no key twice ---- */

/* What one way through the branches writes. */
struct write_set {
    struct slice *puts;
    size_t put_count, put_cap;
    struct mvcc_span *deletes;
    size_t delete_count, delete_cap;
};

static void write_set_fini(struct write_set *w)
{
    free(w->puts);
    free(w->deletes);
}

static enum status add_put(struct write_set *w, struct slice key)
{
    for (size_t i = 0; i < w->put_count; i++)
        if (slice_equal(w->puts[i], key))
            return ST_DUPLICATE_KEY;
    for (size_t i = 0; i < w->delete_count; i++)
        if (mvcc_span_contains(&w->deletes[i], key))
            return ST_DUPLICATE_KEY;
    w->puts = mem_grow(w->puts, &w->put_cap, w->put_count + 1, sizeof *w->puts);
    w->puts[w->put_count++] = key;
    return ST_OK;
}

/* Deletes may overlap each other; a put inside one may not be, whatever comes first, also where the end is open. */
static enum status add_delete(struct write_set *w, struct mvcc_span span)
{
    for (size_t i = 0; i < w->put_count; i++)
        if (mvcc_span_contains(&span, w->puts[i]))
            return ST_DUPLICATE_KEY;
    w->deletes = mem_grow(w->deletes, &w->delete_cap, w->delete_count + 1, sizeof *w->deletes);
    w->deletes[w->delete_count++] = span;
    return ST_OK;
}

static enum status collect_branch(Etcdserverpb__RequestOp *const *ops, size_t count, struct write_set *w);

static enum status merge(struct write_set *into, const struct write_set *from, size_t puts_before,
                         size_t deletes_before)
{
    enum status st = ST_OK;

    for (size_t i = puts_before; st == ST_OK && i < from->put_count; i++) {
        bool known = false;
        /* The then and the else of one nested transaction may write the same key: only one of them will. */
        for (size_t k = puts_before; !known && k < into->put_count; k++)
            known = slice_equal(into->puts[k], from->puts[i]);
        if (!known) {
            into->puts = mem_grow(into->puts, &into->put_cap, into->put_count + 1, sizeof *into->puts);
            into->puts[into->put_count++] = from->puts[i];
        }
    }
    for (size_t i = deletes_before; i < from->delete_count; i++) {
        into->deletes = mem_grow(into->deletes, &into->delete_cap, into->delete_count + 1, sizeof *into->deletes);
        into->deletes[into->delete_count++] = from->deletes[i];
    }
    return st;
}

static enum status collect_txn(const Etcdserverpb__TxnRequest *txn, struct write_set *w)
{
    struct write_set other = {0};
    size_t puts = w->put_count, deletes = w->delete_count;
    enum status st;

    /* Each branch against what was before; then both count as written. */
    other.puts = mem_copy(w->puts ? (void *)w->puts : (void *)&other, puts * sizeof *w->puts);
    other.put_count = other.put_cap = puts;
    other.deletes = mem_copy(w->deletes ? (void *)w->deletes : (void *)&other, deletes * sizeof *w->deletes);
    other.delete_count = other.delete_cap = deletes;
    st = collect_branch(txn->success, txn->n_success, w);
    if (st == ST_OK)
        st = collect_branch(txn->failure, txn->n_failure, &other);
    if (st == ST_OK)
        st = merge(w, &other, puts, deletes);
    write_set_fini(&other);
    return st;
}

static enum status collect_branch(Etcdserverpb__RequestOp *const *ops, size_t count, struct write_set *w)
{
    enum status st = ST_OK;

    for (size_t i = 0; st == ST_OK && i < count; i++) {
        const Etcdserverpb__RequestOp *op = ops[i];
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            st = add_put(w, bytes_of(&op->request_put->key));
        else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            st = add_delete(w, mvcc_span_of(bytes_of(&op->request_delete_range->key),
                                            bytes_of(&op->request_delete_range->range_end)));
        else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            st = collect_txn(op->request_txn, w);
    }
    return st;
}

enum status kv_check_txn(const Etcdserverpb__TxnRequest *r, const struct kv_limits *limits)
{
    struct write_set success = {0}, failure = {0};
    size_t parts_left = TXN_PARTS_MAX;
    enum status st = check_shape(r, limits->txn_ops_max, 1, &parts_left);

    if (st == ST_OK)
        st = collect_branch(r->success, r->n_success, &success);
    if (st == ST_OK)
        st = collect_branch(r->failure, r->n_failure, &failure);
    write_set_fini(&success);
    write_set_fini(&failure);
    return st;
}

static bool branch_is_read_only(Etcdserverpb__RequestOp *const *ops, size_t count, bool *ret_serializable)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
        *ret_serializable = *ret_serializable && ops[i]->request_range->serializable;
    }
    return true;
}

bool kv_txn_is_read_only(const Etcdserverpb__TxnRequest *r, bool *ret_serializable)
{
    *ret_serializable = true;
    return branch_is_read_only(r->success, r->n_success, ret_serializable) &&
           branch_is_read_only(r->failure, r->n_failure, ret_serializable);
}

static bool branch_puts(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            return true;
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN && kv_txn_puts(ops[i]->request_txn))
            return true;
    }
    return false;
}

bool kv_txn_puts(const Etcdserverpb__TxnRequest *r)
{
    return branch_puts(r->success, r->n_success) || branch_puts(r->failure, r->n_failure);
}
