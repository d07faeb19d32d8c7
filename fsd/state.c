/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of files, and how it stays true. An answer may be kept if it is from a revision that the watch has not passed yet:
 * every later change will be heard of. An older answer may hide a change that was heard already, so it is used and not kept.
 */
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "fsd/fs.h"

#define BLOCK_BYTES 512
#define FILE_MODE 0644
#define DIR_MODE 0755

uint64_t kv_size(const Mvccpb__KeyValue *kv)
{
    return kv->value.len ? kv->value.len : kv->value_size;
}

int64_t state_see(struct fs *fs, const Etcdserverpb__ResponseHeader *h)
{
    if (h && h->revision > fs->seen_rev)
        fs->seen_rev = h->revision;
    return h ? h->revision : 0;
}

bool state_is_fresh(struct fs *fs, const struct ino *i, int64_t rev)
{
    return i->view == VIEW_PLAIN && fs->watching && rev >= fs->watch_rev;
}

/* The name of a key's last component in its directory. */
static struct ino *parent_and_name(struct fs *fs, struct slice key, struct buf *ret_name)
{
    struct slice root = buf_slice(&fs->root), parent = ns_parent(key, root);
    struct slice component = slice_of(key.data + parent.len, key.len - parent.len);

    if (component.len && component.data[component.len - 1] == '/')
        component.len--;
    buf_clear(ret_name);
    ns_name_of(component, parent.len == root.len, ret_name);
    return ino_find(&fs->table, VIEW_PLAIN, INO_DIR, parent);
}

static void invalidate_name(struct fs *fs, struct slice key)
{
    struct buf name = {0};
    struct ino *parent = parent_and_name(fs, key, &name);

    if (parent) {
        notifier_entry(fs->notifier, parent->id, buf_slice(&name));
        notifier_inode(fs->notifier, parent->id);
    }
    buf_fini(&name);
}

/* Open handles read another revision through the page cache: they keep this inode, the name gets a new one. */
static void retire(struct fs *fs, struct ino *i)
{
    i->retired = true;
    ino_unlink(&fs->table, i);
    invalidate_name(fs, ino_key(i));
}

/* The file is no longer what the kernel may have cached. Returns the inode that stands for the name from here on, or NULL. */
static struct ino *before_change(struct fs *fs, struct ino *i, bool ours)
{
    if (i->cached_readers && !ours) {
        retire(fs, i);
        return NULL;
    }
    return i;
}

static void fill(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv)
{
    i->create_rev = kv->create_revision;
    i->mod_rev = kv->mod_revision;
    i->version = kv->version;
    i->lease = kv->lease;
    i->create_time_ns = kv->create_time;
    i->mod_time_ns = kv->mod_time;
    i->size = kv_size(kv);
    i->pending = false;
    (void)fs;
}

void state_take(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, bool with_value, int64_t rev)
{
    bool fresh = state_is_fresh(fs, i, rev);
    bool same = i->mod_rev == kv->mod_revision;

    if (i->known && i->mod_rev > kv->mod_revision)
        return; /* we know newer: our own write, or the watch was faster */
    if (!same) {
        ino_set_value(&fs->table, i, NULL);
        if (i->view == VIEW_PLAIN && i->mod_rev && i->page_rev)
            notifier_inode(fs->notifier, i->id);
    }
    fill(fs, i, kv);
    i->known = fresh;
    if (with_value && !i->value) {
        struct blob *b = blob_new(slice_of(kv->value.data, kv->value.len));
        ino_set_value(&fs->table, i, b);
        blob_unref(b);
    }
}

void state_committed(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, struct blob *value)
{
    if (i->known && i->mod_rev > kv->mod_revision)
        return;
    fill(fs, i, kv);
    i->size = value->len;
    ino_set_value(&fs->table, i, value);
    i->known = i->view == VIEW_PLAIN && fs->watching;
    i->local_size = -1;
    /* Pages of the former value: the next open drops them; those who have it open read on. */
    if (i->page_rev && i->page_rev != i->mod_rev)
        notifier_inode(fs->notifier, i->id);
}

/* ---- events ---- */

static void on_put(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv)
{
    struct blob *b;

    if (i->mod_rev >= kv->mod_revision)
        return; /* ours, or read already */
    i = before_change(fs, i, false);
    if (!i)
        return;
    b = blob_new(slice_of(kv->value.data, kv->value.len));
    fill(fs, i, kv);
    i->known = true;
    ino_set_value(&fs->table, i, b);
    blob_unref(b);
    notifier_inode(fs->notifier, i->id);
}

static void on_gone(struct fs *fs, struct ino *i, int64_t rev)
{
    if (i->mod_rev >= rev || i->pending)
        return;
    i->known = false;
    i->removed = true;
    ino_unlink(&fs->table, i);
}

/* A key came: its name, and those of the directories above it that it may have brought into being. */
static void names_came(struct fs *fs, struct slice key)
{
    struct slice root = buf_slice(&fs->root);

    for (;;) {
        struct slice parent = ns_parent(key, root);
        invalidate_name(fs, key);
        /* A directory that the kernel knows was there before. */
        if (parent.len == root.len || ino_find(&fs->table, VIEW_PLAIN, INO_DIR, parent))
            return;
        key = parent;
    }
}

