/* SPDX-License-Identifier: Apache-2.0 */
/* From segments to entries. */
#include "raftd/wal/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/mem.h"
#include "common/planted.h"

/* What is known while reading. */
struct reading {
    struct disk *disk;
    uint64_t cluster_id, member_id;
    struct wal_state s;
    raft_index base; /* entries[0] is base + 1 */
    struct buf bytes;
    /* Entries up to here were not found; that is right only if a release further on says that they
     * are not needed. */
    raft_index skipped;
    size_t skipped_segment;
    uint64_t skipped_at;
    struct error *ret_error;
};

void wal_segment_name(uint64_t sequence, raft_index first_index, char *ret_name)
{
    snprintf(ret_name, SEGMENT_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".wal", sequence,
             first_index);
}

void wal_state_fini(struct wal_state *s)
{
    for (size_t i = 0; i < s->entry_count; i++)
        raft_entry_unref(s->entries[i]);
    free(s->entries);
    free(s->segments);
    *s = (struct wal_state){0};
}

static enum status damage(struct reading *r, const struct wal_segment *seg, uint64_t offset,
                          const char *what)
{
    return error_set(r->ret_error, ST_CORRUPT, "wal/%s: offset %" PRIu64 ": %s", seg->name, offset,
                     what);
}

/* ---- the directory ---- */

bool wal_is_segment_name(const char *name)
{
    return strlen(name) == 37 && strcmp(name + 33, ".wal") == 0;
}

static void collect_name(const char *name, void *arg)
{
    struct wal_state *s = arg;

    if (!wal_is_segment_name(name))
        return;
    s->segments = mem_grow(s->segments, &s->segment_cap, s->segment_count + 1, sizeof *s->segments);
    s->segments[s->segment_count] = (struct wal_segment){0};
    memcpy(s->segments[s->segment_count++].name, name, strlen(name) + 1);
}

static int compare_segments(const void *a, const void *b)
{
    return strcmp(((const struct wal_segment *)a)->name, ((const struct wal_segment *)b)->name);
}

/* ---- what the records say ---- */

static void drop_last_entries(struct wal_state *s, size_t keep)
{
    while (s->entry_count > keep)
        raft_entry_unref(s->entries[--s->entry_count]);
}

static enum status take_entry(struct reading *r, const struct record *rec, struct wal_segment *seg,
                              uint64_t at)
{
    struct wal_state *s = &r->s;
    struct reader in = reader_of(rec->payload);
    raft_term term = read_le64(&in);
    raft_index index = read_le64(&in);
    uint8_t type = read_u8(&in);
    struct raft_entry *e;

    read_bytes(&in, 7);
    if (in.bad || index <= s->begin_index)
        return damage(r, seg, at, "an entry record makes no sense");
    if (index > seg->max_index)
        seg->max_index = index;
    if (index > r->base + s->entry_count + 1 && index > r->skipped) {
        /* Those before it were in segments that were dropped since; wal_read's end asks whether a
         * release says so. */
        r->skipped = index - 1;
        r->skipped_segment = (size_t)(seg - s->segments);
        r->skipped_at = at;
    }
    /* It replaces what stood there and behind. */
    if (index <= r->base || index > r->base + s->entry_count + 1) {
        drop_last_entries(s, 0);
        r->base = index - 1;
    } else if (!PLANTED(log_tail_comes_back)) {
        drop_last_entries(s, index - r->base - 1);
    }
    e = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)reader_left(&in));
    e->type = type;
    e->term = term;
    e->index = index;
    put_bytes(e->data, in.next, reader_left(&in));
    if (PLANTED(log_tail_comes_back) && index <= r->base + s->entry_count) {
        raft_entry_unref(s->entries[index - r->base - 1]);
        s->entries[index - r->base - 1] = e;
        return ST_OK;
    }
    s->entries = mem_grow(s->entries, &s->entry_cap, s->entry_count + 1, sizeof *s->entries);
    s->entries[s->entry_count++] = e;
    return ST_OK;
}

/*
 * The log begins behind (index, term). If it holds that very entry, what follows it is still good;
 * if it holds another one there or ends before, a snapshot took the log's place and what follows
 * does not (Raft section 7, rules 6 and 7 of InstallSnapshot).
 */
static void begin_behind(struct reading *r, raft_index index, raft_term term, uint64_t sequence)
{
    struct wal_state *s = &r->s;
    size_t drop = 0;

    s->begin_index = index;
    s->begin_term = term;
    s->begin_sequence = sequence;
    if (index <= r->base)
        return;
    if (index > r->base + s->entry_count || s->entries[index - r->base - 1]->term != term)
        drop_last_entries(s, 0);
    while (drop < s->entry_count && s->entries[drop]->index <= index)
        raft_entry_unref(s->entries[drop++]);
    s->entry_count -= drop;
    if (drop)
        memmove(s->entries, s->entries + drop, s->entry_count * sizeof *s->entries);
    r->base = index;
}

