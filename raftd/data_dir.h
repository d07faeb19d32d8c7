/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory a member lives in:
 *
 *     DIR/lock              held by flock(2) as long as the process lives
 *     DIR/member/identity   who this is and whom it began with; written once, when the member is born
 *     DIR/member/begun      the log was begun once: where it is missing now, votes and entries were lost with it
 *     DIR/member/wal/       the log
 *     DIR/member/store/     segments; store.N and current after a snapshot was received (mvcc/store_dir.h)
 *
 * Private: made with mode 0700; refused if it is a symbolic link, somebody else's or open to others.
 *
 *     identity    8 magic "RFTIDENT", 4 format, 4 CRC-32C of what follows, 8 cluster id, 8 member id,
 *                 then a raftfs.state.NodeState; little-endian
 */
#ifndef RAFTD_DATA_DIR_H
#define RAFTD_DATA_DIR_H

#include <stdbool.h>

#include "common/error.h"
#include "raftd/node/members.h"

struct data_dir {
    int lock_fd, member_fd; /* -1: not open */
    char member_path[4096], wal_path[4096];
    uint64_t cluster_id, member_id;
    struct members initial;
    bool is_new; /* was born now */
    bool has_log; /* it was begun once */
};

/*
 * Opens or makes it. An identity that is there wins over the given one (etcd: initial flags are ignored on a
 * restart), unless the given one is another member of the same cluster: then the directory is a neighbour's copy, and two
 * processes would vote as one member. ST_BAD_ARGUMENT: that. ST_BUSY: another process holds it. ST_CORRUPT: the identity is
 * damaged, or it is missing where a log or store stands.
 */
enum status data_dir_open(struct data_dir *d, const char *path, uint64_t cluster_id, uint64_t member_id,
                          const struct members *initial, struct error *ret_error) MUST_CHECK;
/* The log is there, and durable: from now on its absence is damage. Does nothing where that is known. */
enum status data_dir_log_begun(struct data_dir *d, struct error *ret_error) MUST_CHECK;
void data_dir_close(struct data_dir *d);

#endif
