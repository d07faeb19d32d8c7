/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds from the kernel. */
#include "common/rng.h"

#include <sys/random.h>

#include "common/invariant.h"

uint64_t rng_seed_from_system(void)
{
    uint64_t seed;

    INVARIANT(getrandom(&seed, sizeof seed, 0) == sizeof seed);
    return seed;
}
