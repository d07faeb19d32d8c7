/* SPDX-License-Identifier: Apache-2.0 */
/* Clients, faults, and the end of a run. */
#include "tests/sim/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "proto/rpc.pb-c.h"
#include "proto/state.pb-c.h"
#include "raftd/node/kv.h"
#include "tests/sim/history.h"
#include "tests/sim/member.h"

#define CLIENTS 6
#define RUN_NS (6 * NS_PER_S)
#define REST_NS (30 * NS_PER_S) /* a healed cluster is at rest within that */
#define WAIT_NS (2 * NS_PER_S)  /* of a client for an answer, at most */

struct client {
    struct run *run;
    unsigned number;
    bool waiting;
    struct sim_member *member;
    struct node_request *request;
    size_t op;
    mvcc_rev last_rev[SIM_KEYS]; /* as it last saw them */
};

struct run {
    struct world world;
    struct member_world members;
    struct history history;
    struct client clients[CLIENTS];
    bool ending;   /* nothing new is begun */
    unsigned wild; /* faults a second, about */
};

/* ---- what clients ask ---- */

static void next_op(void *arg, unsigned number, uint64_t unused, const uint8_t *bytes, size_t len);

static void finish(struct client *c, enum op_state state)
{
    struct run *run = c->run;
    const struct op *op = &run->history.ops[c->op];

    history_end(&run->history, c->op, state);
    sim_trace(&run->members, "  client %u on %u: op %zu kind %d key %u state %d rev %lld", c->number, c->member->number, c->op,
              (int)op->kind, op->key, (int)state, (long long)op->rev);
    c->waiting = false;
    c->request = NULL;
    if (!run->ending)
        world_at(&run->world, run->world.now_ns + world_between(&run->world, 0, 30 * NS_PER_MS), next_op, run, c->number, 0,
                 NULL, 0);
}

static enum op_state state_of(enum status st)
{
    switch (st) {
    case ST_OK:
        return OP_DONE;
    case ST_TIMEOUT:
    case ST_TIMEOUT_LEADER_FAIL:
    case ST_STOPPED:
        return OP_UNKNOWN;
    case ST_TOO_MANY_REQUESTS:
        return OP_REFUSED;
    default:
        sim_fail("an answer: %s", status_text(st));
    }
}

static void take_kvs(struct op *op, const Etcdserverpb__RangeResponse *r)
{
    op->rev = r->header->revision;
    for (size_t i = 0; i < r->n_kvs; i++) {
        const Mvccpb__KeyValue *kv = r->kvs[i];
        unsigned key = (unsigned)(kv->key.data[1] - '0');
        SIM_CHECK(kv->key.len == 2 && key < SIM_KEYS, "a key that nobody wrote");
        op->seen[key] = sim_value_id(slice_of(kv->value.data, kv->value.len));
        op->seen_rev[key] = kv->mod_revision;
    }
}

/* The store as it is on that member now. */
static void read_here(struct client *c, struct op *op)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *r;
    char from[] = "k", to[] = "l";
    struct kv_header h;
    struct buf out = {0};

    request.key = (ProtobufCBinaryData){1, (uint8_t *)from};
    request.range_end = (ProtobufCBinaryData){1, (uint8_t *)to};
    node_get_header(c->member->node, &h);
    SIM_CHECK(kv_range(c->member->store, &h, &request, &out) == ST_OK, "a range fails");
    r = etcdserverpb__range_response__unpack(NULL, buf_len(&out), out.data + out.start);
    SIM_CHECK(r && r->header && (size_t)r->count == r->n_kvs, "a range's answer");
    take_kvs(op, r);
    memcpy(c->last_rev, op->seen_rev, sizeof c->last_rev);
    etcdserverpb__range_response__free_unpacked(r, NULL);
    buf_fini(&out);
}

