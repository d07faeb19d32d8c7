/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of clients that change something, as bytes, and their answers. */
#ifndef TESTS_SIM_ASK_H
#define TESTS_SIM_ASK_H

#include <protobuf-c/protobuf-c.h>

#include "common/buf.h"
#include "proto/rpc.pb-c.h"
#include "raftd/node/command.h"
#include "tests/sim/history.h"

/* The caller ends the buf. */
struct buf ask_packed(const ProtobufCMessage *m);
struct buf ask_request(const struct history *h, const struct op *op, enum command_kind *ret_kind);
/* Into the op's answer. */
void ask_take_answer(const struct history *h, struct op *op, struct slice answer);
void ask_take_kvs(const struct history *h, struct op *op, size_t count, Mvccpb__KeyValue *const *kvs);

#endif
