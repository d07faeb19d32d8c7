/* SPDX-License-Identifier: Apache-2.0 */
/* The room that all others stand on: buffers, codecs, checksums, results, options. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/crc32c.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/options.h"
#include "common/rng.h"
#include "common/status.h"
#include "tests/unit/check.h"

/* ---- files ---- */

static unsigned writes; /* since it was set to 1; 0: all is written at once */

/* In place of the C library's: every second call is interrupted, the others take three bytes at most. */
ssize_t write(int fd, const void *data, size_t len)
{
    if (!writes)
        return syscall(SYS_write, fd, data, len);
    if (writes++ % 2) {
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_write, fd, data, len < 3 ? len : 3);
}

static void what_is_interrupted_is_written_whole(void **state)
{
    char found[20] = "";
    int ends[2];
    bool written;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    writes = 1;
    written = file_write_all(ends[1], "ten bytes.", 10);
    writes = 0;
    assert_true(written);
    assert_int_equal(read(ends[0], found, sizeof found), 10);
    assert_string_equal(found, "ten bytes.");
    close(ends[1]);
    assert_false(file_write_all(ends[1], "x", 1));
    assert_int_equal(errno, EBADF);
    close(ends[0]);
}

/* ---- buffers ---- */

static void a_buffer_is_a_queue_of_bytes(void **state)
{
    struct rng rng = {.state = 3};
    uint8_t *taken, in = 0, out = 0;
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_len(&b), 0);
    for (int i = 0; i < 20000; i++) {
        size_t n = rng_below(&rng, 100);
        if (rng_below(&rng, 2)) {
            for (uint8_t *p = buf_reserve(&b, n); n; n--, in++) {
                *p++ = in;
                buf_commit(&b, 1);
            }
        } else {
            struct slice s = buf_slice(&b);
            n = n < s.len ? n : s.len;
            for (size_t k = 0; k < n; k++)
                assert_int_equal(s.data[k], out++);
            buf_consume(&b, n);
        }
        assert_int_equal((uint8_t)buf_len(&b), (uint8_t)(in - out));
    }
    buf_append_text(&b, "end");
    assert_string_equal(buf_text(&b) + buf_len(&b) - 3, "end");
    buf_consume(&b, buf_len(&b) - 3);
    assert_int_equal(buf_take(&b, &taken), 3);
    assert_memory_equal(taken, "end", 3);
    assert_null(b.data);
    free(taken);
}

static void formatted_text_of_any_length_fits(void **state)
{
    struct buf b = {0};
    char long_text[3000];

    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    for (size_t len = 0; len < sizeof long_text; len += 37) {
        buf_clear(&b);
        buf_printf(&b, "<%.*s>%d", (int)len, long_text, 42);
        assert_int_equal(buf_len(&b), len + 4);
        assert_true(buf_text(&b)[0] == '<' && strcmp(buf_text(&b) + len + 1, ">42") == 0);
    }
    buf_fini(&b);
}

/* ---- codecs ---- */

static void numbers_come_back_as_they_were(void **state)
{
    struct rng rng = {.state = 4};

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t v = rng_next(&rng) >> rng_below(&rng, 64);
        uint8_t room[60], *p = put_varint(room, v);
        struct reader r;
        assert_int_equal(p - room, varint_len(v));
        p = put_le64(put_le32(p, (uint32_t)v), v);
        p = put_be64(put_be32(p, (uint32_t)v), v);
        r = reader_of(slice_of(room, (size_t)(p - room)));
        assert_true(read_varint(&r) == v && read_le32(&r) == (uint32_t)v && read_le64(&r) == v);
        assert_true(get_be32(r.next) == (uint32_t)v && get_be64(r.next + 4) == v);
        assert_false(r.bad);
        /* Cut anywhere, the reader says so and stays where it is. */
        for (size_t len = 0; len < varint_len(v) + 12; len++) {
            r = reader_of(slice_of(room, len));
            read_varint(&r);
            read_le32(&r);
            read_le64(&r);
            assert_true(r.bad && r.next <= room + len);
            assert_int_equal(read_u8(&r), 0);
        }
    }
}

