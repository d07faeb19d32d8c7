/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between members: there and back, and what is no frame. */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/rng.h"
#include "raftd/peer/frame.h"

#define ENTRIES 3

static struct raft_message message_with_entries(struct raft_entry **entries)
{
    static const char *const texts[ENTRIES] = {"one", "", "three"};
    struct raft_message m = {.type = RAFT_MSG_APPEND,
                             .from = 1,
                             .to = UINT64_MAX,
                             .term = 7,
                             .log_term = 6,
                             .index = 41,
                             .commit = 40,
                             .hint_index = 39,
                             .hint_term = 5,
                             .context = 0x0123456789abcdef,
                             .reject = true,
                             .transfer = true,
                             .entries = entries,
                             .entry_count = ENTRIES};

    for (size_t i = 0; i < ENTRIES; i++) {
        entries[i] = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)strlen(texts[i]));
        entries[i]->term = 6 + i;
        memcpy(entries[i]->data, texts[i], strlen(texts[i]));
    }
    return m;
}

static void append_message(struct buf *out)
{
    struct raft_entry *entries[ENTRIES];
    struct raft_message m = message_with_entries(entries);

    frame_append_message(out, &m);
    for (size_t i = 0; i < ENTRIES; i++)
        raft_entry_unref(entries[i]);
}

/* A frame around a payload as a broken or hostile member would make it. */
static void append_payload(struct buf *out, const uint8_t *payload, size_t len)
{
    uint8_t *p = buf_reserve(out, FRAME_HEADER_BYTES + len);

    put_bytes(put_le32(put_le32(p, (uint32_t)len), crc32c(0, payload, len)), payload, len);
    buf_commit(out, FRAME_HEADER_BYTES + len);
}

static void a_message_comes_back_whole(void **state)
{
    struct buf b = {0};
    struct slice payload;
    struct raft_message m;
    size_t len;

    (void)state;
    append_message(&b);
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(len, buf_len(&b));
    assert_int_equal(frame_kind(payload), FRAME_MESSAGE);
    assert_int_equal(frame_decode_message(payload, &m), ST_OK);
    assert_int_equal(m.type, RAFT_MSG_APPEND);
    assert_true(m.from == 1 && m.to == UINT64_MAX && m.term == 7 && m.log_term == 6 && m.index == 41 && m.commit == 40);
    assert_true(m.hint_index == 39 && m.hint_term == 5 && m.context == 0x0123456789abcdef && m.reject && m.transfer);
    assert_int_equal(m.entry_count, ENTRIES);
    for (size_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(m.entries[i]->index, 42 + i);
        assert_int_equal(m.entries[i]->term, 6 + i);
    }
    assert_int_equal(m.entries[2]->len, 5);
    assert_memory_equal(m.entries[2]->data, "three", 5);
    frame_free_message(&m);
    buf_fini(&b);
}

/* Those of a log that is fetched stand behind the index that was asked about, as in an append. */
static void a_fetched_log_comes_back_whole(void **state)
{
    struct raft_entry *entries[ENTRIES];
    struct raft_message m = message_with_entries(entries), back;
    struct raft_message pull = {.type = RAFT_MSG_PULL, .from = 1, .to = 2, .term = 7, .index = 41, .log_term = 6};
    struct buf b = {0};
    struct slice payload;
    size_t first, second;

    (void)state;
    m.type = RAFT_MSG_PULL_RESPONSE;
    m.reject = m.transfer = false;
    frame_append_message(&b, &pull);
    frame_append_message(&b, &m);
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &first), ST_OK);
    assert_int_equal(frame_decode_message(payload, &back), ST_OK);
    assert_true(back.type == RAFT_MSG_PULL && back.index == 41 && back.log_term == 6 && !back.entry_count);
    frame_free_message(&back);
    buf_consume(&b, first);
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &second), ST_OK);
    assert_int_equal(frame_decode_message(payload, &back), ST_OK);
    assert_true(back.type == RAFT_MSG_PULL_RESPONSE && back.index == 41 && back.log_term == 6 && !back.reject);
    assert_true(back.commit == 40 && back.hint_index == 39 && back.hint_term == 5 && back.entry_count == ENTRIES);
    assert_int_equal(back.entries[0]->index, 42);
    assert_int_equal(back.entries[2]->index, 44);
    assert_memory_equal(back.entries[2]->data, "three", 5);
    frame_free_message(&back);
    for (size_t i = 0; i < ENTRIES; i++)
        raft_entry_unref(entries[i]);
    buf_fini(&b);
}

