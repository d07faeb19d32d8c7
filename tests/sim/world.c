/* SPDX-License-Identifier: Apache-2.0 */
/* Time, events and the network. */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "raftd/peer/frame.h"

struct world_event {
    int64_t at_ns;
    uint64_t sequence;
    world_event_fn fn;
    void *arg;
    unsigned node;
    uint64_t number;
    uint8_t *bytes;
    size_t len;
};

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.rng = {.state = seed}, .delay_ns = NS_PER_MS};
}

void world_fini(struct world *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->heap[i].bytes);
    free(w->heap);
}

bool world_chance(struct world *w, unsigned of_thousand)
{
    return rng_below(&w->rng, 1000) < of_thousand;
}

const void *world_draw_row(struct world *w, const void *rows, size_t count, size_t row_bytes)
{
    const char *row = rows;
    unsigned sum = 0, at;

    for (size_t i = 0; i < count; i++)
        sum += *(const unsigned *)(const void *)(row + i * row_bytes);
    for (at = (unsigned)rng_below(&w->rng, sum); at >= *(const unsigned *)(const void *)row; row += row_bytes)
        at -= *(const unsigned *)(const void *)row;
    return row;
}

int64_t world_between(struct world *w, int64_t low, int64_t high)
{
    return low + (int64_t)rng_below(&w->rng, (uint64_t)(high - low) + 1);
}

void world_note(struct world *w, uint64_t what)
{
    struct rng mix = {.state = w->trace ^ what};

    w->trace = rng_next(&mix);
}

/* ---- events: a binary heap ---- */

static bool is_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void exchange(struct world *w, size_t a, size_t b)
{
    struct world_event e = w->heap[a];

    w->heap[a] = w->heap[b];
    w->heap[b] = e;
}

void world_at(struct world *w, int64_t at_ns, world_event_fn fn, void *arg, unsigned node, uint64_t number,
              const uint8_t *bytes, size_t len)
{
    size_t i = w->count;

    w->heap = mem_grow(w->heap, &w->cap, w->count + 1, sizeof *w->heap);
    w->heap[w->count++] = (struct world_event){.at_ns = at_ns > w->now_ns ? at_ns : w->now_ns,
                                               .sequence = w->sequence++,
                                               .fn = fn,
                                               .arg = arg,
                                               .node = node,
                                               .number = number,
                                               .bytes = len ? mem_copy(bytes, len) : NULL,
                                               .len = len};
    for (; i && is_before(&w->heap[i], &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        exchange(w, i, (i - 1) / 2);
}

static struct world_event take_first(struct world *w)
{
    struct world_event first = w->heap[0];

    w->heap[0] = w->heap[--w->count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < w->count; child++)
            if (is_before(&w->heap[child], &w->heap[least]))
                least = child;
        if (least == i)
            return first;
        exchange(w, i, least);
        i = least;
    }
}

bool world_step(struct world *w, int64_t until_ns)
{
    struct world_event e;

    if (!w->count || w->heap[0].at_ns > until_ns) {
        w->now_ns = until_ns;
        return false;
    }
    e = take_first(w);
    w->now_ns = e.at_ns;
    world_note(w, (uint64_t)e.at_ns);
    world_note(w, e.number << 8 | e.node);
    world_note(w, crc32c(0, e.bytes, e.len));
    e.fn(e.arg, e.node, e.number, e.bytes, e.len);
    free(e.bytes);
    return true;
}

/* ---- the network ---- */

bool world_send(struct world *w, unsigned from, unsigned to, struct slice frame)
{
    unsigned copies = world_chance(w, w->repeat) ? 2 : 1;

    if (w->cut[from][to])
        return !world_chance(w, 500);
    if (world_chance(w, w->loss))
        return true;
    if (world_chance(w, w->late))
        world_at(w, w->now_ns + world_between(w, 0, w->late_ns), w->deliver_fn, w->deliver_arg, to, from, frame.data, frame.len);
    while (copies--) {
        int64_t most = world_chance(w, 50) ? w->delay_tail_ns : w->delay_ns;
        world_at(w, w->now_ns + world_between(w, most / 10, most), w->deliver_fn, w->deliver_arg, to, from,
                 frame.data, frame.len);
    }
    return true;
}

void world_heal(struct world *w)
{
    memset(w->cut, 0, sizeof w->cut);
}

void world_separate(struct world *w, unsigned a, unsigned nodes)
{
    unsigned b = (unsigned)rng_below(&w->rng, nodes);

    world_heal(w);
    switch (rng_below(&w->rng, 7)) {
    case 0: /* one alone */
        for (unsigned i = 0; i < nodes; i++)
            if (i != a)
                w->cut[a][i] = w->cut[i][a] = true;
        break;
    case 1: /* one that speaks and does not hear */
        for (unsigned i = 0; i < nodes; i++)
            w->cut[i][a] = i != a;
        break;
    case 2: /* one that hears and does not speak */
        for (unsigned i = 0; i < nodes; i++)
            w->cut[a][i] = i != a;
        break;
    case 3: /* one pair */
        w->cut[a][b] = w->cut[b][a] = a != b;
        break;
    case 4: /* nobody reaches anybody but one, and that one all of them */
        for (unsigned i = 0; i < nodes; i++)
            for (unsigned k = 0; k < nodes; k++)
                w->cut[i][k] = i != k && i != b && k != b;
        break;
    case 5: /* a chain that begins with one */
        for (unsigned i = 0; i < nodes; i++)
            for (unsigned k = 0; k < nodes; k++)
                w->cut[i][k] = labs((long)((i + nodes - a) % nodes) - (long)((k + nodes - a) % nodes)) > 1;
        break;
    default: /* any set of directions */
        for (unsigned i = 0; i < nodes; i++)
            for (unsigned k = 0; k < nodes; k++)
                w->cut[i][k] = i != k && world_chance(w, 300);
        break;
    }
}
