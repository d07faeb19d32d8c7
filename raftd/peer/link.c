/* SPDX-License-Identifier: Apache-2.0 */
/* A socket with frames on it. */
#include "raftd/peer/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "net/socket.h"
#include "raftd/peer/frame.h"

#define READ_BYTES (256 * 1024)
#define READS_PER_ROUND 4 /* then others get their turn */

static void link_fail(struct link_socket *s, const char *why)
{
    link_close(s);
    s->closed_fn(s->arg, why);
}

/* All whole frames that are there; false if the link is to be closed. */
static const char *link_take_frames(struct link_socket *s)
{
    struct slice payload;
    size_t len;
    enum status st;

    while ((st = frame_next(buf_slice(&s->in), s->frame_bytes_max, &payload, &len)) == ST_OK) {
        if (!s->frame_fn(s->arg, payload))
            return "refused";
        buf_consume(&s->in, len);
    }
    return st == ST_NOT_FOUND ? NULL : "damaged frame";
}

static void link_read(struct link_socket *s)
{
    for (int i = 0; i < READS_PER_ROUND; i++) {
        ssize_t n = read(s->fd, buf_reserve(&s->in, READ_BYTES), READ_BYTES);
        const char *why;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            link_fail(s, n ? strerror(errno) : "closed by the other side");
            return;
        }
        buf_commit(&s->in, (size_t)n);
        why = link_take_frames(s);
        if (why) {
            link_fail(s, why);
            return;
        }
        if (n < READ_BYTES)
            return;
    }
}

static void link_flush(void *arg)
{
    struct link_socket *s = arg;

    if (s->fd < 0 || s->connecting)
        return;
    while (buf_len(&s->out)) {
        struct slice bytes = buf_slice(&s->out);
        ssize_t n = send(s->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            link_fail(s, strerror(errno));
            return;
        }
        buf_consume(&s->out, (size_t)n);
    }
    loop_watch_want(s->watch, buf_len(&s->out) ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void link_on_ready(void *arg, int events)
{
    struct link_socket *s = arg;

    if (s->connecting) {
        int error = socket_connect_result(s->fd);
        if (error) {
            link_fail(s, strerror(error));
            return;
        }
        s->connecting = false;
        loop_watch_want(s->watch, LOOP_READ);
        s->open_fn(s->arg);
        return;
    }
    if (events & LOOP_WRITE)
        link_flush(s);
    if (s->fd >= 0 && events & LOOP_READ)
        link_read(s);
}

void link_start(struct link_socket *s, struct loop *l, int fd, bool connecting, int64_t dead_ns)
{
    unsigned dead_ms = (unsigned)(dead_ns / NS_PER_MS);

    s->loop = l;
    s->fd = fd;
    s->connecting = connecting;
    loop_task_init(&s->flush, LOOP_FLUSH, link_flush, s);
    s->watch = loop_watch_new(l, fd, link_on_ready, s);
    /* Without it a connection through a broken network is retried for a quarter of an hour (tcp(7)). Unix sockets refuse
     * the option and do not need it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    loop_watch_want(s->watch, connecting ? LOOP_WRITE : LOOP_READ);
}

void link_flush_later(struct link_socket *s)
{
    loop_task_queue(s->loop, &s->flush);
}

void link_close(struct link_socket *s)
{
    if (s->fd < 0)
        return;
    loop_task_cancel(s->loop, &s->flush);
    loop_watch_free(s->watch);
    close(s->fd);
    s->watch = NULL;
    s->fd = -1;
    buf_fini(&s->in);
    buf_fini(&s->out);
}
