/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process that found itself in a state that cannot be. */
#include "common/invariant.h"

#include <stdio.h>
#include <stdlib.h>

void (*invariant_reporter)(const char *text);

void invariant_broken(const char *claim, const char *file, int line, const char *function)
{
    char text[512];

    snprintf(text, sizeof text, "invariant broken: %s (%s:%d, %s)", claim, file, line, function);
    if (invariant_reporter)
        invariant_reporter(text);
    else
        fprintf(stderr, "%s\n", text);
    abort();
}
