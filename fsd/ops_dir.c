/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing directories. The whole listing is fetched at the first readdir, at one revision, in pages; raftd lists children in one
 * go (Range with a delimiter), a plain etcd is asked again behind each child that has keys below it, so that a listing
 * costs its children and not the keys below them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/mem.h"
#include "fsd/fs.h"

#define UNKNOWN_INO 0xffffffff /* what libfuse says for "look it up" */
#define PAGE_FIRST 64
#define PAGE_MAX 1024

struct child {
    size_t name_at, name_len; /* in dir->names */
    size_t key_at, key_len;   /* component, in dir->names */
    bool dir;
    bool value; /* %value */
    bool has_kv;
    Mvccpb__KeyValue kv; /* numbers only */
};

struct dir {
    struct ino *ino;
    bool listed;
    int64_t rev;      /* of the listing */
    bool fresh;
    struct buf names;
    struct child *children;
    size_t count, cap;
};

static struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static struct dir *dir_of(const struct fuse_file_info *fi)
{
    return (struct dir *)(uintptr_t)fi->fh;
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
    /* The kernel may keep the listing of the plain tree; the watch tells it when that is no longer true. */
    fi->cache_readdir = fi->keep_cache = i->view == VIEW_PLAIN && fs->watching;
    if (fuse_reply_open(req, fi) < 0) {
        ino_release(&fs->table, i);
        free(d);
    }
}

static void dir_clear(struct dir *d)
{
    buf_clear(&d->names);
    d->count = 0;
    d->listed = false;
}

void fs_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct dir *d = dir_of(fi);

    (void)id;
    ino_release(&fs->table, d->ino);
    buf_fini(&d->names);
    free(d->children);
    free(d);
    fuse_reply_err(req, 0);
}

/* ---- collecting children ---- */

static bool is_top(const struct fs *fs, const struct dir *d)
{
    return slice_equal(ino_key(d->ino), buf_slice(&fs->root));
}

static void add_child(struct fs *fs, struct dir *d, struct slice component, bool dir, bool value, const Mvccpb__KeyValue *kv)
{
    struct child *c;

    d->children = mem_grow(d->children, &d->cap, d->count + 1, sizeof *d->children);
    c = &d->children[d->count++];
    *c = (struct child){.dir = dir, .value = value, .has_kv = kv != NULL};
    if (kv) {
        c->kv = *kv;
        c->kv.value_size = kv_size(kv);
        c->kv.key.data = c->kv.value.data = NULL;
        c->kv.key.len = c->kv.value.len = 0;
    }
    c->key_at = buf_len(&d->names);
    c->key_len = component.len;
    buf_append_slice(&d->names, component);
    c->name_at = buf_len(&d->names);
    if (value)
        buf_append_text(&d->names, "%value");
    else
        ns_name_of(component, is_top(fs, d), &d->names);
    c->name_len = buf_len(&d->names) - c->name_at;
    buf_append_byte(&d->names, 0);
}

static struct slice component_of(const struct dir *d, const struct child *c)
{
    return slice_of(d->names.data + c->key_at, c->key_len);
}

/* One key (or group of keys) of the store below this directory. Returns the component if it is a directory, else empty. */
static struct slice take_kv(struct fs *fs, struct dir *d, const Mvccpb__KeyValue *kv)
{
    struct slice key = slice_of(kv->key.data, kv->key.len), prefix = ino_key(d->ino);
    struct slice component = slice_of(key.data + prefix.len, key.len - prefix.len);
    const uint8_t *slash = component.len ? memchr(component.data, '/', component.len) : NULL;

    if (!component.len) {
        if (kv_size(kv)) /* with a value it is %empty, without it is our own marker */
            add_child(fs, d, component, false, false, kv);
        return slice_of(NULL, 0);
    }
    if (!slash) {
        add_child(fs, d, component, false, false, kv);
        return slice_of(NULL, 0);
    }
    component.len = (size_t)(slash - component.data);
    add_child(fs, d, component, true, false, NULL);
    return slice_of(key.data, prefix.len + component.len);
}

