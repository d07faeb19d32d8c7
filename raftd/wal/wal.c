/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending: the loop copies batches into a queue, the writer thread takes the whole queue, writes it with one call a
 * segment and syncs once. When it has nothing to do it makes the next segment's file ready: a file whose blocks are written
 * already is synced in half the time of one that grows.
 */
#include "raftd/wal/wal.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec.h"
#include "common/mem.h"
#include "common/rng.h"
#include "raftd/wal/reader.h"

#define SPARE_NAME "spare"
#define SPARE_TMP_NAME "spare.tmp"
#define NEW_NAME "new.tmp"
#define SPARE_STEP_BYTES (1u << 20)

/* What the loop asked for, in order; `end` is where its bytes end in the queue. */
struct order {
    size_t end;
    uint64_t ticket;      /* 0: a release */
    raft_index max_index; /* of its entries */
    bool sync;
    bool has_hard;
    struct raft_hard_state hard;
    raft_index release_index;
    raft_term release_term;
};

struct queue {
    struct buf bytes; /* records, not sealed */
    struct order *orders;
    size_t count, cap;
};

struct wal {
    struct wal_options options;
    struct wal_state state; /* as read; entries go with wal_replay */
    bool started;

    /* shared */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct queue incoming;
    bool stopping;
    _Atomic uint64_t durable;
    struct wal_stats stats;

    /* the loop's */
    uint64_t next_ticket;

    /* the writer's */
    struct queue taken;
    struct disk_file *file; /* of the last segment */
    uint64_t offset;        /* where the next record goes */
    uint32_t group;         /* where the group of unsynced records began */
    uint64_t room;          /* size of the file */
    bool marked;            /* nothing was written since the last mark */
    struct raft_hard_state hard;
    raft_index begin_index;
    raft_term begin_term;
    struct disk_file *spare; /* being made */
    uint64_t spare_done;
    bool spare_ready;
    struct rng rng;
};

/* The end of the process: a write or sync that failed is never tried again. */
static void fail(struct wal *w, const char *what, int error)
{
    char text[200];

    snprintf(text, sizeof text, "wal/%s: %s at offset %" PRIu64 ": %s; nothing more can be stored",
             w->state.segment_count ? w->state.segments[w->state.segment_count - 1].name : "", what, w->offset,
             strerror(-error));
    w->options.fail_fn(w->options.arg, text);
    abort();
}

static void must(struct wal *w, const char *what, int error)
{
    if (error)
        fail(w, what, error);
}

static struct wal_segment *last_segment(struct wal *w)
{
    return &w->state.segments[w->state.segment_count - 1];
}

static void sync_file(struct wal *w)
{
    int64_t started = clock_monotonic_ns(), took;

    must(w, "sync", w->options.disk->ops->sync(w->file));
    took = clock_monotonic_ns() - started;
    pthread_mutex_lock(&w->lock);
    w->stats.syncs++;
    w->stats.sync_ns_last = took;
    if (took > w->stats.sync_ns_max)
        w->stats.sync_ns_max = took;
    pthread_mutex_unlock(&w->lock);
    w->group = (uint32_t)w->offset;
}

/* Seal the records of bytes for where they go, and write them. */
static void write_records(struct wal *w, uint8_t *bytes, size_t len)
{
    uint64_t identity = last_segment(w)->header.identity;

    for (size_t at = 0; at < len; at += wal_record_size(bytes + at))
        wal_record_seal(bytes + at, identity, w->offset + at, w->group);
    must(w, "write", w->options.disk->ops->write(w->file, w->offset, bytes, len));
    w->offset += len;
    w->marked = false;
    pthread_mutex_lock(&w->lock);
    w->stats.bytes += len;
    pthread_mutex_unlock(&w->lock);
}

static void write_one(struct wal *w, enum record_type type)
{
    struct buf b = {0};

    wal_record_set_flags(wal_record_begin(&b, type, 0) - RECORD_HEADER_BYTES, RECORD_BATCH_ENDS);
    write_records(w, b.data, buf_len(&b));
    buf_fini(&b);
}

/* ---- segments ---- */

/*
 * A new last segment with room for need bytes: from the spare file if there is one. It is visible only when its header
 * is durable, and the segment before it is durable to its end by then.
 */
