/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of a scenario: nodes 1, 2, ... with their storage and a state machine that appends what it is told, and the
 * messages that are under way. Nothing happens by itself: commands (commands.c) tick, deliver, store and apply.
 */
#ifndef TESTS_SCENARIOS_ENV_H
#define TESTS_SCENARIOS_ENV_H

#include "tests/scenarios/notation.h"
#include "tests/scenarios/script.h"

enum level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_FATAL, LEVEL_NONE };

/* Growing arrays of parcels, in order. */
struct parcels {
    struct parcel *items;
    size_t count, cap;
};

struct node {
    struct env *env;
    struct raft *raft;
    struct raft_options options; /* as it was made; the arrays in it are not used again */
    bool async;                  /* storage and state machine answer by messages */
    enum raft_role role;         /* as the last ready told */
    raft_id leader;
    /* Storage. */
    struct raft_hard_state hard;
    struct raft_entry **log; /* behind compacted */
    size_t log_count, log_cap;
    raft_index compacted;
    raft_term compacted_term;
    struct checkpoint *history; /* the state machine after each entry; at least the first */
    size_t history_count, history_cap;
    struct parcels append_work, apply_work; /* async */
    /* What is to be told next. */
    bool restored;
    bool has_ready;
    struct raft_ready ready;
};

struct env {
    struct node **nodes;
    size_t count, cap;
    struct parcels messages;
    struct buf out;
    unsigned indent; /* blanks before each line */
    enum level level;
    uint64_t seed;   /* of the next node */
};

void env_init(struct env *e);
void env_fini(struct env *e);

/* Text of one or more lines, unless all is quiet; an error in any case. */
void env_out(struct env *e, const char *format, ...) PRINTF_LIKE(2, 3);
void env_error(struct env *e, const char *format, ...) PRINTF_LIKE(2, 3);

void parcels_push(struct parcels *list, struct parcel p);
/* Its first, for the caller to end. */
struct parcel parcels_take(struct parcels *list, size_t at);

/* env.c: what a node does */
/* A node more, restored to this point (index 0: with an empty log). */
void node_add(struct env *e, const struct raft_options *o, const struct checkpoint *from, bool async);
/* The process ends and begins again with what is stored. */
void node_restart(struct node *n);
bool node_has_ready(struct node *n);
void node_process_ready(struct node *n);
/* One piece of work. */
void node_process_append(struct node *n);
void node_process_apply(struct node *n);
void node_receive(struct node *n, const struct parcel *p);
/* The first entry that is kept, in the storage, is index + 1. */
void node_compact(struct node *n, raft_index index);
const struct checkpoint *node_checkpoint(const struct node *n, raft_index index);

/* commands.c: one command and what it printed, in e->out. */
void env_command(struct env *e, const char *line, const char *input);

#endif
