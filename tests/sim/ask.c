/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/ask.h"

/* What a request points to while it is packed. */
struct parts {
    const struct history *history;
    const struct op *op;
    ProtobufCBinaryData key, other, value;
    char key_bytes[2][8];
    uint8_t value_bytes[SIM_VALUE_BYTES_MAX];
    struct {
        Etcdserverpb__PutRequest put;
        Etcdserverpb__DeleteRangeRequest del;
        Etcdserverpb__Compare compare, *compares;
        Etcdserverpb__RequestOp ops[2], *success, *failure;
        Etcdserverpb__TxnRequest txn;
    } inner;
};

static void parts_init(struct parts *p, const struct history *h, const struct op *op)
{
    struct slice value = sim_value(h, op->id, p->value_bytes);

    p->history = h;
    p->op = op;
    p->key = (ProtobufCBinaryData){sim_key(op->key, p->key_bytes[0]), (uint8_t *)p->key_bytes[0]};
    p->other = (ProtobufCBinaryData){sim_key(op->other, p->key_bytes[1]), (uint8_t *)p->key_bytes[1]};
    p->value = (ProtobufCBinaryData){value.len, p->value_bytes};
}

struct buf ask_packed(const ProtobufCMessage *m)
{
    struct buf b = {0};
    size_t len = protobuf_c_message_get_packed_size(m);

    buf_commit(&b, protobuf_c_message_pack(m, buf_reserve(&b, len)));
    return b;
}

void ask_take_kvs(const struct history *h, struct op *op, size_t count, Mvccpb__KeyValue *const *kvs)
{
    for (size_t i = 0; i < count; i++) {
        const Mvccpb__KeyValue *kv = kvs[i];
        unsigned key = kv->key.len == 2 ? (unsigned)(kv->key.data[1] - '0') : SIM_KEYS;
        SIM_CHECK(key < SIM_KEYS, "a key that nobody wrote");
        op->seen[key] = sim_value_id(h, slice_of(kv->value.data, kv->value.len));
        op->seen_rev[key] = kv->mod_revision;
    }
}

static void take_header(struct op *op, const Etcdserverpb__ResponseHeader *header)
{
    SIM_CHECK(header, "an answer that cannot be read");
    op->rev = header->revision;
}

/* ---- a put, which is told what was there ---- */

static Etcdserverpb__PutRequest put_of(ProtobufCBinaryData key, const struct parts *p)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    put.key = key;
    put.value = p->value;
    return put;
}

static struct buf make_put(struct parts *p)
{
    Etcdserverpb__PutRequest put = put_of(p->key, p);

    put.prev_kv = true;
    return ask_packed(&put.base);
}

static void take_put(const struct history *h, struct op *op, struct slice answer)
{
    Etcdserverpb__PutResponse *put = etcdserverpb__put_response__unpack(NULL, answer.len, answer.data);

    take_header(op, put ? put->header : NULL);
    ask_take_kvs(h, op, put->prev_kv != NULL, &put->prev_kv);
    etcdserverpb__put_response__free_unpacked(put, NULL);
}

/* ---- a delete of one key, or of all from key to other, which is told what was there ---- */

static struct buf make_delete(struct parts *p)
{
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    del.key = p->key;
    if (p->op->kind == OP_DELETE_RANGE)
        del.range_end = p->other;
    del.prev_kv = true;
    return ask_packed(&del.base);
}

static void take_delete(const struct history *h, struct op *op, struct slice answer)
{
    Etcdserverpb__DeleteRangeResponse *del = etcdserverpb__delete_range_response__unpack(NULL, answer.len, answer.data);

    take_header(op, del ? del->header : NULL);
    op->deleted = del->deleted;
    SIM_CHECK(del->n_prev_kvs == (size_t)del->deleted, "a delete says that it deleted %lld and shows %zu", (long long)del->deleted,
              del->n_prev_kvs);
    ask_take_kvs(h, op, del->n_prev_kvs, del->prev_kvs);
    etcdserverpb__delete_range_response__free_unpacked(del, NULL);
}

/* ---- transactions ---- */

static Etcdserverpb__RequestOp put_op(Etcdserverpb__PutRequest *put)
{
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;

    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = put;
    return op;
}

static Etcdserverpb__Compare changed_at(ProtobufCBinaryData key, mvcc_rev rev)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;

    compare.key = key;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = rev;
    return compare;
}

static struct buf make_compare_put(struct parts *p)
{
    Etcdserverpb__PutRequest put = put_of(p->key, p);
    Etcdserverpb__RequestOp op = put_op(&put), *ops = &op;
    Etcdserverpb__Compare compare = changed_at(p->key, p->op->expected), *compares = &compare;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;

