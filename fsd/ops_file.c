/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, reading and writing files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/mem.h"
#include "fsd/fs.h"

#define HOLD_MULTIPLE 4096 /* a write that ends at a multiple may be the middle of a stream */

static struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static struct fh *fh_of(const struct fuse_file_info *fi)
{
    return (struct fh *)(uintptr_t)fi->fh;
}

/* ---- handles ---- */

/* May this handle read through the page cache? Only where all pages the kernel can have are of the one revision it reads. */
static void choose_caching(struct fs *fs, struct fh *fh, struct fuse_file_info *fi)
{
    struct ino *i = fh->ino;
    bool others = i->cached_readers && i->page_rev != fh->rev;

    (void)fs;
    fi->direct_io = fh->writable || i->view != VIEW_PLAIN || i->retired || i->removed || others;
    if (fi->direct_io)
        return;
    fi->keep_cache = i->known && i->page_rev == fh->rev;
    fi->noflush = 1; /* nothing can be held in a handle that does not write */
    i->page_rev = fh->rev;
    i->cached_readers++;
    fh->cached = true;
}

struct fh *fh_open(struct fs *fs, struct ino *i, struct fuse_file_info *fi)
{
    struct fh *fh = mem_zero(sizeof *fh);
    int mode = fi->flags & O_ACCMODE;

    ino_hold(i);
    fh->ino = i;
    fh->readable = mode != O_WRONLY;
    fh->writable = mode != O_RDONLY;
    fh->append = fi->flags & O_APPEND;
    fh->sync = fi->flags & (O_SYNC | O_DSYNC);
    fh->truncate = (fi->flags & O_TRUNC) && fh->writable && !i->pending;
    fh->rev = i->mod_rev;
    fh->value = blob_ref(fh->truncate ? NULL : i->value);
    if (fh->truncate)
        i->local_size = 0; /* here it reads as empty at once, as programs expect */
    choose_caching(fs, fh, fi);
    fi->fh = (uintptr_t)fh;
    return fh;
}

void fh_close(struct fs *fs, struct fh *fh)
{
    if (fh->cached)
        fh->ino->cached_readers--;
    blob_unref(fh->value);
    buf_fini(&fh->held);
    ino_release(&fs->table, fh->ino);
    free(fh);
}

static void reply_open(struct op *op)
{
    struct fh *fh = fh_open(op->fs, op->ino, &op->fi);

    if (fuse_reply_open(op->req, &op->fi) < 0)
        fh_close(op->fs, fh); /* the caller was interrupted: no release will come */
    op_end(op);
}

void op_reply_create(struct op *op, struct ino *i)
{
    struct fuse_entry_param e = {.ino = i->id};
    struct fh *fh = fh_open(op->fs, i, &op->fi);

    state_fill_attr(op->fs, i, &e.attr);
    if (i->known && i->local_size < 0)
        e.attr_timeout = e.entry_timeout = CACHE_S;
    i->lookups++;
    if (fuse_reply_create(op->req, &e, &op->fi) < 0) {
        fh_close(op->fs, fh);
        ino_forget(&op->fs->table, i, 1);
    }
    op_end(op);
}

/* ---- open ---- */

static void on_value(struct op *op, enum status st, struct slice answer);

static void fetch_value(struct op *op)
{
    bool plain = op->ino->view == VIEW_PLAIN && !op->linearizable;
    struct range_args a = {.key = ino_key(op->ino), .serializable = plain};

    buf_clear(&op->request);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_value);
}

static void on_value(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;

    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    op->rev = r->header ? r->header->revision : 0;
    if (op->ino->view == VIEW_PLAIN && op->rev < fs->seen_rev && op->attempts++ < 3) {
        op->linearizable = true;
        fetch_value(op);
        return;
    }
    state_see(fs, r->header);
    if (!r->n_kvs) {
        op_fail(op, op->ino->pending ? EAGAIN : ENOENT);
        return;
    }
    state_take(fs, op->ino, r->kvs[0], true, op->rev);
    reply_open(op);
}

void fs_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req);
    bool truncates = (fi->flags & O_TRUNC) && (fi->flags & O_ACCMODE) != O_RDONLY;

    if (!op)
        return;
    if (!i || i->kind != INO_FILE) {
        op_fail(op, i ? EISDIR : ESTALE);
        return;
    }
    op_set_ino(op, i);
    op->fi = *fi;
    /* What is here needs no question: a file not in the store yet, one that is to be replaced, one that the watch keeps true, and
     * one that is gone but lives on in handles. */
    if (i->pending || i->removed || (i->known && (i->value || truncates)))
        reply_open(op);
    else
        fetch_value(op);
}

/* ---- read ---- */

/* The value as this handle sees it: with what it holds back. */
static struct slice visible_value(struct fh *fh, struct buf *scratch)
{
    struct slice base = blob_slice(fh->value);
    struct reader r = reader_of(buf_slice(&fh->held));

