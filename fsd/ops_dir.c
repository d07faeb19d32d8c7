/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: opening, reading, with what is known of the files in them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/limits.h"
#include "common/mem.h"
#include "fsd/fs.h"

#define DOTS 2               /* offsets 0 and 1 are "." and ".." */
#define PLUS_ENTRY_BYTES 160 /* what an entry with attributes takes at least, in an answer to the kernel */

struct dir {
    struct ino *ino;
    bool listed;
    bool fresh;           /* the listing is what the watch keeps true */
    struct listing listing;
    struct ino **seen;    /* held until the answer that needs them is out */
    size_t seen_count, seen_cap;
};

static struct dir *dir_of(const struct fuse_file_info *fi)
{
    return (struct dir *)(uintptr_t)fi->fh;
}

static void dir_close(struct fs *fs, struct dir *d)
{
    ino_release(&fs->table, d->ino);
    listing_fini(&d->listing);
    free(d->seen);
    free(d);
}

void fs_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *i = ino_by_id(&fs->table, id);
    struct dir *d;

    if (!i || i->kind != INO_DIR) {
        fuse_reply_err(req, i ? ENOTDIR : ESTALE);
        return;
    }
    d = mem_zero(sizeof *d);
    d->ino = i;
    ino_hold(i);
    fi->fh = (uintptr_t)d;
    /* The kernel may keep the listing of the plain tree; it is told when that is no longer true. */
    fi->cache_readdir = i->view == VIEW_PLAIN && fs->watching;
    fi->keep_cache = fi->cache_readdir && i->listing_kept && state_is_told(fs, i);
    if (fuse_reply_open(req, fi) < 0)
        dir_close(fs, d);
}

void fs_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    (void)id;
    dir_close(fs_of(req), dir_of(fi));
    fuse_reply_err(req, 0);
}

void fs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    fuse_reply_err(req, 0); /* names are committed when the call that made them returns */
}

/* ---- entries ---- */

static void child_key(const struct dir *d, const struct child *c, struct buf *ret_key)
{
    struct slice prefix = ino_key(d->ino);

    buf_clear(ret_key);
    buf_append(ret_key, prefix.data, c->value ? prefix.len - 1 : prefix.len);
    if (!c->value)
        buf_append_slice(ret_key, child_component(&d->listing, c));
    if (c->dir)
        buf_append_byte(ret_key, '/');
}

static enum ino_kind child_kind(const struct child *c)
{
    return c->dir ? INO_DIR : INO_FILE;
}

/* Is what a stat would say known without another question? A plain etcd does not tell sizes without values. */
static bool is_told_enough(const struct dir *d, const struct child *c, const struct ino *i)
{
    return c->dir || d->listing.has_sizes || (i && i->mod_rev >= c->kv.mod_revision && i->linked);
}

/* The inode of a child, held, with what the listing says of it; NULL if nobody has said enough. */
static struct ino *child_inode(struct op *op, const struct child *c, struct slice key)
{
    struct fs *fs = op->fs;
    struct dir *d = dir_of(&op->fi);
    struct ino *i = ino_find(&fs->table, d->ino->view, child_kind(c), key), *now;

    if (c->pending || !is_told_enough(d, c, i))
        return NULL;
    if (!i)
        i = ino_get(&fs->table, d->ino->view, child_kind(c), key);
    ino_hold(i);
    if (c->dir) {
        i->known = i->known || d->fresh;
        return i;
    }
    if (!d->listing.has_sizes)
        return i;
    now = state_take(fs, i, &c->kv, false, d->listing.rev);
    ino_hold(now);
    ino_release(&fs->table, i);
    return now;
}

static size_t add_entry(struct op *op, char *out, size_t room, const struct child *c, off_t next, bool plus)
{
    struct dir *d = dir_of(&op->fi);
    const char *name = child_name(&d->listing, c);
    struct fuse_entry_param e = {.attr = {.st_mode = c->dir ? S_IFDIR : S_IFREG}};
    struct buf key = {0};
    struct ino *i;
    size_t need;

    child_key(d, c, &key);
    e.attr.st_ino = ino_number(d->ino->view, child_kind(c), buf_slice(&key), c->dir ? 0 : c->kv.create_revision);
    i = plus ? child_inode(op, c, buf_slice(&key)) : NULL;
    buf_fini(&key);
    if (!plus)
        return fuse_add_direntry(op->req, out, room, name, &e.attr, next);
    if (i) {
        e.ino = i->id;
        state_fill_attr(op->fs, i, &e.attr);
        if (d->fresh && (i->kind == INO_DIR || i->known)) {
            e.entry_timeout = fs_entry_timeout(op->fs, i);
            e.attr_timeout = state_attr_timeout(op->fs, i);
        }
    }
    need = fuse_add_direntry_plus(op->req, out, room, name, &e, next);
    if (i && need <= room)
        fs_count_lookup(op->fs, i); /* an entry with an inode is one */
    if (i)
        ino_release(&op->fs->table, i);
    return need;
}

