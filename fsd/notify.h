/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the kernel what it may no longer cache. From a thread of its own: a notification waits for locks that requests hold
 * which only the main thread can answer, so sending it there would be a deadlock. Notices are delivered in order; one that waits
 * already is not queued twice. They are numbered, so that the main thread can tell what the kernel has not heard yet.
 */
#ifndef FSD_NOTIFY_H
#define FSD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

struct fuse_session;
struct notifier;

enum notice_kind {
    NOTICE_ATTR,    /* attributes of an inode */
    NOTICE_LISTING, /* of a directory, with its attributes */
    NOTICE_EXPIRE,  /* a name is to be looked up again; who stands in it keeps his place */
    NOTICE_NAME,    /* a name is dropped, for kernels that cannot expire */
};

/* deliver: how a notice reaches the kernel; name is empty for inodes. */
typedef void (*notify_fn)(void *arg, enum notice_kind kind, uint64_t ino, struct slice name);
struct notifier *notifier_start(notify_fn deliver, void *arg);
/* Queue; its number. name: of an entry in directory ino, also one that is not there. */
uint64_t notifier_queue(struct notifier *n, enum notice_kind kind, uint64_t ino, struct slice name);
/* Has it been delivered? */
bool notifier_is_done(const struct notifier *n, uint64_t number);
/* After the session was unmounted, or a notification may wait for ever. NULL is fine. */
void notifier_stop(struct notifier *n);

/* deliver to the kernel; arg is the session. */
void notify_kernel(void *arg, enum notice_kind kind, uint64_t ino, struct slice name);

#endif
