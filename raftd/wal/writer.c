/* SPDX-License-Identifier: Apache-2.0 */
/* From records to segments. */
#include "raftd/wal/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec.h"
#include "common/mem.h"
#include "common/planted.h"
#include "common/rng.h"

#define NEW_NAME        "new.tmp"
#define END_BYTES       RECORD_HEADER_BYTES
#define ZERO_STEP_BYTES (256u << 10)

static const uint8_t zeroes[ZERO_STEP_BYTES];

/* The end of the process: a write or sync that failed is never tried again (PostgreSQL's fsyncgate,
 * 2018). */
static void fail(void *arg, const char *name, const char *what, uint64_t offset, int error)
{
    const struct wal_options *options = arg;
    char text[300];

    snprintf(text, sizeof text, "wal/%s: %s at offset %" PRIu64 ": %s; nothing more can be stored",
             name, what, offset, strerror(-error));
    options->fail_fn(options->arg, text);
    abort();
}

static struct wal_segment *last_segment(struct writer *w)
{
    return &w->state->segments[w->state->segment_count - 1];
}

/* fail_fn is promised a pointer that is not const, and hands it to nobody. */
static void *fail_arg(const struct writer *w)
{
    return (void *)(uintptr_t)w->options;
}

static void must_for(struct writer *w, const char *name, const char *what, uint64_t offset,
                     int error)
{
    if (error)
        fail(fail_arg(w), name, what, offset, error);
}

static void must(struct writer *w, const char *what, int error)
{
    if (error)
        fail(fail_arg(w), last_segment(w)->name, what, w->offset, error);
}

/* ---- records ---- */

bool wal_writer_has_room(const struct writer *w, uint64_t len)
{
    return w->offset + len + END_BYTES <= w->room; /* the end record always finds room */
}

bool wal_writer_finds_space(const struct writer *w, uint64_t len)
{
    uint64_t free_bytes, need = SEGMENT_HEADER_BYTES + len + END_BYTES;
    bool ready, full;

    wal_spare_get_space(w->spare, &free_bytes, &ready, &full);
    if (need <= w->options->segment_bytes)
        return ready || free_bytes >= w->options->segment_bytes;
    return free_bytes >= need;
}

static void seal_and_write(struct writer *w, uint8_t *bytes, size_t len)
{
    uint64_t identity = last_segment(w)->header.identity;

    for (size_t at = 0; at < len; at += wal_record_size(bytes + at))
        wal_record_seal(bytes + at, identity, w->offset + at, w->group);
    must(w, "write", w->options->disk->ops->write(w->file, w->offset, bytes, len));
    w->offset += len;
    w->bytes += len;
}

void wal_writer_write(struct writer *w, uint8_t *bytes, size_t len)
{
    INVARIANT(wal_writer_has_room(w, len));
    seal_and_write(w, bytes, len);
}

void wal_writer_note(struct writer *w, raft_index last_index, const struct raft_hard_state *hard)
{
    if (last_index > last_segment(w)->max_index)
        last_segment(w)->max_index = last_index;
    if (last_index)
        w->last_index = last_index;
    if (hard)
        w->state->hard = *hard;
}

static void write_empty(struct writer *w, enum record_type type)
{
    uint8_t record[RECORD_HEADER_BYTES];

    wal_record_begin_at(record, type, 0);
    wal_record_set_flags(record, RECORD_BATCH_ENDS);
    seal_and_write(w, record, sizeof record);
}

static void sync_file(struct writer *w)
{
    int64_t started = clock_monotonic_ns();
    int error;

    error = w->options->disk->ops->sync(w->file);
    if (error && PLANTED(log_sync_retried))
        error = w->options->disk->ops->sync(w->file);
    must(w, "sync", error);
    w->sync_ns = clock_monotonic_ns() - started;
    if (w->sync_ns > w->sync_ns_max)
        w->sync_ns_max = w->sync_ns;
    w->syncs++;
    w->group = (uint32_t)w->offset;
}

