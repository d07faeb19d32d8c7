/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known bugs, put in on purpose to see that the tests find them (make planted-bugs, doc/planted-bugs.md). They exist in a build with
 * --enable-planted-bugs only, and one at a time is switched on. In any other build PLANTED is 0, and what stands behind it is not
 * compiled into anything: scripts/check-planted looks.
 */
#ifndef COMMON_PLANTED_H
#define COMMON_PLANTED_H

#include <stdbool.h>

#ifdef PLANTED_BUGS

enum planted_bug {
    PLANTED_none,
#define PLANTED_BUG(name, what, origin) PLANTED_##name,
#include "common/planted.def"
#undef PLANTED_BUG
    PLANTED_COUNT
};

struct planted_row {
    const char *name, *what, *origin;
};

/* By planted_bug; the first row is no bug. */
extern const struct planted_row planted_rows[PLANTED_COUNT];
extern enum planted_bug planted_now;

/* False: there is none of that name. */
bool planted_switch_on(const char *name);

#define PLANTED(name) (planted_now == PLANTED_##name)

#else

#define PLANTED(name) 0

#endif

#endif
