/* SPDX-License-Identifier: Apache-2.0 */
/* What bare cores live through: a storm, and rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "raft/conf_change.h"
#include "tests/sim/cores.h"
#include "tests/sim/history.h"

#define REST_TICKS 1000 /* a healed cluster is at rest within that */
#define ASKERS 3
#define VALUE_BYTES_MAX 40 /* of a proposal, behind its number */
#define ENTRY_BYTES_MAX (8 + VALUE_BYTES_MAX + RAFT_ENTRY_OVERHEAD_BYTES)
#define MESSAGE_BYTES_MAX 500 /* of entries, at least one; more than a core is handed at once */
#define PROPOSALS_AT_ONCE 5 /* of one that asks, now and then */
#define AIM_TICKS 4 /* what strikes a new leader does within that */

struct cores_run {
    struct cores cores;
    uint64_t epoch; /* what was planned under an earlier one does not happen */
    int64_t fault_ns, outage_ns, think_ns;
    unsigned change_chance;   /* of a thousand things that are asked */
    unsigned separate_chance; /* of a thousand faults, beyond its share */
    unsigned aim;             /* of a thousand new leaders, how many draw a fault */
};

/* ---- what clients ask ---- */

static struct sim_core *draw_core(struct cores *s, bool leader)
{
    unsigned from = (unsigned)rng_below(&s->world.rng, s->count);

    for (unsigned i = 0; leader && i < s->count; i++) {
        struct sim_core *m = &s->members[(from + i) % s->count];
        if (m->raft && m->raft->role == RAFT_LEADER)
            return m;
    }
    return &s->members[from];
}

/* Any change, and often that to leave a joint configuration. */
static void propose_change(struct cores *s, struct sim_core *m)
{
    static const enum raft_change_type types[] = {RAFT_CHANGE_ADD_VOTER, RAFT_CHANGE_ADD_VOTER, RAFT_CHANGE_ADD_VOTER,
                                                  RAFT_CHANGE_ADD_LEARNER, RAFT_CHANGE_ADD_LEARNER, RAFT_CHANGE_REMOVE};
    struct raft_conf_change change = {0};
    struct raft_entry *e;

    if (world_chance(&s->world, 700)) {
        change.count = (unsigned)world_between(&s->world, 1, 3);
        change.transition = (enum raft_transition)rng_below(&s->world.rng, RAFT_TRANSITION_JOINT_EXPLICIT + 1);
    }
    for (unsigned i = 0; i < change.count; i++)
        change.changes[i] = (struct raft_change){types[rng_below(&s->world.rng, sizeof types / sizeof *types)],
                                                 1 + rng_below(&s->world.rng, s->count)};
    e = raft_conf_change_encode(&change);
    if (raft_propose(m->raft, &e, 1) == ST_OK)
        cores_trace(s, "%u is asked for a change of %u (transition %d)", m->number, change.count, (int)change.transition);
    raft_entry_unref(e);
    core_run(m);
}

static void next_question(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct cores_run *run = arg;
    struct cores *s = &run->cores;
    struct world *w = &s->world;
    struct sim_core *m = draw_core(s, world_chance(w, 400));

    (void)bytes;
    (void)len;
    if (epoch != run->epoch)
        return;
    if (core_is_awake(m)) {
        if (s->changes && world_chance(w, run->change_chance))
            propose_change(s, m);
        else if (world_chance(w, 550))
            core_propose(m, world_chance(w, 100) ? PROPOSALS_AT_ONCE : 1);
        else
            core_read(m);
    }
    world_at(w, w->now_ns + world_between(w, 0, run->think_ns), next_question, run, number, epoch, NULL, 0);
}

/* ---- what goes wrong ---- */

static void on_restart(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct cores_run *run = arg;
    struct sim_core *m = &run->cores.members[number];

    (void)bytes;
    (void)len;
    if (!m->raft && m->life == life)
        core_start(m);
}

static int64_t outage_end(struct cores_run *run)
{
    return run->cores.world.now_ns + world_between(&run->cores.world, 0, run->outage_ns);
}

