/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the configuration (thesis 4): who votes, who only learns. One voter more or less is a simple change, with
 * overlapping majorities; anything larger goes through a joint configuration, where every decision needs a majority of
 * the old and of the new voters. A change is an entry of the log. It takes effect on a node when its owner applies the
 * entry there, so these rules keep any two configurations that may decide at one time from having disjoint quorums:
 * a leader takes no change before it committed an entry of its own term, nor while a former one is not applied (raft-dev,
 * July 2015), and nobody campaigns who knows of a committed change that he has not applied.
 *
 * The owner of a leader proposes an entry of raft_conf_change_encode, alone in its batch. The owner of any node that
 * gets one back in ready.committed decodes it, may look at the context, and calls raft_apply_conf_change, before
 * raft_applied of that index; or it does not, if its own rules refuse the change on every node alike.
 */
#ifndef RAFT_CONF_CHANGE_H
#define RAFT_CONF_CHANGE_H

#include "common/slice.h"
#include "raft/raft.h"

/* Numbers as in raftpb (they are stored). */
enum raft_change_type {
    RAFT_CHANGE_ADD_VOTER = 0, /* also promotes a learner */
    RAFT_CHANGE_REMOVE = 1,
    RAFT_CHANGE_UPDATE = 2, /* of what the owner knows of the member: nothing changes here */
    RAFT_CHANGE_ADD_LEARNER = 3, /* also demotes a voter */
};

enum raft_transition {
    RAFT_TRANSITION_AUTO = 0, /* simple if it is one change, else joint and left by itself */
    RAFT_TRANSITION_JOINT_IMPLICIT = 1, /* joint, the leader proposes to leave as soon as it is applied */
    RAFT_TRANSITION_JOINT_EXPLICIT = 2, /* joint until somebody proposes to leave */
};

#define RAFT_CHANGES_MAX 32u           /* in one entry */
#define RAFT_CHANGE_CONTEXT_MAX 65536u /* bytes of context */

struct raft_change {
    enum raft_change_type type;
    raft_id id;
};

struct raft_conf_change {
    enum raft_transition transition;
    unsigned count; /* 0, with RAFT_TRANSITION_AUTO: leave the joint configuration */
    struct raft_change changes[RAFT_CHANGES_MAX]; /* made in this order */
    struct slice context; /* the owner's, opaque here */
};

/* An entry for raft_propose; one reference for the caller. Copies the context. Broken limits break an invariant. */
struct raft_entry *raft_conf_change_encode(const struct raft_conf_change *change);
/* ST_CORRUPT: no such entry. The context points into the entry. */
enum status raft_conf_change_decode(const struct raft_entry *e, struct raft_conf_change *ret_change) MUST_CHECK;

/* Could it be? What comes from a disk or a peer is asked before the core gets it. */
bool raft_conf_makes_sense(const struct raft_conf *conf);
/*
 * The configuration that a change makes of another; a pure function of both. ST_BAD_ARGUMENT: to leave what is not
 * joint, to change what is, or no voter would be left. ST_LIMIT: too many voters or learners.
 */
enum status raft_conf_changed(const struct raft_conf *conf, const struct raft_conf_change *change,
                              struct raft_conf *ret_conf) MUST_CHECK;
/* Is it a majority of two sets of voters? */
static inline bool raft_conf_is_joint(const struct raft_conf *conf)
{
    return conf->outgoing_count > 0;
}

/*
 * The change is in force on this node. The statuses of raft_conf_changed, with which nothing happened: the same on all
 * nodes. A leader that is no voter any more goes on until another is elected, or steps down (step_down_on_removal).
 */
enum status raft_apply_conf_change(struct raft *r, const struct raft_conf_change *change, struct raft_conf *ret_conf)
    MUST_CHECK;

#endif
