/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the watch has said lately, by name: an answer from a revision before an event that was heard already may hide that
 * event, so it is used and not kept. Names fall on slots by their hash and share them: a slot may say "newer" for a
 * name that did not change, never "not newer" for one that did. Pure.
 */
#ifndef FSD_HEARD_H
#define FSD_HEARD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

#define HEARD_SLOTS 4096u

struct heard {
    int64_t floor; /* nothing is known of what happened up to it */
    int64_t revs[HEARD_SLOTS];
};

/* Everything after rev will be heard. */
void heard_reset(struct heard *h, int64_t rev);
void heard_note(struct heard *h, struct slice name, int64_t rev);
/* May an answer about this name, as of rev, be kept? Every change after rev is yet to be heard. */
bool heard_allows(const struct heard *h, struct slice name, int64_t rev);

/* FNV-1a, 64 bits; begin with HASH_BASIS. */
#define HASH_BASIS 0xcbf29ce484222325u
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

#endif
