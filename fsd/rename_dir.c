/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole directory as one transaction: every key below it is put under the new prefix if none of them has changed and none came,
 * and the old prefix is deleted. On a plain etcd a transaction is bounded in operations and bytes; beyond: EXDEV.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "fsd/rename.h"

/* Beside one put a key: a delete of them all, and the directory's own value put and deleted; compares are bounded alike. */
#define KEYS_MAX (TXN_OPS_MAX - 6)
#define BYTES_MAX (REQUEST_BYTES_MAX - 65536)

static void new_key(const struct op *op, struct slice key, struct buf *ret_key)
{
    size_t prefix = buf_len(&op->end);

    buf_clear(ret_key);
    buf_append_slice(ret_key, buf_slice(&op->rename->to_end));
    buf_append(ret_key, key.data + prefix, key.len - prefix);
}

/* ---- what was moved, here and in the kernel ---- */

/*
 * Everything below is put anew by this revision: the kernel's numbers go with it. What is known of it may be older than what was
 * moved, so it is asked for again.
 */
static void move_inodes(struct op *op, int64_t rev)
{
    struct fs *fs = op->fs;
    struct slice prefix = buf_slice(&op->end);
    struct ino *i, *next;
    struct buf key = {0};

    state_directory_removed(fs, buf_slice(&op->rename->to_end));
    HASH_ITER(by_id, fs->table.ids, i, next)
    {
        if (!i->linked || !slice_has_prefix(ino_key(i), prefix))
            continue;
        state_retire_readers(fs, i);
        if (!i->linked)
            continue;
        new_key(op, ino_key(i), &key);
        ino_set_key(&fs->table, i, buf_slice(&key));
        if (i->kind == INO_DIR)
            continue;
        i->create_rev = i->mod_rev = rev;
        i->page_rev = 0;
        i->known = false;
        ino_set_value(&fs->table, i, NULL);
        state_content_changed(fs, buf_slice(&key));
    }
    buf_fini(&key);
}

static void move_handles(struct op *op, int64_t rev)
{
    struct file_table *t = &op->fs->table.files;
    struct file *f, *next;
    struct fh *fh;
    struct buf key = {0};

    HASH_ITER(by_key, t->files, f, next)
    {
        if (!slice_has_prefix(file_key(f), buf_slice(&op->end)))
            continue;
        new_key(op, file_key(f), &key);
        file_set_key(t, f, buf_slice(&key));
        f->create_rev = rev;
        TAILQ_FOREACH(fh, &f->handles, link)
            fh->rev = 0; /* and is not what the next change is made to */
    }
    buf_fini(&key);
}

static void on_moved(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);

    if (!r) {
        /* More than this store takes in one transaction: copying will do. */
        op_fail(op, st == ST_REQUEST_TOO_LARGE || st == ST_TOO_MANY_OPS ? EXDEV : fs_errno(st));
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    if (!r->succeeded) {
        rename_again(op);
        return;
    }
    emptied_forget(&op->fs->emptied, buf_slice(&op->end));
    move_handles(op, op->rev);
    move_inodes(op, op->rev);
    if (op->rename->has_own) { /* %value is looked up anew */
        state_removed(op->fs, buf_slice(&op->key));
        fs_file_gone(op->fs, op->file);
    }
    op_fail(op, 0);
}

/* ---- the transaction ---- */

/* op->key2: the end of the source. kv: NULL if the directory has no value of its own. */
static void send_transaction(struct op *op, const Etcdserverpb__RangeResponse *below, const Mvccpb__KeyValue *own, int64_t rev)
{
    struct rename *m = op->rename;
    struct buf key = {0}, to_end = {0};

    m->has_own = own != NULL;
    buf_clear(&op->request);
    for (size_t i = 0; i < below->n_kvs; i++) {
        const Mvccpb__KeyValue *kv = below->kvs[i];
        txn_if_mod(&op->request, slice_of(kv->key.data, kv->key.len), kv->mod_revision);
    }
    txn_if_all_older(&op->request, buf_slice(&op->end), buf_slice(&op->key2), rev + 1);
    txn_if_mod(&op->request, buf_slice(&op->key), own ? own->mod_revision : 0);
    /* Over an empty directory at most: behind its marker there is nothing. */
    ns_prefix_end(buf_slice(&m->to_end), &to_end);
    buf_append_slice(&key, buf_slice(&m->to_end));
    buf_append_byte(&key, 0);
    txn_if_create(&op->request, buf_slice(&key), buf_slice(&to_end), 0);
    txn_if_create(&op->request, buf_slice(&m->to), slice_of(NULL, 0), 0);
    for (size_t i = 0; i < below->n_kvs; i++) {
        const Mvccpb__KeyValue *kv = below->kvs[i];
        new_key(op, slice_of(kv->key.data, kv->key.len), &key);
        txn_put(&op->request, TXN_THEN, buf_slice(&key), slice_of(kv->value.data, kv->value.len), kv->lease);
    }
    if (own) {
        txn_put(&op->request, TXN_THEN, buf_slice(&m->to), slice_of(own->value.data, own->value.len), own->lease);
        txn_delete(&op->request, TXN_THEN, buf_slice(&op->key), slice_of(NULL, 0));
    }
    txn_delete(&op->request, TXN_THEN, buf_slice(&op->end), buf_slice(&op->key2));
    buf_fini(&key);
    buf_fini(&to_end);
    if (buf_len(&op->request) > BYTES_MAX)
        op_fail(op, EXDEV);
    else
        rename_send(op, on_moved);
}

