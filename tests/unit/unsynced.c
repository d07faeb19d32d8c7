/* SPDX-License-Identifier: Apache-2.0 */
/* The book, and what is left when a process ends. */
#undef _FORTIFY_SOURCE /* it has open(2) inline */
#include "tests/unit/unsynced.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/crc32c.h"
#include "common/invariant.h"
#include "common/mem.h"
#include "common/rng.h"
#include "tests/unit/temp_dir.h"

#define PATH_BYTES 4096
#define BLOCK_BYTES 512
#define READ_BYTES 16384

/* Of what was written or renamed since all was durable. */
struct file {
    bool is_dir;
    struct buf synced; /* its bytes on the disk */
    struct buf last;   /* when it lost its name */
    struct buf left;   /* when the process ended */
    struct file *next;
};

/* A name that was touched; NULL: there is none. */
struct name {
    struct file *dir;
    char *text;
    struct file *now, *durable, *left;
    struct name *next;
};

/* How much of what is not synced survives. */
enum luck { LUCK_NONE, LUCK_ALL, LUCK_EACH, LUCKS = LUCK_EACH + 2 /* most often */ };

struct unsynced {
    char root[PATH_BYTES / 4];
    struct file top;
    struct file *files;
    struct name *names; /* of a directory before those in it */
    bool ends, loses, is_over;
    unsigned calls; /* to its end */
    uint64_t seed;
    struct unsynced *next;
};

static struct unsynced *books;

/* ---- real files, past the calls below ---- */

static void read_file(const char *path, struct buf *out)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    INVARIANT(fd >= 0);
    buf_clear(out);
    do {
        n = read(fd, buf_reserve(out, READ_BYTES), READ_BYTES);
        INVARIANT(n >= 0);
        buf_commit(out, (size_t)n);
    } while (n == READ_BYTES);
    close(fd);
}

static void write_file(const char *path, struct slice bytes)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    INVARIANT(fd >= 0 && syscall(SYS_write, fd, bytes.data, bytes.len) == (long)bytes.len);
    close(fd);
}

/* ---- names and files ---- */

static struct file *add_file(struct unsynced *u, bool is_dir)
{
    struct file *f = mem_zero(sizeof *f);

    f->is_dir = is_dir;
    f->next = u->files;
    return u->files = f;
}

static struct name *name_of(const struct unsynced *u, const struct file *f)
{
    struct name *n = u->names;

    while (n && n->now != f)
        n = n->next;
    return n;
}

/* Where a name is; false: its directory is not there. */
static bool path_of(const struct unsynced *u, const struct file *dir, const char *text, char *out)
{
    char parent[PATH_BYTES];
    const struct name *n = dir == &u->top ? NULL : name_of(u, dir);

    if (n && !path_of(u, n->dir, n->text, parent))
        return false;
    if (!n && dir != &u->top)
        return false;
    INVARIANT(snprintf(out, PATH_BYTES, "%s/%s", n ? parent : u->root, text) < PATH_BYTES);
    return true;
}

/* As it is on the real disk, which is durable as nothing says otherwise. */
static struct name *add_name(struct unsynced *u, struct file *dir, const char *text, size_t len)
{
    struct name *n = mem_zero(sizeof *n), **at = &u->names;
    char path[PATH_BYTES];
    struct stat st;

    n->dir = dir;
    n->text = mem_zero(len + 1);
    memcpy(n->text, text, len);
    if (path_of(u, dir, n->text, path) && lstat(path, &st) == 0) {
        n->now = n->durable = n->left = add_file(u, S_ISDIR(st.st_mode));
        if (!n->now->is_dir) {
            read_file(path, &n->now->synced);
            buf_append_slice(&n->now->left, buf_slice(&n->now->synced));
        }
    }
    while (*at)
        at = &(*at)->next;
    return *at = n;
}

static struct name *find_name(const struct unsynced *u, const struct file *dir, const char *text, size_t len)
{
    struct name *n = u->names;

    while (n && (n->dir != dir || strncmp(n->text, text, len) != 0 || n->text[len]))
        n = n->next;
    return n;
}

/* NULL: there is no such directory; or, with add false, nobody touched it. */
static struct name *name_at(struct unsynced *u, const char *below, bool add)
{
    struct file *dir = &u->top;

    for (;;) {
        size_t len = strcspn(below, "/");
        struct name *n = find_name(u, dir, below, len);
        if (!n && add)
            n = add_name(u, dir, below, len);
        if (!n || !below[len])
            return n;
        if (!n->now)
            return NULL;
        dir = n->now;
        below += len + 1;
    }
}

