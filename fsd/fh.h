/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open handles, and what those that write share: a file. A handle reads one revision, its value. What is written is held in the
 * file, in order, until the commit policy (commit.h) says that it becomes a transaction, whoever wrote it: so all who write here
 * see one content, and nobody's older write lands over a newer one. A file stands for its key while somebody here has it
 * open for writing or works on its name; it goes with its last reference.
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
#define HELD_BYTES_MAX (4u * REQUEST_BYTES_MAX) /* uncommitted of one file, overwritten or not; beyond, it is committed */

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
    bool truncate;          /* opened with O_TRUNC, not committed yet */
    int64_t create_rev;     /* of the file that the handles opened; 0: pending */
    struct buf held;        /* writes that wait: 8 offset, 8 length, data, ... */
    struct blob *coming;    /* what a commit under way makes of it */
    struct blob *own;       /* gone: what the handles share; NULL: what they opened */
    struct op *busy;        /* works on the key: the others wait */
    struct op_list waiters;
    struct fh_list handles; /* that write */
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

/* Writes of a handle: in file->held; in a commit under way. */
enum { FH_HELD = 1, FH_FLYING = 2 };

struct fh {
    struct ino *ino;
    struct file *file;  /* of those that write; else NULL */
    struct blob *value; /* what reads give: one revision; of those that write: the newest committed here */
    int64_t rev;        /* of value */
    bool writable, append, sync;
    bool cached;        /* reads go through the page cache: counted in ino->cached_readers */
    bool truncates;     /* opened with O_TRUNC: sees to it that file->truncate is committed */
    bool failed;        /* a commit failed: what it promised is not kept behind its caller's back */
    unsigned wrote;     /* FH_* */
    int error;          /* what it wrote was lost in somebody else's commit: to be told */
    TAILQ_ENTRY(fh) link;
};

/* Keep a write for later. OFFSET_END: at the end, wherever that is by then. */
#define OFFSET_END UINT64_MAX
void file_hold(struct fh *fh, uint64_t offset, struct slice data);
/* Forget the last one, of len bytes: it was refused. */
void file_drop_last(struct file *f, size_t len);
/* A truncation: what was held before it does not matter any more. */
void file_truncate(struct fh *fh);
/* It is in the store: no handle that is open by now has to see to it any more, nor to one that comes later. */
void file_truncated(struct file *f);
/* Has it a content that is not in the store, or not there yet? */
bool file_differs(const struct file *f);
/* Its content as this mount sees it; base: the newest committed. scratch: room for it, if it has to be made. */
struct slice file_visible(const struct file *f, struct slice base, struct buf *scratch);
struct slice fh_visible(const struct fh *fh, struct buf *scratch);
/* What is held goes on its way into *ret_writes, empty before; its end, an errno or 0, is told to the handles, but for by. */
void file_take_held(struct file *f, struct buf *ret_writes);
void file_settle(struct file *f, const struct fh *by, int error);
/* Data at an offset of a value; a hole before it reads as zeros. */
void fh_put(struct buf *value, uint64_t offset, struct slice data);

#endif
