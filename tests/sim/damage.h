/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a member's files that are not what was written: bits that flipped, garbage, sectors that were lost; in any segment of its log,
 * its promise (or all of that), any file of its stores, and the small files beside them. A member of three or more finds it and heals (raftd/storage.h);
 * where that cannot be, it refuses to start, and the operator puts back what was there: damage_undo.
 *
 * What cannot be told from a torn write is not damaged: the last group of the log, where no later record proves that it was durable
 * (doc/format-wal.md).
 */
#ifndef TESTS_SIM_DAMAGE_H
#define TESTS_SIM_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/raft.h"

#define DAMAGE_PATCHES_MAX 8
#define DAMAGE_BYTES_MAX 512 /* a sector */

struct sim_member;

struct damage_patch {
    bool in_log;    /* of its disk in memory; else a file below its directory */
    char name[300];
    uint64_t offset;
    size_t len;
    uint8_t before[DAMAGE_BYTES_MAX], after[DAMAGE_BYTES_MAX];
    bool is_lost; /* the whole file: its name is another */
};

struct damage {
    struct damage_patch patches[DAMAGE_PATCHES_MAX]; /* since it was last whole */
    unsigned count;
    bool is_open;         /* not known to be healed */
    bool needs_operator;  /* something without which no member starts: who it is, what it promised */
    bool log;             /* the log may be damaged, and nobody has read it since */
    bool log_is_broken;   /* and is: the next start must find it */
    bool promise_is_lost; /* the file is: no start may go without it */
    uint64_t life;        /* in which the last one came */
    raft_index committed; /* by then: what it must have again */
};

/* Damage something, whether it is up or not. False: there is nothing, or nothing more is to be damaged. */
bool damage_member(struct sim_member *m);
/* As it was before, as far as the files are still there. */
void damage_undo(struct sim_member *m);
/* What it forgot of what it promised, as its disk says: a log that was given up makes that more. 0: nothing, or nobody knows. */
raft_term damage_lost_term(const struct sim_member *m);
/* A start has read all of the log: what is still there of damage in it is none, and is written over. */
void damage_forget_log(struct sim_member *m);
/* Something was damaged, and it is not known to be healed. */
bool damage_is_open(const struct sim_member *m);
/* Reads all it has, if it was started since; nothing is open if that is whole and it has caught up. */
void damage_look(struct sim_member *m);

#endif
