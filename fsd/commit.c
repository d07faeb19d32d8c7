/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a handle holds to one transaction. Replacing (a truncation came before) needs only that the file is still the one
 * that was opened; merging by offset, appending and resizing work on the newest value and compare its revision, again and again
 * until nobody was faster.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/mem.h"
#include "fsd/fs.h"

#define ATTEMPTS_MAX 1000 /* every failed one means that somebody else's write went through */

struct commit {
    void (*done)(struct op *op, int error);
    bool replace;       /* the old value does not matter */
    bool append;
    bool resize;
    uint64_t size;      /* resize */
    int64_t create_rev; /* of the file that was opened; 0: to be made */
    int64_t base_rev;   /* the value below was of that revision */
    struct buf base;
    bool has_base;
};

static struct commit *commit_of(struct op *op)
{
    return op->extra;
}

static void commit_free(struct op *op)
{
    if (op->extra)
        buf_fini(&commit_of(op)->base);
}

static void finish(struct op *op, int error)
{
    struct commit *c = commit_of(op);
    void (*done)(struct op *, int) = c->done;

    if (error && op->ino->local_size >= 0)
        op->ino->local_size = op->ino->pending ? 0 : -1; /* what was not committed is not there */
    commit_free(op);
    free(c);
    op->extra = NULL;
    op->on_end = NULL;
    done(op, error);
}

static void grow_to(struct buf *b, uint64_t size)
{
    if (size > buf_len(b)) {
        size_t more = (size_t)(size - buf_len(b));
        memset(buf_reserve(b, more), 0, more);
        buf_commit(b, more);
    }
}

/* op->data: the writes, in order. The new value into *ret_value. */
static void apply_writes(struct op *op, struct buf *ret_value)
{
    struct commit *c = commit_of(op);
    struct reader r = reader_of(buf_slice(&op->data));

    if (!c->replace)
        buf_append_slice(ret_value, buf_slice(&c->base));
    if (c->resize) {
        if (c->size < buf_len(ret_value))
            ret_value->end = ret_value->start + c->size;
        grow_to(ret_value, c->size);
    }
    while (reader_left(&r)) {
        uint64_t off = read_le64(&r), len = read_le64(&r);
        const uint8_t *data = read_bytes(&r, len);
        if (c->append)
            off = buf_len(ret_value); /* the end is where it is now, whoever moved it */
        grow_to(ret_value, off + len);
        memcpy(ret_value->data + ret_value->start + off, data, len);
    }
}

static void on_committed(struct op *op, enum status st, struct slice answer);

static void send_commit(struct op *op)
{
    struct commit *c = commit_of(op);
    struct slice key = ino_key(op->ino);
    struct range_args after = {.key = key, .keys_only = true}, other = {.key = key};
    struct buf value = {0};

    apply_writes(op, &value);
    if (buf_len(&value) + key.len > REQUEST_BYTES_MAX) {
        buf_fini(&value);
        finish(op, EFBIG);
        return;
    }
    buf_clear(&op->request);
    if (c->replace || !c->create_rev)
        txn_if_create(&op->request, key, slice_of(NULL, 0), c->create_rev);
    else
        txn_if_mod(&op->request, key, c->base_rev);
    txn_put(&op->request, TXN_THEN, key, buf_slice(&value));
    txn_range(&op->request, TXN_THEN, &after);
    txn_range(&op->request, TXN_ELSE, &other);
    buf_fini(&op->name);
    op->name = value; /* what the file is if this holds */
    op_call(op, PATH_TXN, false, on_committed);
}

static void take_base(struct commit *c, const Mvccpb__KeyValue *kv)
{
    buf_clear(&c->base);
    buf_append(&c->base, kv->value.data, kv->value.len);
    c->base_rev = kv->mod_revision;
    c->has_base = true;
}

/* Somebody else was there. kv: what stands there now, or NULL. */
static void on_conflict(struct op *op, const Mvccpb__KeyValue *kv)
{
    struct commit *c = commit_of(op);

    if (c->create_rev && (!kv || kv->create_revision != c->create_rev)) {
        finish(op, ESTALE); /* removed, perhaps made anew: not the file that was opened */
        return;
    }
    if (op->attempts++ > ATTEMPTS_MAX) {
        finish(op, EAGAIN);
        return;
    }
    if (kv) {
        c->create_rev = kv->create_revision; /* ours was to be new, but somebody made it meanwhile: open(2) without O_EXCL */
        take_base(c, kv);
    }
    send_commit(op);
}