static enum status take_record(struct reading *r, const struct record *rec, struct wal_segment *seg,
                               uint64_t at)
{
    struct reader in = reader_of(rec->payload);
    uint64_t a, b, c;

    switch (rec->type) {
    case RECORD_ENTRY:
        return take_entry(r, rec, seg, at);
    case RECORD_HARD:
    case RECORD_BEGIN:
        a = read_le64(&in);
        b = read_le64(&in);
        c = read_le64(&in);
        if (in.bad)
            return damage(r, seg, at, "a record is too short");
        if (rec->type == RECORD_HARD)
            r->s.hard = PLANTED(log_old_hard_state) && r->s.hard.term ? r->s.hard : (struct raft_hard_state){a, b, c};
        else
            begin_behind(r, a, b, c);
        return ST_OK;
    case RECORD_MARK:
    case RECORD_END:
        return ST_OK;
    }
    return damage(r, seg, at, "a record of a kind that this version does not know");
}

/* ---- where the valid records end ---- */

/*
 * The bytes at seg->end are no complete batch. They are a torn tail if nothing proves that they had
 * been durable: a record behind them whose group began later would (its group was only begun once a
 * sync of all before it had ended). A valid record of the same group proves nothing: sectors of one
 * unsynced write land in any order. On the way, find how far the remains reach.
 */
static bool is_torn_tail(struct wal_segment *seg, struct slice bytes)
{
    struct record rec;

    seg->torn_end = seg->end;
    for (uint64_t at = seg->end; at + RECORD_HEADER_BYTES <= bytes.len; at += RECORD_ALIGN) {
        if (wal_record_head_at(bytes, seg->header.identity, at, &rec) != ST_OK)
            continue;
        if (rec.group > seg->end && wal_record_at(bytes, seg->header.identity, at, &rec) == ST_OK)
            return PLANTED(torn_tail_always);
        if (at + rec.size > seg->torn_end)
            seg->torn_end = at + rec.size;
    }
    return true;
}

/* First pass: how far complete batches reach. */
static enum status find_end(struct reading *r, struct wal_segment *seg, struct slice bytes)
{
    uint64_t at = SEGMENT_HEADER_BYTES;
    struct record rec;

    seg->end = at;
    while (wal_record_at(bytes, seg->header.identity, at, &rec) == ST_OK) {
        if (rec.type == RECORD_END) {
            seg->closed = true;
            seg->torn_end = seg->end;
            return seg->end == at ? ST_OK : damage(r, seg, at, "the segment ends within a batch");
        }
        at += rec.size;
        if (rec.flags & RECORD_BATCH_ENDS)
            seg->end = at;
    }
    if (!is_torn_tail(seg, bytes))
        return damage(r, seg, at, "damaged: what stands behind proves that this had been stored");
    return ST_OK;
}

static enum status take_records(struct reading *r, struct wal_segment *seg, struct slice bytes)
{
    uint64_t at = SEGMENT_HEADER_BYTES;
    enum status st = ST_OK;
    struct record rec;

    while (st == ST_OK && at < seg->end) {
        /* Its payload was verified by find_end. */
        INVARIANT(wal_record_head_at(bytes, seg->header.identity, at, &rec) == ST_OK);
        st = take_record(r, &rec, seg, at);
        at += rec.size;
    }
    return st;
}

/* ---- a segment ---- */

static enum status check_header(struct reading *r, const struct wal_segment *seg)
{
    const struct segment_header *h = &seg->header;
    char name[SEGMENT_NAME_BYTES];

    if (h->cluster_id != r->cluster_id || h->member_id != r->member_id)
        return error_set(r->ret_error, ST_BAD_ARGUMENT,
                         "wal/%s: is of member %" PRIx64 " of cluster %" PRIx64
                         ", this is member %" PRIx64 " of cluster %" PRIx64,
                         seg->name, h->member_id, h->cluster_id, r->member_id, r->cluster_id);
    wal_segment_name(h->sequence, h->first_index, name);
    if (strcmp(name, seg->name) != 0)
        return damage(r, seg, 0, "is another segment than its name says");
    if (seg == r->s.segments)
        return ST_OK;
    if (h->sequence != seg[-1].header.sequence + 1)
        return damage(r, seg, 0, "the segment before this one is missing");
    if (h->previous_identity != seg[-1].header.identity)
        return damage(r, seg, 0, "does not continue the segment before it");
    if (h->previous_end != seg[-1].end)
        return damage(r, seg - 1, seg[-1].end,
                      "damaged: the next segment says that more had been stored");
    return ST_OK;
}

