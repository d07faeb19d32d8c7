/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of files, and how it stays true. Coherence with the kernel: it keeps names, attributes and pages for an hour,
 * and is told when one of them changes (notify.h). Pages and the size belong to the kernel's inode and are shared by all who have
 * it open, so a change under readers that use them retires the inode: its number stays what they opened, the name gets a new one.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "fsd/fs.h"

bool state_is_fresh(const struct fs *fs, enum ino_view view, struct slice name, int64_t rev)
{
    return view == VIEW_PLAIN && fs->watching && heard_allows(&fs->heard, name, rev);
}

bool state_is_told(const struct fs *fs, const struct ino *i)
{
    return notifier_is_done(fs->teller.notifier, i->notice);
}

struct file *state_file(const struct fs *fs, const struct ino *i)
{
    if (i->file || !i->linked || i->kind != INO_FILE)
        return i->file;
    return file_find((struct file_table *)(uintptr_t)&fs->table.files, ino_key(i));
}

bool state_differs(const struct fs *fs, const struct ino *i, struct buf *scratch, struct slice *ret_content)
{
    const struct file *f = state_file(fs, i);
    const struct fh *any = f ? TAILQ_FIRST(&f->handles) : NULL;

    if (!f || !file_differs(f))
        return false;
    *ret_content = file_visible(f, blob_slice(any ? any->value : i->value), scratch);
    return true;
}

double state_attr_timeout(const struct fs *fs, const struct ino *i)
{
    const struct file *f = state_file(fs, i);

    if (i->kind == INO_DIR)
        return i->view == VIEW_PLAIN ? fs_entry_timeout(fs, i) : 0;
    /* What handles hold changes the size without a commit. */
    return i->known && state_is_told(fs, i) && (!f || TAILQ_EMPTY(&f->handles)) ? CACHE_S : 0;
}

/* ---- names ---- */

/* The directory a key is listed in, and its name there. */
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

/* The directory with this prefix, if the kernel knows it. */
static struct ino *known_dir(struct fs *fs, struct slice prefix)
{
    struct ino *dir = ino_find(&fs->table, VIEW_PLAIN, INO_DIR, prefix);

    return dir && (dir->lookups || dir->id == INO_ROOT) ? dir : NULL;
}

static struct ino *dir_of_value(struct fs *fs, struct slice key)
{
    struct buf prefix = {0};
    struct ino *dir;

    buf_append_slice(&prefix, key);
    buf_append_byte(&prefix, '/');
    dir = known_dir(fs, buf_slice(&prefix));
    buf_fini(&prefix);
    return dir;
}

static void expire_name(struct fs *fs, struct slice key, bool listing)
{
    struct buf name = {0};
    struct ino *parent = parent_and_name(fs, key, &name), *dir;
    bool is_dir = key.len && key.data[key.len - 1] == '/';

    dir = is_dir ? known_dir(fs, key) : dir_of_value(fs, key);
    if (parent && (parent->lookups || parent->id == INO_ROOT)) {
        tell_name(&fs->teller, parent, buf_slice(&name), dir != NULL);
        if (listing)
            tell_listing(&fs->teller, parent);
    }
    if (dir && listing) {
        /* The key's own value has a name in the directory of the same name. */
        tell_name(&fs->teller, dir, slice_of_text(is_dir ? "%empty" : "%value"), false);
        tell_listing(&fs->teller, dir);
    }
    buf_fini(&name);
}

void state_name_changed(struct fs *fs, struct slice key)
{
    expire_name(fs, key, true);
}

/*
 * The directories above a key that came or went, which it may have brought or taken with it. A directory that is known to be there
 * was not brought; one that has a marker does not go without it.
 */
static void directories_changed(struct fs *fs, struct slice key, bool came)
{
    struct slice root = buf_slice(&fs->root), dir = ns_parent(key, root);

    while (dir.len > root.len) {
        struct ino *i = ino_find(&fs->table, VIEW_PLAIN, INO_DIR, dir);
        if (i && i->known && (came || i->marked))
            return;
        if (i)
            i->known = came;
        state_name_changed(fs, dir);
        dir = ns_parent(dir, root);
    }
}

static void note_names(struct fs *fs, struct slice key, int64_t rev)
{
    struct slice root = buf_slice(&fs->root), dir = key;

    heard_note(&fs->heard, key, rev);
    do {
        dir = ns_parent(dir, root);
        heard_note(&fs->heard, dir, rev);
    } while (dir.len > root.len);
}

