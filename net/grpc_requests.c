/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: headers to calls, data to messages, messages to handlers. nghttp2 calls all of this. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_server_internal.h"
#include "net/grpc_text.h"

#define PINGS_AFTER_ANSWER_NS (2 * NS_PER_S) /* are no offence */

/* ---- methods ---- */

/* FNV-1a over the end of the path: all methods begin alike. */
static unsigned path_hash(const uint8_t *path, size_t len)
{
    uint32_t hash = 2166136261u ^ (uint32_t)len;

    for (size_t i = len > 16 ? len - 16 : 0; i < len; i++)
        hash = (hash ^ path[i]) * 16777619u;
    return hash ^ hash >> 15;
}

void requests_make_table(struct grpc_server *s)
{
    unsigned size = 16;

    while (size < s->options.method_count * 4)
        size *= 2;
    s->slots = mem_zero(size * sizeof *s->slots);
    s->slot_mask = size - 1;
    for (unsigned i = 0; i < s->options.method_count; i++) {
        const struct grpc_method *m = &s->options.methods[i];
        size_t len = strlen(m->path);
        unsigned at = path_hash((const uint8_t *)m->path, len) & s->slot_mask;
        while (s->slots[at].method)
            at = (at + 1) & s->slot_mask;
        s->slots[at] = (struct method_slot){.method = m, .path_len = len};
    }
}

static const struct grpc_method *find_method(const struct grpc_server *s, nghttp2_vec path)
{
    unsigned at = path_hash(path.base, path.len) & s->slot_mask;

    for (; s->slots[at].method; at = (at + 1) & s->slot_mask)
        if (s->slots[at].path_len == path.len && memcmp(s->slots[at].method->path, path.base, path.len) == 0)
            return s->slots[at].method;
    return NULL;
}

/* ---- messages to handlers ---- */

static const char not_one_message[] = "grpc: a request of one message was expected";

static void give_message(struct grpc_call *call, struct slice message)
{
    call->with_handler |= !call->started;
    call->started = true;
    call->method->on_message(call, message, call->server->options.service_arg);
}

/* No room for a message is made before its length is known to be allowed. */
static void refuse_frame(struct grpc_call *call, enum status st, uint32_t len)
{
    char text[80];

    if (st == ST_MESSAGE_TOO_LARGE) {
        snprintf(text, sizeof text, "%s (%u vs. %zu)", status_text(st), len, call->server->options.message_bytes_max);
        call_refuse(call, st, text);
    } else {
        call_refuse(call, st, "grpc: compressed messages are not accepted");
    }
}

/* Whole messages of a streaming call, as they come and as there is room for answers. */
static void take_stream(struct grpc_call *call)
{
    struct slice message;
    uint32_t len = 0;
    enum status st;

    /* Also a stream's messages wait while its answers are not taken: each may be answered with more than it has. */
    while (call->sc && !call->finished && !call->was_full) {
        st = grpc_frame_next(buf_slice(&call->in), call->server->options.message_bytes_max, &message, &len);
        if (st == ST_NOT_FOUND)
            return;
        if (st != ST_OK) {
            refuse_frame(call, st, len);
            return;
        }
        give_message(call, message);
        call_input_drop(call, GRPC_FRAME_BYTES + len);
    }
}

/* The request of a unary call is whole, or never will be. */
static void take_unary(struct grpc_call *call)
{
    struct slice message;
    uint32_t len = 0;
    enum status st = grpc_frame_next(buf_slice(&call->in), call->server->options.message_bytes_max, &message, &len);

    if (st != ST_OK || buf_len(&call->in) != GRPC_FRAME_BYTES + len)
        call_refuse(call, ST_BAD_MESSAGE, not_one_message);
    else
        give_message(call, message);
    call_input_drop(call, buf_len(&call->in));
}

/*
 * Whoever does not take answers may not ask more: the request waits until there is room. Not reading from the socket
 * would not do, as the window updates that make the room come through it.
 */
static void take_or_hold(struct grpc_call *call)
{
    struct server_conn *sc = call->sc;

    if (sc->output_bytes >= CONN_OUTPUT_BYTES_MAX || !TAILQ_EMPTY(&sc->held))
        call_also(call, &sc->held);
    else
        take_unary(call);
}

/* A streaming call, all of whose messages the client has sent: have they been taken, too? */
static void end_of_stream(struct grpc_call *call)
{
    if (call->finished || call->was_full)
        return;
    if (buf_len(&call->in))
        call_refuse(call, ST_BAD_MESSAGE, "grpc: the stream ended within a message");
    else if (!call->started)
        call_refuse(call, ST_OK, NULL); /* said nothing and went: nothing to answer */
    else if (call->method->on_half_close)
        call->method->on_half_close(call, call->server->options.service_arg);
}

