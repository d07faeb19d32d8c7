/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the newest revisions, in memory: bytes in chunks, found by (main, sub) in constant time. Append only;
 * frozen ones are read from two threads.
 */
#ifndef MVCC_MEMTABLE_H
#define MVCC_MEMTABLE_H

#include "mvcc/mvcc.h"

struct memtable;

/* Its first revision will be first_main. */
struct memtable *memtable_new(mvcc_rev first_main);
void memtable_free(struct memtable *t); /* NULL is fine */

/* Room for the next record, of (main, sub): main the last one's or its successor, sub counting up from 0. */
uint8_t *memtable_add(struct memtable *t, mvcc_rev main, int64_t sub, size_t len);
/* Forget the newest main revision; there is one. */
void memtable_drop_newest(struct memtable *t);
/* NULL if it is not here. */
const uint8_t *memtable_get(const struct memtable *t, mvcc_rev main, int64_t sub);

/* The records in order. */
size_t memtable_count(const struct memtable *t);
uint8_t *memtable_record(const struct memtable *t, size_t at);
mvcc_rev memtable_first_main(const struct memtable *t);
mvcc_rev memtable_next_main(const struct memtable *t); /* first_main when empty */
uint64_t memtable_bytes(const struct memtable *t);

#endif
