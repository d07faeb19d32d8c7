/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending: the loop encodes batches into a queue; the writer thread swaps the whole queue for an
 * empty one, writes it with one call a segment and syncs once. The lock is held for a copy of the
 * batch and for the swap, never for the disk.
 */
#include "raftd/wal/wal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/mem.h"
#include "common/planted.h"
#include "raftd/wal/aside.h"
#include "raftd/wal/promise.h"
#include "raftd/wal/writer.h"

/* What the loop asked for, in order; `end` is where its bytes end in the queue. */
struct order {
    size_t end;
    uint64_t ticket;       /* 0: a release */
    raft_index last_index; /* of its entries; 0: none */
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
    struct wal_options writer_options; /* the same, but a failure passes through here */
    struct wal_state
        state; /* as read; entries go with wal_replay, the rest is the writer's once started */
    struct promise promise; /* as read, the writer's once started */
    bool started;
    _Atomic bool failed;

    /* shared */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct queue incoming;
    bool stopping;
    _Atomic uint64_t durable;
    struct wal_stats stats;
    uint64_t segment_left, taken_bytes; /* room in the last segment; bytes on the way there */

    /* the loop's */
    uint64_t last_ticket;
    raft_index begin_index, last_index; /* the log as ordered: begin_index + 1 .. last_index */
    raft_term begin_term;

    /* the writer's */
    struct writer writer;
    struct queue taken;
};

static void on_failure(void *arg, const char *text)
{
    struct wal *w = arg;

    atomic_store(&w->failed, true); /* whatever the owner does now, nothing more is written */
    w->options.fail_fn(w->options.arg, text);
}

/* ---- the writer ---- */

/* The orders from..to go into the current segment with one write. */
static void write_run(struct wal *w, struct queue *q, size_t from, size_t to)
{
    size_t begin = from ? q->orders[from - 1].end : 0;

    if (from == to)
        return;
    if (q->orders[to - 1].end > begin)
        wal_writer_write(&w->writer, q->bytes.data + q->bytes.start + begin,
                         q->orders[to - 1].end - begin);
    for (size_t i = from; i < to; i++)
        wal_writer_note(&w->writer, q->orders[i].last_index,
                        q->orders[i].has_hard ? &q->orders[i].hard : NULL);
}

static void collect_stats(struct wal *w)
{
    pthread_mutex_lock(&w->lock);
    w->stats.bytes += w->writer.bytes;
    w->stats.syncs += w->writer.syncs;
    w->stats.sync_ns_last = w->writer.sync_ns;
    if (w->writer.sync_ns_max > w->stats.sync_ns_max)
        w->stats.sync_ns_max = w->writer.sync_ns_max;
    w->stats.segments = (unsigned)w->state.segment_count;
    w->segment_left = w->writer.room - w->writer.offset;
    w->taken_bytes = 0;
    pthread_mutex_unlock(&w->lock);
    w->writer.bytes = w->writer.syncs = 0;
    w->writer.sync_ns_max = 0;
}

/* What was written is synced; a term or vote among it is promised first. */
static void set_durable(struct wal *w, uint64_t ticket)
{
    if (wal_writer_is_synced(&w->writer))
        wal_writer_promise(&w->writer);
    if (ticket)
        atomic_store_explicit(&w->durable, ticket, memory_order_release);
}

/* The next segment. What is in this one need not wait until there is space for it. */
static void roll(struct wal *w, uint64_t len, uint64_t ticket)
{
    if (!wal_writer_is_synced(&w->writer))
        wal_writer_sync(&w->writer);
    set_durable(w, ticket);
    if (ticket && !w->options.synchronous)
        w->options.wake_fn(w->options.arg);
    wal_writer_roll(&w->writer, len);
}

/* Only a stepped log is asked: another one waits in its roll. */
static bool waits_for_space(struct wal *w, uint64_t pending, uint64_t len)
{
    return w->options.stepped && !wal_writer_has_room(&w->writer, pending + len) && !wal_writer_finds_space(&w->writer, len);
}

/*
 * Write everything that was queued, in order, with one sync at the end (and those that a roll
 * needs). How many orders that were: all, unless it has to wait for space.
 */
