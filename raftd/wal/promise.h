/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member must not forget even where its log is damaged: the last term it was in, and whom it voted for there. The file
 * `promise` holds it twice, each copy checked and in sectors of its own; the second is written when the first is durable. So one of
 * them is whole and the newest there was, whatever one damage does, or any crash.
 *
 * It is written after the log and before anything is told to others. So it is never ahead of a log that is whole: a log that ends
 * in an earlier term has lost its end. lost_term: a log was lost that may have held acknowledged entries of terms up to this
 * one (wal_open_anew).
 */
#ifndef RAFTD_WAL_PROMISE_H
#define RAFTD_WAL_PROMISE_H

#include "raft/raft.h"
#include "raftd/wal/disk.h"

#define PROMISE_NAME "promise"

struct promise {
    uint64_t sequence; /* of its writes */
    raft_term term;
    raft_id vote;
    raft_term lost_term; /* 0: none was lost */
};

/* ST_NOT_FOUND: there is none. ST_CORRUPT: neither copy is whole. ST_BAD_ARGUMENT: another member's. ST_IO. */
enum status wal_promise_read(struct disk *disk, uint64_t cluster_id, uint64_t member_id, struct promise *ret_promise,
                             struct error *ret_error) MUST_CHECK;
/* Make this the promise, durably, and keep the file open to write the next ones. 0 or -errno. */
int wal_promise_open(struct disk *disk, uint64_t cluster_id, uint64_t member_id, const struct promise *promise,
                     struct disk_file **ret_file);
/* Both copies, durably, of a file that wal_promise_open left whole. 0 or -errno. */
int wal_promise_write(struct disk *disk, struct disk_file *file, uint64_t cluster_id, uint64_t member_id,
                      const struct promise *promise);

#endif