static void on_read(void *arg, enum status st, struct slice answer)
{
    struct client *c = arg;

    (void)answer;
    if (st == ST_OK)
        read_here(c, &c->run->history.ops[c->op]);
    finish(c, state_of(st));
}

static void take_answer(struct op *op, struct slice answer)
{
    Etcdserverpb__PutResponse *put = NULL;
    Etcdserverpb__DeleteRangeResponse *deleted = NULL;
    Etcdserverpb__TxnResponse *txn = NULL;
    const Etcdserverpb__ResponseHeader *h = NULL;

    op->succeeded = true;
    switch (op->kind) {
    case OP_PUT:
        put = etcdserverpb__put_response__unpack(NULL, answer.len, answer.data);
        h = put ? put->header : NULL;
        break;
    case OP_DELETE:
        deleted = etcdserverpb__delete_range_response__unpack(NULL, answer.len, answer.data);
        h = deleted ? deleted->header : NULL;
        op->deleted = deleted ? deleted->deleted : 0;
        break;
    default:
        txn = etcdserverpb__txn_response__unpack(NULL, answer.len, answer.data);
        h = txn ? txn->header : NULL;
        op->succeeded = txn && txn->succeeded;
        break;
    }
    SIM_CHECK(h, "an answer that cannot be read");
    op->rev = h->revision;
    if (put)
        etcdserverpb__put_response__free_unpacked(put, NULL);
    if (deleted)
        etcdserverpb__delete_range_response__free_unpacked(deleted, NULL);
    if (txn)
        etcdserverpb__txn_response__free_unpacked(txn, NULL);
}

static void on_written(void *arg, enum status st, struct slice answer)
{
    struct client *c = arg;
    struct op *op = &c->run->history.ops[c->op];

    if (st == ST_OK) {
        take_answer(op, answer);
        c->last_rev[op->key] = op->deleted ? 0 : op->rev;
    }
    finish(c, state_of(st));
}

static struct buf packed(const ProtobufCMessage *m)
{
    struct buf b = {0};
    size_t len = protobuf_c_message_get_packed_size(m);

    buf_commit(&b, protobuf_c_message_pack(m, buf_reserve(&b, len)));
    return b;
}

/* The bytes of the request. */
static struct buf request_of(const struct op *op, enum command_kind *ret_kind)
{
    char key[2][8];
    uint8_t value[SIM_VALUE_BYTES_MAX];
    struct slice v = sim_value(op->id, value);
    Etcdserverpb__PutRequest put[2] = {ETCDSERVERPB__PUT_REQUEST__INIT, ETCDSERVERPB__PUT_REQUEST__INIT};
    Etcdserverpb__RequestOp ops[2] = {ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT}, *list[2] = {&ops[0], &ops[1]};
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares = &compare;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    for (int i = 0; i < 2; i++) {
        put[i].key.len = sim_key(i ? op->other : op->key, key[i]);
        put[i].key.data = (uint8_t *)key[i];
        put[i].value = (ProtobufCBinaryData){v.len, value};
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &put[i];
    }
    del.key = put[0].key;
    txn.success = list;
    txn.n_success = op->kind == OP_PUT_PAIR ? 2 : 1;
    if (op->kind == OP_COMPARE_PUT) {
        compare.key = put[0].key;
        compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare.mod_revision = op->expected;
        txn.compare = &compares;
        txn.n_compare = 1;
    }
    *ret_kind = op->kind == OP_PUT ? COMMAND_PUT : op->kind == OP_DELETE ? COMMAND_DELETE_RANGE : COMMAND_TXN;
    return packed(op->kind == OP_PUT ? &put[0].base : op->kind == OP_DELETE ? &del.base : &txn.base);
}

static enum op_kind draw_kind(struct world *w)
{
    static const enum op_kind kinds[] = {OP_PUT, OP_PUT, OP_PUT, OP_DELETE, OP_COMPARE_PUT, OP_COMPARE_PUT,
                                         OP_PUT_PAIR, OP_READ, OP_READ, OP_READ, OP_READ, OP_READ_LOCAL};

