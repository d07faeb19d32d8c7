/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcdserverpb.Watch: streams with many watches each. Events are collected while the store publishes and go out as one answer
 * a watch at the end of the round; a stream that does not take its events is paused and catches up from history.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/wire.h"
#include "raftd/api/internal.h"

/* Field numbers of WatchResponse and Event. */
enum { WATCH_HEADER = 1, WATCH_ID = 2, WATCH_CREATED = 3, WATCH_CANCELED = 4, WATCH_COMPACT = 5 };
enum { WATCH_REASON = 6, WATCH_FRAGMENT = 7, WATCH_EVENTS = 11 };
enum { EVENT_TYPE = 1, EVENT_KV = 2, EVENT_PREV = 3 };

#define NO_WATCH_ID (-1)
#define CATCH_UP_EVENTS 1000 /* a slice of history: about a millisecond of the loop */
#define FRAGMENT_BYTES_MAX (REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES_MAX)
#define EVENTS_KEEP_BYTES 4096u /* of the room for events of a watch: there may be WATCHES_MAX */
#define PROGRESS_NOTIFY_NS (600 * NS_PER_S) /* etcd: --watch-progress-notify-interval */

struct watch {
    struct watch_stream *stream;
    int64_t id;
    mvcc_rev start_rev; /* 0: from when it was made */
    struct watcher *watcher;
    bool no_put, no_delete, prev_kv, fragment, attributes, progress_notify;
    bool quiet;        /* no event since the last notice of progress */
    struct buf events; /* collected, encoded */
    bool dirty;
    TAILQ_ENTRY(watch) link;
    TAILQ_ENTRY(watch) dirty_link;
    UT_hash_handle hh; /* by id */
};

struct watch_stream {
    struct api *api;
    struct grpc_call *call;
    bool wants_leader;
    int64_t next_id;
    unsigned count;
    size_t collected_bytes; /* of events of all its watches */
    struct watch_list watches;
    struct watch *by_id;
    struct loop_timer progress;
    TAILQ_ENTRY(watch_stream) link;
};

static mvcc_rev revision_now(const struct api *a)
{
    return mvcc_revision(node_store(a->node));
}

/* ---- answers ---- */

struct reply {
    int64_t id;
    bool created, canceled, fragment;
    mvcc_rev compact_revision;
    const char *reason;
};

/* events: encoded fields, or none. */
static void send_reply(struct watch_stream *s, const struct reply *r, struct slice events)
{
    struct buf *out = &s->api->answer;
    struct kv_header h;
    uint8_t *p;

    node_get_header(s->api->node, &h);
    buf_clear(out);
    kv_encode_header(out, WATCH_HEADER, &h, revision_now(s->api));
    wire_int(out, WATCH_ID, r->id);
    wire_bool(out, WATCH_CREATED, r->created);
    wire_bool(out, WATCH_CANCELED, r->canceled);
    wire_int(out, WATCH_COMPACT, r->compact_revision);
    if (r->reason)
        wire_text(out, WATCH_REASON, r->reason);
    wire_bool(out, WATCH_FRAGMENT, r->fragment);
    p = put_bytes(grpc_call_message(s->call, buf_len(out) + events.len), out->data, buf_len(out));
    put_bytes(p, events.data, events.len);
}

static void send_events(struct watch *w, bool fragment)
{
    struct reply r = {.id = w->id, .fragment = fragment};

    send_reply(w->stream, &r, buf_slice(&w->events));
    w->stream->collected_bytes -= buf_len(&w->events);
    buf_clear(&w->events);
    if (w->events.cap > EVENTS_KEEP_BYTES)
        buf_fini(&w->events);
    w->quiet = false;
}

/* ---- events, as the store publishes them ---- */

static void encode_event(struct watch *w, const struct mvcc_event *e)
{
    struct mvcc_kv kv = e->kv, prev;
    mvcc_rev mod_rev = kv.mod_rev;
    size_t opened = wire_open(&w->events, WATCH_EVENTS);
    uint8_t key[256];
    struct buf long_key = {0};
    struct slice name = kv.key;

    wire_uint(&w->events, EVENT_TYPE, e->is_delete);
    if (e->is_delete)
        kv = (struct mvcc_kv){.key = kv.key, .mod_rev = mod_rev, .mod_time_ns = kv.mod_time_ns};
    kv_encode(&w->events, EVENT_KV, &kv, w->attributes);
    if (w->prev_kv) {
        /* The next call into the store takes the event's bytes away. */
        if (name.len <= sizeof key) {
            memcpy(key, name.data, name.len);
            name.data = key;
        } else {
            buf_append_slice(&long_key, name);
            name = buf_slice(&long_key);
        }
        if (mvcc_get(node_store(w->stream->api->node), name, mod_rev - 1, true, &prev) == ST_OK)
            kv_encode(&w->events, EVENT_PREV, &prev, w->attributes);
        buf_fini(&long_key);
    }
    wire_close(&w->events, opened);
}

