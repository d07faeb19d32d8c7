/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: what is sent for them, what comes back, and the one end of each. */
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_client_internal.h"
#include "net/grpc_text.h"

/* ---- ends ---- */

static void request_free(struct grpc_request *r)
{
    loop_timer_cancel(r->channel->options.loop, &r->timer);
    buf_fini(&r->out);
    buf_fini(&r->in);
    buf_fini(&r->text);
    free(r->path);
    free(r);
}

/* Its stream, if there is one, knows it no more. */
static void unlink_stream(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;

    if (r->stream < 0)
        return;
    if (c->session)
        (void)nghttp2_session_set_stream_user_data(c->session, r->stream, NULL);
    r->stream = -1;
}

static void reset_stream(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;

    if (r->stream < 0 || !c->session)
        return;
    (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_CANCEL);
    conn_flush_later(&c->conn);
}

/* done_fn is called at the end of the round, so never from within a call of the owner. */
static void request_end(struct grpc_request *r, enum status st)
{
    struct grpc_channel *c = r->channel;

    if (r->ended)
        return;
    r->ended = true;
    r->status = st;
    unlink_stream(r);
    loop_timer_cancel(c->options.loop, &r->timer);
    TAILQ_REMOVE(&c->active, r, link);
    TAILQ_INSERT_TAIL(&c->ended, r, link);
    loop_task_queue(c->options.loop, &c->deliver);
    channel_maybe_leave(c);
}

static struct slice unary_message(const struct grpc_request *r)
{
    struct slice message = {0};
    uint32_t len;

    if (r->is_stream || r->status != ST_OK)
        return message;
    INVARIANT(grpc_frame_next(buf_slice(&r->in), SIZE_MAX, &message, &len) == ST_OK); /* on_stream_close has looked */
    return message;
}

void request_deliver(void *arg)
{
    struct grpc_channel *c = arg;
    struct grpc_request *r;

    while ((r = TAILQ_FIRST(&c->ended))) {
        TAILQ_REMOVE(&c->ended, r, link);
        r->done_fn(r->arg, r->status, unary_message(r), buf_slice(&r->text));
        request_free(r);
    }
}

void request_end_all(struct grpc_channel *c, enum status st)
{
    struct grpc_request *r;

    while ((r = TAILQ_FIRST(&c->active))) {
        reset_stream(r);
        request_end(r, st);
    }
}

void request_connection_lost(struct grpc_channel *c)
{
    struct grpc_request *r = TAILQ_FIRST(&c->active), *next;

    /* What was sent may have been done or not: its owner must know. What was not sent waits on. */
    for (; r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->stream >= 0)
            request_end(r, ST_UNREACHABLE);
    }
}

