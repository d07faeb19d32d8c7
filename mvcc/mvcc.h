/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multi-version store: keys to generations of revisions in memory, records on disk. Revision rules are
 * etcd's: an empty store is at revision 1, every changing log entry takes the next main revision, its changes
 * sub-revisions 0, 1, 2... in order; a key's version starts at 1 with each generation and a delete ends it.
 *
 * Records of new revisions live in the memtable (the write-ahead log makes them durable) until it is sealed into an
 * immutable segment (one TDB file, format: doc/format-segment.md). Sealing freezes the memtable on the owner's thread,
 * writes the file on any thread, and is taken over on the owner's thread again. A segment carries the applied index
 * and term and the owner's small state as of its freezing: the newest one plus the log behind it is the whole node.
 *
 * Everything but mvcc_seal_write belongs to one thread. No clock, no randomness, no logging; iteration is in key or
 * revision order only. Slices handed out are valid until the next call into the store.
 * A record that does not match its checksum gives ST_CORRUPT, never a wrong value.
 */
#ifndef MVCC_MVCC_H
#define MVCC_MVCC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/invariant.h"
#include "common/slice.h"
#include "common/status.h"

#define MVCC_FILE_BYTES 4200 /* the name of a file of a store, at most */

typedef int64_t mvcc_rev; /* a main revision; 0 as an argument: now */

struct mvcc;

struct mvcc_kv {
    struct slice key;
    struct slice value;    /* empty where the query did not ask for values */
    uint64_t value_len;    /* always filled */
    mvcc_rev create_rev, mod_rev;
    int64_t version;
    int64_t lease;         /* 0: none */
    int64_t create_time_ns, mod_time_ns; /* wall clock of the commits; see mvcc_begin */
    bool group;            /* stands for all keys that begin with `key` (see mvcc_query.delimiter) */
};

/* ---- spans of keys -------------------------------------------------------------------------------- */

/* etcd's (key, range_end), normalised once; what is checked is what is executed. Borrows the bytes. */
struct mvcc_span {
    struct slice from; /* inclusive */
    struct slice to;   /* exclusive; unused for a point and an open end */
    bool point;        /* just `from` */
    bool open;         /* everything from `from` on */
};

/* range_end empty: the point; one NUL byte: open; else [key, range_end), possibly empty. */
struct mvcc_span mvcc_span_of(struct slice key, struct slice range_end);
bool mvcc_span_contains(const struct mvcc_span *span, struct slice key);
bool mvcc_span_is_empty(const struct mvcc_span *span);

/* ---- opening --------------------------------------------------------------------------------------- */

struct mvcc_options {
    const char *dir;       /* made with mode 0700 if missing; segments and nothing else */
    uint64_t memtable_bytes; /* seal when the memtable holds so many; MEMTABLE_BYTES */
    uint64_t seal_entries;   /* or when so many entries were applied, whether they changed anything or not; SEAL_ENTRIES_MAX */
    bool no_sync;          /* tests only: sealed files are not synced */
};

/*
 * Reads the segments' side files into the index; removes files of seals that never ended. ST_CORRUPT with file and
 * place for damage or a gap between segments; ST_BAD_ARGUMENT for a newer format.
 */
enum status mvcc_open(const struct mvcc_options *options, struct mvcc **ret_store,
                      struct error *ret_error) MUST_CHECK;
void mvcc_close(struct mvcc *s); /* NULL is fine; unsealed records are the log's to bring back */

/* The owner's small state as of the newest segment, and where the log goes on. Zeros and empty for a new store. */
struct mvcc_checkpoint {
    uint64_t applied_index, applied_term;
    struct slice state; /* opaque to the store; valid until mvcc_close */
};
void mvcc_get_checkpoint(const struct mvcc *s, struct mvcc_checkpoint *ret_checkpoint);

/* ---- reading ---------------------------------------------------------------------------------------- */

mvcc_rev mvcc_revision(const struct mvcc *s);         /* of the last committed change; 1 when empty */
mvcc_rev mvcc_compact_revision(const struct mvcc *s); /* -1: never compacted */

