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
void server_run(struct server *s);
void server_close(struct server *s); /* NULL is fine */

#endif
