/* SPDX-License-Identifier: Apache-2.0 */
/* Files with two contents, the one that is seen and the one that is durable, and the writes between
 * them. */
#include "tests/unit/memory_disk.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define NAME_BYTES 64

struct content {
    uint8_t *data;
    size_t len;
};

struct memory_inode {
    struct content seen, durable;
    struct memory_inode *next; /* of all there ever were */
};

/* A write, or (data NULL) a new length, that was not synced. */
struct change {
    struct memory_inode *inode;
    uint64_t offset;
    uint8_t *data;
    size_t len;
};

struct name {
    char text[NAME_BYTES];
    struct memory_inode *inode;
};

struct directory {
    struct name *names;
    size_t count, cap;
};

struct memory_disk {
    struct disk base;
    struct memory_inode *inodes;
    struct directory
        *directories; /* [0] is durable, each change makes one more, the last is seen */
    size_t directory_count, directory_cap;
    struct change *changes;
    size_t change_count, change_cap;
    struct memory_file *files; /* open or not: all of them go with the disk */
    unsigned calls, writes, fail_in;
    int fail_error;
    bool fail_sync, dropped;
    uint64_t size;
};

struct memory_file {
    struct disk_file base;
    struct memory_disk *disk;
    struct memory_inode *inode;
    struct memory_file *next;
};

static const struct disk_ops memory_ops;

static struct memory_disk *disk_of(const struct disk *d)
{
    return (struct memory_disk *)(uintptr_t)d;
}

/* Counts a call; an error if it is one that fails. */
static int call(struct memory_disk *d, bool changes)
{
    d->calls++;
    d->writes += changes;
    if (!d->fail_in || --d->fail_in)
        return 0;
    d->fail_in = 1; /* and so do all after it */
    return -d->fail_error;
}

static void content_resize(struct content *c, size_t len)
{
    if (len == c->len)
        return;
    c->data = mem_resize(c->data, len);
    if (len > c->len)
        memset(c->data + c->len, 0, len - c->len);
    c->len = len;
}

static void content_write(struct content *c, uint64_t offset, const void *data, size_t len)
{
    if (offset + len > c->len)
        content_resize(c, offset + len);
    if (len)
        memcpy(c->data + offset, data, len);
}

static void content_copy(struct content *to, const struct content *from)
{
    content_resize(to, from->len);
    if (from->len)
        memcpy(to->data, from->data, from->len);
}

/* ---- directory ---- */

static struct directory *seen(const struct memory_disk *d)
{
    return &d->directories[d->directory_count - 1];
}

static struct name *find(const struct memory_disk *d, const char *text)
{
    struct directory *dir = seen(d);

    for (size_t i = 0; i < dir->count; i++)
        if (strcmp(dir->names[i].text, text) == 0)
            return &dir->names[i];
    return NULL;
}

/* A new version of the directory to change. */
static struct directory *next_directory(struct memory_disk *d)
{
    struct directory next = {0};
    struct directory *last = seen(d);

    next.count = next.cap = last->count;
    if (last->count)
        next.names = mem_copy(last->names, last->count * sizeof *last->names);
    d->directories =
        mem_grow(d->directories, &d->directory_cap, d->directory_count + 1, sizeof next);
    d->directories[d->directory_count++] = next;
    return seen(d);
}

static void add_name(struct directory *dir, const char *text, struct memory_inode *inode)
{
    struct name *n;

    dir->names = mem_grow(dir->names, &dir->cap, dir->count + 1, sizeof *dir->names);
    n = &dir->names[dir->count++];
    snprintf(n->text, sizeof n->text, "%s", text);
    n->inode = inode;
}

static void remove_name(struct memory_disk *d, const char *text)
{
    struct name *n = find(d, text);

    if (n)
        *n = seen(d)->names[--seen(d)->count];
}

static struct memory_inode *new_inode(struct memory_disk *d)
{
    struct memory_inode *i = mem_zero(sizeof *i);

    i->next = d->inodes;
    d->inodes = i;
    return i;
}

/* ---- space: what the files that are seen take; a directory takes none ---- */

static uint64_t used_bytes(const struct memory_disk *d)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < seen(d)->count; i++)
        sum += seen(d)->names[i].inode->seen.len;
    return sum;
}

/* May the file become so long? */
static int grow(struct memory_file *f, uint64_t len)
{
    uint64_t more = len > f->inode->seen.len ? len - f->inode->seen.len : 0, used = more ? used_bytes(f->disk) : 0;

    return more && (used > f->disk->size || more > f->disk->size - used) ? -ENOSPC : 0;
}

