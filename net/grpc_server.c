/* SPDX-License-Identifier: Apache-2.0 */
/* The server and its connections: bytes in from a conn, bytes out when it asks, and an end for those who misbehave. */
#include "net/grpc_server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "net/grpc_server_internal.h"

#define STREAM_WINDOW_BYTES (1 << 20)
#define CONN_WINDOW_BYTES (16 << 20)
#define PREFACE_NS (5 * NS_PER_S)   /* to say hello */
#define REQUEST_NS (60 * NS_PER_S)  /* to say what one wants: a request of full size at 50 KB/s */
#define OFFENCES_NS (10 * NS_PER_S) /* CONN_ERRORS_MAX are too many within it */
/* A client may cancel all it has at once, and 100 a second after that (CVE-2023-44487). */
#define RESETS_BURST CONN_STREAMS_MAX
#define RESETS_PER_S 100u
#define ACKS_MAX 64u /* unsent answers to PING and SETTINGS (CVE-2019-9512, 9515) */

/* ---- patience ---- */

void server_conn_offence(struct server_conn *sc, const char *what)
{
    int64_t now = loop_now_ns(sc->server->options.loop);

    if (now - sc->offences_since_ns > OFFENCES_NS) {
        sc->offences_since_ns = now;
        sc->offences = 0;
    }
    if (++sc->offences != CONN_ERRORS_MAX + 1)
        return;
    (void)nghttp2_submit_goaway(sc->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(sc->session),
                                NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)what, strlen(what));
    conn_close_later(&sc->conn, what);
}

void server_conn_settled(struct server_conn *sc)
{
    if (!sc->settled)
        loop_timer_cancel(sc->server->options.loop, &sc->patience);
    sc->settled = true;
}

void server_conn_watch_patience(struct server_conn *sc)
{
    if (!sc->patience.heap_slot)
        loop_timer_set(sc->server->options.loop, &sc->patience, loop_now_ns(sc->server->options.loop) + REQUEST_NS);
}

/* Still without a whole request? Streams may be silent, others may not. */
static bool is_dawdling(const struct grpc_call *call)
{
    return !call->finished && !call->half_closed && !(call->method && call->method->client_streams);
}

static void on_patience(void *arg)
{
    struct server_conn *sc = arg;
    struct loop *l = sc->server->options.loop;
    struct grpc_call *call;

    if (!sc->settled) {
        conn_close_later(&sc->conn, "no HTTP/2 preface in time");
        return;
    }
    TAILQ_FOREACH(call, &sc->calls, link)
    {
        if (!is_dawdling(call))
            continue;
        if (call->born_ns + REQUEST_NS > loop_now_ns(l)) {
            loop_timer_set(l, &sc->patience, call->born_ns + REQUEST_NS);
            return;
        }
        if (!call->headers_done) { /* and until they end nothing else can come */
            conn_close_later(&sc->conn, "headers that do not end");
            return;
        }
        call_refuse(call, ST_DEADLINE, "grpc: the request did not arrive in time");
    }
}

/* ---- bytes ---- */

/* "GET / HTTP/1.1": a word of capital letters and a space. The preface of HTTP/2 was made to look so, too. */
static bool looks_like_http1(struct slice bytes)
{
    static const char preface[] = "PRI * HTTP/2.0";
    size_t word = 0;

    while (word < bytes.len && word < 8 && bytes.data[word] >= 'A' && bytes.data[word] <= 'Z')
        word++;
    if (slice_has_prefix(bytes, slice_of(preface, 4)))
        return false;
    return word >= 3 && word < bytes.len && bytes.data[word] == ' ';
}