static void crash(struct cores_run *run, struct sim_core *m)
{
    core_crash(m);
    world_at(&run->cores.world, outage_end(run), on_restart, run, m->number, m->life, NULL, 0);
}

static void crash_all(struct cores_run *run, struct sim_core *m)
{
    (void)m;
    for (unsigned i = 0; i < run->cores.count; i++)
        if (run->cores.members[i].raft)
            crash(run, &run->cores.members[i]);
}

/* One of a run: a majority that forgot could elect nobody. */
static void lose_log(struct cores_run *run, struct sim_core *m)
{
    if (run->cores.changes || run->cores.founders < 3 || run->cores.lost)
        return;
    crash(run, m);
    core_lose_log(m);
}

static void pause_core(struct cores_run *run, struct sim_core *m)
{
    m->paused_until_ns = outage_end(run);
}

static void stall_store(struct cores_run *run, struct sim_core *m)
{
    m->stalled_until_ns = outage_end(run);
}

static void separate(struct cores_run *run, struct sim_core *m)
{
    world_separate(&run->cores.world, m->number, run->cores.count);
}

static void join(struct cores_run *run, struct sim_core *m)
{
    (void)m;
    world_heal(&run->cores.world);
}

/* What an owner may do at any time. */
static void transfer(struct cores_run *run, struct sim_core *m)
{
    if (raft_transfer_leader(m->raft, 1 + rng_below(&run->cores.world.rng, run->cores.count)) == ST_OK)
        core_run(m);
}

static void campaign(struct cores_run *run, struct sim_core *m)
{
    (void)run;
    raft_campaign(m->raft);
    core_run(m);
}

static void forget_leader(struct cores_run *run, struct sim_core *m)
{
    (void)run;
    raft_forget_leader(m->raft);
    core_run(m);
}

static void step_down(struct cores_run *run, struct sim_core *m)
{
    (void)run;
    raft_step_down(m->raft);
    core_run(m);
}

static void change_fitness(struct cores_run *run, struct sim_core *m)
{
    enum raft_fitness fitness = RAFT_FIT;

    if (world_chance(&run->cores.world, 300))
        fitness = world_chance(&run->cores.world, 300) ? RAFT_FIT_TO_FOLLOW : RAFT_UNFIT;
    raft_set_fitness(m->raft, fitness);
    core_run(m);
}

static void checkpoint(struct cores_run *run, struct sim_core *m)
{
    (void)run;
    core_checkpoint(m);
}

static const struct fault {
    unsigned weight;
    void (*fn)(struct cores_run *run, struct sim_core *victim); /* who is awake */
} faults[] = {
    {15, crash}, {4, crash_all}, {12, lose_log}, {15, separate}, {12, join}, {12, pause_core}, {15, stall_store},
    {8, transfer}, {6, campaign}, {12, forget_leader}, {4, step_down}, {4, change_fitness}, {30, checkpoint},
};

static const struct fault *draw_fault(struct world *w)
{
    return world_draw_row(w, faults, sizeof faults / sizeof *faults, sizeof *faults);
}

static void strike(struct cores_run *run, struct sim_core *m)
{
    if (world_chance(&run->cores.world, run->separate_chance))
        separate(run, m);
    else if (core_is_awake(m))
        draw_fault(&run->cores.world)->fn(run, m);
}

static void on_strike(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct cores_run *run = arg;

    (void)bytes;
    (void)len;
    if (epoch == run->epoch)
        strike(run, &run->cores.members[number]);
}

/* Its log is nobody else's yet. */
static void on_elected(void *arg, struct sim_core *m)
{
    struct cores_run *run = arg;
    struct world *w = &run->cores.world;

    if (world_chance(w, run->aim))
        world_at(w, w->now_ns + world_between(w, 0, AIM_TICKS * run->cores.tick_ns), on_strike, run, m->number, run->epoch, NULL, 0);
}

static void next_fault(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct cores_run *run = arg;
    struct world *w = &run->cores.world;

    (void)bytes;
    (void)len;
    if (epoch != run->epoch)
        return;
    strike(run, draw_core(&run->cores, world_chance(w, 400)));
    if (world_chance(w, 20))
        core_rules_compare_logs(&run->cores.rules);
    world_at(w, w->now_ns + world_between(w, 0, run->fault_ns), next_fault, run, number, epoch, NULL, 0);
}

