/* SPDX-License-Identifier: Apache-2.0 */
/* A call and its answer: headers, messages, trailers. */
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_server_internal.h"
#include "net/grpc_text.h"

#define POOL_CALLS_MAX 4096u        /* that are kept for later, of a server */
#define POOL_BUFFER_BYTES_MAX 4096u /* with their buffers, unless these are larger */

/* ---- coming and going ---- */

struct grpc_call *call_new(struct server_conn *sc, int32_t stream)
{
    struct grpc_server *s = sc->server;
    struct grpc_call *call = TAILQ_FIRST(&s->free_calls);
    struct buf in = {0}, out = {0};

    if (call) {
        TAILQ_REMOVE(&s->free_calls, call, link);
        s->free_count--;
        in = call->in;
        out = call->out;
    } else {
        call = mem_alloc(sizeof *call);
    }
    *call = (struct grpc_call){.server = s,
                               .sc = sc,
                               .stream = stream,
                               .born_ns = loop_now_ns(s->options.loop),
                               .deadline_ns = INT64_MAX,
                               .in = in,
                               .out = out};
    buf_clear(&call->in);
    buf_clear(&call->out);
    TAILQ_INSERT_TAIL(&sc->calls, call, link);
    return call;
}

static void call_memory_free(struct grpc_call *call)
{
    buf_fini(&call->in);
    buf_fini(&call->out);
    free(call);
}

/* Nobody knows it any more: not its stream, not its handler. */
static void call_free(struct grpc_call *call)
{
    struct grpc_server *s = call->server;

    for (int i = 0; i < META_COUNT; i++)
        if (call->meta[i])
            nghttp2_rcbuf_decref(call->meta[i]);
    free(call->text);
    loop_timer_cancel(s->options.loop, &call->timer);
    if (s->free_count >= POOL_CALLS_MAX || call->in.cap > POOL_BUFFER_BYTES_MAX || call->out.cap > POOL_BUFFER_BYTES_MAX) {
        call_memory_free(call);
        return;
    }
    TAILQ_INSERT_HEAD(&s->free_calls, call, link);
    s->free_count++;
}

void call_pool_free(struct grpc_server *s)
{
    struct grpc_call *call;

    while ((call = TAILQ_FIRST(&s->free_calls))) {
        TAILQ_REMOVE(&s->free_calls, call, link);
        call_memory_free(call);
    }
}

void call_also(struct grpc_call *call, struct call_list *list)
{
    if (call->also == list)
        return;
    if (call->also)
        TAILQ_REMOVE(call->also, call, also_link);
    call->also = list;
    if (list)
        TAILQ_INSERT_TAIL(list, call, also_link);
}

static void output_drop(struct grpc_call *call, size_t len)
{
    struct server_conn *sc = call->sc;

    buf_consume(&call->out, len);
    sc->output_bytes -= len;
    if (!TAILQ_EMPTY(&sc->held) && sc->output_bytes < CONN_OUTPUT_BYTES_MAX / 2)
        loop_task_queue(sc->server->options.loop, &sc->resume);
}

void call_input_grow(struct grpc_call *call, const uint8_t *data, size_t len)
{
    buf_append(&call->in, data, len);
    call->sc->input_bytes += len;
    call->server->input_bytes += len;
}

void call_input_drop(struct grpc_call *call, size_t len)
{
    buf_consume(&call->in, len);
    call->sc->input_bytes -= len;
    call->server->input_bytes -= len;
}

static void tell_canceled(struct grpc_call *call)
{
    if (!call->with_handler || call->canceled)
        return;
    call->canceled = true;
    if (call->method->on_cancel)
        call->method->on_cancel(call, call->server->options.service_arg);
}

void call_orphan(struct grpc_call *call)
{
    call->finished = true;
    call_also(call, NULL);
    call_input_drop(call, buf_len(&call->in));
    output_drop(call, buf_len(&call->out));
    loop_timer_cancel(call->server->options.loop, &call->timer);
    TAILQ_REMOVE(&call->sc->calls, call, link);
    call->sc = NULL;
    /* A handler that lets go of it right now must not free it under our hands. */
    if (call->with_handler)
        tell_canceled(call);
    else
        call_free(call);
}

