/* SPDX-License-Identifier: Apache-2.0 */
/* etcdserverpb.KV */
#include "raftd/api/internal.h"

#include "common/limits.h"

/* Most ranges are one slice, and answered at once. */
static void read_range(struct api *a, struct grpc_call *call, const Etcdserverpb__RangeRequest *r)
{
    struct kv_header h;
    struct kv_range x;
    enum status st;

    node_get_header(a->node, &h);
    kv_range_init(&x, node_store(a->node), &h, r);
    st = kv_range_step(&x, KV_RANGE_SLICE_KEYS, api_answer_room(a));
    if (st == ST_OK && !kv_range_is_done(&x)) {
        api_range_go_on(a, call, &x);
        return;
    }
    kv_range_fini(&x);
    if (st == ST_OK)
        api_reply(call, buf_slice(&a->answer));
    else
        api_fail(call, st);
}

static void answer_range(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__RangeRequest *r =
        etcdserverpb__range_request__unpack(&a->arena.allocator, message.len, message.data);

    INVARIANT(r != NULL); /* it was decoded before */
    read_range(a, call, r);
    arena_reset(&a->arena);
}

void api_kv_range(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__RangeRequest *r =
        etcdserverpb__range_request__unpack(&a->arena.allocator, message.len, message.data);
    enum status st = r ? kv_check_range(r) : ST_BAD_MESSAGE;

    if (r && !r->serializable && node_is_learner(a->node))
        st = ST_NOT_FOR_LEARNER;
    if (st != ST_OK)
        api_fail(call, st);
    else if (r->serializable)
        read_range(a, call, r);
    else
        api_read(a, call, message, answer_range);
    arena_reset(&a->arena);
}

static void answer_range_stream(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__RangeRequest *r =
        etcdserverpb__range_request__unpack(&a->arena.allocator, message.len, message.data);
    struct kv_header h;
    struct kv_range x;

    INVARIANT(r != NULL); /* it was decoded before */
    node_get_header(a->node, &h);
    kv_range_init(&x, node_store(a->node), &h, r);
    x.sorted = false; /* a target without an order orders nothing here */
    api_range_stream(a, call, &x);
    arena_reset(&a->arena);
}

/* NULL if it can be answered in parts. The texts are etcd 3.7's. */
static const char *judge_stream(const Etcdserverpb__RangeRequest *r)
{
    bool in_key_order = r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE ||
                        (r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND &&
                         r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY);

    if (!in_key_order)
        return "RangeStream does not support custom sort orders";
    if (r->min_mod_revision || r->max_mod_revision || r->min_create_revision || r->max_create_revision)
        return "RangeStream does not support revision filters";
    return NULL;
}

void api_kv_range_stream(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__RangeRequest *r =
        etcdserverpb__range_request__unpack(&a->arena.allocator, message.len, message.data);
    enum status st = r ? kv_check_range(r) : ST_BAD_MESSAGE;
    const char *refusal = st == ST_OK ? judge_stream(r) : NULL;
    bool serializable = r && r->serializable;

    arena_reset(&a->arena);
    if (st != ST_OK)
        api_fail(call, st);
    else if (refusal)
        grpc_call_finish(call, ST_UNKNOWN_METHOD, refusal);
    else if (serializable)
        answer_range_stream(a, call, message);
    else
        api_read(a, call, message, answer_range_stream);
}

void api_kv_put(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__PutRequest *r = etcdserverpb__put_request__unpack(&a->arena.allocator, message.len, message.data);
    enum status st = r ? kv_check_put(r) : ST_BAD_MESSAGE;

    arena_reset(&a->arena);
    if (st == ST_OK)
        api_propose(a, call, COMMAND_PUT, message);
    else
        api_fail(call, st);
}

void api_kv_delete(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__DeleteRangeRequest *r =
        etcdserverpb__delete_range_request__unpack(&a->arena.allocator, message.len, message.data);
    enum status st = r ? kv_check_delete(r) : ST_BAD_MESSAGE;

    arena_reset(&a->arena);
    if (st == ST_OK)
        api_propose(a, call, COMMAND_DELETE_RANGE, message);
    else
        api_fail(call, st);
}

static void answer_txn(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__TxnRequest *r = kv_unpack_txn(&a->arena, message);
    struct kv_header h;
    enum status st;

    INVARIANT(r != NULL);
    node_get_header(a->node, &h);
    st = kv_txn_read(node_store(a->node), &h, r, api_answer_room(a));
    arena_reset(&a->arena);
    if (st == ST_OK)
        api_reply(call, buf_slice(&a->answer));
    else
        api_fail(call, st);
}

void api_kv_txn(struct api *a, struct grpc_call *call, struct slice message)
{
    struct kv_limits limits = {.txn_ops_max = TXN_OPS_MAX};
    Etcdserverpb__TxnRequest *r = kv_unpack_txn(&a->arena, message);
    enum status st = r ? kv_check_txn(r, &limits) : ST_BAD_MESSAGE;
    bool serializable = false, read_only = st == ST_OK && kv_txn_is_read_only(r, &serializable);

    arena_reset(&a->arena);
    if (st != ST_OK)
        api_fail(call, st);
    else if (!read_only)
        api_propose(a, call, COMMAND_TXN, message);
    else if (serializable)
        answer_txn(a, call, message);
    else
        api_read(a, call, message, answer_txn);
}
