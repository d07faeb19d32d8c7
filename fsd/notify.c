/* SPDX-License-Identifier: Apache-2.0 */
/* The invalidation thread. */
#include "fsd/notify.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/invariant.h"
#include "common/mem.h"

struct notice {
    uint64_t ino; /* of a name: its directory */
    size_t name_len; /* 0: the inode itself */
    STAILQ_ENTRY(notice) link;
    char name[];
};
STAILQ_HEAD(notice_list, notice);

struct notifier {
    struct fuse_session *session;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct notice_list list;
    bool stopping;
};

/* Errors mean that the kernel does not know it, or that the mount is gone: both are fine. */
static void tell(struct notifier *n, const struct notice *what)
{
    if (what->name_len)
        fuse_lowlevel_notify_inval_entry(n->session, what->ino, what->name, what->name_len);
    else
        fuse_lowlevel_notify_inval_inode(n->session, what->ino, 0, 0);
}

static void *notifier_main(void *arg)
{
    struct notifier *n = arg;
    struct notice *what;

    pthread_mutex_lock(&n->lock);
    while (!n->stopping) {
        what = STAILQ_FIRST(&n->list);
        if (!what) {
            pthread_cond_wait(&n->arrived, &n->lock);
            continue;
        }
        STAILQ_REMOVE_HEAD(&n->list, link);
        pthread_mutex_unlock(&n->lock);
        tell(n, what);
        free(what);
        pthread_mutex_lock(&n->lock);
    }
    pthread_mutex_unlock(&n->lock);
    return NULL;
}

struct notifier *notifier_start(struct fuse_session *session)
{
    struct notifier *n = mem_zero(sizeof *n);

    n->session = session;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->arrived, NULL);
    STAILQ_INIT(&n->list);
    INVARIANT(pthread_create(&n->thread, NULL, notifier_main, n) == 0);
    return n;
}

static void queue(struct notifier *n, uint64_t ino, struct slice name)
{
    struct notice *what = mem_alloc(sizeof *what + name.len + 1);

    what->ino = ino;
    what->name_len = name.len;
    if (name.len)
        memcpy(what->name, name.data, name.len);
    what->name[name.len] = 0;
    pthread_mutex_lock(&n->lock);
    STAILQ_INSERT_TAIL(&n->list, what, link);
    pthread_cond_signal(&n->arrived);
    pthread_mutex_unlock(&n->lock);
}

void notifier_inode(struct notifier *n, uint64_t ino)
{
    queue(n, ino, slice_of(NULL, 0));
}

void notifier_entry(struct notifier *n, uint64_t parent, struct slice name)
{
    queue(n, parent, name);
}

void notifier_stop(struct notifier *n)
{
    struct notice *what;

    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_signal(&n->arrived);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    while ((what = STAILQ_FIRST(&n->list))) {
        STAILQ_REMOVE_HEAD(&n->list, link);
        free(what);
    }
    pthread_cond_destroy(&n->arrived);
    pthread_mutex_destroy(&n->lock);
    free(n);
}