    txn.n_compare = txn.n_success = 1;
    txn.compare = &compares;
    txn.success = &ops;
    return ask_packed(&txn.base);
}

static struct buf make_put_pair(struct parts *p)
{
    Etcdserverpb__PutRequest first = put_of(p->key, p), second = put_of(p->other, p);
    Etcdserverpb__RequestOp ops[] = {put_op(&first), put_op(&second)}, *list[] = {&ops[0], &ops[1]};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;

    txn.n_success = 2;
    txn.success = list;
    return ask_packed(&txn.base);
}

/* If other was last changed when it is expected to: put it; else delete it. */
static Etcdserverpb__TxnRequest *inner_txn(struct parts *p)
{
    Etcdserverpb__TxnRequest *txn = &p->inner.txn;

    p->inner.put = put_of(p->other, p);
    p->inner.ops[0] = put_op(&p->inner.put);
    etcdserverpb__delete_range_request__init(&p->inner.del);
    p->inner.del.key = p->other;
    etcdserverpb__request_op__init(&p->inner.ops[1]);
    p->inner.ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    p->inner.ops[1].request_delete_range = &p->inner.del;
    p->inner.compare = changed_at(p->other, p->op->expected_other);
    p->inner.compares = &p->inner.compare;
    p->inner.success = &p->inner.ops[0];
    p->inner.failure = &p->inner.ops[1];
    etcdserverpb__txn_request__init(txn);
    txn->n_compare = txn->n_success = txn->n_failure = 1;
    txn->compare = &p->inner.compares;
    txn->success = &p->inner.success;
    txn->failure = &p->inner.failure;
    return txn;
}

/* If key was last changed when it is expected to: put it, and the transaction of the other key. In any case read all of them. */
static struct buf make_nested(struct parts *p)
{
    Etcdserverpb__PutRequest put = put_of(p->key, p);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[] = {put_op(&put), ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *list[] = {&ops[0], &ops[1], &ops[2]};
    Etcdserverpb__Compare compare = changed_at(p->key, p->op->expected), *compares = &compare;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    uint8_t from[] = "k", end[] = "l";

    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    ops[1].request_txn = inner_txn(p);
    range.key = (ProtobufCBinaryData){1, from};
    range.range_end = (ProtobufCBinaryData){1, end};
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[2].request_range = &range;
    txn.n_compare = txn.n_failure = 1;
    txn.compare = &compares;
    txn.n_success = 3;
    txn.success = list;
    txn.failure = &list[2];
    return ask_packed(&txn.base);
}

static void take_txn(const struct history *h, struct op *op, struct slice answer)
{
    Etcdserverpb__TxnResponse *txn = etcdserverpb__txn_response__unpack(NULL, answer.len, answer.data);

    take_header(op, txn ? txn->header : NULL);
    op->succeeded = txn->succeeded;
    for (size_t i = 0; i < txn->n_responses; i++) {
        const Etcdserverpb__ResponseOp *r = txn->responses[i];
        if (r->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            op->other_put = r->response_txn->succeeded;
        if (r->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            ask_take_kvs(h, op, r->response_range->n_kvs, r->response_range->kvs);
    }
    etcdserverpb__txn_response__free_unpacked(txn, NULL);
}

/* ---- all of them ---- */

static const struct {
    enum command_kind command;
    struct buf (*make)(struct parts *p);
    void (*take)(const struct history *h, struct op *op, struct slice answer);
} kinds[] = {
    [OP_PUT] = {COMMAND_PUT, make_put, take_put},
    [OP_DELETE] = {COMMAND_DELETE_RANGE, make_delete, take_delete},
    [OP_DELETE_RANGE] = {COMMAND_DELETE_RANGE, make_delete, take_delete},
    [OP_COMPARE_PUT] = {COMMAND_TXN, make_compare_put, take_txn},
    [OP_PUT_PAIR] = {COMMAND_TXN, make_put_pair, take_txn},
    [OP_NESTED] = {COMMAND_TXN, make_nested, take_txn},
};

struct buf ask_request(const struct history *h, const struct op *op, enum command_kind *ret_kind)
{
    struct parts p;

    parts_init(&p, h, op);
    *ret_kind = kinds[op->kind].command;
    return kinds[op->kind].make(&p);
}

void ask_take_answer(const struct history *h, struct op *op, struct slice answer)
{
    kinds[op->kind].take(h, op, answer);
}
