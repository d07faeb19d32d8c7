/* SPDX-License-Identifier: Apache-2.0 */
/* The private parts of the store, shared by the files of this room. */
#ifndef MVCC_INTERNAL_H
#define MVCC_INTERNAL_H

#include "common/buf.h"
#include "mvcc/index.h"
#include "mvcc/memtable.h"
#include "mvcc/segment.h"

struct mvcc {
    char dir[4096];
    uint64_t memtable_limit, entries_limit;
    bool no_sync;
    bool damaged; /* a record did not match its checksum, or was not there: */
    int64_t damaged_main, damaged_sub;
    struct index *index;
    struct segment **segments; /* ascending revisions */
    size_t segment_count, segment_cap;
    struct memtable *frozen; /* being sealed, or NULL */
    struct mvcc_seal *seal;  /* of the frozen one */
    struct memtable *memtable;
    mvcc_rev revision;
    mvcc_rev compact_revision;
    int64_t last_time_ns;
    uint64_t applied_index, applied_term;
    uint64_t previous_term; /* applied_term before the write under way */
    /* the write under way */
    bool writing;
    int64_t subs;          /* changes so far */
    int64_t write_time_ns; /* of its changes */
    struct buf scratch;    /* the last record that came from disk */
    struct buf scratch_key;
};

/* seal.c */
struct mvcc_seal {
    char dir[4096];
    bool no_sync;
    struct memtable *frozen;
    struct segment_meta meta;
    struct buf state;
    struct segment *segment; /* the result */
};

/* NULL is fine. */
void seal_free(struct mvcc_seal *seal);

/* store.c: the segment that holds this main revision; NULL: none does. */
const struct segment *store_segment_of(const struct mvcc *s, int64_t main);

/* store.c: the record of (main, sub), wherever it is; flags as in record.h. */
enum status store_read(struct mvcc *s, int64_t main, int64_t sub, struct mvcc_kv *ret_kv, uint32_t *ret_flags)
    MUST_CHECK;

#endif
