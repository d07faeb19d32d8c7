/* SPDX-License-Identifier: Apache-2.0 */
/* What members say to each other and keep: peer frames, commands, the table of members. There and back, and damage. */
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "common/rng.h"
#include "raftd/node/command.h"
#include "raftd/node/members.h"
#include "raftd/peer/frame.h"
#include "tests/unit/check.h"

/* ---- frames ---- */

static struct raft_message draw_message(struct rng *rng, struct raft_entry **entries)
{
    struct raft_message m = {.type = (enum raft_message_type)(2 + rng_below(rng, 17)),
                             .from = rng_next(rng),
                             .to = rng_next(rng),
                             .term = rng_next(rng),
                             .log_term = rng_next(rng),
                             .index = rng_next(rng) >> 8,
                             .commit = rng_next(rng),
                             .hint_index = rng_next(rng),
                             .hint_term = rng_next(rng),
                             .context = rng_next(rng),
                             .reject = rng_below(rng, 2),
                             .transfer = rng_below(rng, 2),
                             .entries = entries,
                             .entry_count = rng_below(rng, 4)};

    for (size_t i = 0; i < m.entry_count; i++) {
        entries[i] = raft_entry_new(rng_below(rng, 2) ? RAFT_ENTRY_NORMAL : RAFT_ENTRY_CONF, (uint32_t)rng_below(rng, 100));
        entries[i]->term = rng_next(rng);
        memset(entries[i]->data, (int)i, entries[i]->len);
    }
    return m;
}

static void check_equal(const struct raft_message *a, const struct raft_message *b)
{
    assert_true(a->type == b->type && a->from == b->from && a->to == b->to && a->term == b->term);
    assert_true(a->log_term == b->log_term && a->index == b->index && a->commit == b->commit);
    assert_true(a->hint_index == b->hint_index && a->hint_term == b->hint_term && a->context == b->context);
    assert_true(a->reject == b->reject && a->transfer == b->transfer && a->entry_count == b->entry_count);
    for (size_t i = 0; i < a->entry_count; i++) {
        assert_int_equal(b->entries[i]->index, a->type == RAFT_MSG_PROPOSE ? 0 : a->index + 1 + i);
        assert_int_equal(a->entries[i]->term, b->entries[i]->term);
        assert_int_equal(a->entries[i]->type, b->entries[i]->type);
        assert_int_equal(a->entries[i]->len, b->entries[i]->len);
        assert_memory_equal(a->entries[i]->data, b->entries[i]->data, a->entries[i]->len);
    }
}

static void every_message_comes_back_as_it_was(void **state)
{
    struct rng rng = {.state = 1};

    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct raft_entry *entries[4];
        struct raft_message m = draw_message(&rng, entries), back;
        struct buf b = {0};
        struct slice payload;
        size_t len;
        frame_append_message(&b, &m);
        for (size_t cut = 0; cut < buf_len(&b); cut += 1 + rng_below(&rng, 40))
            assert_int_equal(frame_next(slice_of(b.data, cut), PEER_FRAME_BYTES_MAX, &payload, &len), ST_NOT_FOUND);
        assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
        assert_int_equal(len, buf_len(&b));
        assert_int_equal(frame_kind(payload), FRAME_MESSAGE);
        assert_int_equal(frame_decode_message(payload, &back), ST_OK);
        check_equal(&m, &back);
        frame_free_message(&back);
        /* A payload of another length is no message. */
        assert_int_equal(frame_decode_message(slice_of(payload.data, payload.len - 1), &back), ST_CORRUPT);
        buf_fini(&b);
        for (size_t k = 0; k < m.entry_count; k++)
            raft_entry_unref(entries[k]);
    }
}

static void a_flipped_byte_of_a_frame_is_noticed(void **state)
{
    struct rng rng = {.state = 2};
    struct raft_entry *entries[4];
    struct raft_message m = draw_message(&rng, entries);
    struct buf b = {0};

    (void)state;
    frame_append_message(&b, &m);
    for (size_t at = 0; at < buf_len(&b); at++)
        for (int bit = 0; bit < 8; bit++) {
            struct slice payload;
            size_t len;
            b.data[at] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
            b.data[at] ^= (uint8_t)(1u << bit);
        }
    buf_fini(&b);
    for (size_t k = 0; k < m.entry_count; k++)
        raft_entry_unref(entries[k]);
}

/* The checksum is right and the content is not: nothing is believed, nothing is allocated for it. */
static void lengths_and_counts_that_lie_are_refused(void **state)
{
    uint8_t payload[96] = {FRAME_MESSAGE, RAFT_MSG_APPEND}, header[FRAME_HEADER_BYTES];
    struct raft_message m;
    struct slice out;
    size_t len;

    (void)state;
    put_le32(payload + 76, UINT32_MAX); /* entries */
    assert_int_equal(frame_decode_message(slice_of(payload, sizeof payload), &m), ST_CORRUPT);
    put_le32(payload + 76, 1);
    put_le32(payload + 92, UINT32_MAX); /* bytes of the entry */
    assert_int_equal(frame_decode_message(slice_of(payload, sizeof payload), &m), ST_CORRUPT);
    put_le32(payload + 92, 0);
    put_le32(payload + 88, RAFT_ENTRY_CONF + 1); /* its type */
    assert_int_equal(frame_decode_message(slice_of(payload, sizeof payload), &m), ST_CORRUPT);
    put_le32(payload + 88, RAFT_ENTRY_NORMAL);
    assert_int_equal(frame_decode_message(slice_of(payload, sizeof payload), &m), ST_OK);
    frame_free_message(&m);
    put_le32(payload + 76, 0);
    assert_int_equal(frame_decode_message(slice_of(payload, sizeof payload), &m), ST_CORRUPT); /* something is left */
    assert_int_equal(frame_decode_message(slice_of(NULL, 0), &m), ST_CORRUPT);
    put_le32(header, PEER_FRAME_BYTES_MAX + 1);
    assert_int_equal(frame_next(slice_of(header, sizeof header), PEER_FRAME_BYTES_MAX, &out, &len), ST_CORRUPT);
}