static size_t write_queue(struct wal *w, struct queue *q)
{
    size_t from = 0, run_begin = 0, i;
    uint64_t ticket = 0;
    bool sync = false;

    for (i = 0; i < q->count; i++) {
        struct order *o = &q->orders[i];
        size_t begin = i ? q->orders[i - 1].end : 0;
        if (waits_for_space(w, begin - run_begin, o->ticket ? o->end - begin : WAL_RELEASE_BYTES))
            break;
        if (!o->ticket) {
            write_run(w, q, from, i);
            wal_writer_release(&w->writer, o->release_index, o->release_term);
            sync = true;
            from = i + 1;
            run_begin = o->end;
            continue;
        }
        if (!wal_writer_has_room(&w->writer, o->end - run_begin)) {
            write_run(w, q, from, i);
            roll(w, o->end - begin, ticket);
            from = i;
            run_begin = begin;
        }
        sync |= o->sync;
        ticket = o->ticket;
    }
    write_run(w, q, from, i);
    if (sync && !PLANTED(log_ack_before_sync))
        wal_writer_sync(&w->writer);
    collect_stats(w);
    set_durable(w, ticket);
    return i;
}

/* The first so many orders are done. */
static void queue_take(struct queue *q, size_t count)
{
    size_t end = count ? q->orders[count - 1].end : 0;

    buf_consume(&q->bytes, end);
    q->count -= count;
    memmove(q->orders, q->orders + count, q->count * sizeof *q->orders);
    for (size_t i = 0; i < q->count; i++)
        q->orders[i].end -= end;
}

/* Swap the queues; false when there is nothing and the log is to end. */
static bool take_queue(struct wal *w)
{
    struct queue empty = w->taken;

    pthread_mutex_lock(&w->lock);
    if (!w->incoming.count && !w->stopping) {
        /* Time to leave the proof that the last batches are durable; under load the next batch is
         * that proof. */
        pthread_mutex_unlock(&w->lock);
        wal_writer_mark(&w->writer);
        pthread_mutex_lock(&w->lock);
    }
    while (!w->incoming.count && !w->stopping)
        pthread_cond_wait(&w->arrived, &w->lock);
    w->taken = w->incoming;
    w->taken_bytes = buf_len(&w->taken.bytes);
    w->incoming = empty;
    pthread_mutex_unlock(&w->lock);
    return w->taken.count > 0;
}

static void *writer_main(void *arg)
{
    struct wal *w = arg;

    while (take_queue(w)) {
        queue_take(&w->taken, write_queue(w, &w->taken));
        w->options.wake_fn(w->options.arg);
    }
    return NULL;
}

/* ---- the loop's side ---- */

static struct wal *wal_new(const struct wal_options *options)
{
    struct wal *w = mem_zero(sizeof *w);

    w->options = w->writer_options = *options;
    w->writer_options.fail_fn = on_failure;
    w->writer_options.arg = w;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->arrived, NULL);
    return w;
}

/* The log as read. */
static void take_state(struct wal *w)
{
    w->begin_index = w->state.begin_index;
    w->begin_term = w->state.begin_term;
    w->last_index = w->begin_index + w->state.entry_count;
    w->stats.segments = (unsigned)w->state.segment_count;
}

/* Does the log hold what was promised? */
static enum status check_promise(struct wal *w, struct error *ret_error)
{
    const struct raft_hard_state *hard = &w->state.hard;
    const struct promise *p = &w->promise;
    enum status st =
        wal_promise_read(w->options.disk, w->options.cluster_id, w->options.member_id, &w->promise, ret_error);

    /* It comes right after the first segment, before anything is written there. */
    if (st == ST_NOT_FOUND && ((!hard->term && !w->state.begin_index) || PLANTED(promise_may_be_missing)))
        return ST_OK;
    if (st == ST_NOT_FOUND)
        return error_set(ret_error, ST_CORRUPT, "wal/%s: missing beside a log of term %" PRIu64 ": nothing tells whether that is whole", PROMISE_NAME,
                         hard->term);
    if (st != ST_OK)
        return st;
    if (!w->state.segment_count)
        return error_set(ret_error, ST_CORRUPT, "member/wal: the log is missing, and with it what this member voted and stored");
    if (p->term > hard->term || (p->term == hard->term && p->vote && !hard->vote))
        return error_set(ret_error, ST_CORRUPT,
                         "wal/%s: offset %" PRIu64 ": what was stored last is missing: the log ends in term %" PRIu64
                         ", but this member promised something in term %" PRIu64,
                         w->state.segments[w->state.segment_count - 1].name, w->state.segments[w->state.segment_count - 1].end,
                         hard->term, p->term);
    return ST_OK;
}

