/* SPDX-License-Identifier: Apache-2.0 */
/* Names in directories: from a name to the keys it can stand for, and what stands there. */
#include <errno.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "fsd/fs.h"

/* A key travels twice in some requests, beside a value. */
#define KEY_USED_BYTES_MAX (KEY_BYTES_MAX / 4)
/* Where the kernel cannot be told to look a name up again without dropping who stands on it. */
#define DIR_CACHE_S 1.0
#define REPEATED_WITHIN_NS (100 * NS_PER_MS)

bool fs_is_top(const struct fs *fs, const struct ino *dir)
{
    return slice_equal(ino_key(dir), buf_slice(&fs->root));
}

double fs_entry_timeout(const struct fs *fs, const struct ino *i)
{
    return i->kind == INO_DIR && !fs->teller.can_expire ? DIR_CACHE_S : CACHE_S;
}

void fs_root_range(const struct fs *fs, struct slice *ret_key, struct buf *ret_end)
{
    static const uint8_t first[1] = {1};
    struct slice root = buf_slice(&fs->root);

    *ret_key = root.len ? root : slice_of(first, 1);
    ns_prefix_end(root, ret_end);
}

struct op *op_in_directory(fuse_req_t req, fuse_ino_t id, const char *what)
{
    struct fs *fs = fs_of(req);
    struct ino *dir = ino_by_id(&fs->table, id);
    struct op *op = op_new(fs, req, what);

    if (!op)
        return NULL;
    if (!dir || dir->kind != INO_DIR) {
        op_fail(op, dir ? ENOTDIR : ESTALE);
        return NULL;
    }
    op_set_parent(op, dir);
    return op;
}

/* ---- from a name to keys ---- */

/* op->name: the component. */
static void set_keys(struct op *op)
{
    struct slice prefix = ino_key(op->parent);

    buf_clear(&op->key);
    buf_clear(&op->end);
    buf_append_slice(&op->key, prefix);
    buf_append_slice(&op->key, buf_slice(&op->name));
    buf_append_slice(&op->end, buf_slice(&op->key));
    buf_append_byte(&op->end, '/');
}

/* Keys led by NUL are outside of every mount; one that no request could carry is no name. */
static void go_on(struct op *op)
{
    struct slice key = buf_slice(&op->key);

    if (key.len > KEY_USED_BYTES_MAX)
        op_fail(op, ENAMETOOLONG);
    else if (key.len && !key.data[0])
        op_fail(op, ENOENT);
    else
        op->go(op);
}

/* Which component is the one with this digest? */
static void on_long_listed(struct op *op, int error)
{
    const struct listing *l = op->listing;
    const struct child *found = NULL;

    for (size_t i = 0; !error && !found && i < l->count; i++)
        if (slice_equal(slice_of_text(child_name(l, &l->children[i])), buf_slice(&op->name)))
            found = &l->children[i];
    if (!found) {
        op_fail(op, error ? error : ENOENT);
        return;
    }
    buf_clear(&op->name);
    buf_append_slice(&op->name, child_component(l, found));
    set_keys(op);
    op_drop_listing(op);
    buf_clear(&op->request); /* the listing's */
    go_on(op);
}

static void find_long(struct op *op, const char *name)
{
    buf_clear(&op->name);
    buf_append_text(&op->name, name);
    op->owns_listing = true;
    listing_fetch(op, mem_zero(sizeof *op->listing), on_long_listed);
}

void op_resolve(struct op *op, struct ino *parent, const char *name, op_go_fn go)
{
    enum ns_kind kind;
    enum status st = ns_parse(slice_of_text(name), fs_is_top(op->fs, parent), &kind, &op->name);
    struct slice prefix = ino_key(parent);

    op_set_parent(op, parent);
    op->go = go;
    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    switch (kind) {
    case NS_VIEW:
        op_fail(op, parent->view == VIEW_PLAIN ? EPERM : ENOENT); /* views are neither made nor removed */
        return;
    case NS_LONG:
        find_long(op, name);
        return;
    case NS_VALUE:
        if (fs_is_top(op->fs, parent) || prefix.len < 2) {
            op_fail(op, ENOENT); /* the root is no key's directory here */
            return;
        }
        buf_clear(&op->key);
        buf_clear(&op->end);
        buf_append(&op->key, prefix.data, prefix.len - 1);
        break;
    case NS_COMPONENT:
        set_keys(op);
        break;
    }
    go_on(op);
}

