/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consensus core (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm"; Ongaro's
 * thesis for pre-vote 9.6, check-quorum 6.2, ReadIndex 6.4, transfer 3.10). Messages and ticks in; out, in
 * batches, what to store, what to send, what to apply. It does no I/O, reads no clock, draws no random
 * number of its own and never logs. Takes arbitrary messages: any order, loss, repetition and delay, and
 * any field values; what makes no sense is ignored.
 *
 * The owner loops:   raft_step / raft_tick / raft_propose / raft_read_index  ->  raft_ready  ->
 *   1. hand ready.hard and ready.entries to storage as ONE batch, in the order of the batches;
 *   2. send ready.messages at once (a leader replicates in parallel with its own disk write, once its term is on a disk);
 *   3. send ready.messages_after_stored when that batch is durable, then call raft_stored with its number;
 *   4. apply ready.committed in order, calling raft_applied; answer ready.reads once applied up to theirs;
 *   -> raft_advance, which ends the batch. Several batches may be with the storage at the same time.
 *
 * Entries are the only shared objects: counted, immutable once proposed. Arrays in a ready batch belong to
 * the core and are valid until raft_advance; whoever keeps an entry longer takes a reference.
 */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/invariant.h"
#include "common/limits.h"
#include "common/status.h"

typedef uint64_t raft_id;    /* a member; 0 is nobody */
typedef uint64_t raft_term;  /* 0 before the first election */
typedef uint64_t raft_index; /* log position; the first entry is 1, 0 is "before the log" */

struct raft; /* opaque; private parts in raft/internal.h */

/* ---- entries ---------------------------------------------------------------------------------- */

/* Numbers as in raftpb (they are stored). */
enum raft_entry_type {
    RAFT_ENTRY_NORMAL = 0, /* a command; an empty one is a new leader's no-op */
    RAFT_ENTRY_CONF = 2,   /* a change of the configuration: raft/conf_change.h */
};

struct raft_entry {
    raft_term term;
    raft_index index;
    uint32_t refs; /* not atomic: entries are counted on the loop's thread only */
    uint32_t len;  /* bytes in data */
    uint8_t type;  /* enum raft_entry_type */
    uint8_t data[];
};

/* What an entry counts for in a message beside its data: no flood of tiny entries passes a limit of bytes. */
#define RAFT_ENTRY_OVERHEAD_BYTES 32u
/* No election ever gets there: a message that names a later term, or an index beyond, makes no sense. */
#define RAFT_NUMBER_MAX (UINT64_MAX >> 1)
/* A term that is further ahead of the own one than elections could ever have got it is of no member. */
#define RAFT_TERM_LEAP_MAX (1ull << 40)

/* One reference for the caller, who fills data before proposing. */
struct raft_entry *raft_entry_new(enum raft_entry_type type, uint32_t len);
struct raft_entry *raft_entry_ref(struct raft_entry *e);
void raft_entry_unref(struct raft_entry *e); /* NULL is fine */

/* ---- configuration and state ------------------------------------------------------------------- */

/* Sets of distinct members, none of them 0. Those that are zero-filled are empty. */
struct raft_conf {
    raft_id voters[RAFT_VOTERS_MAX];
    unsigned voter_count;
    raft_id outgoing[RAFT_VOTERS_MAX]; /* joint: the voters of before; decisions need a majority of these too */
    unsigned outgoing_count;
    raft_id learners[RAFT_LEARNERS_MAX]; /* get entries, do not count; none of them votes */
    unsigned learner_count;
    raft_id learners_next[RAFT_VOTERS_MAX]; /* joint: of the outgoing, become learners when it is left */
    unsigned learner_next_count;
    bool auto_leave; /* joint: the leader leaves it as soon as it can */
};

