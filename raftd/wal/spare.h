/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file for the next segment, made ahead on a thread of its own, and the end of segments that
 * are not needed any more. Own thread, because both sync: on the writer's thread the batches would
 * wait for it, and under load the writer is never idle. Zeroes are written and synced in small
 * steps, so that a sync of the log has little of it to wait for.
 *
 * A dropped segment becomes the spare if there is none: its blocks are written already, and its old
 * records count for nothing under a new identity. Drops are durable one by one, oldest first: what
 * is left is always without a gap.
 *
 * The spare is the log's reserve on a full disk: what is written to the log goes to blocks that are
 * there already. Where none can be made for lack of space, that is no failure: it is tried again
 * every second, and wal_spare_get_space says so.
 */
#ifndef RAFTD_WAL_SPARE_H
#define RAFTD_WAL_SPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "raftd/wal/disk.h"

struct spare;

struct spare_options {
    struct disk *disk;
    uint64_t bytes;   /* of the file */
    bool synchronous; /* no thread: drops are done at once, a spare comes from drops or is asked for */
    /* Called with what failed; does not return. */
    void (*fail_fn)(void *arg, const char *name, const char *what, uint64_t offset, int error);
    void *arg;
};

/* Removes what an earlier process left half made. *ret_spare is set before anything can fail. */
void wal_spare_start(const struct spare_options *options, struct spare **ret_spare);
/* Rename the spare to `name`; false: there is none. */
bool wal_spare_take(struct spare *s, const char *name);
/* Let go of a file that is closed; recyclable: it has the right size. */
void wal_spare_drop(struct spare *s, const char *name, bool recyclable);
/* Synchronous only: make one now, if there is none and there is space. */
void wal_spare_make(struct spare *s);
/* What was last seen of the disk; *ret_full: no spare is there, and there was no space to make one. */
void wal_spare_get_space(struct spare *s, uint64_t *ret_free, bool *ret_ready, bool *ret_full);
/* An allocation found the disk full: waits for a while, or until there is a spare. False: given up. */
bool wal_spare_await(struct spare *s);
/* Nobody shall wait for space any more. */
void wal_spare_give_up(struct spare *s);
/* Drops that were ordered are done, a spare half made is left. NULL is fine. */
void wal_spare_stop(struct spare *s);

#endif
