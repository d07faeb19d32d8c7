/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who of the members holds something else than the others: a judgement over hashes of one revision. A pure function.
 *
 * Right is what a quorum of voters has alike; who differs from that is named. Without such a quorum, and with hashes that differ, somebody
 * is wrong and nobody knows who. Hashes of stores that forgot differently much are not compared, and who said nothing is not judged.
 */
#ifndef RAFTD_NODE_DIVERGENCE_H
#define RAFTD_NODE_DIVERGENCE_H

#include "mvcc/mvcc.h"
#include "raftd/node/members.h"

struct hash_row {
    uint64_t id;
    bool known; /* else it said that it cannot tell: that counts for nothing */
    uint32_t hash;
    mvcc_rev compact_rev;
};

struct divergence {
    bool agreed;             /* a quorum has one hash */
    bool doubtful;           /* no quorum has, and some differ */
    uint64_t wrong[MEMBERS_MAX], alike[MEMBERS_MAX]; /* another hash than the quorum's, and that one */
    unsigned wrong_count, alike_count;
    unsigned compared;       /* so many could have differed from each other: those of one compact revision, the quorum's or else the most */
    mvcc_rev compact_rev;    /* that one */
};

/* One row a member, at most MEMBERS_MAX. */
void divergence_find(const struct hash_row *rows, unsigned count, const struct raft_conf *conf, struct divergence *ret_divergence);

#endif
