/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold at every moment (Raft, figure 3; faults of others), checked as members run: what members know of each other
 * is known here of all of them. Linearizability is history.h's.
 */
#ifndef TESTS_SIM_RULES_H
#define TESTS_SIM_RULES_H

#include "raft/raft.h"
#include "mvcc/mvcc.h"

struct sim_member;
struct member_world;

/* Of the log, by index, as the first member said that knew it committed. */
struct rule_entry {
    raft_term term;      /* 0: nobody did yet */
    raft_term known_in;  /* the term that member was in */
    uint32_t crc;
    mvcc_rev revision;   /* of the store once it is applied; 0: nobody applied it */
};

struct rules {
    struct rule_entry *entries;
    size_t entries_cap;
    raft_index last;  /* known to be committed */
    raft_id *leaders; /* by term; 0: none */
    size_t leaders_cap;
    unsigned elections;
};

void rules_fini(struct rules *r);

/* A member was born: it knows nothing yet. */
void rules_on_start(struct sim_member *m);
/* Before it runs, after what it heard. */
void rules_before_run(struct sim_member *m);
/* After it ran. */
void rules_on_run(struct sim_member *m);
/* After a tick of its core. */
void rules_on_tick(struct sim_member *m);
/* It heard of another. */
void rules_on_heard(struct sim_member *m, raft_id from);
/* A message leaves it: is what it promises durable? */
void rules_on_send(struct sim_member *m, const struct raft_message *message);
/* A write was acknowledged there: could a majority be lost now, and it with them? */
void rules_on_ack(struct sim_member *m);
/* All logs, entry by entry. */
void rules_compare_logs(struct member_world *s);

#endif
