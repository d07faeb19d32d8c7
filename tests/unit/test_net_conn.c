/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: what the protocol has to say is asked for until it has said all, however fast or slowly the other side reads. */
#include "tests/unit/check.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "net/conn.h"
#include "net/loop.h"

#define ALL_BYTES (40u * CONN_WRITE_BYTES_MAX + 12345u)
#define PIECE_BYTES 16384u
#define PATIENCE_NS (20 * NS_PER_S)

struct talker {
    struct conn conn;
    size_t left;
    bool finishes; /* when all is said */
    bool closed;
};

static void talk(void *arg, struct buf *out)
{
    struct talker *t = arg;

    while (t->left && buf_len(out) < CONN_WRITE_BYTES_MAX) {
        size_t n = t->left < PIECE_BYTES ? t->left : PIECE_BYTES;
        memset(buf_reserve(out, n), 'x', n);
        buf_commit(out, n);
        t->left -= n;
    }
    if (!t->left && t->finishes)
        conn_finish(&t->conn, "all is said");
}

static void hear(void *arg, struct slice bytes)
{
    (void)arg;
    (void)bytes;
}

static void on_closed(void *arg, const char *why)
{
    struct talker *t = arg;

    (void)why;
    t->closed = true;
}

/* In a process of its own, so that it reads while the connection writes: all, then its status says whether it was all. */
static pid_t start_reader(int fd, int other)
{
    static uint8_t bytes[1 << 20];
    size_t total = 0;
    pid_t pid = fork();
    ssize_t n;

    assert_true(pid >= 0);
    if (pid)
        return pid;
    close(other);
    while (total < ALL_BYTES && (n = read(fd, bytes, sizeof bytes)) > 0)
        total += (size_t)n;
    _exit(total == ALL_BYTES ? 0 : 1);
}

static void test_more_than_fits_is_said_to_the_end_to_a_fast_reader(void **state)
{
    struct loop *l = loop_new();
    struct talker t = {.left = ALL_BYTES};
    int fds[2], status = -1;
    int64_t end = clock_monotonic_ns() + PATIENCE_NS;
    pid_t reader;

    (void)state;
    /* A blocking socket takes all that is written at once, as one does whose reader is faster than we. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    reader = start_reader(fds[1], fds[0]);
    close(fds[1]);
    t.conn = (struct conn){.data_fn = hear, .fill_fn = talk, .closed_fn = on_closed, .arg = &t};
    conn_start(&t.conn, l, fds[0], false);
    conn_flush_later(&t.conn); /* once: nobody else announces anything */
    /* The reader ends, and with it the connection, when it has all. */
    while (!t.closed && clock_monotonic_ns() < end)
        loop_run_once(l, 100);
    assert_true(t.closed);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    conn_fini(&t.conn);
    loop_free(l);
}

static void test_what_is_said_before_a_finish_arrives_at_a_slow_reader(void **state)
{
    static uint8_t bytes[8192];
    struct loop *l = loop_new();
    struct talker t = {.left = ALL_BYTES, .finishes = true};
    size_t total = 0;
    ssize_t n = 1;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    t.conn = (struct conn){.data_fn = hear, .fill_fn = talk, .closed_fn = on_closed, .arg = &t};
    conn_start(&t.conn, l, fds[0], false);
    conn_flush_later(&t.conn);
    assert_int_equal(write(fds[1], "still talking", 13), 13); /* is dropped */
    while (n) {
        if (!t.closed)
            loop_run_once(l, 0);
        n = read(fds[1], bytes, sizeof bytes);
        assert_true(n >= 0 || !t.closed); /* no reset, no end before all was read */
        total += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(total, ALL_BYTES);
    assert_true(t.closed);
    close(fds[1]);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_before_a_finish_arrives_at_a_slow_reader),
        cmocka_unit_test(test_more_than_fits_is_said_to_the_end_to_a_fast_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