static bool on_event(void *watcher_arg, const struct mvcc_event *e)
{
    struct watch *w = watcher_arg;
    struct watch_stream *s = w->stream;
    size_t before;

    if (e->is_delete ? w->no_delete : w->no_put)
        return true;
    if (w->fragment && buf_len(&w->events) > FRAGMENT_BYTES_MAX - REQUEST_BYTES_MAX)
        send_events(w, true);
    before = buf_len(&w->events);
    encode_event(w, e);
    s->collected_bytes += buf_len(&w->events) - before;
    if (!w->dirty) {
        w->dirty = true;
        TAILQ_INSERT_TAIL(&s->api->dirty, w, dirty_link);
    }
    return s->collected_bytes < WATCH_QUEUE_BYTES_MAX && !grpc_call_is_full(s->call);
}

static void catch_up_soon(struct api *a)
{
    loop_timer_set(a->loop, &a->catch_up, loop_now_ns(a->loop));
}

static void send_dirty(struct api *a)
{
    struct watch *w;

    while ((w = TAILQ_FIRST(&a->dirty))) {
        TAILQ_REMOVE(&a->dirty, w, dirty_link);
        w->dirty = false;
        send_events(w, false);
        /* Paused only by its own collected events: those are gone. */
        if (!grpc_call_is_full(w->stream->call)) {
            watch_resume(a->hub, w->watcher);
            if (!watch_is_synced(w->watcher))
                catch_up_soon(a);
        }
    }
}

/* History that cannot be read is damage; the node will meet it, too, and end. Watches are not served wrong. */
static void end_all_streams(struct api *a, enum status st);

static void on_publish(void *arg)
{
    struct api *a = arg;
    enum status st = watch_publish(a->hub);

    send_dirty(a);
    if (st != ST_OK)
        end_all_streams(a, st);
}

static void on_catch_up(void *arg)
{
    struct api *a = arg;
    bool more = false;
    enum status st = watch_catch_up(a->hub, CATCH_UP_EVENTS, &more);

    send_dirty(a);
    if (st != ST_OK)
        end_all_streams(a, st);
    else if (more)
        catch_up_soon(a);
}

void api_on_applied(struct api *a)
{
    loop_task_queue(a->loop, &a->publish);
}

void api_watch_on_restored(struct api *a, struct mvcc *store)
{
    watch_restore(a->hub, store);
    catch_up_soon(a);
}

/* ---- requests ---- */

static struct watch *find_watch(struct watch_stream *s, int64_t id)
{
    struct watch *w;

    HASH_FIND(hh, s->by_id, &id, sizeof id, w);
    return w;
}

static void watch_free(struct watch *w)
{
    struct watch_stream *s = w->stream;

    if (w->dirty)
        TAILQ_REMOVE(&s->api->dirty, w, dirty_link);
    watch_remove(s->api->hub, w->watcher);
    TAILQ_REMOVE(&s->watches, w, link);
    HASH_DEL(s->by_id, w);
    s->count--;
    s->api->watch_count--;
    s->collected_bytes -= buf_len(&w->events);
    buf_fini(&w->events);
    free(w);
}

static void refuse_create(struct watch_stream *s, const char *reason, mvcc_rev compact_revision)
{
    struct reply r = {.id = NO_WATCH_ID,
                      .created = true,
                      .canceled = true,
                      .compact_revision = compact_revision,
                      .reason = reason};

    send_reply(s, &r, slice_of(NULL, 0));
}

static void set_filters(struct watch *w, const Etcdserverpb__WatchCreateRequest *r)
{
    for (size_t i = 0; i < r->n_filters; i++) {
        w->no_put |= r->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
        w->no_delete |= r->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    }
    w->start_rev = r->start_revision;
    w->prev_kv = r->prev_kv;
    w->fragment = r->fragment;
    w->attributes = r->attributes;
    w->progress_notify = r->progress_notify;
}

