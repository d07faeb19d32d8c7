/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments as TDB files. Filled without transactions under a temporary name, through a memory map; read without one, so
 * that a read error is an errno and not a signal, and so that pages of the file are not counted as ours. No locks: nobody writes.
 */
#include "mvcc/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tdb.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/planted.h"
#include "mvcc/record.h"

#define KEY_BYTES 16
#define META_KEY "meta"
#define META_BYTES 64
#define SIDE_MAGIC "RFTKEYS1"
#define SIDE_HEADER_BYTES 32

struct segment {
    struct tdb_context *tdb;
    struct segment_meta meta;
    struct buf state;
    uint64_t file_bytes;
    char dir[4096];
};

static void path_of(char *out, const char *dir, uint64_t sequence, const char *suffix)
{
    snprintf(out, MVCC_FILE_BYTES, "%s/%016" PRIx64 "%s", dir, sequence, suffix);
}

static enum status fail(struct error *ret_error, enum status st, const char *path, const char *what)
{
    return error_set(ret_error, st, "%s: %s%s%s", path, what, st == ST_IO ? ": " : "",
                     st == ST_IO ? strerror(errno) : "");
}

/* Of a write that failed: a full disk is no damage, and there may be space later. */
static enum status fail_to_write(struct error *ret_error, const char *path, const char *what)
{
    int error = errno;

    (void)fail(ret_error, ST_IO, path, what);
    if (error != ENOSPC && error != EDQUOT)
        return ST_IO;
    if (ret_error)
        ret_error->status = ST_NO_SPACE;
    return ST_NO_SPACE;
}

static void key_encode(uint8_t *out, int64_t main, int64_t sub)
{
    put_le64(put_le64(out, (uint64_t)main), (uint64_t)sub);
}

/* Even chains, and neighbours stay neighbours: measured three times as fast to traverse as TDB's own. */
static unsigned int segment_hash(TDB_DATA *key)
{
    if (key->dsize != KEY_BYTES)
        return 0;
    return (unsigned int)(get_le64(key->dptr) + get_le64(key->dptr + 8) * 2654435761u);
}

static struct tdb_context *tdb_for(const char *path, int hash_size, int flags, int open_flags)
{
    /* No logging context: TDB is quiet then. One without a function it would call all the same. */
    return tdb_open_ex(path, hash_size, flags | TDB_NOLOCK | TDB_NOSYNC, open_flags | O_CLOEXEC | O_NOFOLLOW, 0600, NULL,
                       segment_hash);
}

/* ---- writing ---- */

static bool store_bytes(struct tdb_context *tdb, const void *key, size_t key_len, struct slice value)
{
    union {
        const void *in;
        void *out;
    } k = {.in = key}, v = {.in = value.data}; /* TDB takes what it does not change as changeable */
    TDB_DATA key_data = {.dptr = k.out, .dsize = key_len};
    TDB_DATA value_data = {.dptr = v.out, .dsize = value.len};

    return tdb_store(tdb, key_data, value_data, TDB_INSERT) == 0;
}

static bool store_meta(struct tdb_context *tdb, const struct segment_meta *m, struct slice state)
{
    uint8_t *bytes = mem_zero(META_BYTES + state.len), *p = bytes + 4;
    bool ok;

    p = put_le32(p, SEGMENT_FORMAT);
    p = put_le64(p, m->sequence);
    p = put_le64(put_le64(p, (uint64_t)m->first_rev), (uint64_t)m->next_rev);
    p = put_le64(put_le64(p, m->applied_index), m->applied_term);
    p = put_le64(put_le64(p, (uint64_t)m->last_time_ns), m->record_count);
    INVARIANT(p == bytes + META_BYTES);
    put_bytes(p, state.data, state.len);
    put_le32(bytes, crc32c(0, bytes + 4, META_BYTES - 4 + state.len));
    ok = store_bytes(tdb, META_KEY, sizeof META_KEY, slice_of(bytes, META_BYTES + state.len));
    free(bytes);
    return ok;
}

static enum status write_records(const char *path, struct memtable *t, const struct segment_meta *meta,
                                 struct slice state, bool no_sync, struct error *ret_error)
{
    size_t count = memtable_count(t);
    struct tdb_context *tdb = tdb_for(path, (int)(count < 100 ? 101 : count | 1), 0, O_RDWR | O_CREAT | O_EXCL);
    bool ok = tdb != NULL;
    int error;

