/* SPDX-License-Identifier: Apache-2.0 */
/* Listening and connecting on Unix sockets and loopback. */
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/socket.h"
#include "tests/unit/temp_dir.h"

struct fixture {
    struct loop *loop;
    char dir[80];
    struct url url; /* of a Unix socket in dir */
    int accepted;   /* a descriptor, or -1 */
};

static void on_accept(void *arg, int fd)
{
    struct fixture *f = arg;

    if (f->accepted >= 0)
        close(f->accepted);
    f->accepted = fd;
}

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.loop = loop_new(), .accepted = -1};
    if (!temp_dir_make(f.dir, sizeof f.dir, "socket"))
        return -1;
    f.url.is_unix = true;
    snprintf(f.url.path, sizeof f.url.path, "%s/s", f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->accepted >= 0)
        close(f->accepted);
    unlink(f->url.path);
    rmdir(f->dir);
    loop_free(f->loop);
    return 0;
}

static enum status start(const struct url *url, int *ret_fd, struct error *ret_error)
{
    struct sockaddr_storage address;
    socklen_t len;

    assert_int_equal(url_address(url, &address, &len, ret_error), ST_OK);
    return socket_connect_start(url, &address, len, ret_fd, ret_error);
}

static int connect_to(const struct url *url)
{
    struct error error;
    int fd = -1;

    assert_int_equal(start(url, &fd, &error), ST_OK);
    return fd;
}

static void accept_one(struct fixture *f)
{
    for (int i = 0; i < 100 && f->accepted < 0; i++)
        loop_run_once(f->loop, 50);
    assert_true(f->accepted >= 0);
}

static void a_unix_socket_is_its_owners_alone_and_gone_after(void **state)
{
    struct fixture *f = *state;
    struct listener *l;
    struct error error;
    struct stat st;
    char text[64];
    int fd;

    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &l, &error), ST_OK);
    assert_int_equal(stat(f->url.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    fd = connect_to(&f->url);
    accept_one(f);
    assert_int_equal(socket_connect_result(fd), 0);
    socket_peer_text(f->accepted, text, sizeof text);
    assert_string_equal(text, "unix");
    assert_true(fcntl(f->accepted, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(f->accepted, F_GETFD) & FD_CLOEXEC);
    close(fd);
    listener_close(l);
    assert_int_equal(stat(f->url.path, &st), -1);
}

static void a_live_unix_socket_is_busy(void **state)
{
    struct fixture *f = *state;
    struct listener *first, *second;
    struct error error;

    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &first, &error), ST_OK);
    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &second, &error), ST_BUSY);
    assert_non_null(strstr(error.text, "another process listens there"));
    listener_close(first);
}

static void a_stale_unix_socket_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct listener *l;
    struct error error;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(address.sun_path, f->url.path, strlen(f->url.path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd); /* as a process that was killed leaves it */
    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &l, &error), ST_OK);
    listener_close(l);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct listener *l;
    struct error error;
    struct stat st;
    int fd = open(f->url.path, O_CREAT | O_WRONLY, 0600);

    close(fd);
    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &l, &error), ST_BAD_ARGUMENT);
    assert_int_equal(stat(f->url.path, &st), 0);
}

static void closing_does_not_remove_a_successors_socket(void **state)
{
    struct fixture *f = *state;
    struct listener *first, *second;
    struct error error;
    struct stat st;

    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &first, &error), ST_OK);
    unlink(f->url.path);
    assert_int_equal(listener_open(f->loop, &f->url, on_accept, f, &second, &error), ST_OK);
    listener_close(first);
    assert_int_equal(stat(f->url.path, &st), 0);
    listener_close(second);
    assert_int_equal(stat(f->url.path, &st), -1);
}

/* A loopback port that is free now. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void tcp_is_tuned_and_its_peer_has_an_address(void **state)
{
    struct fixture *f = *state;
    struct url url = {.host = "127.0.0.1", .port = free_port()};
    struct listener *l, *second;
    struct error error;
    char text[64];
    int fd, on = 0;
    socklen_t len = sizeof on;

    assert_int_equal(listener_open(f->loop, &url, on_accept, f, &l, &error), ST_OK);
    assert_int_equal(listener_open(f->loop, &url, on_accept, f, &second, &error), ST_BUSY);
    fd = connect_to(&url);
    accept_one(f);
    assert_int_equal(getsockopt(f->accepted, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on);
    assert_int_equal(getsockopt(f->accepted, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
    assert_true(on);
    socket_peer_text(f->accepted, text, sizeof text);
    assert_int_equal(strncmp(text, "127.0.0.1:", 10), 0);
    close(fd);
    listener_close(l);
}

static void nobody_listening_is_an_error_of_the_attempt(void **state)
{
    struct fixture *f = *state;
    struct url url = {.host = "127.0.0.1", .port = free_port()};
    struct error error;
    int fd = -1;
    enum status st;

    assert_int_equal(start(&f->url, &fd, &error), ST_UNREACHABLE);
    st = start(&url, &fd, &error);
    if (st == ST_OK) {
        assert_int_equal(socket_connect_result(fd), ECONNREFUSED);
        close(fd);
    } else {
        assert_int_equal(st, ST_UNREACHABLE);
    }
}

static void https_says_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct url url = {.tls = true, .host = "127.0.0.1", .port = 1};
    struct listener *l;
    struct error error;
    int fd;

    assert_int_equal(listener_open(f->loop, &url, on_accept, f, &l, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "https needs TLS, which this build does not have"));
    assert_int_equal(start(&url, &fd, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "https needs TLS, which this build does not have"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_unix_socket_is_its_owners_alone_and_gone_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_live_unix_socket_is_busy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_unix_socket_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_socket_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_does_not_remove_a_successors_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tcp_is_tuned_and_its_peer_has_an_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_listening_is_an_error_of_the_attempt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(https_says_what_is_missing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
