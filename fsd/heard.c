/* SPDX-License-Identifier: Apache-2.0 */
/* The newest revision heard, by name. */
#include "fsd/heard.h"

#include <string.h>

static unsigned slot_of(struct slice name)
{
    uint64_t hash = hash_bytes(HASH_BASIS, name.data, name.len);

    return (unsigned)((hash ^ hash >> 32) % HEARD_SLOTS);
}

void heard_reset(struct heard *h, int64_t rev)
{
    memset(h->revs, 0, sizeof h->revs);
    h->floor = rev;
}

void heard_note(struct heard *h, struct slice name, int64_t rev)
{
    int64_t *slot = &h->revs[slot_of(name)];

    if (rev > *slot)
        *slot = rev;
}

bool heard_allows(const struct heard *h, struct slice name, int64_t rev)
{
    return rev >= h->floor && rev >= h->revs[slot_of(name)];
}