void state_key_changed(struct fs *fs, struct slice key, int64_t rev)
{
    note_names(fs, key, rev);
    state_name_changed(fs, key);
    directories_changed(fs, key, true);
}

/* ---- files ---- */

void state_retire_readers(struct fs *fs, struct ino *i)
{
    if (!i->cached_readers || i->retired || !i->linked)
        return;
    i->retired = true;
    ino_unlink(&fs->table, i);
    expire_name(fs, ino_key(i), false);
}

static void fill(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv)
{
    if (kv->mod_time)
        i->mod_time_ns = kv->mod_time;
    else if (i->mod_rev != kv->mod_revision)
        i->mod_time_ns = revclock_when(&fs->revclock, kv->mod_revision);
    i->create_rev = kv->create_revision;
    i->mod_rev = kv->mod_revision;
    i->version = kv->version;
    i->lease = kv->lease;
    i->create_time_ns = kv->create_time;
    i->size = kv_size(kv);
}

/* The name no longer stands for this file: whoever makes it anew shares nothing with its handles. */
static void take_off(struct fs *fs, struct ino *i)
{
    i->known = false;
    i->removed = true;
    ino_unlink(&fs->table, i);
    if (i->file)
        file_unlink(&fs->table.files, i->file);
    tell_attr(&fs->teller, i);
}

/* A file that was made here is in the store, by us or by somebody else: it is the one that the handles opened. */
static void no_longer_pending(struct fs *fs, struct slice key, int64_t create_rev)
{
    struct file *f = file_find(&fs->table.files, key);

    if (!f || !f->pending)
        return;
    f->pending = false;
    f->create_rev = create_rev;
}

/* The inode that stands for the key once this revision of it is there: i, or another one. */
static struct ino *successor(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv)
{
    if (i->create_rev && i->create_rev != kv->create_revision)
        take_off(fs, i); /* removed and made again: another file */
    else
        state_retire_readers(fs, i);
    return i->linked ? i : ino_get(&fs->table, i->view, i->kind, ino_key(i));
}

struct ino *state_take(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, bool with_value, int64_t rev)
{
    if (i->mod_rev > kv->mod_revision)
        return i; /* we know newer: our own write, or the watch was faster */
    if (i->mod_rev != kv->mod_revision) {
        i = successor(fs, i, kv);
        ino_set_value(&fs->table, i, NULL);
        no_longer_pending(fs, ino_key(i), kv->create_revision);
        i->page_rev = 0;
    }
    fill(fs, i, kv);
    i->known = state_is_fresh(fs, i->view, ino_key(i), rev);
    if (with_value && !i->value) {
        struct blob *b = blob_new(slice_of(kv->value.data, kv->value.len));
        ino_set_value(&fs->table, i, b);
        blob_unref(b);
    }
    return i;
}

/* In one view. */
static void note_commit(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, struct blob *value, const struct ino *from)
{
    if (i->mod_rev < kv->mod_revision)
        state_retire_readers(fs, i);
    if (i->retired || i->mod_rev > kv->mod_revision)
        return;
    fill(fs, i, kv);
    i->size = value->len;
    ino_set_value(&fs->table, i, value);
    i->known = state_is_fresh(fs, i->view, ino_key(i), kv->mod_revision);
    if (i->page_rev != i->mod_rev)
        i->page_rev = 0;
    if (i != from) /* after a write the kernel asks for the attributes of that inode by itself */
        tell_attr(&fs->teller, i);
}

void state_committed(struct fs *fs, struct slice key, const Mvccpb__KeyValue *kv, struct blob *value, const struct ino *from)
{
    no_longer_pending(fs, key, kv->create_revision);
    if (kv->version == 1 && (!from || from->view != VIEW_PLAIN))
        state_key_changed(fs, key, kv->mod_revision); /* the kernel does not know that this name is the other one, too */
    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++) {
        struct ino *i = ino_find(&fs->table, (enum ino_view)view, INO_FILE, key);
        if (i)
            note_commit(fs, i, kv, value, from);
    }
}

void state_removed(struct fs *fs, struct slice key)
{
    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++) {
        struct ino *i = ino_find(&fs->table, (enum ino_view)view, INO_FILE, key);
        if (!i)
            continue;
        if (!i->file && (i->file = state_file(fs, i)))
            file_ref(i->file);
        take_off(fs, i);
    }
}

static void directory_gone(struct fs *fs, enum ino_view view, struct slice prefix)
{
    struct ino *dir = ino_find(&fs->table, view, INO_DIR, prefix);

    if (!dir || dir->id == INO_ROOT)
        return;
    dir->known = dir->marked = false;
    dir->removed = true;
    ino_unlink(&fs->table, dir);
}