void wal_writer_promise(struct writer *w)
{
    const struct raft_hard_state *hard = &w->state->hard;
    const struct wal_options *o = w->options;

    if (hard->term == w->promise.term && hard->vote == w->promise.vote)
        return;
    w->promise.sequence++;
    w->promise.term = hard->term;
    w->promise.vote = hard->vote;
    must_for(w, PROMISE_NAME, "write", 0,
             wal_promise_write(o->disk, w->promise_file, o->cluster_id, o->member_id, &w->promise));
}

bool wal_writer_is_synced(const struct writer *w)
{
    return w->group == w->offset;
}

/* Segments before the first one needed go, oldest first; the release that says so is durable. */
static void drop_segments(struct writer *w)
{
    struct wal_state *s = w->state;
    size_t drop = 0;

    w->drop_later = false;
    while (drop + 1 < s->segment_count && s->segments[drop].header.sequence < s->begin_sequence) {
        wal_spare_drop(w->spare, s->segments[drop].name,
                       s->segments[drop].header.size == w->options->segment_bytes);
        drop++;
    }
    s->segment_count -= drop;
    memmove(s->segments, s->segments + drop, s->segment_count * sizeof *s->segments);
}

void wal_writer_sync(struct writer *w)
{
    sync_file(w);
    if (w->drop_later)
        drop_segments(w);
}

void wal_writer_mark(struct writer *w)
{
    if (wal_writer_is_synced(w) && wal_writer_has_room(w, RECORD_HEADER_BYTES))
        write_empty(w, RECORD_MARK);
}

/* ---- segments ---- */

/* Write zeroes from..to. */
static void write_zeroes(struct writer *w, const char *name, struct disk_file *f, uint64_t from,
                         uint64_t to)
{
    while (from < to) {
        size_t step = to - from < sizeof zeroes ? (size_t)(to - from) : sizeof zeroes;
        must_for(w, name, "write", from, w->options->disk->ops->write(f, from, zeroes, step));
        from += step;
    }
}

/* Without a spare. NULL: the disk is full, which puts nothing in doubt; there is no such file then. */
static struct disk_file *allocate_file(struct writer *w, uint64_t size)
{
    const struct disk_ops *ops = w->options->disk->ops;
    struct disk_file *f = NULL;
    int error = ops->open(w->options->disk, NEW_NAME, DISK_CREATE | DISK_EXCLUSIVE, &f);

    if (disk_is_full(error))
        return NULL;
    must_for(w, NEW_NAME, "create", 0, error);
    error = ops->allocate(f, size);
    if (!disk_is_full(error)) {
        must_for(w, NEW_NAME, "allocate", 0, error);
        return f;
    }
    ops->close(f);
    must_for(w, NEW_NAME, "unlink", 0, ops->unlink(w->options->disk, NEW_NAME));
    return NULL;
}

/*
 * The file that becomes the next segment, open. It is the first of a log: written with zeroes, the
 * start may take a while, and there must be space. Else, on a full disk, the log stands still until
 * there is some: what is queued is neither written nor acknowledged, as on a disk that hangs.
 */
static struct disk_file *make_file(struct writer *w, uint64_t size, bool first)
{
    const struct disk_ops *ops = w->options->disk->ops;
    struct disk_file *f = NULL;

    for (;;) {
        if (size == w->options->segment_bytes && wal_spare_take(w->spare, NEW_NAME)) {
            must_for(w, NEW_NAME, "open", 0, ops->open(w->options->disk, NEW_NAME, 0, &f));
            return f;
        }
        f = allocate_file(w, size);
        if (f)
            break;
        if (first || w->options->synchronous)
            must_for(w, NEW_NAME, "allocate", 0, -ENOSPC);
        if (!wal_spare_await(w->spare)) {
            w->starved = true; /* wal_close ends the log as it is */
            pthread_exit(NULL);
        }
    }
    if (first && !w->options->synchronous)
        write_zeroes(w, NEW_NAME, f, 0, size);
    return f;
}

/*
 * A new last segment with room for need bytes. Its name is visible only when its header is durable,
 * and the name is durable before anything is written to it (etcd 6368).
 */
