/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How deep a message nests, asked before it is decoded: protobuf-c decodes by recursion, a megabyte of nested
 * transactions would run over the stack. Stricter than the decoder about bytes that are no message.
 */
#ifndef PROTO_NESTING_H
#define PROTO_NESTING_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/slice.h"

/* Enough for TXN_DEPTH_MAX transactions, each in an operation of the one before, and what stands in the innermost. */
#define NESTING_MAX 24u

/*
 * Is this a message of that type in which messages stand in each other at most `most` deep? One without any inside: 1.
 * False also for bytes that are none.
 */
bool proto_nests_within(const ProtobufCMessageDescriptor *type, struct slice bytes, unsigned most);

#endif
