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
#include <sys/queue.h>

#include "common/error.h"
#include "common/limits.h"
#include "common/slice.h"
#include "mvcc/mvcc.h"
#include "raft/raft.h"
#include "raftd/node/command.h"
#include "raftd/node/kv.h"
#include "raftd/node/members.h"
#include "raftd/node/membership.h"
#include "mvcc/store_dir.h"
#include "raftd/wal/wal.h"

#define HEALING_MEMBERS_MIN 3u /* voters; with fewer, no leader can be elected without the one that lost its log */

struct node;
struct node_request; /* something a client waits for */
struct snapshot_message;

/* Work on files that nobody waits for. The node's; the owner only passes it on. */
struct node_job {
    void (*run_fn)(struct node_job *job);                  /* on the storage thread */
    void (*done_fn)(struct node *n, struct node_job *job); /* called by node_on_job_done; NULL: nothing */
    void (*free_fn)(struct node *n, struct node_job *job); /* after that, and when the node ends before it */
    TAILQ_ENTRY(node_job) link;
};

/* What may queue in a node: above it requests are refused (ST_TOO_MANY_REQUESTS), and messages wait or are not heard. */
struct node_bounds {
    size_t inflight_bytes_max;    /* unanswered appends a follower */
    size_t uncommitted_bytes_max; /* proposals; as much again while they wait for a leader */
    size_t unstored_bytes_max;    /* entries that wait for the own disk */
    uint64_t apply_lag_max;       /* entries that are committed and not applied */
    unsigned pending_max;         /* requests */
};

/* As raftd has it (common/limits.h). */
#define NODE_BOUNDS \
    ((struct node_bounds){RAFT_INFLIGHT_BYTES_MAX, RAFT_UNCOMMITTED_BYTES_MAX, RAFT_UNSTORED_BYTES_MAX, RAFT_APPLY_LAG_MAX, PENDING_REQUESTS_MAX})

