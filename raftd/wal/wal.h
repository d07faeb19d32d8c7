/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write-ahead log: what consensus must remember, in checksummed segments (format: doc/format-wal.md).
 * Batches are appended on the loop's thread without blocking; one writer thread writes and syncs them in
 * order, everything that arrived during a sync in the next one (group commit). wal_durable tells the loop
 * how far that got; wake_fn is called from the writer thread and must only wake the loop.
 *
 * A torn tail (a last batch that never became durable) is cut at opening. Damage anywhere else is refused
 * with the file and the offset, and nothing is changed: ST_CORRUPT. A write or sync that fails ends the
 * process at once (a retried fsync may report success after the data is lost): fail_fn is called with words
 * and must not return. A full disk is no failure: files are allocated ahead, nothing is written to one before; and if
 * there is none to go on with, the log waits for space, as on a disk that hangs. Ask wal_get_space in time.
 *
 * wal_open -> wal_replay -> wal_start -> wal_append/wal_durable/wal_release ... -> wal_close.
 */
#ifndef RAFTD_WAL_WAL_H
#define RAFTD_WAL_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/slice.h"
#include "raft/raft.h"
#include "raftd/wal/disk.h"

struct wal;

struct wal_options {
    struct disk *disk;           /* stays the caller's, used until wal_close */
    uint64_t cluster_id;         /* written into a new log, compared with an old one's: ST_BAD_ARGUMENT if it differs */
    uint64_t member_id;
    uint64_t segment_bytes;      /* WAL_SEGMENT_BYTES; a batch never spans two segments */
    bool synchronous;            /* no thread: wal_append writes and syncs before it returns (tests) */
    uint64_t identity_seed;      /* of the identities of segments; 0: from the system */
    bool stepped;                /* with synchronous: not before wal_step does, so that a simulator has a disk that takes time */
    void (*wake_fn)(void *arg);  /* from the writer thread: wal_durable has grown */
    void (*fail_fn)(void *arg, const char *text); /* any thread; must end the process */
    void *arg;
};

/* Read what is there: *ret_new is set if the directory held no log and one was begun. */
enum status wal_open(const struct wal_options *options, struct wal **ret_wal, bool *ret_new,
                     struct error *ret_error) MUST_CHECK;

/*
 * After wal_open gave ST_CORRUPT, or the log does not fit the store: a new one, empty behind entry (index, term) of a checkpoint, or 0
 * and 0. The damaged one is set aside (raftd/wal/aside.h). The member is in a term where it promised nothing yet, and wal_lost_term says up to
 * which one it had: raft.h says what it may not do before it has caught up. ST_CORRUPT: what it promised is not known any more.
 */
enum status wal_open_anew(const struct wal_options *options, raft_index index, raft_term term, struct wal **ret_wal,
                          struct error *ret_error) MUST_CHECK;
/* 0: no log was ever lost. */
raft_term wal_lost_term(const struct wal *w);

/*
 * After wal_open: the log as it stands, behind `after` (the store's applied index): the entries after+1..last in a
 * fresh array of fresh references (the caller's to unref and free) and the newest hard state. ST_CORRUPT if the log
 * begins later than after + 1 or its entries have a gap.
 */
enum status wal_replay(struct wal *w, raft_index after, struct raft_hard_state *ret_hard,
                       struct raft_entry ***ret_entries, size_t *ret_count, struct error *ret_error) MUST_CHECK;

/*
 * After wal_open: the log holds entries from *ret_index + 1 on; the term is that of the entry at *ret_index. 0 and 0 for a
 * log from the beginning; else the newest point that wal_release made the log begin behind.
 */
void wal_get_begin(const struct wal *w, raft_index *ret_index, raft_term *ret_term);

/* Begin taking batches. */
void wal_start(struct wal *w);

/*
 * Append one batch: a hard state (or NULL) and entries, which replace any stored at or behind the first one's index.
 * The data is copied before it returns. Returns the batch's ticket: 1, 2, 3... With sync false (only a commit index
 * changed) it is written, but nobody waits for it. An invariant: entries leave no gap behind the log's last one, and
 * none lies at or before the newest release (a snapshot beyond the end is told by wal_release first).
 */
uint64_t wal_append(struct wal *w, const struct raft_hard_state *hard, struct raft_entry *const *entries,
                    size_t count, bool sync);

/* Stepped only: write and sync what was appended since the last step, as far as there is space. False: nothing was. */
bool wal_step(struct wal *w);
/* Stepped only: a step has something to write. */
bool wal_wants_step(const struct wal *w);
/* Stepped only: the file ahead of the log, if there is space for it; else a thread makes it. */
void wal_make_spare(struct wal *w);

/* The last ticket up to which every batch is durable; one with sync false counts once it is written. */
uint64_t wal_durable(const struct wal *w);

/*
 * Entries up to `index` are in a durable checkpoint of the store, whose last entry has that term: segments that hold
 * only such entries are recycled. Done in order with the batches. If the log has no entry of that term at that index,
 * a snapshot took its place: it begins anew there, what it held behind is forgotten.
 */
void wal_release(struct wal *w, raft_index index, raft_term term);

/* How much more the log can take. Once a second it looks at the disk; cheap to ask. */
struct wal_space {
    uint64_t free_bytes; /* of the disk */
    uint64_t room_bytes; /* that are the log's already, behind what is queued: entries that fit in need no space */
    bool is_full;        /* there was none for the file ahead of the log */
};
void wal_get_space(struct wal *w, struct wal_space *ret_space);

struct wal_stats {
    uint64_t batches, syncs, bytes;
    int64_t sync_ns_last, sync_ns_max; /* duration of a sync; max since the last call */
    unsigned segments;
};
void wal_get_stats(struct wal *w, struct wal_stats *ret_stats);

/* Writes and syncs what is queued (but for lack of space), ends the thread, closes. NULL is fine. */
void wal_close(struct wal *w);

#endif
