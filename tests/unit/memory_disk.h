/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory that does what disks do at the worst moment. What was not synced when the power
 * goes may be lost, kept or torn at 512 bytes in any order; names that were not synced go, newest
 * first; the n-th call fails. The model is a journalling file system: changes of the directory keep
 * their order. One thread only.
 */
#ifndef TESTS_UNIT_MEMORY_DISK_H
#define TESTS_UNIT_MEMORY_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rng.h"
#include "raftd/wal/disk.h"

#define MEMORY_SECTOR_BYTES 512u

struct disk *memory_disk_new(void);

/* Calls of any kind so far; those that could change something. */
unsigned memory_disk_calls(const struct disk *d);
unsigned memory_disk_changes(const struct disk *d);

/* From now on, the n-th call (1: the next) and all after it fail with -error. 0: none. */
void memory_disk_fail_at(struct disk *d, unsigned n, int error);

/*
 * The next sync fails once, and drops what it was to store, as Linux does: it is seen until the power goes, and no later sync stores
 * it.
 */
void memory_disk_fail_sync(struct disk *d);
bool memory_disk_has_dropped(const struct disk *d);

/* The disk holds so many bytes from now on: what would grow beyond fails with ENOSPC. UINT64_MAX: no end. */
void memory_disk_set_size(struct disk *d, uint64_t bytes);
uint64_t memory_disk_used(const struct disk *d);

/* A new disk with what is found after the process was killed: everything that was written. */
struct disk *memory_disk_after_kill(const struct disk *d);
/* The same after a power cut: of what was not synced, each sector and each name (in order) by
 * chance. */
struct disk *memory_disk_after_power_cut(const struct disk *d, struct rng *rng);
/* The same, with just the first `keep` bytes of the writes that were not synced; all names. */
struct disk *memory_disk_after_prefix(const struct disk *d, uint64_t keep);
/* The worst that a power cut can leave: what was synced, and nothing else. */
struct disk *memory_disk_durable(const struct disk *d);
/* Bytes written and not synced. */
uint64_t memory_disk_unsynced(const struct disk *d);

/* A file's bytes, to look at and to damage; NULL: no such file. */
uint8_t *memory_disk_bytes(struct disk *d, const char *name, size_t *ret_len);
/* The disk lies: what is seen and what is durable there is that. */
void memory_disk_damage(struct disk *d, const char *name, uint64_t offset, const void *data, size_t len);
/* The n-th file of that suffix in the order of names, or NULL. */
const char *memory_disk_name(const struct disk *d, const char *suffix, unsigned n);
void memory_disk_cut(struct disk *d, const char *name, size_t len);
void memory_disk_remove(struct disk *d, const char *name);
void memory_disk_rename(struct disk *d, const char *from, const char *to);

#endif
