/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services that clients see, over one table of methods. A method without a row does not exist; what a row says of a
 * method (needs a leader, streams) is enforced in one place, before its handler sees a request.
 */
#ifndef RAFTD_API_API_H
#define RAFTD_API_API_H

#include "net/grpc_server.h"
#include "net/loop.h"
#include "raftd/node/node.h"

/* The level of etcd's API that is spoken here; clients compare it. */
#define ETCD_API_VERSION "3.7.1"
#define ETCD_STORAGE_VERSION "3.7.0"
/* etcd's default; nothing here ends at it, but clients show it and divide by it. */
#define QUOTA_BYTES_SHOWN (2147483648ll)

struct api;

struct api *api_new(struct loop *l, struct node *n);
/* After the grpc_server that serves it: every call has ended by then. */
void api_free(struct api *a);

/* For grpc_server_options; service_arg is the api. */
const struct grpc_method *api_methods(unsigned *ret_count);

/* Another store took the place of the one in use (node_options.restored_fn). */
void api_on_restored(struct api *a, struct mvcc *store);
/* The store moved on: watchers hear of it at the end of the round. */
void api_on_applied(struct api *a);
/* Role or leader changed. */
void api_on_leader(struct api *a, uint64_t leader);
/* Members or alarms changed: watches end where nothing is to be told any more. */
void api_on_members(struct api *a);

#endif
