/* SPDX-License-Identifier: Apache-2.0 */
/* Names: looking them up, making, removing and moving them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/limits.h"
#include "common/mem.h"
#include "fsd/fs.h"

static struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* ---- children of directories ---- */

static bool is_top(const struct fs *fs, const struct ino *parent)
{
    return slice_equal(ino_key(parent), buf_slice(&fs->root));
}

/*
 * op->key becomes the key of the file, op->end the prefix of the directory that the name can stand for (empty for %value,
 * which is a file only). False: answered.
 */
bool op_child(struct op *op, struct ino *parent, const char *name)
{
    struct fs *fs = op->fs;
    struct slice prefix = ino_key(parent);
    enum ns_kind kind;
    enum status st = ns_parse(slice_of_text(name), is_top(fs, parent), &kind, &op->name);

    op_set_parent(op, parent);
    if (st == ST_OK && kind == NS_VALUE) {
        /* The value of the directory itself; the very root has no key. */
        if (prefix.len <= buf_len(&fs->root) || prefix.len < 2)
            st = ST_NOT_FOUND;
        buf_append(&op->key, prefix.data, prefix.len ? prefix.len - 1 : 0);
    } else if (st == ST_OK && kind == NS_COMPONENT) {
        buf_append_slice(&op->key, prefix);
        buf_append_slice(&op->key, buf_slice(&op->name));
        buf_append_slice(&op->end, buf_slice(&op->key));
        buf_append_byte(&op->end, '/');
    } else if (st == ST_OK) {
        st = ST_NOT_FOUND; /* views and long names are dealt with where they can be */
    }
    if (st == ST_OK && buf_len(&op->key) > KEY_BYTES_MAX / 2)
        st = ST_NAME_TOO_LONG;
    if (st != ST_OK) {
        op_fail(op, st == ST_NAME_TOO_LONG ? ENAMETOOLONG : ENOENT);
        return false;
    }
    return true;
}

void op_reply_entry(struct op *op, struct ino *i, bool keep)
{
    struct fuse_entry_param e = {.ino = i->id};

    state_fill_attr(op->fs, i, &e.attr);
    if (keep)
        e.attr_timeout = e.entry_timeout = CACHE_S;
    i->lookups++;
    if (fuse_reply_entry(op->req, &e) < 0)
        ino_forget(&op->fs->table, i, 1);
    op_end(op);
}

/* ---- look-up ---- */

static void reply_nothing(struct op *op, bool keep)
{
    struct fuse_entry_param e = {.entry_timeout = CACHE_S};

    /* A name that is not there is remembered, too, until the watch hears of it. */
    if (keep)
        fuse_reply_entry(op->req, &e);
    else
        fuse_reply_err(op->req, ENOENT);
    op_end(op);
}

/* The file is what stands there: a directory beats it (its value is then %value), and a marker without a value is none. */
static bool is_file(const struct op *op, const Etcdserverpb__RangeResponse *file)
{
    bool is_marker = !buf_len(&op->name) && buf_len(&op->end);

    return file->n_kvs && !(is_marker && !kv_size(file->kvs[0]));
}

static void on_found(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    void (*found)(struct op *op, struct ino *i) = *(void (**)(struct op *, struct ino *))op->extra;
    Etcdserverpb__TxnResponse *r =
        st == ST_OK ? etcdserverpb__txn_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    const Etcdserverpb__RangeResponse *file, *dir;
    enum ino_view view = op->parent->view;

    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    if (!r || r->n_responses < 1 || !(file = r->responses[0]->response_range) ||
        (buf_len(&op->end) && r->n_responses < 2)) {
        op_fail(op, EIO);
        return;
    }
    dir = buf_len(&op->end) ? r->responses[1]->response_range : NULL;
    op->rev = r->header ? r->header->revision : 0;
    if (view == VIEW_PLAIN && op->rev < fs->seen_rev && op->attempts++ < 3) {
        op->linearizable = true; /* this endpoint is behind what was read here before */
        op_find_child(op, found);
        return;
    }
    state_see(fs, r->header);
    if (dir && dir->n_kvs) {
        op_set_ino(op, ino_get(&fs->table, view, INO_DIR, buf_slice(&op->end)));
    } else if (is_file(op, file)) {
        op_set_ino(op, ino_get(&fs->table, view, INO_FILE, buf_slice(&op->key)));
        state_take(fs, op->ino, file->kvs[0], true, op->rev);
    }
    found(op, op->ino);
}