static void tell_writable(struct grpc_call *call)
{
    if (call->with_handler && call->method->on_writable)
        call->method->on_writable(call, call->server->options.service_arg);
}

void requests_resume(void *arg)
{
    struct server_conn *sc = arg;
    struct grpc_call *call;

    while ((call = TAILQ_FIRST(&sc->writable))) {
        call_also(call, NULL);
        tell_writable(call);
        take_stream(call);
        if (call->half_closed)
            end_of_stream(call);
        if (call->finished)
            call_input_drop(call, buf_len(&call->in));
    }
    while (sc->output_bytes < CONN_OUTPUT_BYTES_MAX && (call = TAILQ_FIRST(&sc->held))) {
        call_also(call, NULL);
        if (call->started)
            tell_writable(call);
        else
            take_unary(call);
    }
}

/* A piece of a unary request: it is kept until the stream ends, if its length is allowed and it keeps to it. */
static void judge_unary(struct grpc_call *call, size_t new_len)
{
    size_t max = call->server->options.message_bytes_max;
    struct slice message;
    uint32_t len = 0;
    enum status st = ST_NOT_FOUND;

    /* The length stands in the first bytes: once is enough. */
    if (buf_len(&call->in) - new_len < GRPC_FRAME_BYTES)
        st = grpc_frame_next(buf_slice(&call->in), max, &message, &len);
    if (st != ST_OK && st != ST_NOT_FOUND)
        refuse_frame(call, st, len);
    else if (buf_len(&call->in) > GRPC_FRAME_BYTES + max)
        call_refuse(call, ST_BAD_MESSAGE, not_one_message);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                         void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    struct server_conn *sc = arg;

    (void)flags;
    if (!call || call->finished || !call->headers_done)
        return 0;
    call_input_grow(call, data, len);
    if (sc->input_bytes > CONN_INPUT_BYTES_MAX || sc->server->input_bytes > SERVER_INPUT_BYTES_MAX)
        call_refuse(call, ST_LIMIT, "grpc: too much of unfinished requests");
    else if (call->method->client_streams)
        take_stream(call);
    else
        judge_unary(call, len);
    if (call->finished)
        call_input_drop(call, buf_len(&call->in));
    return 0;
}

/* The client has said all it will. */
static void on_end_stream(struct grpc_call *call)
{
    if (call->half_closed || !call->headers_done)
        return;
    call->half_closed = true;
    if (call->finished)
        return;
    if (call->method->client_streams)
        end_of_stream(call);
    else
        take_or_hold(call);
}

/* ---- headers ---- */

static void on_deadline(void *arg)
{
    call_refuse(arg, ST_DEADLINE, NULL);
}

/* In the words of gRPC's own servers. */
static void refuse_unknown(struct grpc_call *call)
{
    nghttp2_vec path = {.base = NULL, .len = 0};
    size_t slash;
    char text[300];

    if (call->meta[META_UNKNOWN_PATH])
        path = nghttp2_rcbuf_get_buf(call->meta[META_UNKNOWN_PATH]);
    for (slash = path.len; slash > 1 && path.base[slash - 1] != '/';)
        slash--;
    if (slash > 1)
        snprintf(text, sizeof text, "unknown method %.*s for service %.*s", (int)(path.len - slash < 100 ? path.len - slash : 100),
                 (const char *)path.base + slash, (int)(slash - 2 < 100 ? slash - 2 : 100), (const char *)path.base + 1);
    call_refuse(call, ST_UNKNOWN_METHOD, slash > 1 ? text : NULL);
}

/* All headers are there: is it a call of ours? */
static void on_request_headers(struct grpc_call *call)
{
    struct loop *l = call->server->options.loop;

    call->headers_done = true;
    if (!call->is_post) {
        call_refuse_http(call, 405);
    } else if (!call->is_grpc) {
        call_refuse_http(call, 415);
    } else if (!call->method) {
        refuse_unknown(call);
    } else if (call->deadline_ns != INT64_MAX) {
        loop_timer_init(&call->timer, on_deadline, call);
        loop_timer_set(l, &call->timer, call->deadline_ns);
    }
    if (!call->finished)
        server_conn_watch_patience(call->sc);
}

static bool is_text(nghttp2_vec bytes, const char *text, size_t len)
{
    return bytes.len == len && memcmp(bytes.base, text, len) == 0;
}
#define IS(bytes, literal) is_text(bytes, literal, sizeof(literal) - 1)

