/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small random generator with its state in the caller's hands (splitmix64), so that a seed repeats a
 * run. Not for secrets: those come from getrandom(2).
 */
#ifndef COMMON_RNG_H
#define COMMON_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 .. bound-1; bound > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound)
{
    return rng_next(r) % bound;
}

/* A seed nobody can guess, from the kernel. */
uint64_t rng_seed_from_system(void);

#endif