    return kinds[rng_below(&w->rng, sizeof kinds / sizeof *kinds)];
}

static void begin_op(struct client *c, struct sim_member *m, enum op_kind kind)
{
    struct world *w = &c->run->world;
    int64_t deadline = member_now(m) + (c->run->ending ? WAIT_NS : world_between(w, 20 * NS_PER_MS, WAIT_NS));
    struct op *op;
    enum command_kind command;
    struct buf b;
    enum status st;

    c->op = history_begin(&c->run->history, kind);
    c->member = m;
    c->waiting = true;
    op = &c->run->history.ops[c->op];
    op->key = (unsigned)rng_below(&w->rng, SIM_KEYS);
    op->other = (op->key + 1) % SIM_KEYS;
    op->expected = c->last_rev[op->key];
    if (kind == OP_READ_LOCAL) {
        read_here(c, op);
        finish(c, OP_DONE);
        return;
    }
    if (kind == OP_READ) {
        st = node_read(m->node, deadline, on_read, c, &c->request);
    } else {
        b = request_of(op, &command);
        st = node_propose(m->node, command, buf_slice(&b), deadline, on_written, c, &c->request);
        buf_fini(&b);
    }
    if (st != ST_OK)
        finish(c, state_of(st));
}

static void next_op(void *arg, unsigned number, uint64_t unused, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    struct client *c = &run->clients[number];
    struct sim_member *m = &run->members.members[rng_below(&run->world.rng, run->members.count)];

    (void)unused;
    (void)bytes;
    (void)len;
    if (run->ending || c->waiting)
        return;
    if (!m->up || m->paused_until_ns > run->world.now_ns) { /* nobody there: try again soon */
        world_at(&run->world, run->world.now_ns + 10 * NS_PER_MS, next_op, run, number, 0, NULL, 0);
        return;
    }
    begin_op(c, m, draw_kind(&run->world));
    member_run(m);
    if (c->request && world_chance(&run->world, 20)) {
        node_cancel(m->node, c->request);
        finish(c, OP_UNKNOWN);
    }
}

/* ---- what goes wrong ---- */

static void on_restart(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    struct sim_member *m = &run->members.members[number];

    (void)bytes;
    (void)len;
    if (!m->up && m->life == life)
        member_start(m);
}

static void crash(struct run *run, struct sim_member *m)
{
    if (!m->up)
        return;
    member_crash(m, (enum member_end)rng_below(&run->world.rng, 3));
    world_at(&run->world, run->world.now_ns + world_between(&run->world, 0, NS_PER_S), on_restart, run, m->number, m->life,
             NULL, 0);
}

/* Any member, or the one that it hurts most. */
static struct sim_member *draw_victim(struct run *run)
{
    struct world *w = &run->world;
    unsigned at = (unsigned)rng_below(&w->rng, run->members.count);

    if (world_chance(w, 500))
        for (unsigned i = 0; i < run->members.count; i++) {
            struct sim_member *m = &run->members.members[i];
            struct raft_status st;
            if (!m->up)
                continue;
            node_get_raft_status(m->node, &st);
            if (st.role == RAFT_LEADER)
                at = i;
        }
    return &run->members.members[at];
}

/* A member tells its name and URLs, as it does when it starts; whether it is heard is nobody's operation. */
static void on_published(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    (void)st;
    (void)answer;
}

static void publish(struct sim_member *m)
{
    Raftfs__State__Member told;
    char name[20], *urls[1] = {name};
    struct buf b;

    if (!m->up)
        return;
    snprintf(name, sizeof name, "n%u-%llu", m->number, (unsigned long long)m->life);
    raftfs__state__member__init(&told);
    told.id = m->number + 1;
    told.name = name;
    told.client_urls = urls;
    told.n_client_urls = 1;
    b = packed(&told.base);
    if (node_propose(m->node, COMMAND_MEMBER_PUBLISH, buf_slice(&b), member_now(m) + WAIT_NS, on_published, NULL, NULL) == ST_OK)
        member_run(m);
    buf_fini(&b);
}

