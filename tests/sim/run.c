/* SPDX-License-Identifier: Apache-2.0 */
/* The weather, and the end of a run. */
#include "tests/sim/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "raftd/node/internal.h"
#include "tests/sim/bounds.h"

#define REST_TICKS 4000 /* a healed cluster is at rest within that: long snapshots in tiny chunks, each behind slow disks and rests */

#define HEALING_ROUNDS 6
#define REMOVAL_ROUNDS 50 /* the operator may ask those who are none */
#define WRITE_TRIES 3
#define HEALING_TICKS 20   /* what was found is acted on within that */

/* ---- rest ---- */

/* By the alarm: it ends by itself when there is space, unless its member is gone. A member knows before the others do. */
static bool is_short_of_space(const struct member_world *s, const struct members *members)
{
    for (unsigned i = 0; i < members->count; i++)
        if (members->list[i].no_space && !s->members[members->list[i].id - 1].is_gone)
            return true;
    return false;
}

static bool is_at_rest(struct run *run)
{
    const struct sim_member *newest = member_newest(&run->members);

    for (unsigned i = 0; i < CLIENTS; i++)
        if (run->clients[i].waiting)
            return false;
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        struct raft_status st;
        if (m->is_gone)
            continue;
        if (!m->up)
            return false;
        if (!member_is_in(m))
            continue;
        node_get_raft_status(m->node, &st);
        if (m->node->is_short || is_short_of_space(&run->members, node_members(m->node)))
            return false;
        if (!st.leader || st.applied != st.last || st.applied != mvcc_applied_index(newest->store))
            return false;
    }
    return true;
}

/* What keeps it from rest. */
static void tell_state(const struct run *run)
{
    for (unsigned i = 0; i < run->members.count; i++) {
        const struct sim_member *m = &run->members.members[i];
        struct raft_status st = {0};
        if (m->up)
            node_get_raft_status(m->node, &st);
        fprintf(stderr, "member %u: %s, leader %llu, term %llu, log %llu..%llu, commit %llu, applied %llu, storage jobs %u%s%s\n", i,
                m->up ? "up" : "down", (unsigned long long)st.leader, (unsigned long long)st.hard.term, (unsigned long long)st.first,
                (unsigned long long)st.last, (unsigned long long)st.hard.commit, (unsigned long long)st.applied, m->work_count,
                st.recovering ? ", recovering" : "", damage_is_open(m) ? ", damaged" : "");
    }
}

void run_pass(struct run *run, int64_t ticks)
{
    int64_t until = run->world.now_ns + ticks * run->members.tick_ns;

    while (world_step(&run->world, until))
        ;
}

void run_to_rest(struct run *run, const char *when)
{
    struct world *w = &run->world;
    int64_t until = w->now_ns + REST_TICKS * run->members.tick_ns;

    while (!is_at_rest(run) && w->now_ns < until)
        world_step(w, until);
    if (!is_at_rest(run))
        tell_state(run);
    SIM_CHECK(is_at_rest(run), "no rest within %d ticks after %s", REST_TICKS, when);
}

/* ---- equality ---- */

/* Any that is in the cluster, from `from` on. */
static struct sim_member *some_member(struct run *run, unsigned from)
{
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[(from + i) % run->members.count];
        if (member_is_in(m))
            return m;
    }
    sim_fail("a cluster without members");
}

/* Every replica knows the same of the members. */
static void check_members(struct run *run, struct sim_member *m, const char *when)
{
    struct sim_member *first = some_member(run, 0);
    struct buf one = {0}, other = {0};

    members_encode(node_members(first->node), &one);
    members_encode(node_members(m->node), &other);
    SIM_CHECK(slice_equal(buf_slice(&one), buf_slice(&other)), "equal members: %u, %s, knows others than %u", m->number, when,
              first->number);
    buf_fini(&one);
    buf_fini(&other);
}

static uint32_t hash_of(const struct sim_member *m, const char *when)
{
    uint32_t hash = 0;
    enum status st = mvcc_hash(m->store, 0, &hash);

    SIM_CHECK(st == ST_OK, "member %u, %s: %s", m->number, when, status_text(st));
    return hash;
}

