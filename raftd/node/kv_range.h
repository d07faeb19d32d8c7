/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of any length, in slices, so that a listing of millions of keys never holds up whoever shares the thread: the first slice
 * reads the newest revision (or the one asked for), those after it the same one, whatever was written since. Rules as etcd's
 * (server/etcdserver/txn/range.go). A slice is bounded by keys visited and bytes written; only sorting by something other than the
 * key happens in one piece, at the end.
 *
 *     kv_range_init(&x, store, &header, request);
 *     while ((st = kv_range_step(&x, KV_RANGE_SLICE_KEYS, &answer)) == ST_OK && !kv_range_is_done(&x))
 *         ...let others have their turn; once request or its bytes go: kv_range_keep(&x) before...
 *     kv_range_fini(&x);
 *
 * With in_parts set after kv_range_init each step appends a RangeResponse of its own, to be sent by itself (RangeStream): keys in all,
 * header, more and count in the last.
 */
#ifndef RAFTD_NODE_KV_RANGE_H
#define RAFTD_NODE_KV_RANGE_H

#include "raftd/node/kv.h"

#define KV_RANGE_SLICE_KEYS 1024           /* visited in a slice: two milliseconds, if all of them are in segments */
#define KV_RANGE_SLICE_BYTES (1024 * 1024) /* written in a slice, about: large values end it earlier */

struct sorted_kv;

struct kv_range {
    struct mvcc *store;
    struct mvcc_query query; /* of the next slice; its span is borrowed until kv_range_keep */
    struct buf from, to;     /* the span's bytes, when they are ours */
    int64_t limit;           /* of keys in the answer; 0: none */
    int64_t min_mod, max_mod, min_create, max_create; /* 0: any */
    int32_t sort_target;
    bool sort_descending, sorted; /* collected first, then sorted by sort_target */
    int64_t collect_max;          /* of those; 0: none */
    bool keys_only, attributes, hide_lease;
    struct kv_header header;
    bool in_parts;
    size_t answer_at;          /* where the answer begins; in parts: this one */
    bool begun, done;
    bool counted;              /* count is the whole span's already */
    bool cut;                  /* no more keys are wanted */
    bool more;                 /* than the limit */
    bool too_large;            /* for header.answer_bytes_max */
    mvcc_rev header_rev;       /* when it began */
    int64_t count, passed;     /* keys of the span; of those, what the filters let through */
    struct buf *out;           /* during a step */
    struct sorted_kv *list;
    size_t list_count, list_cap, list_bytes;
};

void kv_range_init(struct kv_range *x, struct mvcc *store, const struct kv_header *h, const Etcdserverpb__RangeRequest *r);
void kv_range_fini(struct kv_range *x);
/* Copy what is borrowed from the request. */
void kv_range_keep(struct kv_range *x);
/*
 * Append to the answer, which is the same at every step and may hold something before it. keys_max 0: to the end. On a failure what
 * was appended is taken back. ST_COMPACTED, ST_FUTURE_REV, ST_ANSWER_TOO_LARGE, ST_CORRUPT, ST_IO.
 */
enum status kv_range_step(struct kv_range *x, int64_t keys_max, struct buf *out) MUST_CHECK;
static inline bool kv_range_is_done(const struct kv_range *x)
{
    return x->done;
}

#endif
