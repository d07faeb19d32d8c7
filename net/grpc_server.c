/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 streams to calls and back, over nghttp2: bytes in from a conn, bytes out when it asks. */
#include "net/grpc_server.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/conn.h"
#include "net/grpc_text.h"

#define STREAM_WINDOW_BYTES (1 << 20)
#define CONN_WINDOW_BYTES (16 << 20)
#define CONN_INPUT_BYTES_MAX (64u << 20) /* of unfinished requests */
#define PREFACE_NS (10 * NS_PER_S)       /* a client says something within it, or goes */

enum { META_TOKEN, META_AUTHORIZATION, META_HASLEADER, META_CLIENT_VERSION, META_COUNT };
static const char *const meta_names[META_COUNT] = {"token", "authorization", "hasleader", "client-api-version"};

struct server_conn {
    struct grpc_server *server;
    struct conn conn;
    nghttp2_session *session;
    size_t input_bytes; /* of messages that are not whole */
    unsigned errors;
    bool heard;
    struct loop_timer preface;
    TAILQ_HEAD(, grpc_call) calls;
    TAILQ_ENTRY(server_conn) link;
};

struct grpc_call {
    struct grpc_server *server;
    struct server_conn *sc; /* NULL: the stream is gone */
    int32_t stream;
    const struct grpc_method *method;
    bool is_post, is_grpc, started, half_closed;
    bool responded;  /* headers are submitted */
    bool deferred;   /* the data source sleeps */
    bool finished;   /* by its handler, or by us */
    bool with_owner; /* a handler has it and has not finished it */
    bool canceled;
    bool was_full;
    size_t header_bytes;
    struct buf in, out;
    char *meta[META_COUNT];
    int64_t deadline_ns;
    struct loop_timer timer;
    enum status status;
    char *text; /* NULL: the table's */
    void *data;
    TAILQ_ENTRY(grpc_call) link;
};

struct grpc_server {
    struct grpc_server_options options;
    TAILQ_HEAD(, server_conn) conns;
    unsigned conn_count;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct grpc_call *free_calls; /* by link.tqe_next */
    unsigned free_count;
};

/* ---- calls ---- */

static struct grpc_call *call_new(struct server_conn *sc, int32_t stream)
{
    struct grpc_server *s = sc->server;
    struct grpc_call *call = s->free_calls;
    struct buf in = {0}, out = {0};

    if (call) {
        s->free_calls = call->link.tqe_next;
        s->free_count--;
        in = call->in;
        out = call->out;
    } else {
        call = mem_alloc(sizeof *call);
    }
    *call = (struct grpc_call){
        .server = s, .sc = sc, .stream = stream, .deadline_ns = INT64_MAX, .in = in, .out = out};
    buf_clear(&call->in);
    buf_clear(&call->out);
    TAILQ_INSERT_TAIL(&sc->calls, call, link);
    return call;
}

/* Nobody knows it any more: not its stream, not its handler. */
static void call_free(struct grpc_call *call)
{
    struct grpc_server *s = call->server;

    for (int i = 0; i < META_COUNT; i++)
        free(call->meta[i]);
    free(call->text);
    loop_timer_cancel(s->options.loop, &call->timer);
    if (s->free_count >= 1024 || call->in.cap > 8192 || call->out.cap > 8192) {
        buf_fini(&call->in);
        buf_fini(&call->out);
        free(call);
        return;
    }
    call->link.tqe_next = s->free_calls;
    s->free_calls = call;
    s->free_count++;
}

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
    for (int i = 0; i < META_COUNT; i++)
        if (call->meta[i] && strcmp(meta_names[i], name) == 0)
            return slice_of_text(call->meta[i]);
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
    return buf_len(&call->out) > WATCH_QUEUE_BYTES_MAX;
}

/* ---- answers ---- */

#define NV(name, value)                                                                                               \
    {                                                                                                                  \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1,             \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                              \
    }

