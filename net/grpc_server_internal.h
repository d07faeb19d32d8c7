/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three files of the gRPC server share. grpc_server.c: the server and its connections. grpc_requests.c: what
 * comes in, from HTTP/2 frames to messages for handlers. grpc_call.c: a call, and what goes out for it.
 *
 * A call belongs to its stream until that closes (sc becomes NULL), and to its handler from the first message until
 * grpc_call_finish (with_handler). It is freed when neither has it.
 */
#ifndef NET_GRPC_SERVER_INTERNAL_H
#define NET_GRPC_SERVER_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "common/buf.h"
#include "net/conn.h"
#include "net/grpc_server.h"

#define GRPC_HTTP2_HEAD_BYTES 9 /* of every frame, RFC 9113 4.1 */

/* The request's headers that are kept. */
enum { META_TOKEN, META_AUTHORIZATION, META_HASLEADER, META_CLIENT_VERSION, META_UNKNOWN_PATH, META_COUNT };

TAILQ_HEAD(call_list, grpc_call);

struct server_conn {
    struct grpc_server *server;
    struct conn conn;
    nghttp2_session *session;
    struct buf *fill;          /* where frames go while nghttp2 is asked for them */
    size_t input_bytes;        /* of requests that no handler has yet */
    size_t output_bytes;       /* of answers that are not in frames yet */
    int64_t offences_since_ns; /* the window that is counted */
    unsigned offences;
    bool heard;                /* anything */
    bool settled;              /* the preface and SETTINGS */
    int64_t sent_at_ns;        /* the last part of an answer */
    struct loop_timer patience;
    struct call_list calls;    /* all, in the order they came */
    struct call_list held;     /* unary, waiting for output_bytes to fall: with their request, or their handlers to answer */
    struct call_list writable; /* their handlers are to be told */
    struct loop_task resume;   /* for the two lists above */
    TAILQ_ENTRY(server_conn) link;
};

struct grpc_call {
    struct grpc_server *server;
    struct server_conn *sc; /* NULL: the stream is gone */
    int32_t stream;
    const struct grpc_method *method; /* NULL: unknown */
    bool is_post, is_grpc;            /* by its headers */
    bool headers_done, half_closed;
    bool with_handler;
    bool started;      /* a handler has got a message */
    bool responded;    /* headers are submitted */
    bool deferred;     /* nghttp2 asked for data when there was none */
    bool finished;     /* status and text stand; nothing may be added */
    bool canceled;     /* its handler knows that nobody waits */
    bool was_full;     /* streaming: nothing is taken in until on_writable */
    size_t header_bytes;
    struct buf in, out;
    nghttp2_rcbuf *meta[META_COUNT];
    int64_t born_ns, deadline_ns;
    struct loop_timer timer;
    enum status status;
    char *text; /* NULL: the table's */
    void *data; /* the handler's */
    TAILQ_ENTRY(grpc_call) link;
    struct call_list *also; /* held or writable, NULL: neither */
    TAILQ_ENTRY(grpc_call) also_link;
};

struct method_slot {
    const struct grpc_method *method; /* NULL: free */
    size_t path_len;
};

struct grpc_server {
    struct grpc_server_options options;
    TAILQ_HEAD(, server_conn) conns;
    unsigned conn_count;
    bool draining;
    size_t input_bytes;        /* of all connections */
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct method_slot *slots; /* open addressing, a power of two */
    unsigned slot_mask;
    struct call_list free_calls; /* for the next ones, with their buffers */
    unsigned free_count;
};

/* ---- grpc_call.c ---- */

struct grpc_call *call_new(struct server_conn *sc, int32_t stream);
void call_pool_free(struct grpc_server *s);
/* The server answers instead of a handler, or before it; a handler that has the call is told. text NULL: the table's. */
void call_refuse(struct grpc_call *call, enum status st, const char *text);
/* An answer of HTTP alone. */
void call_refuse_http(struct grpc_call *call, int status);
/* The stream is no more. */
void call_orphan(struct grpc_call *call);
/* Put it on one of sc->held, sc->writable; resume runs when there is reason to. */
void call_also(struct grpc_call *call, struct call_list *list);
/* Bytes of the request came, or were taken. */
void call_input_grow(struct grpc_call *call, const uint8_t *data, size_t len);
void call_input_drop(struct grpc_call *call, size_t len);
int call_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_head, size_t len,
                   nghttp2_data_source *source, void *arg);

/* ---- grpc_requests.c ---- */

void requests_set_callbacks(nghttp2_session_callbacks *callbacks);
void requests_make_table(struct grpc_server *s);
/* loop_task's: answers have gone out. */
void requests_resume(void *arg);

/* ---- grpc_server.c ---- */

/* Something that a good client does not do, or not often. Too much of it ends the connection, with this word. */
void server_conn_offence(struct server_conn *sc, const char *what);
/* A request has begun: it may take its time, but not for ever. */
void server_conn_watch_patience(struct server_conn *sc);
void server_conn_settled(struct server_conn *sc);

#endif
