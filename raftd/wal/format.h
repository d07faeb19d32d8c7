/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a log segment; doc/format-wal.md draws and explains them. Pure: slices in, structs out.
 *
 * A record's checksum covers where it stands and in which segment, so that bytes of an earlier life of the file
 * are never taken for a record. Its group is what was written since the last sync that ended before it: a
 * valid record whose group began behind a place proves that everything before that place had been durable.
 */
#ifndef RAFTD_WAL_FORMAT_H
#define RAFTD_WAL_FORMAT_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/status.h"
#include "raft/raft.h"

#define WAL_FORMAT 1
#define SEGMENT_HEADER_BYTES 112
#define RECORD_HEADER_BYTES 16
#define RECORD_ALIGN 8

struct segment_header {
    uint64_t cluster_id, member_id;
    uint64_t sequence;          /* 1, 2, 3... */
    uint64_t identity;          /* of this segment, like no other */
    uint64_t previous_identity; /* of segment sequence - 1 */
    raft_index begin_index;     /* the log begins behind it, as known when the segment was made */
    raft_term begin_term;
    struct raft_hard_state hard; /* likewise */
};

enum record_type {
    RECORD_ENTRY = 1, /* 8 term, 8 index, 1 type, 7 zero, data */
    RECORD_HARD = 2,  /* 8 term, 8 vote, 8 commit */
    RECORD_BEGIN = 3, /* 8 index, 8 term: the log begins behind it */
    RECORD_MARK = 4,  /* nothing: everything before it is durable */
    RECORD_END = 5,   /* nothing: the segment is closed, the next one goes on */
};

enum { RECORD_BATCH_ENDS = 1 }; /* flags: the records since the last such one count together or not at all */

struct record {
    enum record_type type;
    uint8_t flags;
    uint32_t group; /* offset in the segment at which its group began */
    struct slice payload;
    size_t size; /* header, payload and padding */
};

void wal_segment_header_encode(const struct segment_header *h, uint8_t *out);
/* ST_CORRUPT: no header, or a damaged one; ST_BAD_ARGUMENT: of another format. */
enum status wal_segment_header_decode(struct slice bytes, struct segment_header *ret_header) MUST_CHECK;

/* Room for a record at the end of out, its header filled but for what record_seal fills; returns the payload's room. */
uint8_t *wal_record_begin(struct buf *out, enum record_type type, size_t payload_len);
void wal_record_set_flags(uint8_t *record, uint8_t flags);
/* The whole size of a record that record_begin made. */
size_t wal_record_size(const uint8_t *record);
/* Now it is known where it goes. */
void wal_record_seal(uint8_t *record, uint64_t identity, uint64_t offset, uint32_t group);

/* The record at offset of a segment's bytes. ST_NOT_FOUND: there is no valid one. */
enum status wal_record_at(struct slice segment, uint64_t identity, uint64_t offset, struct record *ret_record) MUST_CHECK;

#endif