static void next_fault(void *arg, unsigned number, uint64_t unused, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    struct world *w = &run->world;
    struct sim_member *m = draw_victim(run);

    if (run->ending)
        return;
    switch (rng_below(&w->rng, 10)) {
    case 0:
    case 1:
    case 2:
        crash(run, m);
        break;
    case 3:
        for (unsigned i = 0; i < run->members.count; i++)
            crash(run, &run->members.members[i]);
        break;
    case 4:
    case 5:
        world_separate(w, m->number, run->members.count);
        break;
    case 7:
        if (m->paused_until_ns <= w->now_ns)
            publish(m);
        break;
    case 6:
        m->paused_until_ns = w->now_ns + world_between(w, 0, NS_PER_S);
        break;
    default:
        world_heal(w);
        break;
    }
    world_at(w, w->now_ns + world_between(w, 0, 2 * NS_PER_S / run->wild), next_fault, run, number, unused, bytes, len);
}

/* ---- the end ---- */

static bool is_at_rest(struct run *run)
{
    uint64_t applied = 0;

    for (unsigned i = 0; i < CLIENTS; i++)
        if (run->clients[i].waiting)
            return false;
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        struct raft_status st;
        if (!m->up)
            return false;
        node_get_raft_status(m->node, &st);
        if (i == 0)
            applied = st.applied;
        if (!st.leader || st.applied != st.last || st.applied != applied)
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
        fprintf(stderr, "member %u: %s, leader %llu, term %llu, log %llu..%llu, commit %llu, applied %llu, storage jobs %u\n", i,
                m->up ? "up" : "down", (unsigned long long)st.leader, (unsigned long long)st.hard.term, (unsigned long long)st.first,
                (unsigned long long)st.last, (unsigned long long)st.hard.commit, (unsigned long long)st.applied, m->work_count);
    }
}

static void come_to_rest(struct run *run, const char *when)
{
    struct world *w = &run->world;
    int64_t until = w->now_ns + REST_NS;

    while (!is_at_rest(run) && w->now_ns < until)
        world_step(w, until);
    if (!is_at_rest(run))
        tell_state(run);
    SIM_CHECK(is_at_rest(run), "no rest within %d s after %s", (int)(REST_NS / NS_PER_S), when);
}

/* Every replica knows the same of the members. */
static void check_members(struct run *run, struct sim_member *m, const char *when)
{
    struct buf one = {0}, other = {0};

    members_encode(node_members(run->members.members[0].node), &one);
    members_encode(node_members(m->node), &other);
    SIM_CHECK(slice_equal(buf_slice(&one), buf_slice(&other)), "member %u, %s: knows other names than member 0", m->number, when);
    buf_fini(&one);
    buf_fini(&other);
}

/* Every replica holds the same, record for record. */
static uint32_t check_equal(struct run *run, const char *when)
{
    uint32_t first = 0;

    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        uint32_t hash = 0;
        enum status st = mvcc_hash(m->store, 0, &hash);
        SIM_CHECK(st == ST_OK, "member %u, %s: %s", i, when, status_text(st));
        if (i == 0)
            first = hash;
        SIM_CHECK(hash == first, "member %u, %s: another store than member 0", i, when);
        history_check(&run->history, m->store);
        check_members(run, m, when);
    }
    return first;
}

static void heal(struct run *run)
{
    world_heal(&run->world);
    run->world.loss = run->world.repeat = 0;
    run->members.slow_disk = 0;
    run->ending = true;
    for (unsigned i = 0; i < run->members.count; i++) {
        run->members.members[i].paused_until_ns = 0;
        if (!run->members.members[i].up)
            member_start(&run->members.members[i]);
    }
}

