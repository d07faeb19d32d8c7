/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member of the cluster without its event loop: consensus core, log, store and the requests that wait for them, bound
 * together by the Ready loop. Decides; its owner acts: it calls node_run after every round of events, node_tick as time passes, and
 * gives it the functions to send a message and to hear of applied revisions. One thread; nothing here blocks. The
 * simulator runs it as it is.
 *
 * A write: node_propose -> log of a quorum -> applied here -> done_fn with the answer. A linearizable read: node_read ->
 * ReadIndex -> applied that far -> done_fn, which then reads the store. Both give up at their deadline (etcd: 5 s + 2
 * election timeouts): ST_TIMEOUT then means that the outcome is unknown.
 */
#ifndef RAFTD_NODE_NODE_H
#define RAFTD_NODE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/slice.h"
#include "mvcc/mvcc.h"
#include "raft/raft.h"
#include "raftd/node/command.h"
#include "raftd/node/kv.h"
#include "raftd/node/members.h"
#include "raftd/wal/wal.h"

struct node;
struct node_request; /* something a client waits for */

struct node_options {
    uint64_t cluster_id, member_id;
    const struct members *initial;   /* of a new cluster; an old one has its own */
    struct mvcc *store;              /* stays the caller's */
    struct wal *wal;                 /* opened, not started; stays the caller's */
    int64_t tick_ns;                 /* --heartbeat-interval */
    unsigned election_ticks;         /* --election-timeout in ticks */
    size_t message_bytes_max;        /* of entries in one message; RAFT_MESSAGE_BYTES_MAX */
    unsigned inflight_messages_max;  /* unanswered appends a follower; RAFT_INFLIGHT_MESSAGES_MAX */
    uint64_t random_seed;
    int64_t now_ns;                  /* monotonic */
    struct kv_limits limits;
    /* Copy and send, or drop. Messages of one call are in order. */
    void (*send_fn)(void *arg, const struct raft_message *m);
    /* A request came in: call node_run at the end of this round. */
    void (*work_fn)(void *arg);
    /* The store moved to a newer revision (watches). */
    void (*applied_fn)(void *arg);
    /* Start writing this seal on the storage thread; node_seal_written when it is done. */
    void (*seal_fn)(void *arg, struct mvcc_seal *seal);
    /* A role, a leader or a term changed (log line, metrics). */
    void (*changed_fn)(void *arg, const struct raft_status *status);
    /* The process must end: storage is damaged or refused. Does not return. */
    void (*fail_fn)(void *arg, const char *text);
    /* The wall clock, for the commit times in proposals. */
    int64_t (*wall_ns_fn)(void *arg);
    void *arg;
};

/* Restores from the store's checkpoint and the log behind it. */
enum status node_new(const struct node_options *options, struct node **ret_node, struct error *ret_error) MUST_CHECK;
void node_free(struct node *n); /* waiting requests end with ST_STOPPED */

/* ---- events ---- */
void node_step(struct node *n, const struct raft_message *m);
/* Time is now_ns: ticks that are due, deadlines that passed. Returns when it wants to be called again at the latest. */
int64_t node_tick(struct node *n, int64_t now_ns);
/* The log's durable ticket may have grown. */
void node_on_wal(struct node *n);
void node_on_seal_written(struct node *n, struct mvcc_seal *seal, enum status st, const struct error *error);
void node_on_unreachable(struct node *n, uint64_t member_id);
/* Everything that piled up: store, send, apply, answer. Call at the end of every round of events. */
void node_run(struct node *n);

/* ---- requests ---- */

/*
 * answer: protobuf bytes of the response (empty unless ST_OK), valid during the call. The callback may propose, read and
 * cancel other requests; its own has ended.
 */
typedef void (*node_done_fn)(void *arg, enum status st, struct slice answer);

/*
 * Replicate and apply a request of the given kind; payload is copied. *ret_request may be used to cancel. A refusal is
 * returned at once, without done_fn: ST_TOO_MANY_REQUESTS, ST_REQUEST_TOO_LARGE, ST_STOPPED. Without a leader it waits for one.
 */
enum status node_propose(struct node *n, enum command_kind kind, struct slice payload, int64_t deadline_ns,
                         node_done_fn done_fn, void *arg, struct node_request **ret_request) MUST_CHECK;

/* Wait until a read here is linearizable. */
enum status node_read(struct node *n, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                      struct node_request **ret_request) MUST_CHECK;

/* The client has gone: done_fn is not called. A proposal may still be applied. */
void node_cancel(struct node *n, struct node_request *request);

/* ---- what is the case ---- */
void node_get_raft_status(const struct node *n, struct raft_status *ret_status);
struct mvcc *node_store(struct node *n);
const struct members *node_members(const struct node *n);
/* For response headers. */
void node_get_header(const struct node *n, struct kv_header *ret_header);
/* etcd: 5 s + 2 election timeouts */
int64_t node_request_timeout_ns(const struct node *n);

#endif
