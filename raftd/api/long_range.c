/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges too long for one turn of the loop. One slice of one of them is read in a round, in turn, so that whoever else uses this node
 * waits a millisecond or two, however many keys are listed and by however many clients.
 */
#include <stdlib.h>

#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_text.h"
#include "proto/wire.h"
#include "raftd/api/internal.h"

enum { STREAM_RANGE_RESPONSE = 1 }; /* of RangeStreamResponse */

struct long_range {
    struct api_pending pending;
    struct grpc_call *call;
    struct kv_range range;
    struct buf answer; /* behind room for a frame's head; in parts: empty between two of them */
    bool parked;       /* in the other list, until its client has taken what it was sent */
    TAILQ_ENTRY(long_range) link;
};

static void park(struct api *a, struct long_range *l, bool parked)
{
    if (l->parked == parked)
        return;
    l->parked = parked;
    TAILQ_REMOVE(parked ? &a->long_ranges : &a->parked_ranges, l, link);
    TAILQ_INSERT_TAIL(parked ? &a->parked_ranges : &a->long_ranges, l, link);
}

static void long_range_free(struct api *a, struct long_range *l)
{
    TAILQ_REMOVE(l->parked ? &a->parked_ranges : &a->long_ranges, l, link);
    a->sliced_bytes -= buf_len(&l->answer);
    kv_range_fini(&l->range);
    buf_fini(&l->answer);
    free(l);
}

static void long_range_cancel(struct api *a, struct api_pending *p)
{
    long_range_free(a, (struct long_range *)p);
}

/* In the next round: a timer that is due already would fire in this one. */
static void go_on_soon(struct api *a)
{
    if (!TAILQ_EMPTY(&a->long_ranges))
        loop_timer_set(a->loop, &a->next_slice, loop_now_ns(a->loop) + 1);
}

static void long_range_end(struct api *a, struct long_range *l, enum status st)
{
    struct grpc_call *call = l->call;

    grpc_call_set_data(call, NULL);
    if (st == ST_OK && buf_len(&l->answer)) {
        a->sliced_bytes -= buf_len(&l->answer);
        grpc_call_take_message(call, &l->answer);
    }
    long_range_free(a, l);
    grpc_call_finish(call, st, NULL);
}

/* One message of a stream: a RangeResponse in a RangeStreamResponse. */
static enum status send_part(struct long_range *l)
{
    size_t opened;
    enum status st;

    (void)buf_reserve(&l->answer, GRPC_FRAME_BYTES);
    buf_commit(&l->answer, GRPC_FRAME_BYTES);
    opened = wire_open(&l->answer, STREAM_RANGE_RESPONSE);
    st = kv_range_step(&l->range, KV_RANGE_SLICE_KEYS, &l->answer);
    if (st == ST_OK) {
        wire_close(&l->answer, opened);
        grpc_call_take_message(l->call, &l->answer);
    } else {
        buf_fini(&l->answer);
    }
    return st;
}

static enum status step(struct api *a, struct long_range *l)
{
    size_t before = buf_len(&l->answer);
    enum status st;

    if (l->range.in_parts)
        return send_part(l);
    st = kv_range_step(&l->range, KV_RANGE_SLICE_KEYS, &l->answer);
    a->sliced_bytes += buf_len(&l->answer) - before;
    if (st != ST_OK)
        return st;
    return a->sliced_bytes > SLICED_ANSWERS_BYTES_MAX ? ST_TOO_MANY_REQUESTS : ST_OK;
}

void api_range_next_slice(void *arg)
{
    struct api *a = arg;
    struct long_range *l = TAILQ_FIRST(&a->long_ranges);
    enum status st;

    if (!l)
        return; /* the last one was canceled meanwhile */
    st = step(a, l);
    if (st != ST_OK || kv_range_is_done(&l->range)) {
        long_range_end(a, l, st);
    } else {
        park(a, l, true);
        if (!l->range.in_parts || !grpc_call_is_full(l->call))
            park(a, l, false); /* behind the others */
    }
    go_on_soon(a);
}

/* They read a revision that the new store has as well, and hold no place in the old one but a key. */
void api_range_on_restored(struct api *a, struct mvcc *store)
{
    struct long_range *l;

    TAILQ_FOREACH(l, &a->long_ranges, link)
        l->range.store = store;
    TAILQ_FOREACH(l, &a->parked_ranges, link)
        l->range.store = store;
}

static struct long_range *long_range_new(struct api *a, struct grpc_call *call, struct kv_range *x)
{
    struct long_range *l = mem_zero(sizeof *l);

    l->pending.cancel_fn = long_range_cancel;
    l->call = call;
    l->range = *x;
    kv_range_keep(&l->range);
    TAILQ_INSERT_TAIL(&a->long_ranges, l, link);
    grpc_call_set_data(call, l);
    return l;
}

void api_range_stream(struct api *a, struct grpc_call *call, struct kv_range *x)
{
    long_range_new(a, call, x)->range.in_parts = true;
    go_on_soon(a);
}

void api_range_stream_on_writable(struct grpc_call *call, void *service_arg)
{
    struct api *a = service_arg;

    park(a, grpc_call_data(call), false);
    go_on_soon(a);
}

void api_range_go_on(struct api *a, struct grpc_call *call, struct kv_range *x)
{
    struct long_range *l = long_range_new(a, call, x);

    (void)buf_reserve(&l->answer, GRPC_FRAME_BYTES + buf_len(&a->answer));
    buf_commit(&l->answer, GRPC_FRAME_BYTES);
    l->range.answer_at += GRPC_FRAME_BYTES;
    buf_append_slice(&l->answer, buf_slice(&a->answer));
    a->sliced_bytes += buf_len(&l->answer);
    go_on_soon(a);
}