void op_find_child(struct op *op, void (*found)(struct op *op, struct ino *i))
{
    struct fs *fs = op->fs;
    bool plain = op->parent->view == VIEW_PLAIN && !op->linearizable;
    struct range_args file = {.key = buf_slice(&op->key), .serializable = plain};
    struct range_args dir = {.key = buf_slice(&op->end), .serializable = plain, .keys_only = true, .limit = 1};

    (void)fs;
    free(op->extra);
    op->extra = mem_copy(&found, sizeof found);
    buf_clear(&op->request);
    txn_range(&op->request, TXN_THEN, &file);
    if (buf_len(&op->end)) {
        ns_prefix_end(buf_slice(&op->end), &op->key2);
        dir.end = buf_slice(&op->key2);
        txn_range(&op->request, TXN_THEN, &dir);
    }
    op_call(op, PATH_TXN, true, on_found);
}

static void on_lookup_found(struct op *op, struct ino *i)
{
    if (!i)
        reply_nothing(op, state_is_fresh(op->fs, op->parent, op->rev));
    else
        op_reply_entry(op, i, state_is_fresh(op->fs, i, op->rev));
}

/* A file that was made here and not committed yet is there, for us. */
static struct ino *find_pending(struct op *op)
{
    struct ino *i = ino_find(&op->fs->table, VIEW_PLAIN, INO_FILE, buf_slice(&op->key));

    return i && i->pending ? i : NULL;
}

/* Which component is the one with this digest? List the keys of the directory and compare. */
static void on_long_listed(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    struct slice prefix = ino_key(op->parent);
    struct buf name = {0};
    bool found = false;

    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    for (size_t i = 0; !found && i < r->n_kvs; i++) {
        struct slice key = slice_of(r->kvs[i]->key.data, r->kvs[i]->key.len), component;
        const uint8_t *slash;
        if (key.len <= prefix.len)
            continue;
        component = slice_of(key.data + prefix.len, key.len - prefix.len);
        slash = memchr(component.data, '/', component.len);
        if (slash)
            component.len = (size_t)(slash - component.data);
        buf_clear(&name);
        ns_name_of(component, is_top(fs, op->parent), &name);
        found = slice_equal(buf_slice(&name), buf_slice(&op->data));
        if (found) {
            buf_clear(&op->name);
            buf_append_slice(&op->name, component);
        }
    }
    buf_fini(&name);
    if (!found) {
        op_fail(op, ENOENT);
        return;
    }
    buf_clear(&op->key);
    buf_clear(&op->end);
    buf_append_slice(&op->key, prefix);
    buf_append_slice(&op->key, buf_slice(&op->name));
    buf_append_slice(&op->end, buf_slice(&op->key));
    buf_append_byte(&op->end, '/');
    op_find_child(op, on_lookup_found);
}

static void lookup_long(struct op *op, const char *name)
{
    struct range_args a = {.key = ino_key(op->parent), .serializable = op->parent->view == VIEW_PLAIN, .keys_only = true};
    static const uint8_t zero[1] = {0};

    buf_append_text(&op->data, name);
    ns_prefix_end(a.key, &op->end);
    if (!a.key.len)
        a.key = slice_of(zero, 1);
    a.end = buf_slice(&op->end);
    a.children = true;
    a.group_offset = (uint32_t)ino_key(op->parent).len;
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_long_listed);
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id), *i;
    struct op *op = op_new(fs, req);
    enum ns_kind kind;

    if (!op)
        return;
    if (!parent || parent->kind != INO_DIR) {
        op_fail(op, ENOENT);
        return;
    }
    if (ns_parse(slice_of_text(name), is_top(fs, parent), &kind, &op->name) == ST_OK && kind == NS_VIEW) {
        /* Views are in the root of the plain tree only: .linearizable/.linearizable is nothing. */
        if (parent->view != VIEW_PLAIN)
            op_fail(op, ENOENT);
        else
            op_reply_entry(op, ino_get(&fs->table, VIEW_LINEARIZABLE, INO_DIR, buf_slice(&fs->root)), true);
        return;
    }
    if (kind == NS_LONG && strlen(name) <= NAME_BYTES_MAX) {
        op_set_parent(op, parent);
        lookup_long(op, name);
        return;
    }
    if (!op_child(op, parent, name))
        return;
    i = find_pending(op);
    if (i)
        op_reply_entry(op, i, false);
    else
        op_find_child(op, on_lookup_found);
}

/* ---- creating ---- */

static Etcdserverpb__TxnResponse *decode_txn(struct op *op, enum status *st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = NULL;

    if (*st == ST_OK)
        r = etcdserverpb__txn_response__unpack(&op->fs->arena.allocator, answer.len, answer.data);
    if (*st == ST_OK && !r)
        *st = ST_BAD_MESSAGE;
    if (r)
        state_see(op->fs, r->header);
    return r;
}