struct mvcc_query {
    struct mvcc_span span;
    mvcc_rev rev;          /* 0: now, inside a write with its changes so far */
    int64_t limit;         /* emit at most so many; 0: all */
    bool values;           /* read values, too */
    bool count_only;       /* emit nothing */
    bool no_count;         /* the count is not needed: stop with the last one emitted */
    bool descending;       /* emit from the end of the span */
    int64_t visit_max;     /* a slice of a long walk: stop after so many keys of the index; 0: go to the end */
    uint64_t visit_bytes_max; /* with visit_max: stop as well after so many bytes of keys and values emitted */
    /*
     * Listing a directory: with grouped set, keys that hold `delimiter` at or behind offset group_offset are emitted
     * once for all that share the bytes up to and including the first such delimiter, as a kv with group set, key =
     * those bytes, nothing else filled. The walk seeks from group to group, so it costs children, not keys. count is
     * then the number emitted; with count_only that of all groups, whatever the limit. Ascending only.
     */
    bool grouped;
    uint8_t delimiter;
    size_t group_offset;
};

struct mvcc_range_result {
    int64_t count; /* keys in the span at rev, whatever the limit */
    bool more;     /* the limit cut something off */
    mvcc_rev rev;  /* the revision that was read */
    /*
     * The slice is over. To go on: rev as above, and next as span.from (descending: as span.to, no longer open).
     * count is then what this slice saw. next is valid until the next call into the store.
     */
    bool unfinished;
    struct slice next;
};

/* Return false to stop emitting. */
typedef bool (*mvcc_emit_fn)(const struct mvcc_kv *kv, void *arg);

/* How many keys of the span are alive now, with the write under way: O(log n), whatever the span. */
int64_t mvcc_count(const struct mvcc *s, const struct mvcc_span *span);

/* Counting at the newest revision costs O(log n), too; at an old one a walk. ST_COMPACTED, ST_FUTURE_REV, ST_CORRUPT, ST_IO. */
enum status mvcc_range(struct mvcc *s, const struct mvcc_query *query, mvcc_emit_fn emit_fn, void *arg,
                       struct mvcc_range_result *ret_result) MUST_CHECK;

/* One key. ST_NOT_FOUND; else as mvcc_range. */
enum status mvcc_get(struct mvcc *s, struct slice key, mvcc_rev rev, bool value,
                     struct mvcc_kv *ret_kv) MUST_CHECK;

/* Is rev readable? rev 0 is. ST_OK, ST_COMPACTED or ST_FUTURE_REV; below 0 means compacted. */
enum status mvcc_check_rev(const struct mvcc *s, mvcc_rev rev) MUST_CHECK;

struct mvcc_event {
    bool is_delete;    /* then kv holds the key, mod_rev and mod_time_ns only */
    struct mvcc_kv kv;
    int64_t sub;       /* sub-revision */
};
typedef bool (*mvcc_event_fn)(const struct mvcc_event *event, void *arg);

/* Every change from main revision `from` to `to` inclusive, in order of (main, sub). ST_COMPACTED, ST_CORRUPT, ST_IO. */
enum status mvcc_history(struct mvcc *s, mvcc_rev from, mvcc_rev to, mvcc_event_fn event_fn, void *arg) MUST_CHECK;

/* ---- writing ---------------------------------------------------------------------------------------- */

/*
 * One applied log entry: begin, changes, end. Entries that change nothing are begun and ended as well, so that the
 * applied index moves. time_ns is the entry's; the store forces commit times to increase strictly: a change's time is
 * max(time_ns, last + 1). Index must be the last one's successor.
 */
void mvcc_begin(struct mvcc *s, uint64_t index, uint64_t term, int64_t time_ns);
/* In place of the end, of an entry that has changed nothing: it is not applied, and may be begun again. */
void mvcc_cancel(struct mvcc *s);
/* ST_CORRUPT, ST_IO: what stood there cannot be read, nothing was changed; without it this replica would differ from the others. */
enum status mvcc_put(struct mvcc *s, struct slice key, struct slice value, int64_t lease) MUST_CHECK;
/* Deletes what is alive in the span, in key order; returns how many. */
int64_t mvcc_delete(struct mvcc *s, const struct mvcc_span *span);
/* The revision that a change now would get, or got: committed + 1; and whether this entry changed anything so far. */
mvcc_rev mvcc_pending_revision(const struct mvcc *s);
bool mvcc_has_changes(const struct mvcc *s);
/* Returns the store's revision after it. */
mvcc_rev mvcc_end(struct mvcc *s);

