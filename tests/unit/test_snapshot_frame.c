/* SPDX-License-Identifier: Apache-2.0 */
/* Peer frames: there and back again, and any bytes at all. */
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/rng.h"
#include "raftd/peer/frame.h"
#include "tests/unit/check.h"

static struct slice payload_of(const struct buf *frame)
{
    struct slice payload;
    size_t len;

    assert_int_equal(frame_next(buf_slice(frame), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(len, buf_len(frame));
    return payload;
}

static struct snapshot_message make_snapshot(struct rng *rng, const uint8_t *data, size_t len)
{
    enum snapshot_message_type type = (enum snapshot_message_type)(1 + rng_below(rng, 6));
    size_t ids = len / SNAPSHOT_ID_BYTES % (MEMBERS_MAX + 1);

    len = type == SNAPSHOT_CHUNK || type == SNAPSHOT_END ? len : type == SNAPSHOT_OFFER ? ids * SNAPSHOT_ID_BYTES : 0;
    return (struct snapshot_message){.type = type,
                                     .from = rng_next(rng),
                                     .to = rng_next(rng),
                                     .term = rng_next(rng),
                                     .transfer = rng_next(rng) | 1,
                                     .sequence = rng_next(rng),
                                     .index = rng_next(rng),
                                     .log_term = rng_next(rng),
                                     .revision = (int64_t)rng_next(rng),
                                     .crc = (uint32_t)rng_next(rng),
                                     .data = slice_of(data, len)};
}

static void a_message_about_a_snapshot_comes_back_as_it_went(void **state)
{
    struct rng rng = {.state = 3};
    uint8_t data[300];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    for (unsigned i = 0; i < 1000; i++) {
        struct snapshot_message m = make_snapshot(&rng, data, rng_below(&rng, sizeof data)), back;
        struct buf frame = {0};
        frame_append_snapshot(&frame, &m);
        assert_int_equal(frame_kind(payload_of(&frame)), FRAME_SNAPSHOT);
        assert_int_equal(frame_decode_snapshot(payload_of(&frame), &back), ST_OK);
        assert_true(slice_equal(back.data, m.data));
        back.data = m.data;
        assert_int_equal(back.type, m.type);
        assert_int_equal(back.from, m.from);
        assert_int_equal(back.to, m.to);
        assert_int_equal(back.term, m.term);
        assert_int_equal(back.transfer, m.transfer);
        assert_int_equal(back.sequence, m.sequence);
        assert_int_equal(back.index, m.index);
        assert_int_equal(back.log_term, m.log_term);
        assert_int_equal(back.revision, m.revision);
        assert_int_equal(back.crc, m.crc);
        buf_fini(&frame);
    }
}

static void a_message_of_the_core_comes_back_as_it_went(void **state)
{
    struct raft_entry *entries[3];
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 1, .to = 2, .term = 9, .log_term = 8, .index = 70, .commit = 60,
                             .hint_index = 5, .hint_term = 4, .context = 3, .reject = true, .entries = entries, .entry_count = 3};
    struct raft_message back;
    struct buf frame = {0};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        entries[i] = raft_entry_new(RAFT_ENTRY_NORMAL, i * 10);
        memset(entries[i]->data, 'a', i * 10);
        entries[i]->term = 9;
    }
    frame_append_message(&frame, &m);
    assert_int_equal(frame_decode_message(payload_of(&frame), &back), ST_OK);
    assert_int_equal(back.type, m.type);
    assert_int_equal(back.index, 70);
    assert_int_equal(back.commit, 60);
    assert_int_equal(back.context, 3);
    assert_true(back.reject && !back.transfer);
    assert_int_equal(back.entry_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(back.entries[i]->index, 71 + i);
        assert_int_equal(back.entries[i]->len, i * 10);
        assert_memory_equal(back.entries[i]->data, entries[i]->data, i * 10);
        raft_entry_unref(entries[i]);
    }
    frame_free_message(&back);
    buf_fini(&frame);
}

/* On the wire: the frame's checksum. Behind it, where a liar may be: a message or ST_CORRUPT, and never a read beyond. */
static void damaged_frames_are_refused(void **state)
{
    static const uint8_t data[64];
    struct rng rng = {.state = 5};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct snapshot_message m = make_snapshot(&rng, data, rng_below(&rng, sizeof data)), back;
        struct raft_message message;
        struct buf frame = {0};
        struct slice payload;
        size_t len, cut, bit;
        uint8_t *copy;
        frame_append_snapshot(&frame, &m);
        payload = payload_of(&frame);
        /* A copy of its own, so that a sanitizer sees every read beyond its end. */
        cut = rng_below(&rng, payload.len + 1);
        copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, payload.data, cut);
        for (unsigned k = 0; cut && k < 3; k++)
            copy[rng_below(&rng, cut)] = (uint8_t)rng_next(&rng);
        if (frame_decode_snapshot(slice_of(copy, cut), &back) == ST_OK)
            assert_true(back.type >= SNAPSHOT_CHUNK && back.type <= SNAPSHOT_OFFER && back.transfer && back.data.len < cut);
        if (cut)
            copy[0] = FRAME_MESSAGE;
        if (frame_decode_message(slice_of(copy, cut), &message) == ST_OK)
            frame_free_message(&message);
        free(copy);
        bit = rng_below(&rng, buf_len(&frame) * 8);
        frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(frame_next(buf_slice(&frame), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
        buf_fini(&frame);
    }
}

static void an_offer_carries_whole_ids_of_no_more_than_all_members(void **state)
{
    static const uint8_t ids[(MEMBERS_MAX + 1) * SNAPSHOT_ID_BYTES];
    struct snapshot_message m = {.type = SNAPSHOT_OFFER, .transfer = 1}, back;

    (void)state;
    for (size_t len = 0; len <= sizeof ids; len++) {
        bool makes_sense = len % SNAPSHOT_ID_BYTES == 0 && len < sizeof ids;
        struct buf frame = {0};
        m.data = slice_of(ids, len);
        frame_append_snapshot(&frame, &m);
        assert_int_equal(frame_decode_snapshot(payload_of(&frame), &back), makes_sense ? ST_OK : ST_CORRUPT);
        buf_fini(&frame);
    }
}

static void answers_carry_no_data_and_nothing_is_of_no_transfer(void **state)
{
    struct snapshot_message m = {.type = SNAPSHOT_RECEIVED, .transfer = 1, .data = slice_of("x", 1)}, back;
    struct buf frame = {0};

    (void)state;
    frame_append_snapshot(&frame, &m);
    assert_int_equal(frame_decode_snapshot(payload_of(&frame), &back), ST_CORRUPT);
    buf_clear(&frame);
    m = (struct snapshot_message){.type = SNAPSHOT_CHUNK};
    frame_append_snapshot(&frame, &m);
    assert_int_equal(frame_decode_snapshot(payload_of(&frame), &back), ST_CORRUPT);
    buf_fini(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_about_a_snapshot_comes_back_as_it_went),
        cmocka_unit_test(a_message_of_the_core_comes_back_as_it_went),
        cmocka_unit_test(damaged_frames_are_refused),
        cmocka_unit_test(an_offer_carries_whole_ids_of_no_more_than_all_members),
        cmocka_unit_test(answers_carry_no_data_and_nothing_is_of_no_transfer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
