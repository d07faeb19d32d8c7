/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was written to one transaction. Replacing (a truncation came before) needs only that the file is still the one
 * that was opened; merging by offset, appending and resizing work on the newest value and compare its revision. The first try
 * takes the newest value that is known here; one that somebody was faster than brings back what stands there now, and that
 * is tried again until nobody was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "fsd/fs.h"

#define ATTEMPTS_MAX 1000u /* every failed one means that somebody else's write went through */
#define BASE_UNKNOWN (-1)  /* no key has this revision: the first try only asks */

struct publication {
    void (*done)(struct op *op, int error);
    struct commit_change change;
    int64_t create_rev; /* of the file that was opened; 0: to be made */
    int64_t base_rev;   /* the value below was of that revision */
    struct buf base;    /* what the change is made to */
    struct buf value;   /* what it becomes */
    struct buf writes;  /* as file_hold keeps them */
    int error;          /* how it ended: unless somebody knows better, with the caller gone and an unknown outcome */
};

void publish_end(struct op *op)
{
    struct publication *p = op->publication;
    struct file *f = op->file;

    if (f->busy == op) { /* else its turn never came */
        blob_unref(f->coming);
        f->coming = NULL;
        if (!p->error && p->change.replace)
            file_truncated(f);
        file_settle(f, op->fh, p->error);
    }
    buf_fini(&p->base);
    buf_fini(&p->value);
    buf_fini(&p->writes);
    free(p);
    op->publication = NULL;
}

static void finish(struct op *op, int error)
{
    void (*done)(struct op *, int) = op->publication->done;

    op->publication->error = error;
    publish_end(op);
    done(op, error);
}

/* ---- a file that is gone lives on in its handles only: no store is asked ---- */

static void publish_locally(struct op *op)
{
    struct publication *p = op->publication;
    struct file *f = op->file;

    const struct fh *any = op->fh ? op->fh : TAILQ_FIRST(&f->handles);

    buf_append_slice(&p->base, f->own ? blob_slice(f->own) : any ? blob_slice(any->value) : slice_of(NULL, 0));
    if (!commit_new_value(&p->change, buf_slice(&p->base), buf_slice(&p->writes), &p->value)) {
        finish(op, EFBIG);
        return;
    }
    blob_unref(f->own);
    f->own = blob_new(buf_slice(&p->value));
    finish(op, 0);
}

/* ---- the transaction ---- */

static void on_published(struct op *op, enum status st, struct slice answer);

static void send_transaction(struct op *op)
{
    struct publication *p = op->publication;
    struct slice key = file_key(op->file);
    struct range_args after = {.key = key, .keys_only = true}, other = {.key = key, .keys_only = p->change.replace};

    if (!commit_new_value(&p->change, buf_slice(&p->base), buf_slice(&p->writes), &p->value)) {
        finish(op, EFBIG);
        return;
    }
    blob_unref(op->file->coming);
    op->file->coming = blob_new(buf_slice(&p->value));
    buf_clear(&op->request);
    if (p->change.replace || !p->create_rev)
        txn_if_create(&op->request, key, slice_of(NULL, 0), p->create_rev);
    else
        txn_if_mod(&op->request, key, p->base_rev);
    txn_put(&op->request, TXN_THEN, key, buf_slice(&p->value), p->create_rev ? LEASE_KEPT : 0);
    txn_range(&op->request, TXN_THEN, &after);
    txn_range(&op->request, TXN_ELSE, &other);
    op->file->asked = true;
    op_call(op, PATH_TXN, false, on_published);
}

