/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that share a counter of seeds. */
#include "tests/sim/workers.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/sim/cores.h"
#include "tests/unit/temp_dir.h"

#define JOBS_MAX 64
#define SEED_CPU_SECONDS 60 /* the longest took ten, for all read all they hold again and again; more is a loop that does not end */
#define PROGRESS_NS (10 * NS_PER_S)

/* What a worker shares with its parent. */
struct slot {
    pid_t pid; /* the parent's: 0 when there is none */
    char dir[200];
    uint64_t seed;
    char failure[600];
    uint64_t seeds;
    struct run_result sum;
};

struct shared {
    _Atomic uint64_t next;
    _Atomic bool stop;
    struct slot slots[JOBS_MAX];
};

static struct slot alone, *here = &alone; /* of this process */
static const char *repeat = "test_sim";

/* ---- how a seed fails ---- */

void sim_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(here->failure, sizeof here->failure, format, args);
    va_end(args);
    fflush(stdout); /* what was told so far */
    fprintf(stderr, "seed %llu: %s\nrepeat with: %s %llu\n", (unsigned long long)here->seed, here->failure, repeat,
            (unsigned long long)here->seed);
    _exit(1);
}

static void on_invariant(const char *text)
{
    sim_fail("%s", text);
}

/* A processor's time, and not the clock's: the machine may be busy. */
static void limit_time(void)
{
    struct itimerval limit = {.it_value = {.tv_sec = SEED_CPU_SECONDS}};

    setitimer(ITIMER_PROF, &limit, NULL);
}

/* ---- directories ---- */

void workers_make_dir(char *ret_dir, size_t size)
{
    if (!temp_dir_make(ret_dir, size, "sim")) {
        perror("a directory for a seed");
        exit(1);
    }
}

/* ---- a worker ---- */

static void add_result(struct run_result *sum, const struct run_result *r)
{
    sum->operations += r->operations;
    sum->done += r->done;
    sum->unknown += r->unknown;
    sum->crashes += r->crashes;
    sum->seals += r->seals;
    sum->snapshots += r->snapshots;
    sum->damages += r->damages;
    sum->healed_logs += r->healed_logs;
    sum->healed_stores += r->healed_stores;
    sum->put_off += r->put_off;
    sum->refused_starts += r->refused_starts;
    sum->full_disks += r->full_disks;
    sum->full_seals += r->full_seals;
    sum->log_waits += r->log_waits;
    sum->store_errors += r->store_errors;
    sum->wipes += r->wipes;
    sum->dismissed += r->dismissed;
    sum->alones += r->alones;
    sum->joined += r->joined;
    sum->grown += r->grown;
    sum->differed += r->differed;
    sum->no_space += r->no_space;
    sum->elections += r->elections;
    sum->virtual_ns += r->virtual_ns;
    sum->trace = sum->trace * 31 + r->trace;
}

void workers_run_one(const char *command, unsigned kinds, uint64_t seed, bool trace, struct run_result *ret_result)
{
    struct run_result sum = {0}, r;
    bool own = !*here->dir;

    repeat = command;
    invariant_reporter = on_invariant;
    if (own)
        workers_make_dir(here->dir, sizeof here->dir);
    here->seed = seed;
    limit_time();
    if (kinds & RUN_MEMBERS) {
        run_seed(seed, here->dir, trace, &r);
        add_result(&sum, &r);
    }
    for (uint64_t i = 0; i < CORES_A_SEED && (kinds & RUN_CORES); i++) {
        cores_run_seed(seed * CORES_A_SEED + i, trace, &r);
        add_result(&sum, &r);
    }
    *ret_result = sum;
    if (own) {
        temp_dir_remove(here->dir);
        *here->dir = '\0';
    }
}

static void work(struct shared *shared, const struct workers_options *o, int64_t until_ns)
{
    struct run_result r;

    while (!atomic_load(&shared->stop) && clock_monotonic_ns() < until_ns) {
        uint64_t at = atomic_fetch_add(&shared->next, 1);
        if (at >= o->count)
            break;
        workers_run_one(o->command, o->kinds, o->first + at, false, &r);
        here->seeds++;
        add_result(&here->sum, &r);
    }
    _exit(0);
}

/* ---- the parent ---- */