static void free_name(struct name **at)
{
    struct name *n = *at;

    *at = n->next;
    free(n->text);
    free(n);
}

/* Those that are not there, and never were. */
static void drop_names(struct unsynced *u)
{
    struct name **at = &u->names;

    while (*at)
        if (!(*at)->now && !(*at)->durable && !(*at)->left)
            free_name(at);
        else
            at = &(*at)->next;
}

static const struct name *durable_name_of(const struct unsynced *u, const struct file *f)
{
    const struct name *n = u->names;

    while (n && n->durable != f)
        n = n->next;
    return n;
}

/* It loses this name, and what it holds may come back. */
static void part_from(const struct unsynced *u, struct name *n)
{
    char path[PATH_BYTES];

    if (n->now && !n->now->is_dir && durable_name_of(u, n->now) && path_of(u, n->dir, n->text, path))
        read_file(path, &n->now->last);
}

/* ---- what is left ---- */

/* Of each name for itself, in whatever order they come. */
static struct rng rng_for(const struct unsynced *u, const struct name *n)
{
    const struct name *up = name_of(u, n->dir);
    uint32_t crc = crc32c(0, n->text, strlen(n->text));

    if (up)
        crc = crc32c(crc, up->text, strlen(up->text));
    return (struct rng){u->seed + ((uint64_t)crc << 20)};
}

static bool survives(const struct unsynced *u, const struct name *n)
{
    const struct file *dir = n->durable && n->durable->is_dir ? n->durable : n->now && n->now->is_dir ? n->now : NULL;
    const struct name *before = dir ? durable_name_of(u, dir) : NULL;
    struct rng rng = rng_for(u, before ? before : n); /* a directory is in one place: what is drawn is whether it moved */

    switch (u->seed % LUCKS) {
    case LUCK_NONE:
        return false;
    case LUCK_ALL:
        return true;
    default:
        return rng_below(&rng, 2);
    }
}

static void mix(const struct unsynced *u, const struct name *n, struct slice old, struct slice now, struct buf *out)
{
    struct rng rng = rng_for(u, n);
    size_t len = rng_below(&rng, 2) ? old.len : now.len;

    buf_clear(out);
    if (u->seed % LUCKS == LUCK_NONE || u->seed % LUCKS == LUCK_ALL) {
        buf_append_slice(out, u->seed % LUCKS == LUCK_NONE ? old : now);
        return;
    }
    for (size_t at = 0; at < len; at += BLOCK_BYTES) {
        struct slice from = rng_below(&rng, 2) ? old : now;
        size_t size = len - at < BLOCK_BYTES ? len - at : BLOCK_BYTES;
        size_t there = from.len <= at ? 0 : from.len - at < size ? from.len - at : size;
        uint8_t *block = buf_reserve(out, size);
        memset(block, 0, size);
        if (there)
            memcpy(block, from.data + at, there);
        buf_commit(out, size);
    }
}

static void draw_file(const struct unsynced *u, struct file *f)
{
    const struct name *n = name_of(u, f);
    char path[PATH_BYTES];

    if (n && path_of(u, n->dir, n->text, path))
        read_file(path, &f->last);
    if (!n)
        n = durable_name_of(u, f);
    if (n && u->loses && !slice_equal(buf_slice(&f->synced), buf_slice(&f->last))) {
        mix(u, n, buf_slice(&f->synced), buf_slice(&f->last), &f->left);
        return;
    }
    buf_clear(&f->left);
    buf_append_slice(&f->left, buf_slice(&f->last));
}

static void end_here(struct unsynced *u)
{
    u->is_over = true;
    for (struct file *f = u->files; f; f = f->next)
        if (!f->is_dir)
            draw_file(u, f);
    for (struct name *n = u->names; n; n = n->next)
        n->left = !u->loses || n->now == n->durable || survives(u, n) ? n->now : n->durable;
}

static void count_call(struct unsynced *u)
{
    if (u->ends && !u->is_over && !--u->calls)
        end_here(u);
}

/* ---- the real directory becomes that ---- */

static bool is_left(const struct unsynced *u, const struct file *f)
{
    for (const struct name *n = u->names; n; n = n->next)
        if (n->left == f)
            return true;
    return false;
}

