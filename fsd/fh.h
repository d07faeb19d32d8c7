/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open handles, and what those that write share: a file. A handle reads one revision, its value; what it writes is held until the
 * commit policy (commit.h) says that it becomes a transaction. A file stands for its key while somebody here has it open for
 * writing or works on its name; it goes with its last reference.
 *
 * Pure: nothing here asks the store or the kernel.
 */
#ifndef FSD_FH_H
#define FSD_FH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "common/buf.h"
#include "common/limits.h"
#include "common/slice.h"

#define VALUE_BYTES_MAX (64u << 20)        /* of a value that is written here: EFBIG beyond, whatever the server takes */
#define HELD_BYTES_MAX (4u * REQUEST_BYTES_MAX) /* uncommitted in one handle, overwritten or not; beyond, it is committed */

/* Bytes of a value, shared by an inode and its open handles. */
struct blob {
    uint32_t refs;
    uint32_t len;
    uint8_t data[];
};
struct blob *blob_new(struct slice bytes); /* one reference */
struct blob *blob_ref(struct blob *b);     /* NULL is fine */
void blob_unref(struct blob *b);           /* NULL is fine */
struct slice blob_slice(const struct blob *b); /* of NULL: empty */

struct ino;
struct op;
struct fh;
TAILQ_HEAD(op_list, op);
TAILQ_HEAD(fh_list, fh);

struct file {
    uint32_t refs;
    bool linked;            /* its key leads here */
    bool gone;              /* removed on this mount: its handles go on with a file of their own */
    bool pending;           /* made here, not in the store yet */
    bool asked;             /* a commit of a pending one was sent: it may be there all the same */
    struct blob *own;       /* gone: what the handles share; NULL: each has its own */
    struct op *busy;        /* works on the key: the others wait */
    struct op_list waiters;
    struct fh_list handles; /* that write; who wrote last is last */
    UT_hash_handle by_key;
    size_t key_len;
    uint8_t *key;
};

struct file_table {
    struct file *files;
};

/* Found or made; one more reference. */
struct file *file_get(struct file_table *t, struct slice key);
struct file *file_find(struct file_table *t, struct slice key); /* or NULL; no reference */
void file_ref(struct file *f);
void file_unref(struct file_table *t, struct file *f); /* NULL is fine */
/* The key no longer leads here; handles may go on. */
void file_unlink(struct file_table *t, struct file *f);
/* A rename: nobody else may stand for that key. */
void file_set_key(struct file_table *t, struct file *f, struct slice key);
static inline struct slice file_key(const struct file *f)
{
    return slice_of(f->key, f->key_len);
}

struct fh {
    struct ino *ino;
    struct file *file;  /* of those that write; else NULL */
    struct blob *value; /* what reads give: one revision */
    int64_t rev;        /* of value */
    int64_t create_rev; /* of the file that was opened; 0: pending */
    bool writable, append, sync;
    bool cached;        /* reads go through the page cache: counted in ino->cached_readers */
    bool truncate;      /* opened with O_TRUNC, not committed yet */
    bool failed;        /* a commit failed: what it promised is not kept behind its caller's back */
    struct buf held;    /* writes that wait: 8 offset, 8 length, data, ... */
    TAILQ_ENTRY(fh) link;
};

/* Keep a write for later. */
void fh_hold(struct fh *fh, uint64_t offset, struct slice data);
/* Forget the last one, of len bytes: it was refused. */
void fh_drop_last(struct fh *fh, size_t len);
bool fh_is_dirty(const struct fh *fh);
/* What the handle reads: its value, with what it holds back. scratch: room for it, if it has to be made. */
struct slice fh_visible(const struct fh *fh, struct buf *scratch);
/* The handle of this file that was written last and has something that is not in the store; or NULL. */
const struct fh *file_dirty(const struct file *f);
/* Data at an offset of a value; a hole before it reads as zeros. */
void fh_put(struct buf *value, uint64_t offset, struct slice data);

#endif
