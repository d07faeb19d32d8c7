/* SPDX-License-Identifier: Apache-2.0 */
/* The table of incarnations that were met, and its file. */
#include "raftd/met.h"

#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "raftd/small_file.h"

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
    size_t n;
    enum status st = small_file_read(dir_fd, "met", data, sizeof data, &n, ret_error);

    *m = (struct met){0};
    if (st != ST_OK)
        return st == ST_NOT_FOUND ? ST_OK : st;
    if (n < MET_HEADER_BYTES || n == sizeof data || (n - MET_HEADER_BYTES) % MET_ROW_BYTES ||
        memcmp(data, MET_MAGIC, 8) != 0 || get_le32(data + 8) != MET_FORMAT ||
        get_le32(data + 12) != crc32c(0, data + MET_HEADER_BYTES, n - MET_HEADER_BYTES))
        return error_set(ret_error, ST_CORRUPT, "member/met: damaged (%zu bytes)", n);
    for (const uint8_t *p = data + MET_HEADER_BYTES; p < data + n; p += MET_ROW_BYTES) {
        m->rows[m->count].id = get_le64(p);
        m->rows[m->count++].incarnation = get_le64(p + 8);
    }
    return ST_OK;
}

enum status met_save(const struct met *m, int dir_fd, struct error *ret_error)
{
    uint8_t data[MET_HEADER_BYTES + PEER_MET_MAX * MET_ROW_BYTES], *p = data + MET_HEADER_BYTES;

    for (unsigned i = 0; i < m->count; i++)
        p = put_le64(put_le64(p, m->rows[i].id), m->rows[i].incarnation);
    put_bytes(data, MET_MAGIC, 8);
    put_le32(put_le32(data + 8, MET_FORMAT), crc32c(0, data + MET_HEADER_BYTES, (size_t)(p - data) - MET_HEADER_BYTES));
    return small_file_replace(dir_fd, "met", data, (size_t)(p - data), ret_error);
}
