/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client on a loop: one channel to a store of one or more endpoints, any number of calls at once over one HTTP/2
 * connection. The channel connects by itself, to the first endpoint that answers, and moves to the next when it fails, with
 * a pause that grows to 1 s after all have failed. A call that is made while there is no connection waits for one
 * until its deadline, then fails with ST_UNREACHABLE. A call whose connection breaks after it was sent fails with ST_UNREACHABLE, too,
 * its outcome unknown; the channel never repeats a call by itself. The exception is a unary call that the server, going away,
 * says it has not begun: it waits for the next connection. Callbacks may start, send and cancel, but not free the channel.
 */
#ifndef NET_GRPC_CLIENT_H
#define NET_GRPC_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/slice.h"
#include "common/status.h"
#include "net/loop.h"
#include "net/url.h"

struct grpc_channel;
struct grpc_request;

struct grpc_channel_options {
    struct loop *loop;
    const struct url *endpoints; /* copied */
    unsigned endpoint_count;
    size_t message_bytes_max;    /* of an answer; larger ends the call with ST_MESSAGE_TOO_LARGE */
    int64_t connect_timeout_ns;  /* per endpoint */
    int64_t keepalive_ns;        /* ping an idle connection that has calls; no answer in the same time: it is dead. 0: off */
    /* The connection came up (with the endpoint's index) or was lost; may be NULL. */
    void (*on_state)(void *arg, bool connected, unsigned endpoint);
    void *arg;
};

struct grpc_channel *grpc_channel_new(const struct grpc_channel_options *options);
/* Ends all calls: their done_fn is called with ST_CANCELED before this returns. */
void grpc_channel_free(struct grpc_channel *c);
bool grpc_channel_is_connected(const struct grpc_channel *c);

/* message: the answer (unary, empty unless ST_OK); text: the server's words, may be empty. The request is gone after. */
typedef void (*grpc_done_fn)(void *arg, enum status st, struct slice message, struct slice text);

/*
 * One request, one answer. The request's bytes are copied. deadline_ns on loop_now_ns's clock (also sent as grpc-timeout); passing
 * it gives ST_DEADLINE. done_fn is called exactly once, never from within this call.
 */
struct grpc_request *grpc_unary(struct grpc_channel *c, const char *path, struct slice message, int64_t deadline_ns,
                                grpc_done_fn done_fn, void *arg);

/* A stream of messages both ways; message_fn for each that arrives, done_fn once at the end (message empty). No deadline. */
typedef void (*grpc_message_fn)(void *arg, struct slice message);
struct grpc_request *grpc_stream_open(struct grpc_channel *c, const char *path, grpc_message_fn message_fn,
                                      grpc_done_fn done_fn, void *arg);
void grpc_stream_send(struct grpc_request *r, struct slice message);

/* Forget the request: the stream is reset, done_fn is not called. */
void grpc_cancel(struct grpc_request *r);

#endif
