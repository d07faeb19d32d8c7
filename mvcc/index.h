/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key that ever was, in byte order, with its revisions in order: a B+ tree in memory. Inner nodes know how many
 * keys are alive at the newest revision below each child, so counting a span is two descents. Keys are never taken out
 * (a deleted one keeps its history); nodes never merge.
 */
#ifndef MVCC_INDEX_H
#define MVCC_INDEX_H

#include "common/slice.h"
#include "mvcc/mvcc.h"

/* One change of a key. The first of a generation creates it, a tombstone ends it (etcd: keyIndex). */
struct version {
    int64_t main;
    uint32_t sub : 31;
    uint32_t tombstone : 1;
    uint32_t first; /* position of its generation's first version */
};

struct keyindex {
    struct version *many; /* NULL while `one` is the only version */
    struct version one;
    uint32_t count, cap; /* versions */
    uint32_t key_len;
    uint8_t key[];
};

struct index;

struct index *index_new(void);
void index_free(struct index *x);

static inline const struct version *keyindex_versions(const struct keyindex *k)
{
    return k->many ? k->many : &k->one;
}

static inline struct slice keyindex_key(const struct keyindex *k)
{
    return slice_of(k->key, k->key_len);
}

/* The version that was the newest at rev (0: now); NULL if the key was not there. */
const struct version *keyindex_at(const struct keyindex *k, mvcc_rev rev);
static inline bool keyindex_is_alive(const struct keyindex *k)
{
    return k->count && !keyindex_versions(k)[k->count - 1].tombstone;
}

/* A change of a key, newer than all before; a tombstone only for a key that is alive. */
void index_add(struct index *x, struct slice key, int64_t main, uint32_t sub, bool tombstone);

const struct keyindex *index_find(const struct index *x, struct slice key);

/* A place between keys. Valid until the next index_add of a new key. */
struct cursor {
    struct leaf *leaf; /* NULL: past the end */
    unsigned at;
};
/* The first key >= key. */
struct cursor index_seek(const struct index *x, struct slice key);
/* Past the last key. */
struct cursor index_end(const struct index *x);
const struct keyindex *cursor_key(const struct cursor *c); /* NULL: past the end */
void cursor_next(struct cursor *c);
/* To the key before; false if there is none. */
bool cursor_back(const struct index *x, struct cursor *c);

/* Keys alive now that are < key. */
int64_t index_rank(const struct index *x, struct slice key);
int64_t index_alive(const struct index *x);
int64_t index_versions(const struct index *x);
uint64_t index_bytes(const struct index *x);

#endif
