/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, sizes of the file system, and what the kernel forgets. */
#include <errno.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/limits.h"
#include "fsd/fs.h"

#define DIR_MODE 0777 /* less the umask */
#define FILE_MODE 0666
#define BLOCK_BYTES 512 /* of st_blocks */
#define IO_BYTES 4096

/* ---- what a stat says ---- */

static bool is_written_through(const struct fs *fs, const struct ino *i)
{
    const struct file *f = state_file(fs, i);
    const struct fh *fh;

    if (f)
        TAILQ_FOREACH(fh, &f->handles, link)
            if (fh->ino == i)
                return true;
    return false;
}

/*
 * What was written here and is not committed counts: in the plain tree for everybody; below .linearizable/ only for who writes there
 * himself, and seeks by it.
 */
static uint64_t visible_size(const struct fs *fs, const struct ino *i)
{
    struct slice content;
    struct buf scratch = {0};
    bool local = i->view == VIEW_PLAIN || !i->linked || is_written_through(fs, i);
    uint64_t size = local && state_differs(fs, i, &scratch, &content) ? content.len : i->size;

    buf_fini(&scratch);
    return size;
}

void state_fill_attr(struct fs *fs, const struct ino *i, struct stat *ret_attr)
{
    bool dir = i->kind == INO_DIR;
    int64_t ns = i->mod_time_ns ? i->mod_time_ns : fs->mounted_ns;
    struct stat a = {0};

    a.st_ino = ino_stable_number(i);
    a.st_mode = (dir ? S_IFDIR | DIR_MODE : S_IFREG | FILE_MODE) & ~fs->options.umask;
    a.st_nlink = i->removed ? 0 : 1; /* also of directories: nobody counts what is in them */
    a.st_uid = fs->options.uid;
    a.st_gid = fs->options.gid;
    a.st_size = dir ? 0 : (off_t)visible_size(fs, i);
    a.st_blocks = (a.st_size + BLOCK_BYTES - 1) / BLOCK_BYTES;
    a.st_blksize = IO_BYTES;
    a.st_mtim = a.st_ctim = a.st_atim = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
    *ret_attr = a;
}

static void reply_attr(struct op *op)
{
    struct stat a;

    state_fill_attr(op->fs, op->ino, &a);
    fuse_reply_attr(op->req, &a, state_attr_timeout(op->fs, op->ino));
    op_end(op);
}

static void ask_attr(struct op *op);

static void on_attr(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r = op_range_answer(op, &st, answer);

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    if (op_is_behind(op, op->ino->view, r->header)) {
        ask_attr(op);
        return;
    }
    if (!r->n_kvs)
        state_absent(fs, op->ino->view, ino_key(op->ino), slice_of(NULL, 0), op->rev);
    else
        state_take(fs, op->ino, r->kvs[0], true, op->rev);
    /* The kernel looks the name up again. A handle goes on with what it has: that is said from here on. */
    if (op->ino->removed)
        op_fail(op, ESTALE);
    else
        reply_attr(op);
}

static void ask_attr(struct op *op)
{
    struct range_args a = {.key = ino_key(op->ino), .serializable = op->ino->view == VIEW_PLAIN && !op->linearizable};

    buf_clear(&op->request);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_attr);
}

void fs_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req, "stat");
    const struct file *f;

    (void)fi;
    if (!op)
        return;
    if (!i) {
        op_fail(op, ESTALE);
        return;
    }
    op_set_ino(op, i);
    f = state_file(fs, i);
    /* A retired file stays what its readers opened; one that is only here, or gone, is what we say. */
    if (i->kind == INO_DIR || i->known || !i->linked || (f && f->pending))
        reply_attr(op);
    else
        ask_attr(op);
}

/* ---- setting ---- */

static void on_resized(struct op *op, int error)
{
    if (error)
        op_fail(op, error);
    else
        reply_attr(op);
}

/*
 * Modes and owners are not kept yet: setting what is there already succeeds, anything else is refused rather than
 * forgotten. Times are those of commits: setting them is accepted and has no effect, as touch(1) and cp(1) expect no error.
 */
