/* SPDX-License-Identifier: Apache-2.0 */
/* Making directories and files. Modes are not kept yet: a creating mode is left out, as file systems without modes do. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fsd/fs.h"

/* ---- directories ---- */

static void make_dir(struct op *op);

static void on_dir_made(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    struct ino *dir;

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (!r->succeeded && op_is_marker(op) && !op->attempts++) {
        make_dir(op);
        return;
    }
    if (!r->succeeded) {
        op_fail(op, EEXIST);
        return;
    }
    dir = ino_get(&fs->table, op->parent->view, INO_DIR, buf_slice(&op->end));
    op_set_ino(op, dir);
    dir->known = dir->marked = state_is_fresh(fs, dir->view, buf_slice(&op->end), op->rev);
    op_reply_entry(op, dir, dir->known);
}

/* Exactly one caller in the cluster wins: the transaction holds only if nothing stands there, file or directory. */
static void make_dir(struct op *op)
{
    if (op->file->pending) {
        op_fail(op, EEXIST);
        return;
    }
    buf_clear(&op->request);
    ns_prefix_end(buf_slice(&op->end), &op->key2);
    if (buf_len(&op->key))
        op_if_no_file(op);
    txn_if_create(&op->request, buf_slice(&op->end), buf_slice(&op->key2), 0);
    txn_put(&op->request, TXN_THEN, buf_slice(&op->end), slice_of(NULL, 0), 0);
    op_call(op, PATH_TXN, false, on_dir_made);
}

static void make_dir_in_turn(struct op *op)
{
    if (!buf_len(&op->end))
        op_fail(op, EINVAL); /* %value is never a directory */
    else
        op_take_name(op, make_dir);
}

void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct op *op = op_in_directory(req, parent, "mkdir");

    (void)mode;
    if (op)
        op_resolve(op, op->parent, name, make_dir_in_turn);
}

/* ---- files ---- */

static void reply_made(struct op *op)
{
    if (op->wants_handle)
        op_open(op, true);
    else
        op_reply_entry(op, op->ino, op->ino->known);
}

static void make_file(struct op *op);

static void on_file_made(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    const Mvccpb__KeyValue *kv;
    struct blob *empty;

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (!r->succeeded && op_is_marker(op) && !op->attempts++) {
        make_file(op);
        return;
    }
    kv = r->succeeded ? txn_kv(r, 1) : NULL;
    if (!kv) {
        op_fail(op, r->succeeded ? EIO : EEXIST);
        return;
    }
    op_set_ino(op, ino_get(&fs->table, op->parent->view, INO_FILE, buf_slice(&op->key)));
    op_set_ino(op, state_take(fs, op->ino, kv, true, op->rev));
    empty = blob_new(slice_of(NULL, 0));
    state_committed(fs, buf_slice(&op->key), kv, empty, op->ino);
    blob_unref(empty);
    reply_made(op);
}

/* O_EXCL and mknod(2): as make_dir. */
static void make_file(struct op *op)
{
    struct range_args kv = {.key = buf_slice(&op->key), .keys_only = true};

    buf_clear(&op->request);
    op_if_no_file(op);
    if (buf_len(&op->end)) {
        ns_prefix_end(buf_slice(&op->end), &op->key2);
        txn_if_create(&op->request, buf_slice(&op->end), buf_slice(&op->key2), 0);
    }
    txn_put(&op->request, TXN_THEN, kv.key, slice_of(NULL, 0), 0);
    txn_range(&op->request, TXN_THEN, &kv);
    op_call(op, PATH_TXN, false, on_file_made);
}

static void on_found(struct op *op, struct ino *i)
{
    if (i && i->kind == INO_DIR) {
        op_fail(op, EISDIR);
        return;
    }
    if (!i) {
        /* Not in the store before its first write, or the end of the handle: then `echo v > f` is one revision. */
        op->file->pending = true;
        op->file->asked = false;
        op_set_ino(op, op_pending_ino(op, op->file));
    }
    op_open(op, true);
}

static void make(struct op *op)
{
    bool exclusive = !op->wants_handle || (op->fi.flags & O_EXCL);

    if (op->file->pending && exclusive) {
        op_fail(op, EEXIST);
    } else if (op->file->pending) {
        op_set_ino(op, op_pending_ino(op, op->file));
        op_open(op, true);
    } else if (exclusive) {
        make_file(op);
    } else {
        op_find_child(op, on_found);
    }
}

static void make_in_turn(struct op *op)
{
    if (!buf_len(&op->key))
        op_fail(op, EINVAL); /* the one name that no key can stand for */
    else
        op_take_name(op, make);
}

void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct op *op = op_in_directory(req, parent, "create");

    (void)mode;
    if (!op)
        return;
    op->fi = *fi;
    op->wants_handle = true;
    op_resolve(op, op->parent, name, make_in_turn);
}

void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct op *op = S_ISREG(mode) ? op_in_directory(req, parent, "mknod") : NULL;

    (void)rdev;
    if (op)
        op_resolve(op, op->parent, name, make_in_turn);
    else if (!S_ISREG(mode))
        fuse_reply_err(req, EPERM); /* no devices, FIFOs, sockets */
}

/* ---- what is not kept here ---- */

void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    (void)ino;
    (void)parent;
    (void)name;
    fuse_reply_err(req, EPERM);
}

void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target;
    (void)parent;
    (void)name;
    fuse_reply_err(req, EPERM);
}
