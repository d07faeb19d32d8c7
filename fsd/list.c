/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The children of a directory, all at one revision, in pages. raftd lists them in one go (a Range with a delimiter); a plain etcd
 * is asked again behind each child that has keys below it, so that a listing costs its children and not the keys below them.
 */
#include "fsd/fs.h"

#define PAGE_FIRST 64
#define PAGE_MAX 4096
#define RESTARTS_MAX 3

enum { OWN_VALUE = 1, OWN_MARKER = 2 };

/*
 * Files that were made here and are not in the store yet are there, for us. As of the beginning: one that is committed
 * meanwhile may be newer than the listing.
 */
static void add_pending(struct op *op)
{
    struct slice prefix = ino_key(op->parent), root = buf_slice(&op->fs->root);
    struct file *f, *next;

    HASH_ITER(by_key, op->fs->table.files.files, f, next)
    {
        struct slice key = file_key(f);
        bool empty_name = key.len && key.data[key.len - 1] == '/'; /* %empty in the directory of that key */
        if (!f->pending || !slice_equal(empty_name ? key : ns_parent(key, root), prefix))
            continue;
        listing_take_pending(op->listing, fs_is_top(op->fs, op->parent),
                             slice_of(key.data + prefix.len, key.len - prefix.len));
    }
}

/* ---- pages ---- */

static void finish(struct op *op)
{
    listing_finish(op->listing);
    op->listed(op, 0);
}

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
 * Beside the keys below: the key of the directory itself, which is %value in it; and its marker, which is %empty in it when
 * it has a value, where the listing did not tell. A key that is a marker itself (of a directory named %empty) is no file
 * without a value.
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
            listing_take_value(op->listing, kv);
    }
    if (op->listing->asked & OWN_MARKER) {
        const Mvccpb__KeyValue *kv = txn_kv(r, at);
        if (kv)
            listing_take(op->listing, fs_is_top(op->fs, op->parent), prefix, kv);
    }
    finish(op);
}

static void ask_own_keys(struct op *op)
{
    struct listing *l = op->listing;
    struct slice prefix = ino_key(op->parent);
    struct range_args a = {.rev = l->rev, .serializable = op->parent->view == VIEW_PLAIN && !op->linearizable};

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
        finish(op);
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
    bool top = fs_is_top(op->fs, op->parent);
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
        directory = listing_take(l, top, ino_key(op->parent), r->kvs[i]);
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
