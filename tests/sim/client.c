/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask, and what they are told. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "proto/rpc.pb-c.h"
#include "raftd/node/kv.h"
#include "tests/sim/ask.h"
#include "tests/sim/bounds.h"
#include "tests/sim/run.h"

#define WAIT_TICKS 100 /* of a client for an answer, at most */
#define LOOKS_BACK 10  /* revisions */

int64_t client_wait_ns(const struct run *run)
{
    return WAIT_TICKS * run->members.tick_ns;
}

static void next_op(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len);

static void finish(struct client *c, enum op_state state)
{
    struct run *run = c->run;
    const struct op *op = &run->history.ops[c->op];

    history_end(&run->history, c->op, state);
    sim_trace(&run->members, "  client %u on %u: op %zu kind %d key %u state %d rev %lld", c->number, c->member->number, c->op,
              (int)op->kind, op->key, (int)state, (long long)op->rev);
    c->waiting = false;
    c->request = NULL;
    if (run->weather != WEATHER_REST)
        world_at(&run->world, run->world.now_ns + world_between(&run->world, 0, run->think_ns), next_op, run, c->number,
                 run->epoch, NULL, 0);
}

static enum op_state state_of(const struct client *c, enum status st)
{
    SIM_CHECK((st != ST_CORRUPT && st != ST_ANSWER_UNREADABLE) || damage_is_open(c->member), "member %u has no damage, and answers: %s",
              c->member->number, status_text(st));

    switch (st) {
    case ST_OK:
        return OP_DONE;
    case ST_TIMEOUT:
    case ST_TIMEOUT_LEADER_FAIL:
    case ST_STOPPED:
    case ST_ANSWER_UNREADABLE:
        return OP_UNKNOWN;
    case ST_TOO_MANY_REQUESTS:
    case ST_NO_SPACE:
    case ST_CORRUPT:
        return OP_REFUSED;
    default:
        sim_fail("an answer: %s", status_text(st));
    }
}

/* The store as it is on that member now. Damage is found and refused, never answered. */
static enum op_state read_here(struct client *c, struct op *op)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *r;
    char from[] = "k", to[] = "l";
    struct kv_header h;
    struct buf out = {0};
    enum status st;

    request.key = (ProtobufCBinaryData){1, (uint8_t *)from};
    request.range_end = (ProtobufCBinaryData){1, (uint8_t *)to};
    request.revision = op->kind == OP_READ_PAST ? op->expected : 0;
    node_get_header(c->member->node, &h);
    st = kv_range(c->member->store, &h, &request, &out);
    if (st == ST_CORRUPT && damage_is_open(c->member)) {
        buf_fini(&out);
        return OP_REFUSED;
    }
    SIM_CHECK(st == ST_OK, "a range fails: %s", status_text(st));
    r = etcdserverpb__range_response__unpack(NULL, buf_len(&out), out.data + out.start);
    SIM_CHECK(r && r->header && (size_t)r->count == r->n_kvs, "a range's answer");
    op->rev = r->header->revision;
    ask_take_kvs(&c->run->history, op, r->n_kvs, r->kvs);
    if (op->kind == OP_READ_PAST)
        op->rev = op->expected;
    else
        memcpy(c->last_rev, op->seen_rev, sizeof c->last_rev);
    etcdserverpb__range_response__free_unpacked(r, NULL);
    buf_fini(&out);
    return OP_DONE;
}

/* All changes from some revision to the newest one there. */
static enum op_state watch_here(struct client *c, struct op *op)
{
    enum status st;

    op->rev = mvcc_revision(c->member->store);
    st = sim_changes(c->member->store, op->expected, op->rev, &op->changes);
    if (st == ST_CORRUPT && damage_is_open(c->member))
        return OP_REFUSED;
    SIM_CHECK(st == ST_OK, "a watch fails: %s", status_text(st));
    return OP_DONE;
}

/* What needs nobody else. */
static enum op_state look_here(struct client *c, struct op *op)
{
    mvcc_rev newest = mvcc_revision(c->member->store);

    if (op->kind == OP_READ_LOCAL)
        return read_here(c, op);
    op->expected = world_between(&c->run->world, newest > LOOKS_BACK ? newest - LOOKS_BACK : 1, newest);
    return op->kind == OP_WATCH ? watch_here(c, op) : read_here(c, op);
}