/* Somebody else was there. kv: what stands there now, or NULL. */
static void on_conflict(struct op *op, const Mvccpb__KeyValue *kv)
{
    struct publication *p = op->publication;

    if (!kv || (p->create_rev && kv->create_revision != p->create_rev)) {
        finish(op, ESTALE); /* removed, perhaps made anew: not the file that was opened */
        return;
    }
    if (op->attempts++ > ATTEMPTS_MAX) {
        finish(op, EAGAIN);
        return;
    }
    /* One that was to be made here was made by somebody else meanwhile: that is what open(2) without O_EXCL opens. */
    p->create_rev = kv->create_revision;
    p->base_rev = kv->mod_revision;
    buf_clear(&p->base);
    buf_append(&p->base, kv->value.data, kv->value.len);
    send_transaction(op);
}

static void on_published(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    struct publication *p = op->publication;
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    const Mvccpb__KeyValue *kv;
    struct blob *value;
    struct fh *fh;

    if (!r || !r->n_responses) {
        finish(op, r ? EIO : fs_errno(st));
        return;
    }
    op_is_behind(op, VIEW_LINEARIZABLE, r->header);
    kv = txn_kv(r, r->n_responses - 1);
    if (!r->succeeded) {
        on_conflict(op, kv);
        return;
    }
    if (!kv) {
        finish(op, EIO);
        return;
    }
    value = blob_new(buf_slice(&p->value));
    op->file->create_rev = kv->create_revision;
    TAILQ_FOREACH(fh, &op->file->handles, link)
    {
        blob_unref(fh->value);
        fh->value = blob_ref(value);
        fh->rev = kv->mod_revision;
    }
    state_committed(fs, file_key(op->file), kv, value, op->ino);
    blob_unref(value);
    finish(op, 0);
}

/* ---- beginning ---- */

/* The newest value that is known here. */
static void guess_base(struct op *op)
{
    struct publication *p = op->publication;
    const struct ino *i = ino_find(&op->fs->table, VIEW_PLAIN, INO_FILE, file_key(op->file));
    const struct fh *fh = op->fh ? op->fh : TAILQ_FIRST(&op->file->handles);

    p->base_rev = BASE_UNKNOWN;
    if (i && i->value && i->create_rev == p->create_rev && (!fh || !fh->value || i->mod_rev >= fh->rev)) {
        buf_append_slice(&p->base, blob_slice(i->value));
        p->base_rev = i->mod_rev;
    } else if (fh && fh->value && fh->rev) {
        buf_append_slice(&p->base, blob_slice(fh->value));
        p->base_rev = fh->rev;
    }
}

/* Everything that this mount holds of the file, whoever wrote it. */
static void begin(struct op *op)
{
    struct publication *p = op->publication;
    struct file *f = op->file;
    int error;

    file_take_held(f, &p->writes);
    p->change.replace = f->truncate;
    p->create_rev = f->pending ? 0 : !TAILQ_EMPTY(&f->handles) ? f->create_rev : op->ino->create_rev;
    if (!buf_len(&p->writes) && !f->truncate && !f->pending && !p->change.resize) {
        error = op->fh ? op->fh->error : 0; /* somebody else's commit took it along */
        if (op->fh)
            op->fh->error = 0;
        finish(op, error);
    } else if (f->gone) {
        publish_locally(op);
    } else if (!f->linked && !p->create_rev) {
        finish(op, ESTALE); /* it was to be made, and somebody gave it up */
    } else {
        if (!p->change.replace && p->create_rev)
            guess_base(op);
        send_transaction(op);
    }
}

static void begin_in_turn(struct op *op, void (*done)(struct op *op, int error), const struct commit_change *change)
{
    op->publication = mem_zero(sizeof *op->publication);
    op->publication->done = done;
    op->publication->change = *change;
    op->publication->error = ETIMEDOUT;
    op->attempts = 0;
    op_take_turn(op, op->file, begin);
}

void publish(struct op *op, void (*done)(struct op *op, int error))
{
    begin_in_turn(op, done, &(struct commit_change){0});
}

void publish_resize(struct op *op, uint64_t size, void (*done)(struct op *op, int error))
{
    begin_in_turn(op, done, &(struct commit_change){.resize = true, .size = size});
}
