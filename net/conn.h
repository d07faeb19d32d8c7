/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream socket of a protocol: bytes that arrived go to data_fn, bytes to send are asked for by fill_fn at the end
 * of the round and written with one call. Closing is asked for at any time and happens at the end of the round, outside
 * everybody's callbacks; closed_fn is the last thing a conn says. Protocols know no socket; TLS will fit in behind this.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "common/buf.h"
#include "net/loop.h"

struct conn {
    struct loop *loop;
    int fd;
    struct loop_watch *watch;
    struct loop_task flush;
    struct buf out;
    bool connecting, closing;
    bool finishing;  /* closes when out is empty */
    bool more;       /* fill_fn stopped at the bound */
    bool mute;       /* set by the protocol: it has nothing more to say, fill_fn is not called */
    const char *why; /* of closing */
    /* Bytes that arrived. */
    void (*data_fn)(void *arg, struct slice bytes);
    /* Append what is to be sent until out holds CONN_WRITE_BYTES_MAX: what is left is asked for in the next round. */
    void (*fill_fn)(void *arg, struct buf *out);
    /* A dialled one is connected. May be NULL. */
    void (*open_fn)(void *arg);
    void (*closed_fn)(void *arg, const char *why);
    void *arg;
};

/* The callbacks and arg are set before; fd becomes the conn's. */
void conn_start(struct conn *c, struct loop *l, int fd, bool connecting);
/* There is something to send. */
void conn_flush_later(struct conn *c);
/* why: a text that stays. What was to be sent is tried once. */
void conn_close_later(struct conn *c, const char *why);
/* The same when all of it has been sent; what still comes is dropped. The protocol has nothing more to say. */
void conn_finish(struct conn *c, const char *why);
/* At once and without a word. */
void conn_fini(struct conn *c);

#endif