static void open_segment(struct wal *w, uint64_t need)
{
    const struct disk_ops *ops = w->options.disk->ops;
    struct wal_segment *before = w->state.segment_count ? last_segment(w) : NULL;
    struct wal_segment seg = {.header = {.cluster_id = w->options.cluster_id,
                                         .member_id = w->options.member_id,
                                         .sequence = before ? before->header.sequence + 1 : 1,
                                         .identity = rng_next(&w->rng),
                                         .previous_identity = before ? before->header.identity : 0,
                                         .begin_index = w->begin_index,
                                         .begin_term = w->begin_term,
                                         .hard = w->hard}};
    uint64_t size = w->options.segment_bytes;
    uint8_t header[SEGMENT_HEADER_BYTES];
    bool use_spare;

    need += SEGMENT_HEADER_BYTES + 2 * RECORD_HEADER_BYTES;
    use_spare = w->spare_ready && need <= size;
    if (size < need)
        size = need;
    ops->close(w->file);
    must(w, "rename", use_spare ? ops->rename(w->options.disk, SPARE_NAME, NEW_NAME) : 0);
    must(w, "new segment", ops->open(w->options.disk, NEW_NAME, DISK_CREATE, &w->file));
    if (!use_spare)
        must(w, "allocate", ops->allocate(w->file, size));
    else
        w->spare_ready = false;
    wal_segment_header_encode(&seg.header, header);
    must(w, "write", ops->write(w->file, 0, header, sizeof header));
    must(w, "sync", ops->sync(w->file));
    wal_segment_name(seg.header.sequence, w->begin_index, seg.name);
    must(w, "rename", ops->rename(w->options.disk, NEW_NAME, seg.name));
    must(w, "sync of the directory", ops->sync_dir(w->options.disk));
    w->state.segments =
        mem_grow(w->state.segments, &w->state.segment_cap, w->state.segment_count + 1, sizeof seg);
    w->state.segments[w->state.segment_count++] = seg;
    w->offset = SEGMENT_HEADER_BYTES;
    w->group = (uint32_t)w->offset;
    w->room = size;
}

static void close_segment(struct wal *w)
{
    write_one(w, RECORD_END);
    sync_file(w);
}

/* A file for the next segment, zeroes written, a step at a time. True: there is more to do. */
static bool prepare_spare(struct wal *w)
{
    static const uint8_t zeroes[SPARE_STEP_BYTES];
    const struct disk_ops *ops = w->options.disk->ops;
    uint64_t left;

    if (w->spare_ready || w->options.synchronous)
        return false;
    if (!w->spare) {
        must(w, "spare", ops->open(w->options.disk, SPARE_TMP_NAME, DISK_CREATE, &w->spare));
        w->spare_done = 0;
    }
    left = w->options.segment_bytes - w->spare_done;
    if (left) {
        size_t step = left < sizeof zeroes ? (size_t)left : sizeof zeroes;
        must(w, "spare", ops->write(w->spare, w->spare_done, zeroes, step));
        w->spare_done += step;
        return true;
    }
    must(w, "spare", ops->sync(w->spare));
    ops->close(w->spare);
    w->spare = NULL;
    must(w, "spare", ops->rename(w->options.disk, SPARE_TMP_NAME, SPARE_NAME));
    w->spare_ready = true;
    return false;
}

/* The log begins behind index now: say so durably, then let go of segments that hold nothing newer. */
static void release(struct wal *w, raft_index index, raft_term term)
{
    const struct disk_ops *ops = w->options.disk->ops;
    struct buf b = {0};
    uint8_t *payload;
    size_t drop = 0;

    if (index <= w->begin_index)
        return;
    w->begin_index = index;
    w->begin_term = term;
    payload = wal_record_begin(&b, RECORD_BEGIN, 16);
    put_le64(put_le64(payload, index), term);
    wal_record_set_flags(payload - RECORD_HEADER_BYTES, RECORD_BATCH_ENDS);
    if (w->offset + buf_len(&b) + RECORD_HEADER_BYTES > w->room) {
        close_segment(w);
        open_segment(w, buf_len(&b));
    }
    write_records(w, b.data, buf_len(&b));
    buf_fini(&b);
    sync_file(w);
    while (drop + 1 < w->state.segment_count && w->state.segments[drop].max_index <= index) {
        const char *name = w->state.segments[drop].name;
        if (!w->spare_ready && !w->spare && w->state.segments[drop].end == w->options.segment_bytes) {
            must(w, "recycle", ops->rename(w->options.disk, name, SPARE_NAME));
            w->spare_ready = true;
        } else {
            must(w, "unlink", ops->unlink(w->options.disk, name));
        }
        drop++;
    }
    /* Oldest first, and durable in this order is not needed: a segment that comes back holds only what is released. */
    w->state.segment_count -= drop;
    memmove(w->state.segments, w->state.segments + drop, w->state.segment_count * sizeof *w->state.segments);
}

/* ---- the writer ---- */