    if (tdb)
        errno = 0;
    for (size_t i = 0; ok && i + PLANTED(seal_drops_last) < count; i++) {
        uint8_t *record = memtable_record(t, i), key[KEY_BYTES];
        size_t len = record_len(record);
        record_seal(record, len);
        memcpy(key, record + 16, KEY_BYTES); /* main and sub, as they stand there */
        ok = store_bytes(tdb, key, sizeof key, slice_of(record, len));
    }
    ok = ok && store_meta(tdb, meta, state);
    if (ok && !no_sync && !PLANTED(segment_not_synced))
        ok = fsync(tdb_fd(tdb)) == 0;
    /* Of what failed: closing may succeed and forget it. A file that cannot grow fails without any error of TDB's. */
    error = errno ? errno : ENOSPC;
    if (tdb && tdb_close(tdb) != 0 && ok) {
        error = errno;
        ok = false;
    }
    errno = error;
    return ok ? ST_OK : fail_to_write(ret_error, path, "cannot be written");
}

/* header: 8 magic, 4 CRC of all that follows, 4 zero, 8 sequence, 8 number of records; a record: 8 main, 4 sub with the
 * top bit for a tombstone, 4 key length, key. */
static enum status write_side(const char *path, const struct memtable *t, const struct segment_meta *meta, bool no_sync,
                              struct error *ret_error)
{
    struct buf b = {0};
    int fd;
    bool ok;

    put_le64(put_le64(buf_reserve(&b, SIDE_HEADER_BYTES) + 16, meta->sequence), memtable_count(t));
    memcpy(b.data, SIDE_MAGIC, 8);
    put_le32(b.data + 12, 0);
    buf_commit(&b, SIDE_HEADER_BYTES);
    for (size_t i = 0; i < memtable_count(t); i++) {
        struct mvcc_kv kv;
        int64_t sub;
        uint32_t flags;
        uint8_t *p;
        record_decode(memtable_record(t, i), &kv, &sub, &flags);
        p = buf_reserve(&b, 16 + kv.key.len);
        p = put_le64(p, (uint64_t)kv.mod_rev);
        p = put_le32(p, (uint32_t)sub | (flags & RECORD_TOMBSTONE ? 1u << 31 : 0));
        p = put_le32(p, (uint32_t)kv.key.len);
        put_bytes(p, kv.key.data, kv.key.len);
        buf_commit(&b, 16 + kv.key.len);
    }
    put_le32(b.data + 8, crc32c(0, b.data + 12, buf_len(&b) - 12));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    ok = fd >= 0 && file_write_all(fd, b.data, buf_len(&b)) && (no_sync || fsync(fd) == 0);
    if (fd >= 0 && close(fd) < 0)
        ok = false;
    buf_fini(&b);
    return ok ? ST_OK : fail_to_write(ret_error, path, "cannot be written");
}

enum status segment_sync_names(const char *dir, struct error *ret_error)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    enum status st = ok ? ST_OK : fail(ret_error, ST_IO, dir, "cannot be synced");

    if (fd >= 0)
        close(fd);
    return st;
}

enum status segment_write(const char *dir, struct memtable *t, const struct segment_meta *meta, struct slice state,
                          bool no_sync, struct segment **ret_segment, struct error *ret_error)
{
    char tmp[MVCC_FILE_BYTES], side_tmp[MVCC_FILE_BYTES], path[MVCC_FILE_BYTES], side[MVCC_FILE_BYTES];
    enum status st;

    path_of(tmp, dir, meta->sequence, ".tdb.tmp");
    path_of(side_tmp, dir, meta->sequence, ".keys.tmp");
    path_of(path, dir, meta->sequence, ".tdb");
    path_of(side, dir, meta->sequence, ".keys");
    unlink(tmp); /* of an attempt that failed */
    st = write_records(tmp, t, meta, state, no_sync, ret_error);
    if (st == ST_OK)
        st = write_side(side_tmp, t, meta, no_sync, ret_error);
    /* The side file first: a segment without one costs a slow start, one without a segment is left over and removed. */
    if (st == ST_OK && (rename(side_tmp, side) < 0 || rename(tmp, path) < 0))
        st = fail_to_write(ret_error, path, "cannot be renamed");
    if (st == ST_NO_SPACE) { /* what was written is in the way of what there is space for */
        unlink(tmp);
        unlink(side_tmp);
        unlink(side);
    }
    if (st == ST_OK && !no_sync && !PLANTED(segment_name_not_synced))
        st = segment_sync_names(dir, ret_error);
    return st == ST_OK ? segment_open(dir, meta->sequence, ret_segment, ret_error) : st;
}

/* ---- reading ---- */

static int copy_out(TDB_DATA key, TDB_DATA data, void *arg)
{
    (void)key;
    buf_clear(arg);
    buf_append(arg, data.dptr, data.dsize);
    return 0;
}

