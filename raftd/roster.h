/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the connections as the members are, and says who may speak: nobody who was removed, and nobody with another data directory
 * than the one that the cluster knows, or that this member met (met.h), under that id. On the loop; what it remembers is written on
 * the storage thread, and who is met for the first time is not heard before that is durable.
 */
#ifndef RAFTD_ROSTER_H
#define RAFTD_ROSTER_H

#include "raftd/node/node.h"
#include "raftd/peer/peers.h"
#include "raftd/storage_thread.h"

struct roster;

struct roster_options {
    struct loop *loop;
    struct node *node;
    struct storage_thread *storage;
    int dir_fd;                     /* of DIR/member */
    uint64_t member_id, incarnation;
    const struct members *founders; /* the members that the cluster began with */
    /* This process can be no member any more: after delay_ns it ends, with that exit status. May be called more than once. */
    void (*end_fn)(void *arg, int exit_status, int64_t delay_ns, const char *why);
    /* Storage failed. Does not return. */
    void (*fail_fn)(void *arg, const char *text);
    void *arg;
};

enum status roster_open(const struct roster_options *options, struct roster **ret_roster, struct error *ret_error) MUST_CHECK;
/* Whose connections to keep. */
void roster_set_peers(struct roster *r, struct peers *peers);
/* After the storage thread has stopped; NULL is fine. */
void roster_free(struct roster *r);

/* The members are others than they were. */
void roster_sync(struct roster *r);

/* What peers.h asks. */
enum peer_verdict roster_judge(struct roster *r, uint64_t member_id, uint64_t incarnation);
void roster_tell_cluster(const struct roster *r, struct buf *ret_founders, struct buf *ret_members);
void roster_on_dismissed(struct roster *r, enum dismissal_reason reason, const char *why);

#endif
