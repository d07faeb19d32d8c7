/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing who is in the cluster: what a change is, its entry in the log, and etcd's rules for it. Pure functions.
 *
 * A change goes through the log one at a time. Three ask about it:
 *   the member that takes the request: would a quorum be left (--strict-reconfig-check)? By what it knows of its connections.
 *   the leader, before it appends the entry: membership_judge, and whether a learner that is to vote is near its log. No other change
 *     is under way then, so what the leader finds is what everybody will find;
 *   every member that applies the entry: membership_judge again, so that applying is safe whoever wrote the log.
 */
#ifndef RAFTD_NODE_MEMBERSHIP_H
#define RAFTD_NODE_MEMBERSHIP_H

#include "proto/arena.h"
#include "raft/conf_change.h"
#include "raftd/node/members.h"

/* Stored: never renumber. */
enum member_change_kind {
    MEMBER_ADD = 1,         /* a voter; id, peer_urls */
    MEMBER_ADD_LEARNER = 2, /* id, peer_urls */
    MEMBER_REMOVE = 3,      /* id */
    MEMBER_UPDATE = 4,      /* id, peer_urls */
    MEMBER_PROMOTE = 5,     /* id: the learner votes from now on */
};

struct member_change {
    enum member_change_kind kind;
    uint64_t id;
    char *const *peer_urls; /* 1 .. MEMBER_URLS_MAX, canonical */
    unsigned peer_url_count;
};

/* What an entry says. */
struct membership_entry {
    struct member_change change;
    unsigned learners_max;    /* of the cluster, with this one */
    uint64_t origin, request; /* who waits for it */
    struct raft_conf_change core;
};

/* A new entry, one reference; core is not looked at. */
struct raft_entry *membership_encode(const struct membership_entry *e);
/* The URLs are in the arena. ST_BAD_ARGUMENT: no entry of ours; every member finds so. */
enum status membership_decode(struct arena *a, const struct raft_entry *entry, struct membership_entry *ret_entry) MUST_CHECK;
/* Does the core leave a joint configuration with it? Nobody waits for that, and it has no rules. */
bool membership_is_leave(const struct raft_entry *entry, struct raft_conf_change *ret_change);

/* etcd's rules for what is to be applied. */
enum status membership_judge(const struct members *m, const struct membership_entry *e) MUST_CHECK;
/* It was judged, and the core has made conf of it. */
void membership_apply(struct members *m, const struct member_change *change, const struct raft_conf *conf);
/* The members behind an entry of the log that is not applied yet. Anything else than ST_OK: they stay as they are, as where it is applied. */
enum status membership_follow(struct members *m, const struct raft_entry *entry) MUST_CHECK;

/* ---- before it is proposed ---- */

/* etcd's HealthInterval. */
#define MEMBER_HEALTHY_NS 5000000000

/* Since when a member is connected; INT64_MAX: it is not. */
typedef int64_t (*membership_connected_fn)(void *arg, uint64_t id);

struct membership_view {
    const struct members *members;
    uint64_t self;
    int64_t now_ns;
    membership_connected_fn connected_fn;
    void *arg;
};

/* --strict-reconfig-check: ST_NOT_ENOUGH_STARTED, ST_UNHEALTHY. Of a promotion what the leader asks: membership_may_promote. */
enum status membership_is_safe(const struct membership_view *v, const struct member_change *change) MUST_CHECK;
/* The learner would make a quorum of started voters with the others. */
enum status membership_may_promote(const struct members *m) MUST_CHECK;
/* Is it near enough to the leader's log? etcd: 90 % */
bool membership_is_in_sync(raft_index match, raft_index leader_match);

#endif