/* ---- rest ---- */

static struct sim_core *newest_leader(struct cores *s)
{
    struct sim_core *newest = NULL;

    for (unsigned i = 0; i < s->count; i++) {
        struct sim_core *m = &s->members[i];
        if (m->raft->role == RAFT_LEADER && (!newest || m->raft->term > newest->raft->term))
            newest = m;
    }
    return newest;
}

/* Everybody who is in it has what its leader has. */
static bool is_at_rest(struct cores *s)
{
    const struct sim_core *newest = newest_leader(s);
    const struct raft *leader = newest ? newest->raft : NULL;

    if (leader && leader->transferee)
        return false;
    for (unsigned i = 0; leader && i < leader->members.count; i++) {
        const struct sim_core *m = &s->members[leader->members.ids[i] - 1];
        if (m->raft->leader != leader->options.id || m->raft->log.applied != raft_log_last(&leader->log) || m->batch_count)
            return false;
    }
    return leader != NULL;
}

static void tell_state(const struct cores *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        const struct raft *r = s->members[i].raft;
        const struct raft_log *l = &r->log;
        fprintf(stderr, "core %u: role %d, leader %llu, term %llu, log %llu..%llu, commit %llu, applied %llu, %zu batches, %u voters, "
                        "%u outgoing, %u learners\n", i, (int)r->role, (unsigned long long)r->leader, (unsigned long long)r->term,
                (unsigned long long)l->snapshot_index, (unsigned long long)raft_log_last(l), (unsigned long long)l->commit,
                (unsigned long long)l->applied, s->members[i].batch_count, r->conf.voter_count, r->conf.outgoing_count,
                r->conf.learner_count);
    }
}

static void come_to(struct cores *s, bool (*is_there)(struct cores *s), const char *what)
{
    int64_t until = s->world.now_ns + REST_TICKS * s->tick_ns;

    while (!is_there(s) && world_step(&s->world, until))
        ;
    if (!is_there(s))
        tell_state(s);
    SIM_CHECK(is_there(s), "cores: no %s within %d ticks", what, REST_TICKS);
}

static void heal(struct cores_run *run)
{
    struct cores *s = &run->cores;

    int64_t late_until = s->world.now_ns + s->world.late_ns;

    run->epoch++;
    run->aim = 0;
    world_heal(&s->world);
    s->world.loss = s->world.repeat = s->world.late = 0;
    s->world.delay_ns = s->world.delay_tail_ns = s->store_ns = s->tick_ns / 20;
    s->slow_stores = s->forgets = 0;
    for (unsigned i = 0; i < s->count; i++) {
        struct sim_core *m = &s->members[i];
        if (!m->raft)
            core_start(m);
        m->paused_until_ns = m->stalled_until_ns = 0;
        raft_set_fitness(m->raft, RAFT_FIT);
    }
    while (world_step(&s->world, late_until))
        ;
}

/* What is proposed and asked then is done. */
static bool has_written(struct cores *s)
{
    return s->applied_at[s->proposals];
}

static bool has_read(struct cores *s)
{
    return s->reads_answered;
}

static void check_service(struct cores *s)
{
    struct sim_core *m = newest_leader(s);

    s->reads_answered = 0;
    core_propose(m, 1);
    core_read(m);
    come_to(s, has_written, "write after healing");
    come_to(s, has_read, "read after healing");
}

/* ---- a run ---- */

