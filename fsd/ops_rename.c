/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving names: what stands there is read, then one transaction moves it if it still does; if not, again. The kernel's number of
 * what was moved goes with it. A key that is put over another keeps the creating revision of the one below: etcd has it so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "fsd/rename.h"

#define ATTEMPTS_MAX 100u

static bool is_exchange(const struct op *op)
{
    return op->flags & RENAME_EXCHANGE;
}

static void rename_free(struct op *op)
{
    struct rename *m = op->rename;

    file_unref(&op->fs->table.files, m->to_file);
    buf_fini(&m->to);
    buf_fini(&m->to_end);
    blob_unref(m->value);
    blob_unref(m->other);
    free(m);
    op->rename = NULL;
}

/* ---- what was moved, here and in the kernel ---- */

/* The inode and the handles of one key stand for another now. */
static void move_inode(struct fs *fs, struct ino *i, struct slice key, int64_t create_rev)
{
    ino_set_key(&fs->table, i, key);
    i->create_rev = create_rev;
}

static void move_file(struct fs *fs, struct file *f, struct slice key, int64_t create_rev)
{
    file_set_key(&fs->table.files, f, key);
    f->create_rev = create_rev;
}

/* kv: what stands at the new name; other: at the old one, after an exchange. */
static void move_state(struct op *op, const Mvccpb__KeyValue *kv, const Mvccpb__KeyValue *other)
{
    struct fs *fs = op->fs;
    struct rename *m = op->rename;
    struct slice key = buf_slice(&op->key), to = buf_slice(&m->to);
    struct ino *from[2], *target[2];

    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++) {
        from[view] = ino_find(&fs->table, (enum ino_view)view, INO_FILE, key);
        target[view] = ino_find(&fs->table, (enum ino_view)view, INO_FILE, to);
    }
    if (other) {
        for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++)
            if (target[view])
                ino_unlink(&fs->table, target[view]);
        file_unlink(&fs->table.files, m->to_file);
    } else {
        state_removed(fs, to);
        fs_file_gone(fs, m->to_file);
    }
    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++) {
        if (from[view])
            move_inode(fs, from[view], to, kv->create_revision);
        if (other && target[view])
            move_inode(fs, target[view], key, other->create_revision);
    }
    move_file(fs, op->file, to, kv->create_revision);
    if (other)
        move_file(fs, m->to_file, key, other->create_revision);
    state_committed(fs, to, kv, m->value, NULL);
    if (other)
        state_committed(fs, key, other, m->other, NULL);
}

/* The watch may tell of it before the answer comes. */
void rename_send(struct op *op, op_then_fn then)
{
    if (!op->rename->holds)
        watch_hold(op->fs);
    op->rename->holds = true;
    op_call(op, PATH_TXN, false, then);
}

/* ---- one file ---- */

static void on_moved(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    const Mvccpb__KeyValue *kv, *other;

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (!r->succeeded) {
        rename_again(op);
        return;
    }
    kv = txn_kv(r, 2);
    other = is_exchange(op) ? txn_kv(r, 3) : NULL;
    if (!kv || (is_exchange(op) && !other)) {
        op_fail(op, EIO);
        return;
    }
    move_state(op, kv, other);
    op_fail(op, 0);
}

static void move_file_key(struct op *op, const Mvccpb__KeyValue *from, const Mvccpb__KeyValue *to)
{
    struct rename *m = op->rename;
    struct slice key = buf_slice(&op->key), target = buf_slice(&m->to);
    struct range_args after = {.key = target, .keys_only = true};

    blob_unref(m->value);
    blob_unref(m->other);
    m->value = blob_new(slice_of(from->value.data, from->value.len));
    m->other = is_exchange(op) ? blob_new(slice_of(to->value.data, to->value.len)) : NULL;
    buf_clear(&op->request);
    txn_if_mod(&op->request, key, from->mod_revision);
    if (op->flags) /* RENAME_NOREPLACE, RENAME_EXCHANGE */
        txn_if_mod(&op->request, target, to ? to->mod_revision : 0);
    if (buf_len(&m->to_end)) {
        ns_prefix_end(buf_slice(&m->to_end), &op->key2);
        txn_if_create(&op->request, buf_slice(&m->to_end), buf_slice(&op->key2), 0);
    }
    txn_put(&op->request, TXN_THEN, target, blob_slice(m->value), from->lease);
    if (is_exchange(op))
        txn_put(&op->request, TXN_THEN, key, blob_slice(m->other), to->lease);
    else
        txn_delete(&op->request, TXN_THEN, key, slice_of(NULL, 0));
    txn_range(&op->request, TXN_THEN, &after);
    after.key = key;
    if (is_exchange(op))
        txn_range(&op->request, TXN_THEN, &after);
    rename_send(op, on_moved);
}

/* ---- what stands at both names ---- */

static void read_names(struct op *op);

void rename_again(struct op *op)
{
    if (op->attempts++ < ATTEMPTS_MAX)
        read_names(op); /* somebody wrote in between */
    else
        op_fail(op, EAGAIN);
}

/* A marker is no file: D's own key, as the name %empty in D, without a value. */
static const Mvccpb__KeyValue *file_kv(const Mvccpb__KeyValue *kv)
{
    bool marker = kv && kv->key.len && kv->key.data[kv->key.len - 1] == '/' && !kv_size(kv);

    return marker ? NULL : kv;
}

