/* SPDX-License-Identifier: Apache-2.0 */
/* A channel: one HTTP/2 connection at a time, and the requests on it. */
#include "net/grpc_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/conn.h"
#include "net/grpc_text.h"
#include "net/socket.h"

#define STREAM_WINDOW_BYTES (4 << 20)
#define CONN_WINDOW_BYTES (32 << 20)
#define REDIAL_FIRST_NS (20 * NS_PER_MS)
#define REDIAL_MAX_NS (1000 * NS_PER_MS)

struct grpc_request {
    struct grpc_channel *channel;
    char *path;
    bool is_stream;
    int32_t stream; /* -1: waits for a connection */
    struct buf out; /* frames to send */
    struct buf in;
    bool deferred;
    bool got_message;
    struct buf message; /* of a unary answer */
    int http_status;
    int grpc_code; /* -1: none arrived */
    struct buf text;
    int64_t deadline_ns;
    struct loop_timer timer;
    grpc_message_fn message_fn;
    grpc_done_fn done_fn;
    void *arg;
    bool ended; /* done_fn is due: the result stands in status */
    enum status status;
    TAILQ_ENTRY(grpc_request) link;
};
TAILQ_HEAD(request_list, grpc_request);

struct grpc_channel {
    struct grpc_channel_options options;
    struct url *endpoints;
    char authority[300];
    unsigned at;      /* the endpoint that is used or tried */
    unsigned failed;  /* attempts in a row that led nowhere */
    struct conn conn;
    bool conn_open, connected;
    nghttp2_session *session;
    nghttp2_session_callbacks *callbacks;
    struct loop_timer timer;     /* the next attempt, or the end of this one */
    struct loop_timer keepalive;
    bool pinged;                 /* and nothing was heard since */
    struct request_list active;  /* waiting, or on the connection */
    struct request_list ended;   /* done_fn is due */
    struct loop_task deliver;
};

/* ---- ends ---- */

static void request_free(struct grpc_request *r)
{
    loop_timer_cancel(r->channel->options.loop, &r->timer);
    buf_fini(&r->out);
    buf_fini(&r->in);
    buf_fini(&r->message);
    buf_fini(&r->text);
    free(r->path);
    free(r);
}

/* Its stream, if there is one, knows it no more. */
static void request_unlink_stream(struct grpc_request *r)
{
    if (r->stream >= 0 && r->channel->session)
        nghttp2_session_set_stream_user_data(r->channel->session, r->stream, NULL);
    r->stream = -1;
}

/* done_fn is called at the end of the round, so never from within a call of the owner. */
static void request_end(struct grpc_request *r, enum status st)
{
    struct grpc_channel *c = r->channel;

    if (r->ended)
        return;
    r->ended = true;
    r->status = st;
    request_unlink_stream(r);
    loop_timer_cancel(c->options.loop, &r->timer);
    TAILQ_REMOVE(&c->active, r, link);
    TAILQ_INSERT_TAIL(&c->ended, r, link);
    loop_task_queue(c->options.loop, &c->deliver);
}

static void on_deliver(void *arg)
{
    struct grpc_channel *c = arg;
    struct grpc_request *r;

    while ((r = TAILQ_FIRST(&c->ended))) {
        TAILQ_REMOVE(&c->ended, r, link);
        r->done_fn(r->arg, r->status, r->status == ST_OK ? buf_slice(&r->message) : slice_of(NULL, 0),
                   buf_slice(&r->text));
        request_free(r);
    }
}

static void reset_stream(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;

    if (r->stream < 0 || !c->session)
        return;
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_CANCEL);
    conn_flush_later(&c->conn);
}

void grpc_cancel(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;

    if (r->ended) {
        TAILQ_REMOVE(&c->ended, r, link);
    } else {
        reset_stream(r);
        request_unlink_stream(r);
        TAILQ_REMOVE(&c->active, r, link);
    }
    request_free(r);
}

static void on_deadline(void *arg)
{
    struct grpc_request *r = arg;

    /* Never sent: nobody was there to send it to. */
    if (r->stream < 0) {
        request_end(r, ST_UNREACHABLE);
        return;
    }
    reset_stream(r);
    request_end(r, ST_DEADLINE);
}

/* ---- requests on the connection ---- */

