/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges. etcd: server/etcdserver/txn/range.go */
#include "raftd/node/kv_range.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "proto/wire.h"

/* Field numbers of proto/rpc.proto. */
enum { RANGE_HEADER = 1, RANGE_KVS = 2, RANGE_MORE = 3, RANGE_COUNT = 4, RANGE_ATTRIBUTES = 1000 };

struct sorted_kv {
    struct mvcc_kv kv; /* key and value are in bytes */
    uint8_t *bytes;
    size_t order;      /* in which it was met: ties stay in key order */
};

/* ---- what is asked ---- */

static bool is_descending(const Etcdserverpb__RangeRequest *r)
{
    return r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
}

void kv_range_init(struct kv_range *x, struct mvcc *store, const struct kv_header *h, const Etcdserverpb__RangeRequest *r)
{
    bool by_value = r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE, filtered = false;

    *x = (struct kv_range){
        .store = store,
        .query = {.span = mvcc_span_of(slice_of(r->key.data, r->key.len), slice_of(r->range_end.data, r->range_end.len)),
                  .rev = r->revision > 0 ? r->revision : 0,
                  .count_only = r->count_only,
                  .grouped = r->delimiter.len == 1,
                  .delimiter = r->delimiter.len ? r->delimiter.data[0] : 0,
                  .group_offset = r->group_offset},
        .limit = r->limit > 0 ? r->limit : 0,
        .min_mod = r->min_mod_revision,
        .max_mod = r->max_mod_revision,
        .min_create = r->min_create_revision,
        .max_create = r->max_create_revision,
        .sort_target = r->sort_target,
        .sort_descending = is_descending(r),
        .keys_only = r->keys_only,
        .attributes = r->attributes,
        /* etcd 3.7 answers keys_only from its index, which knows no leases */
        .hide_lease = r->keys_only && !r->attributes && !by_value,
        .header = *h,
    };
    if (x->query.grouped || x->query.count_only) {
        x->min_mod = x->max_mod = x->min_create = x->max_create = 0;
    } else {
        /* The key order needs no sorting; descending is walked from the end. */
        x->sorted = r->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
        filtered = x->min_mod || x->max_mod || x->min_create || x->max_create;
        x->query.descending = x->sort_descending && !x->sorted;
    }
    x->query.values = !r->keys_only || (x->sorted && by_value);
    /* Without an order, etcd cuts in key order, one behind the limit, before it sorts. */
    if (x->sorted && r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE && !filtered)
        x->collect_max = x->limit && x->limit < INT64_MAX ? x->limit + 1 : 0;
}

static void forget_list(struct kv_range *x)
{
    for (size_t i = 0; i < x->list_count; i++)
        free(x->list[i].bytes);
    free(x->list);
    x->list = NULL;
    x->list_count = x->list_cap = 0;
}

void kv_range_fini(struct kv_range *x)
{
    forget_list(x);
    buf_fini(&x->from);
    buf_fini(&x->to);
}

static void keep(struct slice *bytes, struct buf *ours)
{
    if (bytes->data == ours->data && ours->data)
        return;
    buf_clear(ours);
    buf_append_slice(ours, *bytes);
    *bytes = buf_slice(ours);
}

void kv_range_keep(struct kv_range *x)
{
    keep(&x->query.span.from, &x->from);
    keep(&x->query.span.to, &x->to);
}

/* ---- a key that was met ---- */

static bool passes(const struct kv_range *x, const struct mvcc_kv *kv)
{
    return (!x->min_mod || kv->mod_rev >= x->min_mod) && (!x->max_mod || kv->mod_rev <= x->max_mod) &&
           (!x->min_create || kv->create_rev >= x->min_create) && (!x->max_create || kv->create_rev <= x->max_create);
}

static void write_kv(struct kv_range *x, const struct mvcc_kv *kv)
{
    struct mvcc_kv copy = *kv;

    if (x->hide_lease)
        copy.lease = 0;
    if (x->keys_only)
        copy.value.len = 0;
    kv_encode(x->out, RANGE_KVS, &copy, x->attributes);
    x->too_large = buf_len(x->out) > x->header.answer_bytes_max;
}

static void collect_kv(struct kv_range *x, const struct mvcc_kv *kv)
{
    struct sorted_kv *s;

    x->list = mem_grow(x->list, &x->list_cap, x->list_count + 1, sizeof *x->list);
    s = &x->list[x->list_count];
    *s = (struct sorted_kv){.kv = *kv, .bytes = mem_alloc(kv->key.len + kv->value.len + 1), .order = x->list_count};
    x->list_count++;
    memcpy(s->bytes, kv->key.data, kv->key.len);
    if (kv->value.len)
        memcpy(s->bytes + kv->key.len, kv->value.data, kv->value.len);
    s->kv.key.data = s->bytes;
    s->kv.value.data = s->bytes + kv->key.len;
    x->list_bytes += kv->key.len + kv->value.len;
    x->too_large = x->list_bytes > x->header.answer_bytes_max; /* no more is held for sorting than can be answered */
}