enum status wal_open(const struct wal_options *options, struct wal **ret_wal, bool *ret_new,
                     struct error *ret_error)
{
    struct wal *w = wal_new(options);
    enum status st = wal_read(options->disk, options->cluster_id, options->member_id, &w->state, ret_error);

    if (st == ST_OK)
        st = check_promise(w, ret_error);
    if (st != ST_OK) {
        wal_close(w);
        return st;
    }
    take_state(w);
    *ret_new = w->state.segment_count == 0;
    *ret_wal = w;
    return ST_OK;
}

/* Both durable before the damaged log goes: from here on, whoever starts knows that there was one. */
static enum status promise_anew(struct wal *w, struct error *ret_error)
{
    const struct wal_options *o = &w->options;
    struct disk_file *f = NULL;
    int error;

    w->promise.sequence++;
    w->promise.lost_term = w->promise.term;
    w->promise.term += PLANTED(lost_log_keeps_term) ? 0 : 1;
    w->promise.vote = 0;
    error = wal_promise_open(o->disk, o->cluster_id, o->member_id, &w->promise, &f);
    if (!error)
        o->disk->ops->close(f);
    return error ? error_set(ret_error, ST_IO, "wal/%s: cannot be written: %s", PROMISE_NAME, strerror(-error)) : ST_OK;
}

enum status wal_open_anew(const struct wal_options *options, raft_index index, raft_term term, struct wal **ret_wal,
                          struct error *ret_error)
{
    struct wal *w = wal_new(options);
    enum status st =
        wal_promise_read(options->disk, options->cluster_id, options->member_id, &w->promise, ret_error);

    if (st == ST_NOT_FOUND)
        st = error_set(ret_error, ST_CORRUPT, "wal/%s: missing: nothing tells what this member voted", PROMISE_NAME);
    if (st == ST_OK)
        st = promise_anew(w, ret_error);
    if (st == ST_OK)
        st = wal_set_aside(options->disk, w->promise.lost_term, ret_error);
    if (st != ST_OK) {
        wal_close(w);
        return st;
    }
    w->state.hard = (struct raft_hard_state){w->promise.term, 0, index};
    w->state.begin_index = index;
    w->state.begin_term = term;
    take_state(w);
    *ret_wal = w;
    return ST_OK;
}

raft_term wal_lost_term(const struct wal *w)
{
    return w->promise.lost_term;
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
                         "wal: begins behind entry %" PRIu64
                         ", but the store needs it from %" PRIu64,
                         s->begin_index, after + 1);
    while (drop < s->entry_count && s->entries[drop]->index <= after)
        raft_entry_unref(s->entries[drop++]);
    s->entry_count -= drop;
    if (drop)
        memmove(s->entries, s->entries + drop, s->entry_count * sizeof *s->entries);
    *ret_hard = s->hard;
    *ret_entries = s->entries;
    *ret_count = s->entry_count;
    s->entries = NULL;
    s->entry_count = s->entry_cap = 0;
    return ST_OK;
}

void wal_start(struct wal *w)
{
    int error;

    INVARIANT(!w->started);
    w->started = true;
    wal_writer_start(&w->writer, &w->writer_options, &w->state, w->last_index, &w->promise);
    collect_stats(w);
    if (w->options.synchronous) {
        wal_writer_mark(&w->writer);
        return;
    }
    error = pthread_create(&w->thread, NULL, writer_main, w);
    if (error) {
        char text[120];
        snprintf(text, sizeof text, "wal: the writer thread cannot be made: %s", strerror(error));
        on_failure(w, text);
        abort();
    }
}

static void encode_batch(struct queue *q, const struct raft_hard_state *hard,
                         struct raft_entry *const *entries, size_t count)
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