static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, stream);
    size_t n;

    (void)source;
    (void)arg;
    if (!r) { /* canceled: the reset is on its way */
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    n = buf_len(&r->out) < len ? buf_len(&r->out) : len;
    if (!n && r->is_stream) {
        r->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n) {
        memcpy(bytes, r->out.data + r->out.start, n);
        buf_consume(&r->out, n);
    }
    if (!r->is_stream && !buf_len(&r->out))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static void request_submit(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;
    nghttp2_data_provider source = {.read_callback = read_data};
    char timeout[16];
    nghttp2_nv nv[7] = {header(":method", "POST"),
                        header(":scheme", "http"),
                        header(":path", r->path),
                        header(":authority", c->authority),
                        header("content-type", "application/grpc"),
                        header("te", "trailers")};
    size_t count = 6;

    if (r->deadline_ns != INT64_MAX) {
        grpc_timeout_format(r->deadline_ns - loop_now_ns(c->options.loop), timeout);
        nv[count++] = header("grpc-timeout", timeout);
    }
    r->stream = nghttp2_submit_request(c->session, NULL, nv, count, &source, r);
    if (r->stream < 0)
        request_end(r, ST_UNREACHABLE);
    conn_flush_later(&c->conn);
}

static struct grpc_request *request_new(struct grpc_channel *c, const char *path, int64_t deadline_ns,
                                        grpc_done_fn done_fn, void *arg)
{
    struct grpc_request *r = mem_zero(sizeof *r);

    r->channel = c;
    r->path = mem_text(path);
    r->stream = -1;
    r->grpc_code = -1;
    r->deadline_ns = deadline_ns;
    r->done_fn = done_fn;
    r->arg = arg;
    loop_timer_init(&r->timer, on_deadline, r);
    if (deadline_ns != INT64_MAX)
        loop_timer_set(c->options.loop, &r->timer, deadline_ns);
    TAILQ_INSERT_TAIL(&c->active, r, link);
    return r;
}

static void append_frame(struct buf *out, struct slice message)
{
    uint8_t *p = buf_reserve(out, GRPC_FRAME_BYTES + message.len);

    p[0] = 0;
    p[1] = (uint8_t)(message.len >> 24);
    p[2] = (uint8_t)(message.len >> 16);
    p[3] = (uint8_t)(message.len >> 8);
    p[4] = (uint8_t)message.len;
    if (message.len)
        memcpy(p + GRPC_FRAME_BYTES, message.data, message.len);
    buf_commit(out, GRPC_FRAME_BYTES + message.len);
}

struct grpc_request *grpc_unary(struct grpc_channel *c, const char *path, struct slice message, int64_t deadline_ns,
                                grpc_done_fn done_fn, void *arg)
{
    struct grpc_request *r = request_new(c, path, deadline_ns, done_fn, arg);

    append_frame(&r->out, message);
    if (c->connected)
        request_submit(r);
    return r;
}

struct grpc_request *grpc_stream_open(struct grpc_channel *c, const char *path, grpc_message_fn message_fn,
                                      grpc_done_fn done_fn, void *arg)
{
    struct grpc_request *r = request_new(c, path, INT64_MAX, done_fn, arg);

    r->is_stream = true;
    r->message_fn = message_fn;
    if (c->connected)
        request_submit(r);
    return r;
}

void grpc_stream_send(struct grpc_request *r, struct slice message)
{
    struct grpc_channel *c = r->channel;

    if (r->ended)
        return;
    append_frame(&r->out, message);
    if (r->deferred && r->stream >= 0) {
        r->deferred = false;
        nghttp2_session_resume_data(c->session, r->stream);
    }
    conn_flush_later(&c->conn);
}

/* ---- answers ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    char number[16];

    (void)flags;
    (void)arg;
    if (!r || value_len > CONN_HEADER_BYTES_MAX)
        return 0;
    snprintf(number, sizeof number, "%.*s", (int)(value_len < 15 ? value_len : 15), (const char *)value);
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        r->http_status = atoi(number);
    } else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        r->grpc_code = atoi(number);
    } else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) {
        buf_clear(&r->text);
        grpc_message_decode(&r->text, slice_of(value, value_len));
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                         void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, stream);
    struct slice message;
    uint32_t frame_len = 0;
    enum status st;

    (void)flags;
    (void)arg;
    if (!r)
        return 0;
    buf_append(&r->in, data, len);
    while ((st = grpc_frame_next(buf_slice(&r->in), r->channel->options.message_bytes_max, &message, &frame_len)) ==
           ST_OK) {
        if (r->is_stream) {
            r->message_fn(r->arg, message);
            /* Its owner may have canceled it. */
            r = nghttp2_session_get_stream_user_data(session, stream);
            if (!r)
                return 0;
        } else if (!r->got_message) {
            r->got_message = true;
            buf_append_slice(&r->message, message);
        }
        buf_consume(&r->in, GRPC_FRAME_BYTES + frame_len);
    }
    if (st != ST_NOT_FOUND) {
        reset_stream(r);
        request_end(r, st == ST_MESSAGE_TOO_LARGE ? st : ST_BAD_MESSAGE);
    }
    return 0;
}