static void start(struct shared *shared, struct slot *slot, const struct workers_options *o, int64_t until_ns)
{
    pid_t pid;

    if (!*slot->dir)
        workers_make_dir(slot->dir, sizeof slot->dir);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        here = slot;
        work(shared, o, until_ns);
    }
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    slot->pid = pid; /* here only: the child shares it */
}

/* Did its seed fail? Says so where the worker could not. */
static bool has_failed(struct slot *slot, int status, const struct workers_options *o)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (WIFSIGNALED(status)) {
        snprintf(slot->failure, sizeof slot->failure, "%s",
                 WTERMSIG(status) == SIGPROF ? "does not end" : strsignal(WTERMSIG(status)));
        fprintf(stderr, "seed %llu: %s\nrepeat with: %s %llu\n", (unsigned long long)slot->seed, slot->failure, o->command,
                (unsigned long long)slot->seed);
    } else if (!*slot->failure) {
        fprintf(stderr, "seed %llu: ends with %d\nrepeat with: %s %llu\n", (unsigned long long)slot->seed,
                WEXITSTATUS(status), o->command, (unsigned long long)slot->seed);
    }
    return true;
}

static struct workers_result result_of(const struct shared *shared, const struct workers_options *o, int64_t started_ns)
{
    struct workers_result r = {.elapsed_ns = clock_monotonic_ns() - started_ns};
    struct rusage usage;

    for (unsigned i = 0; i < o->jobs; i++) {
        r.seeds += shared->slots[i].seeds;
        add_result(&r.sum, &shared->slots[i].sum);
    }
    getrusage(RUSAGE_CHILDREN, &usage);
    r.cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S +
               (int64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    return r;
}

static void tell_progress(const struct shared *shared, const struct workers_options *o, int64_t started_ns, uint64_t failures)
{
    struct workers_result r = result_of(shared, o, started_ns);
    double hours = (double)r.sum.virtual_ns / (3600.0 * NS_PER_S), elapsed = (double)r.elapsed_ns / NS_PER_S;

    printf("%llu of %llu seeds, %.1f simulated hours in %.0f s (%.0f an hour), %llu failures\n", (unsigned long long)r.seeds,
           (unsigned long long)o->count, hours, elapsed, elapsed > 0 ? hours * 3600 / elapsed : 0, (unsigned long long)failures);
    fflush(stdout);
}

/* One that ended, if any did. */
static struct slot *reap(struct shared *shared, const struct workers_options *o, int *ret_status)
{
    for (unsigned i = 0; i < o->jobs; i++)
        if (shared->slots[i].pid && waitpid(shared->slots[i].pid, ret_status, WNOHANG) == shared->slots[i].pid) {
            shared->slots[i].pid = 0;
            return &shared->slots[i];
        }
    return NULL;
}

void workers_run(const struct workers_options *o, struct workers_result *ret_result)
{
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t started_ns = clock_monotonic_ns(), told_ns = started_ns;
    int64_t until_ns = o->seconds ? started_ns + o->seconds * NS_PER_S : INT64_MAX;
    uint64_t failures = 0, first_failure = 0;
    unsigned running = 0;

    INVARIANT(shared != MAP_FAILED && o->jobs > 0 && o->jobs <= JOBS_MAX);
    for (; running < o->jobs; running++)
        start(shared, &shared->slots[running], o, until_ns);
    while (running) {
        int status;
        struct slot *slot = reap(shared, o, &status);
        if (!slot) {
            usleep(10000);
        } else if (!has_failed(slot, status, o)) {
            running--;
        } else {
            if (!failures++)
                first_failure = slot->seed;
            *slot->failure = '\0';
            if (o->keep_going) {
                start(shared, slot, o, until_ns);
            } else {
                atomic_store(&shared->stop, true);
                running--;
            }
        }
        if (o->progress && clock_monotonic_ns() - told_ns > PROGRESS_NS) {
            told_ns = clock_monotonic_ns();
            tell_progress(shared, o, started_ns, failures);
        }
    }
    *ret_result = result_of(shared, o, started_ns);
    ret_result->failures = failures;
    ret_result->first_failure = first_failure;
    for (unsigned i = 0; i < o->jobs; i++)
        temp_dir_remove(shared->slots[i].dir);
    munmap(shared, sizeof *shared);
}