/* A healed cluster serves on every member. */
static void check_service(struct run *run)
{
    for (unsigned i = 0; i < run->members.count; i++) {
        struct client *c = &run->clients[i % CLIENTS];
        begin_op(c, &run->members.members[i], OP_PUT);
        member_run(c->member);
        come_to_rest(run, "a write");
        SIM_CHECK(run->history.ops[c->op].state == OP_DONE, "a healed cluster does not write on member %u", i);
        begin_op(c, &run->members.members[i], OP_READ);
        member_run(c->member);
        come_to_rest(run, "a read");
        SIM_CHECK(run->history.ops[c->op].state == OP_DONE, "a healed cluster does not read on member %u", i);
    }
}

static void finish_run(struct run *run)
{
    uint32_t hash;

    heal(run);
    come_to_rest(run, "healing");
    check_equal(run, "at rest");
    check_service(run);
    hash = check_equal(run, "after the last writes");
    for (unsigned i = 0; i < run->members.count; i++)
        member_crash(&run->members.members[i], MEMBER_POWER_CUT);
    heal(run);
    come_to_rest(run, "all of them were restarted");
    SIM_CHECK(check_equal(run, "after all of them were restarted") == hash, "restarting changed the store");
}

static void draw_world(struct run *run)
{
    struct world *w = &run->world;

    w->loss = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 250) : 0;
    w->repeat = world_chance(w, 500) ? (unsigned)rng_below(&w->rng, 300) : 0;
    w->delay_ns = world_between(w, NS_PER_MS / 10, 10 * NS_PER_MS);
    w->delay_tail_ns = world_between(w, w->delay_ns, 300 * NS_PER_MS);
    run->members.memtable_bytes = (uint64_t)world_between(w, 500, 20000);
    run->members.message_bytes_max = (size_t)world_between(w, 50, 4000); /* tiny, so that every boundary is crossed */
    run->members.inflight_messages_max = (unsigned)world_between(w, 1, 8);
    run->members.seal_entries = (uint64_t)world_between(w, 5, 500);
    run->members.snapshot_count = (uint64_t)world_between(w, 1, 40);
    run->members.snapshot_catchup = (uint64_t)world_between(w, 0, 10);
    run->members.window_bytes_max = (size_t)world_between(w, 2000, 50000);
    run->members.snapshot_chunk_bytes = (size_t)world_between(w, 500, 5000);
    run->members.slow_disk = world_chance(w, 300) ? 30 : 0;
    run->wild = (unsigned)world_between(w, 1, 6);
}

void run_seed(uint64_t seed, const char *dir, bool trace, struct run_result *ret_result)
{
    struct run *run = calloc(1, sizeof *run);

    world_init(&run->world, seed);
    member_world_init(&run->members, &run->world, world_chance(&run->world, 200) ? 5 : world_chance(&run->world, 100) ? 1 : 3, dir);
    run->members.trace = trace;
    draw_world(run);
    for (unsigned i = 0; i < run->members.count; i++)
        member_start(&run->members.members[i]);
    for (unsigned i = 0; i < CLIENTS; i++) {
        run->clients[i] = (struct client){.run = run, .number = i};
        world_at(&run->world, 0, next_op, run, i, 0, NULL, 0);
    }
    world_at(&run->world, NS_PER_S / 2, next_fault, run, 0, 0, NULL, 0);
    while (world_step(&run->world, RUN_NS))
        ;
    finish_run(run);
    *ret_result = (struct run_result){.operations = run->history.count,
                                      .crashes = run->members.crashes,
                                      .seals = run->members.seals,
                                      .snapshots = run->members.snapshots,
                                      .elections = run->members.elections};
    for (size_t i = 0; i < run->history.count; i++) {
        ret_result->done += run->history.ops[i].state == OP_DONE;
        ret_result->unknown += run->history.ops[i].state == OP_UNKNOWN;
    }
    member_world_fini(&run->members);
    world_fini(&run->world);
    history_fini(&run->history);
    free(run);
}
