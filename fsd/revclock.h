/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When was a revision? raftd says when a key was committed; a plain etcd does not. Then the time at which this mount first
 * heard of a revision stands for it: plausible, never backwards, and the same whenever the key is looked at again.
 */
#ifndef FSD_REVCLOCK_H
#define FSD_REVCLOCK_H

#include <stdint.h>

#define REVCLOCK_SAMPLES 512u

struct revclock {
    unsigned count;
    struct {
        int64_t rev, ns;
    } samples[REVCLOCK_SAMPLES]; /* both ascending */
};

/* The store is at rev now. Older or equal ones change nothing. When full, every second sample is forgotten. */
void revclock_note(struct revclock *c, int64_t rev, int64_t now_ns);
/* When rev was committed, as far as this mount can tell: never later than it was heard of. 0 without any sample. */
int64_t revclock_when(const struct revclock *c, int64_t rev);

#endif
