/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The children of a directory, all at one revision, in pages. raftd lists them in one go (a Range with a delimiter); a plain etcd
 * is asked again behind each child that has keys below it, so that a listing costs its children and not the keys below them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "fsd/fs.h"

#define PAGE_FIRST 64
#define PAGE_MAX 4096
#define RESTARTS_MAX 3

enum { OWN_VALUE = 1, OWN_MARKER = 2 };

void listing_fini(struct listing *l)
{
    buf_fini(&l->bytes);
    free(l->children);
    *l = (struct listing){0};
}

static void listing_clear(struct listing *l)
{
    buf_clear(&l->bytes);
    l->count = 0;
    l->has_sizes = l->has_marker = false;
}

static struct child *add_child(struct listing *l, bool top, struct slice component, bool value)
{
    struct child *c;

    l->children = mem_grow(l->children, &l->cap, l->count + 1, sizeof *l->children);
    c = &l->children[l->count++];
    *c = (struct child){.value = value, .component_at = buf_len(&l->bytes), .component_len = component.len};
    buf_append_slice(&l->bytes, component);
    c->name_at = buf_len(&l->bytes);
    if (value)
        buf_append_text(&l->bytes, "%value");
    else
        ns_name_of(component, top, &l->bytes);
    c->name_len = buf_len(&l->bytes) - c->name_at;
    buf_append_byte(&l->bytes, 0);
    return c;
}

static void add_file(struct listing *l, bool top, struct slice component, bool value, const Mvccpb__KeyValue *kv)
{
    struct child *c = add_child(l, top, component, value);

    c->kv = *kv;
    c->kv.value_size = kv_size(kv);
    c->kv.key.data = c->kv.value.data = NULL;
    c->kv.key.len = c->kv.value.len = 0;
}

/* A key, or a group of keys, below op->parent. Returns its first part up to the '/' if it stands for a directory, else nothing. */
static struct slice take_kv(struct op *op, const Mvccpb__KeyValue *kv)
{
    struct listing *l = op->listing;
    bool top = fs_is_top(op->fs, op->parent);
    struct slice key = slice_of(kv->key.data, kv->key.len), prefix = ino_key(op->parent);
    struct slice component = slice_of(key.data + prefix.len, key.len - prefix.len);
    const uint8_t *slash = component.len ? memchr(component.data, '/', component.len) : NULL;

    if (!component.len) {
        if (kv_size(kv)) /* with a value it is %empty, without it is the directory's own marker */
            add_file(l, top, component, false, kv);
        else
            l->has_marker = true; /* or its size is not told */
        return slice_of(NULL, 0);
    }
    if (!slash) {
        add_file(l, top, component, false, kv);
        return slice_of(NULL, 0);
    }
    component.len = (size_t)(slash - component.data);
    add_child(l, top, component, false)->dir = true;
    return slice_of(key.data, prefix.len + component.len);
}

/*
 * Files that were made here and are not in the store yet are there, for us. As of the beginning: one that is committed meanwhile may
 * be newer than the listing.
 */
static void add_pending(struct op *op)
{
    struct slice prefix = ino_key(op->parent), root = buf_slice(&op->fs->root);
    struct file *f, *next;

    HASH_ITER(by_key, op->fs->table.files.files, f, next)
    {
        struct slice key = file_key(f);
        if (!f->pending || !slice_equal(ns_parent(key, root), prefix))
            continue;
        add_child(op->listing, fs_is_top(op->fs, op->parent), slice_of(key.data + prefix.len, key.len - prefix.len), false)
            ->pending = true;
    }
}

static int compare_children(const void *a, const void *b, void *arg)
{
    const struct child *x = a, *y = b;
    const struct listing *l = arg;
    int c = slice_compare(child_component(l, x), child_component(l, y));

    if (c)
        return c;
    if (x->value != y->value)
        return (int)x->value - (int)y->value;
    if (x->dir != y->dir)
        return (int)y->dir - (int)x->dir;
    return (int)x->pending - (int)y->pending;
}

/* A name that is a key and a directory is a directory; everything is listed once. */
static void listing_finish(struct op *op)
{
    struct listing *l = op->listing;
    size_t kept = 0;

    if (l->count)
        qsort_r(l->children, l->count, sizeof *l->children, compare_children, l);
    for (size_t i = 0; i < l->count; i++) {
        const struct child *last = kept ? &l->children[kept - 1] : NULL, *c = &l->children[i];
        if (last && last->value == c->value && slice_equal(child_component(l, last), child_component(l, c)))
            continue;
        l->children[kept++] = *c;
    }
    l->count = kept;
    op->listed(op, 0);
}

/* ---- pages ---- */

static void first_page(struct op *op);
static void ask_page(struct op *op);

static void fail(struct op *op, enum status st)
{
    /* The revision of the first page was compacted meanwhile, or another endpoint does not have it yet: begin again. */
    if ((st == ST_COMPACTED || st == ST_FUTURE_REV) && op->attempts++ < RESTARTS_MAX) {
        op->linearizable = true;
        first_page(op);
    } else {
        op->listed(op, fs_errno(st));
    }
}

