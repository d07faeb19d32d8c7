/* SPDX-License-Identifier: Apache-2.0 */
/* How keys and headers are written into answers. */
#include "proto/wire.h"
#include "raftd/node/kv.h"

/* Field numbers of proto/kv.proto and proto/rpc.proto. */
enum { KV_KEY = 1, KV_CREATE = 2, KV_MOD = 3, KV_VERSION = 4, KV_VALUE = 5, KV_LEASE = 6 };
enum { KV_VALUE_SIZE = 1000, KV_CREATE_TIME = 1001, KV_MOD_TIME = 1002, KV_GROUP = 1003 };

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

/* AlarmResponse: header = 1, alarms = 2 {memberID = 1, alarm = 2}. */
void kv_encode_alarms(struct buf *out, const struct kv_header *h, mvcc_rev revision, const struct alarm *list, size_t count)
{
    kv_encode_header(out, 1, h, revision);
    for (size_t i = 0; i < count; i++) {
        wire_message(out, 2, wire_uint_len(1, list[i].id) + wire_uint_len(2, list[i].type));
        wire_uint(out, 1, list[i].id);
        wire_uint(out, 2, list[i].type);
    }
}
