/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel knows: inodes, by number and by (view, kind, key), with the state of their keys as far as it is known. The
 * table owns inodes while the kernel counts look-ups of them, a handle has them open, or an operation holds them.
 *
 * A file whose key changes elsewhere while somebody reads it through the page cache is retired: its number keeps the old value for
 * those handles, and the name gets a new number at the next look-up.
 */
#ifndef FSD_INO_H
#define FSD_INO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "common/slice.h"
#include "fsd/fh.h"

enum ino_view { VIEW_PLAIN, VIEW_LINEARIZABLE };
enum ino_kind { INO_FILE, INO_DIR };

#define INO_ROOT 1 /* FUSE_ROOT_ID */

struct ino {
    uint64_t id;
    enum ino_view view;
    enum ino_kind kind;
    uint64_t lookups;     /* the kernel's count */
    uint32_t holds;       /* handles and operations */
    bool linked;          /* in the table by key */
    bool retired;         /* stays what its readers opened; the name has another number */
    bool removed;         /* the name is gone */
    struct file *file;    /* what handles have done to it, once one wrote; counted */
    /* a file's state */
    bool known;           /* the fields below are what the watch keeps true; a directory: it is there */
    int64_t create_rev, mod_rev, version, lease;
    int64_t create_time_ns, mod_time_ns;
    uint64_t size;
    struct blob *value;   /* of mod_rev, or NULL: not here */
    /* what the kernel has cached of it */
    uint32_t cached_readers; /* open handles that read through the page cache */
    int64_t readers_rev;  /* the one revision of all of them */
    int64_t page_rev;     /* of the pages that the kernel holds; 0: of an older one, or unknown */
    bool marked;          /* a directory: it has a marker, so it does not go with its last key */
    bool listing_kept;    /* a directory: the kernel's listing is what the watch keeps true */
    uint64_t notice;      /* the last one about it: until it is delivered, the kernel may believe an older size */
    int32_t refused_pid;  /* an open of a retired one was sent back to look the name up again */
    UT_hash_handle by_id;
    UT_hash_handle by_key;
    TAILQ_ENTRY(ino) lru; /* those with a value */
    bool in_lru;
    size_t tag_len;       /* view, kind, key */
    uint8_t *tag;
};

static inline struct slice ino_key(const struct ino *i)
{
    return slice_of(i->tag + 2, i->tag_len - 2);
}

struct ino_table {
    struct file_table files;
    struct ino *ids, *keys;
    uint64_t next_id;
    TAILQ_HEAD(, ino) lru; /* least recently used first */
    uint64_t value_bytes, value_bytes_max;
};

/* root_key: the mount's prefix. The root is there for good. */
void ino_table_init(struct ino_table *t, struct slice root_key, uint64_t value_bytes_max);
void ino_table_fini(struct ino_table *t);
struct ino *ino_by_id(struct ino_table *t, uint64_t id);
struct ino *ino_find(struct ino_table *t, enum ino_view view, enum ino_kind kind, struct slice key); /* or NULL */
struct ino *ino_get(struct ino_table *t, enum ino_view view, enum ino_kind kind, struct slice key);  /* found or made */

void ino_hold(struct ino *i);
void ino_release(struct ino_table *t, struct ino *i);
void ino_forget(struct ino_table *t, struct ino *i, uint64_t lookups);
/* The name no longer leads here; handles may still. */
void ino_unlink(struct ino_table *t, struct ino *i);

/* It has another key now (a rename): the kernel's number goes with it. Nobody else may stand for that key. */
void ino_set_key(struct ino_table *t, struct ino *i, struct slice key);

/* Takes a reference of b (or NULL). Old values of others are let go beyond the bound. */
void ino_set_value(struct ino_table *t, struct ino *i, struct blob *b);
/* Its value was used. */
void ino_touch(struct ino_table *t, struct ino *i);

/* st_ino: the same on every mount, another one for the linearizable twin. create_rev: 0 for directories. */
uint64_t ino_number(enum ino_view view, enum ino_kind kind, struct slice key, int64_t create_rev);
uint64_t ino_stable_number(const struct ino *i);

#endif
