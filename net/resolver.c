/* SPDX-License-Identifier: Apache-2.0 */
/* Lookups, and the threads that they run on. */
#include "net/resolver.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/invariant.h"
#include "common/limits.h"
#include "common/mem.h"

/* What a thread and the loop share; whoever lets go of it last frees it. */
struct lookup {
    atomic_int holders;
    int event_fd; /* readable: the rest is there, and the loop's */
    resolver_look_up_fn look_up_fn;
    struct url url;
    struct sockaddr_storage address;
    socklen_t len;
    enum status status;
    struct error error;
};

/* A name that is being looked up; the loop's. */
struct resolver_name {
    struct resolver *resolver;
    struct lookup *lookup;
    struct loop_watch *watch;
    TAILQ_HEAD(, resolver_wait) waits;
    TAILQ_ENTRY(resolver_name) link;
};

struct resolver {
    struct loop *loop;
    resolver_look_up_fn look_up_fn;
    TAILQ_HEAD(, resolver_name) names;
    unsigned count;
};

static void lookup_let_go(struct lookup *l)
{
    if (atomic_fetch_sub(&l->holders, 1) != 1)
        return;
    close(l->event_fd);
    free(l);
}

static void *lookup_main(void *arg)
{
    static const uint64_t one = 1;
    struct lookup *l = arg;

    l->status = l->look_up_fn(&l->url, &l->address, &l->len, &l->error);
    if (write(l->event_fd, &one, sizeof one) != sizeof one)
        INVARIANT(false); /* the only one that ever is */
    lookup_let_go(l);
    return NULL;
}

/* Its signals are the loop's thread's. */
static int lookup_start(struct lookup *l)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attr, lookup_main, l);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void name_forget(struct resolver_name *n)
{
    TAILQ_REMOVE(&n->resolver->names, n, link);
    n->resolver->count--;
    loop_watch_free(n->watch);
}

static void name_free(struct resolver_name *n)
{
    lookup_let_go(n->lookup);
    free(n);
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    else if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

static void name_on_found(void *arg, int events)
{
    struct resolver_name *n = arg;
    struct lookup *l = n->lookup;
    struct resolver_wait *w;
    uint64_t count;

    (void)events;
    if (read(l->event_fd, &count, sizeof count) != sizeof count)
        return;
    name_forget(n); /* whoever asks from now on asks anew */
    while ((w = TAILQ_FIRST(&n->waits))) {
        TAILQ_REMOVE(&n->waits, w, link);
        w->name = NULL;
        set_port(&l->address, w->port);
        w->found_fn(w->arg, l->status == ST_OK ? &l->address : NULL, l->len, l->status == ST_OK ? NULL : l->error.text);
    }
    name_free(n);
}

/* NULL: why is in ret_error. */
static struct resolver_name *name_start(struct resolver *r, const struct url *url, struct error *ret_error)
{
    struct resolver_name *n;
    struct lookup *l;
    int fd, error;

    if (r->count >= RESOLVER_NAMES_MAX) {
        (void)error_set(ret_error, ST_LIMIT, "%s: %u names are being looked up already", url->host, r->count);
        return NULL;
    }
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        (void)error_set(ret_error, ST_IO, "eventfd: %s", strerror(errno));
        return NULL;
    }
    l = mem_zero(sizeof *l);
    atomic_init(&l->holders, 2);
    l->event_fd = fd;
    l->look_up_fn = r->look_up_fn;
    l->url = *url;
    error = lookup_start(l);
    if (error) {
        (void)error_set(ret_error, ST_IO, "%s: no thread to look it up: %s", url->host, strerror(error));
        close(fd);
        free(l);
        return NULL;
    }
    n = mem_zero(sizeof *n);
    n->resolver = r;
    n->lookup = l;
    TAILQ_INIT(&n->waits);
    TAILQ_INSERT_TAIL(&r->names, n, link);
    r->count++;
    n->watch = loop_watch_new(r->loop, fd, name_on_found, n);
    loop_watch_want(n->watch, LOOP_READ);
    return n;
}

struct resolver *resolver_new(struct loop *l, resolver_look_up_fn look_up_fn)
{
    struct resolver *r = mem_zero(sizeof *r);

    r->loop = l;
    r->look_up_fn = look_up_fn;
    TAILQ_INIT(&r->names);
    return r;
}

void resolver_free(struct resolver *r)
{
    struct resolver_name *n;
    struct resolver_wait *w;

    if (!r)
        return;
    while ((n = TAILQ_FIRST(&r->names))) {
        TAILQ_FOREACH(w, &n->waits, link)
            w->name = NULL;
        name_forget(n);
        name_free(n);
    }
    free(r);
}

void resolver_find(struct resolver *r, struct resolver_wait *w, const struct url *url)
{
    struct sockaddr_storage address;
    struct resolver_name *n;
    struct error error;
    socklen_t len;

    resolver_cancel(w);
    if (url_address(url, &address, &len, &error) == ST_OK) {
        w->found_fn(w->arg, &address, len, NULL);
        return;
    }
    TAILQ_FOREACH(n, &r->names, link)
        if (strcmp(n->lookup->url.host, url->host) == 0)
            break;
    if (!n)
        n = name_start(r, url, &error);
    if (!n) {
        w->found_fn(w->arg, NULL, 0, error.text);
        return;
    }
    w->name = n;
    w->port = url->port;
    TAILQ_INSERT_TAIL(&n->waits, w, link);
}

void resolver_cancel(struct resolver_wait *w)
{
    if (w->name)
        TAILQ_REMOVE(&w->name->waits, w, link);
    w->name = NULL;
}