static void greetings_and_refusals_come_back_as_they_were(void **state)
{
    struct greeting g = {.version = PEER_PROTOCOL_VERSION, .cluster_id = 0x1122334455667788u, .from = 3, .to = 4, .incarnation = 5}, back;
    struct buf b = {0};
    struct slice payload;
    size_t len;

    (void)state;
    frame_append_greeting(&b, &g);
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_kind(payload), FRAME_GREETING);
    assert_int_equal(frame_decode_greeting(payload, &back), ST_OK);
    assert_true(back.version == g.version && back.cluster_id == g.cluster_id && back.from == 3 && back.to == 4);
    assert_int_equal(frame_decode_greeting(slice_of(payload.data, payload.len - 1), &back), ST_CORRUPT);
    buf_consume(&b, len);
    frame_append_refusal(&b, "not here");
    assert_int_equal(frame_next(buf_slice(&b), PEER_FRAME_BYTES_MAX, &payload, &len), ST_OK);
    assert_int_equal(frame_kind(payload), FRAME_REFUSAL);
    assert_true(slice_equal(frame_refusal_text(payload), slice_of_text("not here")));
    assert_int_equal(frame_decode_greeting(payload, &back), ST_CORRUPT);
    assert_int_equal(frame_kind(slice_of(NULL, 0)), 0);
    buf_fini(&b);
}

/* ---- commands ---- */

static void commands_come_back_as_they_were(void **state)
{
    struct command c = {.kind = COMMAND_TXN, .origin = UINT64_MAX, .request = 7, .time_ns = -5}, back = {0};
    struct raft_entry *e = command_new(&c, 3), *short_one;

    (void)state;
    memcpy(command_payload_room(e), "abc", 3);
    assert_true(command_parse(e, &back));
    assert_true(back.kind == c.kind && back.origin == c.origin && back.request == 7 && back.time_ns == -5);
    assert_true(slice_equal(back.payload, slice_of_text("abc")));
    e->data[0]++; /* another format */
    assert_false(command_parse(e, &back));
    e->data[0]--;
    e->type = RAFT_ENTRY_CONF;
    assert_false(command_parse(e, &back));
    raft_entry_unref(e);
    for (uint32_t len = 0; len <= COMMAND_HEADER_BYTES; len++) {
        short_one = raft_entry_new(RAFT_ENTRY_NORMAL, len);
        memset(short_one->data, COMMAND_FORMAT, len);
        assert_int_equal(command_parse(short_one, &back), len == COMMAND_HEADER_BYTES);
        raft_entry_unref(short_one);
    }
}

/* ---- members ---- */

static void members_come_back_as_they_were(void **state)
{
    char *peer[] = {(char[]){"http://a:2380"}, (char[]){"http://b:2380"}}, *client[] = {(char[]){"http://a:2379"}};
    struct members m = {0}, back = {0};
    struct buf b = {0}, twice = {0};

    (void)state;
    for (uint64_t i = 0; i < RAFT_VOTERS_MAX; i++)
        assert_int_equal(members_add(&m, (i * 7) % RAFT_VOTERS_MAX + 1, i % 2 ? "name" : "", peer, (unsigned)(i % 3)), ST_OK);
    assert_int_equal(members_add(&m, 1, "", NULL, 0), ST_BAD_ARGUMENT);
    assert_int_equal(members_add(&m, 99, "", NULL, 0), ST_LIMIT);
    member_set_client_urls(members_find(&m, 3), client, 1);
    member_set_name(members_find(&m, 3), "third");
    members_encode(&m, &b);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_OK);
    assert_int_equal(back.count, m.count);
    for (unsigned i = 0; i < m.count; i++) {
        assert_int_equal(back.list[i].id, i + 1); /* ascending, whatever came first */
        assert_string_equal(back.list[i].name, m.list[i].name);
        assert_int_equal(back.list[i].peer_url_count, m.list[i].peer_url_count);
        for (unsigned k = 0; k < m.list[i].peer_url_count; k++)
            assert_string_equal(back.list[i].peer_urls[k], m.list[i].peer_urls[k]);
    }
    assert_string_equal(members_find(&back, 3)->client_urls[0], "http://a:2379");
    assert_null(members_find(&back, 99));
    members_fini(&back);
    /* Cut anywhere, it is fewer members or a refusal, or what it was before there was a configuration: all vote. */
    for (size_t cut = 0; cut < buf_len(&b); cut++) {
        struct members part = {0};
        if (members_decode(&part, slice_of(b.data, cut)) == ST_OK)
            assert_true(part.count < m.count || memcmp(&part.conf, &m.conf, sizeof m.conf) == 0);
        members_fini(&part);
    }
    /* Twice the same is damage. */
    buf_append_slice(&twice, buf_slice(&b));
    buf_append_slice(&twice, buf_slice(&b));
    assert_int_not_equal(members_decode(&back, buf_slice(&twice)), ST_OK);
    buf_fini(&twice);
    members_fini(&back);
    members_fini(&m);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_was),
        cmocka_unit_test(a_flipped_byte_of_a_frame_is_noticed),
        cmocka_unit_test(lengths_and_counts_that_lie_are_refused),
        cmocka_unit_test(greetings_and_refusals_come_back_as_they_were),
        cmocka_unit_test(commands_come_back_as_they_were),
        cmocka_unit_test(members_come_back_as_they_were),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
