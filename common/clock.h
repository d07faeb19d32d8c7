/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks of the house, in nanoseconds. Only the edges read them (net/, main programs): everything
 * else gets time as an argument. Timers are monotonic, always; the wall clock only stamps commits.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL

int64_t clock_monotonic_ns(void);
int64_t clock_wall_ns(void);

#endif
