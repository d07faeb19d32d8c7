/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, and where a record is. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/mem.h"
#include "common/planted.h"
#include "mvcc/internal.h"
#include "mvcc/record.h"

/* etcd: an empty store is at revision 1 and was never compacted. */
#define FIRST_REVISION 1
#define NEVER_COMPACTED (-1)

struct mvcc_span mvcc_span_of(struct slice key, struct slice range_end)
{
    struct mvcc_span span = {.from = key, .to = range_end};

    if (!range_end.len)
        span.point = true;
    else if (range_end.len == 1 && range_end.data[0] == 0)
        span.open = true;
    return span;
}

bool mvcc_span_is_empty(const struct mvcc_span *span)
{
    return !span->point && !span->open && slice_compare(span->from, span->to) >= 0;
}

bool mvcc_span_contains(const struct mvcc_span *span, struct slice key)
{
    if (span->point)
        return slice_equal(span->from, key);
    return slice_compare(key, span->from) >= 0 && (span->open || slice_compare(key, span->to) < 0);
}

/* ---- opening ---- */

struct key_reader {
    struct mvcc *store;
    bool bad; /* a tombstone of a key that was not alive: the files do not belong together */
};

static void on_key(void *arg, struct slice key, int64_t main, uint32_t sub, bool tombstone)
{
    struct key_reader *r = arg;
    const struct keyindex *k = tombstone ? index_find(r->store->index, key) : NULL;

    if (tombstone && (!k || !keyindex_is_alive(k)))
        r->bad = true;
    else if (!tombstone || !PLANTED(tombstones_not_indexed))
        index_add(r->store->index, key, main, sub, tombstone);
}

static enum status take_segment(struct mvcc *s, uint64_t sequence, struct error *ret_error)
{
    struct key_reader reader = {.store = s};
    struct segment *seg;
    const struct segment_meta *m;
    enum status st = segment_open(s->dir, sequence, &seg, ret_error);

    if (st != ST_OK)
        return st;
    s->segments = mem_grow(s->segments, &s->segment_cap, s->segment_count + 1, sizeof *s->segments);
    s->segments[s->segment_count++] = seg;
    m = segment_meta(seg);
    if (m->first_rev != s->revision + 1 || m->sequence != s->segment_count)
        return error_set(ret_error, ST_CORRUPT, "%s: segment %llu begins at revision %lld, but the one before ends at %lld",
                         s->dir, (unsigned long long)sequence, (long long)m->first_rev, (long long)s->revision);
    st = segment_read_keys(seg, on_key, &reader, ret_error);
    if (st == ST_OK && reader.bad)
        st = error_set(ret_error, ST_CORRUPT, "%s: segment %llu deletes a key that was not there", s->dir,
                       (unsigned long long)sequence);
    s->revision = m->next_rev - 1;
    s->last_time_ns = PLANTED(last_time_forgotten) ? 0 : m->last_time_ns;
    s->applied_index = m->applied_index;
    s->applied_term = m->applied_term;
    return st;
}

enum status mvcc_open(const struct mvcc_options *options, struct mvcc **ret_store, struct error *ret_error)
{
    struct mvcc *s = mem_zero(sizeof *s);
    uint64_t *sequences = NULL;
    size_t count = 0;
    enum status st = ST_OK;

    s->index = index_new();
    s->revision = FIRST_REVISION;
    s->compact_revision = NEVER_COMPACTED;
    s->memtable_limit = options->memtable_bytes;
    s->entries_limit = options->seal_entries;
    s->no_sync = options->no_sync;
    if (snprintf(s->dir, sizeof s->dir, "%s", options->dir) >= (int)sizeof s->dir)
        st = error_set(ret_error, ST_BAD_ARGUMENT, "store: the path is too long");
    else if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
        st = error_set(ret_error, ST_IO, "%s: cannot be made: %s", s->dir, strerror(errno));
    if (st == ST_OK)
        st = segment_list(s->dir, &sequences, &count, ret_error);
    /* A process that was killed may have left names that no disk knows; the log is cut behind what is found here. */
    if (st == ST_OK && count && !s->no_sync)
        st = segment_sync_names(s->dir, ret_error);
    for (size_t i = 0; st == ST_OK && i < count; i++)
        st = take_segment(s, sequences[i], ret_error);
    free(sequences);
    s->memtable = memtable_new(s->revision + 1);
    if (st != ST_OK) {
        mvcc_close(s);
        return st;
    }
    *ret_store = s;
    return ST_OK;
}

