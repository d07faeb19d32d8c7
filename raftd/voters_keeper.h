/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the number of voters on disk (voters.h): on a thread of its own, for nothing is applied while a lower number is written, and behind a seal
 * that would be seconds. The newest number, one write at a time; without space it is tried again each second.
 */
#ifndef RAFTD_VOTERS_KEEPER_H
#define RAFTD_VOTERS_KEEPER_H

#include "raftd/storage_thread.h"
#include "raftd/voters.h"

struct voters_keeper {
    struct storage_thread *storage; /* the caller's, and stopped by it before the keeper is */
    struct voters *voters;
    int dir_fd;
    void (*kept_fn)(void *arg);                   /* nothing has to wait any more: node_voters_kept */
    void (*fail_fn)(void *arg, const char *text); /* does not return */
    void *arg;
    /* private */
    bool saving, lacks_space;
    int64_t again_ns; /* not before, when there was no space */
};

/* voters_fn of the node. False: kept_fn follows when it is on disk. */
bool voters_keeper_note(struct voters_keeper *k, uint64_t index, unsigned count);
/* What is not on disk is on its way there. Called at the start, and with every tick; now_ns: of any clock that only goes forward. */
void voters_keeper_on_tick(struct voters_keeper *k, int64_t now_ns);
/* What is not written is written now. */
void voters_keeper_stop(struct voters_keeper *k);

#endif