    if (!buf_len(&fh->held))
        return base;
    buf_clear(scratch);
    buf_append_slice(scratch, base);
    while (reader_left(&r)) {
        uint64_t off = read_le64(&r), len = read_le64(&r);
        const uint8_t *data = read_bytes(&r, len);
        if (off + len > buf_len(scratch)) {
            size_t more = off + len - buf_len(scratch);
            memset(buf_reserve(scratch, more), 0, more);
            buf_commit(scratch, more);
        }
        memcpy(scratch->data + scratch->start + off, data, len);
    }
    return buf_slice(scratch);
}

void fs_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fh *fh = fh_of(fi);
    struct buf scratch = {0};
    struct slice value = visible_value(fh, &scratch);

    (void)id;
    /* Pages of another revision than the newest: nobody may take them for it. */
    if (fh->cached && fh->rev != fh->ino->mod_rev && !fh->ino->retired)
        fh->ino->page_rev = 0;
    if ((uint64_t)off >= value.len)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, (const char *)value.data + off, size < value.len - (size_t)off ? size : value.len - (size_t)off);
    buf_fini(&scratch);
}

/* ---- write ---- */

static void hold(struct fh *fh, uint64_t off, const char *data, size_t size)
{
    uint8_t *p = buf_reserve(&fh->held, 16 + size);
    struct ino *i = fh->ino;
    uint64_t now = i->local_size >= 0 ? (uint64_t)i->local_size : i->size;

    put_bytes(put_le64(put_le64(p, off), size), data, size);
    buf_commit(&fh->held, 16 + size);
    if (off + size > fh->held_end)
        fh->held_end = off + size;
    if (off + size > now)
        i->local_size = (int64_t)(off + size);
}

static void on_write_committed(struct op *op, int error)
{
    if (error) {
        op_fail(op, error);
        return;
    }
    fuse_reply_write(op->req, (size_t)op->number);
    op_end(op);
}

/* Must it be in the store when write(2) returns? */
static bool commits_now(const struct fs *fs, const struct fh *fh, uint64_t end)
{
    if (fh->append || fh->sync)
        return true;
    if (fs->options.commit == COMMIT_CLOSE)
        return false;
    return fs->options.commit == COMMIT_WRITE || end % HOLD_MULTIPLE != 0;
}

void fs_write(fuse_req_t req, fuse_ino_t id, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    uint64_t end = (uint64_t)off + size;
    struct op *op;

    (void)id;
    if (end > REQUEST_BYTES_MAX || buf_len(&fh->held) + size > 2 * REQUEST_BYTES_MAX) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    if (!commits_now(fs, fh, end)) {
        hold(fh, (uint64_t)off, data, size);
        fuse_reply_write(req, size);
        return;
    }
    op = op_new(fs, req);
    if (!op)
        return;
    hold(fh, (uint64_t)off, data, size);
    op->fh = fh;
    op->number = size;
    op_set_ino(op, fh->ino);
    commit_handle(op, on_write_committed);
}

/* ---- the end of a handle ---- */

static void on_synced(struct op *op, int error)
{
    op_fail(op, error);
}

/* A flush comes for every close(2) of a copy of the descriptor, also before the first write: what was held is committed, a
 * truncation alone is not. */
void fs_flush(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    struct op *op;

    (void)id;
    if (!buf_len(&fh->held)) {
        fuse_reply_err(req, 0);
        return;
    }
    op = op_new(fs, req);
    if (!op)
        return;
    op->fh = fh;
    op_set_ino(op, fh->ino);
    commit_handle(op, on_synced);
}

static bool has_uncommitted(const struct fh *fh)
{
    return buf_len(&fh->held) || fh->truncate || (fh->ino->pending && fh->writable);
}

void fs_fsync(fuse_req_t req, fuse_ino_t id, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    struct op *op;

    (void)id;
    (void)datasync;
    if (!has_uncommitted(fh)) {
        fuse_reply_err(req, 0); /* a write(2) that returned is in the store */
        return;
    }
    op = op_new(fs, req);
    if (!op)
        return;
    op->fh = fh;
    op_set_ino(op, fh->ino);
    commit_handle(op, on_synced);
}

static void on_released(struct op *op, int error)
{
    struct fh *fh = op->fh;
    struct fs *fs = op->fs;

    op->fh = NULL;
    op_fail(op, error);
    fh_close(fs, fh);
}

void fs_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    struct op *op;

    (void)id;
    if (!has_uncommitted(fh) || !(op = op_new(fs, NULL))) {
        fh_close(fs, fh);
        fuse_reply_err(req, 0);
        return;
    }
    op->req = req; /* nobody waits for it, but `sync` and umount(8) do */
    op->fh = fh;
    op_set_ino(op, fh->ino);
    commit_handle(op, on_released);
}