static void check_directory(struct fs *fs, struct slice prefix);

static void on_directory_checked(struct op *op, enum status st, struct slice answer)
{
    struct fs *fs = op->fs;
    Etcdserverpb__RangeResponse *r =
        st == ST_OK ? etcdserverpb__range_response__unpack(&fs->arena.allocator, answer.len, answer.data) : NULL;

    if (r && !r->count) {
        struct ino *dir = ino_find(&fs->table, VIEW_PLAIN, INO_DIR, buf_slice(&op->key));
        invalidate_name(fs, buf_slice(&op->key));
        if (dir) {
            dir->removed = true;
            ino_unlink(&fs->table, dir);
        }
        check_directory(fs, ns_parent(buf_slice(&op->key), buf_slice(&fs->root)));
    }
    op_end(op);
}

/*
 * A key below went: is the directory still there? Its name is not simply taken from the kernel: a shell that stands in it
 * would lose its place for nothing.
 */
static void check_directory(struct fs *fs, struct slice prefix)
{
    struct range_args a = {.serializable = true, .count_only = true};
    struct slice root = buf_slice(&fs->root);
    struct op *op;

    if (prefix.len <= root.len || !ino_find(&fs->table, VIEW_PLAIN, INO_DIR, ns_parent(prefix, root)))
        return;
    op = op_new(fs, NULL);
    buf_append_slice(&op->key, prefix);
    ns_prefix_end(prefix, &op->end);
    a.key = buf_slice(&op->key);
    a.end = buf_slice(&op->end);
    request_range(&op->request, &a);
    op_call(op, PATH_RANGE, true, on_directory_checked);
}

static void names_went(struct fs *fs, struct slice key)
{
    if (key.len && key.data[key.len - 1] == '/') {
        check_directory(fs, key); /* a marker: others may hold the directory up */
        return;
    }
    invalidate_name(fs, key);
    check_directory(fs, ns_parent(key, buf_slice(&fs->root)));
}

/* `app` was a file and is a directory now (or the other way round): the value moves to `app/%value`. */
static void twin_changed(struct fs *fs, struct slice key)
{
    struct slice root = buf_slice(&fs->root), dir = ns_parent(key, root);
    struct ino *file;

    if (dir.len <= root.len)
        return;
    file = ino_find(&fs->table, VIEW_PLAIN, INO_FILE, slice_of(dir.data, dir.len - 1));
    if (file)
        invalidate_name(fs, ino_key(file));
}

void state_on_event(struct fs *fs, const Mvccpb__Event *e)
{
    const Mvccpb__KeyValue *kv = e->kv;
    struct slice key = slice_of(kv->key.data, kv->key.len);
    struct ino *i = ino_find(&fs->table, VIEW_PLAIN, INO_FILE, key);
    bool gone = e->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    bool came = !gone && kv->create_revision == kv->mod_revision;
    bool ours = i && i->known && i->create_rev == kv->create_revision && i->mod_rev >= kv->mod_revision;

    if (!slice_has_prefix(key, buf_slice(&fs->root)))
        return;
    if (gone)
        names_went(fs, key);
    else if (came && !ours)
        names_came(fs, key);
    if (gone || (came && !ours))
        twin_changed(fs, key);
    if (i && gone)
        on_gone(fs, i, kv->mod_revision);
    else if (i)
        on_put(fs, i, kv);
    else if (!gone && kv->mod_revision > kv->create_revision && key.len && key.data[key.len - 1] == '/')
        names_came(fs, key); /* a marker got a value, or lost it: %empty came or went */
}

void state_drop_all(struct fs *fs)
{
    struct ino *i, *next;

    HASH_ITER(by_id, fs->table.ids, i, next)
    {
        if (i->view != VIEW_PLAIN || i->pending)
            continue;
        i->known = false;
        notifier_inode(fs->notifier, i->id);
        if (i->linked && i->id != INO_ROOT)
            invalidate_name(fs, ino_key(i));
    }
}

/* ---- attributes ---- */

static struct timespec time_of(const struct fs *fs, int64_t ns)
{
    if (!ns)
        return fs->mounted_at; /* a plain etcd does not know */
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

void state_fill_attr(struct fs *fs, const struct ino *i, struct stat *ret_attr)
{
    struct stat a = {0};
    bool dir = i->kind == INO_DIR;

    a.st_ino = ino_stable_number(i);
    a.st_mode = dir ? S_IFDIR | DIR_MODE : S_IFREG | FILE_MODE;
    a.st_mode &= ~fs->options.umask;
    a.st_nlink = i->removed ? 0 : 1;
    a.st_uid = fs->options.uid;
    a.st_gid = fs->options.gid;
    a.st_size = dir ? 0 : i->local_size >= 0 ? i->local_size : (off_t)i->size;
    a.st_blocks = (a.st_size + BLOCK_BYTES - 1) / BLOCK_BYTES;
    a.st_blksize = 4096;
    a.st_mtim = a.st_ctim = a.st_atim = time_of(fs, dir ? 0 : i->mod_time_ns);
    *ret_attr = a;
}
