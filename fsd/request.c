/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as protobuf bytes; field numbers of proto/rpc.proto. */
#include "fsd/request.h"

#include "proto/wire.h"

void request_range(struct buf *out, const struct range_args *a)
{
    wire_bytes(out, 1, a->key);
    wire_bytes(out, 2, a->end);
    wire_int(out, 3, a->limit);
    wire_int(out, 4, a->rev);
    wire_bool(out, 7, a->serializable);
    wire_bool(out, 8, a->keys_only);
    wire_bool(out, 9, a->count_only);
    wire_bool(out, 1000, true);
    if (a->children) {
        wire_bytes(out, 1001, slice_of_text("/"));
        wire_uint(out, 1002, a->group_offset);
    }
}

/* Compare: results EQUAL 0, LESS 2; targets VERSION 0, CREATE 1, MOD 2, VALUE 3. */
enum { COMPARE = 1, COMPARE_EQUAL = 0, COMPARE_LESS = 2, COMPARE_NOT_EQUAL = 3, COMPARE_CREATE = 1, COMPARE_MOD = 2, COMPARE_VALUE = 3 };

void txn_if_create(struct buf *out, struct slice key, struct slice end, int64_t rev)
{
    size_t opened = wire_open(out, COMPARE);

    wire_uint(out, 2, COMPARE_CREATE);
    wire_bytes(out, 3, key);
    wire_int(out, 5, rev);
    wire_bytes(out, 64, end);
    wire_close(out, opened);
}

void txn_if_mod(struct buf *out, struct slice key, int64_t rev)
{
    size_t opened = wire_open(out, COMPARE);

    wire_uint(out, 2, COMPARE_MOD);
    wire_bytes(out, 3, key);
    wire_int(out, 6, rev);
    wire_close(out, opened);
}

void txn_if_all_older(struct buf *out, struct slice key, struct slice end, int64_t rev)
{
    size_t opened = wire_open(out, COMPARE);

    wire_uint(out, 1, COMPARE_LESS);
    wire_uint(out, 2, COMPARE_MOD);
    wire_bytes(out, 3, key);
    wire_int(out, 6, rev);
    wire_bytes(out, 64, end);
    wire_close(out, opened);
}

static void if_value(struct buf *out, unsigned result, struct slice key, struct slice value)
{
    size_t opened = wire_open(out, COMPARE);

    wire_uint(out, 1, result);
    wire_uint(out, 2, COMPARE_VALUE);
    wire_bytes(out, 3, key);
    wire_message(out, 7, value.len); /* present even when empty */
    buf_append_slice(out, value);
    wire_close(out, opened);
}

void txn_if_value(struct buf *out, struct slice key, struct slice value)
{
    if_value(out, COMPARE_EQUAL, key, value);
}

void txn_if_other_value(struct buf *out, struct slice key, struct slice value)
{
    if_value(out, COMPARE_NOT_EQUAL, key, value);
}

/* RequestOp: range 1, put 2, delete 3. */
void txn_put(struct buf *out, enum txn_branch b, struct slice key, struct slice value, int64_t lease)
{
    size_t op = wire_open(out, b), put = wire_open(out, 2);

    wire_bytes(out, 1, key);
    wire_bytes(out, 2, value);
    if (lease == LEASE_KEPT)
        wire_bool(out, 6, true);
    else
        wire_int(out, 3, lease);
    wire_close(out, put);
    wire_close(out, op);
}

void txn_delete(struct buf *out, enum txn_branch b, struct slice key, struct slice end)
{
    size_t op = wire_open(out, b), del = wire_open(out, 3);

    wire_bytes(out, 1, key);
    wire_bytes(out, 2, end);
    wire_close(out, del);
    wire_close(out, op);
}

void txn_range(struct buf *out, enum txn_branch b, const struct range_args *a)
{
    size_t op = wire_open(out, b), range = wire_open(out, 1);

    request_range(out, a);
    wire_close(out, range);
    wire_close(out, op);
}

void request_watch(struct buf *out, struct slice key, struct slice end, int64_t rev)
{
    size_t opened = wire_open(out, 1);

    wire_bytes(out, 1, key);
    wire_bytes(out, 2, end);
    wire_int(out, 3, rev);
    wire_bool(out, 1000, true);
    wire_close(out, opened);
}
