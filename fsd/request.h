/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The etcd requests a mount makes, as bytes: everything it does is a Range, a Txn or a Watch. Pure. A Txn is
 * written piece by piece into one buffer: compares, then what is done if they hold, then what if not.
 */
#ifndef FSD_REQUEST_H
#define FSD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

#define PATH_RANGE "/etcdserverpb.KV/Range"
#define PATH_TXN "/etcdserverpb.KV/Txn"
#define PATH_WATCH "/etcdserverpb.Watch/Watch"
#define PATH_STATUS "/etcdserverpb.Maintenance/Status"

struct range_args {
    struct slice key, end; /* end empty: the key alone */
    int64_t limit, rev;
    bool serializable, keys_only, count_only;
    bool children;       /* raftd: group by '/' from group_offset on; etcd does not know it */
    uint32_t group_offset;
};
/* Attributes (sizes, times) are asked for always; etcd does not know them. */
void request_range(struct buf *out, const struct range_args *a);

/* compare: create or mod revision of every key in [key, end) equals rev (0: there is none), is below rev, the value is, or the key is
 * there and has another one. */
void txn_if_create(struct buf *out, struct slice key, struct slice end, int64_t rev);
void txn_if_mod(struct buf *out, struct slice key, int64_t rev);
void txn_if_all_older(struct buf *out, struct slice key, struct slice end, int64_t rev);
void txn_if_value(struct buf *out, struct slice key, struct slice value);
void txn_if_other_value(struct buf *out, struct slice key, struct slice value);
enum txn_branch { TXN_THEN = 2, TXN_ELSE = 3 };
/* lease: to be attached to, 0: none; LEASE_KEPT: the one it has (the key must be there). */
#define LEASE_KEPT (-1)
void txn_put(struct buf *out, enum txn_branch b, struct slice key, struct slice value, int64_t lease);
void txn_delete(struct buf *out, enum txn_branch b, struct slice key, struct slice end);
void txn_range(struct buf *out, enum txn_branch b, const struct range_args *a);

/* A watch of [key, end) from rev on. */
void request_watch(struct buf *out, struct slice key, struct slice end, int64_t rev);

#endif
