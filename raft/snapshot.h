/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What members say to each other while one brings another a snapshot. The core announces that somebody needs one and is told how
 * it ended (raft.h); in between its owners exchange these. A transfer is a stream of messages, numbered from 0: an OFFER, which says whose
 * records are to be trusted, and to which the receiver answers up to which revision it holds such records already, left of other
 * transfers; CHUNKs of whole records of the
 * store behind that revision, in order; then an END with the small state, which says of what log position all of that is. The
 * receiver answers with RECEIVED, at every tick and whenever it stored something, so any of them may be lost, repeated or come late.
 */
#ifndef RAFT_SNAPSHOT_H
#define RAFT_SNAPSHOT_H

#include "common/limits.h"
#include "common/slice.h"
#include "raft/raft.h"

/* On the wire: never renumber. */
enum snapshot_message_type {
    SNAPSHOT_CHUNK = 1,
    SNAPSHOT_END = 2,
    SNAPSHOT_RECEIVED = 3,  /* everything before `sequence` is stored */
    SNAPSHOT_INSTALLED = 4, /* it took the place of what was there, durably */
    SNAPSHOT_REFUSED = 5,   /* not wanted, damaged, given up or unknown: this transfer is over */
    SNAPSHOT_OFFER = 6,     /* the first message; stands for the core's announcement */
};

struct snapshot_message {
    enum snapshot_message_type type;
    raft_id from, to;
    raft_term term;    /* the sending leader's, in answers too */
    uint64_t transfer; /* which one; never 0, never used twice */
    uint64_t sequence; /* OFFER, CHUNK, END: its number; RECEIVED: the number that is expected */
    raft_index index;  /* END, INSTALLED: the snapshot's last entry; OFFER, CHUNK: what that would be if this were the end */
    raft_term log_term;
    int64_t revision;  /* OFFER, END: the store's at index; RECEIVED: of the last whole one that was there before this transfer, from 1 on */
    uint32_t crc;      /* OFFER, CHUNK, END: CRC-32C of the data of all messages of the transfer, to the end of this one */
    struct slice data; /* OFFER: ids (below); CHUNK: records; END: the small state */
};

/* Ids of members, SNAPSHOT_ID_BYTES each, little-endian, in no order: of an OFFER, whose records may be gone on behind. */
#define SNAPSHOT_ID_BYTES 8

static inline bool snapshot_ids_make_sense(struct slice ids)
{
    return ids.len % SNAPSHOT_ID_BYTES == 0 && ids.len <= MEMBERS_MAX * SNAPSHOT_ID_BYTES;
}

#endif
