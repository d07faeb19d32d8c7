/* SPDX-License-Identifier: Apache-2.0 */
/* The real disk: everything relative to one open directory, so that nobody can swap the path under
 * us. */
#include "raftd/wal/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/file.h"
#include "common/mem.h"

struct posix_disk {
    struct disk base;
    int fd;
};

struct posix_file {
    struct disk_file base;
    int fd;
};

static const struct disk_ops posix_ops;

bool disk_is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

static int posix_open(struct disk *d, const char *name, int flags, struct disk_file **ret_file)
{
    /* Not blocking: a FIFO under the name of a segment must not hang the start. */
    int how = (flags & DISK_READ_ONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    struct posix_file *f;
    struct stat st;
    int fd;

    if (flags & DISK_CREATE)
        how |= O_CREAT;
    if (flags & DISK_EXCLUSIVE)
        how |= O_EXCL;
    fd = openat(((struct posix_disk *)d)->fd, name, how, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077) {
        close(fd);
        return -EPERM; /* somebody else put it there, or can change it */
    }
    f = mem_alloc(sizeof *f);
    f->base.ops = &posix_ops;
    f->fd = fd;
    *ret_file = &f->base;
    return 0;
}

static void posix_close(struct disk_file *f)
{
    if (!f)
        return;
    close(((struct posix_file *)f)->fd);
    free(f);
}

static int posix_read(struct disk_file *f, uint64_t offset, void *data, size_t len, size_t *ret_len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(((struct posix_file *)f)->fd, (char *)data + done, len - done,
                          (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_len = done;
    return 0;
}

static int posix_write(struct disk_file *f, uint64_t offset, const void *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pwrite(((struct posix_file *)f)->fd, (const char *)data + done, len - done,
                           (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* no progress and no reason: trying for ever is no answer */
        done += (size_t)n;
    }
    return 0;
}

static int posix_allocate(struct disk_file *f, uint64_t len)
{
    int error;

    do
        error = posix_fallocate(((struct posix_file *)f)->fd, 0, (off_t)len);
    while (error == EINTR);
    return -error;
}

static int posix_truncate(struct disk_file *f, uint64_t len)
{
    return ftruncate(((struct posix_file *)f)->fd, (off_t)len) < 0 ? -errno : 0;
}

static int posix_sync(struct disk_file *f)
{
    return fdatasync(((struct posix_file *)f)->fd) < 0 ? -errno : 0;
}

static int posix_size(struct disk_file *f, uint64_t *ret_size)
{
    struct stat st;

    if (fstat(((struct posix_file *)f)->fd, &st) < 0)
        return -errno;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int posix_rename(struct disk *d, const char *from, const char *to)
{
    int fd = ((struct posix_disk *)d)->fd;

    return renameat(fd, from, fd, to) < 0 ? -errno : 0;
}

static int posix_unlink(struct disk *d, const char *name)
{
    return unlinkat(((struct posix_disk *)d)->fd, name, 0) < 0 ? -errno : 0;
}

static int posix_sync_dir(struct disk *d)
{
    return fsync(((struct posix_disk *)d)->fd) < 0 ? -errno : 0;
}

static int posix_space(struct disk *d, uint64_t *ret_free)
{
    struct statvfs st;

    if (fstatvfs(((struct posix_disk *)d)->fd, &st) < 0)
        return -errno;
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static int posix_list(struct disk *d, void (*name_fn)(const char *name, void *arg), void *arg)
{
    int fd = openat(((struct posix_disk *)d)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int error;

    if (!dir) {
        error = errno;
        if (fd >= 0)
            close(fd);
        return -error;
    }
    while ((e = file_next(dir)))
        name_fn(e->d_name, arg);
    error = errno;
    closedir(dir);
    return -error;
}

static void posix_free(struct disk *d)
{
    close(((struct posix_disk *)d)->fd);
    free(d);
}

static const struct disk_ops posix_ops = {
    posix_open,     posix_close, posix_read, posix_write,  posix_allocate,
    posix_truncate, posix_sync,  posix_size, posix_rename, posix_unlink,
    posix_sync_dir, posix_space, posix_list,   posix_free,
};

/* The directory's own name must survive a power cut as surely as what is in it (etcd 6368). */
static int sync_parent(int fd)
{
    int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

    if (parent < 0)
        return errno;
    if (fsync(parent) < 0)
        error = errno;
    close(parent);
    return error;
}

enum status disk_posix_open(const char *path, struct disk **ret_disk, struct error *ret_error)
{
    struct posix_disk *d;
    struct stat st;
    int fd, error;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set(ret_error, ST_IO, "%s: cannot be made: %s", path, strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return error_set(ret_error, ST_BAD_ARGUMENT, "%s: is no directory", path);
    if (fd < 0)
        return error_set(ret_error, ST_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 077) {
        close(fd);
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "%s: must belong to the user of this process and be closed to all others",
                         path);
    }
    error = sync_parent(fd);
    if (error) {
        close(fd);
        return error_set(ret_error, ST_IO, "%s: its name cannot be made durable: %s", path,
                         strerror(error));
    }
    d = mem_alloc(sizeof *d);
    d->base.ops = &posix_ops;
    d->fd = fd;
    *ret_disk = &d->base;
    return ST_OK;
}
