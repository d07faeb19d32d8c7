/* SPDX-License-Identifier: Apache-2.0 */
/* Which bug is switched on. */
#include "common/planted.h"

#ifdef PLANTED_BUGS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct planted_row planted_rows[PLANTED_COUNT] = {
    [PLANTED_none] = {"none", "", ""},
#define PLANTED_BUG(name, what, origin) [PLANTED_##name] = {#name, what, origin},
#include "common/planted.def"
#undef PLANTED_BUG
};

enum planted_bug planted_now;

bool planted_switch_on(const char *name)
{
    for (unsigned i = 0; i < PLANTED_COUNT; i++)
        if (strcmp(planted_rows[i].name, name) == 0) {
            planted_now = (enum planted_bug)i;
            return true;
        }
    return false;
}

/* For programs that have no option for it. */
__attribute__((constructor)) static void switch_on_by_environment(void)
{
    const char *name = getenv("RAFTFS_PLANTED");

    if (name && !planted_switch_on(name)) {
        fprintf(stderr, "RAFTFS_PLANTED: there is no bug %s\n", name);
        exit(2);
    }
}

#else

typedef int planted_nothing; /* a file of C is not empty */

#endif
