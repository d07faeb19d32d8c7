/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record: one change as it is kept, in the memtable and on disk alike (doc/format-segment.md). Little-endian:
 *
 *     4 CRC-32C of what follows, 4 flags, 4 key length, 4 value length, 8 main, 8 sub, 8 create revision,
 *     8 version, 8 lease, 8 creation time, 8 time, key, value
 *
 * The identity (main, sub) is inside, so that a valid record from another place is not taken for this one. The last
 * change of a revision says so, so that one that cannot be found is not taken for one that never was.
 */
#ifndef MVCC_RECORD_H
#define MVCC_RECORD_H

#include "mvcc/mvcc.h"

#define RECORD_FIXED_BYTES 72

/* flags */
enum { RECORD_TOMBSTONE = 1, RECORD_LAST = 2 /* of its main revision */ };

static inline size_t record_bytes(size_t key_len, size_t value_len)
{
    return RECORD_FIXED_BYTES + key_len + value_len;
}

/* Everything but the checksum, which record_seal adds when it goes to disk. value as in kv. */
void record_encode(uint8_t *out, const struct mvcc_kv *kv, int64_t sub, uint32_t flags);
/* No change of this revision follows it. */
void record_set_last(uint8_t *record);
void record_seal(uint8_t *record, size_t len);
size_t record_len(const uint8_t *record);

/* Slices point into the record. */
void record_decode(const uint8_t *record, struct mvcc_kv *ret_kv, int64_t *ret_sub, uint32_t *ret_flags);
/* Is this the sealed record of (main, sub)? */
bool record_is_valid(struct slice bytes, int64_t main, int64_t sub);

#endif