static int memory_space(struct disk *base, uint64_t *ret_free)
{
    struct memory_disk *d = disk_of(base);
    uint64_t used = used_bytes(d);

    *ret_free = d->size > used ? d->size - used : 0;
    return 0;
}

/* ---- the seam ---- */

static int memory_open(struct disk *base, const char *name, int flags, struct disk_file **ret_file)
{
    struct memory_disk *d = disk_of(base);
    struct name *n = find(d, name);
    struct memory_file *f;
    int error = call(d, flags & DISK_CREATE);

    if (error)
        return error;
    if (!n && !(flags & DISK_CREATE))
        return -ENOENT;
    if (n && flags & DISK_EXCLUSIVE)
        return -EEXIST;
    if (!n) {
        struct memory_inode *inode = new_inode(d);
        add_name(next_directory(d), name, inode);
        n = find(d, name);
    }
    f = mem_zero(sizeof *f);
    f->base.ops = &memory_ops;
    f->disk = d;
    f->inode = n->inode;
    f->next = d->files;
    d->files = f;
    *ret_file = &f->base;
    return 0;
}

static void memory_close(struct disk_file *f)
{
    struct memory_file **at = &((struct memory_file *)f)->disk->files;

    while (&(*at)->base != f)
        at = &(*at)->next;
    *at = ((struct memory_file *)f)->next;
    free(f);
}

static int memory_read(struct disk_file *base, uint64_t offset, void *data, size_t len,
                       size_t *ret_len)
{
    struct memory_file *f = (struct memory_file *)base;
    struct content *c = &f->inode->seen;
    int error = call(f->disk, false);

    if (error)
        return error;
    if (offset > c->len)
        offset = c->len;
    *ret_len = c->len - offset < len ? c->len - offset : len;
    if (*ret_len)
        memcpy(data, c->data + offset, *ret_len);
    return 0;
}

static void remember(struct memory_file *f, uint64_t offset, const void *data, size_t len)
{
    struct memory_disk *d = f->disk;

    d->changes = mem_grow(d->changes, &d->change_cap, d->change_count + 1, sizeof *d->changes);
    d->changes[d->change_count++] =
        (struct change){f->inode, offset, data ? mem_copy(data, len) : NULL, len};
}

/* A write that fails may have left some of it, as real ones do. */
static int memory_write(struct disk_file *base, uint64_t offset, const void *data, size_t len)
{
    struct memory_file *f = (struct memory_file *)base;
    int error = call(f->disk, true), full = grow(f, offset + len);

    if (full)
        return error ? error : full;
    if (error)
        len /= 2;
    content_write(&f->inode->seen, offset, data, len);
    remember(f, offset, data, len);
    return error;
}

static int memory_resize(struct memory_file *f, uint64_t len)
{
    content_resize(&f->inode->seen, (size_t)len);
    remember(f, 0, NULL, (size_t)len);
    return 0;
}

static int memory_allocate(struct disk_file *base, uint64_t len)
{
    struct memory_file *f = (struct memory_file *)base;
    int error = call(f->disk, true);

    if (error || len <= f->inode->seen.len)
        return error;
    error = grow(f, len);
    return error ? error : memory_resize(f, len);
}

static int memory_truncate(struct disk_file *base, uint64_t len)
{
    struct memory_file *f = (struct memory_file *)base;
    int error = call(f->disk, true);

    return error ? error : memory_resize(f, len);
}

/* Write by write, where some were dropped: they are seen and never become durable. */
static void make_durable(struct memory_disk *d, struct memory_inode *inode)
{
    if (!d->dropped) {
        content_copy(&inode->durable, &inode->seen);
        return;
    }
    for (size_t i = 0; i < d->change_count; i++) {
        const struct change *c = &d->changes[i];
        if (c->inode == inode && c->data)
            content_write(&inode->durable, c->offset, c->data, c->len);
        else if (c->inode == inode)
            content_resize(&inode->durable, c->len);
    }
}

static int memory_sync(struct disk_file *base)
{
    struct memory_file *f = (struct memory_file *)base;
    struct memory_disk *d = f->disk;
    size_t keep = 0;
    int error = call(d, true);

    if (error)
        return error;
    if (d->fail_sync)
        d->dropped = true;
    else
        make_durable(d, f->inode);
    for (size_t i = 0; i < d->change_count; i++) {
        if (d->changes[i].inode == f->inode)
            free(d->changes[i].data);
        else
            d->changes[keep++] = d->changes[i];
    }
    d->change_count = keep;
    error = d->fail_sync ? -EIO : 0;
    d->fail_sync = false;
    return error;
}

static int memory_size(struct disk_file *base, uint64_t *ret_size)
{
    struct memory_file *f = (struct memory_file *)base;
    int error = call(f->disk, false);

    if (!error)
        *ret_size = f->inode->seen.len;
    return error;
}

