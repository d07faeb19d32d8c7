/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that lost files lately. */
#include "fsd/emptied.h"

#include "fsd/heard.h"

static uint64_t hash_of(struct slice prefix)
{
    return hash_bytes(HASH_BASIS, prefix.data, prefix.len);
}

static unsigned slot_of(uint64_t hash)
{
    return (unsigned)((hash ^ hash >> 32) % EMPTIED_SLOTS);
}

void emptied_note(struct emptied *e, struct slice prefix, int32_t pid, int64_t now_ns)
{
    uint64_t hash = hash_of(prefix);
    unsigned slot = slot_of(hash);

    e->slots[slot].directory = hash;
    e->slots[slot].pid = pid;
    e->slots[slot].at_ns = now_ns;
}

bool emptied_by(const struct emptied *e, struct slice prefix, int32_t pid, int64_t now_ns)
{
    uint64_t hash = hash_of(prefix);
    unsigned slot = slot_of(hash);

    return pid && e->slots[slot].directory == hash && e->slots[slot].pid == pid &&
           now_ns - e->slots[slot].at_ns < EMPTIED_NS;
}

void emptied_forget(struct emptied *e, struct slice prefix)
{
    uint64_t hash = hash_of(prefix);
    unsigned slot = slot_of(hash);

    if (e->slots[slot].directory == hash)
        e->slots[slot].pid = 0;
}
