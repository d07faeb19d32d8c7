/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage that nobody reads waits until the other copies are damaged too. So each scrub_ns every record is read again, slowly, and from the
 * disk: the page cache would show what it once was. What is damaged is found as by any read, and the owner heals (heal.c).
 * The first time comes anywhere within that period, so that members do not read at the same time, and one that is restarted often
 * is read all the same.
 */
#include "common/clock.h"
#include "raftd/node/internal.h"

#define SLICE_PAUSE_NS (50 * NS_PER_MS)

static void begin(struct node *n)
{
    struct scrub *s = &n->scrub;

    s->ahead.next = 0;
    s->ahead.from_disk = true;
    s->is_running = mvcc_hash_begin(n->options.store, 0, &s->walk) == ST_OK;
    s->next_ns = n->now_ns + (s->is_running ? 0 : n->options.scrub_ns);
}

static void read_a_slice(struct node *n)
{
    struct scrub *s = &n->scrub;
    enum status st; /* damage is noted by the store; and of what was compacted away meanwhile, the rest is read next time */

    s->next_ns = n->now_ns + SLICE_PAUSE_NS;
    if (read_ahead_hash(n, &s->ahead, &s->walk, &st) != HASH_ENDED)
        return;
    s->is_running = false;
    s->next_ns = n->now_ns + n->options.scrub_ns;
}

int64_t scrub_on_tick(struct node *n)
{
    struct scrub *s = &n->scrub;

    if (!n->options.scrub_ns)
        return INT64_MAX;
    if (!s->next_ns)
        s->next_ns = n->now_ns + 1 + (int64_t)rng_below(&n->rng, (uint64_t)n->options.scrub_ns);
    if (n->now_ns >= s->next_ns && !s->is_running)
        begin(n);
    if (n->now_ns >= s->next_ns && s->is_running)
        read_a_slice(n);
    return s->next_ns;
}
