/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold at every moment, checked as whole members run: the rules of Raft (core_rules.h), and those of disks and stores. What
 * members know of each other is known here of all of them. Linearizability is history.h's.
 */
#ifndef TESTS_SIM_RULES_H
#define TESTS_SIM_RULES_H

#include "mvcc/mvcc.h"
#include "raft/raft.h"
#include "tests/sim/core_rules.h"

struct sim_member;
struct member_world;

struct rules {
    struct core_rules core;
    mvcc_rev *revisions; /* of the store once that entry is applied; 0: nobody applied it */
    size_t revisions_cap;
};

void rules_init(struct rules *r);
void rules_fini(struct rules *r);

/* A member was born, or came back; it dies. */
void rules_on_start(struct sim_member *m);
void rules_on_end(struct sim_member *m);
/* Before it comes back: it goes on alone with the entries up to `keep`. */
void rules_on_alone(struct sim_member *m, raft_index keep);
/* Before it runs, after what it heard. */
void rules_before_run(struct sim_member *m);
/* After it ran. */
void rules_on_run(struct sim_member *m);
/* After a tick of its core. */
void rules_on_tick(struct sim_member *m);
/* A message leaves it: is what it promises durable? */
void rules_on_send(struct sim_member *m, const struct raft_message *message);
/* A write was acknowledged there: could a majority be lost now, and it with them? */
void rules_on_ack(struct sim_member *m);

#endif