static void remove_dirs(struct unsynced *u)
{
    char path[PATH_BYTES];

    for (struct name *n = u->names; n; n = n->next)
        if (n->now && n->now->is_dir && !is_left(u, n->now) && path_of(u, n->dir, n->text, path)) {
            temp_dir_remove(path);
            n->now = NULL;
        }
}

static void place_dirs(struct unsynced *u)
{
    char path[PATH_BYTES], from_path[PATH_BYTES];

    for (struct name *n = u->names; n; n = n->next) {
        struct name *from;
        if (!n->left || !n->left->is_dir || n->now == n->left || !path_of(u, n->dir, n->text, path))
            continue;
        from = name_of(u, n->left);
        if (from && path_of(u, from->dir, from->text, from_path)) {
            INVARIANT(syscall(SYS_renameat2, AT_FDCWD, from_path, AT_FDCWD, path, 0) == 0);
            from->now = NULL;
        } else {
            INVARIANT(syscall(SYS_mkdirat, AT_FDCWD, path, 0700) == 0);
        }
        n->now = n->left;
    }
}

/* went_on: and did something since it ended. */
static void place_files(struct unsynced *u, bool went_on)
{
    char path[PATH_BYTES];
    struct buf b = {0};

    for (struct name *n = u->names; n; n = n->next) {
        bool is_there = path_of(u, n->dir, n->text, path);
        if (is_there && n->left && !n->left->is_dir) {
            if (n->now == n->left && went_on)
                read_file(path, &b);
            if (n->now != n->left || !slice_equal(buf_slice(went_on ? &b : &n->now->last), buf_slice(&n->left->left)))
                write_file(path, buf_slice(&n->left->left));
        } else if (is_there && n->now && !n->left) {
            INVARIANT(syscall(SYS_unlinkat, AT_FDCWD, path, 0) == 0);
        }
        n->now = is_there ? n->left : NULL;
    }
    buf_fini(&b);
}

void unsynced_end(struct unsynced *u, bool loses, uint64_t seed, unsigned calls)
{
    u->ends = true;
    u->loses = loses;
    u->seed = seed;
    u->calls = calls;
    if (!calls)
        end_here(u);
}

bool unsynced_is_over(const struct unsynced *u)
{
    return u->is_over;
}

void unsynced_settle(struct unsynced *u)
{
    bool went_on = u->is_over;

    INVARIANT(u->ends);
    if (!went_on && u->loses)
        end_here(u);
    if (u->is_over) {
        remove_dirs(u);
        place_dirs(u);
        place_files(u, went_on);
    }
    if (u->loses)
        unsynced_forget(u);
    u->ends = u->loses = u->is_over = false;
    for (struct name *n = u->names; n; n = n->next)
        n->left = NULL;
    drop_names(u);
}

void unsynced_forget(struct unsynced *u)
{
    while (u->names)
        free_name(&u->names);
    while (u->files) {
        struct file *f = u->files;
        u->files = f->next;
        buf_fini(&f->synced);
        buf_fini(&f->last);
        buf_fini(&f->left);
        free(f);
    }
}

struct unsynced *unsynced_new(const char *dir)
{
    struct unsynced *u = mem_zero(sizeof *u);

    INVARIANT(*dir == '/' && snprintf(u->root, sizeof u->root, "%s", dir) < (int)sizeof u->root);
    u->top.is_dir = true;
    u->next = books;
    return books = u;
}

void unsynced_free(struct unsynced *u)
{
    struct unsynced **at = &books;

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    unsynced_forget(u);
    free(u);
}

/* ---- the calls ---- */

struct place {
    struct unsynced *book;
    char path[PATH_BYTES];
    const char *below; /* the root; "": the root itself */
};

static bool find_book(struct place *p)
{
    for (p->book = books; p->book; p->book = p->book->next) {
        size_t len = strlen(p->book->root);
        if (strncmp(p->path, p->book->root, len) != 0 || (p->path[len] && p->path[len] != '/'))
            continue;
        p->below = p->path + len + (p->path[len] == '/');
        return true;
    }
    return false;
}

static bool place_of_fd(struct place *p, int fd)
{
    char link[40];
    ssize_t n;

    if (!books)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, p->path, sizeof p->path - 1);
    INVARIANT(n > 0);
    p->path[n] = '\0';
    return find_book(p);
}

/* a//b/ is a/b. */
static void tidy(char *path)
{
    char *out = path;

    for (const char *in = path; *in; in++)
        if (*in != '/' || (in[1] && in[1] != '/'))
            *out++ = *in;
    *out = '\0';
}

