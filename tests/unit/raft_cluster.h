/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster of cores driven with arrays: no clock, no socket, no disk. Messages lie in one pool and are delivered,
 * dropped or repeated as the test says; storage completes when the test says; a crash loses what was not stored. A snapshot is
 * installed when its announcement is delivered, or fails by chance. After every step the safety properties of the paper (figure 3) are checked.
 */
#ifndef TESTS_UNIT_RAFT_CLUSTER_H
#define TESTS_UNIT_RAFT_CLUSTER_H

#include <stdbool.h>

#include "common/rng.h"
#include "raft/conf_change.h"
#include "raft/raft.h"

#define CLUSTER_NODES_MAX 7
#define CLUSTER_LOG_MAX 4096
#define CLUSTER_POOL_MAX 8192

/* A batch with the disk. */
struct cluster_batch {
    uint64_t number;
    bool has_hard;
    struct raft_hard_state hard;
    struct raft_entry **entries;
    size_t count;
    struct raft_message *after;
    size_t after_count;
};

struct cluster_node {
    struct raft *raft;
    bool up;
    /* durable */
    struct raft_hard_state hard;
    struct raft_entry *log[CLUSTER_LOG_MAX];
    raft_index last;
    raft_index snapshot_index; /* the log begins behind it */
    raft_term snapshot_term;
    raft_term lost_term; /* raft.h; 0: it never lost its log */
    /* under way */
    struct cluster_batch batches[256];
    size_t batch_count;
    raft_index applied;
    /* reads: context -> what was committed anywhere when it was asked */
    uint64_t asked_context[64];
    raft_index asked_floor[64];
    size_t asked;
};

struct cluster {
    unsigned n;
    /* Of the cores made from now on; kept by cluster_init. */
    bool no_pull;             /* plain Raft */
    size_t message_bytes_max; /* 0: tiny */
    unsigned voters; /* of them, in the configuration that every log begins with */
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    struct raft_message pool[CLUSTER_POOL_MAX];
    size_t pool_count;
    bool cut[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* from, to */
    struct rng rng;
    /* what is true of all of them */
    raft_id leader_of_term[CLUSTER_LOG_MAX];
    struct raft_entry *committed[CLUSTER_LOG_MAX];
    raft_index committed_last;
    uint64_t next_context;
    unsigned reads_answered;
    unsigned snapshots_installed;
    unsigned snapshot_failures; /* of 100 that are to be installed */
};

void cluster_init(struct cluster *c, unsigned n, uint64_t seed);
/* n nodes, of which the first `voters` are members. */
void cluster_init_some(struct cluster *c, unsigned n, unsigned voters, uint64_t seed);
void cluster_fini(struct cluster *c);

/* Take the node's ready batches; stored ones complete at once if sync. */
void cluster_run(struct cluster *c, unsigned node, bool sync);
/* The disk finishes the node's oldest batch. */
void cluster_store_one(struct cluster *c, unsigned node);
/* Deliver the message at this place of the pool (and forget it), or keep a copy there. */
void cluster_deliver(struct cluster *c, size_t at, bool keep);
void cluster_drop(struct cluster *c, size_t at);
/* Deliver everything, store everything, until nothing moves. */
void cluster_settle(struct cluster *c);
void cluster_tick(struct cluster *c, unsigned node);
/* So many ticks of every node, settled after each. */
void cluster_tick_all(struct cluster *c, unsigned times);
/* Cut the node off from all others, both ways, or mend that. */
void cluster_isolate(struct cluster *c, unsigned node, bool cut);
struct raft_status cluster_status(const struct cluster *c, unsigned node);
void cluster_crash(struct cluster *c, unsigned node);
/* Its disk is damaged: the log goes, the term it was in is known. It is down then. */
void cluster_lose_log(struct cluster *c, unsigned node);
/* It did, and has not caught up, as far as its disk knows. */
bool cluster_is_recovering(const struct cluster *c, unsigned node);
void cluster_restart(struct cluster *c, unsigned node);
/* Forget the node's log up to index, which it has applied: its store has that. */
void cluster_compact(struct cluster *c, unsigned node, raft_index index);
bool cluster_propose(struct cluster *c, unsigned node, const char *text);
/* "v4 l5 r1": the changes of one entry (none: leave). */
enum status cluster_change(struct cluster *c, unsigned node, enum raft_transition transition, const char *changes);
const struct raft_conf *cluster_conf(const struct cluster *c, unsigned node);
void cluster_ask(struct cluster *c, unsigned node);
/* -1: none */
int cluster_leader(const struct cluster *c);
/* Tick and settle until there is one; the count of ticks it took. */
unsigned cluster_elect(struct cluster *c);

#endif