static bool on_kv(const struct mvcc_kv *kv, void *arg)
{
    struct kv_range *x = arg;

    if (!passes(x, kv))
        return true;
    if (x->sorted) {
        x->cut = x->collect_max && (int64_t)x->list_count == x->collect_max;
        if (!x->cut)
            collect_kv(x, kv);
        return !x->cut && !x->too_large;
    }
    x->cut = x->more = x->limit && x->passed == x->limit;
    if (x->cut)
        return false;
    x->passed++;
    write_kv(x, kv);
    return !x->too_large;
}

/* ---- sorting ---- */

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_kvs(const void *left, const void *right, void *arg)
{
    const struct sorted_kv *a = left, *b = right;
    const struct kv_range *x = arg;
    int c = 0;

    switch (x->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        c = compare_numbers(a->kv.version, b->kv.version);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        c = compare_numbers(a->kv.create_rev, b->kv.create_rev);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        c = compare_numbers(a->kv.mod_rev, b->kv.mod_rev);
        break;
    default: /* by value */
        c = slice_compare(a->kv.value, b->kv.value);
        break;
    }
    if (x->sort_descending)
        c = -c;
    return c ? c : compare_numbers((int64_t)a->order, (int64_t)b->order);
}

static void write_sorted(struct kv_range *x)
{
    size_t emit = x->limit && (uint64_t)x->limit < x->list_count ? (size_t)x->limit : x->list_count;

    if (x->list_count)
        qsort_r(x->list, x->list_count, sizeof *x->list, compare_kvs, x);
    if (emit < x->list_count)
        x->more = true;
    for (size_t i = 0; i < emit && !x->too_large; i++)
        write_kv(x, &x->list[i].kv);
    forget_list(x);
}

/* ---- slices ---- */

/* The count of a span as it is now is known without a walk; else it comes with the walk. */
static void begin(struct kv_range *x)
{
    mvcc_rev now = mvcc_pending_revision(x->store);

    x->begun = true;
    x->header_rev = now;
    x->answer_at = buf_len(x->out);
    if (!x->in_parts)
        kv_encode_header(x->out, RANGE_HEADER, &x->header, now);
    if (x->query.grouped || (x->query.rev && (x->query.rev != now || mvcc_has_changes(x->store))))
        return;
    x->count = mvcc_count(x->store, &x->query.span);
    x->counted = x->query.no_count = true;
}

/* The next slice begins where this one ended, at the revision that it read. */
static void go_on(struct kv_range *x, const struct mvcc_range_result *result)
{
    struct mvcc_query *q = &x->query;
    struct buf *bytes = q->descending ? &x->to : &x->from;

    buf_clear(bytes);
    buf_append_slice(bytes, result->next);
    if (q->descending)
        q->span.to = buf_slice(bytes);
    else
        q->span.from = buf_slice(bytes);
    if (q->descending)
        q->span.open = false;
    q->rev = result->rev;
    q->count_only = q->count_only || x->cut; /* what is left is counted only */
}

static void finish(struct kv_range *x)
{
    if (x->sorted)
        write_sorted(x);
    if (x->in_parts)
        kv_encode_header(x->out, RANGE_HEADER, &x->header, x->header_rev);
    wire_bool(x->out, RANGE_MORE, x->more);
    wire_int(x->out, RANGE_COUNT, x->query.grouped && !x->query.count_only ? x->passed : x->count);
    wire_bool(x->out, RANGE_ATTRIBUTES, x->attributes);
    x->done = true;
}

enum status kv_range_step(struct kv_range *x, int64_t keys_max, struct buf *out)
{
    struct mvcc_range_result result;
    enum status st;

    x->out = out;
    if (!x->begun)
        begin(x);
    else if (x->in_parts)
        x->answer_at = buf_len(out);
    x->query.visit_max = keys_max;
    x->query.visit_bytes_max = KV_RANGE_SLICE_BYTES;
    st = mvcc_range(x->store, &x->query, on_kv, x, &result);
    if (st == ST_OK && !x->counted)
        x->count += result.count;
    if (st == ST_OK && result.unfinished)
        go_on(x, &result);
    else if (st == ST_OK)
        finish(x);
    if (st == ST_OK && x->too_large)
        st = ST_ANSWER_TOO_LARGE;
    if (st != ST_OK)
        out->end = out->start + x->answer_at;
    return st;
}

enum status kv_range(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__RangeRequest *r, struct buf *out)
{
    struct kv_range x;
    enum status st;

    kv_range_init(&x, store, h, r);
    st = kv_range_step(&x, 0, out);
    kv_range_fini(&x);
    return st;
}
