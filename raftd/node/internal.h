/* SPDX-License-Identifier: Apache-2.0 */
/* The private parts of a node, shared by the files of this room. */
#ifndef RAFTD_NODE_INTERNAL_H
#define RAFTD_NODE_INTERNAL_H

#include <sys/queue.h>
#include <uthash.h>

#include "common/buf.h"
#include "common/rng.h"
#include "proto/arena.h"
#include "raftd/node/divergence.h"
#include "raftd/node/node.h"
#include "raftd/node/read_ahead.h"

/* A write, a linearizable read, or a change of leader that a client waits for. */
struct node_request {
    uint64_t id;               /* a write's, as in its command */
    int64_t deadline_ns;
    node_done_fn done_fn;
    void *arg;
    struct raft_entry *entry;  /* a write that Raft has not taken (no leader known), else NULL */
    struct raft_entry *change; /* a change of the members: its entry, to ask again */
    raft_index index;          /* a read whose point is known: wait until this is applied */
    raft_id heir;              /* a change of leader: to whom */
    struct request_list *list; /* which one it stands in */
    TAILQ_ENTRY(node_request) link;
    UT_hash_handle hh;         /* writes, by id */
};
TAILQ_HEAD(request_list, node_request);

/* A message that may leave once the log is durable up to a ticket. */
struct held_message {
    uint64_t ticket;
    struct raft_message message; /* carries no entries */
};

/* A batch of entries with the log: when its ticket is durable, the core hears of it. */
struct stored_batch {
    uint64_t ticket;
    uint64_t batch; /* the core's number */
    size_t bytes;   /* of its entries */
};

/* Somebody wants the hash of what we hold at a revision. */
struct hash_question {
    uint64_t from, number; /* from 0: nobody */
    mvcc_rev rev;
    int64_t until_ns;
    bool done, known; /* the answer: */
    uint32_t hash;
    mvcc_rev compact_rev;
};

enum comparison_kind { COMPARISON_NONE, COMPARISON_AS_LEADER, COMPARISON_AT_START };

/* We want to know whether all hold the same. */
struct comparison {
    enum comparison_kind kind; /* COMPARISON_NONE: none is under way */
    uint64_t number;
    mvcc_rev rev;
    int64_t began_ns, until_ns, ask_again_ns;
    bool is_due_again; /* the next one waits: who has not answered is not waited for, if a quorum agrees */
    struct hash_row rows[MEMBERS_MAX]; /* that answered */
    unsigned row_count;
};

struct node {
    struct node_options options;
    struct raft *raft;
    struct members members;
    struct arena arena; /* requests decoded while applying */
    struct buf answer;  /* of the entry being applied */
    struct rng rng;
    int64_t now_ns, next_tick_ns;

    /* storage */
    uint64_t last_ticket;
    uint64_t decree_ticket; /* --force-new-cluster: of what was decreed at the start; 0: nothing was */
    struct held_message *held; /* ring by position: held_from..held_to */
    size_t held_from, held_to, held_cap;
    struct stored_batch *batches; /* the same */
    size_t batches_from, batches_to, batches_cap;
    size_t unstored_bytes;        /* in batches that are not durable yet */
    uint64_t durable_ticket;      /* as last seen */
    unsigned stalled_ticks;       /* since it moved, with something to write */
    bool disk_stalls;             /* for an election timeout */
    unsigned leaderless_ticks;    /* since there was a leader */
    bool seal_running;
    struct mvcc_seal *starved_seal; /* found no space: to be written again */
    bool is_short;                  /* of space: space.c */
    bool alarm_asked;               /* a proposal to raise or end the alarm is under way */
    unsigned next_leader;           /* the lead was offered to this one, last */
    raft_id heir;                   /* the lead is offered to this one; 0: to nobody */
    unsigned heirless_ticks;        /* before it is offered again */
    int64_t space_retry_at_ns;
    raft_index sealed_index; /* in a durable checkpoint */
    raft_term sealed_term;
    raft_index released_index; /* what the log was told */
    uint64_t log_bytes_applied; /* since the last checkpoint began */
    uint64_t bytes_applied;     /* of entries, since the start */

