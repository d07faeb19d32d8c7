/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that a process has just taken files out of. One that nobody made goes with its last key; whoever removes a tree
 * (rm -r, find -delete) removes the directory next and counts on finding it. For him it is there a moment longer. Pure.
 */
#ifndef FSD_EMPTIED_H
#define FSD_EMPTIED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

#define EMPTIED_SLOTS 64u      /* directories share them by their hash; who comes last has it */
#define EMPTIED_NS 1000000000LL /* how long it is there for him */

struct emptied {
    struct {
        uint64_t directory; /* its hash */
        int64_t at_ns;
        int32_t pid;        /* 0: nobody */
    } slots[EMPTIED_SLOTS];
};

/* pid removed something below this prefix. */
void emptied_note(struct emptied *e, struct slice prefix, int32_t pid, int64_t now_ns);
bool emptied_by(const struct emptied *e, struct slice prefix, int32_t pid, int64_t now_ns);
/* It was removed itself, or stands for something else now. */
void emptied_forget(struct emptied *e, struct slice prefix);

#endif
