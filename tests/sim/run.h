/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: whole members (raftd/node with raft, mvcc and the log, on disks in memory) in a world, clients that write and
 * read, and what goes wrong: crashes that lose what was not synced, also in the middle of a write or of a seal, pauses,
 * clocks that differ, separations, a slow disk. Afterwards everything heals, must come to rest with equal stores, and
 * what the clients saw must be true.
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

struct run_result {
    uint64_t operations, done, unknown;
    unsigned crashes, seals, elections, snapshots;
};

/* Ends the process if anything is not as it must be. trace: tell what happens. dir: for the stores, empty. */
void run_seed(uint64_t seed, const char *dir, bool trace, struct run_result *ret_result);

#endif