    /* snapshots */
    TAILQ_HEAD(, snapshot_sender) senders;
    TAILQ_HEAD(, node_job) jobs;                /* under way */
    TAILQ_HEAD(, snapshot_receiver) receivers;  /* also those that only wait for the end of their jobs */
    struct snapshot_receiver *receiver;         /* the one that is alive, or NULL */
    struct snapshot_partial *partial;           /* what was received so far, of any transfer */

    /* comparing */
    struct comparison comparison;
    int64_t compare_at_ns; /* the next one of a leader; 0: it was never set */
    node_compared_fn compared_fn;
    void *compared_arg;
    struct hash_question questions[MEMBERS_MAX];
    mvcc_rev hashing; /* for all who ask for that revision; 0: nothing */
    struct mvcc_hasher hasher;
    struct read_ahead hash_ahead;
    mvcc_rev hasher_compact_rev;
    int64_t next_slice_ns;
    struct scrub {
        int64_t next_ns; /* it begins, or its next slice; 0: it was never set */
        bool is_running;
        struct mvcc_hasher walk;
        struct read_ahead ahead;
    } scrub;

    /* requests */
    uint64_t next_request_id;
    struct node_request *writes; /* by id, until applied here */
    unsigned waiting;            /* requests of all kinds */
    size_t queued_bytes;         /* of writes that Raft has not taken */
    struct request_list proposing; /* writes to hand to Raft at the next run */
    struct request_list proposed;  /* with Raft */
    struct request_list changing;  /* changes of the members that Raft has not taken */
    int64_t change_retry_ns;       /* not before */
    struct request_list reading;   /* reads of no attempt */
    struct request_list asked;     /* reads of the attempt under way */
    struct request_list reached;   /* reads that wait until an index is applied, ascending */
    struct request_list handing_over; /* changes of leader, TRANSFER_REQUESTS_MAX at most */
    struct request_list ending;    /* whose callbacks are about to be called */
    bool stopping;
    struct raft_entry **batch;     /* room for the entries of one raft_propose */
    size_t batch_cap;
    uint64_t read_context;    /* of the attempt under way; 0: none */
    uint64_t next_context;
    int64_t read_retry_at_ns; /* a lost attempt is repeated then */
    int64_t earliest_deadline_ns;
    struct raft_status last_status; /* to notice changes */
    bool members_changed;     /* members_fn is to be called */
    bool was_run;             /* node_run was called, and what the log had is applied: a lone member campaigned */
    bool awaits_voters;       /* nothing is applied before node_voters_kept */
    bool awaits_record;       /* nor before what the next entry depends on can be read (apply.c) */
    bool leader_was_lost;     /* since the last answered request: colours a timeout's text */
};

/* node/request.c: what clients wait for */
void requests_init(struct node *n);
void requests_fini(struct node *n);
struct node_request *request_new(struct node *n, int64_t deadline_ns, node_done_fn done_fn, void *arg,
                                 struct request_list *list);
/* To the end of another list; NULL: to none. */
void request_move(struct request_list *to, struct node_request *r);
/* Those that were put aside. */
void requests_finish_ending(struct node *n, enum status st);
/* Hand what is queued to Raft; start a round of reads. */
void requests_send(struct node *n);
/* A write was applied here: answer it, if it waits. */
struct node_request *requests_find_write(struct node *n, uint64_t id);
uint64_t requests_next_id(struct node *n);
void request_finish(struct node *n, struct node_request *r, enum status st, struct slice answer);
void requests_on_read_state(struct node *n, const struct raft_read_state *state);
void requests_on_applied(struct node *n, raft_index applied);
void requests_expire(struct node *n);
/* The old leader took the attempt at a read point with it. */
void requests_on_new_leader(struct node *n);

/* node/transfer.c: changes of leader; at the end of every run, and with every tick */
/* With every tick while this member should not lead: if it does, the lead is offered to one voter after the other that could take it. */
void transfer_offer_lead(struct node *n, bool needs_space);
void transfers_run(struct node *n);
void transfers_expire(struct node *n);

