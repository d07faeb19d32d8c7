/* SPDX-License-Identifier: Apache-2.0 */
/* Removing files and directories. */
#include <errno.h>

#include "fsd/fs.h"

/* ---- files ---- */

/* The directories above that may have gone with it, for whoever removes them next. */
static void note_emptied(struct op *op, struct slice key)
{
    struct fs *fs = op->fs;
    struct slice root = buf_slice(&fs->root), dir = ns_parent(key, root);

    for (; dir.len > root.len; dir = ns_parent(dir, root))
        emptied_note(&fs->emptied, dir, op_pid(op), loop_now_ns(fs->loop));
}

static void forget_file(struct op *op)
{
    note_emptied(op, buf_slice(&op->key));
    state_removed(op->fs, buf_slice(&op->key));
    fs_file_gone(op->fs, op->file);
}

static void on_unlinked(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    const Etcdserverpb__ResponseOp *deleted;
    bool was_here;

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (!r->succeeded) {
        op_fail(op, EISDIR); /* since it was looked up, it became one */
        return;
    }
    deleted = r->n_responses ? r->responses[0] : NULL;
    if (!deleted || deleted->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE) {
        op_fail(op, EIO);
        return;
    }
    was_here = op->file->pending || deleted->response_delete_range->deleted > 0;
    if (was_here)
        forget_file(op);
    op_fail(op, was_here ? 0 : ENOENT);
}

static void on_emptied(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (r->succeeded) {
        state_removed(op->fs, buf_slice(&op->key));
        fs_file_gone(op->fs, op->file);
    }
    op_fail(op, r->succeeded ? 0 : txn_kv(r, 0) ? EISDIR : ENOENT);
}

/* The key of %empty is a directory's marker: without its value it is no file any more, and the directory stays. */
static void empty_marker(struct op *op)
{
    struct range_args below = {.key = buf_slice(&op->end), .keys_only = true, .limit = 1};

    if (below.key.len) {
        ns_prefix_end(below.key, &op->key2);
        below.end = buf_slice(&op->key2);
        txn_if_create(&op->request, below.key, below.end, 0);
        txn_range(&op->request, TXN_ELSE, &below);
    }
    txn_if_other_value(&op->request, buf_slice(&op->key), slice_of(NULL, 0));
    txn_put(&op->request, TXN_THEN, buf_slice(&op->key), slice_of(NULL, 0), LEASE_KEPT);
    op_call(op, PATH_TXN, false, on_emptied);
}

static void unlink_now(struct op *op)
{
    if (op->file->pending && !op->file->asked) {
        forget_file(op); /* it never was in the store */
        op_fail(op, 0);
        return;
    }
    if (op_is_marker(op)) {
        empty_marker(op);
        return;
    }
    if (buf_len(&op->end)) {
        ns_prefix_end(buf_slice(&op->end), &op->key2);
        txn_if_create(&op->request, buf_slice(&op->end), buf_slice(&op->key2), 0);
    }
    txn_delete(&op->request, TXN_THEN, buf_slice(&op->key), slice_of(NULL, 0));
    op_call(op, PATH_TXN, false, on_unlinked);
}

static void unlink_in_turn(struct op *op)
{
    if (buf_len(&op->key))
        op_take_name(op, unlink_now);
    else
        op_fail(op, ENOENT);
}

void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op *op = op_in_directory(req, parent, "unlink");

    if (op)
        op_resolve(op, op->parent, name, unlink_in_turn);
}

/* ---- directories ---- */

static void on_dir_removed(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (!r->succeeded && txn_kv(r, 0)) {
        op_fail(op, ENOTEMPTY);
        return;
    }
    /* One that went with the last file its remover took out of it is what he wanted. */
    if (!r->succeeded && !emptied_by(&fs->emptied, buf_slice(&op->end), op_pid(op), loop_now_ns(fs->loop))) {
        op_fail(op, ENOENT);
        return;
    }
    emptied_forget(&fs->emptied, buf_slice(&op->end));
    note_emptied(op, buf_slice(&op->end));
    state_directory_removed(fs, buf_slice(&op->end));
    op_fail(op, 0);
}

static bool has_pending_child(struct op *op)
{
    struct fs *fs = op->fs;
    struct file *f, *next;

    HASH_ITER(by_key, fs->table.files.files, f, next)
        if (f->pending && slice_has_prefix(file_key(f), buf_slice(&op->end)))
            return true;
    return false;
}

/* Empty: its marker, without a value, and no other key; nor a value of its own (that would be %value in it). */
static void remove_dir(struct op *op)
{
    struct range_args any = {.keys_only = true, .limit = 1};
    struct buf behind = {0};

    if (!buf_len(&op->end) || has_pending_child(op)) {
        op_fail(op, buf_len(&op->end) ? ENOTEMPTY : ENOTDIR);
        return;
    }
    ns_prefix_end(buf_slice(&op->end), &op->key2);
    buf_append_slice(&behind, buf_slice(&op->end));
    buf_append_byte(&behind, 0); /* the first key behind the marker */
    txn_if_value(&op->request, buf_slice(&op->end), slice_of(NULL, 0));
    txn_if_create(&op->request, buf_slice(&behind), buf_slice(&op->key2), 0);
    if (buf_len(&op->key) && !op_is_marker(op))
        txn_if_create(&op->request, buf_slice(&op->key), slice_of(NULL, 0), 0);
    txn_delete(&op->request, TXN_THEN, buf_slice(&op->end), slice_of(NULL, 0));
    any.key = buf_slice(&op->end);
    any.end = buf_slice(&op->key2);
    txn_range(&op->request, TXN_ELSE, &any);
    buf_fini(&behind);
    op_call(op, PATH_TXN, false, on_dir_removed);
}

void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op *op = op_in_directory(req, parent, "rmdir");

    if (op)
        op_resolve(op, op->parent, name, remove_dir);
}
