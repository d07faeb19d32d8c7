/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy:
 *
 *     offset  bytes
 *          0      8  "RFTPROMI"
 *          8      4  format: 1
 *         12      4  CRC-32C of where it stands (8) and of what follows
 *         16      8  cluster id
 *         24      8  member id
 *         32      8  sequence of the write
 *         40      8  term
 *         48      8  vote
 *         56      8  lost term
 */
#include "raftd/wal/promise.h"

#include <errno.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"

#define MAGIC          "RFTPROMI"
#define PROMISE_TMP_NAME "promise.tmp"
#define PROMISE_FORMAT 1
#define COPY_BYTES     64
#define COPY_DISTANCE  4096 /* no two in one block */
#define COPIES         2

static uint32_t checksum(const uint8_t *copy, uint64_t offset)
{
    uint8_t place[8];

    put_le64(place, offset);
    return crc32c(crc32c(0, place, sizeof place), copy + 16, COPY_BYTES - 16);
}

static void encode(uint8_t *copy, uint64_t offset, uint64_t cluster_id, uint64_t member_id, const struct promise *p)
{
    put_bytes(copy, MAGIC, 8);
    put_le32(copy + 8, PROMISE_FORMAT);
    put_le64(put_le64(copy + 16, cluster_id), member_id);
    put_le64(put_le64(put_le64(put_le64(copy + 32, p->sequence), p->term), p->vote), p->lost_term);
    put_le32(copy + 12, checksum(copy, offset));
}

static bool is_whole(const uint8_t *copy, uint64_t offset)
{
    return memcmp(copy, MAGIC, 8) == 0 && get_le32(copy + 8) == PROMISE_FORMAT && get_le32(copy + 12) == checksum(copy, offset);
}

/* A sector that cannot be read is a damaged copy; the other one may do. */
static bool read_copy(const struct disk_ops *ops, struct disk_file *f, uint64_t i, uint8_t *ret_copy)
{
    size_t got = 0;

    return ops->read(f, i * COPY_DISTANCE, ret_copy, COPY_BYTES, &got) == 0 && got == COPY_BYTES &&
           is_whole(ret_copy, i * COPY_DISTANCE);
}

/* The newest whole copy of those in the file. */
static enum status choose(struct disk_file *f, uint64_t cluster_id, uint64_t member_id, const struct disk_ops *ops,
                          struct promise *ret_promise, struct error *ret_error)
{
    enum status st = ST_CORRUPT;

    for (uint64_t i = 0; i < COPIES; i++) {
        uint8_t copy[COPY_BYTES];
        if (!read_copy(ops, f, i, copy))
            continue;
        if (get_le64(copy + 16) != cluster_id || get_le64(copy + 24) != member_id)
            return error_set(ret_error, ST_BAD_ARGUMENT, "wal/%s: is another member's", PROMISE_NAME);
        if (st == ST_OK && get_le64(copy + 32) <= ret_promise->sequence)
            continue;
        *ret_promise = (struct promise){get_le64(copy + 32), get_le64(copy + 40), get_le64(copy + 48), get_le64(copy + 56)};
        st = ST_OK;
    }
    if (st != ST_OK)
        return error_set(ret_error, st, "wal/%s: damaged, both copies: nothing tells what this member voted", PROMISE_NAME);
    return st;
}

enum status wal_promise_read(struct disk *disk, uint64_t cluster_id, uint64_t member_id, struct promise *ret_promise,
                             struct error *ret_error)
{
    struct disk_file *f = NULL;
    int error = disk->ops->open(disk, PROMISE_NAME, DISK_READ_ONLY, &f);
    enum status st;

    if (error == -ENOENT)
        return ST_NOT_FOUND;
    if (error)
        return error_set(ret_error, ST_IO, "wal/%s: %s", PROMISE_NAME, strerror(-error));
    st = choose(f, cluster_id, member_id, disk->ops, ret_promise, ret_error);
    disk->ops->close(f);
    return st;
}

static int write_copies(struct disk *disk, struct disk_file *file, uint64_t first, uint64_t cluster_id, uint64_t member_id,
                        const struct promise *promise)
{
    uint8_t copy[COPY_BYTES];
    int error = 0;

    for (uint64_t n = 0; !error && n < COPIES; n++) {
        uint64_t i = (first + n) % COPIES;
        encode(copy, i * COPY_DISTANCE, cluster_id, member_id, promise);
        error = disk->ops->write(file, i * COPY_DISTANCE, copy, sizeof copy);
        if (!error)
            error = disk->ops->sync(file);
    }
    return error;
}

int wal_promise_write(struct disk *disk, struct disk_file *file, uint64_t cluster_id, uint64_t member_id,
                      const struct promise *promise)
{
    return write_copies(disk, file, 0, cluster_id, member_id, promise);
}

/* A crash may have left one copy only, which is not written to before there is another. */
static int renew_copies(struct disk *disk, struct disk_file *file, uint64_t cluster_id, uint64_t member_id,
                        const struct promise *promise)
{
    uint8_t a[COPY_BYTES], b[COPY_BYTES];
    bool first = read_copy(disk->ops, file, 0, a), second = read_copy(disk->ops, file, 1, b);
    bool only_first = first && (!second || get_le64(b + 32) < get_le64(a + 32));

    if (!first && !second)
        return -EIO; /* one of them was read before */
    return write_copies(disk, file, only_first ? 1 : 0, cluster_id, member_id, promise);
}

/* There whole, or not at all. */
static int make_file(struct disk *disk, uint64_t cluster_id, uint64_t member_id, const struct promise *promise,
                     struct disk_file **ret_file)
{
    int error = disk->ops->open(disk, PROMISE_TMP_NAME, DISK_CREATE, ret_file);

    if (error)
        return error;
    error = disk->ops->allocate(*ret_file, COPIES * COPY_DISTANCE);
    if (!error)
        error = wal_promise_write(disk, *ret_file, cluster_id, member_id, promise);
    if (!error)
        error = disk->ops->rename(disk, PROMISE_TMP_NAME, PROMISE_NAME);
    return error ? error : disk->ops->sync_dir(disk);
}

int wal_promise_open(struct disk *disk, uint64_t cluster_id, uint64_t member_id, const struct promise *promise,
                     struct disk_file **ret_file)
{
    struct disk_file *f = NULL;
    int error = disk->ops->open(disk, PROMISE_NAME, 0, &f);

    if (!error)
        error = renew_copies(disk, f, cluster_id, member_id, promise);
    else if (error == -ENOENT)
        error = make_file(disk, cluster_id, member_id, promise, &f);
    if (!error)
        *ret_file = f;
    else if (f)
        disk->ops->close(f);
    return error;
}