static bool is_empty_name(const struct op *op)
{
    struct slice from = buf_slice(&op->key), to = buf_slice(&op->rename->to);

    return from.data[from.len - 1] == '/' || to.data[to.len - 1] == '/';
}

static bool target_is_empty(const struct op *op, const Mvccpb__KeyValue *first, bool more)
{
    return !first || (!more && !kv_size(first) &&
                      slice_equal(slice_of(first->key.data, first->key.len), buf_slice(&op->rename->to_end)));
}

/* A server that answers with other keys than it was asked for is not followed. */
static bool all_are_below(const struct op *op, const Etcdserverpb__RangeResponse *r)
{
    for (size_t i = 0; i < r->n_kvs; i++)
        if (!slice_has_prefix(slice_of(r->kvs[i]->key.data, r->kvs[i]->key.len), buf_slice(&op->end)))
            return false;
    return true;
}

static void on_read(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    const Etcdserverpb__RangeResponse *ranges[3];

    if (!r) {
        op_fail_status(op, st);
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    for (size_t i = 0; i < 3; i++) {
        const Etcdserverpb__ResponseOp *o = i < r->n_responses ? r->responses[i] : NULL;
        if (!o || o->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) {
            op_fail(op, EIO);
            return;
        }
        ranges[i] = o->response_range;
    }
    if (!target_is_empty(op, ranges[2]->n_kvs ? ranges[2]->kvs[0] : NULL, ranges[2]->n_kvs > 1))
        op_fail(op, ENOTEMPTY);
    else if (ranges[0]->more)
        op_fail(op, EXDEV);
    else if (!all_are_below(op, ranges[0]))
        op_fail(op, EIO);
    else if (!ranges[0]->n_kvs)
        rename_again(op);
    else if (is_empty_name(op))
        op_fail(op, EXDEV); /* its key is the marker of the directory it is in */
    else
        send_transaction(op, ranges[0], ranges[1]->n_kvs ? ranges[1]->kvs[0] : NULL, op->rev);
}

static void on_made(struct op *op, int error)
{
    op_fail(op, error);
}

/*
 * A file below it that is made or written right now would be lost between the two names. What was made and is not in the store yet
 * is brought there. True: there is something to wait for.
 */
static bool has_work_below(const struct op *op)
{
    struct fs *fs = op->fs;
    struct file *f, *next;
    bool found = false;

    HASH_ITER(by_key, fs->table.files.files, f, next)
    {
        if (!slice_has_prefix(file_key(f), buf_slice(&op->end)) || (!f->pending && !f->busy))
            continue;
        found = true;
        if (!f->busy) {
            struct op *make = op_new(fs, NULL, "rename");
            op_set_file(make, f);
            publish(make, on_made);
        }
    }
    return found;
}

void rename_directory(struct op *op)
{
    struct range_args below = {.key = buf_slice(&op->end), .limit = KEYS_MAX};
    struct range_args own = {.key = buf_slice(&op->key)};
    struct range_args target = {.key = buf_slice(&op->rename->to_end), .keys_only = true, .limit = 2};
    struct buf target_end = {0};

    if (has_work_below(op)) {
        if (!op_pause(op, rename_directory))
            op_fail(op, EXDEV);
        return;
    }
    op->pause_ns = 0;
    ns_prefix_end(below.key, &op->key2);
    below.end = buf_slice(&op->key2);
    ns_prefix_end(target.key, &target_end);
    target.end = buf_slice(&target_end);
    buf_clear(&op->request);
    txn_range(&op->request, TXN_THEN, &below);
    txn_range(&op->request, TXN_THEN, &own);
    txn_range(&op->request, TXN_THEN, &target);
    buf_fini(&target_end);
    op_call(op, PATH_TXN, true, on_read);
}
