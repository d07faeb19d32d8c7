/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, reading and writing files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/mem.h"
#include "fsd/fs.h"

static struct fh *fh_of(const struct fuse_file_info *fi)
{
    return (struct fh *)(uintptr_t)fi->fh;
}

static bool is_writable(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

/* ---- handles ---- */

/* Below .linearizable/ only what is committed is read: the others do not see what is written here and may never be in the store. */
static bool asks_the_cluster(const struct ino *i)
{
    return i->view == VIEW_LINEARIZABLE && i->linked;
}

static bool has_writers(const struct fs *fs, const struct ino *i)
{
    const struct file *f = state_file(fs, i);

    return f && !TAILQ_EMPTY(&f->handles);
}

/*
 * May this handle read through the page cache? Only where all pages the kernel can have, and the size it believes, are of the one
 * revision that the handle reads.
 */
static void choose_caching(struct fs *fs, struct fh *fh, struct fuse_file_info *fi)
{
    struct ino *i = fh->ino;

    fi->noflush = !fh->writable; /* nothing is held in a handle that does not write */
    fi->direct_io = fh->writable || i->view != VIEW_PLAIN || !i->linked || !i->known || fh->value != i->value ||
                    has_writers(fs, i) || !state_is_told(fs, i) || (i->cached_readers && i->readers_rev != fh->rev);
    if (fi->direct_io)
        return;
    fi->keep_cache = i->page_rev == fh->rev;
    i->readers_rev = fh->rev;
    i->cached_readers++;
    fh->cached = true;
}

/* The file that a handle on this inode writes to. */
static struct file *file_to_join(struct fs *fs, struct ino *i)
{
    struct file_table *t = &fs->table.files;
    struct file *f = i->file;

    if (f)
        return f;
    f = file_find(t, ino_key(i));
    /* Handles of one that was removed elsewhere, and made anew, share nothing with the new one. */
    if (f && !TAILQ_EMPTY(&f->handles) && !f->pending && f->create_rev != i->create_rev)
        file_unlink(t, f);
    i->file = file_get(t, ino_key(i));
    return i->file;
}

static void join_file(struct fs *fs, struct fh *fh, bool truncate)
{
    struct ino *i = fh->ino;
    struct file *f = file_to_join(fs, i);

    fh->file = f;
    file_ref(f);
    if (!f->pending && TAILQ_EMPTY(&f->handles))
        f->create_rev = i->create_rev;
    TAILQ_INSERT_TAIL(&f->handles, fh, link);
    if (truncate)
        file_truncate(fh);
    state_twin_changed(fs, i);
}

static struct fh *fh_open(struct fs *fs, struct ino *i, struct fuse_file_info *fi)
{
    struct fh *fh = mem_zero(sizeof *fh);
    struct slice content;
    struct buf scratch = {0};

    ino_hold(i);
    fh->ino = i;
    fh->writable = is_writable(fi->flags);
    fh->append = fi->flags & O_APPEND;
    fh->sync = fi->flags & (O_SYNC | O_DSYNC);
    fh->rev = i->mod_rev;
    if (!fh->writable && !asks_the_cluster(i) && state_differs(fs, i, &scratch, &content)) /* what was written here is read here */
        fh->value = blob_new(content);
    else
        fh->value = blob_ref(i->value);
    buf_fini(&scratch);
    choose_caching(fs, fh, fi);
    if (fh->writable)
        join_file(fs, fh, fi->flags & O_TRUNC);
    else
        TAILQ_INSERT_TAIL(&fs->readers, fh, link);
    fi->fh = (uintptr_t)fh;
    return fh;
}

/* The last handle of a file that never got into the store: it goes, as its creation failed or was not wanted. */
static void drop_pending(struct fs *fs, struct file *f)
{
    struct buf key = {0};

    buf_append_slice(&key, file_key(f));
    state_removed(fs, buf_slice(&key));
    state_name_changed(fs, buf_slice(&key));
    f->pending = false;
    file_unlink(&fs->table.files, f);
    buf_fini(&key);
}

static void leave_file(struct fs *fs, struct fh *fh)
{
    struct file *f = fh->file;
    const struct fh *other;
    bool differed = file_differs(f), truncated = f->truncate;

    TAILQ_REMOVE(&f->handles, fh, link);
    if (fh->truncates) { /* it could not be committed, or it was */
        f->truncate = false;
        TAILQ_FOREACH(other, &f->handles, link)
            f->truncate = f->truncate || (other->truncates && truncated);
    }
    if (TAILQ_EMPTY(&f->handles) && f->pending)
        drop_pending(fs, f);
    if (differed)
        state_content_changed(fs, file_key(f)); /* what could not be committed is not there */
    if (TAILQ_EMPTY(&f->handles) && !f->gone)
        state_leave_file(fs, f);
    file_unref(&fs->table.files, f);
}

static void fh_close(struct fs *fs, struct fh *fh)
{
    if (fh->cached)
        fh->ino->cached_readers--;
    if (fh->file)
        leave_file(fs, fh);
    else
        TAILQ_REMOVE(&fs->readers, fh, link);
    blob_unref(fh->value);
    ino_release(&fs->table, fh->ino);
    free(fh);
}

/* ---- open ---- */

static void reply_open(struct op *op)
{
    struct fs *fs = op->fs;
    struct ino *i = op->ino;
    struct fuse_entry_param e = {.ino = i->id};
    struct fh *fh = fh_open(fs, i, &op->fi);
    int failed;

    if (op->wants_handle) {
        state_fill_attr(fs, i, &e.attr);
        if (i->known && op_is_fresh(op))
            e.entry_timeout = fs_entry_timeout(fs, i);
        fs_count_lookup(fs, i);
        failed = fuse_reply_create(op->req, &e, &op->fi);
        if (failed)
            i->lookups--;
    } else {
        failed = fuse_reply_open(op->req, &op->fi);
    }
    if (failed)
        fh_close(fs, fh); /* the caller was interrupted: no release will come */
    op_end(op);
}

/*
 * The name has another number by now: sent back with ESTALE, the kernel looks it up again. Whoever comes back with the same
 * number has no name (/proc/self/fd) and gets what is here.
 */
static bool is_sent_back(struct op *op)
{
    struct ino *i = op->ino;
    int32_t pid = op_pid(op);
    bool has_value = i->value || (i->file && i->file->own);

    if (i->linked)
        return false;
    if (i->refused_pid == pid && has_value && (i->file || i->retired || !is_writable(op->fi.flags)))
        return false;
    i->refused_pid = pid;
    return true;
}

static void on_value(struct op *op, enum status st, struct slice answer);

static void fetch_value(struct op *op)
{
    bool local = op->ino->view == VIEW_PLAIN && !op->linearizable;
    struct range_args a = {.key = ino_key(op->ino), .serializable = local};

    buf_clear(&op->request);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_value);
}

