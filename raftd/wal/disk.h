/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one seam to the disk for the write-ahead log: a handful of calls, so that a test or the simulator can
 * give it a memory that tears, loses, repeats and refuses. disk_posix is the real one. All take names
 * relative to the directory the disk was opened with. Every call returns 0 or -errno; short writes and EINTR
 * are dealt with below this line.
 */
#ifndef RAFTD_WAL_DISK_H
#define RAFTD_WAL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct disk;
struct disk_file;

struct disk_ops {
    /* flags: DISK_*; a new file has mode 0600. */
    int (*open)(struct disk *d, const char *name, int flags, struct disk_file **ret_file);
    void (*close)(struct disk_file *f);
    int (*read)(struct disk_file *f, uint64_t offset, void *data, size_t len, size_t *ret_len); /* short only at the end */
    int (*write)(struct disk_file *f, uint64_t offset, const void *data, size_t len);           /* all of it */
    int (*allocate)(struct disk_file *f, uint64_t len);                                         /* grow to len, zero-filled */
    int (*truncate)(struct disk_file *f, uint64_t len);                                         /* cut to len */
    int (*sync)(struct disk_file *f);                                                           /* data and size durable */
    int (*size)(struct disk_file *f, uint64_t *ret_size);
    int (*rename)(struct disk *d, const char *from, const char *to); /* replaces; durable after sync_dir */
    int (*unlink)(struct disk *d, const char *name);
    int (*sync_dir)(struct disk *d);
    int (*space)(struct disk *d, uint64_t *ret_free); /* bytes that we may still use */
    /* Calls name_fn for every entry but . and .. in no order. */
    int (*list)(struct disk *d, void (*name_fn)(const char *name, void *arg), void *arg);
    void (*free)(struct disk *d);
};

enum { DISK_CREATE = 1, DISK_EXCLUSIVE = 2, DISK_READ_ONLY = 4 };

struct disk {
    const struct disk_ops *ops;
};

struct disk_file {
    const struct disk_ops *ops;
};

/* The disk is full, or our share of it: more room may come, and nothing that was stored is in doubt. */
bool disk_is_full(int error);

/*
 * The directory `path` of the real file system, made with mode 0700 if it is not there. Refused with ST_BAD_ARGUMENT
 * if it is a symbolic link, belongs to somebody else or is open to group or others; ST_IO with the errno's words.
 */
enum status disk_posix_open(const char *path, struct disk **ret_disk, struct error *ret_error) MUST_CHECK;

#endif
