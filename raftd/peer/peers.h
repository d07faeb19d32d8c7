/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections between members: one that we dialled to each, for what we say, and those that they dialled to us, for
 * what we hear. Identity is in the greeting: another cluster, another member than meant, or an unknown one is refused
 * with words. A member is heard on one connection: its newer one replaces what a broken network left of the older. A connection that does not move its bytes is given up after dead_ns (TCP's own patience is minutes), so
 * that a healed network is used again at once. Messages that cannot be sent are dropped: consensus repeats what
 * matters.
 */
#ifndef RAFTD_PEER_PEERS_H
#define RAFTD_PEER_PEERS_H

#include "net/loop.h"
#include "net/url.h"
#include "raft/raft.h"
#include "raft/snapshot.h"

struct peers;

struct peers_options {
    struct loop *loop;
    uint64_t cluster_id, member_id;
    int64_t dead_ns; /* no progress for so long: the connection is dead */
    /* A message from a member; entries stay the caller's. */
    void (*message_fn)(void *arg, const struct raft_message *m);
    /* The same about snapshots; the data is valid during the call. */
    void (*snapshot_fn)(void *arg, const struct snapshot_message *m);
    /* A member could not be reached, or no longer can. */
    void (*unreachable_fn)(void *arg, uint64_t member_id);
    void *arg;
};

struct peers *peers_new(const struct peers_options *options);
void peers_free(struct peers *p);

/* A member to talk to, at the first URL that answers. Addresses are resolved at each attempt. */
void peers_add(struct peers *p, uint64_t member_id, const struct url *urls, unsigned url_count);

/* Encoded now, sent at the end of the round; dropped if the member is unknown, unconnected or has too much unsent. */
void peers_send(struct peers *p, const struct raft_message *m);
void peers_send_snapshot(struct peers *p, const struct snapshot_message *m);

/* A descriptor that a peer listener accepted. */
void peers_accept(struct peers *p, int fd);

#endif