static void on_read(void *arg, enum status st, struct slice answer)
{
    struct client *c = arg;

    (void)answer;
    finish(c, st == ST_OK ? read_here(c, &c->run->history.ops[c->op]) : state_of(c, st));
}

static void on_written(void *arg, enum status st, struct slice answer)
{
    struct client *c = arg;
    struct op *op = &c->run->history.ops[c->op];

    if (st == ST_OK) {
        op->succeeded = true;
        ask_take_answer(&c->run->history, op, answer);
        rules_on_ack(c->member);
        c->last_rev[op->key] = op->deleted ? 0 : op->rev;
        if (op->kind == OP_NESTED)
            memcpy(c->last_rev, op->seen_rev, sizeof c->last_rev);
    }
    finish(c, state_of(c, st));
}

static enum op_kind draw_kind(struct world *w)
{
    static const enum op_kind kinds[] = {OP_PUT, OP_PUT, OP_PUT, OP_DELETE, OP_DELETE_RANGE, OP_COMPARE_PUT, OP_COMPARE_PUT,
                                         OP_PUT_PAIR, OP_NESTED, OP_NESTED, OP_READ, OP_READ, OP_READ, OP_READ, OP_READ_LOCAL,
                                         OP_READ_PAST, OP_WATCH};

    return kinds[rng_below(&w->rng, sizeof kinds / sizeof *kinds)];
}

void client_begin(struct client *c, struct sim_member *m, enum op_kind kind)
{
    struct world *w = &c->run->world;
    int64_t wait = client_wait_ns(c->run);
    int64_t deadline = member_now(m) + (c->run->weather == WEATHER_REST ? wait : world_between(w, wait / 100, wait));
    struct op *op;
    enum command_kind command;
    struct buf b;
    enum status st;

    c->op = history_begin(&c->run->history, kind);
    c->member = m;
    c->waiting = true;
    op = &c->run->history.ops[c->op];
    op->key = (unsigned)rng_below(&w->rng, SIM_KEYS);
    op->other = kind == OP_DELETE_RANGE ? op->key + 1 + (unsigned)rng_below(&w->rng, SIM_KEYS - op->key) : (op->key + 1) % SIM_KEYS;
    op->expected = c->last_rev[op->key];
    op->expected_other = c->last_rev[op->other % SIM_KEYS];
    if (kind == OP_READ_LOCAL || kind == OP_READ_PAST || kind == OP_WATCH) {
        finish(c, look_here(c, op));
        return;
    }
    if (kind == OP_READ) {
        st = node_read(m->node, deadline, on_read, c, &c->request);
    } else {
        b = ask_request(&c->run->history, op, &command);
        st = node_propose(m->node, command, buf_slice(&b), deadline, on_written, c, &c->request);
        buf_fini(&b);
        if (st == ST_OK)
            bounds_check_taken(m);
    }
    c->run->no_space += st == ST_NO_SPACE;
    if (st != ST_OK)
        finish(c, state_of(c, st));
}

/* Any, or one that takes itself for the leader: there may be two. */
static struct sim_member *draw_member(struct run *run)
{
    struct member_world *s = &run->members;
    unsigned from = (unsigned)rng_below(&run->world.rng, s->count);

    if (world_chance(&run->world, 300))
        for (unsigned i = 0; i < s->count; i++) {
            struct sim_member *m = &s->members[(from + i) % s->count];
            struct raft_status st = {0};
            if (m->up)
                node_get_raft_status(m->node, &st);
            if (st.role == RAFT_LEADER)
                return m;
        }
    return &s->members[from];
}

static void next_op(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    struct client *c = &run->clients[number];
    struct sim_member *m = draw_member(run);

    (void)bytes;
    (void)len;
    if (epoch != run->epoch || c->waiting)
        return;
    if (!m->up || m->paused_until_ns > run->world.now_ns) { /* nobody there: try again soon */
        world_at(&run->world, run->world.now_ns + run->think_ns / 3, next_op, run, number, epoch, NULL, 0);
        return;
    }
    client_begin(c, m, draw_kind(&run->world));
    member_run(m);
    if (c->request && world_chance(&run->world, 20)) {
        node_cancel(m->node, c->request);
        finish(c, OP_UNKNOWN);
    }
}

void clients_start(struct run *run)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        world_at(&run->world, 0, next_op, run, i, run->epoch, NULL, 0);
}