static void open_segment(struct writer *w, uint64_t need)
{
    const struct disk_ops *ops = w->options->disk->ops;
    struct wal_state *s = w->state;
    struct wal_segment *before = s->segment_count ? last_segment(w) : NULL;
    struct rng rng = {.state = w->identity_seed};
    struct wal_segment seg = {
        .header = {.cluster_id = w->options->cluster_id,
                   .member_id = w->options->member_id,
                   .sequence = before ? before->header.sequence + 1 : 1,
                   .identity = rng_next(&rng),
                   .previous_identity = before ? before->header.identity : 0,
                   .previous_end = before ? before->end : 0,
                   .size = w->options->segment_bytes,
                   .first_index = w->last_index + 1,
                   .begin_index = s->begin_index,
                   .begin_term = s->begin_term,
                   .begin_sequence = s->begin_sequence ? s->begin_sequence : 1,
                   .hard = s->hard}};
    uint8_t header[SEGMENT_HEADER_BYTES];
    struct disk_file *f;

    w->identity_seed = rng.state;
    need += SEGMENT_HEADER_BYTES + END_BYTES;
    if (seg.header.size < need)
        seg.header.size = need;
    INVARIANT(seg.header.size <= SEGMENT_BYTES_MAX);
    f = make_file(w, seg.header.size, !before);
    wal_segment_header_encode(&seg.header, header);
    wal_segment_name(seg.header.sequence, seg.header.first_index, seg.name);
    must_for(w, seg.name, "write of the header", 0, ops->write(f, 0, header, sizeof header));
    must_for(w, seg.name, "sync of the header", 0, ops->sync(f));
    must_for(w, seg.name, "rename", 0, ops->rename(w->options->disk, NEW_NAME, seg.name));
    if (!PLANTED(log_name_not_synced))
        must_for(w, seg.name, "sync of the directory", 0, ops->sync_dir(w->options->disk));
    s->begin_sequence = seg.header.begin_sequence;
    seg.end = seg.torn_end = SEGMENT_HEADER_BYTES;
    s->segments = mem_grow(s->segments, &s->segment_cap, s->segment_count + 1, sizeof seg);
    s->segments[s->segment_count++] = seg;
    /* The file before it is still open: the caller closes it. */
    w->file = f;
    w->offset = SEGMENT_HEADER_BYTES;
    w->group = SEGMENT_HEADER_BYTES;
    w->room = seg.header.size;
}

/* Write the end record of a segment where its batches end, and nothing behind it. */
static void close_segment(struct writer *w, struct wal_segment *seg, struct disk_file *f)
{
    uint8_t record[RECORD_HEADER_BYTES];

    wal_record_begin_at(record, RECORD_END, 0);
    wal_record_set_flags(record, RECORD_BATCH_ENDS);
    wal_record_seal(record, seg->header.identity, seg->end, (uint32_t)seg->end);
    must_for(w, seg->name, "write", seg->end,
             w->options->disk->ops->write(f, seg->end, record, sizeof record));
    if (seg->torn_end > seg->end + sizeof record)
        write_zeroes(w, seg->name, f, seg->end + sizeof record, seg->torn_end);
    must_for(w, seg->name, "sync", seg->end, w->options->disk->ops->sync(f));
    seg->closed = true;
}

/*
 * Three steps, each durable before the next: the records of the old segment; the new one, which
 * says where the old one's records end; the old one's end record, which says that there is a new
 * one. So a reader can tell a segment that is missing from one that was never made, and an old one
 * that lost records from one that was just being closed.
 */
void wal_writer_roll(struct writer *w, uint64_t len)
{
    struct disk_file *old = w->file;
    size_t at;

    if (!wal_writer_is_synced(w))
        wal_writer_sync(w);
    at = w->state->segment_count - 1; /* a sync may have let go of segments */
    w->state->segments[at].end = w->state->segments[at].torn_end = w->offset;
    open_segment(w, len);
    close_segment(w, &w->state->segments[at], old);
    w->options->disk->ops->close(old);
}

