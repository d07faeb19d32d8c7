/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that reads and writes the sockets of protocols. */
#include "net/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/limits.h"
#include "net/socket.h"

/* What a connection keeps when it has nothing to send: one round's answers. More goes back, as there may be CONNS_MAX of them. */
#define IDLE_OUTPUT_BYTES (32u * 1024u)

static void set_wanted(struct conn *c)
{
    /* Always: a client may be able to take answers only once what it says of its windows is read. What it asks meanwhile is bounded where
     * it is kept (grpc_requests.c). */
    int wanted = LOOP_READ;

    if (buf_len(&c->out) || c->more)
        wanted |= LOOP_WRITE;
    loop_watch_want(c->watch, wanted);
}

static void conn_end(struct conn *c)
{
    const char *why = c->why;

    conn_fini(c);
    c->closed_fn(c->arg, why);
}

/* False: the socket is dead. */
static bool write_out(struct conn *c)
{
    while (buf_len(&c->out)) {
        struct slice bytes = buf_slice(&c->out);
        ssize_t n = send(c->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            c->why = strerror(errno);
            return false;
        }
        buf_consume(&c->out, (size_t)n);
    }
    if (c->out.cap > IDLE_OUTPUT_BYTES)
        buf_fini(&c->out);
    return true;
}

static void conn_flush(void *arg)
{
    struct conn *c = arg;
    bool alive = true;

    if (c->fd < 0)
        return;
    if (!c->connecting) {
        if (!c->mute && buf_len(&c->out) < CONN_WRITE_BYTES_MAX)
            c->fill_fn(c->arg, &c->out);
        /* A large answer goes out over many rounds: others have their turn between its parts. */
        c->more = !c->mute && buf_len(&c->out) >= CONN_WRITE_BYTES_MAX;
        alive = write_out(c);
    }
    if (!alive || c->closing || (c->finishing && !buf_len(&c->out))) {
        conn_end(c);
        return;
    }
    if (!c->connecting)
        set_wanted(c);
}

static void on_writable(struct conn *c)
{
    int error;

    if (!c->connecting) {
        conn_flush_later(c); /* which may end it: not under our hands */
        return;
    }
    error = socket_connect_result(c->fd);
    if (error) {
        conn_close_later(c, strerror(error));
        return;
    }
    c->connecting = false;
    loop_watch_want(c->watch, LOOP_READ);
    if (c->open_fn)
        c->open_fn(c->arg);
}

static void on_readable(struct conn *c)
{
    /* One buffer for all connections: what a protocol does not take at once it copies. */
    uint8_t *bytes = loop_scratch(c->loop);
    ssize_t n = read(c->fd, bytes, LOOP_SCRATCH_BYTES);

    if (n > 0 && c->finishing)
        return;
    if (n > 0)
        c->data_fn(c->arg, slice_of(bytes, (size_t)n));
    else if (n == 0)
        conn_close_later(c, "closed by the other side");
    else if (errno != EAGAIN && errno != EINTR)
        conn_close_later(c, strerror(errno));
}

static void on_ready(void *arg, int events)
{
    struct conn *c = arg;

    if (c->closing)
        return;
    if (events & LOOP_WRITE)
        on_writable(c);
    if (c->fd >= 0 && !c->closing && events & LOOP_READ)
        on_readable(c);
}

void conn_start(struct conn *c, struct loop *l, int fd, bool connecting)
{
    c->loop = l;
    c->fd = fd;
    c->connecting = connecting;
    c->closing = c->finishing = c->mute = c->more = false;
    buf_init(&c->out);
    loop_task_init(&c->flush, LOOP_FLUSH, conn_flush, c);
    c->watch = loop_watch_new(l, fd, on_ready, c);
    loop_watch_want(c->watch, connecting ? LOOP_WRITE : LOOP_READ);
}

void conn_flush_later(struct conn *c)
{
    if (c->fd >= 0)
        loop_task_queue(c->loop, &c->flush);
}

void conn_close_later(struct conn *c, const char *why)
{
    if (c->fd < 0 || c->closing)
        return;
    c->closing = true;
    c->why = why;
    loop_task_queue(c->loop, &c->flush);
}

void conn_finish(struct conn *c, const char *why)
{
    if (c->fd < 0 || c->closing || c->finishing)
        return;
    c->mute = c->finishing = true;
    c->why = why;
    loop_task_queue(c->loop, &c->flush);
}

void conn_fini(struct conn *c)
{
    if (c->fd < 0)
        return;
    loop_task_cancel(c->loop, &c->flush);
    loop_watch_free(c->watch);
    close(c->fd);
    c->fd = -1;
    buf_fini(&c->out);
}