/* What must survive a crash besides the log. A changed commit alone needs no sync. */
struct raft_hard_state {
    raft_term term;
    raft_id vote; /* in that term; 0: none */
    raft_index commit;
};

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_options {
    raft_id id;
    struct raft_conf conf;       /* as of `applied` */
    unsigned election_ticks;     /* T: an election starts after T..2T-1 ticks without a leader; > heartbeat_ticks */
    unsigned heartbeat_ticks;    /* a leader's heartbeat each so many ticks; >= 1 */
    bool pre_vote;               /* thesis 9.6 */
    bool check_quorum;           /* thesis 6.2: a leader that hears no quorum for T ticks steps down */
    bool step_down_on_removal;   /* a leader that is no voter any more does; else it goes on until another is elected */
    bool pull_log;               /* raft/pull.c: who reaches a quorum, and only lacks entries, fetches them and is elected */
    /*
     * The owner's own rules for a change of the configuration, asked when this leader is about to append it and all former ones are
     * applied; what it answers, raft_propose and raft_step do. It may look (raft_get_*), no more. NULL: none.
     */
    enum status (*judge_conf_fn)(void *arg, const struct raft_entry *e);
    void *judge_conf_arg;
    uint64_t random_seed;        /* of the election timeouts */
    size_t message_bytes_max;    /* entries in one message (always at least one entry), with RAFT_ENTRY_OVERHEAD_BYTES each */
    unsigned inflight_messages_max;
    size_t inflight_bytes_max;
    size_t uncommitted_bytes_max;
    size_t applying_bytes_max;   /* entries out to be applied (always at least one), with RAFT_ENTRY_OVERHEAD_BYTES each; 0: any */
    /* What storage recovered. Entries follow snapshot_index without a gap; the core takes a reference. */
    struct raft_hard_state hard;
    raft_index snapshot_index;   /* last entry that the store contains and the log no longer does; 0: none */
    raft_term snapshot_term;
    /*
     * A log was lost that may have held acknowledged entries of terms up to this one; 0: none was. The term in hard is a later
     * one, in which this node promised nothing. Until its log ends in a later term, too, it neither votes nor campaigns
     * (raft/election.c, raft_is_recovering).
     */
    raft_term lost_term;
    raft_index applied;          /* snapshot_index <= applied <= last index */
    struct raft_entry *const *entries;
    size_t entry_count;
};

/* Takes references to the entries, copies the rest. Options that make no sense break an invariant. */
struct raft *raft_new(const struct raft_options *options);
void raft_free(struct raft *r);

/* ---- messages ---------------------------------------------------------------------------------- */

/* Numbers as in raftpb, so that traces of other implementations can be read beside ours. */
enum raft_message_type {
    RAFT_MSG_PROPOSE = 2,              /* follower -> leader of that term: entries (their term and index 0); context counts the
                                        * sender's proposals, hint_index tells its lives apart: taken once, or not at all */
    RAFT_MSG_APPEND = 3,               /* leader -> follower: entries after (index, log_term), commit */
    RAFT_MSG_APPEND_RESPONSE = 4,      /* index: last entry held; reject: hint_index, hint_term */
    RAFT_MSG_VOTE = 5,                 /* index, log_term: the candidate's last entry; transfer flag */
    RAFT_MSG_VOTE_RESPONSE = 6,        /* reject: commit, with hint_term the term of that entry */
    RAFT_MSG_SNAPSHOT = 7,             /* leader -> follower: a snapshot at (index, log_term) or later follows by other means */
    RAFT_MSG_HEARTBEAT = 8,            /* commit; context: a ReadIndex round, 0 none */
    RAFT_MSG_HEARTBEAT_RESPONSE = 9,   /* context; reject: this voter could not take the lead now. Answers a refused TIMEOUT_NOW, too */
    RAFT_MSG_TRANSFER_LEADER = 13,     /* follower -> leader: context is the transferee */
    RAFT_MSG_TIMEOUT_NOW = 14,         /* leader -> transferee: campaign at once */
    RAFT_MSG_READ_INDEX = 15,          /* follower -> leader: context as the follower chose it */
    RAFT_MSG_READ_INDEX_RESPONSE = 16, /* leader -> follower: index, context */
    RAFT_MSG_PRE_VOTE = 17,
    RAFT_MSG_PRE_VOTE_RESPONSE = 18,   /* as for a vote; pull_log: index, log_term, the last entry of a newer log */
    /* Our own (pull_log). */
    RAFT_MSG_PULL = 32,                /* to a newer log: what is behind (index, log_term)? */
    RAFT_MSG_PULL_RESPONSE = 33,       /* entries, commit; hint_index, hint_term: the last one; or reject, as for an append */
    /* Between owners, and ignored here: leader -> follower, a change of the configuration that it forwarded will never be appended. */
    RAFT_MSG_PROPOSE_REFUSED = 34,     /* context: the owner's number for it; hint_index: the enum status that says why */
    /* The same, between any two: what is the hash (HashKV) of revision `index`? context: the question's number. */
    RAFT_MSG_HASH = 35,
    RAFT_MSG_HASH_RESPONSE = 36,       /* index, context: the question's; hint_term: the hash, commit: compacted up to; reject: unknown */
};

