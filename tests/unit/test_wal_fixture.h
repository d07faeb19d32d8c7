/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log under test beside a model of what it must hold. Entries' data follows from their index and
 * term, so the model keeps only these.
 */
#ifndef TESTS_UNIT_TEST_WAL_FIXTURE_H
#define TESTS_UNIT_TEST_WAL_FIXTURE_H

#include <setjmp.h>

#include "raftd/wal/wal.h"
#include "tests/unit/memory_disk.h"

#define MODEL_ENTRIES_MAX 400
#define TEST_CLUSTER      0xc1
#define TEST_MEMBER       0x3e

struct model {
    struct raft_hard_state hard;
    raft_index begin;
    raft_term begin_term;
    size_t count;
    struct {
        raft_term term;
        uint32_t len;
    } entries[MODEL_ENTRIES_MAX]; /* begin + 1, ... */
};

struct fixture {
    struct disk *disk; /* the fixture's */
    struct wal *wal;
    uint64_t segment_bytes;
    struct model model;
    struct error error;
    char failure[300];  /* what fail_fn was told */
    jmp_buf on_failure; /* fail_fn does not return */
    bool catch_failure;
};

void fixture_init(struct fixture *fx, uint64_t segment_bytes);
void fixture_fini(struct fixture *fx);

/* Open as member `member` of `cluster`, nothing started. */
enum status fixture_open(struct fixture *fx, uint64_t cluster, uint64_t member) MUST_CHECK;
/* Open and start; both must succeed. */
void fixture_start(struct fixture *fx);
void fixture_close(struct fixture *fx);
/* Open what is on the disk, compare it with the model, start. */
void fixture_reopen(struct fixture *fx);
/* Go on with another disk; the log on the old one is left as it is. */
void fixture_change_disk(struct fixture *fx, struct disk *disk);

/* Entries first .. first + count - 1 of that term, len bytes each; the model follows once it
 * returned. */
void fixture_append(struct fixture *fx, raft_index first, size_t count, raft_term term,
                    uint32_t len);
void fixture_append_hard(struct fixture *fx, struct raft_hard_state hard, bool sync);
void fixture_release(struct fixture *fx, raft_index index);

void model_append(struct model *m, raft_index first, size_t count, raft_term term, uint32_t len);
void model_release(struct model *m, raft_index index, raft_term term);
raft_term model_term(const struct model *m, raft_index index);
raft_index model_last(const struct model *m);

/* An opened log that was not started, as a model; its entries' data is checked. */
void fixture_read(struct fixture *fx, struct model *ret_model);
bool model_equal(const struct model *a, const struct model *b);

#endif
