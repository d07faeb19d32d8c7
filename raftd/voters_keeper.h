/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the number of voters on disk (voters.h), beside everything else: on the storage thread, the newest number, one write at a time.
 * The number on disk may be an older one for as long as that takes, or while there is no space; voters.h says what a start makes of that.
 */
#ifndef RAFTD_VOTERS_KEEPER_H
#define RAFTD_VOTERS_KEEPER_H

#include "raftd/storage_thread.h"
#include "raftd/voters.h"

struct voters_keeper {
    struct loop *loop;
    struct storage_thread *storage;
    struct voters *voters;
    int dir_fd;
    void (*fail_fn)(void *arg, const char *text); /* does not return */
    void *arg;
    /* private */
    bool saving;
    struct loop_timer again; /* when there was no space */
};

/* The fields above are set. */
void voters_keeper_start(struct voters_keeper *k);
/* When the storage thread has ended: what it has not written is written now. */
void voters_keeper_stop(struct voters_keeper *k);
/* The number may be another one now. */
void voters_keeper_save(struct voters_keeper *k);

#endif