struct raft_message {
    enum raft_message_type type;
    raft_id from, to;
    raft_term term; /* of the sender; not looked at in READ_INDEX and TRANSFER_LEADER */
    raft_term log_term;
    raft_index index;
    raft_index commit;
    raft_index hint_index;
    raft_term hint_term;
    uint64_t context;
    bool reject;
    bool transfer; /* VOTE: this election was ordered by the leader, leases do not hold it up */
    struct raft_entry **entries; /* index, index + 1, ...; the receiver takes its own references */
    size_t entry_count;
};

/*
 * A message that arrived. The caller keeps m and its array; the core takes references to entries that it
 * keeps. ST_OK also for what is ignored; ST_NO_LEADER, ST_TOO_MANY_REQUESTS for a PROPOSE or READ_INDEX
 * that was not taken; ST_BAD_ARGUMENT for a PROPOSE whose entries are missing or can be none; of a PROPOSE with a change of the configuration also what raft_propose answers: with any but
 * ST_NO_LEADER it is dropped for good, a repeated message will not be taken either.
 */
enum status raft_step(struct raft *r, const struct raft_message *m);

/* ---- events of the owner ------------------------------------------------------------------------ */

/* One unit of time passed. */
void raft_tick(struct raft *r);
/*
 * Start an election now (a single node does at start, a test when it likes). Nothing happens on a learner, a removed node,
 * or one that has yet to apply a change of the configuration that it knows to be committed.
 */
void raft_campaign(struct raft *r);

/*
 * Propose entries: a leader appends them and sets term and index, a follower forwards them. The core takes
 * references if it answers ST_OK. ST_NO_LEADER: nobody to give them to (also during a transfer);
 * ST_TOO_MANY_REQUESTS: uncommitted_bytes_max. A change of the configuration (raft/conf_change.h) comes alone, and on a
 * leader: ST_CONF_PENDING, or what raft_conf_changed or judge_conf_fn say of it. ST_OK promises nothing: a proposal may be lost, the owner
 * waits for it to come back committed, with a deadline.
 */
enum status raft_propose(struct raft *r, struct raft_entry *const *entries, size_t count) MUST_CHECK;

/*
 * Ask for a linearizable read point. `context` comes back in ready.reads with the index to wait for; it must be
 * new for every attempt (a reused one could be confirmed by answers meant for the former: etcd 21399).
 * Attempts may be lost without a word. ST_NO_LEADER: not taken.
 */
enum status raft_read_index(struct raft *r, uint64_t context) MUST_CHECK;

/*
 * Give leadership to the voter `to` (thesis 3.10); proposals are refused until it took over, said that it cannot, or T ticks passed, and
 * those of followers kept for whoever leads then. A follower asks its leader to. ST_NO_LEADER: nobody to ask; ST_NOT_FOUND: no member;
 * ST_BAD_ARGUMENT: a learner.
 */
enum status raft_transfer_leader(struct raft *r, raft_id to) MUST_CHECK;

/* A leader gives up at once, without an heir: its owner knows that it can lead no longer (a disk that stalls). */
void raft_step_down(struct raft *r);
/*
 * What its owner knows of it. Whoever is not fit starts no election and takes no leadership that is handed to it; as a leader it goes on,
 * until it steps down or hands over.
 */
enum raft_fitness {
    RAFT_FIT,
    RAFT_FIT_TO_FOLLOW, /* it votes for others: a cluster may need that vote */
    RAFT_UNFIT,         /* nor does it promise a vote, which it could not store */
};
void raft_set_fitness(struct raft *r, enum raft_fitness fitness);
/* A follower takes its leader for lost: it grants votes, and pre-votes, without waiting for the lease to end. */
void raft_forget_leader(struct raft *r);

/* The transport could not deliver to this member: stop streaming to it, probe. */
void raft_unreachable(struct raft *r, raft_id id);

/*
 * ---- snapshots ----
 * A member behind the log that is held gets a RAFT_MSG_SNAPSHOT at what is applied here now, and no appends until the owner, who
 * carries the state there by its own means, says how that ended. The state may be newer than announced: the owner moves it on
 * while it sends, so that the log behind it is short when it arrives. The receiving side: raft_step of the announcement (which
 * answers at once if this log has it, and moves the commit there); raft_wants_snapshot; then, once it is durable, raft_restore.
 */

