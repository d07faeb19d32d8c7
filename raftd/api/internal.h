/* SPDX-License-Identifier: Apache-2.0 */
/* What the services of this room share. */
#ifndef RAFTD_API_INTERNAL_H
#define RAFTD_API_INTERNAL_H

#include <sys/queue.h>

#include "common/buf.h"
#include "mvcc/watch.h"
#include "proto/arena.h"
#include "proto/rpc.pb-c.h"
#include "raftd/api/api.h"
#include "raftd/node/kv_range.h"

struct watch;
struct watch_stream;
struct long_range;
struct hashing;
TAILQ_HEAD(long_ranges, long_range);
TAILQ_HEAD(hashings, hashing);
TAILQ_HEAD(watch_list, watch);

struct api {
    struct loop *loop;
    struct node *node;
    struct arena arena; /* the request being handled */
    struct buf answer;  /* and its answer */
    uint64_t waiting_bytes; /* of reads that are not linearizable yet, or wait for room for their answer */
    /* ranges that take more than one slice (long_range.c) */
    struct long_ranges long_ranges, parked_ranges;
    struct loop_timer next_slice;
    uint64_t sliced_bytes; /* of their answers */
    /* hashes being made (hash.c) */
    struct hashings hashings;
    unsigned hashing_count;
    struct loop_timer next_hash_slice;
    /* watches */
    struct watch_hub *hub;
    TAILQ_HEAD(watch_streams, watch_stream) streams;
    struct watch_list dirty; /* with events to send */
    unsigned watch_count;
    struct loop_task publish;
    struct loop_timer catch_up; /* the next slice of history */
    int64_t leaderless_since_ns; /* 0: there is a leader */
    struct loop_timer leaderless; /* streams that asked for a leader end then */
};

enum method_flags {
    METHOD_STREAMS = 1,        /* messages both ways, until somebody ends it */
    METHOD_WATCHES_LEADER = 2, /* "hasleader" is the handler's to enforce: a stream that goes on */
    METHOD_ANSWERS_STREAM = 4, /* one request, many answers */
    METHOD_ON_LEARNERS = 8,    /* what a member that does not vote serves, too (Range: if it is serializable) */
    METHOD_READS = 16,         /* tells what is stored: not where that is wrong, or may be (node_refuses_reads) */
};

struct api_method {
    const char *path;
    /* Decodes, and finishes the call now or later. */
    void (*handle)(struct api *a, struct grpc_call *call, struct slice message);
    unsigned flags;
    /* NULL: the calls that wait for the node know how */
    void (*on_cancel)(struct grpc_call *call, void *service_arg);
    void (*on_writable)(struct grpc_call *call, void *service_arg); /* the same */
};

/* Empty room for an answer, until the next one. */
struct buf *api_answer_room(struct api *a);
/* One answer, and the end. */
void api_reply(struct grpc_call *call, struct slice answer);
void api_fail(struct grpc_call *call, enum status st);
/* protobuf-c messages as answers. */
void api_reply_message(struct grpc_call *call, const ProtobufCMessage *m);
/* Fills a header with the revision of now. */
void api_fill_header(struct api *a, Etcdserverpb__ResponseHeader *h, int64_t revision);

/*
 * A call that waits for the node: it is tied to the request, so that a client that goes cancels it. A refusal of the node is answered.
 */
void api_propose(struct api *a, struct grpc_call *call, enum command_kind kind, struct slice payload);
/* then_fn is called, with the bytes of the request, once a read is linearizable. */
typedef void (*api_read_fn)(struct api *a, struct grpc_call *call, struct slice message);
void api_read(struct api *a, struct grpc_call *call, struct slice message, api_read_fn then_fn);
/* Answered, with an empty message, once `to` leads. */
void api_transfer_leader(struct api *a, struct grpc_call *call, uint64_t to);

/* What a unary call that is under way hangs on; its call data. */
struct api_pending {
    /* The client has gone: forget the call. */
    void (*cancel_fn)(struct api *a, struct api_pending *p);
};
/* on_cancel of such calls. */
void api_on_pending_canceled(struct grpc_call *call, void *service_arg);

/* long_range.c: the first slice of x, which is taken, is in a->answer and was not the last. */
void api_range_go_on(struct api *a, struct grpc_call *call, struct kv_range *x);
/* x, which is taken, in parts: a message a slice, as fast as the client takes them. */
void api_range_stream(struct api *a, struct grpc_call *call, struct kv_range *x);
void api_range_stream_on_writable(struct grpc_call *call, void *service_arg);
void api_range_next_slice(void *arg); /* next_slice's */
void api_range_on_restored(struct api *a, struct mvcc *store);

/* hash.c */
void api_hash(struct api *a, struct grpc_call *call, struct slice message);
void api_hash_kv(struct api *a, struct grpc_call *call, struct slice message);
void api_hash_init(struct api *a);
void api_hash_fini(struct api *a);

/* kv.c */
void api_kv_range(struct api *a, struct grpc_call *call, struct slice message);
void api_kv_range_stream(struct api *a, struct grpc_call *call, struct slice message);
void api_kv_put(struct api *a, struct grpc_call *call, struct slice message);
void api_kv_delete(struct api *a, struct grpc_call *call, struct slice message);
void api_kv_txn(struct api *a, struct grpc_call *call, struct slice message);
/* maintenance.c */
void api_status(struct api *a, struct grpc_call *call, struct slice message);
void api_alarm(struct api *a, struct grpc_call *call, struct slice message);
void api_move_leader(struct api *a, struct grpc_call *call, struct slice message);
/* cluster.c */
void api_member_list(struct api *a, struct grpc_call *call, struct slice message);
void api_member_add(struct api *a, struct grpc_call *call, struct slice message);
void api_member_remove(struct api *a, struct grpc_call *call, struct slice message);
void api_member_update(struct api *a, struct grpc_call *call, struct slice message);
void api_member_promote(struct api *a, struct grpc_call *call, struct slice message);
/* health.c */
void api_health_check(struct api *a, struct grpc_call *call, struct slice message);
void api_health_watch(struct api *a, struct grpc_call *call, struct slice message);
void api_health_on_cancel(struct grpc_call *call, void *service_arg);
/* watch.c */
void api_watch_init(struct api *a);
void api_watch_fini(struct api *a);
void api_watch_on_restored(struct api *a, struct mvcc *store);
void api_watch_message(struct api *a, struct grpc_call *call, struct slice message);
void api_watch_on_cancel(struct grpc_call *call, void *service_arg);
void api_watch_on_writable(struct grpc_call *call, void *service_arg);

#endif