static void on_value(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r = op_range_answer(op, &st, answer);
    struct ino *now;

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    if (op_is_behind(op, op->ino->view, r->header)) {
        fetch_value(op);
        return;
    }
    if (!r->n_kvs) {
        state_absent(fs, op->ino->view, ino_key(op->ino), slice_of(NULL, 0), op->rev);
        op_fail(op, ESTALE); /* the kernel looks the name up again: O_CREAT makes it anew, others get ENOENT */
        return;
    }
    now = state_take(fs, op->ino, r->kvs[0], true, op->rev);
    if (now != op->ino && !op->wants_handle) {
        op_fail(op, ESTALE);
        return;
    }
    op_set_ino(op, now);
    op_open(op, true);
}

static void open_in_turn(struct op *op)
{
    op_open(op, false);
}

void op_open(struct op *op, bool just_read)
{
    struct fs *fs = op->fs;
    struct ino *i = op->ino;
    bool writes = is_writable(op->fi.flags);
    struct file *f;

    if (writes)
        state_retire_readers(fs, i);
    if (!i->linked && op->wants_handle) {
        op_set_ino(op, ino_get(&fs->table, i->view, INO_FILE, buf_slice(&op->key)));
        i = op->ino;
    } else if (is_sent_back(op)) {
        op_fail(op, ESTALE);
        return;
    }
    f = state_file(fs, i);
    if (writes && f && f->busy && f->busy != op) {
        op_take_turn(op, f, open_in_turn); /* what is being committed is what it opens */
        return;
    }
    /* What is here needs no question: a file not in the store yet, one that was written here and not committed, one that the watch
     * keeps true, and one that has no name but lives on in handles. */
    if (!writes && asks_the_cluster(i))
        f = NULL;
    if ((f && (f->pending || f->gone || (file_differs(f) && !writes))) || !i->linked ||
        (i->known && writes && (op->fi.flags & O_TRUNC)) || (i->value && (i->known || just_read)))
        reply_open(op);
    else
        fetch_value(op);
}

void fs_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req, "open");

    if (!op)
        return;
    if (!i || i->kind != INO_FILE) {
        op_fail(op, i ? EISDIR : ESTALE);
        return;
    }
    op_set_ino(op, i);
    op->fi = *fi;
    op_open(op, false);
}

/* ---- read ---- */

void fs_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fh *fh = fh_of(fi);
    struct buf scratch = {0};
    struct slice value = fh_visible(fh, &scratch);
    size_t left = (uint64_t)off < value.len ? value.len - (size_t)off : 0;

    (void)id;
    ino_touch(&fs_of(req)->table, fh->ino);
    /* Who reads has been opened: the kernel has dropped by now what it had of older revisions. */
    if (fh->cached && fh->ino->linked && fh->rev == fh->ino->mod_rev)
        fh->ino->page_rev = fh->rev;
    fuse_reply_buf(req, left ? (const char *)value.data + off : NULL, size < left ? size : left);
    buf_fini(&scratch);
}

/* ---- write ---- */

static struct op *op_on_handle(fuse_req_t req, struct fh *fh, const char *what)
{
    struct op *op = op_new(fs_of(req), req, what);

