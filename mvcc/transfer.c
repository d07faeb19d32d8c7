/* SPDX-License-Identifier: Apache-2.0 */
/* Records out of one store and into another. */
#include "mvcc/transfer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/file.h"
#include "common/mem.h"
#include "mvcc/internal.h"
#include "mvcc/record.h"

#define FIRST_MAIN 2 /* revision 1 is the empty store */
#define SUBS_MAX (1ll << 31)
#define FIRST_SEGMENT_SHARE 16 /* of an import, against the size of a sealed one */
#define READ_AHEAD_BYTES (256u * 1024u)

/* ---- out ---- */

struct mvcc_position mvcc_export_begin(const struct mvcc *s)
{
    return (struct mvcc_position){.main = s->compact_revision < FIRST_MAIN ? FIRST_MAIN : s->compact_revision + 1};
}

/* The bytes are made anew: those in a frozen memtable are being sealed by another thread. Their checksum is the same. */
static void append_record(struct buf *out, const struct mvcc_kv *kv, int64_t sub, uint32_t flags)
{
    size_t len = record_bytes(kv->key.len, kv->value.len);
    uint8_t *record = buf_reserve(out, len);

    record_encode(record, kv, sub, flags);
    record_seal(record, len);
    buf_commit(out, len);
}

enum status mvcc_export(struct mvcc *s, struct mvcc_position *at, mvcc_rev upto, size_t bytes_max, unsigned records_max,
                        struct buf *out)
{
    size_t begin = buf_len(out);

    INVARIANT(upto <= s->revision);
    if (at->main <= upto && at->main <= s->compact_revision)
        return ST_COMPACTED;
    while (at->main <= upto && buf_len(out) - begin < bytes_max && records_max > 0) {
        struct mvcc_kv kv;
        uint32_t flags;
        enum status st = store_read(s, at->main, at->sub, &kv, &flags);
        if (st != ST_OK) /* a revision without its last change is damage */
            return st == ST_NOT_FOUND ? ST_CORRUPT : st;
        append_record(out, &kv, at->sub++, flags);
        if (flags & RECORD_LAST)
            *at = (struct mvcc_position){.main = at->main + 1};
        records_max--;
    }
    return ST_OK;
}

bool mvcc_export_file(const struct mvcc *s, const struct mvcc_position *at, char *ret_path, mvcc_rev *ret_next)
{
    const struct segment *segment = store_segment_of(s, at->main);

    if (!segment)
        return false;
    segment_path(s->dir, segment_meta(segment)->sequence, ret_path);
    *ret_next = segment_meta(segment)->next_rev;
    return true;
}

void mvcc_read_ahead(const char *path, bool from_disk)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t *bytes = mem_alloc(READ_AHEAD_BYTES);

    if (fd >= 0 && from_disk)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* advice: where it is not taken, damage is found later */
    while (fd >= 0 && read(fd, bytes, READ_AHEAD_BYTES) > 0)
        ;
    if (fd >= 0)
        close(fd);
    free(bytes);
}

/* ---- in ---- */

struct mvcc_import {
    char dir[4096];
    uint64_t memtable_limit, segment_limit; /* the next segment is written at the lower one */
    bool no_sync;
    struct memtable *memtable; /* of the next segment */
    uint64_t sequence;         /* of the next segment */
    mvcc_rev main;             /* of the last record */
    int64_t sub;               /* likewise */
    bool is_last;              /* that record ended its revision */
    int64_t last_time_ns;      /* of the last whole revision */
    struct buf note;           /* the owner's, of all that is there */
};

enum status mvcc_remove(const char *dir, struct error *ret_error)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    bool ok = true;

    if (!d && errno == ENOENT)
        return ST_OK;
    while (ok && d && (e = file_next(d)))
        ok = unlinkat(dirfd(d), e->d_name, 0) == 0;
    if (!d || !ok || errno || rmdir(dir) < 0)
        ok = false;
    if (!ok)
        error_set(ret_error, ST_IO, "%s: cannot be removed: %s", dir, strerror(errno));
    if (d)
        closedir(d);
    return ok ? ST_OK : ST_IO;
}

/* Of what a former import left: every segment follows the one before, from the first revision on. */
static enum status take_segments(struct mvcc_import *m, struct error *ret_error)
{
    uint64_t *sequences = NULL;
    size_t count = 0;
    enum status st = segment_list(m->dir, &sequences, &count, ret_error);

    for (size_t i = 0; st == ST_OK && i < count; i++) {
        struct segment *segment;
        const struct segment_meta *meta;
        st = segment_open(m->dir, sequences[i], &segment, ret_error);
        if (st != ST_OK)
            break;
        meta = segment_meta(segment);
        if (meta->sequence != m->sequence || meta->first_rev != m->main + 1)
            st = ST_CORRUPT;
        m->sequence++;
        m->main = meta->next_rev - 1;
        m->last_time_ns = meta->last_time_ns;
        if (meta->record_count) { /* else it is what an import that came to its end wrote last, with another state */
            buf_clear(&m->note);
            buf_append_slice(&m->note, segment_state(segment));
        }
        segment_close(segment);
    }
    free(sequences);
    return st;
}

static enum status make_empty(struct mvcc_import *m, struct error *ret_error)
{
    enum status st = mvcc_remove(m->dir, ret_error);

    m->main = FIRST_MAIN - 1;
    m->sequence = 1;
    m->last_time_ns = 0;
    buf_clear(&m->note);
    if (st == ST_OK && mkdir(m->dir, 0700) < 0)
        st = error_set(ret_error, ST_IO, "%s: cannot be made: %s", m->dir, strerror(errno));
    return st;
}

