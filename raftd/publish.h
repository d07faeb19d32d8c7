/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the cluster our name, where our clients connect and our incarnation (etcd: publishV3), again until it is applied. */
#ifndef RAFTD_PUBLISH_H
#define RAFTD_PUBLISH_H

#include "net/loop.h"
#include "raftd/conf.h"
#include "raftd/node/node.h"

struct publisher {
    struct loop *loop;
    struct node *node;
    const struct conf *conf;
    uint64_t member_id, incarnation;
    void (*work_fn)(void *arg);                  /* something was proposed */
    void (*refused_fn)(void *arg, enum status why); /* our record has another incarnation: we are no member */
    void *arg;
    struct loop_timer timer;
};

/* All but the timer is set. */
void publisher_start(struct publisher *p);
void publisher_stop(struct publisher *p);

#endif