static void proposed_entries_have_no_index_yet(void **state)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 1);
    struct raft_message m = {.type = RAFT_MSG_PROPOSE, .index = 99, .entries = &e, .entry_count = 1}, back;
    struct buf b = {0};
    struct slice payload;
    size_t len;

    (void)state;
    e->data[0] = 'x';
    frame_append_message(&b, &m);
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_decode_message(payload, &back), ST_OK);
    assert_int_equal(back.entries[0]->index, 0);
    frame_free_message(&back);
    raft_entry_unref(e);
    buf_fini(&b);
}

static void a_greeting_and_a_refusal_come_back(void **state)
{
    struct greeting g = {PEER_PROTOCOL_VERSION, 1, 2, 3, 4, {"http://a:1", "unix:///x"}, 2}, back = {0};
    struct buf b = {0};
    struct slice payload;
    size_t len;

    (void)state;
    frame_append_greeting(&b, &g);
    frame_append_refusal(&b, "no");
    assert_int_equal(frame_next(buf_slice(&b), PEER_GREETING_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_kind(payload), FRAME_GREETING);
    assert_int_equal(frame_decode_greeting(payload, &back), ST_OK);
    assert_memory_equal(&g, &back, sizeof g);
    buf_consume(&b, len);
    assert_int_equal(frame_next(buf_slice(&b), PEER_GREETING_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_kind(payload), FRAME_REFUSAL);
    assert_int_equal(frame_decode_greeting(payload, &back), ST_CORRUPT);
    assert_true(slice_equal(frame_refusal_text(payload), slice_of_text("no")));
    buf_fini(&b);
}

/* Whoever is older or newer is told so, whatever the rest looks like. */
static void a_greeting_in_another_version_is_known_as_one(void **state)
{
    struct greeting g = {PEER_PROTOCOL_VERSION - 1, 1, 2, 3, 4, {""}, 0}, back = {0};
    struct buf b = {0};

    (void)state;
    frame_append_greeting(&b, &g);
    assert_int_equal(frame_decode_greeting(slice_of(b.data + FRAME_HEADER_BYTES, 36), &back), ST_OK);
    assert_int_equal(back.version, PEER_PROTOCOL_VERSION - 1);
    buf_fini(&b);
}

static void a_greeting_that_is_cut_or_has_no_incarnation_is_none(void **state)
{
    struct greeting g = {PEER_PROTOCOL_VERSION, 1, 2, 3, 4, {"http://a:1"}, 1}, back;
    struct buf b = {0};

    (void)state;
    frame_append_greeting(&b, &g);
    for (size_t len = 0; len < buf_len(&b) - FRAME_HEADER_BYTES; len++)
        assert_int_equal(frame_decode_greeting(slice_of(b.data + FRAME_HEADER_BYTES, len), &back), ST_CORRUPT);
    buf_clear(&b);
    g.incarnation = 0;
    frame_append_greeting(&b, &g);
    assert_int_equal(frame_decode_greeting(slice_of(b.data + FRAME_HEADER_BYTES, buf_len(&b) - FRAME_HEADER_BYTES), &back),
                     ST_CORRUPT);
    buf_fini(&b);
}

static void a_question_its_answer_and_a_dismissal_come_back(void **state)
{
    struct cluster_answer answer = {7, slice_of_text("founders"), slice_of_text("members")}, back;
    enum dismissal_reason reason;
    struct slice payload, why;
    struct buf b = {0};
    size_t len;

    (void)state;
    frame_append_question(&b);
    assert_int_equal(frame_next(buf_slice(&b), PEER_GREETING_BYTES_MAX, &payload, &len), ST_OK);
    assert_true(frame_is_question(payload));
    payload.len--;
    assert_false(frame_is_question(payload));
    buf_clear(&b);
    frame_append_cluster(&b, &answer);
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_decode_cluster(payload, &back), ST_OK);
    assert_true(back.cluster_id == 7 && slice_equal(back.founders, answer.founders) && slice_equal(back.members, answer.members));
    for (size_t cut = 0; cut < 20 + answer.founders.len; cut++)
        assert_int_equal(frame_decode_cluster(slice_of(payload.data, cut), &back), ST_CORRUPT);
    buf_clear(&b);
    frame_append_dismissal(&b, DISMISSAL_REMOVED, "go");
    assert_int_equal(frame_next(buf_slice(&b), PEER_GREETING_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_decode_dismissal(payload, &reason, &why), ST_OK);
    assert_true(reason == DISMISSAL_REMOVED && slice_equal(why, slice_of_text("go")));
    assert_int_equal(frame_decode_dismissal(slice_of(payload.data, 1), &reason, &why), ST_CORRUPT);
    assert_int_equal(frame_decode_dismissal(slice_of_text("\7\3"), &reason, &why), ST_CORRUPT);
    buf_fini(&b);
}

static void a_part_of_a_frame_wants_more_bytes(void **state)
{
    struct buf b = {0};
    struct slice payload;
    size_t len;

    (void)state;
    append_message(&b);
    for (size_t part = 0; part < buf_len(&b); part++)
        assert_int_equal(frame_next(slice_of(b.data, part), PEER_FRAME_BYTES_MAX, &payload, &len), ST_NOT_FOUND);
    buf_fini(&b);
}

static void a_flipped_bit_is_damage_or_a_wait_for_more(void **state)
{
    struct buf b = {0};
    struct slice payload;
    size_t len;

    (void)state;
    append_message(&b);
    for (size_t bit = 0; bit < buf_len(&b) * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_fini(&b);
}

static void a_length_over_the_limit_is_damage_at_once(void **state)
{
    uint8_t head[FRAME_HEADER_BYTES];
    struct slice payload;
    size_t len;

    (void)state;
    put_le32(put_le32(head, PEER_GREETING_BYTES_MAX + 1), 0);
    assert_int_equal(frame_next(slice_of(head, sizeof head), PEER_GREETING_BYTES_MAX, &payload, &len), ST_CORRUPT);
    assert_int_equal(frame_next(slice_of(head, sizeof head), PEER_FRAME_BYTES_MAX, &payload, &len), ST_NOT_FOUND);
}

/* A checksum guards against accidents only: whatever stands in a payload is decoded or refused, and never read past. */
static void any_payload_is_decoded_or_refused(void **state)
{
    struct rng rng = {.state = 7};
    struct buf b = {0}, good = {0};

    (void)state;
    append_message(&good);
    for (int round = 0; round < 20000; round++) {
        size_t whole = buf_len(&good) - FRAME_HEADER_BYTES, len = rng_next(&rng) % (whole + 1);
        uint8_t *payload = malloc(len + 1); /* exactly so long: a sanitizer sees a byte too far */
        struct greeting g;
        struct raft_message m;
        struct slice found;
        size_t frame_len;

        assert_non_null(payload);
        memcpy(payload, good.data + FRAME_HEADER_BYTES, len);
        for (unsigned i = 0; len && i < rng_next(&rng) % 4; i++)
            payload[rng_next(&rng) % len] = (uint8_t)rng_next(&rng);
        buf_clear(&b);
        append_payload(&b, payload, len);
        assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &found, &frame_len), ST_OK);
        payload = realloc(payload, len ? len : 1);
        assert_non_null(payload);
        if (frame_decode_message(slice_of(payload, len), &m) == ST_OK)
            frame_free_message(&m);
        if (len)
            assert_int_equal(frame_decode_greeting(slice_of(payload, len), &g), ST_CORRUPT);
        free(payload);
    }
    buf_fini(&b);
    buf_fini(&good);
}

static void more_entries_than_bytes_are_refused_before_anything_is_allocated(void **state)
{
    struct raft_message m = {.type = RAFT_MSG_APPEND}, back;
    struct buf b = {0};

    (void)state;
    frame_append_message(&b, &m);
    put_le32(b.data + buf_len(&b) - 4, UINT32_MAX);
    assert_int_equal(frame_decode_message(slice_of(b.data + FRAME_HEADER_BYTES, buf_len(&b) - FRAME_HEADER_BYTES), &back),
                     ST_CORRUPT);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_back_whole),
        cmocka_unit_test(a_fetched_log_comes_back_whole),
        cmocka_unit_test(proposed_entries_have_no_index_yet),
        cmocka_unit_test(a_greeting_and_a_refusal_come_back),
        cmocka_unit_test(a_greeting_in_another_version_is_known_as_one),
        cmocka_unit_test(a_greeting_that_is_cut_or_has_no_incarnation_is_none),
        cmocka_unit_test(a_question_its_answer_and_a_dismissal_come_back),
        cmocka_unit_test(a_part_of_a_frame_wants_more_bytes),
        cmocka_unit_test(a_flipped_bit_is_damage_or_a_wait_for_more),
        cmocka_unit_test(a_length_over_the_limit_is_damage_at_once),
        cmocka_unit_test(any_payload_is_decoded_or_refused),
        cmocka_unit_test(more_entries_than_bytes_are_refused_before_anything_is_allocated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