/* While it waited the file may have been removed: then another one stands for the name now. */
static void on_turn(struct op *op)
{
    op_go_fn go = op->named;

    if (op->file->linked) {
        go(op);
        return;
    }
    op_drop_turns(op);
    op_take_name(op, go);
}

void op_take_name(struct op *op, op_go_fn go)
{
    struct file *f = file_get(&op->fs->table.files, buf_slice(&op->key));

    op->named = go;
    op_set_file(op, f);
    file_unref(&op->fs->table.files, f);
    op_take_turn(op, f, on_turn);
}

/*
 * Part of a transaction's condition: no file stands there. The key of %empty in D is D's own marker, which is no file while it
 * has no value; one condition cannot say "not there, or without a value", so whoever makes %empty asks for the second first.
 */
void op_if_no_file(struct op *op)
{
    if (op_is_marker(op) && !op->attempts)
        txn_if_value(&op->request, buf_slice(&op->key), slice_of(NULL, 0));
    else
        txn_if_create(&op->request, buf_slice(&op->key), slice_of(NULL, 0), 0);
}

bool op_is_marker(const struct op *op)
{
    struct slice key = buf_slice(&op->key);

    return key.len && key.data[key.len - 1] == '/';
}

/* ---- what stands there ---- */

struct file *op_pending(struct op *op)
{
    struct file *f = file_find(&op->fs->table.files, buf_slice(&op->key));

    return f && f->pending ? f : NULL;
}

struct ino *op_pending_ino(struct op *op, struct file *f)
{
    struct ino_table *t = &op->fs->table;
    struct ino *i = ino_get(t, op->parent->view, INO_FILE, file_key(f));

    if (i->file != f) {
        file_ref(f);
        file_unref(&t->files, i->file);
        i->file = f;
    }
    return i;
}

/* May what was just found (or not) be kept under its name? */
bool op_is_fresh(const struct op *op)
{
    enum ino_view view = op->parent->view;

    return state_is_fresh(op->fs, view, buf_slice(&op->key), op->rev) &&
           (!buf_len(&op->end) || state_is_fresh(op->fs, view, buf_slice(&op->end), op->rev));
}

/* A directory's marker is the file %empty in it (and %value in a directory of that name) only when it has a value. */
static bool is_file(const struct op *op, const Mvccpb__KeyValue *kv)
{
    return kv && (kv_size(kv) || !op_is_marker(op));
}

static struct ino *found_directory(struct op *op, const Mvccpb__KeyValue *first)
{
    struct ino *dir = ino_get(&op->fs->table, op->parent->view, INO_DIR, buf_slice(&op->end));

    if (op_is_fresh(op)) {
        dir->known = true;
        dir->marked = slice_equal(slice_of(first->key.data, first->key.len), buf_slice(&op->end));
    }
    return dir;
}

static void on_found(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__TxnResponse *r = op_txn_answer(op, &st, answer);
    size_t files = buf_len(&op->key) > 0, dirs = buf_len(&op->end) > 0;
    const Mvccpb__KeyValue *file, *dir;

    if (r && r->n_responses != files + dirs)
        st = ST_BAD_MESSAGE;
    if (st != ST_OK) {
        op_fail_status(op, st);
        return;
    }
    if (op_is_behind(op, op->parent->view, r->header)) {
        op_find_child(op, op->found);
        return;
    }
    file = files ? txn_kv(r, 0) : NULL;
    dir = dirs ? txn_kv(r, files) : NULL;
    if (dir) {
        op_set_ino(op, found_directory(op, dir));
    } else if (is_file(op, file)) {
        op_set_ino(op, ino_get(&fs->table, op->parent->view, INO_FILE, buf_slice(&op->key)));
        op_set_ino(op, state_take(fs, op->ino, file, true, op->rev));
    } else {
        state_absent(fs, op->parent->view, buf_slice(&op->key), buf_slice(&op->end), op->rev);
        op_set_ino(op, NULL);
    }
    op->found(op, op->ino);
}

void op_find_child(struct op *op, void (*found)(struct op *op, struct ino *i))
{
    bool local = op->parent->view == VIEW_PLAIN && !op->linearizable;
    struct range_args file = {.key = buf_slice(&op->key), .serializable = local};
    struct range_args dir = {.key = buf_slice(&op->end), .serializable = local, .keys_only = true, .limit = 1};

    op->found = found;
    buf_clear(&op->request);
    if (file.key.len)
        txn_range(&op->request, TXN_THEN, &file);
    if (dir.key.len) {
        ns_prefix_end(dir.key, &op->key2);
        dir.end = buf_slice(&op->key2);
        txn_range(&op->request, TXN_THEN, &dir);
    }
    op_call(op, PATH_TXN, true, on_found);
}