/* What gRPC says a bare HTTP status means (doc/http-grpc-status-mapping.md). */
static enum status status_of_http(int status)
{
    switch (status) {
    case 401:
        return ST_BAD_AUTH_TOKEN;
    case 403:
        return ST_PERMISSION_DENIED;
    case 404:
        return ST_UNKNOWN_METHOD;
    case 429:
    case 502:
    case 503:
    case 504:
        return ST_UNREACHABLE;
    default:
        return ST_UNKNOWN_ERROR;
    }
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, stream);
    enum status st;

    (void)arg;
    if (!r)
        return 0;
    if (r->grpc_code >= 0)
        st = status_of_grpc(r->grpc_code, (const char *)r->text.data + r->text.start, buf_len(&r->text));
    else if (code == NGHTTP2_REFUSED_STREAM || code != NGHTTP2_NO_ERROR)
        st = ST_UNREACHABLE;
    else
        st = status_of_http(r->http_status);
    if (st == ST_OK && !r->is_stream && !r->got_message)
        st = ST_BAD_MESSAGE;
    request_end(r, st);
    return 0;
}

/* ---- the connection ---- */

static void dial(struct grpc_channel *c);

static void dial_later(struct grpc_channel *c)
{
    int64_t pause = REDIAL_FIRST_NS << (c->failed / c->options.endpoint_count < 6 ?
                                            c->failed / c->options.endpoint_count :
                                            6);

    if (pause > REDIAL_MAX_NS)
        pause = REDIAL_MAX_NS;
    /* The next endpoint at once; after all of them, a pause. */
    if (c->failed % c->options.endpoint_count)
        pause = 0;
    loop_timer_set(c->options.loop, &c->timer, loop_now_ns(c->options.loop) + pause);
}

static void connection_lost(struct grpc_channel *c)
{
    struct grpc_request *r = TAILQ_FIRST(&c->active), *next;
    bool was = c->connected;

    conn_fini(&c->conn);
    c->conn_open = c->connected = false;
    nghttp2_session_del(c->session);
    c->session = NULL;
    loop_timer_cancel(c->options.loop, &c->keepalive);
    /* What was sent may have been done or not: its owner must know. What was not sent waits on. */
    for (; r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->stream >= 0) {
            r->stream = -1;
            request_end(r, ST_UNREACHABLE);
        }
    }
    c->at = (c->at + 1) % c->options.endpoint_count;
    c->failed++;
    dial_later(c);
    if (was && c->options.on_state)
        c->options.on_state(c->options.arg, false, c->at);
}

static void on_conn_closed(void *arg, const char *why)
{
    (void)why;
    connection_lost(arg);
}

static void on_conn_data(void *arg, struct slice bytes)
{
    struct grpc_channel *c = arg;
    ssize_t n = nghttp2_session_mem_recv(c->session, bytes.data, bytes.len);

    c->pinged = false;
    if (n < 0)
        conn_close_later(&c->conn, nghttp2_strerror((int)n));
    else
        conn_flush_later(&c->conn);
}

static void on_conn_fill(void *arg, struct buf *out)
{
    struct grpc_channel *c = arg;
    const uint8_t *bytes;
    ssize_t n;

    while (buf_len(out) < CONN_OUTPUT_BYTES_MAX && (n = nghttp2_session_mem_send(c->session, &bytes)) > 0)
        buf_append(out, bytes, (size_t)n);
    if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
        conn_close_later(&c->conn, "session ended");
}