void grpc_cancel(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;

    if (r->ended) {
        TAILQ_REMOVE(&c->ended, r, link);
    } else {
        reset_stream(r);
        unlink_stream(r);
        TAILQ_REMOVE(&c->active, r, link);
        channel_maybe_leave(c);
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

/* ---- sending ---- */

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
    n = buf_len(&r->out) - r->out_sent;
    if (n > len)
        n = len;
    if (!n && r->is_stream) {
        r->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(bytes, r->out.data + r->out.start + r->out_sent, n);
    r->out_sent += n;
    if (r->is_stream) {
        buf_consume(&r->out, r->out_sent);
        r->out_sent = 0;
    } else if (r->out_sent == buf_len(&r->out)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

#define FIXED(name, value)                                                                                            \
    {                                                                                                                  \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1,             \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                              \
    }

static void set_value(nghttp2_nv *nv, const char *value, bool is_secret_or_unique)
{
    nv->value = (uint8_t *)(uintptr_t)value;
    nv->valuelen = strlen(value);
    nv->flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    /* What differs each time only pushes useful things out of the compression table. */
    if (is_secret_or_unique)
        nv->flags |= NGHTTP2_NV_FLAG_NO_INDEX;
}

static void request_submit(struct grpc_request *r)
{
    struct grpc_channel *c = r->channel;
    nghttp2_data_provider source = {.read_callback = read_data};
    char timeout[16];
    nghttp2_nv nv[] = {FIXED(":method", "POST"),
                       FIXED(":scheme", "http"),
                       FIXED(":path", ""),
                       FIXED(":authority", ""),
                       FIXED("te", "trailers"),
                       FIXED("content-type", "application/grpc"),
                       FIXED("grpc-timeout", "")};
    size_t count = sizeof nv / sizeof *nv;

    set_value(&nv[2], r->path, false);
    set_value(&nv[3], c->authority, false);
    if (r->deadline_ns == INT64_MAX) {
        count--;
    } else {
        grpc_timeout_format(r->deadline_ns - loop_now_ns(c->options.loop), timeout);
        set_value(&nv[6], timeout, true);
    }
    r->out_sent = 0;
    r->deferred = false;
    r->stream = nghttp2_submit_request(c->session, NULL, nv, count, &source, r);
    /* Refused only at the end of a connection (GOAWAY, no stream numbers left): then the next one takes it. */
    if (r->stream < 0) {
        c->leaving = true;
        channel_maybe_leave(c);
    }
    conn_flush_later(&c->conn);
}

static bool can_submit(const struct grpc_channel *c)
{
    return c->connected && !c->leaving && !c->conn.closing;
}

void request_submit_waiting(struct grpc_channel *c)
{
    struct grpc_request *r;

    TAILQ_FOREACH(r, &c->active, link)
    if (r->stream < 0 && can_submit(c))
        request_submit(r);
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

    INVARIANT(message.len <= UINT32_MAX);
    p = put_be32(put_u8(p, 0), (uint32_t)message.len);
    put_bytes(p, message.data, message.len);
    buf_commit(out, GRPC_FRAME_BYTES + message.len);
}

struct grpc_request *grpc_unary(struct grpc_channel *c, const char *path, struct slice message, int64_t deadline_ns,
                                grpc_done_fn done_fn, void *arg)
{
    struct grpc_request *r = request_new(c, path, deadline_ns, done_fn, arg);

    append_frame(&r->out, message);
    if (can_submit(c))
        request_submit(r);
    return r;
}

struct grpc_request *grpc_stream_open(struct grpc_channel *c, const char *path, grpc_message_fn message_fn,
                                      grpc_done_fn done_fn, void *arg)
{
    struct grpc_request *r = request_new(c, path, INT64_MAX, done_fn, arg);

    r->is_stream = true;
    r->message_fn = message_fn;
    if (can_submit(c))
        request_submit(r);
    return r;
}

void grpc_stream_send(struct grpc_request *r, struct slice message)
{
    struct grpc_channel *c = r->channel;

    if (r->ended)
        return;
    append_frame(&r->out, message);
    if (!r->deferred || r->stream < 0)
        return; /* it is asked for anyway */
    r->deferred = false;
    (void)nghttp2_session_resume_data(c->session, r->stream);
    conn_flush_later(&c->conn);
}

/* ---- answers ---- */

/* A small number; -1 if it is none. */
static int parse_number(const uint8_t *text, size_t len)
{
    int number = 0;

    if (len < 1 || len > 4)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags;
    (void)arg;
    if (!r)
        return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        r->http_status = parse_number(value, value_len);
    } else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        r->grpc_code = parse_number(value, value_len);
        if (r->grpc_code < 0)
            r->grpc_code = GRPC_UNKNOWN;
    } else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0 && value_len <= CONN_HEADER_BYTES_MAX) {
        buf_clear(&r->text);
        grpc_message_decode(&r->text, slice_of(value, value_len));
    }
    return 0;
}

static void refuse_answer(struct grpc_request *r, enum status st)
{
    reset_stream(r);
    request_end(r, st == ST_MESSAGE_TOO_LARGE ? st : ST_BAD_MESSAGE);
}

/* A unary answer stays where it is until the server's status is there. */
static void take_unary(struct grpc_request *r, const uint8_t *data, size_t len)
{
    size_t max = r->channel->options.message_bytes_max, had = buf_len(&r->in);
    enum status st = ST_NOT_FOUND;
    struct slice message;
    uint32_t frame_len;

    buf_append(&r->in, data, len);
    if (had < GRPC_FRAME_BYTES) /* the length is known now, or soon */
        st = grpc_frame_next(buf_slice(&r->in), max, &message, &frame_len);
    if (st == ST_NOT_FOUND && buf_len(&r->in) - GRPC_FRAME_BYTES > max && buf_len(&r->in) > GRPC_FRAME_BYTES)
        st = ST_BAD_MESSAGE;
    if (st != ST_OK && st != ST_NOT_FOUND)
        refuse_answer(r, st);
}

/* All whole messages; what is left of the last one is kept. */
static void take_stream(nghttp2_session *session, int32_t stream, struct grpc_request *r, struct slice bytes)
{
    bool kept = buf_len(&r->in) > 0;
    struct slice message;
    uint32_t len;
    enum status st;

    if (kept) {
        buf_append_slice(&r->in, bytes);
        bytes = buf_slice(&r->in);
    }
    while ((st = grpc_frame_next(bytes, r->channel->options.message_bytes_max, &message, &len)) == ST_OK) {
        r->message_fn(r->arg, message);
        /* Its owner may have canceled it. */
        r = nghttp2_session_get_stream_user_data(session, stream);
        if (!r)
            return;
        bytes = slice_of(bytes.data + GRPC_FRAME_BYTES + len, bytes.len - GRPC_FRAME_BYTES - len);
    }
    if (st != ST_NOT_FOUND)
        refuse_answer(r, st);
    else if (kept)
        buf_consume(&r->in, buf_len(&r->in) - bytes.len);
    else
        buf_append_slice(&r->in, bytes);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                         void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, stream);

    (void)flags;
    (void)arg;
    if (r && r->is_stream)
        take_stream(session, stream, r, slice_of(data, len));
    else if (r)
        take_unary(r, data, len);
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

/* A stream that ended without the server's status, by its HTTP/2 code (PROTOCOL-HTTP2.md, Errors). */
static enum status status_of_reset(const struct grpc_request *r, uint32_t code)
{
    switch (code) {
    case NGHTTP2_NO_ERROR:
        return status_of_http(r->http_status);
    case NGHTTP2_CANCEL:
        return ST_CANCELED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return ST_LIMIT;
    default:
        return ST_UNREACHABLE; /* done or not, nobody knows */
    }
}

/* The server has not begun it, for sure: the next connection takes it. */
static void request_wait_again(struct grpc_request *r)
{
    unlink_stream(r);
    buf_clear(&r->in);
    r->grpc_code = -1;
    channel_maybe_leave(r->channel);
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
    struct grpc_request *r = nghttp2_session_get_stream_user_data(session, stream);
    struct slice message;
    uint32_t len;
    enum status st;

    (void)arg;
    if (!r)
        return 0;
    /* RFC 9113 6.8: streams above the one that GOAWAY names were not acted upon. */
    if (code == NGHTTP2_REFUSED_STREAM && r->channel->leaving && !r->is_stream) {
        request_wait_again(r);
        return 0;
    }
    if (r->grpc_code >= 0)
        st = status_of_grpc(r->grpc_code, (const char *)buf_slice(&r->text).data, buf_len(&r->text));
    else
        st = status_of_reset(r, code);
    if (st == ST_OK && !r->is_stream &&
        (grpc_frame_next(buf_slice(&r->in), SIZE_MAX, &message, &len) != ST_OK ||
         buf_len(&r->in) != GRPC_FRAME_BYTES + len))
        st = ST_BAD_MESSAGE;
    request_end(r, st);
    return 0;
}

/* Headers that stayed in the queue until the connection took no new streams any more. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
    struct grpc_channel *c = arg;
    struct grpc_request *r;

    (void)session;
    (void)error;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    TAILQ_FOREACH(r, &c->active, link)
    if (r->stream == frame->hd.stream_id) {
        request_wait_again(r);
        break;
    }
    return 0;
}

void request_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
}