static void on_names_read(struct op *op, enum status st, struct slice answer)
{
    struct rename *m = op->rename;
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    bool has_end = buf_len(&op->end), has_to_end = buf_len(&m->to_end);
    const Mvccpb__KeyValue *from, *to;
    bool from_dir, to_dir;

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (r->n_responses != 2u + has_end + has_to_end) {
        op_fail(op, EIO);
        return;
    }
    from = file_kv(txn_kv(r, 0));
    to = file_kv(txn_kv(r, 1));
    from_dir = has_end && txn_kv(r, 2);
    to_dir = has_to_end && txn_kv(r, 2 + has_end);
    if (!from && !from_dir)
        op_fail(op, ENOENT);
    else if ((op->flags & RENAME_NOREPLACE) && (to || to_dir))
        op_fail(op, EEXIST);
    else if (is_exchange(op) && !to && !to_dir)
        op_fail(op, ENOENT);
    else if (is_exchange(op) && (from_dir || to_dir))
        op_fail(op, ENOTSUP); /* two directories in one transaction, and the kernel's numbers below both: not yet */
    else if (from_dir && !has_to_end)
        op_fail(op, EINVAL); /* %value is never a directory */
    else if (from_dir && to)
        op_fail(op, to_dir ? ENOTEMPTY : ENOTDIR);
    else if (from_dir)
        rename_directory(op);
    else if (to_dir)
        op_fail(op, EISDIR);
    else
        move_file_key(op, from, txn_kv(r, 1));
}

static void read_names(struct op *op)
{
    struct rename *m = op->rename;
    struct range_args from = {.key = buf_slice(&op->key)}, to = {.key = buf_slice(&m->to)};
    struct range_args dir = {.key = buf_slice(&op->end), .keys_only = true, .limit = 1};

    to.keys_only = !is_exchange(op);
    buf_clear(&op->request);
    txn_range(&op->request, TXN_THEN, &from);
    txn_range(&op->request, TXN_THEN, &to);
    if (dir.key.len) {
        ns_prefix_end(dir.key, &op->key2);
        dir.end = buf_slice(&op->key2);
        txn_range(&op->request, TXN_THEN, &dir);
    }
    dir.key = buf_slice(&m->to_end);
    if (dir.key.len) {
        ns_prefix_end(dir.key, &op->key2);
        dir.end = buf_slice(&op->key2);
        txn_range(&op->request, TXN_THEN, &dir);
    }
    op_call(op, PATH_TXN, true, on_names_read);
}

/* ---- beginning ---- */

static void on_source_published(struct op *op, int error)
{
    op->attempts = 0;
    if (error)
        op_fail(op, error);
    else
        read_names(op);
}

static void take_turns(struct op *op);

static void begin(struct op *op)
{
    struct rename *m = op->rename;

    /* While it waited, one may have been removed: others stand for the names now. */
    if (!op->file->linked || !m->to_file->linked) {
        op_drop_turns(op);
        take_turns(op);
    } else if (m->to_file->pending && op->flags) {
        op_fail(op, op->flags & RENAME_NOREPLACE ? EEXIST : EBUSY);
    } else if (op->file->pending) {
        publish(op, on_source_published); /* what was only here goes to the store first */
    } else {
        read_names(op);
    }
}

static void take_second(struct op *op)
{
    struct rename *m = op->rename;

    op_take_turn(op, m->from_first ? m->to_file : op->file, begin);
}

/* In the order of the keys, so that two renames never wait for each other. */
static void take_turns(struct op *op)
{
    struct file_table *t = &op->fs->table.files;
    struct rename *m = op->rename;
    struct file *f = file_get(t, buf_slice(&op->key));

    op_set_file(op, f);
    file_unref(t, f);
    file_unref(t, m->to_file);
    m->to_file = file_get(t, buf_slice(&m->to));
    m->from_first = slice_compare(buf_slice(&op->key), buf_slice(&m->to)) < 0;
    op_take_turn(op, m->from_first ? op->file : m->to_file, take_second);
}

static void on_source_resolved(struct op *op)
{
    struct rename *m = op->rename;

    if (!buf_len(&op->key) || !buf_len(&m->to))
        op_fail(op, EINVAL); /* the one name that no key can stand for */
    else if (slice_equal(buf_slice(&op->key), buf_slice(&m->to)))
        op_fail(op, 0);
    else
        take_turns(op);
}

static void on_target_resolved(struct op *op)
{
    struct rename *m = op->rename;

    buf_append_slice(&m->to, buf_slice(&op->key));
    buf_append_slice(&m->to_end, buf_slice(&op->end));
    op_resolve(op, m->from_parent, m->from_name, on_source_resolved);
}

static void rename_end(struct op *op)
{
    if (op->rename->holds)
        watch_release(op->fs);
    ino_release(&op->fs->table, op->rename->from_parent);
    free(op->rename->from_name);
    rename_free(op);
}

void fs_rename(fuse_req_t req, fuse_ino_t parent_id, const char *name, fuse_ino_t newparent_id, const char *newname,
               unsigned int flags)
{
    struct op *op = op_in_directory(req, newparent_id, "rename");
    struct ino *parent = op ? ino_by_id(&op->fs->table, parent_id) : NULL;

    if (!op)
        return;
    if (!parent || flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        op_fail(op, parent ? EINVAL : ESTALE);
        return;
    }
    if (parent->view != op->parent->view) {
        op_fail(op, EXDEV);
        return;
    }
    op->flags = (int)flags;
    op->rename = mem_zero(sizeof *op->rename);
    op->rename->from_parent = parent;
    op->rename->from_name = mem_text(name);
    ino_hold(parent);
    op->on_end = rename_end;
    op_resolve(op, op->parent, newname, on_target_resolved);
}
