/* SPDX-License-Identifier: Apache-2.0 */
/* The number of voters, and its file. */
#include "raftd/voters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/limits.h"

#define VOTERS_MAGIC "RFTVOTRS"
#define VOTERS_FORMAT 1
#define VOTERS_HEADER_BYTES 16
#define VOTERS_BYTES 32

enum status voters_load(struct voters *v, int dir_fd, struct error *ret_error)
{
    uint8_t data[VOTERS_BYTES + 1];
    int fd = openat(dir_fd, "voters", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n;

    if (fd < 0 && errno == ENOENT)
        return ST_OK;
    n = fd < 0 ? -1 : read(fd, data, sizeof data);
    if (n < 0)
        error_set(ret_error, ST_IO, "member/voters: cannot be read: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return ST_IO;
    if (n != VOTERS_BYTES || memcmp(data, VOTERS_MAGIC, 8) != 0 || get_le32(data + 8) != VOTERS_FORMAT ||
        get_le32(data + 12) != crc32c(0, data + VOTERS_HEADER_BYTES, VOTERS_BYTES - VOTERS_HEADER_BYTES) ||
        get_le64(data + 24) > RAFT_VOTERS_MAX)
        return error_set(ret_error, ST_CORRUPT, "member/voters: damaged (%zd bytes)", n);
    *v = (struct voters){.index = get_le64(data + 16), .count = (unsigned)get_le64(data + 24)};
    return ST_OK;
}

void voters_note(struct voters *v, uint64_t index, unsigned count)
{
    if (index < v->index)
        return;
    v->index = index;
    v->is_unsaved = v->is_unsaved || count != v->count;
    v->count = count;
}

enum status voters_save(struct voters *v, int dir_fd, struct error *ret_error)
{
    uint8_t data[VOTERS_BYTES];
    int fd, error;
    bool ok;

    if (!v->is_unsaved)
        return ST_OK;
    put_bytes(data, VOTERS_MAGIC, 8);
    put_le64(put_le64(data + VOTERS_HEADER_BYTES, v->index), v->count);
    put_le32(put_le32(data + 8, VOTERS_FORMAT), crc32c(0, data + VOTERS_HEADER_BYTES, VOTERS_BYTES - VOTERS_HEADER_BYTES));
    errno = 0;
    fd = openat(dir_fd, "voters.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0 && write(fd, data, sizeof data) == (ssize_t)sizeof data && fsync(fd) == 0;
    error = errno ? errno : ENOSPC; /* a short write */
    if (fd >= 0 && close(fd) < 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok) {
        ok = renameat(dir_fd, "voters.new", dir_fd, "voters") == 0 && fsync(dir_fd) == 0;
        error = errno;
    }
    v->is_unsaved = !ok;
    return ok ? ST_OK : error_set(ret_error, error == ENOSPC || error == EDQUOT ? ST_NO_SPACE : ST_IO,
                                  "member/voters: cannot be written: %s", strerror(error));
}