static int memory_rename(struct disk *base, const char *from, const char *to)
{
    struct memory_disk *d = disk_of(base);
    struct name *n = find(d, from);
    struct memory_inode *inode;
    int error = call(d, true);

    if (error || !n)
        return error ? error : -ENOENT;
    inode = n->inode;
    next_directory(d);
    remove_name(d, from);
    remove_name(d, to);
    add_name(seen(d), to, inode);
    return 0;
}

static int memory_unlink(struct disk *base, const char *name)
{
    struct memory_disk *d = disk_of(base);
    int error = call(d, true);

    if (error || !find(d, name))
        return error ? error : -ENOENT;
    next_directory(d);
    remove_name(d, name);
    return 0;
}

static int memory_sync_dir(struct disk *base)
{
    struct memory_disk *d = disk_of(base);
    int error = call(d, true);

    if (error)
        return error;
    for (size_t i = 0; i + 1 < d->directory_count; i++)
        free(d->directories[i].names);
    d->directories[0] = *seen(d);
    d->directory_count = 1;
    return 0;
}

static int memory_list(struct disk *base, void (*name_fn)(const char *name, void *arg), void *arg)
{
    struct memory_disk *d = disk_of(base);
    int error = call(d, false);

    for (size_t i = 0; !error && i < seen(d)->count; i++)
        name_fn(seen(d)->names[i].text, arg);
    return error;
}

static void memory_free(struct disk *base)
{
    struct memory_disk *d = disk_of(base);

    while (d->files)
        memory_close(&d->files->base);
    while (d->inodes) {
        struct memory_inode *i = d->inodes;
        d->inodes = i->next;
        free(i->seen.data);
        free(i->durable.data);
        free(i);
    }
    for (size_t i = 0; i < d->directory_count; i++)
        free(d->directories[i].names);
    for (size_t i = 0; i < d->change_count; i++)
        free(d->changes[i].data);
    free(d->directories);
    free(d->changes);
    free(d);
}

static const struct disk_ops memory_ops = {
    .open = memory_open,
    .close = memory_close,
    .read = memory_read,
    .write = memory_write,
    .allocate = memory_allocate,
    .truncate = memory_truncate,
    .sync = memory_sync,
    .size = memory_size,
    .rename = memory_rename,
    .unlink = memory_unlink,
    .sync_dir = memory_sync_dir,
    .space = memory_space,
    .list = memory_list,
    .free = memory_free,
};

/* ---- the test's side ---- */

struct disk *memory_disk_new(void)
{
    struct memory_disk *d = mem_zero(sizeof *d);

    d->base.ops = &memory_ops;
    d->size = UINT64_MAX;
    d->directories = mem_grow(NULL, &d->directory_cap, 1, sizeof *d->directories);
    d->directories[0] = (struct directory){0};
    d->directory_count = 1;
    return &d->base;
}

unsigned memory_disk_calls(const struct disk *d)
{
    return disk_of(d)->calls;
}

unsigned memory_disk_changes(const struct disk *d)
{
    return disk_of(d)->writes;
}

void memory_disk_fail_at(struct disk *d, unsigned n, int error)
{
    disk_of(d)->fail_in = n;
    disk_of(d)->fail_error = error;
}

void memory_disk_fail_sync(struct disk *d)
{
    disk_of(d)->fail_sync = true;
}

bool memory_disk_has_dropped(const struct disk *d)
{
    return disk_of(d)->dropped;
}

void memory_disk_set_size(struct disk *d, uint64_t bytes)
{
    disk_of(d)->size = bytes;
}

uint64_t memory_disk_used(const struct disk *d)
{
    return used_bytes(disk_of(d));
}

/* The durable contents, with the names of one version of the directory. */
static struct disk *durable_copy(const struct memory_disk *d, size_t version, bool as_seen)
{
    struct disk *base = memory_disk_new();
    struct memory_disk *to = disk_of(base);
    const struct directory *dir = &d->directories[version];

    to->size = d->size;
    for (size_t i = 0; i < dir->count; i++) {
        struct memory_inode *inode = new_inode(to);
        content_copy(&inode->durable,
                     as_seen ? &dir->names[i].inode->seen : &dir->names[i].inode->durable);
        add_name(seen(to), dir->names[i].text, inode);
    }
    return base;
}

static void settle(struct disk *base)
{
    for (struct memory_inode *i = disk_of(base)->inodes; i; i = i->next)
        content_copy(&i->seen, &i->durable);
}

