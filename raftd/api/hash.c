/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maintenance.Hash and HashKV: what a replica holds, as one number. Made in slices, one of one request in a round, in turn: the
 * largest store holds up nobody else by more than a slice. The store is asked for anew each time, for a snapshot may replace it.
 * What is not in memory is read ahead (node/read_ahead.h); whose turn it is waits for that, and the others with it.
 */
#include <stdlib.h>

#include "common/mem.h"
#include "raftd/api/internal.h"
#include "raftd/node/read_ahead.h"

struct hashing {
    struct api_pending pending;
    struct grpc_call *call;
    struct mvcc_hasher hasher;
    struct read_ahead ahead;
    mvcc_rev header_rev, compact_rev; /* when it began */
    bool plain;                       /* Hash: an answer of the number alone */
    TAILQ_ENTRY(hashing) link;
};

/* In the next round: a timer that is due already would fire in this one. */
static void go_on_soon(struct api *a)
{
    if (!TAILQ_EMPTY(&a->hashings))
        loop_timer_set(a->loop, &a->next_hash_slice, loop_now_ns(a->loop) + 1);
}

static void on_read(void *arg)
{
    go_on_soon(arg);
}

static void hashing_free(struct api *a, struct hashing *x)
{
    TAILQ_REMOVE(&a->hashings, x, link);
    a->hashing_count--;
    read_ahead_fini(&x->ahead);
    free(x);
    go_on_soon(a); /* the others may have waited for what this one was reading */
}

static void hashing_cancel(struct api *a, struct api_pending *p)
{
    hashing_free(a, (struct hashing *)p);
}

static void answer(struct api *a, const struct hashing *x)
{
    Etcdserverpb__HashKVResponse kv = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    Etcdserverpb__HashResponse plain = ETCDSERVERPB__HASH_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;

    api_fill_header(a, &header, x->header_rev);
    if (x->plain) {
        plain.header = &header;
        plain.hash = x->hasher.crc;
        api_reply_message(x->call, &plain.base);
        return;
    }
    kv.header = &header;
    kv.hash = x->hasher.crc;
    kv.compact_revision = x->compact_rev;
    kv.hash_revision = x->hasher.rev;
    api_reply_message(x->call, &kv.base);
}

static void hashing_end(struct api *a, struct hashing *x, enum status st)
{
    grpc_call_set_data(x->call, NULL);
    if (st == ST_OK)
        answer(a, x);
    else
        api_fail(x->call, st);
    hashing_free(a, x);
}

static void on_next_slice(void *arg)
{
    struct api *a = arg;
    struct hashing *x = TAILQ_FIRST(&a->hashings);
    enum hash_progress progress;
    enum status st;

    if (!x)
        return; /* the last one was canceled meanwhile */
    progress = read_ahead_hash(a->node, &x->ahead, &x->hasher, &st);
    if (progress == HASH_WAITS)
        return;
    if (progress == HASH_ENDED) {
        hashing_end(a, x, st);
        return;
    }
    TAILQ_REMOVE(&a->hashings, x, link);
    TAILQ_INSERT_TAIL(&a->hashings, x, link);
    go_on_soon(a);
}

static void begin(struct api *a, struct grpc_call *call, mvcc_rev rev, bool plain)
{
    struct mvcc *store = node_store(a->node);
    struct mvcc_hasher hasher;
    struct hashing *x;
    enum status st = a->hashing_count < HASHES_MAX ? mvcc_hash_begin(store, rev, &hasher) : ST_TOO_MANY_REQUESTS;

    if (st != ST_OK) {
        api_fail(call, st);
        return;
    }
    x = mem_zero(sizeof *x);
    x->pending.cancel_fn = hashing_cancel;
    x->call = call;
    x->hasher = hasher;
    x->ahead.done_fn = on_read;
    x->ahead.arg = a;
    x->header_rev = mvcc_revision(store);
    x->compact_rev = mvcc_compact_revision(store);
    x->plain = plain;
    grpc_call_set_data(call, x);
    TAILQ_INSERT_TAIL(&a->hashings, x, link);
    a->hashing_count++;
    go_on_soon(a);
}

void api_hash(struct api *a, struct grpc_call *call, struct slice message)
{
    bool decoded = etcdserverpb__hash_request__unpack(&a->arena.allocator, message.len, message.data) != NULL;

    arena_reset(&a->arena);
    if (decoded)
        begin(a, call, 0, true);
    else
        api_fail(call, ST_BAD_MESSAGE);
}

void api_hash_kv(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__HashKVRequest *r =
        etcdserverpb__hash_kvrequest__unpack(&a->arena.allocator, message.len, message.data);
    mvcc_rev rev = r ? r->revision : 0;

    arena_reset(&a->arena);
    if (r)
        begin(a, call, rev, false);
    else
        api_fail(call, ST_BAD_MESSAGE);
}

void api_hash_init(struct api *a)
{
    TAILQ_INIT(&a->hashings);
    loop_timer_init(&a->next_hash_slice, on_next_slice, a);
}

void api_hash_fini(struct api *a)
{
    INVARIANT(TAILQ_EMPTY(&a->hashings)); /* the calls are gone */
    loop_timer_cancel(a->loop, &a->next_hash_slice);
}