static void on_committed(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    struct commit *c = commit_of(op);
    Etcdserverpb__TxnResponse *r =
        st == ST_OK ? etcdserverpb__txn_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    const Etcdserverpb__RangeResponse *range;
    struct blob *value;

    if (!r || !r->n_responses) {
        finish(op, fs_errno(st == ST_OK ? ST_BAD_MESSAGE : st));
        return;
    }
    state_see(fs, r->header);
    range = r->responses[r->n_responses - 1]->response_range;
    if (!r->succeeded) {
        on_conflict(op, range && range->n_kvs ? range->kvs[0] : NULL);
        return;
    }
    if (!range || !range->n_kvs) {
        finish(op, EIO);
        return;
    }
    (void)c;
    value = blob_new(buf_slice(&op->name));
    state_committed(fs, op->ino, range->kvs[0], value);
    if (op->fh) {
        blob_unref(op->fh->value);
        op->fh->value = blob_ref(value);
        op->fh->rev = op->ino->mod_rev;
    }
    blob_unref(value);
    finish(op, 0);
}

static void on_base(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;

    if (!r) {
        finish(op, fs_errno(st == ST_OK ? ST_BAD_MESSAGE : st));
        return;
    }
    state_see(fs, r->header);
    if (!r->n_kvs || r->kvs[0]->create_revision != commit_of(op)->create_rev) {
        finish(op, ESTALE);
        return;
    }
    take_base(commit_of(op), r->kvs[0]);
    send_commit(op);
}

/* A file that is gone lives on in its handles only: no store is asked. */
static void commit_locally(struct op *op)
{
    struct commit *c = commit_of(op);
    struct buf value = {0};
    struct blob *b;

    buf_append_slice(&c->base, blob_slice(op->fh ? op->fh->value : op->ino->value));
    apply_writes(op, &value);
    b = blob_new(buf_slice(&value));
    op->ino->size = b->len;
    op->ino->local_size = -1;
    ino_set_value(&op->fs->table, op->ino, b);
    if (op->fh) {
        blob_unref(op->fh->value);
        op->fh->value = blob_ref(b);
    }
    blob_unref(b);
    buf_fini(&value);
    finish(op, 0);
}

static void start(struct op *op)
{
    struct commit *c = commit_of(op);
    struct ino *i = op->ino;
    struct range_args a = {.key = ino_key(i), .serializable = i->view == VIEW_PLAIN};

    if (i->gone_here) {
        commit_locally(op);
        return;
    }
    c->create_rev = i->pending ? 0 : i->create_rev;
    if (c->replace || !c->create_rev) {
        send_commit(op);
    } else if (i->known && i->value) {
        buf_append_slice(&c->base, blob_slice(i->value));
        c->base_rev = i->mod_rev;
        send_commit(op);
    } else {
        buf_clear(&op->request);
        request_range(&op->request, &a);
        op_call(op, PATH_RANGE, true, on_base);
    }
}

static struct commit *commit_new(struct op *op, void (*done)(struct op *op, int error))
{
    struct commit *c = mem_zero(sizeof *c);

    c->done = done;
    free(op->extra);
    op->extra = c;
    op->on_end = commit_free;
    return c;
}

void commit_handle(struct op *op, void (*done)(struct op *op, int error))
{
    struct commit *c = commit_new(op, done);
    struct fh *fh = op->fh;

    c->replace = fh->truncate;
    c->append = fh->append;
    /* What is under way is not the handle's any more: if it fails, its caller hears of it, and it is not tried again behind
     * his back (least of all the truncation without the data). */
    op->data = fh->held;
    fh->held = (struct buf){0};
    fh->held_end = 0;
    fh->truncate = false;
    start(op);
}

void commit_resize(struct op *op, uint64_t size, void (*done)(struct op *op, int error))
{
    struct commit *c = commit_new(op, done);

    c->resize = true;
    c->size = size;
    start(op);
}
