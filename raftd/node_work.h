/* SPDX-License-Identifier: Apache-2.0 */
/* What the node hands to the storage thread, a sealed memtable or a job of its own, and is told of when it is done. */
#ifndef RAFTD_NODE_WORK_H
#define RAFTD_NODE_WORK_H

#include "raftd/node/node.h"
#include "raftd/storage_thread.h"

struct node_work {
    struct storage_thread *storage;
    struct node *node;          /* as it is when something is done */
    void (*done_fn)(void *arg); /* on the loop, after the node was told */
    void *arg;
};

void node_work_seal(struct node_work *w, struct mvcc_seal *seal);
void node_work_job(struct node_work *w, struct node_job *job);

#endif
