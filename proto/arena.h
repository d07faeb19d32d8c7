/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for one decoded message: everything protobuf-c allocates while unpacking comes from one block that is reused,
 * and goes with arena_reset. The bytes of a message that was unpacked are copies inside it.
 *
 *     struct etcd_request *m = unpack(arena_allocator(&a), len, data);  ...use it...  arena_reset(&a);
 */
#ifndef PROTO_ARENA_H
#define PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
    ProtobufCAllocator allocator;
    struct arena_block *blocks; /* newest first */
    size_t used;                /* in the newest */
};

void arena_init(struct arena *a);
void arena_fini(struct arena *a);
/* Forget everything; keeps one block, no larger than ARENA_KEEP_BYTES. */
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t size);

#endif
