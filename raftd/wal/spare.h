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
    bool synchronous; /* no thread: drops are done at once, a spare comes from drops only */
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
/* Drops that were ordered are done, a spare half made is left. NULL is fine. */
void wal_spare_stop(struct spare *s);

#endif