/* ---- what nghttp2 asks for ---- */

#define NV(name, value)                                                                                               \
    {                                                                                                                  \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1,             \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                              \
    }

/* grpc-status and, for errors, grpc-message; returns how many. message holds the text until it is submitted. */
static size_t status_headers(const struct grpc_call *call, nghttp2_nv *nv, struct buf *message)
{
    static const char numbers[][3] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                      "9", "10", "11", "12", "13", "14", "15", "16"};
    const char *number = numbers[status_grpc_code(call->status)];

    nv[0] = (nghttp2_nv)NV("grpc-status", "");
    nv[0].value = (uint8_t *)(uintptr_t)number;
    nv[0].valuelen = strlen(number);
    if (call->status == ST_OK)
        return 1;
    grpc_message_encode(message, call->text ? call->text : status_text(call->status));
    nv[1] = (nghttp2_nv)NV("grpc-message", "");
    nv[1].value = message->data;
    nv[1].valuelen = buf_len(message);
    nv[1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    return 2;
}

/* How much data may the next frame carry? The bytes themselves are copied once, by call_send_data. */
static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct grpc_call *call = source->ptr;
    size_t left = buf_len(&call->out), n = left < len ? left : len;
    struct buf message = {0};
    nghttp2_nv nv[2];

    (void)bytes;
    (void)arg;
    if (!n && !call->finished) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == left && call->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        INVARIANT(nghttp2_submit_trailer(session, stream, nv, status_headers(call, nv, &message)) == 0);
        buf_fini(&message);
    }
    return (ssize_t)n;
}

int call_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_head, size_t len,
                   nghttp2_data_source *source, void *arg)
{
    struct grpc_call *call = source->ptr;
    struct server_conn *sc = arg;
    uint8_t *p = buf_reserve(sc->fill, GRPC_HTTP2_HEAD_BYTES + len);

    (void)session;
    (void)frame; /* never padded: nobody here asks for it */
    p = put_bytes(p, frame_head, GRPC_HTTP2_HEAD_BYTES);
    put_bytes(p, call->out.data + call->out.start, len);
    buf_commit(sc->fill, GRPC_HTTP2_HEAD_BYTES + len);
    output_drop(call, len);
    if (call->was_full && !call->finished && !grpc_call_is_full(call) && buf_len(&call->out) < WATCH_QUEUE_BYTES_MAX / 2) {
        call->was_full = false;
        call_also(call, &sc->writable);
        loop_task_queue(sc->server->options.loop, &sc->resume);
    }
    return 0;
}

static void submit_headers(struct grpc_call *call, bool trailers_only)
{
    nghttp2_nv nv[4] = {NV(":status", "200"), NV("content-type", "application/grpc")};
    nghttp2_data_provider source = {.source = {.ptr = call}, .read_callback = read_data};
    struct buf message = {0};
    size_t count = 2;

    if (trailers_only)
        count += status_headers(call, nv + 2, &message);
    /* Fails only for a stream that is closing already: then there is nobody to answer. */
    (void)nghttp2_submit_response(call->sc->session, call->stream, nv, count, trailers_only ? NULL : &source);
    call->responded = true;
    buf_fini(&message);
}

/* There is something new to send on this call. */
static void call_wake(struct grpc_call *call)
{
    if (!call->responded) {
        submit_headers(call, call->finished && !buf_len(&call->out));
    } else if (call->deferred) {
        call->deferred = false;
        (void)nghttp2_session_resume_data(call->sc->session, call->stream);
    }
    conn_flush_later(&call->sc->conn);
}

/* ---- ends ---- */

/* Answers go out as they come; else one goes out with its status. */
static bool answers_stream(const struct grpc_call *call)
{
    return call->method->client_streams || call->method->server_streams;
}

static void call_end(struct grpc_call *call, enum status st, const char *text)
{
    call->finished = true;
    call->status = st;
    call->text = text ? mem_text(text) : NULL;
    call_also(call, NULL);
    loop_timer_cancel(call->server->options.loop, &call->timer);
    if (st != ST_OK && !(call->method && answers_stream(call)))
        output_drop(call, buf_len(&call->out));
    call_wake(call);
}

void call_refuse(struct grpc_call *call, enum status st, const char *text)
{
    if (call->finished)
        return;
    call_end(call, st, text);
    tell_canceled(call);
}

