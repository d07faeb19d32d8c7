/* SPDX-License-Identifier: Apache-2.0 */
/* A channel: one HTTP/2 connection at a time, to the first endpoint that answers. */
#include "net/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_client_internal.h"
#include "net/socket.h"

#define STREAM_WINDOW_BYTES (4 << 20)
#define CONN_WINDOW_BYTES (32 << 20)
#define REDIAL_FIRST_NS (20 * NS_PER_MS)
#define REDIAL_MAX_NS (1000 * NS_PER_MS)
#define ACKS_MAX 64u /* unsent answers to PING and SETTINGS */

/* ---- attempts ---- */

/* The next endpoint at once; after all of them have failed, a pause that grows. */
static void dial_next(struct grpc_channel *c)
{
    unsigned rounds;
    int64_t pause = 0;

    c->at = (c->at + 1) % c->options.endpoint_count;
    c->failed++;
    if (c->failed % c->options.endpoint_count == 0) {
        rounds = c->failed / c->options.endpoint_count;
        pause = REDIAL_FIRST_NS << (rounds < 7 ? rounds - 1 : 6);
    }
    loop_timer_set(c->options.loop, &c->timer,
                   loop_now_ns(c->options.loop) + (pause < REDIAL_MAX_NS ? pause : REDIAL_MAX_NS));
}

static void on_conn_closed(void *arg, const char *why)
{
    struct grpc_channel *c = arg;
    bool was = c->connected;

    (void)why;
    c->connected = c->leaving = false;
    nghttp2_session_del(c->session);
    c->session = NULL;
    loop_timer_cancel(c->options.loop, &c->keepalive);
    dial_next(c);
    request_connection_lost(c);
    if (was && c->options.on_state)
        c->options.on_state(c->options.arg, false, c->at);
}

void channel_maybe_leave(struct grpc_channel *c)
{
    struct grpc_request *r;

    if (!c->leaving)
        return;
    /* Streams have no end of their own: they are opened again elsewhere. */
    TAILQ_FOREACH(r, &c->active, link)
    if (r->stream >= 0 && !r->is_stream)
        return;
    conn_close_later(&c->conn, "the server is going away");
}

/* ---- the connection ---- */

static void on_conn_data(void *arg, struct slice bytes)
{
    struct grpc_channel *c = arg;
    ssize_t n = nghttp2_session_mem_recv(c->session, bytes.data, bytes.len);

    c->heard = true;
    if (n < 0) {
        c->conn.mute = true;
        conn_close_later(&c->conn, nghttp2_strerror((int)n));
    } else {
        conn_flush_later(&c->conn);
    }
}

static void on_conn_fill(void *arg, struct buf *out)
{
    struct grpc_channel *c = arg;
    const uint8_t *bytes;
    ssize_t n = 1;

    while (buf_len(out) < CONN_WRITE_BYTES_MAX && (n = nghttp2_session_mem_send(c->session, &bytes)) > 0)
        buf_append(out, bytes, (size_t)n);
    if (n < 0 || (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))) {
        c->conn.mute = true;
        conn_close_later(&c->conn, n < 0 ? nghttp2_strerror((int)n) : "session ended");
    }
}

static void set_keepalive(struct grpc_channel *c)
{
    c->heard = c->pinged = false;
    loop_timer_set(c->options.loop, &c->keepalive, loop_now_ns(c->options.loop) + c->options.keepalive_ns);
}

static void on_keepalive(void *arg)
{
    struct grpc_channel *c = arg;
    bool quiet = !c->heard && !TAILQ_EMPTY(&c->active), pinged = c->pinged;

    if (quiet && pinged) {
        conn_close_later(&c->conn, "no answer to a ping");
        return;
    }
    set_keepalive(c);
    if (!quiet)
        return;
    c->pinged = true;
    (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
    conn_flush_later(&c->conn);
}

static void on_conn_open(void *arg)
{
    struct grpc_channel *c = arg;

    conn_flush_later(&c->conn); /* the preface; the attempt goes on until it is answered */
}

/* One that accepts and says nothing, or says something else, is no server of ours: only SETTINGS make a connection. */
static void on_settled(struct grpc_channel *c)
{
    c->connected = true;
    c->failed = 0;
    loop_timer_cancel(c->options.loop, &c->timer);
    if (c->options.keepalive_ns)
        set_keepalive(c);
    request_submit_waiting(c);
    if (c->options.on_state)
        c->options.on_state(c->options.arg, true, c->at);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_channel *c = arg;

    (void)session;
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && !c->connected)
        on_settled(c);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        channel_maybe_leave(c);
    return 0;
}

