/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the kernel what it may no longer cache. From a thread of its own: a notification waits for locks that requests hold
 * which only the main thread can answer, so sending it there would be a deadlock.
 */
#ifndef FSD_NOTIFY_H
#define FSD_NOTIFY_H

#include <stdint.h>

#include "common/slice.h"

struct fuse_session;
struct notifier;

struct notifier *notifier_start(struct fuse_session *session);
/* Attributes and pages (of a directory: its listing). */
void notifier_inode(struct notifier *n, uint64_t ino);
/* A name in a directory, also one that is not there. */
void notifier_entry(struct notifier *n, uint64_t parent, struct slice name);
/* After the session was unmounted, or a notification may wait for ever. NULL is fine. */
void notifier_stop(struct notifier *n);

#endif