static void create_watch(struct watch_stream *s, const Etcdserverpb__WatchCreateRequest *r)
{
    static const uint8_t zero[1] = {0};
    struct slice key = r->key.len ? slice_of(r->key.data, r->key.len) : slice_of(zero, 1);
    struct mvcc_span span = mvcc_span_of(key, slice_of(r->range_end.data, r->range_end.len));
    struct reply reply = {.created = true};
    struct api *a = s->api;
    struct watch *w;
    enum status st;

    if (r->start_revision < 0) {
        refuse_create(s, status_text(ST_COMPACTED), 0);
        return;
    }
    if (r->watch_id && find_watch(s, r->watch_id)) {
        refuse_create(s, "mvcc: duplicate watch ID provided on the WatchStream", 0);
        return;
    }
    if (s->count >= WATCHES_PER_STREAM_MAX || a->watch_count >= WATCHES_MAX) {
        refuse_create(s, status_text(ST_TOO_MANY_REQUESTS), 0);
        return;
    }
    w = mem_zero(sizeof *w);
    w->stream = s;
    w->quiet = true;
    set_filters(w, r);
    st = watch_add(a->hub, &span, r->start_revision, w, &w->watcher);
    if (st == ST_BAD_ARGUMENT) {
        free(w);
        refuse_create(s, "mvcc: watcher range is empty", 0);
        return;
    }
    w->id = r->watch_id;
    if (!w->id) {
        while (find_watch(s, s->next_id))
            s->next_id++;
        w->id = s->next_id++;
    }
    reply.id = w->id;
    if (st == ST_COMPACTED) {
        /* etcd: created first, then canceled with the revision that is still there. */
        struct reply gone = {.id = w->id, .canceled = true, .compact_revision = mvcc_compact_revision(node_store(a->node))};
        free(w);
        send_reply(s, &reply, slice_of(NULL, 0));
        send_reply(s, &gone, slice_of(NULL, 0));
        return;
    }
    TAILQ_INSERT_TAIL(&s->watches, w, link);
    HASH_ADD(hh, s->by_id, id, sizeof w->id, w);
    s->count++;
    a->watch_count++;
    send_reply(s, &reply, slice_of(NULL, 0));
    if (!watch_is_synced(w->watcher))
        catch_up_soon(a);
}

static void cancel_watch(struct watch_stream *s, int64_t id)
{
    struct reply r = {.id = id, .canceled = true};
    struct watch *w = find_watch(s, id);

    if (!w)
        return; /* etcd: silence */
    watch_free(w);
    send_reply(s, &r, slice_of(NULL, 0));
}

/* Was everything up to now sent to it? Of one that waits for a revision to come etcd makes no such claim. */
static bool is_in_step(const struct watch *w)
{
    const struct api *a = w->stream->api;

    return !w->dirty && watch_is_synced(w->watcher) && w->start_rev <= revision_now(a) &&
           watch_position(a->hub, w->watcher) == revision_now(a);
}

static void report_progress(struct watch_stream *s)
{
    struct reply r = {.id = NO_WATCH_ID};
    struct watch *w;

    if (TAILQ_EMPTY(&s->watches))
        return;
    TAILQ_FOREACH(w, &s->watches, link)
        if (!is_in_step(w))
            return;
    send_reply(s, &r, slice_of(NULL, 0));
}

static void on_progress_time(void *arg)
{
    struct watch_stream *s = arg;
    struct watch *w;

    TAILQ_FOREACH(w, &s->watches, link)
    {
        struct reply r = {.id = w->id};
        if (w->progress_notify && w->quiet && is_in_step(w))
            send_reply(s, &r, slice_of(NULL, 0));
        w->quiet = true;
    }
    loop_timer_set(s->api->loop, &s->progress, loop_now_ns(s->api->loop) + PROGRESS_NOTIFY_NS);
}

/* ---- streams ---- */

static struct watch_stream *stream_open(struct api *a, struct grpc_call *call)
{
    struct watch_stream *s = mem_zero(sizeof *s);

