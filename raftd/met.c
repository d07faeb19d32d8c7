/* SPDX-License-Identifier: Apache-2.0 */
/* The table of incarnations that were met, and its file. */
#include "raftd/met.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"

#define MET_MAGIC "RFTMET\0\0"
#define MET_FORMAT 1
#define MET_HEADER_BYTES 16
#define MET_ROW_BYTES 16

uint64_t met_find(const struct met *m, uint64_t id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->rows[i].id == id)
            return m->rows[i].incarnation;
    return 0;
}

void met_add(struct met *m, uint64_t id, uint64_t incarnation, bool (*is_dear_fn)(void *arg, uint64_t id), void *arg)
{
    unsigned at = 0;

    if (m->count == PEER_MET_MAX) {
        while (at < m->count - 1 && is_dear_fn(arg, m->rows[at].id))
            at++;
        m->count--;
        memmove(&m->rows[at], &m->rows[at + 1], (m->count - at) * sizeof m->rows[0]);
    }
    m->rows[m->count].id = id;
    m->rows[m->count++].incarnation = incarnation;
}

enum status met_load(struct met *m, int dir_fd, struct error *ret_error)
{
    uint8_t data[MET_HEADER_BYTES + PEER_MET_MAX * MET_ROW_BYTES + 1];
    int fd = openat(dir_fd, "met", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n;

    *m = (struct met){0};
    if (fd < 0 && errno == ENOENT)
        return ST_OK;
    n = fd < 0 ? -1 : read(fd, data, sizeof data);
    if (n < 0) {
        error_set(ret_error, ST_IO, "member/met: cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return ST_IO;
    }
    close(fd);
    if (n < MET_HEADER_BYTES || (size_t)n == sizeof data || (n - MET_HEADER_BYTES) % MET_ROW_BYTES ||
        memcmp(data, MET_MAGIC, 8) != 0 || get_le32(data + 8) != MET_FORMAT ||
        get_le32(data + 12) != crc32c(0, data + MET_HEADER_BYTES, (size_t)n - MET_HEADER_BYTES))
        return error_set(ret_error, ST_CORRUPT, "member/met: damaged (%zd bytes)", n);
    for (const uint8_t *p = data + MET_HEADER_BYTES; p < data + n; p += MET_ROW_BYTES) {
        m->rows[m->count].id = get_le64(p);
        m->rows[m->count++].incarnation = get_le64(p + 8);
    }
    return ST_OK;
}

/* Part of it is what a disk takes that runs full. */
static bool write_whole(int fd, const uint8_t *data, size_t len)
{
    ssize_t n = write(fd, data, len);

    if (n >= 0 && (size_t)n < len)
        errno = ENOSPC;
    return n >= 0 && (size_t)n == len;
}

enum status met_save(const struct met *m, int dir_fd, struct error *ret_error)
{
    uint8_t data[MET_HEADER_BYTES + PEER_MET_MAX * MET_ROW_BYTES], *p = data + MET_HEADER_BYTES;
    bool ok;
    int fd;

    for (unsigned i = 0; i < m->count; i++)
        p = put_le64(put_le64(p, m->rows[i].id), m->rows[i].incarnation);
    put_bytes(data, MET_MAGIC, 8);
    put_le32(put_le32(data + 8, MET_FORMAT), crc32c(0, data + MET_HEADER_BYTES, (size_t)(p - data) - MET_HEADER_BYTES));
    fd = openat(dir_fd, "met.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0 && write_whole(fd, data, (size_t)(p - data)) && fsync(fd) == 0;
    if (fd >= 0 && close(fd) < 0)
        ok = false;
    ok = ok && renameat(dir_fd, "met.new", dir_fd, "met") == 0 && fsync(dir_fd) == 0;
    if (ok)
        return ST_OK;
    return error_set(ret_error, errno == ENOSPC || errno == EDQUOT ? ST_NO_SPACE : ST_IO, "member/met: cannot be written: %s", strerror(errno));
}