/* grpc-status and, for errors, grpc-message; returns how many. code and message hold the texts. */
static size_t status_headers(const struct grpc_call *call, nghttp2_nv *nv, char code[4], struct buf *message)
{
    int len = snprintf(code, 4, "%d", (int)status_grpc_code(call->status));

    nv[0] = (nghttp2_nv)NV("grpc-status", "");
    nv[0].value = (uint8_t *)code;
    nv[0].valuelen = (size_t)len;
    nv[0].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    if (call->status == ST_OK)
        return 1;
    grpc_message_encode(message, call->text ? call->text : status_text(call->status));
    nv[1] = (nghttp2_nv)NV("grpc-message", "");
    nv[1].value = message->data;
    nv[1].valuelen = buf_len(message);
    nv[1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    return 2;
}

static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct grpc_call *call = source->ptr;
    size_t n = buf_len(&call->out) < len ? buf_len(&call->out) : len;

    (void)arg;
    if (!n && !call->finished) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n) {
        memcpy(bytes, call->out.data + call->out.start, n);
        buf_consume(&call->out, n);
    }
    if (call->finished && !buf_len(&call->out)) {
        nghttp2_nv nv[2];
        struct buf message = {0};
        char code[4];
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, nv, status_headers(call, nv, code, &message));
        buf_fini(&message);
    }
    if (call->was_full && !call->finished && buf_len(&call->out) < WATCH_QUEUE_BYTES_MAX / 2) {
        call->was_full = false;
        if (call->method->on_writable)
            call->method->on_writable(call, call->sc->server->options.service_arg);
    }
    return (ssize_t)n;
}

static void submit_headers(struct grpc_call *call, bool trailers_only)
{
    nghttp2_nv nv[4] = {NV(":status", "200"), NV("content-type", "application/grpc")};
    nghttp2_data_provider source = {.source = {.ptr = call}, .read_callback = read_data};
    struct buf message = {0};
    char code[4];
    size_t count = 2;

    if (trailers_only)
        count += status_headers(call, nv + 2, code, &message);
    nghttp2_submit_response(call->sc->session, call->stream, nv, count, trailers_only ? NULL : &source);
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
        nghttp2_session_resume_data(call->sc->session, call->stream);
    }
    conn_flush_later(&call->sc->conn);
}

uint8_t *grpc_call_message(struct grpc_call *call, size_t len)
{
    uint8_t *p = buf_reserve(&call->out, GRPC_FRAME_BYTES + len);

    p[0] = 0;
    p[1] = (uint8_t)(len >> 24);
    p[2] = (uint8_t)(len >> 16);
    p[3] = (uint8_t)(len >> 8);
    p[4] = (uint8_t)len;
    buf_commit(&call->out, GRPC_FRAME_BYTES + len);
    if (!call->canceled && call->sc) {
        if (call->method->client_streams)
            call_wake(call);
        call->was_full |= grpc_call_is_full(call);
    }
    return p + GRPC_FRAME_BYTES;
}

static void call_end(struct grpc_call *call, enum status st, const char *text)
{
    call->finished = true;
    call->status = st;
    call->text = text ? mem_text(text) : NULL;
    if (st != ST_OK && !call->method->client_streams)
        buf_clear(&call->out);
    call_wake(call);
}

void grpc_call_finish(struct grpc_call *call, enum status st, const char *text)
{
    INVARIANT(call->with_owner);
    call->with_owner = false;
    if (!call->sc) {
        call_free(call);
        return;
    }
    if (!call->finished)
        call_end(call, st, text);
}

/* An answer of ours, before or instead of a handler. */
static void call_refuse(struct grpc_call *call, enum status st, const char *text)
{
    static const struct grpc_method nothing = {.path = ""};

    if (!call->method)
        call->method = &nothing;
    if (call->finished)
        return;
    if (call->with_owner && !call->canceled) {
        call->canceled = true;
        if (call->method->on_cancel)
            call->method->on_cancel(call, call->sc->server->options.service_arg);
    }
    /* The handler may have finished it in on_cancel. */
    if (!call->finished)
        call_end(call, st, text);
}

