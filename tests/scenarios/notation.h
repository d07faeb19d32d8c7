/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notation of scenario traces, that of etcd-io/raft's interaction tests: one line a message, an entry or a state. What
 * travels between nodes here is a core's message, or one of those that stand for its storage (struct parcel).
 */
#ifndef TESTS_SCENARIOS_NOTATION_H
#define TESTS_SCENARIOS_NOTATION_H

#include "common/buf.h"
#include "raft/conf_change.h"

/* A point that a node can be restored to, with what the state machine (which appends what it is told) then holds. */
struct checkpoint {
    raft_index index;
    raft_term term;
    struct raft_conf conf;
    char data[256];
};

enum parcel_kind { PARCEL_MESSAGE, PARCEL_APPEND, PARCEL_APPENDED, PARCEL_APPLY, PARCEL_APPLIED };

/* The storage and the state machine of a node with asynchronous writes are addressed like members. */
#define APPEND_THREAD (UINT64_MAX)
#define APPLY_THREAD (UINT64_MAX - 1)

struct parcel {
    enum parcel_kind kind;
    struct raft_message m;         /* owns its array of entries, holds references */
    struct checkpoint snapshot;    /* RAFT_MSG_SNAPSHOT */
    uint64_t batch;                /* PARCEL_APPEND, PARCEL_APPENDED */
    bool has_hard;                 /* PARCEL_APPEND */
    struct raft_hard_state hard;
    struct parcel *answers;        /* PARCEL_APPEND, PARCEL_APPLY: sent when it is done */
    size_t answer_count;
};

/* Copies the message, and takes references to its entries. A proposal gets entries of its own: their index is set. */
struct parcel parcel_of(const struct raft_message *m);
void parcel_fini(struct parcel *p);

const char *notation_role(enum raft_role role);
/* -1: no such name. */
int notation_message_type(const char *name);
void notation_entry(struct buf *out, const struct raft_entry *e);
void notation_conf(struct buf *out, const struct raft_conf *c);
/* May be several lines; none ends with a newline at the end of all. */
void notation_parcel(struct buf *out, const struct parcel *p, unsigned indent);
/* The changes of "v1 l2 r3 u4". False: it is no such text. */
bool notation_read_changes(const char *text, struct raft_conf_change *ret_change);

#endif
