/* SPDX-License-Identifier: Apache-2.0 */
/* A store as one number, to lay beside that of another replica. */
#include "common/codec.h"
#include "common/crc32c.h"
#include "mvcc/internal.h"
#include "mvcc/record.h"

#define FIRST_MAIN 2 /* revision 1 is the empty store */

enum status mvcc_hash_begin(const struct mvcc *s, mvcc_rev rev, struct mvcc_hasher *ret_hash)
{
    enum status st = rev < 0 ? ST_OK : mvcc_check_rev(s, rev);

    if (st != ST_OK)
        return st;
    *ret_hash = (struct mvcc_hasher){
        .rev = rev ? rev : s->revision,
        .main = s->compact_revision < FIRST_MAIN ? FIRST_MAIN : s->compact_revision + 1,
        .crc = crc32c(0, "records", 7), /* not 0 for an empty store: in an answer that would be no hash */
    };
    return ST_OK;
}

/*
 * The bytes of a record without what only says how it is kept: its checksum, and that it is the last of its revision (the next
 * one's number says that).
 */
static uint32_t add_record(uint32_t crc, const struct mvcc_kv *kv, int64_t sub, uint32_t flags)
{
    struct mvcc_kv head = *kv;
    uint8_t fixed[RECORD_FIXED_BYTES];

    head.key.len = head.value.len = 0; /* their bytes are hashed where they are */
    record_encode(fixed, &head, sub, flags & RECORD_TOMBSTONE);
    put_le32(put_le32(fixed + 8, (uint32_t)kv->key.len), (uint32_t)kv->value.len);
    crc = crc32c(crc, fixed, sizeof fixed);
    return crc32c(crc32c(crc, kv->key.data, kv->key.len), kv->value.data, kv->value.len);
}

enum status mvcc_hash_step(struct mvcc *s, struct mvcc_hasher *h, mvcc_rev upto, unsigned records_max, size_t bytes_max)
{
    size_t bytes = 0;

    INVARIANT(h->rev <= s->revision);
    if (!mvcc_hash_is_done(h) && h->main <= s->compact_revision)
        return ST_COMPACTED;
    for (unsigned i = 0; i < records_max && bytes < bytes_max && h->main <= upto && !mvcc_hash_is_done(h); i++) {
        struct mvcc_kv kv;
        uint32_t flags;
        enum status st = store_read(s, h->main, h->sub, &kv, &flags);
        if (st != ST_OK) /* a revision without its last change is damage */
            return st == ST_NOT_FOUND ? ST_CORRUPT : st;
        h->crc = add_record(h->crc, &kv, h->sub++, flags);
        bytes += record_bytes(kv.key.len, kv.value.len);
        if (flags & RECORD_LAST) {
            h->main++;
            h->sub = 0;
        }
    }
    return ST_OK;
}

enum status mvcc_hash(struct mvcc *s, mvcc_rev rev, uint32_t *ret_hash)
{
    struct mvcc_hasher h;
    enum status st = mvcc_hash_begin(s, rev, &h);

    while (st == ST_OK && !mvcc_hash_is_done(&h))
        st = mvcc_hash_step(s, &h, INT64_MAX, UINT32_MAX, SIZE_MAX);
    if (st == ST_OK)
        *ret_hash = h.crc;
    return st;
}
