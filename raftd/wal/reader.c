/* SPDX-License-Identifier: Apache-2.0 */
/* From segments to entries. */
#include "raftd/wal/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/mem.h"

void wal_segment_name(uint64_t sequence, raft_index begin_index, char *ret_name)
{
    snprintf(ret_name, SEGMENT_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".wal", sequence, begin_index);
}

void wal_state_fini(struct wal_state *s)
{
    for (size_t i = 0; i < s->entry_count; i++)
        raft_entry_unref(s->entries[i]);
    free(s->entries);
    free(s->segments);
    *s = (struct wal_state){0};
}

static enum status damage(struct error *ret_error, const struct wal_segment *seg, uint64_t offset, const char *what)
{
    return error_set(ret_error, ST_CORRUPT, "wal/%s: offset %" PRIu64 ": %s", seg->name, offset, what);
}

/* ---- the directory ---- */

static void collect_name(const char *name, void *arg)
{
    struct wal_state *s = arg;
    size_t len = strlen(name);

    if (len != 37 || strcmp(name + 33, ".wal") != 0)
        return;
    s->segments = mem_grow(s->segments, &s->segment_cap, s->segment_count + 1, sizeof *s->segments);
    s->segments[s->segment_count] = (struct wal_segment){0};
    memcpy(s->segments[s->segment_count++].name, name, len + 1);
}

static int compare_segments(const void *a, const void *b)
{
    return strcmp(((const struct wal_segment *)a)->name, ((const struct wal_segment *)b)->name);
}

/* ---- what the records say ---- */

static enum status take_entry(struct wal_state *s, const struct record *rec, struct wal_segment *seg, uint64_t at,
                              struct error *ret_error)
{
    struct reader r = reader_of(rec->payload);
    raft_term term = read_le64(&r);
    raft_index index = read_le64(&r);
    uint8_t type = read_u8(&r);
    struct raft_entry *e;

    read_bytes(&r, 7);
    if (r.bad)
        return damage(ret_error, seg, at, "an entry record is too short");
    if (index > seg->max_index)
        seg->max_index = index;
    if (index <= s->begin_index)
        return ST_OK; /* replaced by a checkpoint since */
    if (index > s->begin_index + s->entry_count + 1)
        return damage(ret_error, seg, at, "entries are missing before this one");
    /* It replaces what stood there and behind. */
    while (s->entry_count >= index - s->begin_index)
        raft_entry_unref(s->entries[--s->entry_count]);
    e = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)reader_left(&r));
    e->type = type;
    e->term = term;
    e->index = index;
    put_bytes(e->data, r.next, reader_left(&r));
    s->entries = mem_grow(s->entries, &s->entry_cap, s->entry_count + 1, sizeof *s->entries);
    s->entries[s->entry_count++] = e;
    return ST_OK;
}

static void begin_behind(struct wal_state *s, raft_index index, raft_term term)
{
    size_t drop = 0;

    if (index <= s->begin_index)
        return;
    while (drop < s->entry_count && s->entries[drop]->index <= index)
        raft_entry_unref(s->entries[drop++]);
    s->entry_count -= drop;
    memmove(s->entries, s->entries + drop, s->entry_count * sizeof *s->entries);
    s->begin_index = index;
    s->begin_term = term;
}

static enum status take_record(struct wal_state *s, const struct record *rec, struct wal_segment *seg, uint64_t at,
                               struct error *ret_error)
{
    struct reader r = reader_of(rec->payload);

    switch (rec->type) {
    case RECORD_ENTRY:
        return take_entry(s, rec, seg, at, ret_error);
    case RECORD_HARD:
        s->hard = (struct raft_hard_state){read_le64(&r), read_le64(&r), read_le64(&r)};
        break;
    case RECORD_BEGIN: {
        raft_index index = read_le64(&r);
        begin_behind(s, index, read_le64(&r));
        break;
    }
    case RECORD_MARK:
        break;
    case RECORD_END:
        seg->closed = true;
        break;
    default:
        return damage(ret_error, seg, at, "a record of a kind that this version does not know");
    }
    return r.bad ? damage(ret_error, seg, at, "a record is too short") : ST_OK;
}

/* ---- where the valid records end ---- */

/*
 * The bytes at `bad` are no record. They are a torn tail if nothing proves that they had been durable: a record behind
 * them whose group began later would (its group was only begun once a sync of all before it had ended).
 */
static bool is_torn_tail(struct slice bytes, uint64_t identity, uint64_t bad)
{
    struct record rec;

    for (uint64_t at = bad; at + RECORD_HEADER_BYTES <= bytes.len; at += RECORD_ALIGN) {
        if (get_le64(bytes.data + at + 8) == 0)
            continue; /* zeroes, most of the time */
        if (wal_record_at(bytes, identity, at, &rec) == ST_OK && rec.group > bad)
            return false;
    }
    return true;
}