static void on_keepalive(void *arg)
{
    struct grpc_channel *c = arg;

    if (c->pinged && !TAILQ_EMPTY(&c->active)) {
        conn_close_later(&c->conn, "no answer to a ping");
        return;
    }
    c->pinged = !TAILQ_EMPTY(&c->active);
    if (c->pinged) {
        nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        conn_flush_later(&c->conn);
    }
    loop_timer_set(c->options.loop, &c->keepalive, loop_now_ns(c->options.loop) + c->options.keepalive_ns);
}

static void on_conn_open(void *arg)
{
    struct grpc_channel *c = arg;
    struct grpc_request *r, *next;

    c->connected = true;
    c->failed = 0;
    loop_timer_cancel(c->options.loop, &c->timer);
    if (c->options.keepalive_ns)
        loop_timer_set(c->options.loop, &c->keepalive, loop_now_ns(c->options.loop) + c->options.keepalive_ns);
    conn_flush_later(&c->conn);
    for (r = TAILQ_FIRST(&c->active); r; r = next) {
        next = TAILQ_NEXT(r, link);
        request_submit(r);
    }
    if (c->options.on_state)
        c->options.on_state(c->options.arg, true, c->at);
}

static void dial(struct grpc_channel *c)
{
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
                                         {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    const struct url *url = &c->endpoints[c->at];
    struct error error;
    int fd;

    if (url->is_unix)
        snprintf(c->authority, sizeof c->authority, "localhost");
    else
        snprintf(c->authority, sizeof c->authority, "%s:%u", url->host, url->port);
    if (socket_connect_start(url, &fd, &error) != ST_OK) {
        c->at = (c->at + 1) % c->options.endpoint_count;
        c->failed++;
        dial_later(c);
        return;
    }
    INVARIANT(nghttp2_session_client_new(&c->session, c->callbacks, c) == 0);
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES);
    c->conn = (struct conn){
        .data_fn = on_conn_data, .fill_fn = on_conn_fill, .open_fn = on_conn_open, .closed_fn = on_conn_closed, .arg = c};
    c->conn_open = true;
    c->pinged = false;
    conn_start(&c->conn, c->options.loop, fd, true);
    loop_timer_set(c->options.loop, &c->timer, loop_now_ns(c->options.loop) + c->options.connect_timeout_ns);
}

/* Time for an attempt, or the attempt took too long. */
static void on_timer(void *arg)
{
    struct grpc_channel *c = arg;

    if (!c->conn_open)
        dial(c);
    else if (!c->connected)
        conn_close_later(&c->conn, "no answer");
}

struct grpc_channel *grpc_channel_new(const struct grpc_channel_options *options)
{
    struct grpc_channel *c = mem_zero(sizeof *c);

    INVARIANT(options->endpoint_count > 0);
    c->options = *options;
    c->endpoints = mem_copy(options->endpoints, options->endpoint_count * sizeof *c->endpoints);
    c->options.endpoints = c->endpoints;
    c->conn.fd = -1;
    TAILQ_INIT(&c->active);
    TAILQ_INIT(&c->ended);
    loop_task_init(&c->deliver, LOOP_WORK, on_deliver, c);
    loop_timer_init(&c->timer, on_timer, c);
    loop_timer_init(&c->keepalive, on_keepalive, c);
    INVARIANT(nghttp2_session_callbacks_new(&c->callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(c->callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c->callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(c->callbacks, on_stream_close);
    loop_timer_set(options->loop, &c->timer, loop_now_ns(options->loop));
    return c;
}

void grpc_channel_free(struct grpc_channel *c)
{
    if (!c)
        return;
    while (!TAILQ_EMPTY(&c->active))
        request_end(TAILQ_FIRST(&c->active), ST_CANCELED);
    on_deliver(c);
    loop_task_cancel(c->options.loop, &c->deliver);
    loop_timer_cancel(c->options.loop, &c->timer);
    loop_timer_cancel(c->options.loop, &c->keepalive);
    conn_fini(&c->conn);
    nghttp2_session_del(c->session);
    nghttp2_session_callbacks_del(c->callbacks);
    free(c->endpoints);
    free(c);
}

bool grpc_channel_is_connected(const struct grpc_channel *c)
{
    return c->connected;
}
