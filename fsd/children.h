/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The children of a directory, out of the keys (or groups of keys) below its prefix: every name once, in the order of their
 * components. Pure.
 */
#ifndef FSD_CHILDREN_H
#define FSD_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "proto/kv.pb-c.h"

struct child {
    size_t component_at, component_len; /* in listing->bytes */
    size_t name_at;                     /* likewise; terminated */
    bool dir;
    bool value;          /* %value */
    bool pending;        /* made here, not in the store yet */
    Mvccpb__KeyValue kv; /* of a file: numbers only */
};

struct listing {
    struct buf bytes;
    struct child *children;
    size_t count, cap;
    int64_t rev;
    bool has_sizes;      /* the server told sizes and times */
    bool has_marker;     /* the directory's marker is there, perhaps with a value: its size was not told */
    unsigned asked;      /* for which keys beside those below (list.c) */
};

void listing_fini(struct listing *l);
void listing_clear(struct listing *l);

/*
 * A key, or a group of keys, below prefix. Returns the key up to the '/' behind its first component if that is a directory, else an
 * empty slice: whatever begins with it and a '/' says nothing new. top: the mount's root.
 */
struct slice listing_take(struct listing *l, bool top, struct slice prefix, const Mvccpb__KeyValue *kv);
/* The value of the directory itself. */
void listing_take_value(struct listing *l, const Mvccpb__KeyValue *kv);
void listing_take_pending(struct listing *l, bool top, struct slice component);
/* All are in: bring them in order. A name that is a key and a directory is a directory. */
void listing_finish(struct listing *l);

/* The length of a value, whether or not it came along. */
static inline uint64_t kv_size(const Mvccpb__KeyValue *kv)
{
    return kv->value.len ? kv->value.len : kv->value_size;
}
static inline struct slice child_component(const struct listing *l, const struct child *c)
{
    return slice_of(l->bytes.data + l->bytes.start + c->component_at, c->component_len);
}
static inline const char *child_name(const struct listing *l, const struct child *c)
{
    return (const char *)l->bytes.data + l->bytes.start + c->name_at;
}

#endif