/* First pass: how far complete batches reach. */
static enum status find_end(struct wal_segment *seg, struct slice bytes, bool last, struct error *ret_error)
{
    uint64_t at = SEGMENT_HEADER_BYTES;
    struct record rec;

    seg->end = at;
    while (wal_record_at(bytes, seg->header.identity, at, &rec) == ST_OK) {
        at += rec.size;
        if (rec.flags & RECORD_BATCH_ENDS)
            seg->end = at;
        if (rec.type == RECORD_END)
            return ST_OK;
    }
    if (!last)
        return damage(ret_error, seg, at, "damaged: the segment is not the last, but does not end here");
    if (!is_torn_tail(bytes, seg->header.identity, at))
        return damage(ret_error, seg, at, "damaged: what stands behind proves that this had been stored");
    return ST_OK;
}

static enum status take_segment(struct wal_state *s, struct wal_segment *seg, struct slice bytes, bool last,
                                struct error *ret_error)
{
    enum status st = find_end(seg, bytes, last, ret_error);
    uint64_t at = SEGMENT_HEADER_BYTES;
    struct record rec;

    while (st == ST_OK && at < seg->end) {
        INVARIANT(wal_record_at(bytes, seg->header.identity, at, &rec) == ST_OK);
        st = take_record(s, &rec, seg, at, ret_error);
        at += rec.size;
    }
    return st;
}

/* ---- all of it ---- */

static enum status read_file(struct disk *disk, const struct wal_segment *seg, struct buf *ret_bytes,
                             struct error *ret_error)
{
    struct disk_file *f;
    uint64_t size = 0;
    size_t got = 0;
    int error = disk->ops->open(disk, seg->name, DISK_READ_ONLY, &f);

    if (error)
        return error_set(ret_error, ST_IO, "wal/%s: %s", seg->name, strerror(-error));
    error = disk->ops->size(f, &size);
    buf_clear(ret_bytes);
    if (!error)
        error = disk->ops->read(f, 0, buf_reserve(ret_bytes, (size_t)size + 16), (size_t)size, &got);
    disk->ops->close(f);
    if (error)
        return error_set(ret_error, ST_IO, "wal/%s: %s", seg->name, strerror(-error));
    buf_commit(ret_bytes, got);
    return ST_OK;
}

static enum status check_header(const struct wal_state *s, size_t at, uint64_t cluster_id, uint64_t member_id,
                                struct error *ret_error)
{
    const struct wal_segment *seg = &s->segments[at];
    const struct segment_header *h = &seg->header;

    if (h->cluster_id != cluster_id || h->member_id != member_id)
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "wal/%s: is of member %" PRIx64 " of cluster %" PRIx64 ", this is member %" PRIx64
                         " of cluster %" PRIx64,
                         seg->name, h->member_id, h->cluster_id, member_id, cluster_id);
    if (at == 0)
        return ST_OK;
    if (h->sequence != seg[-1].header.sequence + 1)
        return damage(ret_error, seg, 0, "a segment before this one is missing");
    if (h->previous_identity != seg[-1].header.identity)
        return damage(ret_error, seg, 0, "does not continue the segment before it");
    return ST_OK;
}

enum status wal_read(struct disk *disk, uint64_t cluster_id, uint64_t member_id, struct wal_state *ret_state,
                     struct error *ret_error)
{
    struct wal_state s = {0};
    struct buf bytes = {0};
    enum status st = ST_OK;
    int error = disk->ops->list(disk, collect_name, &s);

    if (error)
        return error_set(ret_error, ST_IO, "wal: cannot be listed: %s", strerror(-error));
    if (s.segment_count)
        qsort(s.segments, s.segment_count, sizeof *s.segments, compare_segments);
    for (size_t i = 0; st == ST_OK && i < s.segment_count; i++) {
        struct wal_segment *seg = &s.segments[i];
        st = read_file(disk, seg, &bytes, ret_error);
        if (st == ST_OK) {
            st = wal_segment_header_decode(buf_slice(&bytes), &seg->header);
            if (st == ST_BAD_ARGUMENT)
                error_set(ret_error, st, "wal/%s: is of a format that this version does not know", seg->name);
            else if (st != ST_OK)
                damage(ret_error, seg, 0, "its header is damaged");
        }
        if (st == ST_OK)
            st = check_header(&s, i, cluster_id, member_id, ret_error);
        if (st == ST_OK && i == 0) {
            s.hard = seg->header.hard;
            s.begin_index = seg->header.begin_index;
            s.begin_term = seg->header.begin_term;
        } else if (st == ST_OK) {
            begin_behind(&s, seg->header.begin_index, seg->header.begin_term);
        }
        if (st == ST_OK)
            st = take_segment(&s, seg, buf_slice(&bytes), i + 1 == s.segment_count, ret_error);
    }
    buf_fini(&bytes);
    if (st != ST_OK)
        wal_state_fini(&s);
    else
        *ret_state = s;
    return st;
}
