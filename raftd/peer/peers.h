/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections between members: one that we dialled to each, for what we say, and those that they dialled to us, for
 * what we hear. Identity is in the greeting: another cluster, another member than meant, one that was removed, or one whose data
 * directory is another than before is refused with words. Whoever is of this cluster and not known here is heard all the same, for
 * our own table may be the older one (etcd, rafthttp): a stranger, dialled at the URLs in its greeting as long as it is connected.
 * A member is heard on one connection: its newer one replaces what a broken network left of the older. A connection that does not
 * move its bytes is given up after dead_ns (TCP's own patience is minutes), so that a healed network is used again at once. Messages
 * that cannot be sent are dropped: consensus repeats what matters.
 */
#ifndef RAFTD_PEER_PEERS_H
#define RAFTD_PEER_PEERS_H

#include "net/loop.h"
#include "net/url.h"
#include "raft/raft.h"
#include "raft/snapshot.h"
#include "raftd/peer/frame.h"

struct peers;

enum peer_verdict {
    PEER_WELCOME,
    PEER_LATER, /* its incarnation is being remembered: peers_judge_again */
    PEER_REMOVED,
    PEER_OTHER_INCARNATION,
};

struct peers_options {
    struct loop *loop;
    uint64_t cluster_id, member_id, incarnation;
    const struct url *urls; /* ours, for whoever does not know us; copied */
    unsigned url_count;
    int64_t dead_ns; /* no progress for so long: the connection is dead */
    /* May the member with this data directory speak here? */
    enum peer_verdict (*judge_fn)(void *arg, uint64_t member_id, uint64_t incarnation);
    /* Somebody is about to join: what to tell. Append the states to the buffers. */
    void (*cluster_fn)(void *arg, struct buf *ret_founders, struct buf *ret_members);
    /* A member says that this one can never be one again, why in words. May be called more than once. */
    void (*dismissed_fn)(void *arg, enum dismissal_reason reason, const char *why);
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

/*
 * A member to talk to, at the first URL that answers; one that is known gets these URLs if they are others. Addresses are resolved at
 * each attempt. Without any URL it is only heard.
 */
void peers_put(struct peers *p, uint64_t member_id, const struct url *urls, unsigned url_count);
/* Members that are none of these are none any more: their connections end. Strangers stay. */
void peers_keep(struct peers *p, const uint64_t *member_ids, unsigned count);
/* Verdicts may be others than they were. */
void peers_judge_again(struct peers *p);
/* Since when a member takes what we send, without a break; INT64_MAX: it does not. */
int64_t peers_connected_since(const struct peers *p, uint64_t member_id);

/* Encoded now, sent at the end of the round; dropped if the member is unknown, unconnected or has too much unsent. */
void peers_send(struct peers *p, const struct raft_message *m);
void peers_send_snapshot(struct peers *p, const struct snapshot_message *m);

/* A descriptor that a peer listener accepted. */
void peers_accept(struct peers *p, int fd);

#endif
