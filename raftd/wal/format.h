/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a log segment; doc/format-wal.md draws and explains them. Pure: slices in, structs
 * out.
 *
 * A record's checksum covers where it stands and in which segment, so that bytes of an earlier life
 * of the file are never taken for a record. Its group is where the records begin that were not yet
 * synced when it was written: a valid record whose group begins behind a place proves that
 * everything before that place had been durable.
 */
#ifndef RAFTD_WAL_FORMAT_H
#define RAFTD_WAL_FORMAT_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/status.h"
#include "raft/raft.h"

#define WAL_FORMAT           1
#define SEGMENT_HEADER_BYTES 128
#define SEGMENT_BYTES_MAX    (1u << 31) /* a file that claims more is no segment */
#define RECORD_HEADER_BYTES  16
#define RECORD_ALIGN         16 /* a record's header never lies across two sectors */

struct segment_header {
    uint64_t cluster_id, member_id;
    uint64_t sequence;          /* 1, 2, 3... */
    uint64_t identity;          /* of this segment, like no other */
    uint64_t previous_identity; /* of segment sequence - 1 */
    uint64_t previous_end;      /* where that one's end record stands: all before it was durable */
    uint64_t size;              /* the file is at least so long */
    raft_index first_index;     /* the entry expected next when it was made; part of the name */
    /* What was known when the segment was made, so that nothing is known from dropped segments
     * only: */
    raft_index begin_index; /* the log begins behind it */
    raft_term begin_term;
    uint64_t begin_sequence; /* segments before this one are not needed */
    struct raft_hard_state hard;
};

enum record_type {
    RECORD_ENTRY = 1, /* 8 term, 8 index, 1 type, 7 zero, data */
    RECORD_HARD = 2,  /* 8 term, 8 vote, 8 commit */
    RECORD_BEGIN =
        3, /* 8 index, 8 term, 8 sequence: the log begins behind the entry, and with that segment */
    RECORD_MARK = 4, /* nothing: by its group it proves that everything before it is durable */
    RECORD_END = 5,  /* nothing: the segment is closed, and the next one is there */
};

enum {
    RECORD_BATCH_ENDS = 1
}; /* flags: the records since the last such one count together or not at all */

struct record {
    enum record_type type;
    uint8_t flags;
    uint32_t group; /* offset in the segment at which its group began */
    struct slice payload;
    size_t size; /* header, payload and padding */
};

void wal_segment_header_encode(const struct segment_header *h, uint8_t *out);
/* ST_CORRUPT: no header, or a damaged one; ST_BAD_ARGUMENT: of another format. */
enum status wal_segment_header_decode(struct slice bytes,
                                      struct segment_header *ret_header) MUST_CHECK;

/* Room for a record at the end of out, its header filled but for what wal_record_seal fills;
 * returns the payload's room. */
uint8_t *wal_record_begin(struct buf *out, enum record_type type, size_t payload_len);
/* The same in the caller's room of wal_record_bytes(payload_len). */
uint8_t *wal_record_begin_at(uint8_t *record, enum record_type type, size_t payload_len);
void wal_record_set_flags(uint8_t *record, uint8_t flags);
/* Bytes that a record with such a payload takes. */
size_t wal_record_bytes(size_t payload_len);
/* The whole size of a record that wal_record_begin made. */
size_t wal_record_size(const uint8_t *record);
/* Now it is known where it goes. */
void wal_record_seal(uint8_t *record, uint64_t identity, uint64_t offset, uint32_t group);

/*
 * A record's header at offset of a segment's bytes, its payload not verified: for one that was, or
 * to find what a torn write left. ST_NOT_FOUND: there is none.
 */
enum status wal_record_head_at(struct slice segment, uint64_t identity, uint64_t offset,
                               struct record *ret_record) MUST_CHECK;
/* The record at offset of a segment's bytes. ST_NOT_FOUND: there is no valid one, or its padding is
 * not zero. */
enum status wal_record_at(struct slice segment, uint64_t identity, uint64_t offset,
                          struct record *ret_record) MUST_CHECK;

#endif
