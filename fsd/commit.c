/* SPDX-License-Identifier: Apache-2.0 */
/* The commit policy. */
#include "fsd/commit.h"

#include "common/codec.h"

bool commit_is_due(enum commit_mode mode, enum commit_moment at, const struct fh *fh, uint64_t write_end)
{
    const struct file *f = fh->file;
    bool promised = (fh->truncates && f->truncate) || f->pending;

    switch (at) {
    case AT_WRITE:
        if (fh->append || fh->sync || mode == COMMIT_WRITE)
            return true;
        /*
         * More than a server takes, as a rule: let it say so while somebody listens. Not before, or the part that it takes would
         * replace the old value, which is to stand.
         */
        if (write_end > REQUEST_BYTES_MAX || buf_len(&f->held) > HELD_BYTES_MAX)
            return true;
        return mode == COMMIT_AUTO && write_end % HOLD_MULTIPLE != 0;
    case AT_FLUSH:
        return fh->wrote; /* never a truncation alone: the data may still come */
    case AT_FSYNC:
        return fh->wrote || promised;
    case AT_RELEASE:
        /* A truncation whose data was refused is not committed without it: the old value stands. */
        return fh->wrote || (promised && !fh->failed);
    }
    return true;
}

bool commit_new_value(const struct commit_change *change, struct slice base, struct slice writes, struct buf *ret_value)
{
    struct reader r = reader_of(writes);

    buf_clear(ret_value);
    if (!change->replace)
        buf_append_slice(ret_value, base);
    while (reader_left(&r)) {
        uint64_t off = read_le64(&r), len = read_le64(&r);
        const uint8_t *data = read_bytes(&r, len);
        if (off == OFFSET_END)
            off = buf_len(ret_value);
        if (off > VALUE_BYTES_MAX || len > VALUE_BYTES_MAX - off)
            return false;
        fh_put(ret_value, off, slice_of(data, len));
    }
    if (change->resize && change->size > VALUE_BYTES_MAX)
        return false;
    if (change->resize && change->size < buf_len(ret_value))
        ret_value->end = ret_value->start + change->size;
    else if (change->resize)
        fh_put(ret_value, change->size, slice_of(NULL, 0));
    return buf_len(ret_value) <= VALUE_BYTES_MAX;
}
