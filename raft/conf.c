/* SPDX-License-Identifier: Apache-2.0 */
/* Quorum arithmetic. */
#include "raft/internal.h"

int raft_conf_slot(const struct raft_conf *c, raft_id id)
{
    for (unsigned i = 0; i < c->voter_count; i++)
        if (c->voters[i] == id)
            return (int)i;
    return -1;
}

unsigned raft_conf_quorum(const struct raft_conf *c)
{
    return c->voter_count / 2 + 1;
}

uint64_t raft_conf_reached(const struct raft_conf *c, const uint64_t *values)
{
    uint64_t sorted[RAFT_VOTERS_MAX];
    unsigned n = 0;

    /* Insertion, largest first: there are a handful. */
    for (unsigned i = 0; i < c->voter_count; i++) {
        unsigned at = n++;
        for (; at > 0 && sorted[at - 1] < values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return n ? sorted[raft_conf_quorum(c) - 1] : 0;
}