/* The kv that the n-th operation of a branch, a range, gave; NULL if none. */
static const Mvccpb__KeyValue *kv_of(const Etcdserverpb__TxnResponse *r, size_t n)
{
    const Etcdserverpb__RangeResponse *range = n < r->n_responses ? r->responses[n]->response_range : NULL;

    return range && r->responses[n]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE && range->n_kvs ?
               range->kvs[0] :
               NULL;
}

static void on_created(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = decode_txn(op, &st, answer);
    const Mvccpb__KeyValue *kv;
    struct blob *empty;

    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    if (!r->succeeded) {
        op_fail(op, EEXIST);
        return;
    }
    kv = kv_of(r, 1);
    if (!kv) {
        op_fail(op, EIO);
        return;
    }
    op_set_ino(op, ino_get(&fs->table, op->parent->view, INO_FILE, buf_slice(&op->key)));
    op->ino->removed = op->ino->gone_here = false;
    empty = blob_new(slice_of(NULL, 0));
    state_committed(fs, op->ino, kv, empty);
    blob_unref(empty);
    if (op->flags)
        op_reply_create(op, op->ino);
    else
        op_reply_entry(op, op->ino, op->ino->known);
}

/* Exactly one caller in the cluster wins: the transaction holds only if nothing stands there. */
static void create_now(struct op *op)
{
    struct range_args kv = {.key = buf_slice(&op->key), .keys_only = true};

    buf_clear(&op->request);
    txn_if_create(&op->request, buf_slice(&op->key), slice_of(NULL, 0), 0);
    if (buf_len(&op->end)) {
        ns_prefix_end(buf_slice(&op->end), &op->key2);
        txn_if_create(&op->request, buf_slice(&op->end), buf_slice(&op->key2), 0);
    }
    txn_put(&op->request, TXN_THEN, buf_slice(&op->key), slice_of(NULL, 0));
    txn_range(&op->request, TXN_THEN, &kv);
    op_call(op, PATH_TXN, false, on_created);
}

static void on_create_found(struct op *op, struct ino *i)
{
    if (i && i->kind == INO_DIR) {
        op_fail(op, EISDIR);
        return;
    }
    if (!i) {
        /* Not in the store before its first write, or the end of the handle: then `echo v > f` is one revision. */
        op_set_ino(op, ino_get(&op->fs->table, op->parent->view, INO_FILE, buf_slice(&op->key)));
        op->ino->pending = true;
        op->ino->removed = false;
        op->ino->known = false;
        op->ino->local_size = 0;
        op->ino->create_rev = op->ino->mod_rev = 0;
        op->ino->size = 0;
        ino_set_value(&op->fs->table, op->ino, NULL);
    }
    op_reply_create(op, op->ino);
}

void fs_create(fuse_req_t req, fuse_ino_t parent_id, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id), *i;
    struct op *op = op_new(fs, req);

    (void)mode;
    if (!op || (parent && !op_child(op, parent, name)))
        return;
    if (!parent) {
        op_fail(op, ENOENT);
        return;
    }
    op->fi = *fi;
    op->flags = 1; /* a handle is wanted */
    i = find_pending(op);
    if (fi->flags & O_EXCL) {
        if (i)
            op_fail(op, EEXIST);
        else
            create_now(op);
    } else if (i) {
        op_set_ino(op, i);
        op_reply_create(op, i);
    } else {
        op_find_child(op, on_create_found);
    }
}

void fs_mknod(fuse_req_t req, fuse_ino_t parent_id, const char *name, mode_t mode, dev_t rdev)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id);
    struct op *op;

    (void)rdev;
    if (!S_ISREG(mode) || !parent) {
        fuse_reply_err(req, parent ? EPERM : ENOENT); /* no devices, FIFOs, sockets */
        return;
    }
    op = op_new(fs, req);
    if (op && op_child(op, parent, name))
        create_now(op);
}

/* ---- removing ---- */

static void on_unlinked(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__DeleteRangeResponse *r =
        st == ST_OK ? etcdserverpb__delete_range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;
    struct ino *i;

    if (!r) {
        op_fail_status(op, st == ST_OK ? ST_BAD_MESSAGE : st);
        return;
    }
    state_see(fs, r->header);
    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++) {
        i = ino_find(&fs->table, (enum ino_view)view, INO_FILE, buf_slice(&op->key));
        if (i) {
            /* Open handles keep their value, and may change it: it is theirs alone now. */
            i->removed = i->gone_here = true;
            i->known = false;
            ino_unlink(&fs->table, i);
        }
    }
    op_fail(op, r->deleted ? 0 : ENOENT);
}

