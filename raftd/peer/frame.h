/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What members say to each other, as bytes. A connection carries frames one way, from the member that dialled; the
 * first frame each way is a greeting. All numbers little-endian.
 *
 *     frame      4 length of the payload, 4 CRC-32C of the payload, payload
 *     greeting   1 kind (1), 3 zero, 4 magic "RFTP", 4 protocol version, 8 cluster id, 8 from, 8 to, 8 incarnation of the
 *                sender's data directory, 1 number of its peer URLs, each: 2 length, text
 *     refusal    1 kind (2), then text: why the dialled member does not talk to the dialler
 *     message    1 kind (3), 1 type, 1 flags (1 reject, 2 transfer), 1 zero, 8 from, 8 to, 8 term, 8 log term,
 *                8 index, 8 commit, 8 hint index, 8 hint term, 8 context, 4 number of entries, entries
 *     snapshot   1 kind (4), 1 type, 2 zero, 4 CRC-32C (raft/snapshot.h), 8 from, 8 to, 8 term, 8 transfer, 8 sequence,
 *                8 index, 8 log term, 8 revision, then the data: ids of members, records of the store, or the small state
 *     question   1 kind (5), 3 zero, 4 magic, 4 protocol version: who are you? Instead of a greeting, by one that is to join
 *     cluster    1 kind (6), 3 zero, 4 protocol version, 8 cluster id, 4 length of the founders, the founders, the members of now; both
 *                are a raftfs.state.NodeState
 *     dismissal  1 kind (7), 1 reason, then text: why the dialler can never be a member, and ends
 *     entry      8 term, 1 type, 3 zero, 4 length of the data, data; its index is the message's index + 1, + 2...
 *
 * Decoding takes any bytes: a frame that is no valid one gives ST_CORRUPT and the connection ends.
 */
#ifndef RAFTD_PEER_FRAME_H
#define RAFTD_PEER_FRAME_H

#include "common/buf.h"
#include "common/limits.h"
#include "common/status.h"
#include "raft/raft.h"
#include "raft/snapshot.h"

#define FRAME_HEADER_BYTES 8
#define PEER_PROTOCOL_VERSION 3

enum frame_kind {
    FRAME_GREETING = 1,
    FRAME_REFUSAL = 2,
    FRAME_MESSAGE = 3,
    FRAME_SNAPSHOT = 4,
    FRAME_QUESTION = 5,
    FRAME_CLUSTER = 6,
    FRAME_DISMISSAL = 7,
};

enum dismissal_reason { DISMISSAL_REMOVED = 1, DISMISSAL_INCARNATION = 2 };

struct greeting {
    uint32_t version; /* of another one, nothing else is filled */
    uint64_t cluster_id, from, to, incarnation;
    char urls[MEMBER_URLS_MAX][MEMBER_URL_BYTES_MAX + 1];
    unsigned url_count;
};

struct cluster_answer {
    uint64_t cluster_id;
    struct slice founders, members; /* in the payload */
};

void frame_append_greeting(struct buf *out, const struct greeting *g);
void frame_append_refusal(struct buf *out, const char *why);
void frame_append_question(struct buf *out);
void frame_append_cluster(struct buf *out, const struct cluster_answer *answer);
void frame_append_dismissal(struct buf *out, enum dismissal_reason reason, const char *why);
void frame_append_message(struct buf *out, const struct raft_message *m);
void frame_append_snapshot(struct buf *out, const struct snapshot_message *m);

/*
 * The first frame in the bytes: ST_OK with its payload and the length of the whole frame; ST_NOT_FOUND if more bytes are
 * needed; ST_CORRUPT for a wrong checksum or a payload over payload_bytes_max.
 */
enum status frame_next(struct slice bytes, size_t payload_bytes_max, struct slice *ret_payload,
                       size_t *ret_frame_len) MUST_CHECK;

/* The kind of a payload; 0 for an empty one. */
int frame_kind(struct slice payload);
enum status frame_decode_greeting(struct slice payload, struct greeting *ret_greeting) MUST_CHECK;
struct slice frame_refusal_text(struct slice payload);
/* Is it a question in our version? */
bool frame_is_question(struct slice payload);
enum status frame_decode_cluster(struct slice payload, struct cluster_answer *ret_answer) MUST_CHECK;
/* ret_why points into the payload. */
enum status frame_decode_dismissal(struct slice payload, enum dismissal_reason *ret_reason, struct slice *ret_why) MUST_CHECK;
/*
 * entries: fresh ones with one reference each in an array; the caller ends both with frame_free_message. Their
 * index is as the message implies, 0 in a PROPOSE.
 */
enum status frame_decode_message(struct slice payload, struct raft_message *ret_message) MUST_CHECK;
void frame_free_message(struct raft_message *m);
/* data points into the payload. */
enum status frame_decode_snapshot(struct slice payload, struct snapshot_message *ret_message) MUST_CHECK;

#endif