static bool fetch(const struct segment *s, void *key, size_t key_len, struct buf *out)
{
    TDB_DATA k = {.dptr = key, .dsize = key_len};

    return tdb_parse_record(s->tdb, k, copy_out, out) == 0;
}

static enum status read_meta(struct segment *s, uint64_t sequence, const char *path, struct error *ret_error)
{
    char key[] = META_KEY;
    struct buf b = {0};
    struct reader r;
    bool ok = fetch(s, key, sizeof key, &b);
    uint32_t crc, format;

    ok = ok && buf_len(&b) >= META_BYTES;
    r = reader_of(buf_slice(&b));
    crc = read_le32(&r);
    ok = ok && crc == crc32c(0, b.data + 4, buf_len(&b) - 4);
    format = read_le32(&r);
    s->meta.sequence = read_le64(&r);
    s->meta.first_rev = (mvcc_rev)read_le64(&r);
    s->meta.next_rev = (mvcc_rev)read_le64(&r);
    s->meta.applied_index = read_le64(&r);
    s->meta.applied_term = read_le64(&r);
    s->meta.last_time_ns = (int64_t)read_le64(&r);
    s->meta.record_count = read_le64(&r);
    if (ok)
        buf_append(&s->state, r.next, reader_left(&r));
    buf_fini(&b);
    if (ok && format != SEGMENT_FORMAT)
        return error_set(ret_error, ST_BAD_ARGUMENT, "%s: format %u is not known to this version", path, format);
    if (!ok || s->meta.sequence != sequence || s->meta.next_rev < s->meta.first_rev)
        return fail(ret_error, ST_CORRUPT, path, "damaged: no valid description of itself");
    return ST_OK;
}

/* Why a file that is there could not be opened, but for what it holds. A damaged one gives all kinds of others. */
static bool is_environment(int error)
{
    return error == EACCES || error == EPERM || error == EMFILE || error == ENFILE || error == ENOMEM || error == ELOOP;
}

enum status segment_open(const char *dir, uint64_t sequence, struct segment **ret_segment, struct error *ret_error)
{
    struct segment *s = mem_zero(sizeof *s);
    char path[MVCC_FILE_BYTES];
    struct stat st_buf;
    enum status st;

    path_of(path, dir, sequence, ".tdb");
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    errno = 0; /* what TDB leaves there for some files that are none of its own */
    s->tdb = tdb_for(path, 0, TDB_NOMMAP, O_RDONLY);
    if (!s->tdb) {
        st = fail(ret_error, is_environment(errno) ? ST_IO : ST_CORRUPT, path, "cannot be opened: damaged");
        segment_close(s);
        return st;
    }
    if (fstat(tdb_fd(s->tdb), &st_buf) == 0)
        s->file_bytes = (uint64_t)st_buf.st_size;
    st = read_meta(s, sequence, path, ret_error);
    if (st != ST_OK) {
        segment_close(s);
        return st;
    }
    *ret_segment = s;
    return ST_OK;
}

void segment_close(struct segment *s)
{
    if (!s)
        return;
    if (s->tdb)
        tdb_close(s->tdb);
    buf_fini(&s->state);
    free(s);
}

const struct segment_meta *segment_meta(const struct segment *s)
{
    return &s->meta;
}

void segment_path(const char *dir, uint64_t sequence, char *ret_path)
{
    path_of(ret_path, dir, sequence, ".tdb");
}

struct slice segment_state(const struct segment *s)
{
    return buf_slice(&s->state);
}

uint64_t segment_file_bytes(const struct segment *s)
{
    return s->file_bytes;
}

enum status segment_get(const struct segment *s, int64_t main, int64_t sub, struct buf *out)
{
    uint8_t key[KEY_BYTES];

    key_encode(key, main, sub);
    if (!fetch(s, key, sizeof key, out))
        return tdb_error(s->tdb) == TDB_ERR_NOEXIST ? ST_NOT_FOUND : ST_CORRUPT;
    return PLANTED(record_checksum_ignored) || record_is_valid(buf_slice(out), main, sub) ? ST_OK : ST_CORRUPT;
}

/* ---- the keys at a start ---- */

