/* SPDX-License-Identifier: Apache-2.0 */
/* Entries: made once, counted, immutable. */
#include <stdlib.h>

#include "common/mem.h"
#include "raft/raft.h"

struct raft_entry *raft_entry_new(enum raft_entry_type type, uint32_t len)
{
    struct raft_entry *e = mem_alloc(sizeof *e + len);

    *e = (struct raft_entry){.refs = 1, .len = len, .type = (uint8_t)type};
    return e;
}

struct raft_entry *raft_entry_ref(struct raft_entry *e)
{
    INVARIANT(e->refs > 0);
    e->refs++;
    return e;
}

void raft_entry_unref(struct raft_entry *e)
{
    if (!e)
        return;
    INVARIANT(e->refs > 0);
    if (--e->refs == 0)
        free(e);
}