static int compare_children(const void *a, const void *b, void *arg)
{
    const struct child *x = a, *y = b;
    const struct dir *d = arg;
    int c = slice_compare(component_of(d, x), component_of(d, y));

    return c ? c : (int)x->value - (int)y->value ? (int)x->value - (int)y->value : (int)y->dir - (int)x->dir;
}

/* A name that is a key and a directory is a directory; the same directory is listed once. */
static void dir_finish(struct dir *d)
{
    size_t kept = 0;

    if (d->count)
        qsort_r(d->children, d->count, sizeof *d->children, compare_children, d);
    for (size_t i = 0; i < d->count; i++) {
        const struct child *last = kept ? &d->children[kept - 1] : NULL;
        if (last && !last->value && !d->children[i].value &&
            slice_equal(component_of(d, last), component_of(d, &d->children[i])))
            continue;
        d->children[kept++] = d->children[i];
    }
    d->count = kept;
    d->listed = true;
}

/* ---- pages ---- */

static void list_page(struct op *op);
static void reply_listing(struct op *op);

/* %value: the key of the directory itself. */
static void on_own_value(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    struct dir *d = dir_of(&op->fi);
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;

    if (!r) {
        dir_clear(d);
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    if (r->n_kvs)
        add_child(fs, d, slice_of_text("%value"), false, true, r->kvs[0]);
    dir_finish(d);
    reply_listing(op);
}

static void list_own_value(struct op *op)
{
    struct dir *d = dir_of(&op->fi);
    struct slice prefix = ino_key(d->ino);
    struct range_args a = {.key = slice_of(prefix.data, prefix.len ? prefix.len - 1 : 0),
                           .rev = op->rev,
                           .serializable = d->ino->view == VIEW_PLAIN,
                           .keys_only = true};

    if (prefix.len < 2 || prefix.len <= buf_len(&op->fs->root)) {
        dir_finish(d);
        reply_listing(op);
        return;
    }
    buf_clear(&op->request);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_own_value);
}

/* Where the next page begins: behind the last key, or behind everything below the directory it stood for. */
static void next_page(struct op *op, struct slice last_key, struct slice directory)
{
    buf_clear(&op->key);
    if (directory.len) {
        buf_append_slice(&op->key, directory);
        buf_append_byte(&op->key, '/' + 1);
    } else {
        buf_append_slice(&op->key, last_key);
        buf_append_byte(&op->key, 0);
    }
}

static void on_page(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    struct dir *d = dir_of(&op->fi);
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    struct slice directory = {0}, key = {0};
    size_t used = 0;

    if (!r) {
        dir_clear(d);
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    if (!op->rev) {
        op->rev = r->header ? r->header->revision : 0;
        if (d->ino->view == VIEW_PLAIN && op->rev < fs->seen_rev && op->attempts++ < 3) {
            op->linearizable = true;
            op->rev = 0;
            list_page(op);
            return;
        }
        state_see(fs, r->header);
        d->rev = op->rev;
        d->fresh = state_is_fresh(fs, d->ino, op->rev);
    }
    for (size_t i = 0; i < r->n_kvs; i++) {
        key = slice_of(r->kvs[i]->key.data, r->kvs[i]->key.len);
        /* A plain etcd sends every key below a child: the first one says that it is there. */
        if (directory.len && slice_has_prefix(key, directory) && key.len > directory.len && key.data[directory.len] == '/')
            continue;
        directory = take_kv(fs, d, r->kvs[i]);
        used++;
    }
    if (!r->more) {
        list_own_value(op);
        return;
    }
    /* Few children in a page: there is much below them, so ask for less; else for more. */
    op->number = used * 4 < r->n_kvs ? PAGE_FIRST : op->number * 2 < PAGE_MAX ? op->number * 2 : PAGE_MAX;
    next_page(op, key, directory);
    list_page(op);
}

static void list_page(struct op *op)
{
    struct dir *d = dir_of(&op->fi);
    struct range_args a = {.rev = op->rev,
                           .limit = (int64_t)op->number,
                           .serializable = d->ino->view == VIEW_PLAIN && !op->linearizable,
                           .keys_only = true,
                           .children = true,
                           .group_offset = (uint32_t)ino_key(d->ino).len};

    a.key = buf_slice(&op->key);
    a.end = buf_slice(&op->end);
    buf_clear(&op->request);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_page);
}