static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    bool ok = fd >= 0 && fstat(fd, &st) == 0;

    while (ok && buf_len(out) < (size_t)st.st_size) {
        size_t left = (size_t)st.st_size - buf_len(out);
        ssize_t n = read(fd, buf_reserve(out, left), left);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        if (ok)
            buf_commit(out, (size_t)n);
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

/* All changes of the segment's revisions, in order and nothing else: what the index takes for granted. */
static bool side_is_whole(const struct segment *s, struct reader r)
{
    int64_t last_main = s->meta.first_rev - 1;
    uint32_t next_sub = 0;
    uint64_t count = 0;

    for (; reader_left(&r) && !r.bad; count++) {
        int64_t main = (int64_t)read_le64(&r);
        uint32_t sub = read_le32(&r) & ~(1u << 31);
        read_slice(&r, read_le32(&r));
        if (main == last_main + 1 && main < s->meta.next_rev && sub == 0) {
            last_main = main;
            next_sub = 0;
        } else if (main != last_main || sub != next_sub || !count) {
            return false;
        }
        next_sub++;
    }
    return !r.bad && count == s->meta.record_count && last_main == s->meta.next_rev - 1;
}

/* False: it is not there, damaged, or of another segment. Nothing was called then. */
static bool read_side(const struct segment *s, segment_key_fn key_fn, void *arg)
{
    char path[MVCC_FILE_BYTES];
    struct buf b = {0};
    struct reader r;
    bool ok;

    path_of(path, s->dir, s->meta.sequence, ".keys");
    ok = read_file(path, &b) && buf_len(&b) >= SIDE_HEADER_BYTES && memcmp(b.data, SIDE_MAGIC, 8) == 0 &&
         get_le32(b.data + 8) == crc32c(0, b.data + 12, buf_len(&b) - 12) &&
         get_le64(b.data + 16) == s->meta.sequence && get_le64(b.data + 24) == s->meta.record_count;
    r = reader_of(buf_slice(&b));
    read_bytes(&r, SIDE_HEADER_BYTES);
    ok = ok && side_is_whole(s, r);
    while (ok && reader_left(&r)) {
        int64_t main = (int64_t)read_le64(&r);
        uint32_t sub = read_le32(&r);
        struct slice key = read_slice(&r, read_le32(&r));
        key_fn(arg, key, main, sub & ~(1u << 31), sub >> 31);
    }
    buf_fini(&b);
    return ok;
}

static enum status read_records(const struct segment *s, segment_key_fn key_fn, void *arg, struct error *ret_error)
{
    struct buf b = {0};
    uint64_t seen = 0;
    enum status st = ST_OK;

    for (int64_t main = s->meta.first_rev; st == ST_OK && main < s->meta.next_rev; main++) {
        for (int64_t sub = 0; (st = segment_get(s, main, sub, &b)) == ST_OK; sub++) {
            struct mvcc_kv kv;
            int64_t sub_inside;
            uint32_t flags;
            record_decode(b.data + b.start, &kv, &sub_inside, &flags);
            key_fn(arg, kv.key, main, (uint32_t)sub, flags & RECORD_TOMBSTONE);
            seen++;
        }
        if (st == ST_NOT_FOUND)
            st = ST_OK;
    }
    buf_fini(&b);
    if (st == ST_OK && seen == s->meta.record_count)
        return ST_OK;
    return error_set(ret_error, ST_CORRUPT, "%s/%016" PRIx64 ".tdb: damaged: %" PRIu64 " of %" PRIu64 " records are whole",
                     s->dir, s->meta.sequence, seen, s->meta.record_count);
}

enum status segment_read_keys(struct segment *s, segment_key_fn key_fn, void *arg, struct error *ret_error)
{
    return read_side(s, key_fn, arg) ? ST_OK : read_records(s, key_fn, arg, ret_error);
}

/* ---- the directory ---- */

static int compare_sequences(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

enum status segment_list(const char *dir, uint64_t **ret_sequences, size_t *ret_count, struct error *ret_error)
{
    DIR *d = opendir(dir);
    uint64_t *list = NULL;
    size_t count = 0, cap = 0;
    struct dirent *e;
    enum status st;

    if (!d)
        return fail(ret_error, ST_IO, dir, "cannot be listed");
    while ((e = file_next(d))) {
        size_t len = strlen(e->d_name);
        char path[MVCC_FILE_BYTES + 256], *end;
        uint64_t sequence = strtoull(e->d_name, &end, 16);
        if (len > 4 && strcmp(e->d_name + len - 4, ".tmp") == 0) {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            unlink(path); /* of a seal that never ended: nobody reads it */
        } else if (end == e->d_name + 16 && strcmp(end, ".tdb") == 0) {
            list = mem_grow(list, &cap, count + 1, sizeof *list);
            list[count++] = sequence;
        }
    }
    st = errno ? fail(ret_error, ST_IO, dir, "cannot be listed") : ST_OK;
    closedir(d);
    if (st != ST_OK) {
        free(list);
        return st;
    }
    if (count)
        qsort(list, count, sizeof *list, compare_sequences);
    *ret_sequences = list;
    *ret_count = count;
    return ST_OK;
}
