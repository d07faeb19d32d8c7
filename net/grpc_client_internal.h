/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files of the gRPC client share. grpc_client.c: the channel and its connection. grpc_request.c: requests,
 * on that connection or waiting for one. A request is in its channel's list `active` until its result stands, then in
 * `ended` until the end of the round, when done_fn hears it.
 */
#ifndef NET_GRPC_CLIENT_INTERNAL_H
#define NET_GRPC_CLIENT_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "common/buf.h"
#include "net/conn.h"
#include "net/grpc_client.h"
#include "net/resolver.h"

struct grpc_request {
    struct grpc_channel *channel;
    char *path;
    bool is_stream;
    int32_t stream;      /* -1: waits for a connection */
    struct buf out;      /* frames; a unary request's stay, in case that the server says it has not begun */
    size_t out_sent;
    struct buf in;
    bool deferred;       /* nghttp2 asked for data when there was none */
    int http_status;
    int grpc_code;       /* -1: none arrived */
    struct buf text;
    int64_t deadline_ns;
    struct loop_timer timer;
    grpc_message_fn message_fn;
    grpc_done_fn done_fn;
    void *arg;
    bool ended;
    enum status status;  /* of one that ended */
    TAILQ_ENTRY(grpc_request) link;
};
TAILQ_HEAD(request_list, grpc_request);

struct grpc_channel {
    struct grpc_channel_options options;
    struct url *endpoints;
    char authority[sizeof ((struct url *)0)->host + 16];
    unsigned at;                 /* the endpoint that is used or tried */
    unsigned failed;             /* attempts in a row that led nowhere */
    struct resolver *resolver;
    struct resolver_wait address; /* of the endpoint that is tried */
    struct conn conn;            /* fd -1: none */
    bool connected;              /* the server has said its SETTINGS */
    bool leaving;                /* the server has said GOAWAY: no new requests here */
    nghttp2_session *session;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct loop_timer timer;     /* the next attempt, or the end of this one */
    struct loop_timer keepalive;
    bool heard, pinged;          /* since keepalive ran */
    struct request_list active;
    struct request_list ended;
    struct loop_task deliver;
};

/* ---- grpc_client.c ---- */

/* A request left the connection: one that the server is leaving is given up with the last answer. */
void channel_maybe_leave(struct grpc_channel *c);

/* ---- grpc_request.c ---- */

void request_set_callbacks(nghttp2_session_callbacks *callbacks);
/* Send all that wait. */
void request_submit_waiting(struct grpc_channel *c);
/* The connection is gone, and with it what was on it. */
void request_connection_lost(struct grpc_channel *c);
/* End all, now. */
void request_end_all(struct grpc_channel *c, enum status st);
/* loop_task's. */
void request_deliver(void *arg);

#endif
