/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged logs are kept for the operator, under other names: damaged-TERM-NAME. The newest few of them; older ones go. */
#ifndef RAFTD_WAL_ASIDE_H
#define RAFTD_WAL_ASIDE_H

#include "raft/raft.h"
#include "raftd/wal/disk.h"

#define ASIDE_LOGS_MAX 3

/*
 * Rename all segments; term tells this log from others that were damaged before. The names are durable after. A crash on the way
 * leaves the end of a log, which is damaged too. ST_IO.
 */
enum status wal_set_aside(struct disk *disk, raft_term term, struct error *ret_error) MUST_CHECK;

#endif
