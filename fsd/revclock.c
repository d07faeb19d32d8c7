/* SPDX-License-Identifier: Apache-2.0 */
/* Samples of (revision, time). */
#include "fsd/revclock.h"

void revclock_note(struct revclock *c, int64_t rev, int64_t now_ns)
{
    unsigned n = c->count;

    if (n && rev <= c->samples[n - 1].rev)
        return;
    if (n && now_ns < c->samples[n - 1].ns)
        now_ns = c->samples[n - 1].ns; /* the wall clock was set back */
    if (n == REVCLOCK_SAMPLES) {
        /* The later of each pair stays: "not later than" holds for all it stands for. */
        for (unsigned i = 0; i < n / 2; i++)
            c->samples[i] = c->samples[2 * i + 1];
        n /= 2;
    }
    c->samples[n].rev = rev;
    c->samples[n].ns = now_ns;
    c->count = n + 1;
}

int64_t revclock_when(const struct revclock *c, int64_t rev)
{
    unsigned low = 0, high = c->count;

    if (!c->count)
        return 0;
    /* The first sample at or after it. */
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (c->samples[middle].rev < rev)
            low = middle + 1;
        else
            high = middle;
    }
    return c->samples[low < c->count ? low : c->count - 1].ns;
}
