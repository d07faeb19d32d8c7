/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop must not wait for a disk. Whoever walks over the store from its first record to its last (a snapshot that is sent, a hash)
 * asks here before each slice: a segment that was not read yet is read once on the storage thread, and comes from the page cache then.
 */
#ifndef RAFTD_NODE_READ_AHEAD_H
#define RAFTD_NODE_READ_AHEAD_H

#include "mvcc/mvcc.h"

struct node;
struct read_ahead_job;

/* Of one walk. Zeroed, but for the first two: it begins. */
struct read_ahead {
    void (*done_fn)(void *arg); /* what was missing is there: ask again; NULL: whoever walks asks now and then */
    void *arg;
    bool from_disk;             /* past the page cache: what is read is what the disk holds now */
    mvcc_rev next;              /* records before this revision are in memory */
    struct read_ahead_job *job; /* under way, or NULL */
};

/* May the records from `main` on be read, up to *ret_upto inclusive? False: they are on their way. */
bool read_ahead_is_there(struct node *n, struct read_ahead *a, mvcc_rev main, mvcc_rev *ret_upto);
enum hash_progress { HASH_WAITS, HASH_GOES_ON, HASH_ENDED };
/* One slice of a hash that is made so; HASH_ENDED: *ret_status says how. */
enum hash_progress read_ahead_hash(struct node *n, struct read_ahead *a, struct mvcc_hasher *h, enum status *ret_status);
/* Nobody waits any more. Nothing of a node that has gone is waited for. */
void read_ahead_fini(struct read_ahead *a);

#endif