static void on_conn_data(void *arg, struct slice bytes)
{
    static const char http1[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n"
                                "Content-Type: text/plain\r\nContent-Length: 32\r\nConnection: close\r\n\r\n"
                                "This port speaks gRPC (HTTP/2).\n";
    struct server_conn *sc = arg;
    ssize_t n;

    if (!sc->heard && looks_like_http1(bytes)) {
        buf_append_text(&sc->conn.out, http1);
        sc->conn.mute = true;
        conn_close_later(&sc->conn, "not HTTP/2");
        return;
    }
    sc->heard = true;
    n = nghttp2_session_mem_recv(sc->session, bytes.data, bytes.len);
    if (n < 0) {
        /* What nghttp2 forgives not: no preface, a flood. Its other errors it answers itself, with a GOAWAY. */
        sc->conn.mute = true;
        conn_close_later(&sc->conn, nghttp2_strerror((int)n));
    } else {
        conn_flush_later(&sc->conn);
    }
}

static void on_conn_fill(void *arg, struct buf *out)
{
    struct server_conn *sc = arg;
    const uint8_t *bytes;
    ssize_t n = 1;

    sc->fill = out;
    while (buf_len(out) < CONN_WRITE_BYTES_MAX && (n = nghttp2_session_mem_send(sc->session, &bytes)) > 0)
        buf_append(out, bytes, (size_t)n);
    sc->fill = NULL;
    if (n < 0) {
        sc->conn.mute = true;
        conn_close_later(&sc->conn, nghttp2_strerror((int)n));
    } else if (!nghttp2_session_want_read(sc->session) && !nghttp2_session_want_write(sc->session)) {
        conn_finish(&sc->conn, "session ended"); /* its last answers are in frames, not yet with the client */
    }
}

/* ---- coming and going ---- */

static void server_conn_free(struct server_conn *sc)
{
    struct grpc_server *s = sc->server;

    while (!TAILQ_EMPTY(&sc->calls))
        call_orphan(TAILQ_FIRST(&sc->calls));
    loop_task_cancel(s->options.loop, &sc->resume);
    loop_timer_cancel(s->options.loop, &sc->patience);
    nghttp2_session_del(sc->session);
    conn_fini(&sc->conn);
    TAILQ_REMOVE(&s->conns, sc, link);
    s->conn_count--;
    free(sc);
    if (s->draining && !s->conn_count && s->options.drained_fn)
        s->options.drained_fn(s->options.drained_arg);
}

static void on_conn_closed(void *arg, const char *why)
{
    (void)why;
    server_conn_free(arg);
}

static void session_start(struct server_conn *sc)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, CONN_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, CONN_HEADER_BYTES_MAX},
        /* RFC 9218 2.1: no priority tree, which costs time and has been attacked (CVE-2019-9513). */
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    INVARIANT(nghttp2_session_server_new2(&sc->session, sc->server->callbacks, sc, sc->server->option) == 0);
    INVARIANT(nghttp2_submit_settings(sc->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0);
    INVARIANT(nghttp2_session_set_local_window_size(sc->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES) == 0);
}

void grpc_server_accept(struct grpc_server *s, int fd)
{
    struct loop *l = s->options.loop;
    struct server_conn *sc;

    if (s->conn_count >= CONNS_MAX || s->draining) {
        close(fd);
        return;
    }
    sc = mem_zero(sizeof *sc);
    sc->server = s;
    sc->offences_since_ns = loop_now_ns(l);
    TAILQ_INIT(&sc->calls);
    TAILQ_INIT(&sc->held);
    TAILQ_INIT(&sc->writable);
    TAILQ_INSERT_TAIL(&s->conns, sc, link);
    s->conn_count++;
    session_start(sc);
    loop_task_init(&sc->resume, LOOP_WORK, requests_resume, sc);
    loop_timer_init(&sc->patience, on_patience, sc);
    loop_timer_set(l, &sc->patience, loop_now_ns(l) + PREFACE_NS);
    sc->conn = (struct conn){.data_fn = on_conn_data, .fill_fn = on_conn_fill, .closed_fn = on_conn_closed, .arg = sc};
    /* Nothing is said before the client has: it may be one that does not understand us. */
    conn_start(&sc->conn, l, fd, false);
}

/* ---- the server ---- */

static void set_options(nghttp2_option *o)
{
    nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(o, RESETS_BURST, RESETS_PER_S);
    nghttp2_option_set_no_closed_streams(o, 1);
    /* etcd's older clients send an :authority with a scheme in it, which the rules of HTTP forbid. What matters of a
     * request's headers is judged in on_request_headers. */
    nghttp2_option_set_no_http_messaging(o, 1);
}

struct grpc_server *grpc_server_new(const struct grpc_server_options *options)
{
    struct grpc_server *s = mem_zero(sizeof *s);

    s->options = *options;
    TAILQ_INIT(&s->conns);
    TAILQ_INIT(&s->free_calls);
    requests_make_table(s);
    INVARIANT(nghttp2_session_callbacks_new(&s->callbacks) == 0 && nghttp2_option_new(&s->option) == 0);
    requests_set_callbacks(s->callbacks);
    set_options(s->option);
    return s;
}

void grpc_server_drain(struct grpc_server *s)
{
    struct server_conn *sc;
    struct grpc_call *call;

    s->draining = true;
    TAILQ_FOREACH(sc, &s->conns, link)
    {
        /* Both ways: it would not end by itself. */
        TAILQ_FOREACH(call, &sc->calls, link)
            if (call->headers_done && call->method && call->method->client_streams)
                call_refuse(call, ST_STOPPED, NULL);
        /* Requests that are on their way are not ours any more; the session ends with the last call. */
        (void)nghttp2_submit_goaway(sc->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(sc->session),
                                    NGHTTP2_NO_ERROR, NULL, 0);
        conn_flush_later(&sc->conn);
    }
}

void grpc_server_free(struct grpc_server *s)
{
    if (!s)
        return;
    s->options.drained_fn = NULL;
    while (!TAILQ_EMPTY(&s->conns))
        server_conn_free(TAILQ_FIRST(&s->conns));
    call_pool_free(s);
    nghttp2_session_callbacks_del(s->callbacks);
    nghttp2_option_del(s->option);
    free(s->slots);
    free(s);
}

unsigned grpc_server_conns(const struct grpc_server *s)
{
    return s->conn_count;
}
