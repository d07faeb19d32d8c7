/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command: what a log entry asks every replica to do. Its bytes are the data of a raft entry, made once, in place, by the
 * node that took the client's request, and travel unchanged through the log of every node.
 *
 *     offset  bytes
 *          0      1  format (COMMAND_FORMAT)
 *          1      1  kind (enum command_kind)
 *          2      2  reserved, zero
 *          4      4  reserved, zero
 *          8      8  origin: member that proposed it, little-endian
 *         16      8  request: unique among the origin's, over restarts too
 *         24      8  time_ns: the origin's wall clock when it was proposed
 *         32      .  payload: the client's request, as it came (protobuf)
 *
 * Applying one is a pure function of the log: nothing here or in apply may depend on the node that applies.
 */
#ifndef RAFTD_NODE_COMMAND_H
#define RAFTD_NODE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "raft/raft.h"

#define COMMAND_FORMAT 1
#define COMMAND_HEADER_BYTES 32

/* Stored: never renumber. */
enum command_kind {
    COMMAND_PUT = 1,            /* etcdserverpb.PutRequest */
    COMMAND_DELETE_RANGE = 2,   /* etcdserverpb.DeleteRangeRequest */
    COMMAND_TXN = 3,            /* etcdserverpb.TxnRequest */
    COMMAND_MEMBER_PUBLISH = 4, /* raftfs.state.Member: its name and client URLs; id and peer_urls tell whose */
    COMMAND_ALARM = 5,          /* etcdserverpb.AlarmRequest: ACTIVATE or DEACTIVATE of NOSPACE or CORRUPT (of member 0: nobody knows whose) */
};

struct command {
    enum command_kind kind;
    uint64_t origin, request;
    int64_t time_ns;
    struct slice payload; /* inside the entry */
};

/* A new entry, one reference, with room for the payload: the caller fills command_payload_room(e). */
struct raft_entry *command_new(const struct command *header, size_t payload_len);
uint8_t *command_payload_room(struct raft_entry *e);

/* False for bytes that are no command (an empty entry is a leader's no-op and none either). */
bool command_parse(const struct raft_entry *e, struct command *ret_command);

#endif