void call_refuse_http(struct grpc_call *call, int status)
{
    nghttp2_nv not_grpc = NV(":status", "415"), not_post = NV(":status", "405");

    call->finished = call->responded = true;
    (void)nghttp2_submit_response(call->sc->session, call->stream, status == 415 ? &not_grpc : &not_post, 1, NULL);
    conn_flush_later(&call->sc->conn);
}

/* ---- for handlers ---- */

const struct grpc_method *grpc_call_method(const struct grpc_call *call)
{
    return call->method;
}

void grpc_call_set_data(struct grpc_call *call, void *data)
{
    call->data = data;
}

void *grpc_call_data(const struct grpc_call *call)
{
    return call->data;
}

struct slice grpc_call_metadata(const struct grpc_call *call, const char *name)
{
    static const char *const names[META_COUNT] = {
        [META_TOKEN] = "token",
        [META_AUTHORIZATION] = "authorization",
        [META_HASLEADER] = "hasleader",
        [META_CLIENT_VERSION] = "client-api-version",
    };

    for (int i = 0; i < META_COUNT; i++)
        if (call->meta[i] && strcmp(names[i], name) == 0) {
            nghttp2_vec bytes = nghttp2_rcbuf_get_buf(call->meta[i]);
            return slice_of(bytes.base, bytes.len);
        }
    return slice_of(NULL, 0);
}

int64_t grpc_call_deadline_ns(const struct grpc_call *call)
{
    return call->deadline_ns;
}

bool grpc_call_is_canceled(const struct grpc_call *call)
{
    return call->canceled;
}

bool grpc_call_is_full(const struct grpc_call *call)
{
    size_t unsent = buf_len(&call->out);

    if (!call->sc)
        return false;
    if (!answers_stream(call))
        return call->sc->output_bytes >= CONN_OUTPUT_BYTES_MAX;
    /* With nothing unsent of its own there would be nobody to wake it. */
    return unsent > WATCH_QUEUE_BYTES_MAX || (unsent && call->sc->output_bytes >= CONN_OUTPUT_BYTES_MAX);
}

void grpc_call_hold(struct grpc_call *call)
{
    INVARIANT(call->method->on_writable && !answers_stream(call));
    if (call->sc && !call->finished)
        call_also(call, &call->sc->held);
}

uint8_t *grpc_call_message(struct grpc_call *call, size_t len)
{
    uint8_t *p;

    INVARIANT(len <= UINT32_MAX);
    if (call->finished || !call->sc) {
        /* Nobody will read it; the handler may write it all the same. */
        if (!call->sc)
            buf_clear(&call->out);
        return buf_reserve(&call->out, len);
    }
    p = buf_reserve(&call->out, GRPC_FRAME_BYTES + len);
    p = put_be32(put_u8(p, 0), (uint32_t)len);
    buf_commit(&call->out, GRPC_FRAME_BYTES + len);
    call->sc->output_bytes += GRPC_FRAME_BYTES + len;
    /* A unary answer waits for its status and goes out with it. */
    if (answers_stream(call)) {
        call_wake(call);
        call->was_full |= grpc_call_is_full(call);
    }
    return p;
}

void grpc_call_take_message(struct grpc_call *call, struct buf *message)
{
    size_t len = buf_len(message) - GRPC_FRAME_BYTES;

    INVARIANT(len <= UINT32_MAX);
    if (!call->finished && call->sc) {
        put_be32(put_u8(message->data + message->start, 0), (uint32_t)len);
        call->sc->output_bytes += buf_len(message);
        if (buf_len(&call->out)) {
            buf_append_slice(&call->out, buf_slice(message));
        } else {
            buf_fini(&call->out);
            call->out = *message;
            *message = (struct buf){0};
        }
        if (answers_stream(call)) {
            call_wake(call);
            call->was_full |= grpc_call_is_full(call);
        }
    }
    buf_fini(message);
}

void grpc_call_finish(struct grpc_call *call, enum status st, const char *text)
{
    INVARIANT(call->with_handler);
    call->with_handler = false;
    if (!call->sc)
        call_free(call);
    else if (!call->finished)
        call_end(call, st, text);
}
