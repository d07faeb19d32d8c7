/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory. */
#include "mvcc/memtable.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "common/mem.h"
#include "mvcc/record.h"

#define CHUNK_BYTES (1u << 20)

struct chunk {
    SLIST_ENTRY(chunk) link;
    size_t used, size;
    uint8_t data[];
};

struct memtable {
    SLIST_HEAD(, chunk) chunks; /* newest first */
    uint8_t **records;
    size_t count, cap;
    size_t *mains; /* first_main + i begins at records[mains[i]] */
    size_t main_count, main_cap;
    mvcc_rev first_main;
    uint64_t bytes;
};

struct memtable *memtable_new(mvcc_rev first_main)
{
    struct memtable *t = mem_zero(sizeof *t);

    SLIST_INIT(&t->chunks);
    t->first_main = first_main;
    return t;
}

void memtable_free(struct memtable *t)
{
    struct chunk *c;

    if (!t)
        return;
    while ((c = SLIST_FIRST(&t->chunks))) {
        SLIST_REMOVE_HEAD(&t->chunks, link);
        free(c);
    }
    free(t->records);
    free(t->mains);
    free(t);
}

static uint8_t *take_room(struct memtable *t, size_t len)
{
    struct chunk *c = SLIST_FIRST(&t->chunks);

    len = (len + 7) & ~(size_t)7;
    if (!c || c->size - c->used < len) {
        size_t size = len > CHUNK_BYTES ? len : CHUNK_BYTES;
        c = mem_alloc(sizeof *c + size);
        c->used = 0;
        c->size = size;
        SLIST_INSERT_HEAD(&t->chunks, c, link);
    }
    c->used += len;
    t->bytes += len + sizeof *t->records;
    return c->data + c->used - len;
}

uint8_t *memtable_add(struct memtable *t, mvcc_rev main, int64_t sub, size_t len)
{
    if (sub == 0) {
        INVARIANT(main == memtable_next_main(t));
        t->mains = mem_grow(t->mains, &t->main_cap, t->main_count + 1, sizeof *t->mains);
        t->mains[t->main_count++] = t->count;
    }
    INVARIANT(main == memtable_next_main(t) - 1 && t->mains[t->main_count - 1] + (size_t)sub == t->count);
    t->records = mem_grow(t->records, &t->cap, t->count + 1, sizeof *t->records);
    return t->records[t->count++] = take_room(t, len);
}

/* The record at the end of the newest chunk; its chunk goes when it was the only one there. */
static void give_room_back(struct memtable *t, const uint8_t *record, size_t len)
{
    struct chunk *c = SLIST_FIRST(&t->chunks);

    len = (len + 7) & ~(size_t)7;
    INVARIANT(record == c->data + c->used - len);
    c->used -= len;
    t->bytes -= len + sizeof *t->records;
    if (!c->used) {
        SLIST_REMOVE_HEAD(&t->chunks, link);
        free(c);
    }
}

void memtable_drop_newest(struct memtable *t)
{
    size_t begin = t->mains[--t->main_count];

    while (t->count > begin) {
        const uint8_t *record = t->records[--t->count];
        give_room_back(t, record, record_len(record));
    }
}

const uint8_t *memtable_get(const struct memtable *t, mvcc_rev main, int64_t sub)
{
    size_t at, end;

    if (main < t->first_main || main >= memtable_next_main(t))
        return NULL;
    at = t->mains[main - t->first_main] + (size_t)sub;
    end = main + 1 < memtable_next_main(t) ? t->mains[main + 1 - t->first_main] : t->count;
    return at < end ? t->records[at] : NULL;
}

size_t memtable_count(const struct memtable *t)
{
    return t->count;
}

uint8_t *memtable_record(const struct memtable *t, size_t at)
{
    return t->records[at];
}

mvcc_rev memtable_first_main(const struct memtable *t)
{
    return t->first_main;
}

mvcc_rev memtable_next_main(const struct memtable *t)
{
    return t->first_main + (mvcc_rev)t->main_count;
}

uint64_t memtable_bytes(const struct memtable *t)
{
    return t->bytes;
}