    if (!op)
        return NULL;
    op->fh = fh;
    op_set_ino(op, fh->ino);
    op_set_file(op, fh->file);
    return op;
}

static void on_written(struct op *op, int error)
{
    if (error) {
        op_fail(op, error);
        return;
    }
    fuse_reply_write(op->req, op->size);
    op_end(op);
}

void fs_write(fuse_req_t req, fuse_ino_t id, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    uint64_t end = (uint64_t)off + size;
    struct op *op;

    (void)id;
    fh->append = fi->flags & O_APPEND; /* fcntl(2) may have changed it */
    if (end > VALUE_BYTES_MAX && !fh->append) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    file_hold(fh, fh->append ? OFFSET_END : (uint64_t)off, slice_of(data, size));
    if (!commit_is_due(fs->options.commit, AT_WRITE, fh, end)) {
        state_twin_changed(fs, fh->ino);
        fuse_reply_write(req, size);
        return;
    }
    op = op_on_handle(req, fh, "write");
    if (!op) {
        file_drop_last(fh->file, size);
        return;
    }
    op->size = size;
    publish(op, on_written);
}

/* ---- the end of a handle ---- */

static void on_synced(struct op *op, int error)
{
    op_fail(op, error);
}

static void sync_handle(fuse_req_t req, struct fuse_file_info *fi, enum commit_moment at, const char *what)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    struct op *op;

    if (!fh->file) {
        fuse_reply_err(req, 0);
    } else if (!commit_is_due(fs->options.commit, at, fh, 0)) {
        fuse_reply_err(req, fh->error);
        fh->error = 0;
    } else if ((op = op_on_handle(req, fh, what))) {
        publish(op, on_synced);
    }
}

/*
 * A flush comes for every close(2) of a copy of the descriptor, also before the first write: what was held is committed, a
 * truncation alone is not.
 */
void fs_flush(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    (void)id;
    sync_handle(req, fi, AT_FLUSH, "close");
}

void fs_fsync(fuse_req_t req, fuse_ino_t id, int datasync, struct fuse_file_info *fi)
{
    (void)id;
    (void)datasync;
    sync_handle(req, fi, AT_FSYNC, "fsync");
}

/* However it ended, nobody has the handle any more. */
static void on_released(struct op *op, int error)
{
    struct fh *fh = op->fh;

    op->fh = NULL;
    fh_close(op->fs, fh);
    op_fail(op, error);
}

static void release_in_turn(struct op *op)
{
    if (commit_is_due(op->fs->options.commit, AT_RELEASE, op->fh, 0))
        publish(op, on_released);
    else
        on_released(op, 0);
}

/* Released while its turn did not come, or while its commit was under way: the handle goes all the same. */
static void close_abandoned(struct op *op)
{
    if (op->fh)
        fh_close(op->fs, op->fh);
    op->fh = NULL;
}

void fs_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fh *fh = fh_of(fi);
    struct op *op;

    (void)id;
    if (!fh->file) {
        fh_close(fs, fh);
        fuse_reply_err(req, 0);
        return;
    }
    fuse_reply_err(req, 0); /* nobody hears of an error here */
    op = op_new(fs, NULL, "release");
    op->fh = fh;
    op->on_end = close_abandoned;
    op_set_ino(op, fh->ino);
    op_set_file(op, fh->file);
    op_take_turn(op, fh->file, release_in_turn);
}

/* ---- files without a name ---- */

void fs_file_gone(struct fs *fs, struct file *f)
{
    const struct fh *any = TAILQ_FIRST(&f->handles);

    f->gone = true;
    f->pending = false;
    if (any) {
        blob_unref(f->own);
        f->own = blob_ref(any->value); /* what is held comes on top of it */
    }
    file_unlink(&fs->table.files, f);
}

/* ---- the mount ends ---- */

static void on_committed(struct op *op, int error)
{
    op_fail(op, error);
}

void fs_commit_rest(struct fs *fs)
{
    struct file *f, *next;
    struct fh *fh;

    HASH_ITER(by_key, fs->table.files.files, f, next)
    {
        TAILQ_FOREACH(fh, &f->handles, link)
        {
            struct op *op;
            if (!commit_is_due(fs->options.commit, AT_RELEASE, fh, 0))
                continue;
            op = op_new(fs, NULL, "unmount");
            op->fh = fh;
            op_set_ino(op, fh->ino);
            op_set_file(op, f);
            publish(op, on_committed);
        }
    }
    while (!TAILQ_EMPTY(&fs->ops))
        loop_run_once(fs->loop, -1);
}

void fs_close_handles(struct fs *fs)
{
    struct file *f, *next;
    struct fh *fh;

    while ((fh = TAILQ_FIRST(&fs->readers)))
        fh_close(fs, fh);
    HASH_ITER(by_key, fs->table.files.files, f, next)
    {
        file_ref(f);
        while ((fh = TAILQ_FIRST(&f->handles)))
            fh_close(fs, fh);
        file_unref(&fs->table.files, f);
    }
}
