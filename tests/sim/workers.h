/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many seeds in several processes. Whatever a seed does to its process (a check that fails, an invariant of the product, a
 * signal, a loop that never ends) is told with the seed and the command that repeats it.
 */
#ifndef TESTS_SIM_WORKERS_H
#define TESTS_SIM_WORKERS_H

#include "tests/sim/run.h"

/* Runs of bare cores that a seed has: each costs a tenth of its run of members. */
#define CORES_A_SEED 3

struct workers_options {
    uint64_t first, count;
    unsigned kinds; /* of runs that each seed has: enum run_kind */
    unsigned jobs;
    int64_t seconds;     /* begin no new seed after that; 0: no limit */
    bool keep_going;     /* past a seed that fails */
    bool progress;       /* a line now and then */
    const char *command; /* that repeats a seed: "test_sim -b NAME" */
};

struct workers_result {
    uint64_t seeds, failures;
    uint64_t first_failure; /* the first seed that was seen to fail */
    int64_t cpu_ns, elapsed_ns;
    struct run_result sum;
};

/* A directory of our own on a memory file system, if there is one and TMPDIR names no other. */
void workers_make_dir(char *ret_dir, size_t size);

/* One seed here, in this process: its runs, one after the other. */
void workers_run_one(const char *command, unsigned kinds, uint64_t seed, bool trace, struct run_result *ret_result);
void workers_run(const struct workers_options *o, struct workers_result *ret_result);

#endif
