/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that never block. */
#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

#define BACKLOG 1024
#define ACCEPTS_PER_ROUND 64
#define ACCEPT_PAUSE_NS (50 * NS_PER_MS)

struct listener {
    struct loop *loop;
    struct loop_watch *watch;
    struct loop_timer resume; /* accepting is paused until then */
    int fd;
    char unix_path[108];
    dev_t device; /* of the socket at unix_path */
    ino_t inode;
    void (*accept_fn)(void *arg, int fd);
    void *arg;
};

static enum status refuse_tls(const struct url *url, struct error *ret_error)
{
    char text[sizeof url->host + 32];

    url_format(url, text, sizeof text);
    return error_set(ret_error, ST_BAD_ARGUMENT, "%s: https needs TLS, which this build does not have", text);
}

/*
 * A peer whose machine is gone is noticed within 20 s, as etcd's keep-alive does (10 s and 20 s): the kernel asks it when
 * the connection is idle, and gives up on what stays unacknowledged. Unix sockets refuse all this and need none of it.
 */
static void tune(int fd)
{
    static const struct {
        int level, name, value;
    } rows[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 10},
        {IPPROTO_TCP, TCP_KEEPINTVL, 3},  {IPPROTO_TCP, TCP_KEEPCNT, 3}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 20000},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        (void)setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value, sizeof rows[i].value);
}

static void on_resume(void *arg)
{
    struct listener *l = arg;

    loop_watch_want(l->watch, LOOP_READ);
}

static void on_acceptable(void *arg, int events)
{
    struct listener *l = arg;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            tune(fd);
            l->accept_fn(l->arg, fd);
            continue;
        }
        /* No descriptors left: those who wait in the backlog wait a little longer, the loop does not spin. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            loop_watch_want(l->watch, 0);
            loop_timer_set(l->loop, &l->resume, loop_now_ns(l->loop) + ACCEPT_PAUSE_NS);
        }
        return;
    }
}

/* A socket that nobody answers on is left over from a process that died: make room. */
static enum status clear_stale(const struct sockaddr_storage *address, socklen_t len, const char *path,
                               struct error *ret_error)
{
    struct stat st;
    int fd, error;

    if (lstat(path, &st) < 0)
        return ST_OK;
    if (!S_ISSOCK(st.st_mode))
        return error_set(ret_error, ST_BAD_ARGUMENT, "%s: is there and is no socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(ret_error, ST_IO, "%s: %s", path, strerror(errno));
    error = connect(fd, (const struct sockaddr *)address, len) == 0 ? 0 : errno;
    close(fd);
    if (error == 0 || error == EAGAIN)
        return error_set(ret_error, ST_BUSY, "%s: another process listens there", path);
    if (error != ECONNREFUSED)
        return error_set(ret_error, ST_IO, "%s: %s", path, strerror(error));
    if (unlink(path) < 0)
        return error_set(ret_error, ST_IO, "%s: %s", path, strerror(errno));
    return ST_OK;
}

static enum status bind_and_listen(int fd, const struct url *url, const struct sockaddr_storage *address, socklen_t len,
                                   struct error *ret_error)
{
    mode_t old = umask(0177);
    int on = 1, error;
    char text[300];

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    error = bind(fd, (const struct sockaddr *)address, len) < 0 ? errno : 0;
    umask(old);
    if (!error && listen(fd, BACKLOG) < 0)
        error = errno;
    if (!error)
        return ST_OK;
    url_format(url, text, sizeof text);
    return error_set(ret_error, error == EADDRINUSE ? ST_BUSY : ST_IO, "%s: cannot listen: %s", text, strerror(error));
}

/* Which file is ours, so that closing does not remove somebody else's. */
static void remember_path(struct listener *l, const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return;
    memcpy(l->unix_path, path, strlen(path) + 1);
    l->device = st.st_dev;
    l->inode = st.st_ino;
}

enum status listener_open(struct loop *loop, const struct url *url, void (*accept_fn)(void *arg, int fd), void *arg,
                          struct listener **ret_listener, struct error *ret_error)
{
    struct sockaddr_storage address;
    struct listener *l;
    socklen_t len;
    enum status st;
    int fd;

    if (url->tls)
        return refuse_tls(url, ret_error);
    st = url_address(url, &address, &len, ret_error);
    if (st == ST_OK && url->is_unix)
        st = clear_stale(&address, len, url->path, ret_error);
    if (st != ST_OK)
        return st;
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(ret_error, ST_IO, "socket: %s", strerror(errno));
    st = bind_and_listen(fd, url, &address, len, ret_error);
    if (st != ST_OK) {
        close(fd);
        return st;
    }
    l = mem_zero(sizeof *l);
    l->loop = loop;
    l->fd = fd;
    l->accept_fn = accept_fn;
    l->arg = arg;
    if (url->is_unix)
        remember_path(l, url->path);
    loop_timer_init(&l->resume, on_resume, l);
    l->watch = loop_watch_new(loop, fd, on_acceptable, l);
    loop_watch_want(l->watch, LOOP_READ);
    *ret_listener = l;
    return ST_OK;
}

void listener_close(struct listener *l)
{
    struct stat st;

    if (!l)
        return;
    loop_timer_cancel(l->loop, &l->resume);
    loop_watch_free(l->watch);
    close(l->fd);
    if (*l->unix_path && lstat(l->unix_path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(l->unix_path);
    free(l);
}

enum status socket_connect_start(const struct url *url, const struct sockaddr_storage *address, socklen_t len, int *ret_fd,
                                 struct error *ret_error)
{
    enum status st;
    int fd;

    if (url->tls)
        return refuse_tls(url, ret_error);
    fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(ret_error, ST_IO, "socket: %s", strerror(errno));
    tune(fd);
    if (connect(fd, (const struct sockaddr *)address, len) < 0 && errno != EINPROGRESS && errno != EINTR) {
        st = error_set(ret_error, ST_UNREACHABLE, "connect: %s", strerror(errno));
        close(fd);
        return st;
    }
    *ret_fd = fd;
    return ST_OK;
}

int socket_connect_result(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

void socket_peer_text(int fd, char *ret_text, size_t cap)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";

    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0) {
        snprintf(ret_text, cap, "unknown");
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(ret_text, cap, "%s:%u", host, ntohs(in->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(ret_text, cap, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(ret_text, cap, "unix");
    }
}