/* The orders from..to go into the current segment with one write. */
static void write_run(struct wal *w, const struct queue *q, size_t from, size_t to)
{
    size_t begin = from ? q->orders[from - 1].end : 0;
    size_t end = q->orders[to - 1].end;

    if (end == begin)
        return;
    write_records(w, q->bytes.data + q->bytes.start + begin, end - begin);
    for (size_t i = from; i < to; i++) {
        if (q->orders[i].max_index > last_segment(w)->max_index)
            last_segment(w)->max_index = q->orders[i].max_index;
        if (q->orders[i].has_hard)
            w->hard = q->orders[i].hard;
    }
}

static void publish(struct wal *w, uint64_t ticket)
{
    atomic_store_explicit(&w->durable, ticket, memory_order_release);
}

/* Write everything that was queued, in order; one sync at the end and one a closed segment. */
static void write_queue(struct wal *w, struct queue *q)
{
    size_t from = 0, begin = 0;
    bool sync = false;
    uint64_t ticket = 0;

    for (size_t i = 0; i < q->count; i++) {
        struct order *o = &q->orders[i];
        uint64_t len = o->end - begin;
        uint64_t queued = i > from ? q->orders[i - 1].end - (from ? q->orders[from - 1].end : 0) : 0;
        if (w->offset + queued + len + RECORD_HEADER_BYTES > w->room || !o->ticket) {
            if (i > from)
                write_run(w, q, from, i);
            from = i;
            if (!o->ticket) {
                release(w, o->release_index, o->release_term);
            } else {
                last_segment(w)->end = w->room;
                close_segment(w);
                open_segment(w, len);
            }
        }
        sync |= o->sync;
        if (o->ticket)
            ticket = o->ticket;
        begin = o->end;
    }
    if (q->count > from)
        write_run(w, q, from, q->count);
    if (sync)
        sync_file(w);
    if (ticket)
        publish(w, ticket);
}

static void queue_clear(struct queue *q)
{
    buf_clear(&q->bytes);
    q->count = 0;
}

/* Take what was queued; false when there is nothing and the log is to end. */
static bool take_queue(struct wal *w)
{
    struct queue empty = w->taken;

    pthread_mutex_lock(&w->lock);
    while (!w->incoming.count && !w->stopping) {
        bool busy;
        pthread_mutex_unlock(&w->lock);
        /* Nothing to do: prove what is durable, once, for a reader of a damaged log; and make a spare. */
        if (!w->marked && w->group == w->offset && w->offset + 2 * RECORD_HEADER_BYTES <= w->room) {
            write_one(w, RECORD_MARK);
            w->marked = true;
        }
        busy = prepare_spare(w);
        pthread_mutex_lock(&w->lock);
        if (!busy && !w->incoming.count && !w->stopping)
            pthread_cond_wait(&w->arrived, &w->lock);
    }
    w->taken = w->incoming;
    w->incoming = empty;
    pthread_mutex_unlock(&w->lock);
    return w->taken.count > 0;
}

static void *writer_main(void *arg)
{
    struct wal *w = arg;

    while (take_queue(w)) {
        write_queue(w, &w->taken);
        queue_clear(&w->taken);
        w->options.wake_fn(w->options.arg);
    }
    return NULL;
}

/* ---- the loop's side ---- */

static void unlink_if_there(struct disk *d, const char *name)
{
    d->ops->unlink(d, name);
}

enum status wal_open(const struct wal_options *options, struct wal **ret_wal, bool *ret_new, struct error *ret_error)
{
    struct wal *w = mem_zero(sizeof *w);
    enum status st;

    w->options = *options;
    w->rng.state = rng_seed_from_system();
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->arrived, NULL);
    st = wal_read(options->disk, options->cluster_id, options->member_id, &w->state, ret_error);
    if (st != ST_OK) {
        wal_close(w);
        return st;
    }
    *ret_new = w->state.segment_count == 0;
    w->hard = w->state.hard;
    w->begin_index = w->state.begin_index;
    w->begin_term = w->state.begin_term;
    *ret_wal = w;
    return ST_OK;
}

void wal_get_begin(const struct wal *w, raft_index *ret_index, raft_term *ret_term)
{
    *ret_index = w->begin_index;
    *ret_term = w->begin_term;
}

enum status wal_replay(struct wal *w, raft_index after, struct raft_hard_state *ret_hard,
                       struct raft_entry ***ret_entries, size_t *ret_count, struct error *ret_error)
{
    struct wal_state *s = &w->state;
    size_t drop = 0;

    if (s->begin_index > after)
        return error_set(ret_error, ST_CORRUPT,
                         "wal: begins behind entry %" PRIu64 ", but the store needs it from %" PRIu64, s->begin_index,
                         after + 1);
    while (drop < s->entry_count && s->entries[drop]->index <= after)
        raft_entry_unref(s->entries[drop++]);
    s->entry_count -= drop;
    memmove(s->entries, s->entries + drop, s->entry_count * sizeof *s->entries);
    *ret_hard = s->hard;
    *ret_entries = s->entries;
    *ret_count = s->entry_count;
    s->entries = NULL;
    s->entry_count = s->entry_cap = 0;
    return ST_OK;
}

