/* SPDX-License-Identifier: Apache-2.0 */
/* Handles and files. */
#include "fsd/fh.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/invariant.h"
#include "common/mem.h"

#define WRITE_HEAD_BYTES 16 /* offset and length before the data */

struct blob *blob_new(struct slice bytes)
{
    struct blob *b = mem_alloc(sizeof *b + bytes.len);

    *b = (struct blob){.refs = 1, .len = (uint32_t)bytes.len};
    if (bytes.len)
        memcpy(b->data, bytes.data, bytes.len);
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    if (b)
        b->refs++;
    return b;
}

void blob_unref(struct blob *b)
{
    if (b && --b->refs == 0)
        free(b);
}

struct slice blob_slice(const struct blob *b)
{
    return b ? slice_of(b->data, b->len) : slice_of(NULL, 0);
}

/* ---- files ---- */

struct file *file_find(struct file_table *t, struct slice key)
{
    struct file *f;

    HASH_FIND(by_key, t->files, key.data, key.len, f);
    return f;
}

void file_set_key(struct file_table *t, struct file *f, struct slice key)
{
    uint8_t *bytes = mem_alloc(key.len + 1);

    file_unlink(t, f);
    if (key.len)
        memcpy(bytes, key.data, key.len);
    free(f->key);
    f->key = bytes;
    f->key_len = key.len;
    HASH_ADD_KEYPTR(by_key, t->files, f->key, f->key_len, f);
    f->linked = true;
}

struct file *file_get(struct file_table *t, struct slice key)
{
    struct file *f = file_find(t, key);

    if (!f) {
        f = mem_zero(sizeof *f);
        TAILQ_INIT(&f->waiters);
        TAILQ_INIT(&f->handles);
        file_set_key(t, f, key);
    }
    f->refs++;
    return f;
}

void file_ref(struct file *f)
{
    f->refs++;
}

void file_unlink(struct file_table *t, struct file *f)
{
    if (!f->linked)
        return;
    HASH_DELETE(by_key, t->files, f);
    f->linked = false;
}

void file_unref(struct file_table *t, struct file *f)
{
    if (!f)
        return;
    INVARIANT(f->refs > 0);
    if (--f->refs)
        return;
    INVARIANT(TAILQ_EMPTY(&f->handles) && TAILQ_EMPTY(&f->waiters) && !f->busy);
    file_unlink(t, f);
    blob_unref(f->own);
    blob_unref(f->coming);
    buf_fini(&f->held);
    free(f->key);
    free(f);
}

/* ---- handles ---- */

void fh_put(struct buf *value, uint64_t offset, struct slice data)
{
    uint64_t end = offset + data.len;

    if (end > buf_len(value)) {
        size_t more = (size_t)(end - buf_len(value));
        memset(buf_reserve(value, more), 0, more);
        buf_commit(value, more);
    }
    if (data.len)
        memcpy(value->data + value->start + offset, data.data, data.len);
}

void file_hold(struct fh *fh, uint64_t offset, struct slice data)
{
    struct buf *held = &fh->file->held;
    uint8_t *p = buf_reserve(held, WRITE_HEAD_BYTES + data.len);

    put_bytes(put_le64(put_le64(p, offset), data.len), data.data, data.len);
    buf_commit(held, WRITE_HEAD_BYTES + data.len);
    fh->wrote |= FH_HELD;
}

void file_drop_last(struct file *f, size_t len)
{
    INVARIANT(buf_len(&f->held) >= WRITE_HEAD_BYTES + len);
    f->held.end -= WRITE_HEAD_BYTES + len;
}

void file_truncate(struct fh *fh)
{
    struct fh *other;

    buf_clear(&fh->file->held);
    TAILQ_FOREACH(other, &fh->file->handles, link)
        other->wrote &= ~(unsigned)FH_HELD;
    fh->file->truncate = true;
    fh->truncates = true;
}

void file_truncated(struct file *f)
{
    struct fh *fh;

    f->truncate = false;
    TAILQ_FOREACH(fh, &f->handles, link)
        fh->truncates = false;
}

bool file_differs(const struct file *f)
{
    return f->truncate || buf_len(&f->held) || f->coming || (f->gone && f->own);
}

struct slice file_visible(const struct file *f, struct slice base, struct buf *scratch)
{
    struct reader r = reader_of(buf_slice(&f->held));

    if (f->gone && f->own)
        base = blob_slice(f->own);
    if (f->coming)
        base = blob_slice(f->coming);
    else if (f->truncate)
        base = slice_of(NULL, 0);
    if (!buf_len(&f->held))
        return base;
    buf_clear(scratch);
    buf_append_slice(scratch, base);
    while (reader_left(&r)) {
        uint64_t off = read_le64(&r), len = read_le64(&r);
        const uint8_t *data = read_bytes(&r, len);
        fh_put(scratch, off == OFFSET_END ? buf_len(scratch) : off, slice_of(data, len));
    }
    return buf_slice(scratch);
}

struct slice fh_visible(const struct fh *fh, struct buf *scratch)
{
    return fh->file ? file_visible(fh->file, blob_slice(fh->value), scratch) : blob_slice(fh->value);
}

void file_take_held(struct file *f, struct buf *ret_writes)
{
    struct fh *fh;

    *ret_writes = f->held;
    f->held = (struct buf){0};
    TAILQ_FOREACH(fh, &f->handles, link)
        fh->wrote = fh->wrote & FH_HELD ? FH_FLYING : 0;
}

void file_settle(struct file *f, const struct fh *by, int error)
{
    struct fh *fh;

    TAILQ_FOREACH(fh, &f->handles, link)
    {
        if (error && fh != by && fh->wrote & FH_FLYING)
            fh->error = error;
        if (fh == by || fh->wrote & FH_FLYING)
            fh->failed = error != 0;
        fh->wrote &= ~(unsigned)FH_FLYING;
    }
}
