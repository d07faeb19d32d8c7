/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk would hold of a directory: a book, kept by the calls that say so, which a program that is linked with this has in place of
 * the C library's: open to write, rename, unlink, mkdir, rmdir, fsync, fdatasync. They do what they should (but for the syncs: what is
 * synced is in the book, and nothing waits for a disk). When the power goes, what was not synced is there or not, by a seed: bytes of a
 * file since its last sync, in blocks of 512; and each name that was made, changed or removed since the last sync of its directory, for
 * itself. Stricter than most file systems: a new name may be there before what the file holds, a file before its name, and names in any
 * order.
 *
 * One thread. Nothing depends on inodes, on time, or on the order in which a directory is listed.
 */
#ifndef TESTS_UNIT_UNSYNCED_H
#define TESTS_UNIT_UNSYNCED_H

#include <stdbool.h>
#include <stdint.h>

struct unsynced;

/* Of all below `dir`, an absolute path without links; what is there now is durable. Until it is freed. */
struct unsynced *unsynced_new(const char *dir);
void unsynced_free(struct unsynced *u);
/* What is there now is durable, or all of it is gone. */
void unsynced_forget(struct unsynced *u);

/* The process ends before its `calls`-th call from now on (0: now) that makes, renames or syncs anything; if it never comes to that, when
 * it is settled. What it does after that is undone then. loses: the power goes with it. */
void unsynced_end(struct unsynced *u, bool loses, uint64_t seed, unsigned calls);
/* Did it come to that? */
bool unsynced_is_over(const struct unsynced *u);
/* The directory becomes what the next process finds. Nobody has files open there. */
void unsynced_settle(struct unsynced *u);

/* Would this path be there after a power cut, and as it is now? */
bool unsynced_has_name(struct unsynced *u, const char *path);
bool unsynced_has_bytes(struct unsynced *u, const char *path);

#endif