struct node_options {
    uint64_t cluster_id, member_id;
    const struct members *initial;   /* of a new cluster; an old one has its own */
    struct mvcc *store;              /* stays the caller's; replaced when a snapshot is installed: restored_fn */
    struct mvcc_options store_options; /* how to open the one that replaces it; dir is not looked at */
    struct store_dir *dir;           /* where stores are; stays the caller's, kept up to date */
    struct wal *wal;                 /* opened, not started; stays the caller's */
    int64_t tick_ns;                 /* --heartbeat-interval */
    unsigned election_ticks;         /* --election-timeout in ticks */
    size_t message_bytes_max;        /* of entries in one message; RAFT_MESSAGE_BYTES_MAX */
    unsigned inflight_messages_max;  /* unanswered appends a follower; RAFT_INFLIGHT_MESSAGES_MAX */
    struct node_bounds bounds;       /* NODE_BOUNDS */
    uint64_t random_seed;
    int64_t now_ns;                  /* monotonic */
    bool force_new_cluster;          /* go on as the only member, with what is known to be committed */
    int64_t corrupt_check_ns;        /* --corrupt-check-time: a leader has all compare what they hold; 0: never */
    int64_t scrub_ns;                /* --scrub-time: between two times that all records are read from the disk; 0: never */
    bool strict_reconfig_check;      /* no change of the members that could cost the quorum: connected_fn */
    unsigned learners_max;           /* --max-learners */
    struct kv_limits limits;
    uint64_t snapshot_count;         /* --snapshot-count: beyond it and catchup, applied entries are forgotten... */
    uint64_t snapshot_catchup;       /* --snapshot-catchup-entries: ...but for so many, for members just behind */
    size_t window_bytes_max;         /* RAFT_WINDOW_BYTES_MAX */
    size_t snapshot_chunk_bytes;     /* SNAPSHOT_CHUNK_BYTES */
    uint64_t space_floor_bytes;      /* SPACE_FLOOR_BYTES */
    uint64_t space_low_bytes;        /* with less space than that on the disk, clients' writes are refused; 0: while there is any */
    /* Copy and send, or drop. Messages of one call are in order. */
    void (*send_fn)(void *arg, const struct raft_message *m);
    /* The same of messages about snapshots. */
    void (*send_snapshot_fn)(void *arg, const struct snapshot_message *m);
    /* A request came in: call node_run at the end of this round. */
    void (*work_fn)(void *arg);
    /* The store moved to a newer revision (watches). */
    void (*applied_fn)(void *arg);
    /* Start writing this seal on the storage thread; node_seal_written when it is done. */
    void (*seal_fn)(void *arg, struct mvcc_seal *seal);
    /* Run this job on the storage thread, after all before it (seals too), then node_on_job_done: later, never from within. */
    void (*job_fn)(void *arg, struct node_job *job);
    /*
     * A snapshot replaced the store: whoever holds the old one changes over to `store`, which holds all that it did and more, at the
     * same revisions. The old one is closed after.
     */
    void (*restored_fn)(void *arg, struct mvcc *store);
    /* Something about a snapshot, in words; why: or NULL (log line). */
    void (*snapshot_fn)(void *arg, const char *what, uint64_t peer, raft_index index, const char *why);
    /* This member's disk is about to be full (why: in words), or is not any more (log line). NULL is fine. */
    void (*space_fn)(void *arg, bool is_short, const char *why);
    /* node_members() is another: whom to talk to, and whom not any more (peers), and which alarms are on. At the end of a run. May be NULL. */
    void (*members_fn)(void *arg);
    /*
     * So many voters (members_voters) as of entry `index`, which is about to be in force here. True: it may be, whatever a start after a
     * crash knows of it (voters.h). False: not before node_voters_kept; until then nothing is applied, all else goes on, and the same is
     * told again. After a start what was told before comes again. NULL: nobody is told.
     */
    bool (*voters_fn)(void *arg, raft_index index, unsigned count);
    /* Since when we are connected to a member without a break, by the clock of now_ns; INT64_MAX: we are not. NULL: to nobody. */
    int64_t (*connected_fn)(void *arg, uint64_t member_id);
    /* A role, a leader or a term changed (log line, metrics). */
    void (*changed_fn)(void *arg, const struct raft_status *status);
    /*
     * A record of the store was found damaged, and those that are connected suffice as a quorum without us. Does not return, or there are no
     * others to get it back from: then reads of it go on failing, and so do writes that depend on it. NULL is fine.
     */
    void (*damaged_fn)(void *arg);
    /* This entry depends on a record that cannot be read (mvcc_get_damage): nothing is applied for now (log line). NULL: nobody is told. */
    void (*unreadable_fn)(void *arg, raft_index index);
    /* The log's disk gets nothing done for an election timeout, or does again (log line). NULL: nobody is told. */
    void (*disk_fn)(void *arg, bool stalls);
    /* Something about a comparison of what members hold, in words (log line). NULL: nobody is told. */
    void (*compare_fn)(void *arg, bool is_bad, const char *text);
    /* The process must end: storage is damaged or refused. Does not return. */
    void (*fail_fn)(void *arg, const char *text);
    /* The wall clock, for the commit times in proposals. */
    int64_t (*wall_ns_fn)(void *arg);
    /* node_tick's clock, for requests that come before the first tick after a pause. NULL: it is as of the last tick. */
    int64_t (*now_ns_fn)(void *arg);
    void *arg;
};

/*
 * Restores from the store's checkpoint and the log behind it; also finishes the installation of a snapshot that a crash interrupted
 * between the store and the log. ST_CORRUPT if they do not belong together.
 */
enum status node_new(const struct node_options *options, struct node **ret_node, struct error *ret_error) MUST_CHECK;
/* After the storage thread was stopped, if jobs were under way. */
void node_free(struct node *n); /* waiting requests end with ST_STOPPED */

