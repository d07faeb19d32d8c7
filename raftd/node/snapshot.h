/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a snapshot to a member that is behind the log, and taking one. State machines driven by messages, ticks and the ends of
 * jobs; no socket and, but for jobs, no file: those run on the storage thread, in order, one at a time.
 *
 * Sending (leader). The core's announcement makes a sender; SNAPSHOT_TRANSFERS_MAX of them work, others wait. It offers, hears what
 * the receiver holds already, and sends what is behind that: nothing comes twice, whoever sent it and however often it was cut short. History is
 * append-only, so nothing is frozen: records up to the revision of the moment go out in chunks, at most SNAPSHOT_WINDOW of them
 * unanswered, so that appends and heartbeats on the same link never wait behind more than that. When all are out and the log
 * position they stand for has fallen behind, the end is moved on to now and only what is new is sent, so that the log kept for
 * the receiver is short however large the store and however many writes come (a snapshot that is older than the log when it arrives
 * is of no use, and the next one would not be either: hashicorp/raft 212). The log behind the position is pinned
 * (snapshot_pin) within the bound on the window. While clients write it rests twice as long as it works, unless they are so quick that
 * it would never end.
 *
 * Receiving. Records go into a store directory of their own (mvcc/transfer.h, store_dir.h), which outlives the transfer and the
 * process: the next one goes on there. Once the END is durable there, the
 * directory becomes the current one; from that order on until it is done appends and pulled entries are not heard (node_step) and nothing is sealed,
 * so that the commit cannot pass the snapshot's position and what is installed is always ahead. Before that order the number of voters
 * that it brings is kept (node.h, voters_fn). Then, on the loop: the log begins
 * anew, the core, the store in use and its watchers move over, the old store goes. A crash before the swap leaves a directory that the
 * next transfer fills up; a crash behind it leaves a store ahead of the log, which the next start finishes.
 *
 * What is there is gone on with only as long as the leader trusts all from whom it came: none that the alarm CORRUPT names, none that is no
 * member any more. The offer says whom it trusts; their ids stand in the segments; the receiver compares, and begins with nothing if there is another.
 * The leader ends a transfer when one of those it named loses its trust. Whose data is wrong never comes to others by what was kept of it.
 *
 * Wire and disk are drawn in doc/format-snapshot.md.
 * Whatever goes wrong (a lost link, a silent or restarted side, a newer leader) ends the transfer; the core announces again, and it
 * goes on. What cannot be written or does not follow is thrown away: then it starts from nothing. A full disk is no such thing: a member
 * that is short of space takes no snapshot (the last space is the log's), keeps the segments it has, and goes on when there is some.
 */
#ifndef RAFTD_NODE_SNAPSHOT_H
#define RAFTD_NODE_SNAPSHOT_H

#include "common/limits.h"
#include "raft/snapshot.h"
#include "raftd/node/node.h"

/* ---- what the rest of the node calls ---- */

void snapshots_init(struct node *n);
/* After the storage thread ended: frees what its jobs were working on, too. */
void snapshots_fini(struct node *n);
/* The core announces that `to` needs one. */
void snapshot_announced(struct node *n, raft_id to);
void snapshots_on_unreachable(struct node *n, raft_id id);
void snapshots_on_tick(struct node *n);
/* At the end of every run: end what has no reason any more, send what may be sent. */
void snapshots_run(struct node *n);
/* The log behind this index is needed for a transfer; UINT64_MAX: none is under way. */
raft_index snapshot_pin(const struct node *n);
/* The store is being replaced: nothing that brings entries may be heard, no seal begun. */
bool snapshot_is_installing(const struct node *n);

/* On the storage thread, after all that were started before. */
void node_job_start(struct node *n, struct node_job *job);

/* snapshot_receive.c, for snapshot.c */
struct snapshot_receiver;
void receivers_init(struct node *n);
void receiver_on_message(struct node *n, const struct snapshot_message *m);
void receivers_on_tick(struct node *n);
void receivers_fini(struct node *n);
/* One that waited for that is installed. */
void receiver_on_voters_kept(struct node *n);

#endif
