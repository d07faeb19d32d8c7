/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in the cluster, as every replica knows it: identity, names and URLs. Changed by applied entries only, stored in
 * every segment. Ids are etcd's: a member's from its peer URLs and the cluster token, the cluster's from its members.
 */
#ifndef RAFTD_NODE_MEMBERS_H
#define RAFTD_NODE_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "raft/raft.h"

struct member {
    uint64_t id;
    char *name; /* "" until it published itself */
    char **peer_urls;
    unsigned peer_url_count;
    char **client_urls;
    unsigned client_url_count;
    bool no_space; /* etcd's alarm NOSPACE */
};

struct members {
    struct member list[RAFT_VOTERS_MAX]; /* ascending id */
    unsigned count;
};

void members_fini(struct members *m);
/* Copies the texts. ST_LIMIT beyond RAFT_VOTERS_MAX, ST_BAD_ARGUMENT if the id is there. */
enum status members_add(struct members *m, uint64_t id, const char *name, char *const *peer_urls,
                        unsigned peer_url_count) MUST_CHECK;
struct member *members_find(struct members *m, uint64_t id);
void member_set_client_urls(struct member *m, char *const *urls, unsigned count);
void member_set_name(struct member *m, const char *name);

/* As raftfs.state.NodeState. */
void members_encode(const struct members *m, struct buf *out);
enum status members_decode(struct members *m, struct slice state) MUST_CHECK;

#endif
