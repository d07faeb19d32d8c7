/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole clusters in one process, by seed.
 *
 *     test_sim                the seeds of make check
 *     test_sim SEED           that one, telling what happens
 *     test_sim FIRST COUNT    so many, from the first on
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/history.h"
#include "tests/sim/run.h"

#define CHECK_SEEDS 200

static uint64_t seed_now;
static const char *program;
static char dir[200];

void sim_fail(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "seed %llu: ", (unsigned long long)seed_now);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nrepeat with: %s %llu\n", program, (unsigned long long)seed_now);
    exit(1);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : CHECK_SEEDS;
    struct run_result sum = {0};
    const char *tmp = getenv("TMPDIR");

    program = argv[0];
    snprintf(dir, sizeof dir, "%s/raftfs-sim-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    for (seed_now = first; seed_now < first + count; seed_now++) {
        struct run_result r;
        run_seed(seed_now, dir, argc == 2, &r);
        sum.operations += r.operations;
        sum.done += r.done;
        sum.unknown += r.unknown;
        sum.crashes += r.crashes;
        sum.seals += r.seals;
        sum.snapshots += r.snapshots;
        sum.elections += r.elections;
    }
    rmdir(dir);
    printf("%llu seeds: %llu operations, %llu acknowledged, %llu of unknown outcome; %u crashes, %u seals, %u snapshots, %u elections\n",
           (unsigned long long)count, (unsigned long long)sum.operations, (unsigned long long)sum.done,
           (unsigned long long)sum.unknown, sum.crashes, sum.seals, sum.snapshots, sum.elections);
    return 0;
}