/* node/change.c: changes of the members */
void changes_send(struct node *n);
/* A leader says that a change of ours is not taken. */
void changes_on_refused(struct node *n, const struct raft_message *m);
/* We, a leader, did not take what a follower forwarded. */
void changes_refuse(struct node *n, const struct raft_message *m, enum status st);
enum status changes_judge(void *arg, const struct raft_entry *entry);

/*
 * node/alone.c. The log ends at what is known to be committed, and behind that stands what leaves this member alone, from
 * (*entries)[*ret_from] on; all of it is committed. Not on disk yet.
 */
enum status alone_decree(struct node *n, struct raft_options *o, struct raft_entry ***entries, size_t *count, size_t *ret_from,
                         struct error *ret_error) MUST_CHECK;

/* node/compare.c: hashes of what members hold */
void compare_on_message(struct node *n, const struct raft_message *m);
/* Returns when it wants to be called again at the latest. */
int64_t compare_on_tick(struct node *n);

/* node/scrub.c: reading all records now and then. Returns when it wants to be called next. */
int64_t scrub_on_tick(struct node *n);

/* node/fitness.c: may this member lead, and promise votes? The core hears of it. */
void fitness_set(struct node *n);
void fitness_on_tick(struct node *n);

/* node/stall.c: a disk that gets nothing done */
void stall_on_durable(struct node *n, uint64_t durable);
void stall_on_tick(struct node *n);
/* So much waits for the disk that nothing may be added. */
bool stall_is_log_full(const struct node *n);

/* node/apply.c. False: not now, and nothing has changed; after node_voters_kept, or when a record can be read again. */
bool apply_entry(struct node *n, const struct raft_entry *e) MUST_CHECK;
/* May a write be proposed that would be applied to what is there now? ST_CORRUPT, ST_IO: it would have to wait for a record. */
enum status apply_foresee(struct node *n, enum command_kind kind, struct slice payload) MUST_CHECK;
/* Is a command of that kind refused, as an alarm is on? Then it changes nothing. */
bool apply_refuses(const struct node *n, enum command_kind kind);

/* node/space.c: what happens when the disk runs full */
/* ST_NO_SPACE: such a command is not to be proposed now. */
enum status space_admit(struct node *n, enum command_kind kind, struct slice payload) MUST_CHECK;
/* raft_step, but for what finds no room: of a proposal the entries that grow the store, of an append all of it (ST_NO_SPACE). */
enum status space_step(struct node *n, const struct raft_message *m);
void space_on_starved_seal(struct node *n, struct mvcc_seal *seal, const char *why);
void space_on_tick(struct node *n);

/* node/storage.c: log, checkpoints, and what may be forgotten */
void storage_append(struct node *n, const struct raft_ready *rd);
void storage_hold(struct node *n, const struct raft_message *m);
void storage_release_durable(struct node *n);
void storage_maybe_seal(struct node *n);
void storage_forget(struct node *n);

/* node/node.c: what is stored beside the keys, in every checkpoint and snapshot */
void node_encode_state(const struct node *n, struct buf *out);
/* Replaces what is there; unchanged on ST_CORRUPT. */
enum status node_decode_state(struct node *n, struct slice state) MUST_CHECK;
/* This configuration is about to be in force, as of that entry. False: not before node_voters_kept. */
bool node_tell_voters(const struct node *n, raft_index index, const struct raft_conf *conf) MUST_CHECK;
/* The same of a state that can be decoded. */
bool node_tell_voters_of(const struct node *n, raft_index index, struct slice state) MUST_CHECK;
/* Could it be decoded? */
enum status node_check_state(struct slice state) MUST_CHECK;
/* Asks the owner to heal, if the store is damaged. */
void heal_on_tick(struct node *n);
void node_tell_snapshot(struct node *n, const char *what, raft_id peer, raft_index index, const char *why);

/* To a peer, or to ourselves. */
void node_send(struct node *n, const struct raft_message *m);

#endif