/*
 * Beside the keys below: the key of the directory itself, which is %value in it; and its marker, which is %empty in it when it has a
 * value, where the listing did not tell. A key that is a marker itself (of a directory named %empty) is no file without a value.
 */
static void on_own_keys(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    struct slice prefix = ino_key(op->parent);
    size_t at = 0;

    if (!r) {
        fail(op, st);
        return;
    }
    if (op->listing->asked & OWN_VALUE) {
        const Mvccpb__KeyValue *kv = txn_kv(r, at++);
        if (kv && (kv_size(kv) || prefix.data[prefix.len - 2] != '/'))
            add_file(op->listing, false, slice_of_text("%value"), true, kv);
    }
    if (op->listing->asked & OWN_MARKER) {
        const Mvccpb__KeyValue *kv = txn_kv(r, at);
        if (kv && kv_size(kv))
            add_file(op->listing, fs_is_top(op->fs, op->parent), slice_of(NULL, 0), false, kv);
    }
    listing_finish(op);
}

static void ask_own_keys(struct op *op)
{
    struct listing *l = op->listing;
    struct slice prefix = ino_key(op->parent);
    struct range_args a = {.rev = l->rev, .serializable = op->parent->view == VIEW_PLAIN};

    l->asked = 0;
    buf_clear(&op->request);
    /* The mount's root is no key's directory here. */
    if (prefix.len >= 2 && prefix.len > buf_len(&op->fs->root)) {
        l->asked |= OWN_VALUE;
        a.key = slice_of(prefix.data, prefix.len - 1);
        a.keys_only = l->has_sizes || prefix.data[prefix.len - 2] != '/';
        txn_range(&op->request, TXN_THEN, &a);
    }
    if (l->has_marker && !l->has_sizes) {
        l->asked |= OWN_MARKER;
        a.key = prefix;
        a.keys_only = false;
        txn_range(&op->request, TXN_THEN, &a);
    }
    if (l->asked)
        op_call(op, PATH_TXN, true, on_own_keys);
    else
        listing_finish(op);
}

/* Where the next page begins: behind the last key, or behind everything below the directory it stood for. */
static void next_page(struct op *op, struct slice last_key, struct slice directory)
{
    buf_clear(&op->key);
    buf_append_slice(&op->key, directory.len ? directory : last_key);
    buf_append_byte(&op->key, directory.len ? '/' + 1 : 0);
    ask_page(op);
}

static void on_page(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__RangeResponse *r = op_range_answer(op, &st, answer);
    struct listing *l = op->listing;
    struct slice directory = {0}, key = {0};
    size_t used = 0;

    if (!r) {
        fail(op, st);
        return;
    }
    if (!l->rev && op_is_behind(op, op->parent->view, r->header)) {
        ask_page(op);
        return;
    }
    if (!l->rev)
        l->rev = op->rev;
    l->has_sizes = r->attributes;
    for (size_t i = 0; i < r->n_kvs; i++) {
        key = slice_of(r->kvs[i]->key.data, r->kvs[i]->key.len);
        /* A plain etcd sends every key below a child: the first one says that it is there. */
        if (directory.len && slice_has_prefix(key, directory) && key.len > directory.len && key.data[directory.len] == '/')
            continue;
        directory = take_kv(op, r->kvs[i]);
        used++;
    }
    if (!r->more) {
        ask_own_keys(op);
        return;
    }
    /* Few children in a page: there is much below them, so ask for less; else for more. */
    op->number = used * 4 < r->n_kvs ? PAGE_FIRST : op->number * 4 < PAGE_MAX ? op->number * 4 : PAGE_MAX;
    next_page(op, key, directory);
}

static void ask_page(struct op *op)
{
    struct range_args a = {.key = buf_slice(&op->key),
                           .end = buf_slice(&op->end),
                           .rev = op->listing->rev,
                           .limit = (int64_t)op->number,
                           .serializable = op->parent->view == VIEW_PLAIN && !op->linearizable,
                           .keys_only = true,
                           .children = true,
                           .group_offset = (uint32_t)ino_key(op->parent).len};

    buf_clear(&op->request);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_page);
}

static void first_page(struct op *op)
{
    struct slice prefix = ino_key(op->parent);

    listing_clear(op->listing);
    add_pending(op);
    op->listing->rev = 0;
    op->number = PAGE_FIRST;
    buf_clear(&op->key);
    buf_append_slice(&op->key, prefix);
    if (!prefix.len)
        buf_append_byte(&op->key, 1); /* keys led by NUL are outside of every mount */
    ns_prefix_end(prefix, &op->end);
    ask_page(op);
}

void listing_fetch(struct op *op, struct listing *l, void (*done)(struct op *op, int error))
{
    op->listing = l;
    op->listed = done;
    first_page(op);
}
