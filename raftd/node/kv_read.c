/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges, and how keys are written into answers. etcd: server/etcdserver/txn/range.go */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "proto/wire.h"
#include "raftd/node/kv.h"

/* Field numbers of proto/kv.proto and proto/rpc.proto. */
enum { KV_KEY = 1, KV_CREATE = 2, KV_MOD = 3, KV_VERSION = 4, KV_VALUE = 5, KV_LEASE = 6 };
enum { KV_VALUE_SIZE = 1000, KV_CREATE_TIME = 1001, KV_MOD_TIME = 1002, KV_GROUP = 1003 };
enum { RANGE_HEADER = 1, RANGE_KVS = 2, RANGE_MORE = 3, RANGE_COUNT = 4, RANGE_ATTRIBUTES = 1000 };

void kv_encode_header(struct buf *out, uint32_t field, const struct kv_header *h, mvcc_rev revision)
{
    wire_message(out, field,
                 wire_uint_len(1, h->cluster_id) + wire_uint_len(2, h->member_id) +
                     wire_uint_len(3, (uint64_t)revision) + wire_uint_len(4, h->raft_term));
    wire_uint(out, 1, h->cluster_id);
    wire_uint(out, 2, h->member_id);
    wire_int(out, 3, revision);
    wire_uint(out, 4, h->raft_term);
}

void kv_encode(struct buf *out, uint32_t field, const struct mvcc_kv *kv, bool attributes)
{
    size_t len = wire_bytes_len(KV_KEY, kv->key.len) + wire_uint_len(KV_CREATE, (uint64_t)kv->create_rev) +
                 wire_uint_len(KV_MOD, (uint64_t)kv->mod_rev) + wire_uint_len(KV_VERSION, (uint64_t)kv->version) +
                 wire_bytes_len(KV_VALUE, kv->value.len) + wire_uint_len(KV_LEASE, (uint64_t)kv->lease);

    if (attributes)
        len += wire_uint_len(KV_VALUE_SIZE, kv->value_len) + wire_uint_len(KV_CREATE_TIME, (uint64_t)kv->create_time_ns) +
               wire_uint_len(KV_MOD_TIME, (uint64_t)kv->mod_time_ns) + wire_uint_len(KV_GROUP, kv->group);
    wire_message(out, field, len);
    wire_bytes(out, KV_KEY, kv->key);
    wire_int(out, KV_CREATE, kv->create_rev);
    wire_int(out, KV_MOD, kv->mod_rev);
    wire_int(out, KV_VERSION, kv->version);
    wire_bytes(out, KV_VALUE, kv->value);
    wire_int(out, KV_LEASE, kv->lease);
    if (!attributes)
        return;
    wire_uint(out, KV_VALUE_SIZE, kv->value_len);
    wire_int(out, KV_CREATE_TIME, kv->create_time_ns);
    wire_int(out, KV_MOD_TIME, kv->mod_time_ns);
    wire_bool(out, KV_GROUP, kv->group);
}

/* ---- straight from the store ---- */

struct range_writer {
    struct buf *out;
    bool attributes;
    bool hide_lease; /* etcd 3.7 answers keys_only from its index, which knows no leases */
};

static bool write_kv(const struct mvcc_kv *kv, void *arg)
{
    struct range_writer *w = arg;
    struct mvcc_kv copy = *kv;

    if (w->hide_lease)
        copy.lease = 0;
    kv_encode(w->out, RANGE_KVS, &copy, w->attributes);
    return true;
}

/* ---- sorted or filtered: everything is fetched, then filtered, sorted and cut ---- */

struct sorted_kv {
    struct mvcc_kv kv; /* its bytes are copies, or belong to the index */
    uint8_t *bytes;
    size_t order;      /* in which it was met: ties stay in key order */
};

struct collector {
    const Etcdserverpb__RangeRequest *request;
    struct sorted_kv *list;
    size_t count, cap;
};

static bool passes(const Etcdserverpb__RangeRequest *r, const struct mvcc_kv *kv)
{
    return (!r->min_mod_revision || kv->mod_rev >= r->min_mod_revision) &&
           (!r->max_mod_revision || kv->mod_rev <= r->max_mod_revision) &&
           (!r->min_create_revision || kv->create_rev >= r->min_create_revision) &&
           (!r->max_create_revision || kv->create_rev <= r->max_create_revision);
}

