/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of hosts, without blocking the loop. getaddrinfo(3) honours all that the machine's owner configured, and takes seconds when
 * no name server answers: just when the network is broken, and everything else must go on. So a name that is looked up has a thread of
 * its own for as long. Who asks for a name that is being looked up waits for the same lookup, so at most one thread a name is under way,
 * and RESOLVER_NAMES_MAX of them. Nothing is remembered: the next one who asks gets what is true then.
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include <sys/queue.h>
#include <sys/socket.h>

#include "net/loop.h"
#include "net/url.h"

struct resolver;
struct resolver_name;

/* getaddrinfo, or what a test puts in its place: url_resolve's arguments and answers. Called on any thread. */
typedef enum status (*resolver_look_up_fn)(const struct url *url, struct sockaddr_storage *ret_address, socklen_t *ret_len,
                                           struct error *ret_error);

struct resolver *resolver_new(struct loop *l, resolver_look_up_fn look_up_fn);
/* Nobody waits any more. Does not wait for lookups: what their threads hold they free themselves. NULL is fine. */
void resolver_free(struct resolver *r);

/* Embedded in who waits, zero before its first use; not to be moved or freed while it does. */
struct resolver_wait {
    /* On the loop: an address, or NULL and why in words. It may ask again. */
    void (*found_fn)(void *arg, const struct sockaddr_storage *address, socklen_t len, const char *why);
    void *arg;
    struct resolver_name *name; /* NULL: it does not wait */
    uint16_t port;
    TAILQ_ENTRY(resolver_wait) link;
};

/* found_fn is called, once: before this returns unless a name has to be looked up. */
void resolver_find(struct resolver *r, struct resolver_wait *w, const struct url *url);
/* found_fn will not be called. Fine if it does not wait. */
void resolver_cancel(struct resolver_wait *w);

#endif
