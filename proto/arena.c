/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator behind protobuf-c. */
#include "proto/arena.h"

#include <stdlib.h>

#include "common/mem.h"

#define ARENA_BLOCK_BYTES (16 * 1024)
#define ARENA_KEEP_BYTES (256 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    _Alignas(16) uint8_t data[];
};

static void *arena_alloc_fn(void *allocator_data, size_t size)
{
    return arena_alloc(allocator_data, size);
}

/* Nothing is given back one by one. */
static void arena_free_fn(void *allocator_data, void *pointer)
{
    (void)allocator_data;
    (void)pointer;
}

void arena_init(struct arena *a)
{
    *a = (struct arena){.allocator = {arena_alloc_fn, arena_free_fn, a}};
}

void arena_fini(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    a->used = 0;
    while (a->blocks && (a->blocks->next || a->blocks->size > ARENA_KEEP_BYTES)) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t need = (size + 15) & ~(size_t)15;
    void *p;

    if (!a->blocks || a->blocks->size - a->used < need) {
        size_t room = need > ARENA_BLOCK_BYTES ? need : ARENA_BLOCK_BYTES;
        struct arena_block *b = mem_alloc(sizeof *b + room);
        b->next = a->blocks;
        b->size = room;
        a->blocks = b;
        a->used = 0;
    }
    p = a->blocks->data + a->used;
    a->used += need;
    return p;
}