/* ---- events ---- */
void node_step(struct node *n, const struct raft_message *m);
/* Time is now_ns: ticks that are due, deadlines that passed. Returns when it wants to be called again at the latest. */
int64_t node_tick(struct node *n, int64_t now_ns);
/* The log's durable ticket may have grown. */
void node_on_wal(struct node *n);
void node_on_seal_written(struct node *n, struct mvcc_seal *seal, enum status st, const struct error *error);
void node_on_job_done(struct node *n, struct node_job *job);
/* Of what voters_fn was told, nothing has to wait any more. Not from within it. */
void node_voters_kept(struct node *n);
/* From a member, or of any content. */
void node_on_snapshot_message(struct node *n, const struct snapshot_message *m);
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
 * returned at once, without done_fn: ST_TOO_MANY_REQUESTS, ST_REQUEST_TOO_LARGE, ST_NO_SPACE,
 * ST_CORRUPT_CLUSTER, ST_CORRUPT or ST_IO (what it depends on cannot be read here), ST_STOPPED. Without a leader it waits for one.
 */
enum status node_propose(struct node *n, enum command_kind kind, struct slice payload, int64_t deadline_ns,
                         node_done_fn done_fn, void *arg, struct node_request **ret_request) MUST_CHECK;

/* Wait until a read here is linearizable. ST_CORRUPT: nothing is applied here, for a record cannot be read. */
enum status node_read(struct node *n, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                      struct node_request **ret_request) MUST_CHECK;

/*
 * Give leadership to the voter `to`. done_fn is called with ST_OK once it is known here that it leads (this member may be it),
 * and with ST_TIMEOUT_TRANSFER when it does not come to pass: within an election timeout, for that long writes wait. Refusals:
 * ST_NOT_LEADER, ST_BAD_TRANSFEREE (no member, a learner, or one that the alarm CORRUPT names), ST_TOO_MANY_REQUESTS, ST_STOPPED.
 */
enum status node_transfer_leader(struct node *n, uint64_t to, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                                 struct node_request **ret_request) MUST_CHECK;
/*
 * Who would lead soonest after this leader: of the voters that are there and could (one that recovers, whose disk stalls, or that the alarm CORRUPT names, cannot) the
 * one that holds the most of the log; one that is short of space only if all are. 0: nobody, or it does not lead.
 */
uint64_t node_heir(const struct node *n);

/*
 * Change who is in the cluster. done_fn is called without an answer once the change is applied here, and node_members() has it then;
 * or with the leader's refusal, or ST_TIMEOUT: it may come to pass yet. One change after the other is made; who asks meanwhile
 * waits. Refused at once: as node_propose; ST_NOT_ENOUGH_STARTED, ST_UNHEALTHY.
 */
enum status node_change_members(struct node *n, const struct member_change *change, int64_t deadline_ns, node_done_fn done_fn,
                                void *arg, struct node_request **ret_request) MUST_CHECK;

/*
 * Compare what is stored here with what the others have of it, as etcd's --initial-corrupt-check. may_serve: a quorum holds the
 * same. Else a quorum does not, or some differ and nobody knows who is right. Until that is known, however long, done_fn is not called: silence
 * of the others is no answer. Once.
 */
typedef void (*node_compared_fn)(void *arg, bool may_serve);
void node_compare_at_start(struct node *n, node_compared_fn done_fn, void *arg);

/* The client has gone: done_fn is not called. A proposal may still be applied. */
void node_cancel(struct node *n, struct node_request *request);

/* ---- what is the case ---- */
void node_get_raft_status(const struct node *n, struct raft_status *ret_status);
struct mvcc *node_store(struct node *n);
const struct members *node_members(const struct node *n);
/* Does this member not vote (yet)? */
bool node_is_learner(const struct node *n);
/* The alarm CORRUPT is on for this member: what it holds is not what the others do. */
bool node_is_corrupt(const struct node *n);
/* Nothing that is stored here is to be told: CORRUPT is on for this member, or for nobody in particular, so that it may be this one. */
bool node_refuses_reads(const struct node *n);
/* For response headers. */
void node_get_header(const struct node *n, struct kv_header *ret_header);
/* etcd: 5 s + 2 election timeouts */
int64_t node_request_timeout_ns(const struct node *n);

#endif
