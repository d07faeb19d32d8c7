/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole clusters in one process, by seed; each seed has a run of members (run.h) and some of bare cores (cores.h).
 *
 *     test_sim                    the kept seeds, then those of make check, then some of them once more, event for event
 *     test_sim SEED               that one, telling what happens
 *     test_sim FIRST COUNT        so many, from the first on
 *
 *     -o KIND     members or cores: only these runs of the seeds
 *     -b NAME     with that planted bug (a build with --enable-planted-bugs), and never the kept seeds; -l names them
 *     -j N        in so many processes (default: 2)
 *     -k          go on after a seed that fails
 *     -p          tell how far it is
 *     -t SECONDS  begin no new seed after that
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/planted.h"
#include "tests/sim/workers.h"

#ifdef __SANITIZE_ADDRESS__
#define CHECK_SEEDS 150 /* four times as long each; what it looks for is in all of them */
#else
#define CHECK_SEEDS 500
#endif
#define REPLAYED_SEEDS 10

static uint64_t kept_seeds[] = {
#define SEED(number, found) number,
#include "tests/sim/seeds.def"
};

static char command[400];

static void tell(const struct workers_result *r)
{
    double hours = (double)r->sum.virtual_ns / (3600.0 * NS_PER_S), elapsed = (double)r->elapsed_ns / NS_PER_S;

    printf("%llu seeds, %llu failures: %llu operations, %llu acknowledged, %llu of unknown outcome; %llu crashes, %llu seals, "
           "%llu snapshots, %llu elections\n",
           (unsigned long long)r->seeds, (unsigned long long)r->failures, (unsigned long long)r->sum.operations,
           (unsigned long long)r->sum.done, (unsigned long long)r->sum.unknown, (unsigned long long)r->sum.crashes,
           (unsigned long long)r->sum.seals, (unsigned long long)r->sum.snapshots, (unsigned long long)r->sum.elections);
    printf("%llu damages: %llu logs and %llu stores healed, %llu starts refused, %llu times nothing was applied\n", (unsigned long long)r->sum.damages,
           (unsigned long long)r->sum.healed_logs, (unsigned long long)r->sum.healed_stores,
           (unsigned long long)r->sum.refused_starts, (unsigned long long)r->sum.put_off);
    printf("%llu full disks: %llu seals and %llu steps of logs found no space, %llu writes refused; %llu stores could not write\n",
           (unsigned long long)r->sum.full_disks, (unsigned long long)r->sum.full_seals, (unsigned long long)r->sum.log_waits,
           (unsigned long long)r->sum.no_space, (unsigned long long)r->sum.store_errors);
    printf("%llu members lost all their data, %llu were dismissed; %llu went on alone, %llu of them not in the end; %llu had joined; %llu differed\n",
           (unsigned long long)r->sum.wipes, (unsigned long long)r->sum.dismissed, (unsigned long long)r->sum.alones,
           (unsigned long long)r->sum.grown, (unsigned long long)r->sum.joined, (unsigned long long)r->sum.differed);
    printf("%.2f simulated hours in %.1f s (%.1f s of processors): %.0f simulated hours an hour\n", hours, elapsed,
           (double)r->cpu_ns / NS_PER_S, elapsed > 0 ? hours * 3600 / elapsed : 0);
}

static bool run_kept(unsigned kinds)
{
    struct run_result r;

    for (size_t i = 0; i < sizeof kept_seeds / sizeof *kept_seeds; i++)
        workers_run_one(command, kinds, kept_seeds[i], false, &r);
    printf("%zu kept seeds\n", sizeof kept_seeds / sizeof *kept_seeds);
    return true;
}

/* A seed is a run: another one between must not change it. */
static bool run_twice(unsigned kinds, uint64_t seed)
{
    struct run_result first, between, again;

    workers_run_one(command, kinds, seed, false, &first);
    workers_run_one(command, kinds, seed + 1, false, &between);
    workers_run_one(command, kinds, seed, false, &again);
    if (first.trace == again.trace && first.trace != between.trace)
        return true;
    fprintf(stderr, "seed %llu: did something else the second time (%llx, then %llx)\n", (unsigned long long)seed,
            (unsigned long long)first.trace, (unsigned long long)again.trace);
    return false;
}

static int check(struct workers_options *o)
{
    struct workers_result r;
    bool ok = run_kept(o->kinds);

    for (uint64_t seed = 1; seed <= REPLAYED_SEEDS; seed++)
        ok = run_twice(o->kinds, seed) && ok;
    o->first = 1;
    o->count = CHECK_SEEDS;
    workers_run(o, &r);
    tell(&r);
    return ok && !r.failures ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: test_sim [-k] [-p] [-o KIND] [-b NAME] [-j N] [-t SECONDS] [SEED | FIRST COUNT]\n       test_sim -l\n");
    return 2;
}

#ifdef PLANTED_BUGS

static bool plant(const char *name)
{
    size_t len = strlen(command);

    snprintf(command + len, sizeof command - len, " -b %s", name);
    return planted_switch_on(name);
}

static int list_bugs(void)
{
    for (unsigned i = 1; i < PLANTED_COUNT; i++)
        printf("%s|%s|%s\n", planted_rows[i].name, planted_rows[i].what, planted_rows[i].origin);
    return 0;
}

#else

static bool plant(const char *name)
{
    (void)name;
    fprintf(stderr, "test_sim: this build has no planted bugs\n");
    return false;
}

static int list_bugs(void)
{
    return plant("") ? 0 : 2;
}

#endif

/* The command that repeats a seed repeats this. */
static bool choose_kind(struct workers_options *o, const char *name)
{
    size_t len = strlen(command);

    snprintf(command + len, sizeof command - len, " -o %s", name);
    o->kinds = strcmp(name, "members") == 0 ? RUN_MEMBERS : strcmp(name, "cores") == 0 ? RUN_CORES : 0;
    return o->kinds;
}

int main(int argc, char **argv)
{
    struct workers_options o = {.kinds = RUN_MEMBERS | RUN_CORES, .jobs = 2, .command = command};
    struct workers_result r;
    struct run_result one;
    int c;

    log_set_level(LOG_ERROR); /* of raftd's parts: what they warn of is what happens here */
    snprintf(command, sizeof command, "%s", argv[0]);
    while ((c = getopt(argc, argv, "b:j:klo:pt:")) != -1) {
        if (c == 'j')
            o.jobs = (unsigned)strtoul(optarg, NULL, 10);
        else if ((c == 'b' && plant(optarg)) || (c == 'o' && choose_kind(&o, optarg)))
            ;
        else if (c == 'l')
            return list_bugs();
        else if (c == 'k')
            o.keep_going = true;
        else if (c == 'p')
            o.progress = true;
        else if (c == 't')
            o.seconds = strtoll(optarg, NULL, 10);
        else
            return usage();
    }
    if (o.jobs < 1 || o.jobs > 64 || argc - optind > 2)
        return usage();
    if (argc == optind)
        return check(&o);
    o.first = strtoull(argv[optind], NULL, 10);
    if (argc - optind == 1) {
        workers_run_one(command, o.kinds, o.first, true, &one);
        printf("%llu operations, digest %016llx\n", (unsigned long long)one.operations, (unsigned long long)one.trace);
        return 0;
    }
    o.count = strtoull(argv[optind + 1], NULL, 10);
    workers_run(&o, &r);
    tell(&r);
    return r.failures ? 1 : 0;
}
