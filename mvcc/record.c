/* SPDX-License-Identifier: Apache-2.0 */
/* Records to bytes and back. */
#include "mvcc/record.h"

#include "common/codec.h"
#include "common/crc32c.h"

void record_encode(uint8_t *out, const struct mvcc_kv *kv, int64_t sub, uint32_t flags)
{
    uint8_t *p = put_le32(out, 0);

    p = put_le32(p, flags);
    p = put_le32(put_le32(p, (uint32_t)kv->key.len), (uint32_t)kv->value.len);
    p = put_le64(put_le64(p, (uint64_t)kv->mod_rev), (uint64_t)sub);
    p = put_le64(put_le64(p, (uint64_t)kv->create_rev), (uint64_t)kv->version);
    p = put_le64(p, (uint64_t)kv->lease);
    p = put_le64(put_le64(p, (uint64_t)kv->create_time_ns), (uint64_t)kv->mod_time_ns);
    INVARIANT(p == out + RECORD_FIXED_BYTES);
    p = put_bytes(p, kv->key.data, kv->key.len);
    put_bytes(p, kv->value.data, kv->value.len);
}

void record_set_last(uint8_t *record)
{
    put_le32(record + 4, get_le32(record + 4) | RECORD_LAST);
}

void record_seal(uint8_t *record, size_t len)
{
    put_le32(record, crc32c(0, record + 4, len - 4));
}

size_t record_len(const uint8_t *record)
{
    return record_bytes(get_le32(record + 8), get_le32(record + 12));
}

void record_decode(const uint8_t *record, struct mvcc_kv *ret_kv, int64_t *ret_sub, uint32_t *ret_flags)
{
    uint32_t key_len = get_le32(record + 8), value_len = get_le32(record + 12);

    *ret_flags = get_le32(record + 4);
    *ret_sub = (int64_t)get_le64(record + 24);
    *ret_kv = (struct mvcc_kv){
        .key = slice_of(record + RECORD_FIXED_BYTES, key_len),
        .value = slice_of(record + RECORD_FIXED_BYTES + key_len, value_len),
        .value_len = value_len,
        .mod_rev = (mvcc_rev)get_le64(record + 16),
        .create_rev = (mvcc_rev)get_le64(record + 32),
        .version = (int64_t)get_le64(record + 40),
        .lease = (int64_t)get_le64(record + 48),
        .create_time_ns = (int64_t)get_le64(record + 56),
        .mod_time_ns = (int64_t)get_le64(record + 64),
    };
}

bool record_is_valid(struct slice bytes, int64_t main, int64_t sub)
{
    return bytes.len >= RECORD_FIXED_BYTES && get_le32(bytes.data) == crc32c(0, bytes.data + 4, bytes.len - 4) &&
           record_len(bytes.data) == bytes.len && get_le64(bytes.data + 16) == (uint64_t)main &&
           get_le64(bytes.data + 24) == (uint64_t)sub;
}
