/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log that is there: all segments in sequence, checked, into the state they describe. Changes nothing. The
 * torn tail of the last segment is left out of the state; anything else that does not fit is ST_CORRUPT with the file
 * and the offset.
 */
#ifndef RAFTD_WAL_READER_H
#define RAFTD_WAL_READER_H

#include "raftd/wal/disk.h"
#include "raftd/wal/format.h"

#define SEGMENT_NAME_BYTES 48

struct wal_segment {
    char name[SEGMENT_NAME_BYTES];
    struct segment_header header;
    raft_index max_index; /* of all entries it ever held; 0: none */
    uint64_t end;         /* where its valid records end */
    bool closed;          /* an end record is there */
};

struct wal_state {
    struct wal_segment *segments; /* ascending sequence */
    size_t segment_count, segment_cap;
    struct raft_hard_state hard;
    raft_index begin_index;
    raft_term begin_term;
    struct raft_entry **entries; /* begin_index + 1, ...; references are the state's */
    size_t entry_count, entry_cap;
};

/* "%016x-%016x.wal": sequence and the index behind which its entries come. */
void wal_segment_name(uint64_t sequence, raft_index begin_index, char *ret_name);

enum status wal_read(struct disk *disk, uint64_t cluster_id, uint64_t member_id, struct wal_state *ret_state,
                     struct error *ret_error) MUST_CHECK;
void wal_state_fini(struct wal_state *s);

#endif