static int judge_attr(struct fs *fs, const struct ino *i, const struct stat *attr, int to_set)
{
    struct stat now;

    state_fill_attr(fs, i, &now);
    if ((to_set & FUSE_SET_ATTR_MODE) && (attr->st_mode & 07777) != (now.st_mode & 07777))
        return EPERM;
    if ((to_set & FUSE_SET_ATTR_UID) && attr->st_uid != now.st_uid)
        return EPERM;
    if ((to_set & FUSE_SET_ATTR_GID) && attr->st_gid != now.st_gid)
        return EPERM;
    if ((to_set & FUSE_SET_ATTR_SIZE) && i->kind == INO_DIR)
        return EISDIR;
    if ((to_set & FUSE_SET_ATTR_SIZE) && (attr->st_size < 0 || (uint64_t)attr->st_size > VALUE_BYTES_MAX))
        return EFBIG;
    return 0;
}

/* op->size: the new one. */
static void resize(struct op *op, struct fh *fh)
{
    struct fs *fs = op->fs;
    struct ino *i = op->ino;
    struct file *f = fh ? fh->file : state_file(fs, i);

    state_retire_readers(fs, i);
    if (!fh && !i->linked && !(f && f->gone)) {
        op_fail(op, ESTALE); /* by its name, which leads to another one by now */
        return;
    }
    if (f)
        file_ref(f);
    else
        f = file_get(&fs->table.files, ino_key(i));
    op->fh = fh;
    op_set_file(op, f);
    file_unref(&fs->table.files, f);
    publish_resize(op, op->size, on_resized);
}

void fs_setattr(fuse_req_t req, fuse_ino_t id, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req, "setattr");
    struct fh *fh = fi ? (struct fh *)(uintptr_t)fi->fh : NULL;
    struct file *f;
    int error;

    if (!op)
        return;
    error = i ? judge_attr(fs, i, attr, to_set) : ESTALE;
    if (error) {
        op_fail(op, error);
        return;
    }
    op_set_ino(op, i);
    f = state_file(fs, i);
    if (to_set & FUSE_SET_ATTR_SIZE) {
        op->size = (size_t)attr->st_size;
        resize(op, fh && fh->file ? fh : NULL);
    } else if (f && f->pending && !buf_len(&f->held)) {
        op_set_file(op, f); /* touch(1) of a new file is to hear whether it was made */
        publish(op, on_resized);
    } else {
        reply_attr(op);
    }
}

/* ---- statfs ---- */

#define QUOTA_DEFAULT_BYTES 2147483648u /* etcd's, which etcd before 3.6 does not tell */

static void on_status(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__StatusResponse *r = NULL;
    struct statvfs v = {.f_bsize = IO_BYTES, .f_frsize = IO_BYTES, .f_namemax = NAME_BYTES_MAX};
    uint64_t quota, used;

    if (st == ST_OK)
        r = etcdserverpb__status_response__unpack(&fs->arena.allocator, answer.len, answer.data);
    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    used = (uint64_t)(r->dbsizeinuse > 0 ? r->dbsizeinuse : r->dbsize);
    quota = r->dbsizequota > 0 ? (uint64_t)r->dbsizequota : QUOTA_DEFAULT_BYTES;
    if (quota < used)
        quota = used;
    v.f_blocks = quota / v.f_frsize;
    v.f_bfree = v.f_bavail = (quota - used) / v.f_frsize;
    v.f_files = op->number;
    fuse_reply_statfs(op->req, &v);
    op_end(op);
}

static void on_count(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__RangeResponse *r = op_range_answer(op, &st, answer);

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op->number = (uint64_t)r->count;
    buf_clear(&op->request);
    op_call(op, PATH_STATUS, true, on_status);
}

void fs_statfs(fuse_req_t req, fuse_ino_t id)
{
    struct fs *fs = fs_of(req);
    struct op *op = op_new(fs, req, "statfs");
    struct range_args a = {.serializable = true, .count_only = true};

    (void)id;
    if (!op)
        return;
    fs_root_range(fs, &a.key, &op->end);
    a.end = buf_slice(&op->end);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_count);
}

/* ---- forgetting ---- */

void fs_forget(fuse_req_t req, fuse_ino_t id, uint64_t count)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);

    if (i)
        ino_forget(&fs->table, i, count);
    fuse_reply_none(req);
}

void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct fs *fs = fs_of(req);

    for (size_t k = 0; k < count; k++) {
        struct ino *i = ino_by_id(&fs->table, forgets[k].ino);
        if (i)
            ino_forget(&fs->table, i, forgets[k].nlookup);
    }
    fuse_reply_none(req);
}
