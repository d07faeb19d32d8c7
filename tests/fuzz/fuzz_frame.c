/* SPDX-License-Identifier: Apache-2.0 */
/* Peer frames: any bytes, and any payload behind a right checksum. What is decoded comes back from its encoding. */
#include <stdlib.h>

#include "common/mem.h"
#include "raftd/peer/frame.h"
#include "tests/fuzz/fuzz.h"

static void try_payload(struct slice payload)
{
    struct raft_message m, again;
    struct cluster_answer answer;
    enum dismissal_reason reason;
    struct snapshot_message snapshot;
    struct greeting g;
    struct buf b = {0};
    struct slice back;
    size_t len;

    if (frame_kind(payload) == FRAME_REFUSAL)
        INVARIANT(frame_refusal_text(payload).len == payload.len - 1);
    if (frame_decode_cluster(payload, &answer) == ST_OK) {
        frame_append_cluster(&b, &answer);
        INVARIANT(frame_next(buf_slice(&b), SIZE_MAX, &back, &len) == ST_OK && back.len == payload.len);
        buf_clear(&b);
    }
    if (frame_decode_dismissal(payload, &reason, &back) == ST_OK)
        INVARIANT(back.len == payload.len - 2);
    if (frame_is_question(payload))
        INVARIANT(frame_decode_greeting(payload, &g) != ST_OK);
    if (frame_decode_greeting(payload, &g) == ST_OK && g.version == PEER_PROTOCOL_VERSION) {
        frame_append_greeting(&b, &g);
        INVARIANT(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &back, &len) == ST_OK && slice_equal(back, payload));
        buf_clear(&b);
    }
    if (frame_decode_message(payload, &m) == ST_OK) {
        frame_append_message(&b, &m);
        INVARIANT(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &back, &len) == ST_OK && back.len == payload.len);
        INVARIANT(frame_decode_message(back, &again) == ST_OK && again.entry_count == m.entry_count);
        frame_free_message(&again);
        frame_free_message(&m);
    }
    if (frame_decode_snapshot(payload, &snapshot) == ST_OK) {
        INVARIANT(snapshot.type != SNAPSHOT_OFFER || snapshot_ids_make_sense(snapshot.data));
        buf_clear(&b);
        frame_append_snapshot(&b, &snapshot);
        INVARIANT(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &back, &len) == ST_OK && back.len == payload.len);
    }
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size), payload;
    size_t len;

    while (frame_next(rest, PEER_FRAME_BYTES_MAX, &payload, &len) == ST_OK) {
        try_payload(payload);
        rest = slice_of(rest.data + len, rest.len - len);
    }
    try_payload(slice_of(data, size));
    return 0;
}