/* Without a thread. */
static void write_incoming(struct wal *w)
{
    queue_take(&w->incoming, write_queue(w, &w->incoming));
    wal_writer_mark(&w->writer);
}

bool wal_wants_step(const struct wal *w)
{
    return w->incoming.count > 0;
}

bool wal_step(struct wal *w)
{
    if (!wal_wants_step(w))
        return false;
    write_incoming(w);
    return true;
}

void wal_make_spare(struct wal *w)
{
    wal_spare_make(w->writer.spare);
}

/* Hand it to the writer, or be the writer. */
static void queue_done(struct wal *w)
{
    pthread_cond_signal(&w->arrived);
    pthread_mutex_unlock(&w->lock);
    if (w->options.synchronous && !w->options.stepped)
        write_incoming(w);
}

/*
 * The owner of a thread may order something while that one is about to end the process: it is never written, and so nobody's. Who is the
 * writer itself has seen it fail.
 */
static void check_alive(const struct wal *w)
{
    INVARIANT(w->started && (!w->options.synchronous || !atomic_load(&w->failed)));
}

/* The core appends without gaps, and never again what it was told is in a checkpoint: the reader
 * relies on it. */
static void check_entries(const struct wal *w, struct raft_entry *const *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        INVARIANT(entries[i]->index == entries[0]->index + i);
        INVARIANT(entries[i]->len <= WAL_RECORD_BYTES_MAX - 24);
    }
    INVARIANT(!count ||
              (entries[0]->index > w->begin_index && entries[0]->index <= w->last_index + 1));
}

uint64_t wal_append(struct wal *w, const struct raft_hard_state *hard,
                    struct raft_entry *const *entries, size_t count, bool sync)
{
    struct order *o;
    uint64_t ticket = ++w->last_ticket;

    check_alive(w);
    check_entries(w, entries, count);
    pthread_mutex_lock(&w->lock);
    encode_batch(&w->incoming, hard, entries, count);
    o = queue_order(&w->incoming);
    o->end = buf_len(&w->incoming.bytes);
    o->ticket = ticket;
    o->sync = sync;
    if (count)
        o->last_index = w->last_index = entries[count - 1]->index;
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

    check_alive(w);
    if (index <= w->begin_index)
        return;
    w->begin_index = index;
    w->begin_term = term;
    if (w->last_index < index)
        w->last_index = index;
    pthread_mutex_lock(&w->lock);
    o = queue_order(&w->incoming);
    o->end = buf_len(&w->incoming.bytes);
    o->release_index = index;
    o->release_term = term;
    queue_done(w);
}

void wal_get_space(struct wal *w, struct wal_space *ret_space)
{
    uint64_t room, queued;
    bool ready;

    wal_spare_get_space(w->writer.spare, &ret_space->free_bytes, &ready, &ret_space->is_full);
    pthread_mutex_lock(&w->lock);
    room = w->segment_left + (ready ? w->options.segment_bytes - SEGMENT_HEADER_BYTES : 0);
    queued = w->taken_bytes + buf_len(&w->incoming.bytes);
    pthread_mutex_unlock(&w->lock);
    ret_space->room_bytes = room > queued ? room - queued : 0;
}

void wal_get_stats(struct wal *w, struct wal_stats *ret_stats)
{
    pthread_mutex_lock(&w->lock);
    *ret_stats = w->stats;
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
        wal_spare_give_up(w->writer.spare);
        pthread_join(w->thread, NULL);
    }
    if (w->started && w->options.stepped && !atomic_load(&w->failed))
        wal_step(w);
    if (w->started && !atomic_load(&w->failed) && !w->writer.starved) {
        /* What asked for no sync, and the proof that the end is the end. */
        if (!wal_writer_is_synced(&w->writer))
            wal_writer_sync(&w->writer);
        wal_writer_mark(&w->writer);
        wal_writer_sync(&w->writer);
    }
    if (w->started)
        wal_writer_fini(&w->writer);
    wal_state_fini(&w->state);
    buf_fini(&w->incoming.bytes);
    buf_fini(&w->taken.bytes);
    free(w->incoming.orders);
    free(w->taken.orders);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->arrived);
    free(w);
}