uint64_t mvcc_applied_index(const struct mvcc *s);
/* A record that was read since it was opened was damaged: it did not match its checksum, or was not where it must be. */
bool mvcc_is_damaged(const struct mvcc *s);
/* Which, the first that was found. */
void mvcc_get_damage(const struct mvcc *s, struct error *ret_what);

/* ---- sealing ---------------------------------------------------------------------------------------- */

struct mvcc_seal;

/* The memtable is over its size, or the log behind the newest segment over its length, and no seal is under way. */
bool mvcc_wants_seal(const struct mvcc *s);
/* Freeze it, with the owner's small state (copied). The store's until mvcc_seal_end. NULL if a seal is under way or nothing was applied since the last. */
struct mvcc_seal *mvcc_seal_begin(struct mvcc *s, struct slice state);
/*
 * Write, sync, rename, sync the directory. Any thread; touches only the frozen part. ST_NO_SPACE: nothing is left of the attempt, and
 * the same seal may be written again from the beginning; any other failure is final for the process.
 */
enum status mvcc_seal_write(struct mvcc_seal *seal, struct error *ret_error) MUST_CHECK;
/* Take the segment into use, free the memtable; tells up to where the log can be released. Frees the seal. */
enum status mvcc_seal_end(struct mvcc *s, struct mvcc_seal *seal, uint64_t *ret_index, uint64_t *ret_term,
                          struct error *ret_error) MUST_CHECK;

/* ---- looking at it ------------------------------------------------------------------------------------ */

struct mvcc_stats {
    int64_t keys;            /* alive */
    int64_t revisions;       /* in the index, tombstones included */
    uint64_t index_bytes, memtable_bytes, disk_bytes;
    uint64_t frozen_bytes;   /* of memtable_bytes: being sealed */
    unsigned segments;
};
void mvcc_get_stats(const struct mvcc *s, struct mvcc_stats *ret_stats);

/*
 * A hash of what a revision saw: CRC-32C over every record up to it, in order of (main, sub). Equal on equal replicas, whatever is
 * sealed. History is append-only, so it is made in slices, with any writes between them; a store that was installed in place of this
 * one goes on with it as well.
 *
 *     st = mvcc_hash_begin(s, rev, &h);
 *     while (st == ST_OK && !mvcc_hash_is_done(&h))
 *         st = mvcc_hash_step(s, &h, INT64_MAX, records, bytes);
 */
struct mvcc_hasher {
    mvcc_rev rev;  /* up to here */
    mvcc_rev main; /* the next record */
    int64_t sub;
    uint32_t crc;  /* of those before it; once done: the hash */
};

/* rev 0: now; below it nothing, which has a hash as well (etcd). ST_COMPACTED, ST_FUTURE_REV. */
enum status mvcc_hash_begin(const struct mvcc *s, mvcc_rev rev, struct mvcc_hasher *ret_hash) MUST_CHECK;
/*
 * So many records, up to revision upto inclusive, or until they have so many bytes; at least one, if there is one up to there.
 * ST_COMPACTED: they are gone meanwhile; ST_CORRUPT, ST_IO.
 */
enum status mvcc_hash_step(struct mvcc *s, struct mvcc_hasher *h, mvcc_rev upto, unsigned records_max, size_t bytes_max) MUST_CHECK;
static inline bool mvcc_hash_is_done(const struct mvcc_hasher *h)
{
    return h->main > h->rev;
}
/* In one go: a walk over everything, for checks and not for the loop. */
enum status mvcc_hash(struct mvcc *s, mvcc_rev rev, uint32_t *ret_hash) MUST_CHECK;

#endif
