/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole members in one process, without sockets, threads or clocks: core, log (on a disk in memory), store and snapshots as they are
 * shipped. Messages lie in a pool and are lost, repeated and reordered as the test says; the storage thread's jobs run, and are
 * reported, in steps of their own, and a crash may come between any two; time is a number. All from one seed.
 */
#ifndef TESTS_UNIT_NODE_CLUSTER_H
#define TESTS_UNIT_NODE_CLUSTER_H

#include <stdbool.h>

#include "common/rng.h"
#include "raft/snapshot.h"
#include "raftd/node/node.h"

#define NODES 3
#define JOBS_MAX 64
#define POOL_MAX 4096
#define WRITES_MAX 8192
#define SPACE_LOW_BYTES (1u << 20) /* of a disk: many files of the log */

/* For the storage thread. */
struct work {
    struct mvcc_seal *seal; /* or */
    struct node_job *job;
    bool ran;
    enum status status;
    struct error error;
};

struct member_node {
    unsigned number; /* its id is number + 1 */
    bool up;
    char path[96];
    struct disk *disk;
    struct wal *wal;
    struct store_dir dir;
    struct mvcc *store;
    struct node *node;
    struct work work[JOBS_MAX];
    unsigned work_count;
    bool no_jobs; /* the storage thread hangs */
    bool keeps_no_voters;  /* what is told of voters is not on disk: node_voters_kept is the test's to call */
    unsigned told_voters;  /* the last number; 0: none yet */
    unsigned installed, sent, given_up, refused;
};

struct letter {
    bool is_snapshot;
    struct raft_message message;
    struct snapshot_message snapshot;
    uint8_t *data; /* of the snapshot message */
};

struct node_cluster {
    struct member_node nodes[NODES];
    struct letter pool[POOL_MAX];
    size_t pool_count;
    unsigned lost_percent, repeated_percent; /* of all messages */
    bool in_order;
    unsigned job_steps;                      /* of each member's storage thread in a step of time, at most */
    bool cut[NODES];                         /* off from all others */
    void (*tamper_fn)(struct snapshot_message *m, uint8_t *data); /* or NULL */
    struct rng rng;
    int64_t now_ns;
    char root[64];
    /* writes: keys w0, w1... */
    unsigned written;
    bool acknowledged[WRITES_MAX];
    unsigned acknowledged_count;
};

void node_cluster_init(struct node_cluster *c, uint64_t seed);
void node_cluster_fini(struct node_cluster *c);
void node_cluster_start(struct node_cluster *c, unsigned node);
/* As kill -9: what was written to files stays, what the storage thread had not begun is not done. */
void node_cluster_kill(struct node_cluster *c, unsigned node);
/* Some time passes: messages, jobs, ticks. */
void node_cluster_step(struct node_cluster *c);
void node_cluster_steps(struct node_cluster *c, unsigned steps);
/* Ask the leader, if there is one, for a write; steps until about `window` of them wait. */
void node_cluster_write(struct node_cluster *c, unsigned count);
/* -1: none */
int node_cluster_leader(const struct node_cluster *c);
/* Steps until there is one, and says which. */
unsigned node_cluster_elect(struct node_cluster *c);
/* Steps until all members are up to date with each other and nothing of a transfer is left, then compares them and looks for every acknowledged write. */
void node_cluster_converge(struct node_cluster *c);

#endif