void fs_unlink(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id), *i;
    struct op *op = op_new(fs, req);

    if (!op || (parent && !op_child(op, parent, name)))
        return;
    i = parent ? find_pending(op) : NULL;
    if (!parent) {
        op_fail(op, ENOENT);
    } else if (i) {
        i->pending = false; /* never was in the store */
        i->removed = i->gone_here = true;
        ino_unlink(&fs->table, i);
        op_fail(op, 0);
    } else {
        request_delete(&op->request, buf_slice(&op->key));
        op_call(op, PATH_DELETE, false, on_unlinked);
    }
}

static void on_made(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = decode_txn(op, &st, answer);

    if (st != ST_OK)
        op_fail_status(op, st);
    else if (!r->succeeded)
        op_fail(op, EEXIST);
    else
        op_reply_entry(op, ino_get(&op->fs->table, op->parent->view, INO_DIR, buf_slice(&op->end)),
                       op->parent->view == VIEW_PLAIN && op->fs->watching);
}

void fs_mkdir(fuse_req_t req, fuse_ino_t parent_id, const char *name, mode_t mode)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id);
    struct op *op = op_new(fs, req);

    (void)mode;
    if (!op || (parent && !op_child(op, parent, name)))
        return;
    if (!parent || !buf_len(&op->end)) {
        op_fail(op, parent ? EINVAL : ENOENT); /* %value is never a directory */
        return;
    }
    ns_prefix_end(buf_slice(&op->end), &op->key2);
    txn_if_create(&op->request, buf_slice(&op->key), slice_of(NULL, 0), 0);
    txn_if_create(&op->request, buf_slice(&op->end), buf_slice(&op->key2), 0);
    txn_put(&op->request, TXN_THEN, buf_slice(&op->end), slice_of(NULL, 0));
    op_call(op, PATH_TXN, false, on_made);
}

static void on_removed_dir(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = decode_txn(op, &st, answer);
    struct ino *dir;

    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    if (!r->succeeded) {
        op_fail(op, kv_of(r, 0) ? ENOTEMPTY : ENOENT);
        return;
    }
    dir = ino_find(&fs->table, op->parent->view, INO_DIR, buf_slice(&op->end));
    if (dir) {
        dir->removed = true;
        ino_unlink(&fs->table, dir);
    }
    op_fail(op, 0);
}

/* Empty: its marker, without a value, and no other key; nor a value of its own (that would be %value in it). */
void fs_rmdir(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id);
    struct op *op = op_new(fs, req);
    struct range_args any = {.keys_only = true, .limit = 1};
    struct buf behind = {0};

    if (!op || (parent && !op_child(op, parent, name)))
        return;
    if (!parent || !buf_len(&op->end)) {
        op_fail(op, parent ? ENOTDIR : ENOENT);
        return;
    }
    ns_prefix_end(buf_slice(&op->end), &op->key2);
    buf_append_slice(&behind, buf_slice(&op->end));
    buf_append_byte(&behind, 0); /* the first key behind the marker */
    txn_if_value(&op->request, buf_slice(&op->end), slice_of(NULL, 0));
    txn_if_create(&op->request, buf_slice(&behind), buf_slice(&op->key2), 0);
    txn_if_create(&op->request, buf_slice(&op->key), slice_of(NULL, 0), 0);
    txn_delete(&op->request, TXN_THEN, buf_slice(&op->end));
    any.key = buf_slice(&op->end);
    any.end = buf_slice(&op->key2);
    txn_range(&op->request, TXN_ELSE, &any);
    buf_fini(&behind);
    op_call(op, PATH_TXN, false, on_removed_dir);
}

/* ---- moving ---- */

static void rename_step(struct op *op);

static void forget_state(struct fs *fs, struct ino *i)
{
    i->known = false;
    i->page_rev = 0;
    i->create_rev = i->mod_rev = 0;
    ino_set_value(&fs->table, i, NULL);
    notifier_inode(fs->notifier, i->id);
}

/* The kernel moves its inode to the new name: its number stands for the new key from here on. */
static void move_inode(struct op *op, enum ino_view view)
{
    struct fs *fs = op->fs;
    struct ino *from = ino_find(&fs->table, view, INO_FILE, buf_slice(&op->key));
    struct ino *to = ino_find(&fs->table, view, INO_FILE, buf_slice(&op->data));

    if (to)
        ino_unlink(&fs->table, to); /* open handles keep what they have */
    if (from) {
        ino_set_key(&fs->table, from, buf_slice(&op->data));
        forget_state(fs, from);
    }
    if (!to)
        return;
    if (op->flags & RENAME_EXCHANGE) {
        ino_set_key(&fs->table, to, buf_slice(&op->key));
        forget_state(fs, to);
    } else {
        to->removed = to->gone_here = true;
        to->known = false;
    }
}

