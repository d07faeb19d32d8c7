/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory a member lives in:
 *
 *     DIR/lock              held by flock(2) as long as the process lives
 *     DIR/member/identity   who this is and whom its cluster began with; written once, when the member is born
 *     DIR/member/met        whom it met (met.h)
 *     DIR/member/voters     how many voters there are (voters.h)
 *     DIR/member/begun      the log was begun once: where it is missing now, votes and entries were lost with it
 *     DIR/member/damaged    a record of the store was found damaged: the next start heals it
 *     DIR/member/wal/       the log
 *     DIR/member/store/     segments; store.N and current after a snapshot was received (mvcc/store_dir.h)
 *
 * Private: made with mode 0700; refused if it is a symbolic link, somebody else's or open to others.
 *
 *     identity    8 magic "RFTIDENT", 4 format, 4 CRC-32C of what follows, 8 cluster id, 8 member id, 8 incarnation,
 *                 then a raftfs.state.NodeState; little-endian. Format 1 had no incarnation: it gets one when it is opened.
 */
#ifndef RAFTD_DATA_DIR_H
#define RAFTD_DATA_DIR_H

#include <stdbool.h>

#include "common/error.h"
#include "raftd/node/members.h"
#include "raftd/voters.h"

struct data_dir {
    const char *path;       /* the caller's */
    int lock_fd, member_fd; /* -1: not open */
    char member_path[4096], wal_path[4096];
    uint64_t cluster_id, member_id;
    uint64_t incarnation; /* random: tells this directory from any other that the member may have had */
    struct members initial;
    struct voters voters; /* as many as founders, until a change of them was applied */
    bool is_new; /* nobody lives there yet: data_dir_begin */
    bool has_log; /* it was begun once */
    bool has_damage; /* data_dir_note_damage was called */
};

/* Does a member live there? Without making anything. */
bool data_dir_is_inhabited(const char *path);
/*
 * Opens or makes it. ST_BUSY: another process holds it. ST_CORRUPT: the identity is damaged, or it is missing where a log or store
 * stands.
 */
enum status data_dir_open(struct data_dir *d, const char *path, uint64_t random_seed, struct error *ret_error) MUST_CHECK;
/* A member is born in a new one. */
enum status data_dir_begin(struct data_dir *d, uint64_t cluster_id, uint64_t member_id, const struct members *initial,
                           struct error *ret_error) MUST_CHECK;
/*
 * The identity that is there wins over the one that flags say (etcd: initial flags are ignored on a restart), unless that is another
 * member of the same cluster: then the directory is a neighbour's copy, and two processes would vote as one member: ST_BAD_ARGUMENT.
 */
enum status data_dir_check_owner(const struct data_dir *d, uint64_t member_id, struct error *ret_error) MUST_CHECK;
/* The log is there, and durable: from now on its absence is damage. Does nothing where that is known. */
enum status data_dir_log_begun(struct data_dir *d, struct error *ret_error) MUST_CHECK;
/* The store is damaged, found while it was in use: what, in words. Kept over restarts, until it is forgotten. */
enum status data_dir_note_damage(struct data_dir *d, const char *what, struct error *ret_error) MUST_CHECK;
/* Those words, as far as they could be kept. */
void data_dir_get_damage(const struct data_dir *d, struct error *ret_what);
enum status data_dir_forget_damage(struct data_dir *d, struct error *ret_error) MUST_CHECK;
void data_dir_close(struct data_dir *d);

#endif