static void keep(struct grpc_call *call, int which, nghttp2_rcbuf *value)
{
    if (call->meta[which])
        return;
    nghttp2_rcbuf_incref(value);
    call->meta[which] = value;
}

/* "application/grpc", perhaps with "+proto" or ";charset" behind it; application/grpc-web is another protocol. */
static bool is_grpc_type(nghttp2_vec value)
{
    static const char want[] = "application/grpc";
    size_t len = sizeof want - 1;

    return value.len >= len && memcmp(value.base, want, len) == 0 &&
           (value.len == len || value.base[len] == '+' || value.base[len] == ';');
}

static void take_timeout(struct grpc_call *call, nghttp2_vec value)
{
    int64_t ns = grpc_timeout_parse(slice_of(value.base, value.len));

    if (ns >= 0)
        call->deadline_ns = call->born_ns + ns;
}

/* One header of a request. By length first: most are none of ours. */
static void take_header(struct grpc_call *call, nghttp2_vec name, nghttp2_vec value, nghttp2_rcbuf *value_buf)
{
    switch (name.len) {
    case 5:
        if (IS(name, ":path")) {
            call->method = find_method(call->server, value);
            if (!call->method)
                keep(call, META_UNKNOWN_PATH, value_buf);
        } else if (IS(name, "token")) {
            keep(call, META_TOKEN, value_buf);
        }
        break;
    case 7:
        if (IS(name, ":method"))
            call->is_post = IS(value, "POST");
        break;
    case 9:
        if (IS(name, "hasleader"))
            keep(call, META_HASLEADER, value_buf);
        break;
    case 12:
        if (IS(name, "content-type"))
            call->is_grpc = is_grpc_type(value);
        else if (IS(name, "grpc-timeout"))
            take_timeout(call, value);
        break;
    case 13:
        if (IS(name, "authorization"))
            keep(call, META_AUTHORIZATION, value_buf);
        break;
    case 18:
        if (IS(name, "client-api-version"))
            keep(call, META_CLIENT_VERSION, value_buf);
        break;
    default:
        break;
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                     uint8_t flags, void *arg)
{
    struct grpc_call *call;
    nghttp2_vec name_bytes = nghttp2_rcbuf_get_buf(name), value_bytes = nghttp2_rcbuf_get_buf(value);

    (void)flags;
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call)
        return 0;
    call->header_bytes += name_bytes.len + value_bytes.len + 32; /* as RFC 9113 6.5.2 counts */
    if (call->header_bytes > CONN_HEADER_BYTES_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    take_header(call, name_bytes, value_bytes, value);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call = call_new(arg, frame->hd.stream_id);
    if (nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call) != 0)
        call_orphan(call);
    return 0;
}

/* ---- frames ---- */

static void on_ping(struct server_conn *sc)
{
    /* Clients measure the round trip while data flows, of which a lot may still be under way; without it, pings are only a burden.
     * gRPC's clients know the word. */
    if (loop_now_ns(sc->server->options.loop) - sc->sent_at_ns > PINGS_AFTER_ANSWER_NS)
        server_conn_offence(sc, "too_many_pings");
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct server_conn *sc = arg;
    struct grpc_call *call;

    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            return 0;
        if (sc->settled)
            server_conn_offence(sc, "too many settings");
        server_conn_settled(sc);
        return 0;
    case NGHTTP2_PING:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            on_ping(sc);
        return 0;
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        break;
    default:
        return 0;
    }
    if (frame->hd.type == NGHTTP2_DATA && !frame->hd.length && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        server_conn_offence(sc, "too many empty frames");
    /* RFC 9113 8.1: after the request's own headers there are only trailers, at its end. */
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat != NGHTTP2_HCAT_REQUEST &&
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        server_conn_offence(sc, "too many headers");
    call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        on_request_headers(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        on_end_stream(call);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct server_conn *sc = arg;
    struct grpc_call *call;

    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
        server_conn_offence(sc, "too many stream errors"); /* the client made us (CVE-2025-8671) */
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
        sc->sent_at_ns = loop_now_ns(sc->server->options.loop);
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    /* RFC 9113 8.1: a client that has more to say about an answered request is told to stop, without an error. */
    call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call && !call->half_closed)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);

    (void)code;
    (void)arg;
    if (!call)
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, stream, NULL);
    call_orphan(call);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *arg)
{
    (void)session;
    (void)frame;
    (void)code;
    server_conn_offence(arg, "too many invalid frames");
    return 0;
}

void requests_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, call_send_data);
}
