/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one watch that keeps the mount's caches true: on its prefix, from where it was heard last. While it is lost, what is
 * cached stays readable (plain reads may be behind) and new answers are not kept.
 */
#include "common/clock.h"
#include "common/codec.h"
#include "common/log.h"
#include "fsd/fs.h"

#define RETRY_NS (200 * NS_PER_MS)

static void retry_later(struct fs *fs)
{
    fs->watching = false;
    loop_timer_set(fs->loop, &fs->watch_retry, loop_now_ns(fs->loop) + RETRY_NS);
}

/* The history between is gone: nothing that was kept can be trusted. */
static void begin_anew(struct fs *fs)
{
    log_warning("watch", "changes were missed, dropping what was cached rev=%lld", (long long)fs->watch_rev);
    fs->watch_rev = 0;
    state_drop_all(fs);
}

static void on_created(struct fs *fs, const Etcdserverpb__WatchResponse *r)
{
    if (!fs->watch_rev && r->header) {
        fs->watch_rev = r->header->revision;
        heard_reset(&fs->heard, fs->watch_rev);
    }
    fs->watching = true;
}

static void on_events(struct fs *fs, const Etcdserverpb__WatchResponse *r)
{
    fs_note_revision(fs, r->header);
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__KeyValue *kv = r->events[i]->kv;
        if (!kv)
            continue;
        state_on_event(fs, r->events[i]);
        if (kv->mod_revision > fs->watch_rev)
            fs->watch_rev = kv->mod_revision;
    }
}

static void take_message(struct fs *fs, struct slice message)
{
    Etcdserverpb__WatchResponse *r =
        etcdserverpb__watch_response__unpack(&fs->arena.allocator, message.len, message.data);

    if (!r || r->canceled) {
        if (!r)
            log_error("watch", "a message that cannot be decoded, watching anew endpoint=%s", fs->endpoint);
        if (!r || r->compact_revision)
            begin_anew(fs);
        if (fs->watch)
            grpc_cancel(fs->watch);
        fs->watch = NULL;
        retry_later(fs);
    } else {
        if (r->created)
            on_created(fs, r);
        on_events(fs, r);
    }
    arena_reset(&fs->arena);
}

static void on_message(void *arg, struct slice message)
{
    struct fs *fs = arg;
    uint8_t *p;

    if (!fs->watch_holds) {
        take_message(fs, message);
        return;
    }
    p = buf_reserve(&fs->watch_waiting, 8 + message.len);
    put_bytes(put_le64(p, message.len), message.data, message.len);
    buf_commit(&fs->watch_waiting, 8 + message.len);
}

void watch_hold(struct fs *fs)
{
    fs->watch_holds++;
}

/* Not here and now: the answer that ends the rename is still being read. */
void watch_release(struct fs *fs)
{
    INVARIANT(fs->watch_holds > 0);
    if (--fs->watch_holds == 0)
        loop_task_queue(fs->loop, &fs->watch_catch_up);
}

static void catch_up(void *arg)
{
    struct fs *fs = arg;
    struct buf waiting = fs->watch_waiting;
    struct reader r = reader_of(buf_slice(&waiting));

    if (fs->watch_holds)
        return; /* the next one began already */
    fs->watch_waiting = (struct buf){0};
    while (reader_left(&r)) {
        uint64_t len = read_le64(&r);
        take_message(fs, read_slice(&r, len));
    }
    buf_fini(&waiting);
}

static void on_done(void *arg, enum status st, struct slice message, struct slice text)
{
    struct fs *fs = arg;

    (void)message;
    if (st != ST_UNREACHABLE && st != ST_CANCELED && fs->watching) /* a lost connection is logged where it is noticed */
        log_warning("watch", "ended: %s, watching anew endpoint=%s server=\"%.*s\"", status_text(st), fs->endpoint,
                    (int)text.len, text.len ? (const char *)text.data : "");
    fs->watch = NULL;
    retry_later(fs);
}

static void on_retry(void *arg)
{
    struct fs *fs = arg;
    struct buf request = {0}, end = {0};
    struct slice key;

    fs_root_range(fs, &key, &end);
    request_watch(&request, key, buf_slice(&end), fs->watch_rev ? fs->watch_rev + 1 : 0);
    fs->watch = grpc_stream_open(fs->channel, PATH_WATCH, on_message, on_done, fs);
    grpc_stream_send(fs->watch, buf_slice(&request));
    buf_fini(&request);
    buf_fini(&end);
}

void watch_start(struct fs *fs)
{
    loop_timer_init(&fs->watch_retry, on_retry, fs);
    loop_task_init(&fs->watch_catch_up, LOOP_WORK, catch_up, fs);
    on_retry(fs);
}

void watch_stop(struct fs *fs)
{
    loop_timer_cancel(fs->loop, &fs->watch_retry);
    loop_task_cancel(fs->loop, &fs->watch_catch_up);
    if (fs->watch)
        grpc_cancel(fs->watch);
    fs->watch = NULL;
    fs->watching = false;
    buf_fini(&fs->watch_waiting);
}
