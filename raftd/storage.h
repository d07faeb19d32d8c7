/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a member's store and log, and what is done about damage in them. A member of three or more has others who can give back what
 * it lost: a damaged store is set aside for an empty one, with the log; a damaged log (or one that does not fit the store) for a new one behind
 * the store's checkpoint; and the leader sends the rest. Until then it neither votes nor campaigns (wal_open_anew). A member of fewer is refused,
 * with the place: nothing else has what it holds. How many there are is one number, whoever asks: data_dir.voters.
 *
 * A member that goes on alone leaves the history of the others: what it had received of a snapshot of theirs is removed first.
 */
#ifndef RAFTD_STORAGE_H
#define RAFTD_STORAGE_H

#include "common/log.h"
#include "mvcc/mvcc.h"
#include "mvcc/store_dir.h"
#include "raftd/data_dir.h"
#include "raftd/node/node.h"
#include "raftd/wal/wal.h"

struct storage {
    struct data_dir *dir;             /* the caller's, as are: */
    bool alone;                        /* there are no others, whatever the store says: --force-new-cluster */
    struct mvcc_options store_options; /* dir: not looked at */
    struct wal_options wal_options;
    /* What was done about damage, and why (log line). */
    void (*tell_fn)(void *arg, enum log_level level, const char *what, const char *why);
    void *arg;
    /* what is opened; the caller's to close, also what is there after a failure */
    struct store_dir store_dir;
    struct mvcc *store;
    struct wal *wal; /* not started before there is a node */
};

enum status storage_open(struct storage *s, struct error *ret_error) MUST_CHECK;
/*
 * The member on what storage_open opened, which goes into the options: store, dir and log. If log and store do not belong together, with
 * a new log, or ST_CORRUPT and the node's words. From here on the log's absence is damage.
 * Of a member that goes on alone the number of voters says so from here on.
 */
enum status storage_open_node(struct storage *s, struct node_options *o, struct node **ret_node, struct error *ret_error) MUST_CHECK;
/*
 * While it runs, a record was found damaged: noted for the next start, which is to come at once: ST_CORRUPT, and which one. ST_OK: the
 * others could not give it back. ST_IO: it could not be noted.
 */
enum status storage_on_damage(struct storage *s, const struct mvcc *store, struct error *ret_error) MUST_CHECK;
/* Can this member get back from others what is lost? */
bool storage_can_heal(const struct storage *s);

#endif