static void on_deadline(void *arg)
{
    call_refuse(arg, ST_DEADLINE, NULL);
}

/* ---- requests ---- */

static void give_message(struct grpc_call *call, struct slice message)
{
    call->with_owner |= !call->started;
    call->started = true;
    call->method->on_message(call, message, call->sc->server->options.service_arg);
}

/* Whole messages of a streaming call, as they come; false if the call was refused. */
static void take_stream(struct grpc_call *call)
{
    size_t max = call->sc->server->options.message_bytes_max;
    struct slice message;
    uint32_t len = 0;
    enum status st;

    while (call->sc && !call->finished &&
           (st = grpc_frame_next(buf_slice(&call->in), max, &message, &len)) != ST_NOT_FOUND) {
        if (st != ST_OK) {
            call_refuse(call, st, NULL);
            return;
        }
        give_message(call, message);
        if (buf_len(&call->in) < GRPC_FRAME_BYTES + len)
            return;
        buf_consume(&call->in, GRPC_FRAME_BYTES + len);
    }
}

/* The length is checked as soon as it is there, before room for the message is made. */
static void check_length(struct grpc_call *call)
{
    size_t max = call->sc->server->options.message_bytes_max;
    struct slice message;
    uint32_t len = 0;
    enum status st = grpc_frame_next(buf_slice(&call->in), max, &message, &len);
    char text[80];

    if (st == ST_MESSAGE_TOO_LARGE) {
        snprintf(text, sizeof text, "%s (%u vs. %zu)", status_text(st), len, max);
        call_refuse(call, st, text);
    } else if (st == ST_UNKNOWN_METHOD) {
        call_refuse(call, st, "grpc: Decompressor is not installed for grpc-encoding");
    }
}

static void take_unary(struct grpc_call *call)
{
    size_t max = call->sc->server->options.message_bytes_max;
    struct slice message;
    uint32_t len = 0;
    enum status st = grpc_frame_next(buf_slice(&call->in), max, &message, &len);

    if (st != ST_OK || buf_len(&call->in) != GRPC_FRAME_BYTES + len)
        call_refuse(call, ST_BAD_MESSAGE, "grpc: one request message was expected");
    else
        give_message(call, message);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                         void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    struct server_conn *sc = arg;

    (void)flags;
    if (!call || call->finished || !call->method)
        return 0;
    sc->input_bytes -= buf_len(&call->in);
    buf_append(&call->in, data, len);
    if (sc->input_bytes + buf_len(&call->in) > CONN_INPUT_BYTES_MAX) {
        call_refuse(call, ST_LIMIT, "too much is under way on this connection");
        buf_fini(&call->in);
    } else if (call->method->client_streams) {
        take_stream(call);
    } else {
        check_length(call);
    }
    sc->input_bytes += buf_len(&call->in);
    return 0;
}

/* All headers are there: is it a call of ours? */
static void on_request_headers(struct grpc_call *call)
{
    struct grpc_server *s = call->sc->server;

    if (!call->is_post || !call->is_grpc) {
        nghttp2_nv refused[] = {NV(":status", "415")};
        nghttp2_nv wrong[] = {NV(":status", "405")};
        call->finished = call->responded = true;
        nghttp2_submit_response(call->sc->session, call->stream, call->is_post ? refused : wrong, 1, NULL);
        conn_flush_later(&call->sc->conn);
        return;
    }
    if (!call->method) {
        call_refuse(call, ST_UNKNOWN_METHOD, NULL);
        return;
    }
    if (call->deadline_ns != INT64_MAX) {
        loop_timer_init(&call->timer, on_deadline, call);
        loop_timer_set(s->options.loop, &call->timer, call->deadline_ns);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_call *call;
    struct server_conn *sc = arg;

    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        on_request_headers(call);
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || call->half_closed)
        return 0;
    call->half_closed = true;
    if (call->finished)
        return 0;
    if (!call->method->client_streams) {
        sc->input_bytes -= buf_len(&call->in);
        take_unary(call);
        buf_clear(&call->in);
    } else if (!call->started) {
        call_refuse(call, ST_OK, NULL); /* said nothing and went: nothing to answer */
    } else if (call->method->on_half_close) {
        call->method->on_half_close(call, sc->server->options.service_arg);
    }
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call_new(arg, frame->hd.stream_id));
    return 0;
}

