/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of Range, Put, DeleteRange and Txn over the store, with etcd's rules: checking (before anything is proposed, and
 * again where a log is applied) and executing. Answers are written straight as protobuf bytes. Knows no Raft and no network.
 * A request that passed its check cannot fail half-way: kv_apply_* decides everything before the first change.
 */
#ifndef RAFTD_NODE_KV_H
#define RAFTD_NODE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"
#include "mvcc/mvcc.h"
#include "proto/arena.h"
#include "proto/rpc.pb-c.h"
#include "raftd/node/members.h"

/* What goes into every ResponseHeader beside the revision, and how large an answer may become: RESPONSE_BYTES_MAX. */
struct kv_header {
    uint64_t cluster_id, member_id, raft_term;
    size_t answer_bytes_max;
};

struct kv_limits {
    unsigned txn_ops_max;      /* TXN_OPS_MAX */
};

/* A decoded transaction in the arena; NULL for bytes that are none, or one nested too deep to decode. */
Etcdserverpb__TxnRequest *kv_unpack_txn(struct arena *arena, struct slice bytes);

/* ---- is the request well-formed? (etcd-v3: the texts of section 3; never looks at the store) ---- */
enum status kv_check_range(const Etcdserverpb__RangeRequest *r) MUST_CHECK;
enum status kv_check_put(const Etcdserverpb__PutRequest *r) MUST_CHECK;
enum status kv_check_delete(const Etcdserverpb__DeleteRangeRequest *r) MUST_CHECK;
enum status kv_check_txn(const Etcdserverpb__TxnRequest *r, const struct kv_limits *limits) MUST_CHECK;
/* A put in any branch, on any level. */
bool kv_txn_puts(const Etcdserverpb__TxnRequest *r);
/* Only ranges in both branches: answered without a log entry. *ret_serializable: every one of them is. */
bool kv_txn_is_read_only(const Etcdserverpb__TxnRequest *r, bool *ret_serializable);

/* ---- reads: append a RangeResponse / TxnResponse to out, in one piece (kv_range.h: in slices); ST_ANSWER_TOO_LARGE ---- */
enum status kv_range(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__RangeRequest *r,
                     struct buf *out) MUST_CHECK;
enum status kv_txn_read(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__TxnRequest *r,
                        struct buf *out) MUST_CHECK;

/*
 * ---- writes, between mvcc_begin and mvcc_end ----
 * out NULL: nobody on this node waits for the answer, and none is made (reads whose result nobody sees are left out).
 * A refusal (lease or key not found, compacted...) leaves the store unchanged and is the same on every replica. ST_ANSWER_TOO_LARGE and
 * ST_ANSWER_UNREADABLE are none: there is no answer, but everything was done. ST_CORRUPT, ST_IO: what it would change, or compares, cannot
 * be read, and nothing was done: this replica does not know what the others make of it.
 */
enum status kv_apply_put(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__PutRequest *r,
                         struct buf *out) MUST_CHECK;
enum status kv_apply_delete(struct mvcc *store, const struct kv_header *h,
                            const Etcdserverpb__DeleteRangeRequest *r, struct buf *out) MUST_CHECK;
enum status kv_apply_txn(struct mvcc *store, const struct kv_header *h, const Etcdserverpb__TxnRequest *r,
                         struct buf *out) MUST_CHECK;

/* Could all be read by now that an apply has to? ST_CORRUPT, ST_IO; ST_OK, whatever becomes of it. Of a request that was checked. */
enum status kv_foresee_put(struct mvcc *store, const Etcdserverpb__PutRequest *r) MUST_CHECK;
enum status kv_foresee_txn(struct mvcc *store, const Etcdserverpb__TxnRequest *r) MUST_CHECK;

/* ---- pieces other services need ---- */
/* Append a mvccpb.KeyValue as field `field`; attributes: with our fields from 1000 on. */
void kv_encode(struct buf *out, uint32_t field, const struct mvcc_kv *kv, bool attributes);
/* An AlarmResponse with these alarms. */
void kv_encode_alarms(struct buf *out, const struct kv_header *h, mvcc_rev revision, const struct alarm *list, size_t count);
void kv_encode_header(struct buf *out, uint32_t field, const struct kv_header *h, mvcc_rev revision);

#endif