/* Tiny limits, and delays that reach beyond elections. */
static void draw(struct cores_run *run)
{
    struct cores *s = &run->cores;
    struct world *w = &s->world;
    bool calls = world_chance(w, 300);

    s->tick_ns = world_between(w, 20, 100) * NS_PER_MS;
    s->election_ticks = (unsigned)world_between(w, 4, 10);
    s->heartbeat_ticks = (unsigned)world_between(w, 1, 2);
    s->inflight = (unsigned)world_between(w, 1, 8);
    s->message_bytes = (size_t)world_between(w, 50, MESSAGE_BYTES_MAX);
    s->uncommitted_bytes = (size_t)world_between(w, 200, 5000);
    s->value_bytes = (size_t)world_between(w, 0, VALUE_BYTES_MAX);
    s->pull_log = world_chance(w, 800);
    s->catchup = (raft_index)world_between(w, 0, 12);
    s->store_ns = world_between(w, s->tick_ns / 100, world_chance(w, 300) ? 4 * s->tick_ns : s->tick_ns / 2);
    s->install_ns = world_between(w, s->tick_ns / 5, 30 * s->tick_ns);
    s->forgets = world_chance(w, 200) ? (unsigned)world_between(w, 20, 300) : 0;
    s->slow_stores = world_chance(w, 300) ? (unsigned)world_between(w, 10, 200) : 0;
    w->loss = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 250) : 0;
    w->repeat = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 300) : 0;
    w->late = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 100) : 0;
    w->late_ns = world_between(w, 10, 80) * s->tick_ns;
    w->delay_ns = world_between(w, s->tick_ns / 200, world_chance(w, 200) ? 2 * s->tick_ns : s->tick_ns / 2);
    w->delay_tail_ns = world_between(w, w->delay_ns, w->delay_ns + 15 * s->tick_ns);
    run->think_ns = s->tick_ns * world_between(w, 1, 6) / 2;
    run->fault_ns = world_between(w, calls ? 2 : 6, 30) * s->tick_ns;
    run->outage_ns = world_between(w, 5, 60) * s->tick_ns;
    run->separate_chance = world_chance(w, 300) ? (unsigned)world_between(w, 200, 700) : 0;
    run->aim = world_chance(w, 500) ? (unsigned)world_between(w, 100, 900) : 0;
    run->change_chance = (unsigned)world_between(w, 20, 300);
}

static unsigned draw_count(struct world *w)
{
    static const unsigned counts[] = {3, 3, 3, 3, 5, 5, 4, 2, 1};

    return counts[rng_below(&w->rng, sizeof counts / sizeof *counts)];
}

static void storm(struct cores_run *run)
{
    struct world *w = &run->cores.world;
    int64_t until = w->now_ns + world_between(w, 100, 250) * run->cores.tick_ns;

    run->epoch++;
    draw(run);
    for (unsigned i = 0; i < ASKERS; i++)
        world_at(w, w->now_ns + run->think_ns, next_question, run, i, run->epoch, NULL, 0);
    world_at(w, w->now_ns + run->fault_ns / 2, next_fault, run, 0, run->epoch, NULL, 0);
    while (world_step(w, until))
        ;
}

void cores_run_seed(uint64_t seed, bool trace, struct run_result *ret_result)
{
    struct cores_run *run = calloc(1, sizeof *run);
    struct cores *s = &run->cores;
    uint64_t answered;

    world_init(&s->world, ~seed);
    s->trace = trace;
    s->changes = world_chance(&s->world, 600);
    s->founders = draw_count(&s->world);
    s->count = s->founders + (s->changes ? (unsigned)world_between(&s->world, 1, WORLD_NODES_MAX - s->founders) : 0);
    cores_init(s);
    s->rules.batch_bytes_max = MESSAGE_BYTES_MAX + ENTRY_BYTES_MAX; /* of a member that drew its limits at another time */
    s->elected_fn = on_elected;
    s->elected_arg = run;
    draw(run);
    for (unsigned i = 0; i < s->count; i++)
        core_start(&s->members[i]);
    storm(run);
    heal(run);
    answered = s->reads_answered;
    come_to(s, is_at_rest, "rest after a storm");
    check_service(s);
    answered += s->reads_answered;
    core_rules_compare_logs(&s->rules);
    *ret_result = (struct run_result){.operations = s->proposals + s->contexts,
                                      .done = answered,
                                      .crashes = s->crashes,
                                      .elections = s->rules.elections,
                                      .snapshots = s->snapshots,
                                      .virtual_ns = s->world.now_ns,
                                      .trace = s->world.trace};
    for (uint64_t i = 1; i <= s->proposals; i++)
        ret_result->done += s->applied_at[i] != 0;
    cores_fini(s);
    world_fini(&s->world);
    free(run);
}
