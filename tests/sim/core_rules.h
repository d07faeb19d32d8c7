/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Raft forbids (its paper: figures 2 and 3; thesis 4.1, 6.2, 6.4), checked on any cores that share a world: what each member knows
 * of the others is known here of all. The owner tells what happens to a core, in the order in which it does; what is looked at
 * inside is the core itself, never what it thinks that it may do.
 */
#ifndef TESTS_SIM_CORE_RULES_H
#define TESTS_SIM_CORE_RULES_H

#include "raft/internal.h"
#include "tests/sim/world.h"

/* Of the log, by index, as the first member said that knew it committed. */
struct rule_entry {
    raft_term term;     /* 0: nobody did yet */
    raft_term known_in; /* the term that member was in */
    uint32_t crc;
};

/* A read that a leader was asked for, and the newest round of heartbeats that it had sent before. */
struct rule_read {
    raft_id from;
    uint64_t context, round;
};

/* What is known of one member. Its core is there while it is up. */
struct core_watch {
    const struct raft *core;
    unsigned number; /* its id is number + 1 */
    /* of this life */
    raft_index commit, applied, elected_commit;
    size_t inherited; /* bytes that were not committed when it was elected */
    raft_index commit_before, last_before; /* a message was stepped */
    raft_term last_term_before;
    raft_term leader_term; /* the last that it was seen to lead */
    enum raft_role role;
    raft_term term;
    struct raft_conf ticked_conf, ran_conf;
    unsigned led_ticks, silent_ticks[WORLD_NODES_MAX];
    uint64_t *contexts; /* of the read points that it asked others for */
    size_t context_count, context_cap;
    /* as the leader of leader_term */
    struct rule_read *reads;
    size_t read_count, read_cap;
    uint64_t round, answered[WORLD_NODES_MAX];
    /* of all its lives: what it promised to others */
    raft_term acked_in, acked_term; /* the term it said so in; that entry's */
    raft_index acked;
    raft_term voted_in;
    raft_id vote;
    bool is_wiped;    /* it does not know that it promised anything: whatever it says, nobody may hear it */
    raft_term forgot; /* what it promised up to this term went with its log; 0: nothing did */
};

struct core_rules {
    struct core_watch watches[WORLD_NODES_MAX];
    struct rule_entry *entries;
    size_t entries_cap;
    raft_index last;  /* known to be committed */
    raft_id *leaders; /* by term; 0: none */
    size_t leaders_cap;
    unsigned elections;
    size_t batch_bytes_max; /* of proposals that a core is handed at once, if that is more than a message's worth */
};

void core_rules_init(struct core_rules *r);
void core_rules_fini(struct core_rules *r);

/* A member was born, or came back: it knows what its disk kept. */
void core_rules_on_start(struct core_rules *r, unsigned number, const struct raft *core);
/* Before it comes back: with another log than it had. */
void core_rules_on_lost_log(struct core_rules *r, unsigned number);
void core_rules_on_wiped(struct core_rules *r, unsigned number);
/* The operator has it go on alone: what came after `keep` and was not of this member counts for nothing any more. */
void core_rules_on_alone(struct core_rules *r, unsigned number, raft_index keep, raft_term term);
void core_rules_on_end(struct core_rules *r, unsigned number);
/* A message is about to be stepped; it was. */
void core_rules_on_receive(struct core_rules *r, unsigned number, const struct raft_message *m);
void core_rules_on_stepped(struct core_rules *r, unsigned number, const struct raft_message *m);
/* Before its batches are taken, after what it heard; after they were. */
void core_rules_before_run(struct core_rules *r, unsigned number);
void core_rules_on_run(struct core_rules *r, unsigned number);
void core_rules_on_tick(struct core_rules *r, unsigned number);
/* It heard of another, whatever. */
void core_rules_on_heard(struct core_rules *r, unsigned number, raft_id from);
void core_rules_on_send(struct core_rules *r, unsigned number, const struct raft_message *m);
/* A leader asks itself for a read point; it gives one out. (Those of others are seen as messages.) */
void core_rules_on_own_read(struct core_rules *r, unsigned number, uint64_t context);
void core_rules_on_own_read_point(struct core_rules *r, unsigned number, uint64_t context, raft_index index);
/* A majority of each half; there: by number of the member. */
bool core_rules_is_quorum(const struct raft_conf *c, const bool there[WORLD_NODES_MAX]);
/* All logs, entry by entry. */
void core_rules_compare_logs(struct core_rules *r);
/* What is known of it; NULL: nobody knows it committed. */
const struct rule_entry *core_rules_entry(const struct core_rules *r, raft_index index);

#endif