/* The copy of an inode in a copy of the disk; NULL if no name led to it. */
static struct memory_inode *copy_of(const struct memory_disk *d, size_t version,
                                    const struct memory_disk *to, const struct memory_inode *inode)
{
    const struct directory *dir = &d->directories[version];

    for (size_t i = 0; i < dir->count; i++)
        if (dir->names[i].inode == inode)
            return seen(to)->names[i].inode;
    return NULL;
}

struct disk *memory_disk_after_kill(const struct disk *base)
{
    struct memory_disk *d = disk_of(base);
    struct disk *to = durable_copy(d, d->directory_count - 1, true);

    settle(to);
    return to;
}

struct disk *memory_disk_durable(const struct disk *base)
{
    struct disk *to = durable_copy(disk_of(base), 0, false);

    settle(to);
    return to;
}

struct disk *memory_disk_after_power_cut(const struct disk *base, struct rng *rng)
{
    struct memory_disk *d = disk_of(base);
    size_t version = (size_t)rng_below(rng, d->directory_count);
    struct disk *to = durable_copy(d, version, false);
    unsigned bias = (unsigned)rng_below(rng, 5); /* 0: nothing is kept, 4: all */

    for (size_t i = 0; i < d->change_count; i++) {
        const struct change *c = &d->changes[i];
        struct memory_inode *inode = copy_of(d, version, disk_of(to), c->inode);
        if (!inode)
            continue;
        if (!c->data) {
            if (rng_below(rng, 4) < bias)
                content_resize(&inode->durable, c->len);
            continue;
        }
        for (size_t at = 0, n; at < c->len; at += n) {
            n = MEMORY_SECTOR_BYTES - (c->offset + at) % MEMORY_SECTOR_BYTES;
            if (n > c->len - at)
                n = c->len - at;
            if (rng_below(rng, 4) < bias)
                content_write(&inode->durable, c->offset + at, c->data + at, n);
        }
    }
    settle(to);
    return to;
}

struct disk *memory_disk_after_prefix(const struct disk *base, uint64_t keep)
{
    struct memory_disk *d = disk_of(base);
    struct disk *to = durable_copy(d, d->directory_count - 1, false);

    for (size_t i = 0; i < d->change_count; i++) {
        const struct change *c = &d->changes[i];
        struct memory_inode *inode = copy_of(d, d->directory_count - 1, disk_of(to), c->inode);
        size_t n = c->len < keep ? c->len : (size_t)keep;
        if (c->data) {
            if (inode)
                content_write(&inode->durable, c->offset, c->data, n);
            keep -= n;
        } else if (inode) {
            content_resize(&inode->durable, c->len);
        }
    }
    settle(to);
    return to;
}

uint64_t memory_disk_unsynced(const struct disk *d)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < disk_of(d)->change_count; i++)
        if (disk_of(d)->changes[i].data)
            sum += disk_of(d)->changes[i].len;
    return sum;
}

uint8_t *memory_disk_bytes(struct disk *d, const char *name, size_t *ret_len)
{
    struct name *n = find(disk_of(d), name);

    if (!n)
        return NULL;
    *ret_len = n->inode->seen.len;
    return n->inode->seen.data;
}

const char *memory_disk_name(const struct disk *d, const char *suffix, unsigned n)
{
    const struct directory *dir = seen(disk_of(d));
    const char *best = NULL, *before = "";

    do {
        best = NULL;
        for (size_t i = 0; i < dir->count; i++) {
            const char *t = dir->names[i].text;
            size_t len = strlen(t), tail = strlen(suffix);
            if (len >= tail && strcmp(t + len - tail, suffix) == 0 && strcmp(t, before) > 0 &&
                (!best || strcmp(t, best) < 0))
                best = t;
        }
        before = best;
    } while (best && n--);
    return best;
}

void memory_disk_damage(struct disk *d, const char *name, uint64_t offset, const void *data, size_t len)
{
    struct memory_inode *inode = find(disk_of(d), name)->inode;
    struct content *both[] = {&inode->seen, &inode->durable};

    for (unsigned i = 0; i < 2; i++)
        for (size_t k = 0; k < len && offset + k < both[i]->len; k++)
            both[i]->data[offset + k] = ((const uint8_t *)data)[k];
}

void memory_disk_cut(struct disk *d, const char *name, size_t len)
{
    content_resize(&find(disk_of(d), name)->inode->seen, len);
}

void memory_disk_remove(struct disk *d, const char *name)
{
    remove_name(disk_of(d), name);
}

void memory_disk_rename(struct disk *d, const char *from, const char *to)
{
    struct memory_inode *inode = find(disk_of(d), from)->inode;

    remove_name(disk_of(d), from);
    add_name(seen(disk_of(d)), to, inode);
}
