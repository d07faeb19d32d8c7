/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One socket between two members with frames on it: reads frames, writes what is queued at the end of the round, notices
 * when it is dead. Either side of a connection. Who may speak, and what a frame means, is peers.c's.
 */
#ifndef RAFTD_PEER_LINK_H
#define RAFTD_PEER_LINK_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/slice.h"
#include "net/loop.h"

struct link_socket {
    struct loop *loop;
    int fd; /* -1: closed */
    struct loop_watch *watch;
    struct loop_task flush;
    struct buf in, out;
    bool connecting; /* not writable for the first time */
    size_t frame_bytes_max; /* a larger payload is damage; the owner may change it at any time */
    /* A whole frame's payload; return false to close. May not close the link itself. */
    bool (*frame_fn)(void *arg, struct slice payload);
    /* The connection is up (a dialled one). */
    void (*open_fn)(void *arg);
    /* It is closed, why in words; called once, from the loop. */
    void (*closed_fn)(void *arg, const char *why);
    void *arg;
};

/* Take over fd. The callbacks and arg are set by the caller before. */
void link_start(struct link_socket *s, struct loop *l, int fd, bool connecting, int64_t dead_ns);
/* Something was appended to s->out. */
void link_flush_later(struct link_socket *s);
/* No callback is called. */
void link_close(struct link_socket *s);

#endif