enum status mvcc_import_open(const struct mvcc_options *options, struct mvcc_import **ret_import, struct error *ret_error)
{
    struct mvcc_import *m = mem_zero(sizeof *m);
    enum status st;

    m->memtable_limit = options->memtable_bytes;
    m->segment_limit = options->memtable_bytes / FIRST_SEGMENT_SHARE;
    m->no_sync = options->no_sync;
    m->sequence = 1;
    m->main = FIRST_MAIN - 1;
    m->is_last = true;
    if (snprintf(m->dir, sizeof m->dir, "%s", options->dir) >= (int)sizeof m->dir)
        st = error_set(ret_error, ST_BAD_ARGUMENT, "store: the path is too long");
    else if (access(m->dir, F_OK) < 0)
        st = make_empty(m, ret_error);
    else
        st = take_segments(m, ret_error);
    if (st == ST_CORRUPT)
        st = make_empty(m, ret_error);
    if (st != ST_OK) {
        buf_fini(&m->note);
        free(m);
        return st;
    }
    m->memtable = memtable_new(m->main + 1);
    *ret_import = m;
    return ST_OK;
}

mvcc_rev mvcc_import_rewind(struct mvcc_import *m)
{
    if (!m->is_last) {
        memtable_drop_newest(m->memtable);
        m->main--;
        m->is_last = true;
    }
    return m->main;
}

struct slice mvcc_import_note(const struct mvcc_import *m)
{
    return buf_slice(&m->note);
}

void mvcc_import_set_note(struct mvcc_import *m, struct slice note)
{
    buf_clear(&m->note);
    buf_append_slice(&m->note, note);
}

void mvcc_import_free(struct mvcc_import *m)
{
    if (!m)
        return;
    buf_fini(&m->note);
    memtable_free(m->memtable);
    free(m);
}

/* Only the newest segment's checkpoint counts; those before it say nothing. */
static enum status write_segment(struct mvcc_import *m, const struct mvcc_import_end *end, struct error *ret_error)
{
    struct segment_meta meta = {
        .sequence = m->sequence,
        .first_rev = memtable_first_main(m->memtable),
        .next_rev = memtable_next_main(m->memtable),
        .applied_index = end->applied_index,
        .applied_term = end->applied_term,
        .last_time_ns = m->last_time_ns,
        .record_count = memtable_count(m->memtable),
    };
    struct segment *segment;
    enum status st = segment_write(m->dir, m->memtable, &meta, end->state, m->no_sync, &segment, ret_error);

    if (st != ST_OK)
        return st;
    segment_close(segment);
    memtable_free(m->memtable);
    m->memtable = memtable_new(meta.next_rev);
    m->sequence++;
    if (m->segment_limit < m->memtable_limit)
        m->segment_limit *= 2;
    return ST_OK;
}

/* Before the end: it says of no log position what the store is. */
static enum status write_noted(struct mvcc_import *m, struct error *ret_error)
{
    struct mvcc_import_end end = {.state = buf_slice(&m->note)};

    return write_segment(m, &end, ret_error);
}

/* Before the record that begins a revision: a revision is in one segment whole. */
static bool segment_is_full(const struct mvcc_import *m)
{
    uint64_t bytes = memtable_bytes(m->memtable);

    return bytes && (bytes >= m->segment_limit || bytes >= m->memtable_limit);
}

/* The record at the front, if it is the one that must come; 0: it is not. */
static size_t front_record(const struct mvcc_import *m, struct slice bytes)
{
    struct slice record = bytes;
    int64_t main, sub;

    if (bytes.len < RECORD_FIXED_BYTES)
        return 0;
    record.len = record_len(bytes.data);
    main = (int64_t)get_le64(bytes.data + 16);
    sub = (int64_t)get_le64(bytes.data + 24);
    if (record.len > bytes.len || sub >= SUBS_MAX || !record_is_valid(record, main, sub))
        return 0;
    if (m->is_last ? main != m->main + 1 || sub != 0 : main != m->main || sub != m->sub + 1)
        return 0;
    return record.len;
}

enum status mvcc_import_add(struct mvcc_import *m, struct slice records, struct error *ret_error)
{
    while (records.len) {
        size_t len = front_record(m, records);
        struct mvcc_kv kv;
        uint32_t flags;
        if (!len)
            return error_set(ret_error, ST_CORRUPT, "%s: behind revision %lld.%lld: no valid record follows", m->dir,
                             (long long)m->main, (long long)m->sub);
        if (m->is_last && segment_is_full(m)) {
            enum status st = write_noted(m, ret_error);
            if (st != ST_OK)
                return st;
        }
        record_decode(records.data, &kv, &m->sub, &flags);
        m->main = kv.mod_rev;
        m->is_last = flags & RECORD_LAST;
        if (m->is_last)
            m->last_time_ns = kv.mod_time_ns;
        memcpy(memtable_add(m->memtable, m->main, m->sub, len), records.data, len);
        records = slice_of(records.data + len, records.len - len);
    }
    return ST_OK;
}

enum status mvcc_import_finish(struct mvcc_import *m, const struct mvcc_import_end *end, struct error *ret_error)
{
    if (m->main != end->revision || !m->is_last)
        return error_set(ret_error, ST_CORRUPT, "%s: the records end at revision %lld instead of %lld", m->dir,
                         (long long)m->main, (long long)end->revision);
    if (memtable_count(m->memtable) && buf_len(&m->note)) { /* a crash may leave the last one unused: what is known of the records stays */
        enum status st = write_noted(m, ret_error);
        if (st != ST_OK)
            return st;
    }
    return write_segment(m, end, ret_error);
}