static void a_varint_that_does_not_end_is_bad(void **state)
{
    uint8_t endless[12];
    struct reader r = reader_of(slice_of(endless, sizeof endless));

    (void)state;
    memset(endless, 0x80, sizeof endless);
    assert_int_equal(read_varint(&r), 0);
    assert_true(r.bad);
}

/* RFC 3720, appendix B.4 */
static void the_checksum_is_crc32c(void **state)
{
    uint8_t b[32];

    (void)state;
    memset(b, 0, sizeof b);
    assert_int_equal(crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, sizeof b);
    assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        b[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        b[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(0, b, 32), 0x113fdb5c);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    /* In parts, from any place. */
    for (size_t from = 0; from < 8; from++)
        for (size_t cut = from; cut <= 32; cut++)
            assert_int_equal(crc32c(crc32c(0, b + from, cut - from), b + cut, 32 - cut), crc32c(0, b + from, 32 - from));
}

static void slices_are_ordered_as_keys(void **state)
{
    (void)state;
    assert_true(slice_compare(slice_of_text("a"), slice_of_text("ab")) < 0);
    assert_true(slice_compare(slice_of_text("b"), slice_of_text("ab")) > 0);
    assert_true(slice_compare(slice_of_text("\x7f"), slice_of_text("\xff")) < 0);
    assert_true(slice_compare(slice_of(NULL, 0), slice_of("", 1)) < 0);
    assert_true(slice_compare(slice_of(NULL, 0), slice_of_text("")) == 0);
    assert_true(slice_has_prefix(slice_of_text("ab"), slice_of(NULL, 0)));
    assert_false(slice_has_prefix(slice_of_text("a"), slice_of_text("ab")));
}

/* ---- results ---- */

static void every_result_has_a_text_a_code_and_an_errno(void **state)
{
    (void)state;
    for (int i = 0; i < ST_COUNT; i++) {
        enum status st = (enum status)i;
        assert_true(status_name(st) && *status_name(st) && *status_text(st));
        assert_true((st == ST_OK) == (status_grpc_code(st) == GRPC_OK));
        assert_true((st == ST_OK) == (status_errno(st) == 0));
        /* A client that gets the text finds the same row again; texts are not shared. */
        assert_int_equal(status_of_grpc((int)status_grpc_code(st), status_text(st), strlen(status_text(st))), st);
    }
    assert_int_equal(status_of_grpc(GRPC_UNAVAILABLE, "?", 1), ST_UNREACHABLE);
    for (int code = 1; code < 40; code++)
        assert_int_not_equal(status_of_grpc(code, "", 0), ST_OK);
}

/* ---- options ---- */

struct conf {
    const char *text;
    int64_t number, span_ns;
    bool flag;
};

static const struct option_row rows[] = {
    {"data-dir", OPTION_TEXT, offsetof(struct conf, text), "here", 0, 0, "a text"},
    {"wait", OPTION_NUMBER, offsetof(struct conf, number), "7", 1, 100, "a number"},
    {"flag", OPTION_BOOL, offsetof(struct conf, flag), "false", 0, 0, "a switch"},
    {"span", OPTION_DURATION, offsetof(struct conf, span_ns), "1m", 0, INT64_MAX / 2, "a duration"},
};
static const struct option_table table = {rows, sizeof rows / sizeof *rows, "TEST"};

static enum status parse(struct conf *conf, const char *one, const char *two, const char *environment)
{
    char *argv[4] = {(char[]){"program"}, NULL, NULL, NULL}, *envp[2] = {NULL, NULL};
    struct error error = {0};
    enum status st;
    int argc = 1;

    if (one)
        argv[argc++] = (char *)(uintptr_t)one;
    if (two)
        argv[argc++] = (char *)(uintptr_t)two;
    envp[0] = (char *)(uintptr_t)environment;
    *conf = (struct conf){0};
    st = options_parse(&table, conf, argc, argv, envp, NULL, NULL, &error);
    assert_true((st == ST_OK) == (error.text[0] == 0)); /* a refusal says why */
    return st;
}

static void options_are_spelled_as_etcds(void **state)
{
    static const char *const bad[][2] = {{"--wait", NULL}, {"--wait=0", NULL}, {"--wait=101", NULL}, {"--wait=x", NULL},
                                         {"--wait=", NULL}, {"--wait=5x", NULL}, {"--none", NULL}, {"word", NULL},
                                         {"--flag=perhaps", NULL}, {"--wait", "99999999999999999999"}};
    struct conf c;

    (void)state;
    assert_int_equal(parse(&c, NULL, NULL, NULL), ST_OK);
    assert_string_equal(c.text, "here");
    assert_true(c.number == 7 && !c.flag);
    assert_int_equal(parse(&c, "--data-dir", "there", NULL), ST_OK);
    assert_string_equal(c.text, "there");
    assert_int_equal(parse(&c, "-wait=9", "--flag", NULL), ST_OK);
    assert_true(c.number == 9 && c.flag);
    assert_int_equal(parse(&c, "--flag=false", "--data-dir=", NULL), ST_OK);
    assert_true(!c.flag && !*c.text);
    assert_int_equal(parse(&c, "--flag=T", NULL, NULL), ST_OK);
    assert_true(c.flag);
    assert_int_equal(parse(&c, "--flag=FALSE", NULL, NULL), ST_OK);
    assert_true(!c.flag);
    assert_int_equal(parse(&c, "--flag=tRUE", NULL, NULL), ST_BAD_ARGUMENT);
    assert_int_equal(parse(&c, NULL, NULL, "TEST_DATA_DIR=env"), ST_OK);
    assert_string_equal(c.text, "env");
    assert_int_equal(parse(&c, NULL, NULL, "TEST_OTHER=x"), ST_OK);
    assert_int_equal(parse(&c, NULL, NULL, "TEST_WAIT=x"), ST_BAD_ARGUMENT);
    assert_int_equal(parse(&c, "--wait=5", NULL, "TEST_WAIT=6"), ST_BAD_ARGUMENT); /* etcd: one or the other */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(&c, bad[i][0], bad[i][1], NULL), ST_BAD_ARGUMENT);
}

