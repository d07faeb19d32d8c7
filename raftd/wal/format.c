/* SPDX-License-Identifier: Apache-2.0 */
/* Segment headers and records to bytes and back. */
#include "raftd/wal/format.h"

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/limits.h"

/*
 * segment header: 8 magic, 4 format, 4 CRC-32C of what follows, then twelve numbers of 8 bytes (two spare).
 * record header:  4 payload length, 4 CRC-32C, 1 type, 1 flags, 2 check of the header, 4 group, then the payload and zeroes
 *                 up to a multiple of 8.
 */
#define SEGMENT_MAGIC "RFTWALOG"

void wal_segment_header_encode(const struct segment_header *h, uint8_t *out)
{
    uint8_t *p = out + 16;

    p = put_le64(put_le64(p, h->cluster_id), h->member_id);
    p = put_le64(put_le64(p, h->sequence), h->identity);
    p = put_le64(put_le64(p, h->previous_identity), h->begin_index);
    p = put_le64(put_le64(p, h->begin_term), h->hard.term);
    p = put_le64(put_le64(p, h->hard.vote), h->hard.commit);
    p = put_le64(put_le64(p, 0), 0);
    INVARIANT(p == out + SEGMENT_HEADER_BYTES);
    put_bytes(out, SEGMENT_MAGIC, 8);
    put_le32(out + 8, WAL_FORMAT);
    put_le32(out + 12, crc32c(0, out + 16, SEGMENT_HEADER_BYTES - 16));
}

enum status wal_segment_header_decode(struct slice bytes, struct segment_header *ret_header)
{
    struct reader r = reader_of(bytes);
    const uint8_t *magic = read_bytes(&r, 8);
    uint32_t format = read_le32(&r), crc = read_le32(&r);

    if (bytes.len < SEGMENT_HEADER_BYTES || memcmp(magic, SEGMENT_MAGIC, 8) != 0)
        return ST_CORRUPT;
    if (format != WAL_FORMAT)
        return ST_BAD_ARGUMENT;
    if (crc != crc32c(0, bytes.data + 16, SEGMENT_HEADER_BYTES - 16))
        return ST_CORRUPT;
    ret_header->cluster_id = read_le64(&r);
    ret_header->member_id = read_le64(&r);
    ret_header->sequence = read_le64(&r);
    ret_header->identity = read_le64(&r);
    ret_header->previous_identity = read_le64(&r);
    ret_header->begin_index = read_le64(&r);
    ret_header->begin_term = read_le64(&r);
    ret_header->hard.term = read_le64(&r);
    ret_header->hard.vote = read_le64(&r);
    ret_header->hard.commit = read_le64(&r);
    return ST_OK;
}

static size_t padded(size_t payload_len)
{
    return (RECORD_HEADER_BYTES + payload_len + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

uint8_t *wal_record_begin(struct buf *out, enum record_type type, size_t payload_len)
{
    size_t size = padded(payload_len);
    uint8_t *p = buf_reserve(out, size);

    memset(p + size - RECORD_ALIGN, 0, RECORD_ALIGN);
    put_le32(p, (uint32_t)payload_len);
    put_le32(p + 4, 0);
    put_u8(put_u8(p + 8, (uint8_t)type), 0);
    buf_commit(out, size);
    return p + RECORD_HEADER_BYTES;
}

void wal_record_set_flags(uint8_t *record, uint8_t flags)
{
    record[9] = flags;
}

size_t wal_record_size(const uint8_t *record)
{
    return padded(get_le32(record));
}

/* The payload, and with it where it stands. */
static uint32_t wal_record_crc(const uint8_t *record, size_t len, uint64_t identity, uint64_t offset)
{
    uint8_t place[16];

    put_le64(put_le64(place, identity), offset);
    return crc32c(crc32c(0, place, sizeof place), record + RECORD_HEADER_BYTES, len);
}

/* Sixteen bits over the header, so that searching garbage for records does not compute long checksums. */
static uint16_t header_check(const uint8_t *record, uint64_t identity, uint64_t offset)
{
    uint8_t bytes[30];

    put_le64(put_le64(bytes, identity), offset);
    memcpy(bytes + 16, record, 10);
    memcpy(bytes + 26, record + 12, 4);
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

enum status wal_record_at(struct slice segment, uint64_t identity, uint64_t offset, struct record *ret_record)
{
    const uint8_t *p = segment.data + offset;
    uint16_t check;
    size_t len;

    if (offset > segment.len || segment.len - offset < RECORD_HEADER_BYTES)
        return ST_NOT_FOUND;
    check = (uint16_t)(p[10] | p[11] << 8);
    len = get_le32(p);
    if (!check || len > WAL_RECORD_BYTES_MAX || padded(len) > segment.len - offset ||
        check != header_check(p, identity, offset) || get_le32(p + 4) != wal_record_crc(p, len, identity, offset))
        return ST_NOT_FOUND;
    *ret_record = (struct record){
        .type = (enum record_type)p[8],
        .flags = p[9],
        .group = get_le32(p + 12),
        .payload = slice_of(p + RECORD_HEADER_BYTES, len),
        .size = padded(len),
    };
    return ST_OK;
}