static void on_renamed(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = decode_txn(op, &st, answer);

    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    if (!r->succeeded) {
        if ((op->flags & RENAME_NOREPLACE) && kv_of(r, 1)) {
            op_fail(op, EEXIST);
        } else if (op->attempts++ < 100 && loop_now_ns(fs->loop) < op->deadline_ns) {
            rename_step(op); /* somebody wrote in between: read it again */
        } else {
            op_fail(op, EAGAIN);
        }
        return;
    }
    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++)
        move_inode(op, (enum ino_view)view);
    op_fail(op, 0);
}

static void on_rename_read(struct op *op, enum status st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = decode_txn(op, &st, answer);
    const Mvccpb__KeyValue *from, *to;
    struct range_args read = {0};
    bool exchange = op->flags & RENAME_EXCHANGE;

    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    from = kv_of(r, 0);
    to = kv_of(r, 1);
    if (!from || (exchange && !to)) {
        op_fail(op, kv_of(r, 2) ? EXDEV : ENOENT); /* directories are moved by copying, for now */
        return;
    }
    if ((op->flags & RENAME_NOREPLACE) && to) {
        op_fail(op, EEXIST);
        return;
    }
    buf_clear(&op->request);
    txn_if_mod(&op->request, buf_slice(&op->key), from->mod_revision);
    if (exchange || (op->flags & RENAME_NOREPLACE))
        txn_if_mod(&op->request, buf_slice(&op->data), to ? to->mod_revision : 0);
    txn_put(&op->request, TXN_THEN, buf_slice(&op->data), slice_of(from->value.data, from->value.len));
    if (exchange)
        txn_put(&op->request, TXN_THEN, buf_slice(&op->key), slice_of(to->value.data, to->value.len));
    else
        txn_delete(&op->request, TXN_THEN, buf_slice(&op->key));
    read.key = buf_slice(&op->key);
    read.keys_only = true;
    txn_range(&op->request, TXN_ELSE, &read);
    read.key = buf_slice(&op->data);
    txn_range(&op->request, TXN_ELSE, &read);
    op_call(op, PATH_TXN, false, on_renamed);
}

/* Both values, and whether the source is a directory. */
static void rename_step(struct op *op)
{
    struct range_args from = {.key = buf_slice(&op->key)}, to = {.key = buf_slice(&op->data)};
    struct range_args dir = {.key = buf_slice(&op->end), .end = buf_slice(&op->key2), .keys_only = true, .limit = 1};

    buf_clear(&op->request);
    txn_range(&op->request, TXN_THEN, &from);
    txn_range(&op->request, TXN_THEN, &to);
    if (buf_len(&op->end))
        txn_range(&op->request, TXN_THEN, &dir);
    op_call(op, PATH_TXN, true, on_rename_read);
}

static void on_source_committed(struct op *op, int error)
{
    if (error)
        op_fail(op, error);
    else
        rename_step(op);
}

void fs_rename(fuse_req_t req, fuse_ino_t parent_id, const char *name, fuse_ino_t newparent_id, const char *newname,
               unsigned int flags)
{
    struct fs *fs = fs_of(req);
    struct ino *parent = ino_by_id(&fs->table, parent_id), *newparent = ino_by_id(&fs->table, newparent_id);
    struct op *op = op_new(fs, req);
    struct ino *i;

    if (!op)
        return;
    if (!parent || !newparent || flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        op_fail(op, parent && newparent ? EINVAL : ENOENT);
        return;
    }
    if (parent->view != newparent->view) {
        op_fail(op, EXDEV);
        return;
    }
    op->flags = (int)flags;
    if (!op_child(op, newparent, newname))
        return;
    buf_append_slice(&op->data, buf_slice(&op->key));
    buf_clear(&op->key);
    buf_clear(&op->end);
    buf_clear(&op->name);
    if (!op_child(op, parent, name))
        return;
    if (buf_len(&op->end))
        ns_prefix_end(buf_slice(&op->end), &op->key2);
    i = find_pending(op);
    if (i) {
        /* What was only here goes to the store first. */
        op_set_ino(op, i);
        commit_resize(op, 0, on_source_committed);
        return;
    }
    rename_step(op);
}