/* ---- answering ---- */

/* The inode of a child for readdirplus, with what the listing says of it; NULL if the listing does not say enough. */
static struct ino *child_inode(struct op *op, const struct child *c)
{
    struct fs *fs = op->fs;
    struct dir *d = dir_of(&op->fi);
    struct buf key = {0};
    struct ino *i;

    if (!c->dir && !c->kv.mod_time)
        return NULL; /* a plain etcd does not tell sizes without values */
    buf_append_slice(&key, ino_key(d->ino));
    if (c->value)
        key.end--;
    else
        buf_append_slice(&key, component_of(d, c));
    if (c->dir)
        buf_append_byte(&key, '/');
    i = ino_get(&fs->table, d->ino->view, c->dir ? INO_DIR : INO_FILE, buf_slice(&key));
    buf_fini(&key);
    if (!c->dir && !i->pending)
        state_take(fs, i, &c->kv, false, d->rev);
    return i;
}

static size_t add_entry(struct op *op, char *out, size_t room, const struct child *c, off_t next, bool plus)
{
    struct dir *d = dir_of(&op->fi);
    const char *name = (const char *)d->names.data + c->name_at;
    struct fuse_entry_param e = {.attr = {.st_mode = c->dir ? S_IFDIR : S_IFREG, .st_ino = UNKNOWN_INO}};
    struct ino *i = plus ? child_inode(op, c) : NULL;
    size_t need;

    if (!plus)
        return fuse_add_direntry(op->req, out, room, name, &e.attr, next);
    if (i) {
        e.ino = i->id;
        state_fill_attr(op->fs, i, &e.attr);
        if (d->fresh && (i->kind == INO_DIR || i->known))
            e.attr_timeout = e.entry_timeout = CACHE_S;
    }
    need = fuse_add_direntry_plus(op->req, out, room, name, &e, next);
    if (i && need <= room)
        i->lookups++; /* an entry with an inode is a look-up */
    else if (i && !i->lookups && !i->holds) {
        ino_hold(i);
        ino_release(&op->fs->table, i);
    }
    return need;
}

/* From op->offset on, as many as fit. */
static void reply_listing(struct op *op)
{
    struct dir *d = dir_of(&op->fi);
    size_t room = op->size, used = 0;
    char *out = mem_alloc(room);
    bool plus = op->flags;

    for (size_t at = (size_t)op->offset; at < d->count; at++) {
        size_t need = add_entry(op, out + used, room - used, &d->children[at], (off_t)at + 1, plus);
        if (need > room - used)
            break;
        used += need;
    }
    fuse_reply_buf(op->req, out, used);
    free(out);
    op_end(op);
}

static void read_dir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
    struct fs *fs = fs_of(req);
    struct dir *d = dir_of(fi);
    struct op *op = op_new(fs, req);
    static const uint8_t zero[1] = {0};

    if (!op)
        return;
    op->fi = *fi;
    op->size = size;
    op->offset = off;
    op->flags = plus;
    if (off == 0 && d->listed)
        dir_clear(d); /* rewinddir(3): as it is now */
    if (d->listed) {
        reply_listing(op);
        return;
    }
    dir_clear(d);
    op->number = PAGE_FIRST;
    if (ino_key(d->ino).len)
        buf_append_slice(&op->key, ino_key(d->ino));
    else
        buf_append(&op->key, zero, 1);
    ns_prefix_end(ino_key(d->ino), &op->end);
    list_page(op);
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