static void durations_are_spelled_as_gos(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"--span=0", 0}, {"--span=0s", 0}, {"--span=90s", 90000000000}, {"--span=1h30m", 5400000000000},
                {"--span=1.5s", 1500000000}, {"--span=250ms", 250000000}, {"--span=.5us", 500}, {"--span=2h0m1s5ns", 7201000000005},
                {"--span=1.5h2.5m", 5550000000000}, {"--span=1m.5s", 60500000000}, {"--span=1.s", 1000000000}, {"--span=+5s", 5000000000},
                {"--span=+0", 0}, {"--span=-0", 0}, {"--span=-0s", 0}, {"--span=1\u00b5s", 1000}, {"--span=2.5\u03bcs", 2500},
                {"--span=0.29us", 290}, {"--span=0.000000000000000000000000000001s", 0}, {"--span=1281023h53m38.427387903s", INT64_MAX / 2}};
    static const char *const bad[] = {"--span=", "--span=5", "--span=s", "--span=-1s", "--span=1 s", "--span=+-1s", "--span=++1s", "--span=+", "--span=-", "--span=1.5", "--span=1h5", "--span=.", "--span=1\xb5s", "--span=1.2.3s", "--span=.s",
                                      "--span=1d", "--span=1sm", "--span=2000000h", "--span=3000000h", "--span=2562047h1562047h", "--span=9223372036854775808ns", "--span=9223372036s9223372036s", "--span=99999999999999999999999999999999999s"};
    struct conf c;

    (void)state;
    assert_int_equal(parse(&c, NULL, NULL, NULL), ST_OK);
    assert_int_equal(c.span_ns, 60000000000);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(parse(&c, good[i].text, NULL, NULL), ST_OK);
        assert_int_equal(c.span_ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(&c, bad[i], NULL, NULL), ST_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_interrupted_is_written_whole),
        cmocka_unit_test(a_buffer_is_a_queue_of_bytes),
        cmocka_unit_test(formatted_text_of_any_length_fits),
        cmocka_unit_test(numbers_come_back_as_they_were),
        cmocka_unit_test(a_varint_that_does_not_end_is_bad),
        cmocka_unit_test(the_checksum_is_crc32c),
        cmocka_unit_test(slices_are_ordered_as_keys),
        cmocka_unit_test(every_result_has_a_text_a_code_and_an_errno),
        cmocka_unit_test(options_are_spelled_as_etcds),
        cmocka_unit_test(durations_are_spelled_as_gos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