/* Before nghttp2 acts on a GOAWAY, so that on_stream_close knows why streams are refused. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *arg)
{
    struct grpc_channel *c = arg;

    (void)session;
    if (head->type == NGHTTP2_GOAWAY)
        c->leaving = true;
    return 0;
}

static void set_authority(struct grpc_channel *c, const struct url *url)
{
    if (url->is_unix)
        snprintf(c->authority, sizeof c->authority, "localhost");
    else if (strchr(url->host, ':'))
        snprintf(c->authority, sizeof c->authority, "[%s]:%u", url->host, url->port);
    else
        snprintf(c->authority, sizeof c->authority, "%s:%u", url->host, url->port);
}

static void on_address(void *arg, const struct sockaddr_storage *address, socklen_t len, const char *why)
{
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
                                                      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, CONN_HEADER_BYTES_MAX},
                                                      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    struct grpc_channel *c = arg;
    const struct url *url = &c->endpoints[c->at];
    struct error error;
    int fd;

    (void)why;
    if (!address || socket_connect_start(url, address, len, &fd, &error) != ST_OK) {
        dial_next(c);
        return;
    }
    set_authority(c, url);
    INVARIANT(nghttp2_session_client_new2(&c->session, c->callbacks, c, c->option) == 0);
    INVARIANT(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0);
    INVARIANT(nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES) == 0);
    c->conn = (struct conn){
        .data_fn = on_conn_data, .fill_fn = on_conn_fill, .open_fn = on_conn_open, .closed_fn = on_conn_closed, .arg = c};
    conn_start(&c->conn, c->options.loop, fd, true);
    loop_timer_set(c->options.loop, &c->timer, loop_now_ns(c->options.loop) + c->options.connect_timeout_ns);
}

static void dial(struct grpc_channel *c)
{
    loop_timer_set(c->options.loop, &c->timer, loop_now_ns(c->options.loop) + c->options.connect_timeout_ns);
    resolver_find(c->resolver, &c->address, &c->endpoints[c->at]);
}

/* Time for an attempt, or the attempt took too long. */
static void on_timer(void *arg)
{
    struct grpc_channel *c = arg;

    if (c->conn.fd >= 0) {
        conn_close_later(&c->conn, "no answer");
    } else if (c->address.name) {
        resolver_cancel(&c->address);
        dial_next(c);
    } else {
        dial(c);
    }
}

/* ---- the channel ---- */

struct grpc_channel *grpc_channel_new(const struct grpc_channel_options *options)
{
    struct grpc_channel *c = mem_zero(sizeof *c);

    INVARIANT(options->endpoint_count > 0);
    c->options = *options;
    c->endpoints = mem_copy(options->endpoints, options->endpoint_count * sizeof *c->endpoints);
    c->options.endpoints = c->endpoints;
    c->resolver = resolver_new(options->loop, url_resolve);
    c->address = (struct resolver_wait){.found_fn = on_address, .arg = c};
    c->conn.fd = -1;
    TAILQ_INIT(&c->active);
    TAILQ_INIT(&c->ended);
    loop_task_init(&c->deliver, LOOP_WORK, request_deliver, c);
    loop_timer_init(&c->timer, on_timer, c);
    loop_timer_init(&c->keepalive, on_keepalive, c);
    INVARIANT(nghttp2_session_callbacks_new(&c->callbacks) == 0 && nghttp2_option_new(&c->option) == 0);
    request_set_callbacks(c->callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c->callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_begin_frame_callback(c->callbacks, on_begin_frame);
    nghttp2_option_set_max_outbound_ack(c->option, ACKS_MAX);
    loop_timer_set(options->loop, &c->timer, loop_now_ns(options->loop));
    return c;
}

void grpc_channel_free(struct grpc_channel *c)
{
    if (!c)
        return;
    while (!TAILQ_EMPTY(&c->active) || !TAILQ_EMPTY(&c->ended)) {
        request_end_all(c, ST_CANCELED);
        request_deliver(c);
    }
    loop_task_cancel(c->options.loop, &c->deliver);
    loop_timer_cancel(c->options.loop, &c->timer);
    loop_timer_cancel(c->options.loop, &c->keepalive);
    resolver_free(c->resolver);
    conn_fini(&c->conn);
    nghttp2_session_del(c->session);
    nghttp2_session_callbacks_del(c->callbacks);
    nghttp2_option_del(c->option);
    free(c->endpoints);
    free(c);
}

bool grpc_channel_is_connected(const struct grpc_channel *c)
{
    return c->connected;
}