/* ---- look-up ---- */

void fs_count_lookup(struct fs *fs, struct ino *i)
{
    if (!i->lookups++)
        teller_note(&fs->teller, tell_hash(i->id, slice_of(NULL, 0)));
}

void op_reply_entry(struct op *op, struct ino *i, bool keep)
{
    struct fuse_entry_param e = {.ino = i->id};

    state_fill_attr(op->fs, i, &e.attr);
    if (keep) {
        e.entry_timeout = fs_entry_timeout(op->fs, i);
        e.attr_timeout = state_attr_timeout(op->fs, i);
    }
    fs_count_lookup(op->fs, i);
    if (op->name_hash)
        teller_note(&op->fs->teller, op->name_hash);
    if (fuse_reply_entry(op->req, &e) < 0)
        i->lookups--; /* the caller was interrupted; the op still holds it */
    op_end(op);
}

static void on_looked_up(struct op *op, struct ino *i)
{
    struct fuse_entry_param nothing = {.entry_timeout = CACHE_S};

    struct fs *fs = op->fs;

    if (i) {
        op_reply_entry(op, i, op_is_fresh(op));
    } else if (buf_len(&op->end) && emptied_by(&fs->emptied, buf_slice(&op->end), op_pid(op), loop_now_ns(fs->loop))) {
        op_set_ino(op, ino_get(&fs->table, op->parent->view, INO_DIR, buf_slice(&op->end)));
        op_reply_entry(op, op->ino, false);
    } else if (op_is_fresh(op)) {
        teller_note(&op->fs->teller, op->name_hash);
        fuse_reply_entry(op->req, &nothing); /* that nothing is there is kept, too */
        op_end(op);
    } else {
        op_fail(op, ENOENT);
    }
}

static void look_up(struct op *op)
{
    struct file *f = op->parent->view == VIEW_PLAIN ? op_pending(op) : NULL; /* the cluster does not know it yet */

    if (f) {
        op_set_ino(op, op_pending_ino(op, f));
        op_reply_entry(op, op->ino, false);
    } else {
        op_find_child(op, on_looked_up);
    }
}

/*
 * A name that the kernel knows and cannot revalidate is looked up once more, by the same call: whoever waited for the timeout once
 * is not to wait for it twice.
 */
static void note_failure(struct op *op, int error)
{
    struct fs *fs = op->fs;

    if (error != ETIMEDOUT && error != EHOSTUNREACH)
        return;
    fs->last_lookup.error = error;
    fs->last_lookup.pid = op_pid(op);
    fs->last_lookup.name = op->name_hash;
    fs->last_lookup.at_ns = loop_now_ns(fs->loop);
}

static int repeated_failure(struct op *op)
{
    struct fs *fs = op->fs;
    int error = fs->last_lookup.error;

    if (!error || fs->last_lookup.pid != op_pid(op) ||
        fs->last_lookup.name != op->name_hash || loop_now_ns(fs->loop) - fs->last_lookup.at_ns > REPEATED_WITHIN_NS)
        return 0;
    fs->last_lookup.error = 0;
    return error;
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
    struct op *op = op_in_directory(req, parent_id, "lookup");
    struct ino *parent = op ? op->parent : NULL;
    enum ns_kind kind;
    int error;

    if (!op)
        return;
    /* Views are in the root of the plain tree only: .linearizable/.linearizable is nothing. */
    if (parent->view == VIEW_PLAIN && fs_is_top(op->fs, parent) &&
        ns_parse(slice_of_text(name), true, &kind, &op->name) == ST_OK && kind == NS_VIEW) {
        op_set_ino(op, ino_get(&op->fs->table, VIEW_LINEARIZABLE, INO_DIR, buf_slice(&op->fs->root)));
        op_reply_entry(op, op->ino, true);
        return;
    }
    op->name_hash = tell_hash(parent_id, slice_of_text(name));
    error = repeated_failure(op);
    if (error) {
        op_fail(op, error);
        return;
    }
    op->on_fail = note_failure;
    op_resolve(op, parent, name, look_up);
}
