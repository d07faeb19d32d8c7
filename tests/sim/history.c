/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of a run. */
#include "tests/sim/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/mem.h"

/* What stands at each revision. */
struct moment {
    uint64_t id[SIM_KEYS]; /* 0: not there */
    mvcc_rev rev[SIM_KEYS];
};

struct timeline {
    struct moment *at; /* by revision */
    mvcc_rev last;
    const struct history *history;
    uint8_t *times; /* how often an op's value was written, by op and key */
};

void history_fini(struct history *h)
{
    free(h->ops);
}

size_t history_begin(struct history *h, enum op_kind kind)
{
    h->ops = mem_grow(h->ops, &h->cap, h->count + 1, sizeof *h->ops);
    h->ops[h->count] = (struct op){.kind = kind, .id = h->count + 1, .floor = h->heard};
    return h->count++;
}

static bool is_delete(const struct op *op)
{
    return op->kind == OP_DELETE || op->kind == OP_DELETE_RANGE;
}

void history_end(struct history *h, size_t number, enum op_state state)
{
    struct op *op = &h->ops[number];
    bool changes = is_delete(op) ? op->deleted > 0 : op->kind < OP_READ && op->succeeded;

    SIM_CHECK(op->state == OP_OPEN, "operation %zu ended twice", number);
    op->state = state;
    if (state != OP_DONE)
        return;
    /* Time: a change is newer than all that was heard of when it began, a read at least as new. */
    if (op->kind <= OP_READ)
        SIM_CHECK(op->rev >= op->floor + changes, "operation %zu (kind %d) is of revision %lld, but %lld was known when it began",
                  number, op->kind, (long long)op->rev, (long long)op->floor);
    if (op->rev > h->heard)
        h->heard = op->rev;
}

void history_drop_after(struct history *h, mvcc_rev rev)
{
    for (size_t i = 0; i < h->count; i++) {
        struct op *op = &h->ops[i];
        if (op->state == OP_DONE && op->rev > rev)
            op->state = OP_LOST;
        if (op->floor > rev)
            op->floor = rev;
    }
    if (h->heard > rev)
        h->heard = rev;
}

/* ---- keys and values ---- */

size_t sim_key(unsigned key, char ret_key[8])
{
    return (size_t)snprintf(ret_key, 8, "k%u", key);
}

struct slice sim_value(const struct history *h, uint64_t id, uint8_t ret_value[SIM_VALUE_BYTES_MAX])
{
    size_t len = 8 + (size_t)(id * 2654435761u % h->lengths) * ((SIM_VALUE_BYTES_MAX - 8) / h->lengths);

    memset(ret_value, (int)id, len);
    put_le64(ret_value, id);
    return slice_of(ret_value, len);
}

uint64_t sim_value_id(const struct history *h, struct slice value)
{
    uint8_t expected[SIM_VALUE_BYTES_MAX];
    uint64_t id = value.len >= 8 ? get_le64(value.data) : 0;

    SIM_CHECK(id && slice_equal(value, sim_value(h, id, expected)), "a value that nobody wrote");
    return id;
}

static bool add_change(const struct mvcc_event *e, void *arg)
{
    uint32_t *digest = arg;
    uint64_t numbers[] = {e->is_delete, (uint64_t)e->kv.mod_rev, (uint64_t)e->sub, (uint64_t)e->kv.mod_time_ns,
                          e->is_delete ? 0 : (uint64_t)e->kv.create_rev, e->is_delete ? 0 : (uint64_t)e->kv.version};

    *digest = crc32c(*digest, numbers, sizeof numbers);
    *digest = crc32c(*digest, e->kv.key.data, e->kv.key.len);
    if (!e->is_delete)
        *digest = crc32c(*digest, e->kv.value.data, e->kv.value.len);
    return true;
}

enum status sim_changes(struct mvcc *store, mvcc_rev from, mvcc_rev to, uint32_t *ret_digest)
{
    *ret_digest = 0;
    return mvcc_history(store, from, to, add_change, ret_digest);
}

/* ---- the store's side ---- */

static bool on_event(const struct mvcc_event *e, void *arg)
{
    struct timeline *t = arg;
    unsigned key = (unsigned)(e->kv.key.data[1] - '0');
    struct moment *m = &t->at[e->kv.mod_rev];
    uint64_t id;

    SIM_CHECK(key < SIM_KEYS && e->kv.mod_rev <= t->last, "an event of key %u at %lld", key, (long long)e->kv.mod_rev);
    if (e->sub == 0)
        *m = t->at[e->kv.mod_rev - 1];
    m->rev[key] = e->is_delete ? 0 : e->kv.mod_rev;
    if (e->is_delete) {
        SIM_CHECK(m->id[key], "a delete of what was not there at %lld", (long long)e->kv.mod_rev);
        m->id[key] = 0;
        return true;
    }
    id = sim_value_id(t->history, e->kv.value);
    SIM_CHECK(id <= t->history->count, "a value of operation %llu that never was", (unsigned long long)id);
    SIM_CHECK(!t->times[(id - 1) * SIM_KEYS + key]++, "operation %llu was applied twice", (unsigned long long)id - 1);
    m->id[key] = id;
    return true;
}

static void check_put(const struct op *op, size_t number, const struct moment *at, unsigned key)
{
    SIM_CHECK(at->id[key] == op->id && at->rev[key] == op->rev, "acknowledged operation %zu is not what stands at revision %lld in key %u",
              number, (long long)op->rev, key);
}

