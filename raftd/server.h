/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running member: data directory, store, log, node, peers, API and the loop they live on, bound together. server_open does
 * everything that can be refused; server_run serves until a signal ends it.
 */
#ifndef RAFTD_SERVER_H
#define RAFTD_SERVER_H

#include "common/error.h"
#include "raftd/conf.h"

struct server;

enum status server_open(const struct conf *conf, struct server **ret_server, struct error *ret_error) MUST_CHECK;
/* The exit status: not 0 if it cannot be a member any more, but for one that was removed (as etcd). */
int server_run(struct server *s);
void server_close(struct server *s); /* NULL is fine */

#endif
