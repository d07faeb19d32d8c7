/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, sizes of the file system, and what the kernel forgets. */
#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "fsd/fs.h"

static struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static void reply_attr(struct op *op, bool keep)
{
    struct stat a;

    state_fill_attr(op->fs, op->ino, &a);
    fuse_reply_attr(op->req, &a, keep ? CACHE_S : 0);
    op_end(op);
}

static void on_attr(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    int64_t rev;

    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    rev = state_see(fs, r->header);
    if (!r->n_kvs) {
        op_fail(op, ENOENT);
        return;
    }
    state_take(fs, op->ino, r->kvs[0], true, rev);
    reply_attr(op, op->ino->known);
}

void fs_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req);
    struct range_args a = {0};

    (void)fi;
    if (!op)
        return;
    if (!i) {
        op_fail(op, ESTALE);
        return;
    }
    op_set_ino(op, i);
    /* A retired file stays what its readers opened; one that is only here, or gone, is what we say. */
    if (i->kind == INO_DIR || i->known || i->pending || i->removed || i->retired) {
        reply_attr(op, i->view == VIEW_PLAIN && i->local_size < 0 && (i->kind == INO_DIR || i->known));
        return;
    }
    a.key = ino_key(i);
    a.serializable = i->view == VIEW_PLAIN;
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_attr);
}

/* ---- setting ---- */

static void on_resized(struct op *op, int error)
{
    if (error)
        op_fail(op, error);
    else
        reply_attr(op, op->ino->known);
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
    return 0;
}

void fs_setattr(fuse_req_t req, fuse_ino_t id, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req);
    int error;

    (void)fi;
    if (!op)
        return;
    error = i ? judge_attr(fs, i, attr, to_set) : ESTALE;
    if (error) {
        op_fail(op, error);
        return;
    }
    op_set_ino(op, i);
    if (!(to_set & FUSE_SET_ATTR_SIZE))
        reply_attr(op, i->view == VIEW_PLAIN && i->known && i->local_size < 0);
    else if (i->kind == INO_DIR)
        op_fail(op, EISDIR);
    else if (attr->st_size < 0 || attr->st_size > (off_t)REQUEST_BYTES_MAX)
        op_fail(op, EFBIG);
    else
        commit_resize(op, (uint64_t)attr->st_size, on_resized);
}

/* ---- statfs ---- */

static void on_status(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__StatusResponse *r =
        st == ST_OK ? etcdserverpb__status_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    struct statvfs v = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};
    uint64_t quota, used;

    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    used = (uint64_t)r->dbsizeinuse;
    quota = r->dbsizequota > 0 ? (uint64_t)r->dbsizequota : 2147483648u; /* etcd before 3.6 does not tell its default */
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
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;

    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    op->number = (uint64_t)r->count;
    buf_clear(&op->request);
    op_call(op, PATH_STATUS, true, on_status);
}

void fs_statfs(fuse_req_t req, fuse_ino_t id)
{
    struct fs *fs = fs_of(req);
    struct op *op = op_new(fs, req);
    struct range_args a = {.serializable = true, .count_only = true};
    static const uint8_t zero[1] = {0};

    (void)id;
    if (!op)
        return;
    ns_prefix_end(buf_slice(&fs->root), &op->end);
    a.key = buf_len(&fs->root) ? buf_slice(&fs->root) : slice_of(zero, 1);
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