/*
 * The last segment is closed where its valid records end (so what is torn behind never counts again), cut to what it holds,
 * and a new one begun.
 */
static void continue_log(struct wal *w)
{
    const struct disk_ops *ops = w->options.disk->ops;
    struct wal_segment *seg = last_segment(w);

    must(w, "open", ops->open(w->options.disk, seg->name, 0, &w->file));
    w->offset = seg->end;
    w->group = (uint32_t)seg->end;
    if (!seg->closed)
        close_segment(w);
    must(w, "cut", ops->truncate(w->file, w->offset));
    must(w, "sync", ops->sync(w->file));
    seg->end = w->offset;
    seg->closed = true;
}

void wal_start(struct wal *w)
{
    INVARIANT(!w->started);
    w->started = true;
    unlink_if_there(w->options.disk, NEW_NAME);
    unlink_if_there(w->options.disk, SPARE_TMP_NAME);
    unlink_if_there(w->options.disk, SPARE_NAME);
    if (w->state.segment_count)
        continue_log(w);
    open_segment(w, 0);
    if (!w->options.synchronous)
        INVARIANT(pthread_create(&w->thread, NULL, writer_main, w) == 0);
}

static void encode_batch(struct queue *q, const struct raft_hard_state *hard, struct raft_entry *const *entries,
                         size_t count)
{
    uint8_t *payload = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *e = entries[i];
        payload = wal_record_begin(&q->bytes, RECORD_ENTRY, 24 + e->len);
        put_le64(put_le64(put_le64(payload, e->term), e->index), e->type);
        put_bytes(payload + 24, e->data, e->len);
    }
    if (hard) {
        payload = wal_record_begin(&q->bytes, RECORD_HARD, 24);
        put_le64(put_le64(put_le64(payload, hard->term), hard->vote), hard->commit);
    }
    if (payload)
        wal_record_set_flags(payload - RECORD_HEADER_BYTES, RECORD_BATCH_ENDS);
}

static struct order *queue_order(struct queue *q)
{
    q->orders = mem_grow(q->orders, &q->cap, q->count + 1, sizeof *q->orders);
    q->orders[q->count] = (struct order){0};
    return &q->orders[q->count++];
}

/* Hand it to the writer, or be the writer. */
static void queue_done(struct wal *w)
{
    if (w->options.synchronous) {
        pthread_mutex_unlock(&w->lock);
        write_queue(w, &w->incoming);
        queue_clear(&w->incoming);
        return;
    }
    pthread_cond_signal(&w->arrived);
    pthread_mutex_unlock(&w->lock);
}

uint64_t wal_append(struct wal *w, const struct raft_hard_state *hard, struct raft_entry *const *entries, size_t count,
                    bool sync)
{
    struct order *o;
    uint64_t ticket = ++w->next_ticket;

    INVARIANT(w->started);
    pthread_mutex_lock(&w->lock);
    encode_batch(&w->incoming, hard, entries, count);
    o = queue_order(&w->incoming);
    o->end = buf_len(&w->incoming.bytes);
    o->ticket = ticket;
    o->sync = sync;
    if (count)
        o->max_index = entries[count - 1]->index;
    if (hard) {
        o->has_hard = true;
        o->hard = *hard;
    }
    w->stats.batches++;
    queue_done(w);
    return ticket;
}

uint64_t wal_durable(const struct wal *w)
{
    return atomic_load_explicit(&w->durable, memory_order_acquire);
}

void wal_release(struct wal *w, raft_index index, raft_term term)
{
    struct order *o;

    pthread_mutex_lock(&w->lock);
    o = queue_order(&w->incoming);
    o->end = buf_len(&w->incoming.bytes);
    o->release_index = index;
    o->release_term = term;
    queue_done(w);
}

void wal_get_stats(struct wal *w, struct wal_stats *ret_stats)
{
    pthread_mutex_lock(&w->lock);
    *ret_stats = w->stats;
    ret_stats->segments = (unsigned)w->state.segment_count;
    w->stats.sync_ns_max = 0;
    pthread_mutex_unlock(&w->lock);
}

void wal_close(struct wal *w)
{
    if (!w)
        return;
    if (w->started && !w->options.synchronous) {
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_cond_signal(&w->arrived);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    if (w->file)
        w->options.disk->ops->close(w->file);
    if (w->spare)
        w->options.disk->ops->close(w->spare);
    wal_state_fini(&w->state);
    buf_fini(&w->incoming.bytes);
    buf_fini(&w->taken.bytes);
    free(w->incoming.orders);
    free(w->taken.orders);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->arrived);
    free(w);
}
