/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients did and saw, and whether it can be true. The store numbers every change, so linearizability needs no
 * search: the revisions are the order. What is left to check is that the order agrees with time (nothing that was done
 * or seen before an operation began is later than it), with every answer, and with what the store holds in the end.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/mvcc.h"

#define SIM_KEYS 5
#define SIM_VALUE_BYTES_MAX 400

enum op_kind {
    OP_PUT,
    OP_DELETE,
    OP_DELETE_RANGE, /* from key to other, without it */
    OP_COMPARE_PUT,  /* put if the key was last changed at `expected` */
    OP_PUT_PAIR,     /* two keys in one transaction */
    OP_NESTED,       /* if compared so, put the key, and within: if other compares so, put other, else delete it; reads all keys */
    OP_READ,         /* linearizable, all keys */
    OP_READ_LOCAL,   /* serializable: true of some past */
    OP_READ_PAST,    /* serializable, at an old revision */
    OP_WATCH,        /* all changes between two revisions, as a watch has them */
};

enum op_state {
    OP_OPEN,
    OP_DONE,
    OP_UNKNOWN, /* timed out, cancelled, or its node died: done once, or never */
    OP_REFUSED, /* never done */
    OP_LOST,    /* done, and dropped by the operator with the history that it was part of */
};

struct op {
    enum op_kind kind;
    unsigned key, other;
    uint64_t id;       /* of its value; its place in the history + 1 */
    mvcc_rev expected; /* OP_READ_PAST: the revision; OP_WATCH: the first */
    mvcc_rev expected_other;
    mvcc_rev floor;    /* the newest revision that anybody had heard of when it began */
    enum op_state state;
    /* the answer */
    mvcc_rev rev;
    bool succeeded;
    bool other_put; /* OP_NESTED */
    int64_t deleted;
    uint32_t changes;        /* OP_WATCH: a digest of what it saw */
    uint64_t seen[SIM_KEYS]; /* 0: not there. Of OP_PUT and deletes: what was there before */
    mvcc_rev seen_rev[SIM_KEYS];
};

struct history {
    struct op *ops;
    size_t count, cap;
    mvcc_rev heard; /* the newest revision that any finished operation told */
    unsigned lengths; /* that values have: where there are few, records of a log fit into the places of others */
};

void history_fini(struct history *h);
/* The op's number; the caller fills in what it does. */
size_t history_begin(struct history *h, enum op_kind kind);
void history_end(struct history *h, size_t op, enum op_state state);
/* What came after that revision is no more, by the operator's decision: what others saw of it counts for nothing. */
void history_drop_after(struct history *h, mvcc_rev rev);
/* Against everything that a store holds. */
void history_check(const struct history *h, struct mvcc *store);

/* Keys and values as bytes. */
size_t sim_key(unsigned key, char ret_key[8]);
struct slice sim_value(const struct history *h, uint64_t id, uint8_t ret_value[SIM_VALUE_BYTES_MAX]);
uint64_t sim_value_id(const struct history *h, struct slice value);
/* Of all changes from..to. */
enum status sim_changes(struct mvcc *store, mvcc_rev from, mvcc_rev to, uint32_t *ret_digest);

/* Something is not as it must be: says so with the seed, and ends the process. */
void sim_fail(const char *format, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));
#define SIM_CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

#endif