/* A snapshot at index is installed on `id`; 0: it failed. Either way the member is probed: behind index, or where it was. */
void raft_snapshot_sent(struct raft *r, raft_id id, raft_index index);
/* Is a snapshot at (index, term) news? Not if it is committed here, or in the log and so can be had without it. */
bool raft_wants_snapshot(const struct raft *r, raft_index index, raft_term term);
/*
 * A snapshot was installed here, durably: the log starts anew behind (index, term), and the leader is told. ST_STALE, nothing
 * changed, if it is not wanted.
 */
enum status raft_restore(struct raft *r, raft_index index, raft_term term, const struct raft_conf *conf)
    MUST_CHECK;

/* ---- ready ---------------------------------------------------------------------------------------- */

struct raft_read_state {
    uint64_t context;
    raft_index index; /* the read is linearizable once this is applied */
};

struct raft_ready {
    uint64_t batch;              /* 1, 2, 3...; for raft_stored */
    bool hard_changed;           /* hard is to be stored */
    bool must_sync;              /* entries, or term or vote changed: durable before messages_after_stored */
    struct raft_hard_state hard;
    struct raft_entry **entries; /* to store; one at an index that is already stored replaces that and all behind it */
    size_t entry_count;
    struct raft_message *messages;
    size_t message_count;
    struct raft_message *messages_after_stored;
    size_t message_after_count;
    struct raft_entry **committed; /* to apply, gap-free; never beyond what a quorum, or the own disk, has stored */
    size_t committed_count;
    struct raft_read_state *reads;
    size_t read_count;
};

/* False: nothing to do. True: *ret_ready is filled, and raft_advance must follow before the next raft_ready. */
bool raft_ready(struct raft *r, struct raft_ready *ret_ready);
void raft_advance(struct raft *r);

/*
 * This batch and all before it are durable. By number and not by entry: an entry may be replaced and brought back while
 * its first life is still with the disk, and news of that one must not count for the other.
 */
void raft_stored(struct raft *r, uint64_t batch);
/* Applied up to index. */
void raft_applied(struct raft *r, raft_index index);
/*
 * Off: what comes next cannot be applied now. Nothing is handed out to be applied until it can, and then what was handed out and is not
 * applied comes again. Between two batches.
 */
void raft_put_off_applying(struct raft *r, bool off);
/* Forget entries up to index (<= applied); a follower behind them gets a snapshot. */
void raft_compact(struct raft *r, raft_index index);

/* ---- what is the case ------------------------------------------------------------------------------- */

struct raft_status {
    raft_id id, leader; /* leader 0: unknown */
    enum raft_role role;
    struct raft_hard_state hard;
    raft_index first, last, applied; /* the log held: first..last (first = last + 1 when empty) */
    raft_term last_term;
    bool recovering;                 /* it lost its log and has not caught up: no votes, no campaigns */
    raft_id transferee;              /* 0: no transfer under way */
    size_t uncommitted_bytes;        /* leader */
    size_t log_bytes;                /* data of the entries held */
};
void raft_get_status(const struct raft *r, struct raft_status *ret_status);
const struct raft_conf *raft_get_conf(const struct raft *r);

/* A leader's view of a member (a learner too); ST_NOT_FOUND if it is none of ours, ST_NOT_LEADER on others. */
enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };
struct raft_progress {
    raft_index match, next;
    enum raft_progress_state state;
    unsigned inflight;
    bool active; /* heard from in the last election_ticks */
    bool unfit;  /* it said last that it could not take the lead */
};
enum status raft_get_progress(const struct raft *r, raft_id id, struct raft_progress *ret_progress);

/* The lowest index that every member is known to hold: on a leader from its progress, on followers the most that one ever said. */
raft_index raft_match_min(const struct raft *r);
/* The same of the members that appends are streamed to now: what they lack is about to be sent. UINT64_MAX: there is none. */
raft_index raft_match_min_streaming(const struct raft *r);
/* The lowest index that can be compacted to so that the entries left have at most so many bytes of data; a walk over these. */
raft_index raft_index_to_fit(const struct raft *r, size_t bytes);

/* The term at an index of the held log (or its snapshot point); 0 if it is not there. */
raft_term raft_term_at(const struct raft *r, raft_index index);

/* The entry there, until the log is next changed; NULL if it is not held. */
const struct raft_entry *raft_entry_at(const struct raft *r, raft_index index);

/* For tests and traces: called with one line for each change of role and each vote. NULL: off. */
void raft_set_trace(struct raft *r, void (*trace_fn)(void *arg, const char *line), void *arg);

#endif
