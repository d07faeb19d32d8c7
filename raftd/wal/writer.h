/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a log: the last segment, and the way from one to the next. Everything that can fail here
 * ends the process through fail_fn; nothing is tried twice. One thread uses it at a time.
 */
#ifndef RAFTD_WAL_WRITER_H
#define RAFTD_WAL_WRITER_H

#include "raftd/wal/promise.h"
#include "raftd/wal/reader.h"
#include "raftd/wal/spare.h"
#include "raftd/wal/wal.h"

#define WAL_RELEASE_BYTES (RECORD_HEADER_BYTES + 32) /* of the record of a release */

struct writer {
    const struct wal_options *options;
    struct wal_state *state; /* its segments and begin are kept up to date */
    struct spare *spare;
    struct disk_file *promise_file;
    struct promise promise; /* as it is on disk */
    struct disk_file *file; /* of the last segment */
    uint64_t offset;        /* where the next record goes */
    uint32_t group;         /* up to here everything is durable */
    uint64_t room;          /* the segment's size */
    raft_index last_index;  /* of the entries written last */
    uint64_t identity_seed;
    bool starved;                 /* it was waiting for space when the log was closed */
    bool drop_later;              /* a release was written: after the next sync, segments can go */
    uint64_t bytes;               /* written since it was last asked */
    uint64_t syncs;               /* likewise */
    int64_t sync_ns, sync_ns_max; /* of the last sync; of those since it was last asked */
};

/* Continue the log that state describes, or begin one. What was recovered is durable afterwards, a
 * torn tail is gone; so is the promise, which was read before. */
void wal_writer_start(struct writer *w, const struct wal_options *options, struct wal_state *state,
                      raft_index last_index, const struct promise *promise);
/* Is there room for so many bytes in this segment? */
bool wal_writer_has_room(const struct writer *w, uint64_t len);
/* Is there a file for the next one, or space to make it, with room for so many? Asked where nobody may wait. */
bool wal_writer_finds_space(const struct writer *w, uint64_t len);
/* Close the segment, begin one with room for len bytes. */
void wal_writer_roll(struct writer *w, uint64_t len);
/* Seal the records of bytes for where they go, and write them. */
void wal_writer_write(struct writer *w, uint8_t *bytes, size_t len);
/* What was in it: entries up to last_index (0: none), a hard state (or NULL). */
void wal_writer_note(struct writer *w, raft_index last_index, const struct raft_hard_state *hard);
/* The log begins behind (index, term): recorded now, done after the next sync. */
void wal_writer_release(struct writer *w, raft_index index, raft_term term);
/* Before a term or a vote that is written and synced counts as durable. */
void wal_writer_promise(struct writer *w);
bool wal_writer_is_synced(const struct writer *w);
void wal_writer_sync(struct writer *w);
/* If everything is durable: leave the proof of it, for a reader who finds the last batch damaged.
 * Needs no sync. */
void wal_writer_mark(struct writer *w);
/* Close what is open; safe after a failure, too. */
void wal_writer_fini(struct writer *w);

#endif
