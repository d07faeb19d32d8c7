/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges too long for one turn of the loop. One slice of one of them is read in a round, in turn, so that whoever else uses this node
 * waits a millisecond or two, however many keys are listed and by however many clients.
 */
#include <stdlib.h>

#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_text.h"
#include "raftd/api/internal.h"

struct long_range {
    struct api_pending pending;
    struct grpc_call *call;
    struct kv_range range;
    struct buf answer; /* behind room for a frame's head */
    TAILQ_ENTRY(long_range) link;
};

static void long_range_free(struct api *a, struct long_range *l)
{
    TAILQ_REMOVE(&a->long_ranges, l, link);
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
    if (st == ST_OK) {
        a->sliced_bytes -= buf_len(&l->answer);
        grpc_call_take_message(call, &l->answer);
    }
    long_range_free(a, l);
    grpc_call_finish(call, st, NULL);
}

static enum status step(struct api *a, struct long_range *l)
{
    size_t before = buf_len(&l->answer);
    enum status st = kv_range_step(&l->range, KV_RANGE_SLICE_KEYS, &l->answer);

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
        TAILQ_REMOVE(&a->long_ranges, l, link);
        TAILQ_INSERT_TAIL(&a->long_ranges, l, link);
    }
    go_on_soon(a);
}

void api_range_go_on(struct api *a, struct grpc_call *call, struct kv_range *x)
{
    struct long_range *l = mem_zero(sizeof *l);

    l->pending.cancel_fn = long_range_cancel;
    l->call = call;
    l->range = *x;
    kv_range_keep(&l->range);
    (void)buf_reserve(&l->answer, GRPC_FRAME_BYTES + buf_len(&a->answer));
    buf_commit(&l->answer, GRPC_FRAME_BYTES);
    l->range.answer_at += GRPC_FRAME_BYTES;
    buf_append_slice(&l->answer, buf_slice(&a->answer));
    a->sliced_bytes += buf_len(&l->answer);
    TAILQ_INSERT_TAIL(&a->long_ranges, l, link);
    grpc_call_set_data(call, l);
    go_on_soon(a);
}
