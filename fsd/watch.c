/* SPDX-License-Identifier: Apache-2.0 */
/* The one watch that keeps the mount's caches true: on its prefix, from where it was heard last. */
#include "common/clock.h"
#include "common/log.h"
#include "fsd/fs.h"

#define RETRY_NS (200 * NS_PER_MS)

static void retry_later(struct fs *fs)
{
    loop_timer_set(fs->loop, &fs->watch_retry, loop_now_ns(fs->loop) + RETRY_NS);
}

/* The history between is gone: nothing that was kept can be trusted. */
static void begin_anew(struct fs *fs)
{
    log_warning("watch", "changes were missed, dropping what was cached rev=%lld", (long long)fs->watch_rev);
    fs->watching = false;
    fs->watch_rev = 0;
    state_drop_all(fs);
}

static void on_message(void *arg, struct slice message)
{
    struct fs *fs = arg;
    Etcdserverpb__WatchResponse *r =
        etcdserverpb__watch_response__unpack(&fs->arena.allocator, message.len, message.data);

    if (!r || r->canceled) {
        if (r && r->compact_revision)
            begin_anew(fs);
        grpc_cancel(fs->watch);
        fs->watch = NULL;
        retry_later(fs);
    } else {
        if (r->created && !fs->watch_rev && r->header)
            fs->watch_rev = r->header->revision;
        if (r->created)
            fs->watching = true;
        for (size_t i = 0; i < r->n_events; i++) {
            if (!r->events[i]->kv)
                continue;
            if (r->events[i]->kv->mod_revision > fs->watch_rev)
                fs->watch_rev = r->events[i]->kv->mod_revision;
            state_on_event(fs, r->events[i]);
        }
    }
    arena_reset(&fs->arena);
}

static void on_done(void *arg, enum status st, struct slice message, struct slice text)
{
    struct fs *fs = arg;

    (void)st;
    (void)message;
    (void)text;
    fs->watch = NULL;
    /* What is cached stays readable meanwhile (serializable reads may be behind); new answers are not kept. */
    fs->watching = false;
    retry_later(fs);
}

static void on_retry(void *arg)
{
    watch_start(arg);
}

void watch_start(struct fs *fs)
{
    struct buf request = {0}, end = {0};
    static const uint8_t zero[1] = {0};
    struct slice root = buf_slice(&fs->root);

    loop_timer_init(&fs->watch_retry, on_retry, fs);
    if (!root.len)
        root = slice_of(zero, 1);
    ns_prefix_end(buf_slice(&fs->root), &end);
    request_watch(&request, root, buf_slice(&end), fs->watch_rev ? fs->watch_rev + 1 : 0);
    fs->watch = grpc_stream_open(fs->channel, PATH_WATCH, on_message, on_done, fs);
    grpc_stream_send(fs->watch, buf_slice(&request));
    buf_fini(&request);
    buf_fini(&end);
}

void watch_stop(struct fs *fs)
{
    loop_timer_cancel(fs->loop, &fs->watch_retry);
    if (fs->watch)
        grpc_cancel(fs->watch);
    fs->watch = NULL;
}