/* Every replica holds the same, record for record; and that is what the clients saw. */
static void check_equal(struct run *run, uint32_t hash, const char *when)
{
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        if (!member_is_in(m))
            continue;
        SIM_CHECK(hash_of(m, when) == hash, "equal stores: member %u, %s: another hash", i, when);
        SIM_CHECK(!members_is_corrupt(node_members(m->node)), "equal stores: member %u, %s: the alarm CORRUPT is on", i, when);
        check_members(run, m, when);
    }
    history_check(&run->history, some_member(run, 0)->store);
}

static bool requests_wait(const struct run *run)
{
    for (unsigned i = 0; i < run->members.count; i++)
        if (run->members.members[i].up && run->members.members[i].node->waiting)
            return true;
    return false;
}

/*
 * What was asked before and has no answer yet may be all that a member waits for: until it is over. A member asks as well (alarms), and by
 * its own clock, which can be slow.
 */
static void end_requests(struct run *run)
{
    struct world *w = &run->world;
    int64_t until = w->now_ns + 2 * node_request_timeout_ns(some_member(run, 0)->node);

    while (requests_wait(run) && world_step(w, until))
        ;
    SIM_CHECK(!requests_wait(run), "a request waits for longer than any may");
    run_to_rest(run, "requests ended");
}

/* A healed cluster serves on every member. */
static void check_service(struct run *run)
{
    for (unsigned i = 0; i < run->members.count; i++) {
        struct client *c = &run->clients[i % CLIENTS];
        if (!member_is_in(&run->members.members[i]))
            continue;
        SIM_CHECK(!run->members.members[i].node->awaits_record, "member %u has applied everything, and waits for a record", i);
        /* Not once only: of two writes that overtake each other on their way to the leader it takes the later one. */
        for (unsigned k = 0; k < WRITE_TRIES && (!k || run->history.ops[c->op].state == OP_UNKNOWN); k++) {
            end_requests(run);
            client_begin(c, &run->members.members[i], OP_PUT);
            member_run(c->member);
            run_to_rest(run, "a write");
        }
        if (run->history.ops[c->op].state != OP_DONE)
            tell_state(run);
        SIM_CHECK(run->history.ops[c->op].state == OP_DONE, "a healed cluster does not write on member %u", i);
        end_requests(run);
        client_begin(c, &run->members.members[i], OP_READ);
        member_run(c->member);
        run_to_rest(run, "a read");
        SIM_CHECK(run->history.ops[c->op].state == OP_DONE, "a healed cluster does not read on member %u", i);
    }
}

/* ---- the weather ---- */

static void set_weather(struct run *run, enum weather weather)
{
    run->weather = weather;
    run->epoch++;
}

static void rest(struct run *run, const char *when)
{
    bool damaged = true;

    set_weather(run, WEATHER_REST);
    faults_heal(run);
    run_pass(run, run->world.late_ns / run->members.tick_ns); /* what comes late from the storm is none of what is looked at now */
    run->world.late_ns = 0;
    run_to_rest(run, when);
    for (unsigned i = 0; faults_remove_gone(run); i++) {
        SIM_CHECK(i < REMOVAL_ROUNDS, "who ended for good is not removed after %s", when);
        run_pass(run, HEALING_TICKS);
        run_to_rest(run, "a removal");
    }
    for (unsigned i = 0; damaged && i < HEALING_ROUNDS; i++) {
        damaged = faults_look_for_damage(run);
        if (damaged)
            run_pass(run, HEALING_TICKS);
        run_to_rest(run, "damage");
    }
    if (damaged)
        tell_state(run);
    SIM_CHECK(!damaged, "what was damaged does not heal after %s", when);
}

static void live(struct run *run, int64_t ns)
{
    int64_t until = run->world.now_ns + ns;

    clients_start(run);
    faults_start(run);
    while (world_step(&run->world, until))
        ;
}

