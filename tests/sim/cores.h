/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other kind of run: bare cores (raft/ and nothing else) over logs and a network that are simulated. It is for what whole members
 * never do or seldom come to (joint configurations, a disk that lags behind by elections, answers that outlive them), and costs a
 * fraction of theirs. The owner's side is raft.h's to the letter: batches are durable in order, one after the other, what was not
 * yet may be lost; a store has a checkpoint, and what came as a snapshot. The parts: cores.c is a member, cores_run.c its world.
 */
#ifndef TESTS_SIM_CORES_H
#define TESTS_SIM_CORES_H

#include "tests/sim/core_rules.h"
#include "tests/sim/run.h"
#include "tests/sim/world.h"

/* A batch with the disk; or the word that the log begins anew behind an entry. */
struct core_batch {
    uint64_t number;
    bool has_hard;
    struct raft_hard_state hard;
    raft_index begin; /* 0: goes on */
    raft_term begin_term;
    struct raft_entry **entries;
    size_t count;
    struct raft_message *after; /* leave when it is durable */
    size_t after_count;
};

/* What is durable: the log, and the store's checkpoint. */
struct core_disk {
    struct raft_hard_state hard;
    raft_term lost_term; /* raft.h; 0: it never lost its log */
    raft_index begin, checkpoint;
    raft_term begin_term, checkpoint_term;
    struct raft_entry **entries; /* behind begin */
    size_t count, cap;
};

/* A read that was asked for, and what anybody knew to be committed then. */
struct core_read {
    uint64_t context;
    raft_index floor;
};

struct cores;

struct sim_core {
    struct cores *shared;
    unsigned number; /* its id is number + 1 */
    struct raft *raft; /* NULL: down */
    uint64_t life;
    struct core_disk disk;
    struct core_batch *batches;
    size_t batch_count, batch_cap;
    bool store_due, led;
    int64_t paused_until_ns, stalled_until_ns;
    unsigned clock_percent;
    raft_id installs; /* who announced the snapshot that is being installed; 0: none is */
    raft_index install_index;
    raft_term install_term;
    struct core_read *reads;
    size_t read_count, read_cap;
};

/* The configuration from that entry on. */
struct core_conf_point {
    raft_index index;
    struct raft_conf conf;
};

struct cores {
    struct world world;
    unsigned count, founders;
    struct sim_core members[WORLD_NODES_MAX];
    struct core_rules rules;
    struct core_conf_point *confs;
    size_t conf_count, conf_cap;
    raft_index *applied_at; /* by number of the proposal; 0: nowhere yet */
    size_t applied_cap;
    uint64_t proposals, contexts, reads_answered, crashes, snapshots;
    bool trace, changes; /* of the members */
    bool lost;           /* a log was, once */
    void (*elected_fn)(void *arg, struct sim_core *m); /* it leads now, and did not */
    void *elected_arg;
    /* drawn */
    int64_t tick_ns, store_ns, install_ns;
    unsigned forgets; /* of a thousand appends, after how many the leader is taken for lost */
    unsigned slow_stores, election_ticks, heartbeat_ticks, inflight;
    size_t message_bytes, uncommitted_bytes, value_bytes;
    bool pull_log;
    raft_index catchup;
};

void cores_init(struct cores *s);
void cores_fini(struct cores *s);
void core_start(struct sim_core *m);
void core_crash(struct sim_core *m);
/* Of one that is down: its log goes, its store stays. */
void core_lose_log(struct sim_core *m);
/* After anything was done to it. */
void core_run(struct sim_core *m);
/* Up, and not paused. */
bool core_is_awake(const struct sim_core *m);
void core_propose(struct sim_core *m, unsigned entries);
void core_read(struct sim_core *m);
/* The store is durable as it is now, and the log before it goes but for some entries. */
void core_checkpoint(struct sim_core *m);
void cores_trace(const struct cores *s, const char *format, ...) PRINTF_LIKE(2, 3);

void cores_run_seed(uint64_t seed, bool trace, struct run_result *ret_result);

#endif
