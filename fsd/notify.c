/* SPDX-License-Identifier: Apache-2.0 */
/* The invalidation thread. */
#include "fsd/notify.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <uthash.h>

#include "common/invariant.h"
#include "common/mem.h"

#ifndef FUSE_EXPIRE_ONLY
#define FUSE_EXPIRE_ONLY 1u /* protocol 7.38 */
#endif

struct notice {
    STAILQ_ENTRY(notice) link;
    UT_hash_handle waiting;
    uint64_t number;
    size_t tag_len;
    struct {
        uint64_t ino; /* of a name: its directory */
        uint64_t kind;
        char name[];
    } tag;
};
STAILQ_HEAD(notice_list, notice);

struct notifier {
    notify_fn deliver;
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct notice_list list;
    struct notice *waiting; /* the list, by tag */
    uint64_t last;
    _Atomic uint64_t done;
    bool stopping;
};

/*
 * struct fuse_notify_inval_entry_out, whose padding became flags in protocol 7.38. Written by hand: the function
 * for it in libfuse takes five arguments in 3.14.0 and four after it.
 */
static void expire(struct fuse_session *session, uint64_t parent, struct slice name)
{
    struct {
        uint64_t parent;
        uint32_t name_len, flags;
    } out = {.parent = parent, .name_len = (uint32_t)name.len, .flags = FUSE_EXPIRE_ONLY};
    struct fuse_out_header header = {.len = (uint32_t)(sizeof header + sizeof out + name.len + 1),
                                     .error = FUSE_NOTIFY_INVAL_ENTRY};
    static const char end[1] = {0};
    struct iovec parts[] = {{&header, sizeof header},
                            {&out, sizeof out},
                            {(uint8_t *)(uintptr_t)name.data, name.len},
                            {(char *)(uintptr_t)end, 1}};

    if (writev(fuse_session_fd(session), parts, 4) < 0)
        return; /* as below */
}

/* Errors mean that the kernel does not know it, or that the mount is gone: both are fine. */
void notify_kernel(void *arg, enum notice_kind kind, uint64_t ino, struct slice name)
{
    struct fuse_session *session = arg;

    switch (kind) {
    case NOTICE_ATTR:
        fuse_lowlevel_notify_inval_inode(session, ino, -1, 0); /* never waits for pages */
        break;
    case NOTICE_LISTING:
        fuse_lowlevel_notify_inval_inode(session, ino, 0, 0);
        break;
    case NOTICE_EXPIRE:
        expire(session, ino, name);
        break;
    case NOTICE_NAME:
        fuse_lowlevel_notify_inval_entry(session, ino, (const char *)name.data, name.len);
        break;
    }
}

static struct notice *take_first(struct notifier *n)
{
    struct notice *what = STAILQ_FIRST(&n->list);

    if (what) {
        STAILQ_REMOVE_HEAD(&n->list, link);
        HASH_DELETE(waiting, n->waiting, what);
    }
    return what;
}

static void *notifier_main(void *arg)
{
    struct notifier *n = arg;
    struct notice *what;

    pthread_mutex_lock(&n->lock);
    while (!n->stopping) {
        what = take_first(n);
        if (!what) {
            pthread_cond_wait(&n->arrived, &n->lock);
            continue;
        }
        pthread_mutex_unlock(&n->lock);
        n->deliver(n->arg, (enum notice_kind)what->tag.kind, what->tag.ino,
                   slice_of(what->tag.name, what->tag_len - sizeof what->tag));
        atomic_store(&n->done, what->number);
        free(what);
        pthread_mutex_lock(&n->lock);
    }
    pthread_mutex_unlock(&n->lock);
    return NULL;
}

struct notifier *notifier_start(notify_fn deliver, void *arg)
{
    struct notifier *n = mem_zero(sizeof *n);

    n->deliver = deliver;
    n->arg = arg;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->arrived, NULL);
    STAILQ_INIT(&n->list);
    INVARIANT(pthread_create(&n->thread, NULL, notifier_main, n) == 0);
    return n;
}

uint64_t notifier_queue(struct notifier *n, enum notice_kind kind, uint64_t ino, struct slice name)
{
    struct notice *what = mem_zero(sizeof *what + name.len + 1), *same;
    uint64_t number;

    what->tag.ino = ino;
    what->tag.kind = kind;
    what->tag_len = sizeof what->tag + name.len;
    if (name.len)
        memcpy(what->tag.name, name.data, name.len);
    pthread_mutex_lock(&n->lock);
    HASH_FIND(waiting, n->waiting, &what->tag, what->tag_len, same);
    if (same) {
        number = same->number;
        free(what);
    } else {
        number = what->number = ++n->last;
        STAILQ_INSERT_TAIL(&n->list, what, link);
        HASH_ADD_KEYPTR(waiting, n->waiting, &what->tag, what->tag_len, what);
        pthread_cond_signal(&n->arrived);
    }
    pthread_mutex_unlock(&n->lock);
    return number;
}

bool notifier_is_done(const struct notifier *n, uint64_t number)
{
    return atomic_load(&n->done) >= number;
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
    while ((what = take_first(n)))
        free(what);
    pthread_cond_destroy(&n->arrived);
    pthread_mutex_destroy(&n->lock);
    free(n);
}