static size_t add_dots(struct op *op, char *out, size_t room, off_t at, bool plus)
{
    struct fuse_entry_param e = {.attr = {.st_mode = S_IFDIR, .st_ino = ino_stable_number(dir_of(&op->fi)->ino)}};
    const char *name = at == 0 ? "." : "..";

    return plus ? fuse_add_direntry_plus(op->req, out, room, name, &e, at + 1) :
                  fuse_add_direntry(op->req, out, room, name, &e.attr, at + 1);
}

static void forget_seen(struct op *op)
{
    struct dir *d = dir_of(&op->fi);

    while (d->seen_count)
        ino_release(&op->fs->table, d->seen[--d->seen_count]);
}

/* From op->offset on, as many as fit. */
static void reply_listing(struct op *op)
{
    struct dir *d = dir_of(&op->fi);
    size_t room = op->size, used = 0, end = d->listing.count + DOTS;
    char *out = mem_alloc(room + 1);
    bool plus = op->flags;

    for (size_t at = (size_t)op->offset; at < end; at++) {
        size_t need = at < DOTS ? add_dots(op, out + used, room - used, (off_t)at, plus) :
                                  add_entry(op, out + used, room - used, &d->listing.children[at - DOTS], (off_t)at + 1, plus);
        if (need > room - used)
            break;
        used += need;
    }
    fuse_reply_buf(op->req, out, used);
    free(out);
    op_end(op);
}

/* ---- sizes from a plain etcd: the values of what is about to be shown, in one transaction ---- */

static void on_values(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    struct dir *d = dir_of(&op->fi);
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);

    /* Whatever could not be had is looked up by the kernel, one by one. */
    if (!r || op_is_behind(op, d->ino->view, r->header)) {
        reply_listing(op);
        return;
    }
    for (size_t n = 0; n < r->n_responses; n++) {
        const Mvccpb__KeyValue *kv = txn_kv(r, n);
        struct ino *i;
        if (!kv)
            continue;
        i = ino_get(&fs->table, d->ino->view, INO_FILE, slice_of(kv->key.data, kv->key.len));
        i = state_take(fs, i, kv, true, op->rev);
        ino_hold(i);
        d->seen = mem_grow(d->seen, &d->seen_cap, d->seen_count + 1, sizeof(struct ino *));
        d->seen[d->seen_count++] = i;
    }
    reply_listing(op);
}

/* How many questions were written into op->request. */
static size_t ask_for_values(struct op *op)
{
    struct fs *fs = op->fs;
    struct dir *d = dir_of(&op->fi);
    size_t at = op->offset > DOTS ? (size_t)op->offset - DOTS : 0, asked = 0;
    size_t end = at + op->size / PLUS_ENTRY_BYTES;
    struct buf key = {0};

    buf_clear(&op->request);
    for (; at < d->listing.count && at < end && asked < TXN_OPS_MAX; at++) {
        const struct child *c = &d->listing.children[at];
        struct range_args a = {.serializable = d->ino->view == VIEW_PLAIN && !op->linearizable};
        child_key(d, c, &key);
        a.key = buf_slice(&key);
        if (c->pending || is_told_enough(d, c, ino_find(&fs->table, d->ino->view, child_kind(c), a.key)))
            continue;
        txn_range(&op->request, TXN_THEN, &a);
        asked++;
    }
    buf_fini(&key);
    return asked;
}

static void show(struct op *op)
{
    bool plus = op->flags;

    op->on_end = forget_seen;
    if (plus && ask_for_values(op))
        op_call(op, PATH_TXN, true, on_values);
    else
        reply_listing(op);
}

/* ---- reading ---- */

static void on_listed(struct op *op, int error)
{
    struct dir *d = dir_of(&op->fi);

    if (error) {
        op_fail(op, error);
        return;
    }
    d->listed = true;
    d->fresh = state_is_fresh(op->fs, d->ino->view, ino_key(d->ino), d->listing.rev);
    d->ino->listing_kept = d->fresh;
    show(op);
}

static void read_dir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
    struct dir *d = dir_of(fi);
    struct op *op = op_new(fs_of(req), req, "readdir");

    if (!op)
        return;
    op->fi = *fi;
    op->size = size;
    op->offset = off;
    op->flags = plus;
    op_set_parent(op, d->ino);
    if (d->listed && off) {
        show(op);
        return;
    }
    d->listed = false; /* rewinddir(3): as it is now */
    listing_fetch(op, &d->listing, on_listed);
}

void fs_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)id;
    read_dir(req, size, off, fi, false);
}

void fs_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)id;
    read_dir(req, size, off, fi, true);
}
