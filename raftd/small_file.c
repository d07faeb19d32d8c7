/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are there whole or not at all. */
#include "raftd/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"

enum status small_file_read(int dir_fd, const char *name, void *ret_data, size_t size, size_t *ret_len, struct error *ret_error)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n;

    if (fd < 0 && errno == ENOENT)
        return ST_NOT_FOUND;
    n = fd < 0 ? -1 : read(fd, ret_data, size);
    if (n < 0)
        error_set(ret_error, ST_IO, "member/%s: cannot be read: %s", name, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return ST_IO;
    *ret_len = (size_t)n;
    return ST_OK;
}

/* 0, or an errno. */
static int write_new(int dir_fd, const char *name, const void *data, size_t len)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), error = 0;

    if (fd < 0)
        return errno;
    if (!file_write_all(fd, data, len) || fsync(fd) < 0)
        error = errno;
    if (close(fd) < 0 && !error)
        error = errno;
    return error;
}

enum status small_file_replace(int dir_fd, const char *name, const void *data, size_t len, struct error *ret_error)
{
    char new_name[64];
    int error;

    INVARIANT(snprintf(new_name, sizeof new_name, "%s.new", name) < (int)sizeof new_name);
    error = write_new(dir_fd, new_name, data, len);
    if (!error && (renameat(dir_fd, new_name, dir_fd, name) < 0 || fsync(dir_fd) < 0))
        error = errno;
    if (!error)
        return ST_OK;
    return error_set(ret_error, error == ENOSPC || error == EDQUOT ? ST_NO_SPACE : ST_IO, "member/%s: cannot be written: %s", name,
                     strerror(error));
}
