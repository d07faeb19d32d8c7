/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world in which everything happens by chance and nothing by accident: one virtual clock, one queue of what will
 * happen, a network that loses, repeats, delays, reorders and separates. All chance comes from one seed, so a seed is a
 * run. Disks are tests/unit/memory_disk.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rng.h"
#include "common/slice.h"

#define WORLD_NODES_MAX 8

/* What happens at a time; bytes are a copy, gone after the call. */
typedef void (*world_event_fn)(void *arg, unsigned node, uint64_t number, const uint8_t *bytes, size_t len);

struct world_event;

struct world {
    struct rng rng;
    int64_t now_ns;
    uint64_t trace;    /* a digest of all that happened so far: equal for equal runs */
    uint64_t sequence; /* of events: what is due at the same time happens in the order it was asked for */
    struct world_event *heap;
    size_t count, cap;
    /* the network; probabilities in 1/1000 */
    unsigned loss, repeat, late;
    int64_t delay_ns, delay_tail_ns; /* most messages take up to the one, a few up to the other */
    int64_t late_ns;                 /* of some comes a copy, up to so much later */
    bool cut[WORLD_NODES_MAX][WORLD_NODES_MAX]; /* from, to */
    world_event_fn deliver_fn;
    void *deliver_arg;
};

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);
/* One chance in `of` thousand. */
bool world_chance(struct world *w, unsigned of_thousand);
/* One of these rows by chance; each begins with its weight, an unsigned. */
const void *world_draw_row(struct world *w, const void *rows, size_t count, size_t row_bytes);
/* low..high */
int64_t world_between(struct world *w, int64_t low, int64_t high);

void world_at(struct world *w, int64_t at_ns, world_event_fn fn, void *arg, unsigned node, uint64_t number,
              const uint8_t *bytes, size_t len);
/* The next thing happens; false: there is none before until_ns, and it is that time. */
bool world_step(struct world *w, int64_t until_ns);

/* Send a peer's frame. False: it was lost where the sender notices. */
bool world_send(struct world *w, unsigned from, unsigned to, struct slice frame);
/* Into the digest. */
void world_note(struct world *w, uint64_t what);
void world_heal(struct world *w);
/* Some separation of `nodes` nodes, most of them around one: from total to one direction of one pair. */
void world_separate(struct world *w, unsigned one, unsigned nodes);

#endif
