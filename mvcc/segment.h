/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment: a file with the records of contiguous revisions, written once and never changed (doc/format-segment.md). The only
 * door to TDB. Beside each stands a side file with its keys in order, so that a start reads keys and not values.
 */
#ifndef MVCC_SEGMENT_H
#define MVCC_SEGMENT_H

#include "common/buf.h"
#include "common/error.h"
#include "mvcc/memtable.h"

#define SEGMENT_FORMAT 1

struct segment;

/* What a segment says of itself. */
struct segment_meta {
    uint64_t sequence;           /* 1, 2, 3...: the order of sealing */
    mvcc_rev first_rev, next_rev; /* its main revisions: first_rev .. next_rev-1; may be none */
    uint64_t applied_index, applied_term;
    int64_t last_time_ns;        /* of the newest commit up to it */
    uint64_t record_count;
};

/*
 * Write all records of a frozen memtable (which seals them in place), meta and state, sync, and make both files visible.
 * *ret_segment is open for reading. Any thread, but one at a time in a process. ST_NO_SPACE: nothing is left of it, and it may
 * be tried again.
 */
enum status segment_write(const char *dir, struct memtable *t, const struct segment_meta *meta, struct slice state,
                          bool no_sync, struct segment **ret_segment, struct error *ret_error) MUST_CHECK;

/* ST_CORRUPT with file and place; ST_BAD_ARGUMENT: of a newer format. */
enum status segment_open(const char *dir, uint64_t sequence, struct segment **ret_segment, struct error *ret_error)
    MUST_CHECK;
void segment_close(struct segment *s);

const struct segment_meta *segment_meta(const struct segment *s);
/* Its file's name, MVCC_FILE_BYTES of it. */
void segment_path(const char *dir, uint64_t sequence, char *ret_path);
struct slice segment_state(const struct segment *s);
uint64_t segment_file_bytes(const struct segment *s);

/* The checked bytes of a record into out. ST_NOT_FOUND: not here; ST_CORRUPT. */
enum status segment_get(const struct segment *s, int64_t main, int64_t sub, struct buf *out) MUST_CHECK;

/* Calls key_fn for every record in order of (main, sub): from the side file, or from the records if that is damaged. */
typedef void (*segment_key_fn)(void *arg, struct slice key, int64_t main, uint32_t sub, bool tombstone);
enum status segment_read_keys(struct segment *s, segment_key_fn key_fn, void *arg, struct error *ret_error) MUST_CHECK;

/* The sequences of all segments in dir, ascending, in a fresh array; files of seals that never ended are removed. */
enum status segment_list(const char *dir, uint64_t **ret_sequences, size_t *ret_count, struct error *ret_error)
    MUST_CHECK;
/* The names of all segments are durable then. ST_IO. */
enum status segment_sync_names(const char *dir, struct error *ret_error) MUST_CHECK;

#endif