    s->api = a;
    s->call = call;
    s->wants_leader = slice_equal(grpc_call_metadata(call, "hasleader"), slice_of_text("true"));
    TAILQ_INIT(&s->watches);
    TAILQ_INSERT_TAIL(&a->streams, s, link);
    grpc_call_set_data(call, s);
    loop_timer_init(&s->progress, on_progress_time, s);
    loop_timer_set(a->loop, &s->progress, loop_now_ns(a->loop) + PROGRESS_NOTIFY_NS);
    return s;
}

static void stream_close(struct watch_stream *s, enum status st)
{
    struct grpc_call *call = s->call;

    while (!TAILQ_EMPTY(&s->watches))
        watch_free(TAILQ_FIRST(&s->watches));
    loop_timer_cancel(s->api->loop, &s->progress);
    TAILQ_REMOVE(&s->api->streams, s, link);
    free(s);
    grpc_call_set_data(call, NULL);
    grpc_call_finish(call, st, NULL);
}

static void end_all_streams(struct api *a, enum status st)
{
    while (!TAILQ_EMPTY(&a->streams))
        stream_close(TAILQ_FIRST(&a->streams), st);
}

void api_watch_message(struct api *a, struct grpc_call *call, struct slice message)
{
    struct watch_stream *s = grpc_call_data(call);
    Etcdserverpb__WatchRequest *r =
        etcdserverpb__watch_request__unpack(&a->arena.allocator, message.len, message.data);

    if (!s)
        s = stream_open(a, call);
    if (!r) {
        arena_reset(&a->arena);
        stream_close(s, ST_BAD_MESSAGE);
        return;
    }
    if (s->wants_leader && a->leaderless_since_ns) {
        arena_reset(&a->arena);
        stream_close(s, ST_NO_LEADER);
        return;
    }
    switch (r->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create_watch(s, r->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        cancel_watch(s, r->cancel_request->watch_id);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        report_progress(s);
        break;
    default:
        break; /* etcd ignores a request that is none */
    }
    arena_reset(&a->arena);
}

void api_watch_on_cancel(struct grpc_call *call, void *service_arg)
{
    (void)service_arg;
    stream_close(grpc_call_data(call), ST_WATCH_CANCELED);
}

void api_watch_on_writable(struct grpc_call *call, void *service_arg)
{
    struct api *a = service_arg;
    struct watch_stream *s = grpc_call_data(call);
    struct watch *w;

    TAILQ_FOREACH(w, &s->watches, link)
        watch_resume(a->hub, w->watcher);
    catch_up_soon(a);
}

/* ---- leaders ---- */

/* etcd: streams that asked for a leader end when there was none for three election timeouts. */
static void on_leaderless(void *arg)
{
    struct api *a = arg;
    struct watch_stream *s = TAILQ_FIRST(&a->streams);

    while (s) {
        struct watch_stream *next = TAILQ_NEXT(s, link);
        if (s->wants_leader)
            stream_close(s, ST_NO_LEADER);
        s = next;
    }
}

void api_on_leader(struct api *a, uint64_t leader)
{
    int64_t elections = (node_request_timeout_ns(a->node) - 5 * NS_PER_S) / 2 * 3;

    if (leader) {
        a->leaderless_since_ns = 0;
        loop_timer_cancel(a->loop, &a->leaderless);
    } else if (!a->leaderless_since_ns) {
        a->leaderless_since_ns = loop_now_ns(a->loop);
        loop_timer_set(a->loop, &a->leaderless, a->leaderless_since_ns + elections);
    }
}

/* ---- alarms ---- */

/* What has begun is served no longer than what is to begin (METHOD_READS). */
void api_on_members(struct api *a)
{
    if (node_refuses_reads(a->node))
        end_all_streams(a, ST_CORRUPT_CLUSTER);
}

void api_watch_init(struct api *a)
{
    a->hub = watch_hub_new(node_store(a->node), on_event);
    TAILQ_INIT(&a->streams);
    TAILQ_INIT(&a->dirty);
    loop_task_init(&a->publish, LOOP_WORK, on_publish, a);
    loop_timer_init(&a->catch_up, on_catch_up, a);
    loop_timer_init(&a->leaderless, on_leaderless, a);
}

void api_watch_fini(struct api *a)
{
    end_all_streams(a, ST_STOPPED);
    loop_task_cancel(a->loop, &a->publish);
    loop_timer_cancel(a->loop, &a->catch_up);
    loop_timer_cancel(a->loop, &a->leaderless);
    watch_hub_free(a->hub);
}
