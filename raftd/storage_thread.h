/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage thread: long work on files that nobody waits for (writing a sealed memtable, unlinking a segment), one job
 * after the other. A job runs on the thread and touches only what was given to it; its end is reported on the loop.
 */
#ifndef RAFTD_STORAGE_THREAD_H
#define RAFTD_STORAGE_THREAD_H

#include <sys/queue.h>

#include "net/loop.h"

struct storage_thread;

/* Allocated by the caller (one block, this in front), who gets it back in done_fn. */
struct storage_job {
    void (*run_fn)(struct storage_job *job);  /* on the thread */
    void (*done_fn)(struct storage_job *job); /* on the loop, after */
    STAILQ_ENTRY(storage_job) link;
};

struct storage_thread *storage_thread_start(struct loop *l);
void storage_thread_submit(struct storage_thread *t, struct storage_job *job);
/* Finishes the running job and frees the rest; done_fn is not called any more. NULL is fine. */
void storage_thread_stop(struct storage_thread *t);

#endif
