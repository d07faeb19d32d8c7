/* SPDX-License-Identifier: Apache-2.0 */
/* Which directory is the store. */
#include "mvcc/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/file.h"
#include "common/planted.h"
#include "mvcc/transfer.h"

#define CURRENT_MAGIC "RFTSTORE"
#define CURRENT_FORMAT 1
#define CURRENT_BYTES 40
#define NO_STORE UINT64_MAX
#define ASIDE "damaged-store."

void store_dir_name(const struct store_dir *d, uint64_t generation, char *ret_name)
{
    if (generation)
        snprintf(ret_name, STORE_PATH_BYTES, "%s/store.%" PRIu64, d->path, generation);
    else
        snprintf(ret_name, STORE_PATH_BYTES, "%s/store", d->path);
}

static enum status io_error(struct error *ret_error, const struct store_dir *d, const char *what)
{
    return error_set(ret_error, ST_IO, "%s/%s: %s", d->path, what, strerror(errno));
}

static int open_dir(const struct store_dir *d)
{
    return open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool sync_fd(const struct store_dir *d, int fd)
{
    return d->no_sync || fsync(fd) == 0;
}

/* Temporary name, sync, rename, sync of the directory. It is synced before the rename, too: what is named has a name by then. */
enum status store_dir_write(const struct store_dir *next, struct error *ret_error)
{
    uint8_t bytes[CURRENT_BYTES];
    int dir = open_dir(next), fd = -1;
    enum status st = ST_IO;
    bool ok;

    put_bytes(bytes, CURRENT_MAGIC, 8);
    put_le64(put_le64(put_le64(bytes + 16, next->generation), next->installed_index), next->installed_term);
    put_le32(put_le32(bytes + 8, CURRENT_FORMAT), crc32c(0, bytes + 16, CURRENT_BYTES - 16));
    if (dir >= 0)
        fd = openat(dir, "current.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0 && file_write_all(fd, bytes, sizeof bytes) && (PLANTED(current_not_synced) || sync_fd(next, fd));
    if (!ok && (errno == ENOSPC || errno == EDQUOT))
        st = ST_NO_SPACE;
    ok = ok && sync_fd(next, dir) && renameat(dir, "current.tmp", dir, "current") == 0;
    ok = ok && (PLANTED(current_name_not_synced) || sync_fd(next, dir));
    if (!ok)
        (void)io_error(ret_error, next, "current: cannot be written");
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    return ok ? ST_OK : st;
}

/* ST_NOT_FOUND if there is none. */
static enum status read_current(struct store_dir *d, int dir, struct error *ret_error)
{
    uint8_t bytes[CURRENT_BYTES + 1];
    int fd = openat(dir, "current", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n;

    if (fd < 0 && errno == ENOENT)
        return ST_NOT_FOUND;
    n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (n < 0)
        (void)io_error(ret_error, d, "current: cannot be read");
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return ST_IO;
    if (n != CURRENT_BYTES || memcmp(bytes, CURRENT_MAGIC, 8) != 0 ||
        get_le32(bytes + 12) != crc32c(0, bytes + 16, CURRENT_BYTES - 16))
        return error_set(ret_error, ST_CORRUPT, "%s/current: damaged (%zd bytes): it says which directory is the store",
                         d->path, n);
    if (get_le32(bytes + 8) != CURRENT_FORMAT)
        return error_set(ret_error, ST_CORRUPT, "%s/current: format %u is not known to this version", d->path,
                         get_le32(bytes + 8));
    d->generation = get_le64(bytes + 16);
    d->installed_index = get_le64(bytes + 24);
    d->installed_term = get_le64(bytes + 32);
    return ST_OK;
}

/* NO_STORE for other names. */
static uint64_t generation_of(const char *name)
{
    char *end;
    uint64_t generation;

    if (strcmp(name, "store") == 0)
        return 0;
    if (strncmp(name, "store.", 6) != 0)
        return NO_STORE;
    generation = strtoull(name + 6, &end, 10);
    return *end || end == name + 6 ? NO_STORE : generation;
}

/* With remove false: only look whether generation 0, and whether a later one is there. */
static enum status visit_stores(struct store_dir *d, bool remove, bool *ret_first, bool *ret_later,
                                struct error *ret_error)
{
    DIR *list = opendir(d->path);
    enum status st = ST_OK;
    struct dirent *e;

    if (!list)
        return io_error(ret_error, d, "cannot be listed");
    while (st == ST_OK && (e = file_next(list))) {
        uint64_t generation = generation_of(e->d_name);
        char name[STORE_PATH_BYTES];
        if (generation == NO_STORE)
            continue;
        *ret_first |= generation == 0;
        *ret_later |= generation != 0;
        store_dir_name(d, generation, name);
        if (!remove)
            continue;
        if (generation == d->generation + 1)
            d->partial = true;
        else if (generation != d->generation)
            st = mvcc_remove(name, ret_error);
    }
    if (st == ST_OK && errno)
        st = io_error(ret_error, d, "cannot be listed");
    closedir(list);
    return st;
}

enum status store_dir_open(struct store_dir *d, const char *path, bool no_sync, struct error *ret_error)
{
    bool first = false, later = false;
    char name[STORE_PATH_BYTES];
    enum status st;
    int dir;

    *d = (struct store_dir){.no_sync = no_sync};
    if (snprintf(d->path, sizeof d->path, "%s", path) >= (int)sizeof d->path)
        return error_set(ret_error, ST_BAD_ARGUMENT, "store: the path is too long");
    dir = open_dir(d);
    if (dir < 0)
        return io_error(ret_error, d, "cannot be opened as a directory");
    st = read_current(d, dir, ret_error);
    if (st == ST_NOT_FOUND) {
        st = visit_stores(d, false, &first, &later, ret_error);
        if (st == ST_OK && later && !first)
            st = error_set(ret_error, ST_CORRUPT, "%s/current: missing: it says which directory is the store", d->path);
    }
    if (st == ST_OK)
        st = visit_stores(d, true, &first, &later, ret_error);
    store_dir_name(d, d->generation, name);
    if (st == ST_OK && d->generation && access(name, F_OK) < 0)
        st = error_set(ret_error, ST_CORRUPT, "%s: missing, but it is the store", name);
    if (st == ST_OK && mkdir(name, 0700) < 0 && errno != EEXIST)
        st = io_error(ret_error, d, "store: cannot be made");
    if (st == ST_OK && !sync_fd(d, dir))
        st = io_error(ret_error, d, "cannot be synced");
    close(dir);
    return st;
}

enum status store_dir_forget_partial(struct store_dir *d, struct error *ret_error)
{
    char name[STORE_PATH_BYTES];
    enum status st;
    int dir;

    if (!d->partial)
        return ST_OK;
    store_dir_name(d, d->generation + 1, name);
    st = mvcc_remove(name, ret_error);
    if (st != ST_OK)
        return st;
    d->partial = false;
    dir = open_dir(d);
    if (dir < 0 || !sync_fd(d, dir))
        st = io_error(ret_error, d, "cannot be synced");
    if (dir >= 0)
        close(dir);
    return st;
}

/* ---- damage ---- */

static uint64_t aside_of(const char *name)
{
    char *end;
    uint64_t number;

    if (strncmp(name, ASIDE, strlen(ASIDE)) != 0)
        return NO_STORE;
    number = strtoull(name + strlen(ASIDE), &end, 10);
    return *end || end == name + strlen(ASIDE) ? NO_STORE : number;
}

/* Of names with a number. */
struct numbered {
    uint64_t oldest, newest;
    unsigned count;
};

/* Those that number_of knows. */
static enum status count_names(const struct store_dir *d, uint64_t (*number_of)(const char *name), struct numbered *ret_names,
                               struct error *ret_error)
{
    DIR *list = opendir(d->path);
    struct dirent *e;
    enum status st;

    *ret_names = (struct numbered){.oldest = NO_STORE};
    while (list && (e = file_next(list))) {
        uint64_t number = number_of(e->d_name);
        if (number == NO_STORE)
            continue;
        ret_names->count++;
        ret_names->oldest = number < ret_names->oldest ? number : ret_names->oldest;
        ret_names->newest = number > ret_names->newest ? number : ret_names->newest;
    }
    st = !list || errno ? io_error(ret_error, d, "cannot be listed") : ST_OK;
    if (list)
        closedir(list);
    return st;
}

/* The oldest store gets the next number of those aside, and the oldest of these makes room. */
static enum status move_one(const struct store_dir *d, uint64_t generation, struct error *ret_error)
{
    char from[STORE_PATH_BYTES], to[STORE_PATH_BYTES];
    struct numbered aside;
    enum status st = count_names(d, aside_of, &aside, ret_error);

    if (st == ST_OK && aside.count >= ASIDE_STORES_MAX) {
        snprintf(to, sizeof to, "%s/" ASIDE "%" PRIu64, d->path, aside.oldest);
        st = mvcc_remove(to, ret_error);
    }
    store_dir_name(d, generation, from);
    snprintf(to, sizeof to, "%s/" ASIDE "%" PRIu64, d->path, aside.newest + 1);
    if (st == ST_OK && rename(from, to) < 0)
        st = io_error(ret_error, d, "a damaged store cannot be set aside");
    return st;
}

enum status store_dir_set_aside(struct store_dir *d, const char *path, bool no_sync, struct error *ret_error)
{
    uint64_t next = d->generation + 1;
    struct numbered stores;
    char name[STORE_PATH_BYTES];
    enum status st = ST_OK;

    *d = (struct store_dir){.no_sync = no_sync};
    if (snprintf(d->path, sizeof d->path, "%s", path) >= (int)sizeof d->path)
        return error_set(ret_error, ST_BAD_ARGUMENT, "store: the path is too long");
    st = count_names(d, generation_of, &stores, ret_error);
    while (st == ST_OK && stores.count) {
        next = stores.newest >= next ? stores.newest + 1 : next;
        st = move_one(d, stores.oldest, ret_error);
        if (st == ST_OK)
            st = count_names(d, generation_of, &stores, ret_error);
    }
    d->generation = next;
    store_dir_name(d, next, name);
    if (st == ST_OK && mkdir(name, 0700) < 0)
        st = io_error(ret_error, d, "store: cannot be made");
    if (st == ST_OK)
        st = store_dir_write(d, ret_error);
    return st == ST_OK ? store_dir_open(d, path, no_sync, ret_error) : st;
}
