/* SPDX-License-Identifier: Apache-2.0 */
/* Segment headers and records to bytes and back. */
#include "raftd/wal/format.h"

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/planted.h"

/*
 * segment header: 8 magic, 4 format, 4 CRC-32C of all but itself, then fourteen numbers of 8 bytes
 * in the order of the struct (the last one spare). record header:  4 payload length, 4 CRC-32C, 1
 * type, 1 flags, 2 check of the header, 4 group, then the payload and zeroes up to a multiple
 * of 16.
 */
#define SEGMENT_MAGIC "RFTWALOG"

static uint32_t header_crc(const uint8_t *bytes)
{
    return crc32c(crc32c(0, bytes, 12), bytes + 16, SEGMENT_HEADER_BYTES - 16);
}

void wal_segment_header_encode(const struct segment_header *h, uint8_t *out)
{
    uint8_t *p = out + 16;

    p = put_le64(put_le64(p, h->cluster_id), h->member_id);
    p = put_le64(put_le64(p, h->sequence), h->identity);
    p = put_le64(put_le64(p, h->previous_identity), h->previous_end);
    p = put_le64(put_le64(p, h->size), h->first_index);
    p = put_le64(put_le64(p, h->begin_index), h->begin_term);
    p = put_le64(put_le64(p, h->begin_sequence), h->hard.term);
    p = put_le64(put_le64(p, h->hard.vote), h->hard.commit);
    INVARIANT(p == out + SEGMENT_HEADER_BYTES);
    put_bytes(out, SEGMENT_MAGIC, 8);
    put_le32(out + 8, WAL_FORMAT);
    put_le32(out + 12, header_crc(out));
}

enum status wal_segment_header_decode(struct slice bytes, struct segment_header *ret_header)
{
    struct reader r = reader_of(bytes);
    const uint8_t *magic = read_bytes(&r, 8);
    uint32_t format = read_le32(&r), crc = read_le32(&r);

    if (bytes.len < SEGMENT_HEADER_BYTES || memcmp(magic, SEGMENT_MAGIC, 8) != 0)
        return ST_CORRUPT;
    if (crc != header_crc(bytes.data))
        return ST_CORRUPT; /* the checksum stands in the same place in every format: a flipped bit makes no new one */
    if (format != WAL_FORMAT)
        return ST_BAD_ARGUMENT;
    ret_header->cluster_id = read_le64(&r);
    ret_header->member_id = read_le64(&r);
    ret_header->sequence = read_le64(&r);
    ret_header->identity = read_le64(&r);
    ret_header->previous_identity = read_le64(&r);
    ret_header->previous_end = read_le64(&r);
    ret_header->size = read_le64(&r);
    ret_header->first_index = read_le64(&r);
    ret_header->begin_index = read_le64(&r);
    ret_header->begin_term = read_le64(&r);
    ret_header->begin_sequence = read_le64(&r);
    ret_header->hard.term = read_le64(&r);
    ret_header->hard.vote = read_le64(&r);
    ret_header->hard.commit = read_le64(&r);
    return ST_OK;
}