void wal_writer_release(struct writer *w, raft_index index, raft_term term)
{
    struct wal_state *s = w->state;
    uint8_t record[WAL_RELEASE_BYTES], *payload;
    size_t first = 0;

    if (index <= s->begin_index)
        return;
    if (!wal_writer_has_room(w, sizeof record))
        wal_writer_roll(w, sizeof record);
    /* The entry itself stays: when the log is read again it tells whether what follows it is still good (reader.c, begin_behind). */
    while (first + 1 < s->segment_count && s->segments[first].max_index < index)
        first++;
    s->begin_index = index;
    s->begin_term = term;
    s->begin_sequence = s->segments[first].header.sequence;
    if (index > w->last_index)
        w->last_index = index;
    payload = wal_record_begin_at(record, RECORD_BEGIN, 24);
    put_le64(put_le64(put_le64(payload, index), term), s->begin_sequence);
    wal_record_set_flags(record, RECORD_BATCH_ENDS);
    wal_writer_write(w, record, wal_record_size(record));
    w->drop_later = true;
    if (PLANTED(log_dropped_before_release))
        drop_segments(w);
}

/* ---- begin and end ---- */

/* A crash came between the new segment and the old one's end record: finish what wal_writer_roll
 * was doing. */
static void finish_roll(struct writer *w)
{
    const struct disk_ops *ops = w->options->disk->ops;
    struct wal_segment *seg = last_segment(w) - 1;
    struct disk_file *f = NULL;

    must_for(w, seg->name, "open", 0, ops->open(w->options->disk, seg->name, 0, &f));
    close_segment(w, seg, f);
    ops->close(f);
}

/*
 * Go on in the last segment. Remains of a torn write become zeroes, durably, before anything new is
 * written: else one of its records could stand behind a new one some day and count again. The sync
 * is needed without remains, too: what was read after a killed process may have been in the page
 * cache only, and from here on it counts as stored.
 */
static void continue_segment(struct writer *w)
{
    const struct disk_ops *ops = w->options->disk->ops;
    struct wal_segment *seg = last_segment(w);

    must_for(w, seg->name, "open", 0, ops->open(w->options->disk, seg->name, 0, &w->file));
    w->offset = seg->end;
    w->room = seg->header.size;
    if (!PLANTED(log_remains_kept))
        write_zeroes(w, seg->name, w->file, seg->end, seg->torn_end);
    sync_file(w);
    seg->torn_end = seg->end;
}

/* Both copies are the newest there is from here on, whatever was found. */
static void begin_promise(struct writer *w)
{
    const struct wal_options *o = w->options;

    w->promise.sequence++;
    w->promise.term = w->state->hard.term;
    w->promise.vote = w->state->hard.vote;
    must_for(w, PROMISE_NAME, "write", 0,
             wal_promise_open(o->disk, o->cluster_id, o->member_id, &w->promise, &w->promise_file));
}

void wal_writer_start(struct writer *w, const struct wal_options *options, struct wal_state *state,
                      raft_index last_index, const struct promise *promise)
{
    struct spare_options spare = {.disk = options->disk,
                                  .bytes = options->segment_bytes,
                                  .synchronous = options->synchronous,
                                  .fail_fn = fail};
    int error;

    *w = (struct writer){.options = options, .state = state, .last_index = last_index};
    w->identity_seed = options->identity_seed ? options->identity_seed : rng_seed_from_system();
    spare.arg = fail_arg(w);
    error = options->disk->ops->unlink(options->disk, NEW_NAME);
    if (error != -ENOENT)
        must_for(w, NEW_NAME, "unlink", 0, error);
    wal_spare_start(&spare, &w->spare);
    w->promise = *promise;
    if (!state->segment_count) {
        open_segment(w, 0);
        begin_promise(w);
        return;
    }
    if (state->segment_count > 1 && !last_segment(w)[-1].closed && !PLANTED(log_roll_not_finished))
        finish_roll(w);
    continue_segment(w);
    begin_promise(w);
    drop_segments(w);
}

void wal_writer_fini(struct writer *w)
{
    wal_spare_stop(w->spare);
    if (w->file)
        w->options->disk->ops->close(w->file);
    if (w->promise_file)
        w->options->disk->ops->close(w->promise_file);
    *w = (struct writer){0};
}