void mvcc_close(struct mvcc *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->segment_count; i++)
        segment_close(s->segments[i]);
    free(s->segments);
    seal_free(s->seal);
    memtable_free(s->memtable);
    memtable_free(s->frozen);
    index_free(s->index);
    buf_fini(&s->scratch);
    buf_fini(&s->scratch_key);
    free(s);
}

void mvcc_get_checkpoint(const struct mvcc *s, struct mvcc_checkpoint *ret_checkpoint)
{
    const struct segment *newest = s->segment_count ? s->segments[s->segment_count - 1] : NULL;

    *ret_checkpoint = (struct mvcc_checkpoint){0};
    if (!newest)
        return;
    ret_checkpoint->applied_index = segment_meta(newest)->applied_index;
    ret_checkpoint->applied_term = segment_meta(newest)->applied_term;
    ret_checkpoint->state = segment_state(newest);
}

/* ---- where a record is ---- */

const struct segment *store_segment_of(const struct mvcc *s, int64_t main)
{
    size_t low = 0, high = s->segment_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (segment_meta(s->segments[mid])->next_rev <= main)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->segment_count ? s->segments[low] : NULL;
}

static void note_damage(struct mvcc *s, int64_t main, int64_t sub)
{
    if (s->damaged)
        return;
    s->damaged = true;
    s->damaged_main = main;
    s->damaged_sub = sub;
}

enum status store_read(struct mvcc *s, int64_t main, int64_t sub, struct mvcc_kv *ret_kv, uint32_t *ret_flags)
{
    const uint8_t *record = NULL;
    int64_t sub_inside;

    if (main >= memtable_first_main(s->memtable)) {
        record = memtable_get(s->memtable, main, sub);
    } else if (s->frozen && main >= memtable_first_main(s->frozen)) {
        record = memtable_get(s->frozen, main, sub);
    } else {
        const struct segment *seg = store_segment_of(s, main);
        enum status st = seg ? segment_get(seg, main, sub, &s->scratch) : ST_NOT_FOUND;
        if (st != ST_OK) {
            note_damage(s, main, sub);
            return st;
        }
        record = s->scratch.data + s->scratch.start;
    }
    if (!record)
        return ST_NOT_FOUND;
    record_decode(record, ret_kv, &sub_inside, ret_flags);
    return ST_OK;
}

/* ---- looking at it ---- */

mvcc_rev mvcc_revision(const struct mvcc *s)
{
    return s->revision;
}

mvcc_rev mvcc_compact_revision(const struct mvcc *s)
{
    return s->compact_revision;
}

bool mvcc_is_damaged(const struct mvcc *s)
{
    return s->damaged;
}

void mvcc_get_damage(const struct mvcc *s, struct error *ret_what)
{
    const struct segment *seg = store_segment_of(s, s->damaged_main);
    char path[MVCC_FILE_BYTES];

    if (seg)
        segment_path(s->dir, segment_meta(seg)->sequence, path);
    error_set(ret_what, ST_CORRUPT, "revision %" PRId64 ", change %" PRId64 ", in %s", s->damaged_main,
              s->damaged_sub, seg ? path : s->dir);
}

uint64_t mvcc_applied_index(const struct mvcc *s)
{
    return s->applied_index;
}

void mvcc_get_stats(const struct mvcc *s, struct mvcc_stats *ret_stats)
{
    *ret_stats = (struct mvcc_stats){
        .keys = index_alive(s->index),
        .revisions = index_versions(s->index),
        .index_bytes = index_bytes(s->index),
        .memtable_bytes = memtable_bytes(s->memtable) + (s->frozen ? memtable_bytes(s->frozen) : 0),
        .frozen_bytes = s->frozen ? memtable_bytes(s->frozen) : 0,
        .segments = (unsigned)s->segment_count,
    };
    for (size_t i = 0; i < s->segment_count; i++)
        ret_stats->disk_bytes += segment_file_bytes(s->segments[i]);
}