static bool place_of(struct place *p, int dir_fd, const char *path)
{
    size_t len = 0;

    if (!books)
        return false;
    if (*path != '/') {
        if (dir_fd == AT_FDCWD)
            INVARIANT(getcwd(p->path, sizeof p->path));
        else if (!place_of_fd(p, dir_fd))
            return false;
        len = strlen(p->path);
        p->path[len++] = '/';
    }
    INVARIANT(snprintf(p->path + len, sizeof p->path - len, "%s", path) < (int)(sizeof p->path - len));
    tidy(p->path);
    return find_book(p) && *p->below;
}

static int open_at(int dir_fd, const char *path, int flags, mode_t mode)
{
    struct place p;
    struct name *n = NULL;
    int fd;

    if ((flags & O_ACCMODE) != O_RDONLY && place_of(&p, dir_fd, path)) {
        if (flags & O_CREAT)
            count_call(p.book);
        n = name_at(p.book, p.below, true);
    }
    fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    if (fd >= 0 && n && !n->now)
        n->now = add_file(p.book, false);
    return fd;
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if (flags & O_CREAT)
        mode = va_arg(args, mode_t);
    va_end(args);
    return open_at(dir_fd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if (flags & O_CREAT)
        mode = va_arg(args, mode_t);
    va_end(args);
    return open_at(AT_FDCWD, path, flags, mode);
}

int mkdir(const char *path, mode_t mode)
{
    struct place p;
    struct name *n = NULL;

    if (place_of(&p, AT_FDCWD, path)) {
        count_call(p.book);
        n = name_at(p.book, p.below, true);
    }
    if (syscall(SYS_mkdirat, AT_FDCWD, path, mode) < 0)
        return -1;
    if (n)
        n->now = add_file(p.book, true);
    return 0;
}

/* Not counted: whoever removes all that it finds does so in the order of a list. */
int unlinkat(int dir_fd, const char *path, int flags)
{
    struct place p;
    struct name *n = place_of(&p, dir_fd, path) ? name_at(p.book, p.below, true) : NULL;

    if (n)
        part_from(p.book, n);
    if (syscall(SYS_unlinkat, dir_fd, path, flags) < 0)
        return -1;
    if (n)
        n->now = NULL;
    return 0;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    struct place p;
    struct name *old = NULL, *new = NULL;

    if (place_of(&p, from_dir, from)) {
        count_call(p.book);
        old = name_at(p.book, p.below, true);
    }
    if (place_of(&p, to_dir, to) && (new = name_at(p.book, p.below, true)))
        part_from(p.book, new);
    if (syscall(SYS_renameat2, from_dir, from, to_dir, to, 0) < 0)
        return -1;
    if (new && old && new != old) {
        new->now = old->now;
        old->now = NULL;
    }
    return 0;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

static void sync_names(struct unsynced *u, const struct file *dir)
{
    for (struct name *n = u->names; n; n = n->next)
        if (n->dir == dir)
            n->durable = n->left = n->now;
    drop_names(u);
}

int fsync(int fd)
{
    const struct name *n;
    struct place p;

    if (!place_of_fd(&p, fd))
        return (int)syscall(SYS_fsync, fd);
    count_call(p.book);
    n = *p.below ? name_at(p.book, p.below, false) : NULL;
    if (p.book->is_over || (*p.below && (!n || !n->now)))
        return 0;
    if (!n || n->now->is_dir)
        sync_names(p.book, n ? n->now : &p.book->top);
    else
        read_file(p.path, &n->now->synced);
    return 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

/* ---- for who asks ---- */

bool unsynced_has_name(struct unsynced *u, const char *path)
{
    struct place p;
    const struct name *n;

    INVARIANT(place_of(&p, AT_FDCWD, path) && p.book == u);
    n = name_at(u, p.below, true);
    return n && n->now && n->durable == n->now;
}

bool unsynced_has_bytes(struct unsynced *u, const char *path)
{
    struct place p;
    const struct name *n;
    struct buf b = {0};
    bool same;

    INVARIANT(place_of(&p, AT_FDCWD, path) && p.book == u);
    n = name_at(u, p.below, true);
    INVARIANT(n && n->now && !n->now->is_dir);
    read_file(path, &b);
    same = slice_equal(buf_slice(&b), buf_slice(&n->now->synced));
    buf_fini(&b);
    return same;
}