static void storm(struct run *run)
{
    struct world *w = &run->world;
    int64_t tick = run->members.tick_ns;

    set_weather(run, WEATHER_STORM);
    w->loss = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 250) : 0;
    w->repeat = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 300) : 0;
    w->delay_ns = world_between(w, tick / 200, tick / 2);
    if (world_chance(w, 100)) /* an answer takes as long as an election would */
        w->delay_ns = world_between(w, tick / 2, 2 * tick);
    w->delay_tail_ns = world_between(w, w->delay_ns, 15 * tick);
    w->late = world_chance(w, 400) ? (unsigned)rng_below(&w->rng, 40) : 0;
    w->late_ns = world_between(w, 5, 80) * tick;
    run->members.slow_disk = world_chance(w, 300) ? (unsigned)world_between(w, 30, 300) : 0;
    run->members.late_news = world_chance(w, 300) ? (unsigned)world_between(w, 30, 500) : 0;
    run->aim = world_chance(w, 600) ? (unsigned)world_between(w, 50, 900) : 0;
    run->think_ns = tick * 3 / 2;
    run->fault_ns = (world_chance(w, 200) ? 12 : 100 / world_between(w, 1, 6)) * tick; /* some: again and again during elections */
    run->outage_ns = (world_chance(w, 300) ? 10 : 50) * tick;
    run->members.power_off_ns = run->outage_ns;
    live(run, world_between(w, 150, 300) * tick);
}

static void calm(struct run *run)
{
    struct world *w = &run->world;
    int64_t tick = run->members.tick_ns;

    bool is_long = world_chance(w, 100);

    set_weather(run, WEATHER_CALM);
    w->loss = w->repeat = world_chance(w, 300) ? 10 : 0;
    w->delay_ns = world_between(w, tick / 200, tick / 20);
    w->delay_tail_ns = world_between(w, w->delay_ns, tick);
    run->think_ns = (is_long ? world_between(w, 50, 500) : world_between(w, 5, 100)) * tick;
    run->fault_ns = (is_long ? world_between(w, 200, 2000) : world_between(w, 100, 400)) * tick;
    run->outage_ns = run->members.power_off_ns = world_between(w, 50, 200) * tick;
    run->aim = world_chance(w, 600) ? (unsigned)world_between(w, 50, 900) : 0;
    live(run, (is_long ? world_between(w, 5000, 12000) : world_between(w, 100, 600)) * tick);
}

static void finish_run(struct run *run)
{
    uint32_t hash;

    rest(run, "healing");
    core_rules_compare_logs(&run->members.rules.core);
    check_service(run);
    hash = hash_of(some_member(run, (unsigned)rng_below(&run->world.rng, run->members.count)), "after the last writes");
    for (unsigned i = 0; i < run->members.count; i++)
        if (run->members.members[i].up)
            member_crash(&run->members.members[i], MEMBER_POWER_CUT);
    rest(run, "all of them were restarted");
    check_equal(run, hash, "after all of them were restarted");
    differ(run);
}

/* ---- a run ---- */

/* What clients saw of what was dropped is forgotten with it. */
static void on_alone(void *arg, mvcc_rev rev)
{
    struct run *run = arg;

    history_drop_after(&run->history, rev);
    for (unsigned i = 0; i < CLIENTS; i++)
        for (unsigned k = 0; k < SIM_KEYS; k++)
            if (run->clients[i].last_rev[k] > rev)
                run->clients[i].last_rev[k] = 0;
}

static unsigned draw_count(struct world *w)
{
    static const unsigned counts[] = {3, 3, 3, 3, 3, 3, 5, 5, 4, 2, 1};

    return counts[rng_below(&w->rng, sizeof counts / sizeof *counts)];
}

