/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: whole members (raftd/node with raft, mvcc and the log, on disks in memory) in a world, clients that write and
 * read, and what goes wrong. Storms, in which much goes wrong at once, and calm weather, in which little does and hours pass
 * cheaply, alternate; between them everything heals and must come to rest with equal stores. In the end all members are
 * restarted, and what the clients saw must be true. The parts: client.c and ask.c, fault.c, aim.c, differ.c; run.c joins them.
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/history.h"
#include "tests/sim/member.h"

struct run_result {
    uint64_t operations, done, unknown;
    uint64_t crashes, seals, elections, snapshots;
    uint64_t damages, healed_logs, healed_stores, put_off, refused_starts, full_disks, full_seals, log_waits, no_space, store_errors, wipes, dismissed, alones, joined, grown, differed;
    int64_t virtual_ns;
    uint64_t trace; /* digest of all that happened */
};

/* Kinds of runs: of whole members; of bare cores (cores.h). */
enum run_kind { RUN_MEMBERS = 1, RUN_CORES = 2 };

/* Ends the process if anything is not as it must be. trace: tell what happens. dir: for the stores, empty. */
void run_seed(uint64_t seed, const char *dir, bool trace, struct run_result *ret_result);

/* ---- for the parts of a run ---- */

#define CLIENTS 6

enum weather {
    WEATHER_REST, /* nothing new is begun */
    WEATHER_CALM,
    WEATHER_STORM,
};

struct run;

struct client {
    struct run *run;
    unsigned number;
    bool waiting;
    struct sim_member *member;
    struct node_request *request;
    size_t op;
    mvcc_rev last_rev[SIM_KEYS]; /* as it last saw them */
};

/* What a member was when it was last looked at. */
struct moment {
    uint64_t life;
    bool leads, installs;
    struct raft_conf conf;
};

struct run {
    struct world world;
    struct member_world members;
    struct history history;
    struct client clients[CLIENTS];
    enum weather weather;
    uint64_t epoch;    /* counts changes of the weather: what was planned under an earlier one does not happen */
    int64_t think_ns;  /* of a client between two operations, at most */
    int64_t fault_ns;  /* between two faults, at most */
    int64_t outage_ns; /* how long a member stays away, at most */
    bool alone;        /* one was left alone: once a run */
    bool differed;     /* one was made to, and found */
    unsigned to_add;   /* members that the operator wants to have in place of others */
    uint64_t no_space; /* writes that were refused so */
    unsigned aim;      /* of a thousand moments, how many draw a fault (aim.c) */
    struct moment moments[WORLD_NODES_MAX];
    int64_t changed_ns; /* when a change of the members was asked for last */
};

/* run.c */
void run_pass(struct run *run, int64_t ticks);
/* Until all that are in the cluster hold all of it, and nobody waits. */
void run_to_rest(struct run *run, const char *when);

/* client.c */
void clients_start(struct run *run);
/* Ask that member now; the caller lets it run. */
void client_begin(struct client *c, struct sim_member *m, enum op_kind kind);
int64_t client_wait_ns(const struct run *run);

/* fault.c */
/* One thing goes wrong now, there. */
void faults_strike(struct run *run, struct sim_member *victim);
void faults_start(struct run *run);
/* Whatever was damaged is read; who cannot heal gets it back. False: nothing is damaged any more. */
bool faults_look_for_damage(struct run *run);
/* Those that ended for good are removed. False: they were. */
bool faults_remove_gone(struct run *run);
/* differ.c: in the end, and in runs whose members compare what they hold, one comes to hold something else. */
void differ(struct run *run);
/* aim.c: a member ran, and something may have begun that it is bad to disturb. */
void aim_on_run(void *arg, struct sim_member *m);
/* Everything is well again: no separations, no losses, everybody up. */
void faults_heal(struct run *run);

#endif