static const struct grpc_method *find_method(const struct grpc_server *s, const uint8_t *path, size_t len)
{
    for (unsigned i = 0; i < s->options.method_count; i++)
        if (strlen(s->options.methods[i].path) == len && memcmp(s->options.methods[i].path, path, len) == 0)
            return &s->options.methods[i];
    return NULL;
}

static bool is_text(const uint8_t *data, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(data, text, len) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct server_conn *sc = arg;

    (void)flags;
    if (!call || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call->header_bytes += name_len + value_len + 32; /* RFC 9113 6.5.2 */
    if (call->header_bytes > CONN_HEADER_BYTES_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    if (is_text(name, name_len, ":path")) {
        call->method = find_method(sc->server, value, value_len);
    } else if (is_text(name, name_len, ":method")) {
        call->is_post = is_text(value, value_len, "POST");
    } else if (is_text(name, name_len, "content-type")) {
        call->is_grpc = value_len >= 16 && memcmp(value, "application/grpc", 16) == 0;
    } else if (is_text(name, name_len, "grpc-timeout")) {
        int64_t ns = grpc_timeout_parse(slice_of(value, value_len));
        if (ns >= 0)
            call->deadline_ns = loop_now_ns(sc->server->options.loop) + ns;
    } else {
        for (int i = 0; i < META_COUNT; i++)
            if (!call->meta[i] && is_text(name, name_len, meta_names[i])) {
                call->meta[i] = mem_zero(value_len + 1);
                memcpy(call->meta[i], value, value_len);
            }
    }
    return 0;
}

/* The stream is no more: tell the handler, which may still finish later. */
static void call_orphan(struct grpc_call *call)
{
    struct server_conn *sc = call->sc;

    TAILQ_REMOVE(&sc->calls, call, link);
    if (!call->method || !call->method->client_streams || !call->started)
        sc->input_bytes -= call->half_closed ? 0 : buf_len(&call->in);
    if (call->with_owner && !call->canceled) {
        call->canceled = true;
        call->finished = true;
        if (call->method->on_cancel)
            call->method->on_cancel(call, sc->server->options.service_arg);
    }
    call->sc = NULL;
    if (!call->with_owner)
        call_free(call);
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);

    (void)code;
    (void)arg;
    if (!call)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream, NULL);
    call_orphan(call);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *arg)
{
    struct server_conn *sc = arg;

    (void)session;
    (void)frame;
    (void)code;
    if (++sc->errors > CONN_ERRORS_MAX)
        conn_close_later(&sc->conn, "too many protocol errors");
    return 0;
}

/* ---- connections ---- */

static void on_conn_data(void *arg, struct slice bytes)
{
    static const char http1[] = "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    struct server_conn *sc = arg;
    ssize_t n;

    if (!sc->heard) {
        sc->heard = true;
        loop_timer_cancel(sc->server->options.loop, &sc->preface);
        if (memcmp(bytes.data, "PRI * HTTP/2.0", bytes.len < 14 ? bytes.len : 14) != 0) {
            buf_append_text(&sc->conn.out, http1);
            conn_close_later(&sc->conn, "not HTTP/2");
            return;
        }
    }
    n = nghttp2_session_mem_recv(sc->session, bytes.data, bytes.len);
    if (n < 0)
        conn_close_later(&sc->conn, nghttp2_strerror((int)n));
    else
        conn_flush_later(&sc->conn);
}