size_t wal_record_bytes(size_t payload_len)
{
    return (RECORD_HEADER_BYTES + payload_len + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

uint8_t *wal_record_begin_at(uint8_t *record, enum record_type type, size_t payload_len)
{
    memset(record + wal_record_bytes(payload_len) - RECORD_ALIGN, 0, RECORD_ALIGN);
    put_le32(put_le32(record, (uint32_t)payload_len), 0);
    memset(record + 8, 0, 8);
    put_u8(record + 8, (uint8_t)type);
    return record + RECORD_HEADER_BYTES;
}

uint8_t *wal_record_begin(struct buf *out, enum record_type type, size_t payload_len)
{
    size_t size = wal_record_bytes(payload_len);
    uint8_t *p = buf_reserve(out, size);

    buf_commit(out, size);
    return wal_record_begin_at(p, type, payload_len);
}

void wal_record_set_flags(uint8_t *record, uint8_t flags)
{
    record[9] = flags;
}

size_t wal_record_size(const uint8_t *record)
{
    return wal_record_bytes(get_le32(record));
}

/* All of the record but the two checks, and where it stands. */
static uint32_t wal_record_crc(const uint8_t *record, size_t len, uint64_t identity,
                               uint64_t offset)
{
    uint8_t place[32];

    put_le64(put_le64(place, identity), offset);
    put_le32(put_le32(place + 16, (uint32_t)len), get_le32(record + 12));
    put_le64(place + 24, (uint64_t)record[8] | (uint64_t)record[9] << 8);
    return crc32c(crc32c(0, place, sizeof place), record + RECORD_HEADER_BYTES, len);
}

/* Sixteen bits over the header, so that searching garbage for records does not compute long
 * checksums. */
static uint16_t header_check(const uint8_t *record, uint64_t identity, uint64_t offset)
{
    uint8_t bytes[32];

    put_le64(put_le64(bytes, identity), offset);
    memcpy(bytes + 16, record, RECORD_HEADER_BYTES);
    bytes[26] = bytes[27] = 0;                             /* itself */
    return (uint16_t)(crc32c(0, bytes, sizeof bytes) | 1); /* never zero: zeroes are no record */
}

void wal_record_seal(uint8_t *record, uint64_t identity, uint64_t offset, uint32_t group)
{
    uint16_t check;

    put_le32(record + 12, group);
    put_le32(record + 4, wal_record_crc(record, get_le32(record), identity, offset));
    check = header_check(record, identity, offset);
    record[10] = (uint8_t)check;
    record[11] = (uint8_t)(check >> 8);
}

enum status wal_record_head_at(struct slice segment, uint64_t identity, uint64_t offset,
                               struct record *ret_record)
{
    const uint8_t *p = segment.data + offset;
    uint32_t group;
    uint16_t check;
    size_t len;

    if (offset > segment.len || segment.len - offset < RECORD_HEADER_BYTES)
        return ST_NOT_FOUND;
    check = (uint16_t)(p[10] | p[11] << 8);
    len = get_le32(p);
    group = get_le32(p + 12);
    /* Cheap questions first; the length is bounded by the limit and the file before anything is
     * read or allocated (CVE-2020-15106 was a length that was believed). */
    if (!check || len > WAL_RECORD_BYTES_MAX || wal_record_bytes(len) > segment.len - offset ||
        p[9] & ~RECORD_BATCH_ENDS || group < SEGMENT_HEADER_BYTES || group > offset ||
        check != header_check(p, identity, offset))
        return ST_NOT_FOUND;
    *ret_record = (struct record){
        .type = (enum record_type)p[8],
        .flags = p[9],
        .group = group,
        .payload = slice_of(p + RECORD_HEADER_BYTES, len),
        .size = wal_record_bytes(len),
    };
    return ST_OK;
}

/* Behind the payload; no checksum covers it. */
static bool padding_is_zero(const uint8_t *record, const struct record *rec)
{
    for (size_t i = RECORD_HEADER_BYTES + rec->payload.len; i < rec->size; i++)
        if (record[i])
            return false;
    return true;
}

enum status wal_record_at(struct slice segment, uint64_t identity, uint64_t offset,
                          struct record *ret_record)
{
    struct record rec;

    if (wal_record_head_at(segment, identity, offset, &rec) != ST_OK)
        return ST_NOT_FOUND;
    if (!PLANTED(log_checksum_ignored) &&
        get_le32(segment.data + offset + 4) !=
            wal_record_crc(segment.data + offset, rec.payload.len, identity, offset))
        return ST_NOT_FOUND;
    if (!padding_is_zero(segment.data + offset, &rec))
        return ST_NOT_FOUND;
    *ret_record = rec;
    return ST_OK;
}