/* Tiny limits, so that every boundary is crossed. */
static void draw_limits(struct run *run)
{
    struct world *w = &run->world;
    struct member_world *s = &run->members;

    s->tick_ns = world_between(w, 20, 100) * NS_PER_MS;
    bool tiny = world_chance(w, 300); /* segments */

    /* Dear, since it reads all that is stored; and without a result until one is made to differ in the end. */
    s->corrupt_check_ns = world_chance(w, 50) ? 20 * s->tick_ns : 0;
    s->scrub_ns = world_chance(w, 30) ? 50 * s->tick_ns : 0;
    s->memtable_bytes = (uint64_t)(tiny ? world_between(w, 500, 4000) : world_between(w, 4000, 40000));
    s->message_bytes_max = (size_t)world_between(w, 50, 4000);
    s->inflight_messages_max = (unsigned)world_between(w, 1, 8);
    s->seal_entries = (uint64_t)(tiny ? world_between(w, 5, 100) : world_between(w, 50, 500));
    s->segment_bytes = (uint64_t)(world_chance(w, 300) ? world_between(w, 1024, 4096) : SIM_SEGMENT_BYTES);
    s->space_low_bytes = (uint64_t)(world_chance(w, 500) ? world_between(w, 0, 4 * (int64_t)s->segment_bytes) : 0);
    bounds_draw(w, &s->bounds);
    run->history.lengths = world_chance(w, 300) ? (unsigned)world_between(w, 1, 4) : SIM_VALUE_BYTES_MAX - 8;
    for (unsigned i = 0; i < s->count; i++) {
        s->members[i].snapshot_count = (uint64_t)world_between(w, 1, world_chance(w, 200) ? 200 : 40);
        s->members[i].snapshot_catchup = (uint64_t)world_between(w, 0, 10);
    }
    s->window_bytes_max = (size_t)world_between(w, 2000, 50000);
    s->snapshot_chunk_bytes = (size_t)world_between(w, 500, 5000);
}

static struct run_result result_of(const struct run *run)
{
    const struct member_world *s = &run->members;
    struct run_result r = {.operations = run->history.count,
                           .crashes = s->crashes,
                           .seals = s->seals,
                           .snapshots = s->snapshots,
                           .elections = s->rules.core.elections,
                           .damages = s->damages,
                           .healed_logs = s->healed_logs,
                           .healed_stores = s->healed_stores,
                           .put_off = s->put_off,
                           .refused_starts = s->refused_starts,
                           .full_disks = s->full_disks,
                           .full_seals = s->full_seals,
                           .log_waits = s->log_waits,
                           .store_errors = s->store_errors,
                           .wipes = s->wipes,
                           .dismissed = s->dismissed,
                           .alones = s->alones,
                           .no_space = run->no_space,
                           .differed = run->differed,
                           .virtual_ns = run->world.now_ns,
                           .trace = run->world.trace};

    for (unsigned i = s->founders; i < s->count; i++)
        r.joined += member_is_in(&s->members[i]);
    r.grown = run->alone && r.joined;
    for (size_t i = 0; i < run->history.count; i++) {
        r.done += run->history.ops[i].state == OP_DONE;
        r.unknown += run->history.ops[i].state == OP_UNKNOWN;
    }
    return r;
}

void run_seed(uint64_t seed, const char *dir, bool trace, struct run_result *ret_result)
{
    struct run *run = calloc(1, sizeof *run);
    unsigned founders, others;

    world_init(&run->world, seed);
    founders = draw_count(&run->world);
    others = world_chance(&run->world, 400) ? (unsigned)world_between(&run->world, 1, 3) : 0;
    member_world_init(&run->members, &run->world, founders, others, dir);
    run->members.trace = trace;
    run->members.ran_fn = aim_on_run;
    run->members.ran_arg = run;
    run->members.alone_fn = on_alone;
    run->members.alone_arg = run;
    draw_limits(run);
    for (unsigned i = 0; i < run->members.count; i++)
        member_start(&run->members.members[i]);
    for (unsigned i = 0; i < CLIENTS; i++)
        run->clients[i] = (struct client){.run = run, .number = i};
    storm(run);
    rest(run, "a storm");
    calm(run);
    if (world_chance(&run->world, 300))
        storm(run);
    finish_run(run);
    *ret_result = result_of(run);
    member_world_fini(&run->members);
    world_fini(&run->world);
    history_fini(&run->history);
    free(run);
}