static void on_conn_fill(void *arg, struct buf *out)
{
    struct server_conn *sc = arg;
    const uint8_t *bytes;
    ssize_t n = 1;

    if (sc->conn.closing && !sc->heard)
        return;
    while (buf_len(out) < CONN_OUTPUT_BYTES_MAX && (n = nghttp2_session_mem_send(sc->session, &bytes)) > 0)
        buf_append(out, bytes, (size_t)n);
    if (n < 0 || (!nghttp2_session_want_read(sc->session) && !nghttp2_session_want_write(sc->session)))
        conn_close_later(&sc->conn, "session ended");
}

static void server_conn_free(struct server_conn *sc)
{
    struct grpc_server *s = sc->server;

    while (!TAILQ_EMPTY(&sc->calls))
        call_orphan(TAILQ_FIRST(&sc->calls));
    loop_timer_cancel(s->options.loop, &sc->preface);
    nghttp2_session_del(sc->session);
    conn_fini(&sc->conn);
    TAILQ_REMOVE(&s->conns, sc, link);
    s->conn_count--;
    free(sc);
}

static void on_conn_closed(void *arg, const char *why)
{
    (void)why;
    server_conn_free(arg);
}

static void on_no_preface(void *arg)
{
    struct server_conn *sc = arg;

    conn_close_later(&sc->conn, "said nothing");
}

void grpc_server_accept(struct grpc_server *s, int fd)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, CONN_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, CONN_HEADER_BYTES_MAX},
    };
    struct server_conn *sc;

    if (s->conn_count >= CONNS_MAX) {
        close(fd);
        return;
    }
    sc = mem_zero(sizeof *sc);
    sc->server = s;
    TAILQ_INIT(&sc->calls);
    TAILQ_INSERT_TAIL(&s->conns, sc, link);
    s->conn_count++;
    INVARIANT(nghttp2_session_server_new2(&sc->session, s->callbacks, sc, s->option) == 0);
    nghttp2_submit_settings(sc->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    nghttp2_session_set_local_window_size(sc->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES);
    sc->conn = (struct conn){.data_fn = on_conn_data, .fill_fn = on_conn_fill, .closed_fn = on_conn_closed, .arg = sc};
    conn_start(&sc->conn, s->options.loop, fd, false);
    loop_timer_init(&sc->preface, on_no_preface, sc);
    loop_timer_set(s->options.loop, &sc->preface, loop_now_ns(s->options.loop) + PREFACE_NS);
    conn_flush_later(&sc->conn);
}

/* ---- the server ---- */

struct grpc_server *grpc_server_new(const struct grpc_server_options *options)
{
    struct grpc_server *s = mem_zero(sizeof *s);

    s->options = *options;
    TAILQ_INIT(&s->conns);
    INVARIANT(nghttp2_session_callbacks_new(&s->callbacks) == 0 && nghttp2_option_new(&s->option) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(s->callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(s->callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(s->callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(s->callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(s->callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(s->callbacks, on_invalid_frame);
    nghttp2_option_set_max_outbound_ack(s->option, 64);
    nghttp2_option_set_no_closed_streams(s->option, 1);
    /* etcd's older clients send an :authority with a scheme in it, which the rules of HTTP forbid. What matters of a
     * request's headers is judged in on_request_headers. */
    nghttp2_option_set_no_http_messaging(s->option, 1);
    return s;
}

void grpc_server_drain(struct grpc_server *s)
{
    struct server_conn *sc;

    TAILQ_FOREACH(sc, &s->conns, link)
    {
        nghttp2_session_terminate_session(sc->session, NGHTTP2_NO_ERROR);
        conn_flush_later(&sc->conn);
    }
}

void grpc_server_free(struct grpc_server *s)
{
    if (!s)
        return;
    while (!TAILQ_EMPTY(&s->conns))
        server_conn_free(TAILQ_FIRST(&s->conns));
    while (s->free_calls) {
        struct grpc_call *call = s->free_calls;
        s->free_calls = call->link.tqe_next;
        buf_fini(&call->in);
        buf_fini(&call->out);
        free(call);
    }
    nghttp2_session_callbacks_del(s->callbacks);
    nghttp2_option_del(s->option);
    free(s);
}

unsigned grpc_server_conns(const struct grpc_server *s)
{
    return s->conn_count;
}
