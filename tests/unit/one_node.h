/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One member of a test: core, log (on a disk in memory) and store. What it sends is written down, what it hears the test says, time is
 * a number, and with `stepped` the disk is done when the test says so.
 */
#ifndef TESTS_UNIT_ONE_NODE_H
#define TESTS_UNIT_ONE_NODE_H

#include <setjmp.h>
#include <stdbool.h>

#include "common/clock.h"
#include "common/limits.h"
#include "raftd/node/node.h"
#include "tests/unit/check.h"
#include "tests/unit/memory_disk.h"

#define MS NS_PER_MS
#define SENT_MAX 400

extern struct disk *disk;
extern struct mvcc *store;
extern struct wal *wal;
extern struct node *node;
extern struct raft_message sent[SENT_MAX]; /* without their entries */
extern unsigned sent_count, seals;
extern struct mvcc_seal *seal; /* the last one */
extern unsigned jobs;
extern struct node_job *job; /* likewise: the storage thread is the test */
extern uint64_t segment_bytes, space_low_bytes; /* of members opened from now on; set_up: small segments, no reserve */

extern char compare_words[4096]; /* said of comparisons, one line each, while there is room */
extern bool compare_is_bad;
extern int64_t corrupt_check_ns; /* the same; set_up: never */
extern int64_t clock_ns; /* what the time is between ticks; 0: as of the last one */
extern unsigned unreadables;     /* times that an entry was found to depend on what cannot be read */
extern uint64_t connected;       /* a bit a member */
extern unsigned heals;           /* times that it would have begun anew */
extern jmp_buf *ends_to;         /* where the end of the process goes; NULL: none may be */
extern bool force_new_cluster;  /* the same */
extern bool open_fails;         /* of the next one: then node is NULL */

int set_up(void **state);
int tear_down(void **state);
/* Member 1 of so many; ticks of 10 ms, elections after 10 of them. */
void open_node(unsigned members, uint64_t seal_entries, bool stepped);
void close_node(void);
/* The first segment of the store is on disk from here on. */
void write_seal(void);
/* A bit there, of the first byte of that text; again: it is as it was. */
void flip_in_store(const char *text);
unsigned sent_of(enum raft_message_type type);
void hear_of_leader(uint64_t id, raft_term term);

#endif
