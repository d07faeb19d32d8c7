/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directory is the store. A received snapshot is built beside the store that is in use and takes its place by one rename:
 *
 *     PATH/store           generation 0: what a member begins with
 *     PATH/store.N         generation N: the N-th snapshot that was installed; the one behind the current is being received
 *     PATH/current         which of them it is, and of what log position it was when it was installed; none: generation 0
 *
 *     current    8 magic "RFTSTORE", 4 format, 4 CRC-32C of what follows, 8 generation, 8 index, 8 term; little-endian
 *
 * What is being received outlives the process, so that the transfer goes on where it was (mvcc/transfer.h); it is never opened as a
 * store before `current` says so. Whatever else is there is left of a store that was replaced: removed at a start. The position closes the gap between the swap and the log's new beginning: a crash there leaves a store ahead of its log,
 * which nothing else may explain (raftd/node/node.c, restore_raft).
 */
#ifndef MVCC_STORE_DIR_H
#define MVCC_STORE_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define STORE_PATH_BYTES 4096
#define ASIDE_STORES_MAX 3

struct store_dir {
    char path[STORE_PATH_BYTES - 40]; /* room for the longest name in it */
    bool no_sync;               /* tests only */
    uint64_t generation;
    uint64_t installed_index;   /* 0: no snapshot was installed */
    uint64_t installed_term;
    bool partial;               /* there was the beginning of the next generation when it was opened */
};

/*
 * Reads which one is current, keeps it and the next, removes the others, makes the current one if it is not there; all durable.
 * ST_CORRUPT if that is not to be known: the file is damaged, or missing where only later generations are; nothing is removed then.
 * ST_IO.
 */
enum status store_dir_open(struct store_dir *d, const char *path, bool no_sync,
                           struct error *ret_error) MUST_CHECK;
/* Remove the beginning of the next generation, if there is one, durably: what follows here is not what follows it. ST_IO. */
enum status store_dir_forget_partial(struct store_dir *d, struct error *ret_error) MUST_CHECK;
/* The directory of a generation, STORE_PATH_BYTES of it. */
void store_dir_name(const struct store_dir *d, uint64_t generation, char *ret_name);
/*
 * After ST_CORRUPT of store_dir_open or of the store itself: every store there is becomes damaged-store.N, of which the newest few are kept
 * for the operator, and an empty one is current. `d` may be half open; it is as after store_dir_open. A crash on the way leaves what
 * store_dir_open refuses, or an empty store.
 */
enum status store_dir_set_aside(struct store_dir *d, const char *path, bool no_sync, struct error *ret_error) MUST_CHECK;
/* Make `next` what is current, durably. Touches only the disk: any thread. ST_NO_SPACE: nothing was changed. */
enum status store_dir_write(const struct store_dir *next, struct error *ret_error) MUST_CHECK;

#endif