static bool collect_kv(const struct mvcc_kv *kv, void *arg)
{
    struct collector *c = arg;
    struct sorted_kv *s;

    if (!passes(c->request, kv))
        return true;
    c->list = mem_grow(c->list, &c->cap, c->count + 1, sizeof *c->list);
    s = &c->list[c->count];
    s->kv = *kv;
    s->order = c->count++;
    s->bytes = mem_alloc(kv->key.len + kv->value.len);
    memcpy(s->bytes, kv->key.data, kv->key.len);
    if (kv->value.len)
        memcpy(s->bytes + kv->key.len, kv->value.data, kv->value.len);
    s->kv.key.data = s->bytes;
    s->kv.value.data = s->bytes + kv->key.len;
    return true;
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_kvs(const void *left, const void *right, void *arg)
{
    const struct sorted_kv *a = left, *b = right;
    const Etcdserverpb__RangeRequest *r = arg;
    int c = 0;

    switch (r->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        c = compare_numbers(a->kv.version, b->kv.version);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        c = compare_numbers(a->kv.create_rev, b->kv.create_rev);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        c = compare_numbers(a->kv.mod_rev, b->kv.mod_rev);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
        c = slice_compare(a->kv.value, b->kv.value);
        break;
    default:
        c = slice_compare(a->kv.key, b->kv.key);
        break;
    }
    if (r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND)
        c = -c;
    return c ? c : (a->order > b->order) - (a->order < b->order);
}

static bool has_filter(const Etcdserverpb__RangeRequest *r)
{
    return r->min_mod_revision || r->max_mod_revision || r->min_create_revision || r->max_create_revision;
}

/* The key order needs no sorting; descending is walked from the end. */
static bool wants_sort(const Etcdserverpb__RangeRequest *r)
{
    return r->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
}

static enum status range_collected(struct mvcc *store, const Etcdserverpb__RangeRequest *r, struct mvcc_query *q,
                                   struct range_writer *w, struct mvcc_range_result *ret_result)
{
    struct collector c = {.request = r};
    size_t emit;
    enum status st;

    /* etcd: without an order, a limit is taken in key order before the sorting, one more than asked for, and cut after it. */
    if (r->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE || has_filter(r) || q->limit == INT64_MAX)
        q->limit = 0;
    else if (q->limit)
        q->limit++;
    q->values = q->values || r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    q->descending = false;
    st = mvcc_range(store, q, collect_kv, &c, ret_result);
    if (st == ST_OK && c.count)
        qsort_r(c.list, c.count, sizeof *c.list, compare_kvs, (void *)(uintptr_t)r);
    emit = r->limit > 0 && (uint64_t)r->limit < c.count ? (size_t)r->limit : c.count;
    if (emit < c.count)
        ret_result->more = true;
    for (size_t i = 0; st == ST_OK && i < emit; i++) {
        if (r->keys_only)
            c.list[i].kv.value.len = 0;
        write_kv(&c.list[i].kv, w);
    }
    for (size_t i = 0; i < c.count; i++)
        free(c.list[i].bytes);
    free(c.list);
    return st;
}

enum status kv_range(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__RangeRequest *r,
                     struct buf *out)
{
    struct mvcc_query q = {
        .span = mvcc_span_of(slice_of(r->key.data, r->key.len), slice_of(r->range_end.data, r->range_end.len)),
        .rev = r->revision > 0 ? r->revision : 0,
        .limit = r->limit > 0 ? r->limit : 0,
        .values = !r->keys_only,
        .count_only = r->count_only,
        .descending = r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND,
        .grouped = r->delimiter.len == 1,
        .delimiter = r->delimiter.len ? r->delimiter.data[0] : 0,
        .group_offset = r->group_offset,
    };
    struct range_writer w = {.out = out,
                             .attributes = r->attributes,
                             .hide_lease = r->keys_only && !r->attributes &&
                                           r->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE};
    struct mvcc_range_result result = {0};
    size_t begun = buf_len(out);
    enum status st;

    kv_encode_header(out, RANGE_HEADER, h, mvcc_pending_revision(store));
    if (!q.count_only && (has_filter(r) || wants_sort(r)) && !q.grouped)
        st = range_collected(store, r, &q, &w, &result);
    else
        st = mvcc_range(store, &q, write_kv, &w, &result);
    if (st != ST_OK) {
        out->end = out->start + begun;
        return st;
    }
    wire_bool(out, RANGE_MORE, result.more);
    wire_int(out, RANGE_COUNT, result.count);
    wire_bool(out, RANGE_ATTRIBUTES, r->attributes);
    return ST_OK;
}
