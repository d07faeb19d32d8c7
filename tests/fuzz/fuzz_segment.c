/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed segment with bytes changed: in the TDB file, and in the side file, whose checksum is made right again. The
 * store opens it or refuses, and every read ends in an answer or a refusal.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "mvcc/mvcc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/temp_dir.h"

static char dir[100], tdb[160], keys[160];

static void make_store(struct reader *in)
{
    struct mvcc_options o = {.dir = dir, .memtable_bytes = UINT64_MAX, .seal_entries = UINT64_MAX, .no_sync = true};
    struct error error = {0};
    struct mvcc_seal *seal;
    uint64_t index, term;
    struct mvcc *s;

    INVARIANT(mvcc_open(&o, &s, &error) == ST_OK);
    for (uint64_t i = 1, n = 1 + draw_below(in, 6); i <= n; i++) {
        mvcc_begin(s, i, 1, (int64_t)draw_number(in));
        for (uint64_t k = draw_below(in, 4); k; k--) {
            struct slice key = draw_bytes(in, 1 + draw_below(in, 3));
            struct mvcc_span span = mvcc_span_of(key, slice_of(NULL, 0));
            if (draw_below(in, 3))
                INVARIANT(mvcc_put(s, key, draw_bytes(in, draw_below(in, 20)), 0) == ST_OK);
            else
                mvcc_delete(s, &span);
        }
        mvcc_end(s);
    }
    seal = mvcc_seal_begin(s, slice_of("state", 5));
    INVARIANT(seal && mvcc_seal_write(seal, &error) == ST_OK);
    INVARIANT(mvcc_seal_end(s, seal, &index, &term, &error) == ST_OK);
    mvcc_close(s);
}

static void change_file(struct reader *in, const char *path, bool seal)
{
    int fd = open(path, O_RDWR);
    struct stat st;
    uint8_t *data;

    INVARIANT(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 20);
    data = mem_alloc((size_t)st.st_size);
    INVARIANT(pread(fd, data, (size_t)st.st_size, 0) == st.st_size);
    for (uint64_t n = draw_below(in, 5); n; n--)
        data[draw_below(in, (uint64_t)st.st_size)] = draw_u8(in);
    if (seal)
        put_le32(data + 8, crc32c(0, data + 12, (size_t)st.st_size - 12));
    INVARIANT(pwrite(fd, data, (size_t)st.st_size, 0) == st.st_size);
    if (draw_below(in, 20) == 1)
        INVARIANT(ftruncate(fd, (off_t)draw_below(in, (uint64_t)st.st_size)) == 0);
    close(fd);
    free(data);
}

static bool on_kv(const struct mvcc_kv *kv, void *arg)
{
    *(uint64_t *)arg += kv->key.len + kv->value.len;
    return true;
}

static bool on_event(const struct mvcc_event *e, void *arg)
{
    return on_kv(&e->kv, arg);
}

static void read_all(struct mvcc *s)
{
    struct mvcc_query q = {.span = mvcc_span_of(slice_of("", 1), slice_of("", 1)), .values = true};
    struct mvcc_range_result result;
    uint64_t sum = 0;
    uint32_t hash;
    enum status st = mvcc_range(s, &q, on_kv, &sum, &result);

    INVARIANT(st == ST_OK || st == ST_CORRUPT || st == ST_IO);
    st = mvcc_history(s, 2, mvcc_revision(s), on_event, &sum);
    INVARIANT(st == ST_OK || st == ST_CORRUPT || st == ST_IO);
    st = mvcc_hash(s, 0, &hash);
    INVARIANT(st == ST_OK || st == ST_CORRUPT || st == ST_IO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mvcc_options o = {.dir = dir, .memtable_bytes = UINT64_MAX, .seal_entries = UINT64_MAX, .no_sync = true};
    struct reader in = reader_of(slice_of(data, size));
    struct error error = {0};
    struct mvcc *s;

    INVARIANT(temp_dir_make(dir, sizeof dir, "fuzz"));
    snprintf(tdb, sizeof tdb, "%s/0000000000000001.tdb", dir);
    snprintf(keys, sizeof keys, "%s/0000000000000001.keys", dir);
    make_store(&in);
    if (draw_below(&in, 2))
        change_file(&in, keys, draw_below(&in, 4) != 0);
    if (draw_below(&in, 2))
        change_file(&in, tdb, false);
    if (mvcc_open(&o, &s, &error) == ST_OK) {
        read_all(s);
        mvcc_close(s);
    } else {
        INVARIANT(error.text[0]);
    }
    unlink(tdb);
    unlink(keys);
    rmdir(dir);
    return 0;
}
