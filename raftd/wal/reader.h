/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log that is there: all segments in sequence, checked, into the state they describe.
 * Changes nothing. The torn tail of the last segment is left out of the state; anything else that
 * does not fit is ST_CORRUPT with the file and the offset.
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
    uint64_t end;      /* where its complete batches end; its end record, if closed, stands there */
    uint64_t torn_end; /* what looks like records of a torn write reaches to here, >= end */
    bool closed;       /* an end record is there: only the last two segments may lack it (see
                          wal_writer_roll) */
};

struct wal_state {
    struct wal_segment *segments; /* ascending sequence */
    size_t segment_count, segment_cap;
    struct raft_hard_state hard;
    raft_index begin_index; /* the log begins behind it */
    raft_term begin_term;
    uint64_t begin_sequence;     /* segments before this one are left over from a release */
    struct raft_entry **entries; /* begin_index + 1, ...; references are the state's */
    size_t entry_count, entry_cap;
};

bool wal_is_segment_name(const char *name);
/* "%016x-%016x.wal": sequence and the entry expected next. */
void wal_segment_name(uint64_t sequence, raft_index first_index, char *ret_name);

/*
 * ST_CORRUPT as above; ST_BAD_ARGUMENT: the log of another cluster or member, or of another format;
 * ST_IO. *ret_state is the caller's to wal_state_fini.
 */
enum status wal_read(struct disk *disk, uint64_t cluster_id, uint64_t member_id,
                     struct wal_state *ret_state, struct error *ret_error) MUST_CHECK;
void wal_state_fini(struct wal_state *s);

#endif
