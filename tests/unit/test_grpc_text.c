/* SPDX-License-Identifier: Apache-2.0 */
/* The small texts of gRPC. */
#include "tests/unit/check.h"

#include <string.h>

#include "common/clock.h"
#include "net/grpc_text.h"

static void a_timeout_is_up_to_eight_digits_and_a_unit(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"1n", 1},
        {"100m", 100 * NS_PER_MS},
        {"3u", 3000},
        {"5S", 5 * NS_PER_S},
        {"2M", 120 * NS_PER_S},
        {"1H", 3600 * NS_PER_S},
        {"0S", 0},
        {"99999999n", 99999999},
        {"99999999H", INT64_MAX / 4},
        {"100000000n", -1},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"1s", -1},
        {"-1S", -1},
        {" 1S", -1},
        {"1 S", -1},
        {"1.5S", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(grpc_timeout_parse(slice_of_text(rows[i].text)), rows[i].ns);
}

static void a_written_timeout_reads_back_within_its_unit(void **state)
{
    (void)state;
    for (int64_t ns = 1; ns < 3000000 * NS_PER_S; ns = ns * 7 / 3 + 1) {
        char text[16];
        int64_t back;
        grpc_timeout_format(ns, text);
        back = grpc_timeout_parse(slice_of_text(text));
        assert_true(back > 0 && back <= ns);
        assert_true(ns - back <= ns / 10000);
    }
}

static void messages_survive_the_way_through_a_header(void **state)
{
    static const char *const rows[] = {"", "plain words", "100 % sure", "line\nline\ttab", "gr\xc3\xbc\xc3\x9f", "%41",
                                       "\x01\x7f\xff"};
    struct buf encoded = {0}, decoded = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&encoded);
        buf_clear(&decoded);
        grpc_message_encode(&encoded, rows[i]);
        for (size_t at = 0; at < buf_len(&encoded); at++)
            assert_in_range(encoded.data[at], 0x20, 0x7e);
        grpc_message_decode(&decoded, buf_slice(&encoded));
        assert_string_equal(buf_text(&decoded), rows[i]);
    }
    buf_fini(&encoded);
    buf_fini(&decoded);
}

static void a_wrong_escape_is_shown_as_it_is(void **state)
{
    static const char *const rows[] = {"%", "%4", "%zz", "a%4g"};
    struct buf decoded = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&decoded);
        grpc_message_decode(&decoded, slice_of_text(rows[i]));
        assert_string_equal(buf_text(&decoded), rows[i]);
    }
    buf_clear(&decoded);
    grpc_message_decode(&decoded, slice_of_text("%4a%4A"));
    assert_string_equal(buf_text(&decoded), "JJ");
    buf_fini(&decoded);
}

static void a_frame_is_whole_or_more_is_needed(void **state)
{
    const uint8_t bytes[] = {0, 0, 0, 0, 3, 'a', 'b', 'c', 0};
    struct slice message;
    uint32_t len;

    (void)state;
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(grpc_frame_next(slice_of(bytes, n), 3, &message, &len), ST_NOT_FOUND);
    assert_int_equal(grpc_frame_next(slice_of(bytes, 9), 3, &message, &len), ST_OK);
    assert_true(slice_equal(message, slice_of_text("abc")));
    assert_int_equal(grpc_frame_next(slice_of(bytes, 5), 2, &message, &len), ST_MESSAGE_TOO_LARGE);
    assert_int_equal(len, 3);
}

static void a_giant_length_and_a_compressed_frame_are_named(void **state)
{
    const uint8_t giant[] = {0, 255, 255, 255, 255}, compressed[] = {1, 0, 0, 0, 0};
    struct slice message;
    uint32_t len;

    (void)state;
    assert_int_equal(grpc_frame_next(slice_of(giant, 5), 1 << 20, &message, &len), ST_MESSAGE_TOO_LARGE);
    assert_int_equal(len, UINT32_MAX);
    assert_int_equal(grpc_frame_next(slice_of(compressed, 5), 1 << 20, &message, &len), ST_UNKNOWN_METHOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timeout_is_up_to_eight_digits_and_a_unit),
        cmocka_unit_test(a_written_timeout_reads_back_within_its_unit),
        cmocka_unit_test(messages_survive_the_way_through_a_header),
        cmocka_unit_test(a_wrong_escape_is_shown_as_it_is),
        cmocka_unit_test(a_frame_is_whole_or_more_is_needed),
        cmocka_unit_test(a_giant_length_and_a_compressed_frame_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