void state_directory_removed(struct fs *fs, struct slice prefix)
{
    directory_gone(fs, VIEW_PLAIN, prefix);
    directory_gone(fs, VIEW_LINEARIZABLE, prefix);
}

void state_absent(struct fs *fs, enum ino_view view, struct slice key, struct slice prefix, int64_t rev)
{
    struct ino *i = ino_find(&fs->table, view, INO_FILE, key);

    if (i && i->create_rev && i->mod_rev <= rev)
        take_off(fs, i);
    if (prefix.len)
        directory_gone(fs, view, prefix);
}

void state_content_changed(struct fs *fs, struct slice key)
{
    struct ino *i = ino_find(&fs->table, VIEW_PLAIN, INO_FILE, key);

    if (i)
        tell_attr(&fs->teller, i);
}

void state_twin_changed(struct fs *fs, const struct ino *i)
{
    struct ino *plain = i->view == VIEW_PLAIN ? NULL : ino_find(&fs->table, VIEW_PLAIN, INO_FILE, ino_key(i));

    if (!plain)
        return;
    state_retire_readers(fs, plain);
    tell_attr(&fs->teller, plain);
}

void state_leave_file(struct fs *fs, struct file *f)
{
    for (int view = VIEW_PLAIN; view <= VIEW_LINEARIZABLE; view++) {
        struct ino *i = ino_find(&fs->table, (enum ino_view)view, INO_FILE, file_key(f));
        if (!i || i->file != f)
            continue;
        i->file = NULL;
        file_unref(&fs->table.files, f);
    }
}

/* ---- events ---- */

static void on_put(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv)
{
    const struct file *f = file_find(&fs->table.files, ino_key(i));
    struct blob *b;

    if (i->mod_rev >= kv->mod_revision)
        return; /* ours, or read already */
    if (i->create_rev && i->create_rev != kv->create_revision) {
        take_off(fs, i);
        return;
    }
    state_retire_readers(fs, i);
    if (i->retired)
        return;
    if (f && f->pending)
        no_longer_pending(fs, ino_key(i), kv->create_revision);
    b = blob_new(slice_of(kv->value.data, kv->value.len));
    fill(fs, i, kv);
    i->known = true;
    i->page_rev = 0;
    ino_set_value(&fs->table, i, b);
    blob_unref(b);
    tell_attr(&fs->teller, i);
}

static void note_marker(struct fs *fs, struct slice key, bool there)
{
    struct ino *dir = ino_find(&fs->table, VIEW_PLAIN, INO_DIR, key);

    if (dir)
        dir->marked = there;
}

void state_on_event(struct fs *fs, const Mvccpb__Event *e)
{
    const Mvccpb__KeyValue *kv = e->kv;
    struct slice key = slice_of(kv->key.data, kv->key.len);
    struct ino *i = ino_find(&fs->table, VIEW_PLAIN, INO_FILE, key);
    bool gone = e->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    bool came = !gone && kv->create_revision == kv->mod_revision;
    bool marker = key.len && key.data[key.len - 1] == '/';
    bool ours = i && i->create_rev == kv->create_revision && i->mod_rev >= kv->mod_revision;

    if (!slice_has_prefix(key, buf_slice(&fs->root)))
        return;
    if (marker)
        note_marker(fs, key, !gone);
    if (gone) {
        note_names(fs, key, kv->mod_revision);
        state_name_changed(fs, key);
        directories_changed(fs, key, false);
    } else if (came && !ours) {
        state_key_changed(fs, key, kv->mod_revision);
    } else {
        note_names(fs, key, kv->mod_revision);
        if (marker && !came)
            state_name_changed(fs, key); /* it got a value, or lost it: %empty came or went */
    }
    if (i && gone && i->create_rev && i->mod_rev < kv->mod_revision)
        take_off(fs, i);
    else if (i && !gone)
        on_put(fs, i, kv);
}

void state_drop_all(struct fs *fs)
{
    struct ino *i, *next;

    HASH_ITER(by_id, fs->table.ids, i, next)
    {
        if (i->view != VIEW_PLAIN || i->retired)
            continue;
        i->known = i->marked = false;
        if (i->kind == INO_DIR)
            tell_listing(&fs->teller, i);
        else
            tell_attr(&fs->teller, i);
        if (i->linked && i->id != INO_ROOT)
            expire_name(fs, ino_key(i), false);
    }
}
