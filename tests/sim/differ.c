/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One member comes to hold something else than the others, as by a bug or a fault of its memory: checksums do not find that, comparing does
 * (raftd/node/compare.c). It is named, and nobody else; it does not lead once another could; nothing is written any more. At the end of a run, since
 * what is equal everywhere else is not so here.
 */
#include "common/clock.h"
#include "proto/rpc.pb-c.h"
#include "raftd/node/internal.h"
#include "tests/sim/ask.h"
#include "tests/sim/run.h"

#define FINDING_TICKS 2000 /* periods pass without a comparison where one of before was not answered by all */
#define SEALING_TICKS 50
#define ELECTIONS 4
#define HANDING_OVER_TICKS 100 /* to an heir, from one that led when it was named or when nobody else did */

/* A bit of a value in memory turns. False: it is not in memory any more. */
static bool turn_a_bit(struct mvcc *store, unsigned key)
{
    char name[8];
    struct slice k = slice_of(name, sim_key(key, name));
    struct mvcc_kv kv;
    uint8_t *last, was;

    if (mvcc_get(store, k, 0, true, &kv) != ST_OK)
        return false;
    last = (uint8_t *)(uintptr_t)kv.value.data + kv.value.len - 1;
    was = *last ^= 0x10;
    SIM_CHECK(mvcc_get(store, k, 0, true, &kv) == ST_OK, "what was just there is not");
    return kv.value.data[kv.value.len - 1] == was;
}

/* Of all members that are there: how many the alarm names, as each knows it; and all know the same. */
static unsigned count_named(struct run *run, const struct sim_member *differs)
{
    unsigned least = MEMBERS_MAX;

    for (unsigned i = 0; i < run->members.count; i++) {
        const struct sim_member *m = &run->members.members[i];
        const struct members *known = m->up && member_is_in(m) ? node_members(m->node) : NULL;
        unsigned named = 0;
        for (unsigned j = 0; known && j < known->count; j++) {
            named += known->list[j].corrupt;
            SIM_CHECK(!known->list[j].corrupt || known->list[j].id == differs->number + 1,
                      "member %llu is named, and %u differs", (unsigned long long)known->list[j].id - 1, differs->number);
        }
        if (known && named < least)
            least = named;
    }
    return least;
}

/* A segment that was just being written may take the place of the record in memory. */
static bool still_differs(const struct sim_member *m, const struct sim_member *other, unsigned key)
{
    char name[8];
    struct slice k = slice_of(name, sim_key(key, name));
    struct mvcc_kv kv;
    uint8_t last;

    if (mvcc_get(m->store, k, 0, true, &kv) != ST_OK)
        return false;
    last = kv.value.data[kv.value.len - 1];
    return mvcc_get(other->store, k, 0, true, &kv) == ST_OK && kv.value.data[kv.value.len - 1] != last;
}

static void wait_for_alarm(struct run *run, const struct sim_member *differs)
{
    for (unsigned i = 0; i < FINDING_TICKS && !count_named(run, differs); i++)
        run_pass(run, 1);
    SIM_CHECK(count_named(run, differs) == 1, "member %u differs, and is not named within %d ticks", differs->number, FINDING_TICKS);
}

static const struct sim_member *other_than(struct run *run, const struct sim_member *m)
{
    unsigned i = 0;

    while (&run->members.members[i] == m || !member_is_in(&run->members.members[i]))
        i++;
    return &run->members.members[i];
}

static struct sim_member *leader_of(struct run *run)
{
    struct raft_status st;

    node_get_raft_status(member_newest(&run->members)->node, &st);
    return st.leader ? &run->members.members[st.leader - 1] : NULL;
}

static void on_refused(void *arg, enum status st, struct slice answer)
{
    enum status *out = arg;

    (void)answer;
    *out = st;
}

static void check_refusals(struct run *run, const struct sim_member *differs)
{
    struct op op = {.kind = OP_PUT, .id = 1};
    enum command_kind kind;
    struct buf b = ask_request(&run->history, &op, &kind);

    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        enum status told = ST_OK, st;
        if (!member_is_in(m))
            continue;
        SIM_CHECK(node_refuses_reads(m->node) == (m == differs), "member %u %s reads", i, m == differs ? "differs and does not refuse" : "refuses");
        st = node_propose(m->node, kind, buf_slice(&b), member_now(m) + client_wait_ns(run), on_refused, &told, NULL);
        member_run(m);
        run_to_rest(run, "a write that is refused");
        SIM_CHECK(st == ST_CORRUPT_CLUSTER || told == ST_CORRUPT_CLUSTER, "member %u writes, though one differs: %s", i,
                  status_text(st == ST_OK ? told : st));
    }
    buf_fini(&b);
}

/* Whoever leads is taken away for a while, again and again. */
static void elect(struct run *run, const struct sim_member *differs)
{
    for (unsigned i = 0; i < ELECTIONS; i++) {
        struct sim_member *leader = leader_of(run);
        SIM_CHECK(leader != differs, "member %u differs, is named, and leads", differs->number);
        if (leader)
            member_crash(leader, MEMBER_KILLED);
        run_pass(run, HANDING_OVER_TICKS / 2);
        if (leader)
            member_start(leader);
        run_to_rest(run, "an election without one that differs");
        run_pass(run, HANDING_OVER_TICKS);
    }
}

void differ(struct run *run)
{
    const struct members *known = node_members(member_newest(&run->members)->node);
    unsigned number = (unsigned)known->conf.voters[rng_below(&run->world.rng, known->conf.voter_count)] - 1;
    struct sim_member *m = &run->members.members[number];
    const struct op *op;

    if (!run->members.corrupt_check_ns || known->conf.voter_count < 3)
        return;
    client_begin(&run->clients[0], m, OP_PUT);
    member_run(m);
    run_to_rest(run, "a write");
    op = &run->history.ops[run->clients[0].op];
    if (op->state != OP_DONE || !turn_a_bit(m->store, op->key))
        return;
    sim_trace(&run->members, "%u differs in key %u", number, op->key);
    run_pass(run, SEALING_TICKS);
    if (!count_named(run, m) && !still_differs(m, other_than(run, m), op->key))
        return;
    wait_for_alarm(run, m);
    run_pass(run, HANDING_OVER_TICKS);
    check_refusals(run, m);
    elect(run, m);
    run->differed = true;
}