/* What it says was there before. */
static void check_seen(const struct op *op, size_t number, const struct moment *at, unsigned key)
{
    SIM_CHECK(at->id[key] == op->seen[key] && at->rev[key] == op->seen_rev[key],
              "operation %zu of revision %lld saw the value of %llu in key %u, there stands that of %llu", number, (long long)op->rev,
              (unsigned long long)op->seen[key], key, (unsigned long long)at->id[key]);
}

static void check_delete(const struct op *op, size_t number, const struct moment *at, const struct moment *before)
{
    unsigned end = op->kind == OP_DELETE ? op->key + 1 : op->other;
    int64_t there = 0;

    for (unsigned k = op->key; k < end; k++) {
        SIM_CHECK(!at->id[k], "delete %zu left something at revision %lld", number, (long long)op->rev);
        if (op->deleted)
            check_seen(op, number, before, k);
        there += before->id[k] != 0;
    }
    SIM_CHECK(!op->deleted || op->deleted == there, "delete %zu says it deleted %lld, there were %lld", number, (long long)op->deleted,
              (long long)there);
}

static void check_nested(const struct op *op, size_t number, const struct moment *at, const struct moment *before)
{
    for (unsigned k = 0; k < SIM_KEYS; k++)
        check_seen(op, number, at, k);
    if (!op->succeeded)
        return;
    SIM_CHECK(op->other_put == (before->rev[op->other] == op->expected_other), "operation %zu compared wrongly within", number);
    if (op->other_put)
        check_put(op, number, at, op->other);
    else
        SIM_CHECK(!at->id[op->other], "operation %zu did not delete its other key", number);
}

static void check_write(const struct timeline *t, const struct op *op, size_t number)
{
    const struct moment *at = &t->at[op->rev], *before = &t->at[op->rev - 1];
    bool compares = op->kind == OP_COMPARE_PUT || op->kind == OP_NESTED;

    SIM_CHECK(op->rev <= t->last, "acknowledged operation %zu at revision %lld is lost: the store ends at %lld", number,
              (long long)op->rev, (long long)t->last);
    if (!is_delete(op) && op->succeeded)
        check_put(op, number, at, op->key);
    if (compares && op->succeeded)
        SIM_CHECK(before->rev[op->key] == op->expected, "operation %zu compared equal to what was not so", number);
    if (compares && !op->succeeded)
        SIM_CHECK(at->rev[op->key] != op->expected, "operation %zu compared unequal to what was so", number);
    if (op->kind == OP_PUT)
        check_seen(op, number, before, op->key);
    if (op->kind == OP_PUT_PAIR)
        check_put(op, number, at, op->other);
    if (op->kind == OP_NESTED)
        check_nested(op, number, at, before);
    if (is_delete(op))
        check_delete(op, number, at, before);
}

static void check_read(const struct timeline *t, const struct op *op, size_t number)
{
    SIM_CHECK(op->rev <= t->last, "read %zu saw revision %lld, the store ends at %lld", number, (long long)op->rev,
              (long long)t->last);
    for (unsigned k = 0; k < SIM_KEYS; k++)
        SIM_CHECK(t->at[op->rev].id[k] == op->seen[k] && t->at[op->rev].rev[k] == op->seen_rev[k],
                  "read %zu of key %u at revision %lld saw the value of %llu, there stands that of %llu", number, k,
                  (long long)op->rev, (unsigned long long)op->seen[k], (unsigned long long)t->at[op->rev].id[k]);
}

static void check_watch(const struct timeline *t, struct mvcc *store, const struct op *op, size_t number)
{
    uint32_t changes = 0;

    SIM_CHECK(op->rev <= t->last && sim_changes(store, op->expected, op->rev, &changes) == ST_OK && changes == op->changes,
              "watch %zu of revisions %lld to %lld saw other changes than there were", number, (long long)op->expected, (long long)op->rev);
}

void history_check(const struct history *h, struct mvcc *store)
{
    struct timeline t = {.last = mvcc_revision(store), .history = h};
    enum status st;

    t.at = mem_zero((size_t)(t.last + 1) * sizeof *t.at);
    t.times = mem_zero(h->count * SIM_KEYS + 1);
    st = mvcc_history(store, 2, t.last, on_event, &t);
    SIM_CHECK(st == ST_OK, "history: %s", status_text(st));
    for (size_t i = 0; i < h->count; i++) {
        const struct op *op = &h->ops[i];
        bool written = false;
        for (unsigned k = 0; k < SIM_KEYS; k++)
            written = written || t.times[i * SIM_KEYS + k];
        if (op->state == OP_REFUSED || op->state == OP_LOST)
            SIM_CHECK(!written, "operation %zu was refused or dropped, and is there", i);
        if (op->state != OP_DONE)
            continue;
        if ((op->kind == OP_COMPARE_PUT || op->kind == OP_NESTED) && !op->succeeded)
            SIM_CHECK(!written, "operation %zu compared unequal, and was done", i);
        if (op->kind == OP_WATCH)
            check_watch(&t, store, op, i);
        else if (op->kind == OP_READ || op->kind == OP_READ_LOCAL || op->kind == OP_READ_PAST)
            check_read(&t, op, i);
        else
            check_write(&t, op, i);
    }
    free(t.at);
    free(t.times);
}
