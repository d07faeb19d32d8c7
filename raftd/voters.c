/* SPDX-License-Identifier: Apache-2.0 */
/* The number of voters, and its file. */
#include "raftd/voters.h"

#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "raftd/small_file.h"

#define VOTERS_MAGIC "RFTVOTRS"
#define VOTERS_FORMAT 1
#define VOTERS_HEADER_BYTES 16
#define VOTERS_BYTES 32

enum status voters_load(struct voters *v, int dir_fd, struct error *ret_error)
{
    uint8_t data[VOTERS_BYTES + 1];
    size_t n;
    enum status st = small_file_read(dir_fd, "voters", data, sizeof data, &n, ret_error);

    if (st != ST_OK)
        return st == ST_NOT_FOUND ? ST_OK : st;
    if (n != VOTERS_BYTES || memcmp(data, VOTERS_MAGIC, 8) != 0 || get_le32(data + 8) != VOTERS_FORMAT ||
        get_le32(data + 12) != crc32c(0, data + VOTERS_HEADER_BYTES, VOTERS_BYTES - VOTERS_HEADER_BYTES) ||
        get_le64(data + 24) > RAFT_VOTERS_MAX)
        return error_set(ret_error, ST_CORRUPT, "member/voters: damaged (%zu bytes)", n);
    *v = (struct voters){.index = get_le64(data + 16), .count = (unsigned)get_le64(data + 24)};
    return ST_OK;
}

void voters_note(struct voters *v, uint64_t index, unsigned count)
{
    if (index < v->index)
        return;
    v->index = index;
    v->is_unsaved = v->is_unsaved || count != v->count;
    v->has_fallen = v->has_fallen || count < v->count;
    v->count = count;
}

enum status voters_save(struct voters *v, int dir_fd, struct error *ret_error)
{
    uint8_t data[VOTERS_BYTES];
    enum status st;

    if (!v->is_unsaved)
        return ST_OK;
    put_bytes(data, VOTERS_MAGIC, 8);
    put_le64(put_le64(data + VOTERS_HEADER_BYTES, v->index), v->count);
    put_le32(put_le32(data + 8, VOTERS_FORMAT), crc32c(0, data + VOTERS_HEADER_BYTES, VOTERS_BYTES - VOTERS_HEADER_BYTES));
    st = small_file_replace(dir_fd, "voters", data, sizeof data, ret_error);
    if (st == ST_OK)
        v->is_unsaved = v->has_fallen = false;
    return st;
}
