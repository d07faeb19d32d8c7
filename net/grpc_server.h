/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server (gRPC over HTTP/2, prior knowledge) on a loop: connections, streams, messages in and out. It knows
 * no service: a table of methods says what exists, whatever has no row is answered UNIMPLEMENTED.
 *
 * A call is made when its first message is complete and lives until it is finished AND its handler has let go: the
 * handler that got a call must end it with exactly one grpc_call_finish, also after on_cancel told it that the client has gone
 * (finishing then only frees). Replies and finishes may come later, from any callback on the loop.
 *
 * Everything a client can grow is bounded by limits.h: streams, header bytes, message bytes, unsent output (reading
 * pauses), protocol offences (GOAWAY), time to complete a preface or a request.
 */
#ifndef NET_GRPC_SERVER_H
#define NET_GRPC_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/slice.h"
#include "common/status.h"
#include "net/loop.h"

struct grpc_server;
struct grpc_call;

struct grpc_method {
    const char *path;  /* "/etcdserverpb.KV/Range" */
    bool client_streams; /* more than one request message: on_message is called for each, on_half_close at the end */
    bool server_streams; /* one request, more than one answer; a method whose client streams may answer as often, too */
    /* The (first) message. For a unary method: the request; the handler must finish the call now or later. */
    void (*on_message)(struct grpc_call *call, struct slice message, void *service_arg);
    void (*on_half_close)(struct grpc_call *call, void *service_arg); /* streaming methods; may be NULL */
    /* The client has gone or reset the stream: nothing more can be sent. May be NULL for handlers that never wait. */
    void (*on_cancel)(struct grpc_call *call, void *service_arg);
    /* A streaming call whose unsent output fell below half its bound after grpc_call_is_full was true, or a unary one that was
     * held and whose connection takes answers again. May be NULL. */
    void (*on_writable)(struct grpc_call *call, void *service_arg);
};

struct grpc_server_options {
    struct loop *loop;
    const struct grpc_method *methods;
    unsigned method_count;
    void *service_arg;
    size_t message_bytes_max; /* REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES_MAX */
    /* After grpc_server_drain: the last connection has gone, in a callback of the loop. May be NULL. */
    void (*drained_fn)(void *arg);
    void *drained_arg;
};

struct grpc_server *grpc_server_new(const struct grpc_server_options *options);
/* Take over an accepted descriptor. */
void grpc_server_accept(struct grpc_server *s, int fd);
/*
 * Refuse new connections and new streams (GOAWAY), end those whose client streams with ST_STOPPED, let the others end; a connection
 * goes when its last answer is sent. grpc_server_free ends what is left.
 */
void grpc_server_drain(struct grpc_server *s);
void grpc_server_free(struct grpc_server *s);
unsigned grpc_server_conns(const struct grpc_server *s);

/* ---- a call, for its handler ---- */

const struct grpc_method *grpc_call_method(const struct grpc_call *call);

/* The handler's own pointer. */
void grpc_call_set_data(struct grpc_call *call, void *data);
void *grpc_call_data(const struct grpc_call *call);

/* A request metadata value by its lower-case name ("token", "hasleader"); empty if absent. Valid while the call lives. */
struct slice grpc_call_metadata(const struct grpc_call *call, const char *name);

/* grpc-timeout as an instant of loop_now_ns; INT64_MAX without one. */
int64_t grpc_call_deadline_ns(const struct grpc_call *call);
bool grpc_call_is_canceled(const struct grpc_call *call);

/*
 * Room for one message of exactly len bytes in the call's output: write all of it before returning to the loop. It is sent
 * at the end of the round, with everything else of its connection.
 */
uint8_t *grpc_call_message(struct grpc_call *call, size_t len);
/*
 * The same for a message that was built elsewhere and may be large: message holds GRPC_FRAME_BYTES of any content
 * (net/grpc_text.h), then the message, and is taken: it is empty after.
 */
void grpc_call_take_message(struct grpc_call *call, struct buf *message);
/*
 * The stream's unsent output is over WATCH_QUEUE_BYTES_MAX, or its connection's over CONN_OUTPUT_BYTES_MAX: a streaming handler
 * should stop until on_writable; no message of the stream is given to it before. A unary handler that waited before its
 * answer should hold it.
 */
bool grpc_call_is_full(const struct grpc_call *call);
/* on_writable is called when the connection has room. Only for unary methods that have one. */
void grpc_call_hold(struct grpc_call *call);

/* End the call with a status: trailers with code and text. text NULL: the table's. Frees the call. */
void grpc_call_finish(struct grpc_call *call, enum status st, const char *text);

#endif