/* The header first: it says how much there is to read, and the file's own size bounds that. */
static enum status read_segment(struct reading *r, struct wal_segment *seg)
{
    struct disk_file *f = NULL;
    uint64_t size = 0;
    size_t got = 0;
    enum status st = ST_OK;
    int error = r->disk->ops->open(r->disk, seg->name, DISK_READ_ONLY, &f);

    buf_clear(&r->bytes);
    if (!error)
        error = r->disk->ops->size(f, &size);
    if (!error)
        error = r->disk->ops->read(f, 0, buf_reserve(&r->bytes, SEGMENT_HEADER_BYTES),
                                   SEGMENT_HEADER_BYTES, &got);
    if (!error) {
        st = wal_segment_header_decode(slice_of(r->bytes.data, got), &seg->header);
        if (st == ST_BAD_ARGUMENT)
            error_set(r->ret_error, st, "wal/%s: is of a format that this version does not know",
                      seg->name);
        else if (st != ST_OK)
            damage(r, seg, 0, "its header is damaged");
        else if (seg->header.size > SEGMENT_BYTES_MAX || seg->header.size > size)
            st = damage(r, seg, size, "the file is shorter than it was made");
    }
    if (!error && st == ST_OK) {
        size = seg->header.size;
        error = r->disk->ops->read(f, 0, buf_reserve(&r->bytes, (size_t)size), (size_t)size, &got);
        if (!error)
            buf_commit(&r->bytes, got);
    }
    if (f)
        r->disk->ops->close(f);
    return error ? error_set(r->ret_error, ST_IO, "wal/%s: %s", seg->name, strerror(-error)) : st;
}

static enum status take_segment(struct reading *r, struct wal_segment *seg)
{
    const struct segment_header *h = &seg->header;
    enum status st = read_segment(r, seg);

    if (st == ST_OK)
        st = check_header(r, seg);
    if (st == ST_OK)
        st = find_end(r, seg, buf_slice(&r->bytes));
    if (st != ST_OK)
        return st;
    /* Nothing goes into a segment before the one before it is closed (wal_writer_roll). */
    if (seg > r->s.segments && !seg[-1].closed && seg->end > SEGMENT_HEADER_BYTES)
        return damage(r, seg - 1, seg[-1].end,
                      "damaged: the next segment says that this one was closed here");
    r->s.hard = h->hard;
    begin_behind(r, h->begin_index, h->begin_term, h->begin_sequence);
    return take_records(r, seg, buf_slice(&r->bytes));
}

/* ---- all of it ---- */

/* What only the whole log can tell. */
static enum status check_whole(struct reading *r)
{
    struct wal_state *s = &r->s;
    size_t n = s->segment_count;

    if (!n)
        return ST_OK;
    for (size_t i = 0; i + 2 < n; i++)
        if (!s->segments[i].closed)
            return damage(r, &s->segments[i], s->segments[i].end,
                          "damaged: segments follow, but it was not closed here");
    if (s->segments[n - 1].closed)
        return damage(r, &s->segments[n - 1], s->segments[n - 1].end,
                      "the segment after this one is missing");
    if (s->segments[0].header.sequence > s->begin_sequence)
        return damage(r, &s->segments[0], 0, "the segment before this one is missing");
    if (r->skipped > s->begin_index || r->base != s->begin_index)
        return damage(r, &s->segments[r->skipped_segment], r->skipped_at,
                      "entries are missing before this one");
    return ST_OK;
}

enum status wal_read(struct disk *disk, uint64_t cluster_id, uint64_t member_id,
                     struct wal_state *ret_state, struct error *ret_error)
{
    struct reading r = {
        .disk = disk, .cluster_id = cluster_id, .member_id = member_id, .ret_error = ret_error};
    enum status st = ST_OK;
    int error = disk->ops->list(disk, collect_name, &r.s);

    if (error)
        st = error_set(ret_error, ST_IO, "wal: cannot be listed: %s", strerror(-error));
    if (r.s.segment_count)
        qsort(r.s.segments, r.s.segment_count, sizeof *r.s.segments, compare_segments);
    for (size_t i = 0; st == ST_OK && i < r.s.segment_count; i++)
        st = take_segment(&r, &r.s.segments[i]);
    if (st == ST_OK)
        st = check_whole(&r);
    buf_fini(&r.bytes);
    if (st != ST_OK)
        wal_state_fini(&r.s);
    else
        *ret_state = r.s;
    return st;
}
