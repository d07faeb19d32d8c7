/* SPDX-License-Identifier: Apache-2.0 */
/* The naive store. */
#include "tests/unit/mvcc_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/unit/check.h"

#define TERM 7

static char key_texts[MODEL_KEYS][16];

void model_init(struct model *m)
{
    static const char *const roots[] = {"", "a", "a/", "a/b/", "a/c", "ab/", "b/\xff", "c"};

    *m = (struct model){.revision = 1};
    /* Ascending, some the beginning of others, with delimiters and bytes at the ends of their range. */
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        snprintf(key_texts[i], sizeof key_texts[i], "%s%c", roots[i / 6], "\x01/0m~\xff"[i % 6]);
    for (unsigned i = 1; i < MODEL_KEYS; i++)
        for (unsigned k = i; k && strcmp(key_texts[k - 1], key_texts[k]) > 0; k--) {
            char t[16];
            memcpy(t, key_texts[k], 16);
            memcpy(key_texts[k], key_texts[k - 1], 16);
            memcpy(key_texts[k - 1], t, 16);
        }
}

void model_fini(struct model *m)
{
    free(m->changes);
    free(m->log);
}

struct slice model_key(unsigned key)
{
    return slice_of_text(key_texts[key]);
}

struct slice model_value(uint32_t value, uint8_t room[64])
{
    memset(room, (int)(value * 37), 64);
    return slice_of(room, value % 60); /* some are empty */
}

const struct model_change *model_at(const struct model *m, unsigned key, mvcc_rev rev)
{
    const struct model_change *found = NULL;

    for (size_t i = 0; i < m->count && (!rev || m->changes[i].main <= rev); i++)
        if (m->changes[i].key == key)
            found = &m->changes[i];
    return found && !found->tombstone ? found : NULL;
}

/* ---- writing ---- */

static void add(struct model *m, const struct model_change *c)
{
    m->changes = mem_grow(m->changes, &m->cap, m->count + 1, sizeof *m->changes);
    m->changes[m->count++] = *c;
}

static void apply(struct model *m, const struct model_entry *e)
{
    int64_t time = e->time_ns > m->last_time_ns ? e->time_ns : m->last_time_ns + 1, sub = 0;
    mvcc_rev main = m->revision + 1;

    for (unsigned i = 0; i < e->count; i++) {
        const struct model_op *op = &e->ops[i];
        if (!op->is_delete) {
            const struct model_change *old = model_at(m, op->key, 0);
            struct model_change c = {main, sub++, op->key, false, op->value, op->lease, 1, main, time, time};
            if (old) {
                c.version = old->version + 1;
                c.create_rev = old->create_rev;
                c.create_time_ns = old->create_time_ns;
            }
            add(m, &c);
            continue;
        }
        for (unsigned key = op->from; key < op->to; key++)
            if (model_at(m, key, 0))
                add(m, &(struct model_change){.main = main, .sub = sub++, .key = key, .tombstone = true, .time_ns = time});
    }
    if (!sub)
        return;
    m->revision = main;
    m->last_time_ns = time;
}

void model_draw(struct model *m, struct rng *rng)
{
    struct model_entry e = {.time_ns = (int64_t)rng_below(rng, 1000) + m->last_time_ns - 300,
                            .count = (unsigned)rng_below(rng, MODEL_OPS_MAX + 1)};

    for (unsigned i = 0; i < e.count; i++) {
        struct model_op *op = &e.ops[i];
        op->is_delete = rng_below(rng, 4) == 0;
        op->key = (unsigned)rng_below(rng, MODEL_KEYS);
        op->value = (uint32_t)rng_next(rng);
        op->lease = rng_below(rng, 3) ? 0 : (int64_t)rng_below(rng, 1000);
        op->from = (unsigned)rng_below(rng, MODEL_KEYS);
        op->to = op->from + (rng_below(rng, 3) ? 1 : (unsigned)rng_below(rng, MODEL_KEYS - op->from) + 1);
    }
    m->log = mem_grow(m->log, &m->log_cap, m->log_count + 1, sizeof *m->log);
    m->log[m->log_count++] = e;
    apply(m, &e);
}

void model_feed_to(const struct model *m, struct mvcc *s, uint64_t index)
{
    while (mvcc_applied_index(s) < index) {
        const struct model_entry *e = &m->log[mvcc_applied_index(s)];
        mvcc_begin(s, mvcc_applied_index(s) + 1, TERM, e->time_ns);
        for (unsigned i = 0; i < e->count; i++) {
            const struct model_op *op = &e->ops[i];
            uint8_t room[64];
            if (op->is_delete) {
                struct mvcc_span span = mvcc_span_of(model_key(op->from), op->to < MODEL_KEYS ? model_key(op->to) : slice_of("", 1));
                if (op->to == op->from + 1)
                    span = mvcc_span_of(model_key(op->from), slice_of(NULL, 0));
                mvcc_delete(s, &span);
            } else {
                assert_int_equal(mvcc_put(s, model_key(op->key), model_value(op->value, room), op->lease), ST_OK);
            }
        }
        mvcc_end(s);
    }
}

void model_feed(const struct model *m, struct mvcc *s)
{
    model_feed_to(m, s, m->log_count);
    assert_int_equal(mvcc_revision(s), m->revision);
}

/* ---- comparing ---- */

void model_check_kv(const struct model_change *c, const struct mvcc_kv *kv, bool values)
{
    uint8_t room[64];
    struct slice value = model_value(c->value, room);

    assert_true(slice_equal(kv->key, model_key(c->key)));
    assert_true(!values || slice_equal(kv->value, value));
    assert_int_equal(kv->value_len, value.len);
    assert_int_equal(kv->mod_rev, c->main);
    assert_int_equal(kv->create_rev, c->create_rev);
    assert_int_equal(kv->version, c->version);
    assert_int_equal(kv->lease, c->lease);
    assert_int_equal(kv->create_time_ns, c->create_time_ns);
    assert_int_equal(kv->mod_time_ns, c->time_ns);
}

struct expecting {
    const struct mvcc_query *q;
    const struct model_change *list[MODEL_KEYS];
    size_t group[MODEL_KEYS]; /* length of the group's name; 0: the key itself */
    size_t count, met;
};

static bool on_kv(const struct mvcc_kv *kv, void *arg)
{
    struct expecting *x = arg;
    const struct model_change *c;

    assert_true(x->met < x->count);
    c = x->list[x->met];
    if (x->group[x->met]) {
        assert_true(kv->group);
        assert_true(slice_equal(kv->key, slice_of(model_key(c->key).data, x->group[x->met])));
    } else {
        model_check_kv(c, kv, x->q->values);
        assert_true(!kv->group && (x->q->values || !kv->value.len));
    }
    x->met++;
    return true;
}

static size_t group_of(const struct mvcc_query *q, struct slice key)
{
    for (size_t i = q->group_offset; q->grouped && i < key.len; i++)
        if (key.data[i] == q->delimiter)
            return i + 1;
    return 0;
}

static void expect(const struct model *m, struct expecting *x)
{
    const struct mvcc_query *q = x->q;

    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        unsigned key = q->descending ? MODEL_KEYS - 1 - i : i;
        const struct model_change *c = model_at(m, key, q->rev);
        size_t len = group_of(q, model_key(key));
        if (!c || !mvcc_span_contains(&q->span, model_key(key)))
            continue;
        if (len && x->count && x->group[x->count - 1] == len &&
            memcmp(model_key(key).data, model_key(x->list[x->count - 1]->key).data, len) == 0)
            continue; /* another of the same group */
        x->list[x->count] = c;
        x->group[x->count++] = len;
    }
}

struct mvcc_span model_draw_span(struct rng *rng)
{
    struct slice from = model_key((unsigned)rng_below(rng, MODEL_KEYS)), to = model_key((unsigned)rng_below(rng, MODEL_KEYS));

    switch (rng_below(rng, 4)) {
    case 0:
        return mvcc_span_of(from, slice_of(NULL, 0));
    case 1:
        return mvcc_span_of(rng_below(rng, 2) ? slice_of("", 1) : from, slice_of("", 1));
    default:
        return mvcc_span_of(from, to);
    }
}

static struct mvcc_query draw_query(const struct model *m, struct rng *rng)
{
    struct mvcc_query q = {.span = model_draw_span(rng),
                           .values = rng_below(rng, 2),
                           .count_only = rng_below(rng, 6) == 0,
                           .descending = rng_below(rng, 3) == 0};

    if (rng_below(rng, 2))
        q.rev = 1 + (mvcc_rev)rng_below(rng, (uint64_t)m->revision);
    if (rng_below(rng, 2))
        q.limit = 1 + (int64_t)rng_below(rng, 12);
    if (rng_below(rng, 4) == 0 && !q.span.point) {
        q.grouped = true;
        q.descending = false;
        q.delimiter = "/\xff"[rng_below(rng, 2)];
        q.group_offset = rng_below(rng, 3);
    }
    return q;
}

static void compare_range(const struct model *m, struct mvcc *s, struct rng *rng)
{
    struct mvcc_query q = draw_query(m, rng);
    struct expecting x = {.q = &q};
    struct mvcc_range_result result;
    size_t all, counted;

    expect(m, &x);
    all = x.count;
    if (q.limit && (size_t)q.limit < x.count && !q.span.point)
        x.count = (size_t)q.limit;
    counted = q.grouped && !q.count_only ? x.count : all;
    if (q.count_only)
        x.count = 0;
    assert_int_equal(mvcc_range(s, &q, on_kv, &x, &result), ST_OK);
    assert_int_equal(x.met, x.count);
    assert_int_equal(result.count, counted);
    assert_int_equal(result.rev, q.rev ? q.rev : m->revision);
    if (!q.count_only)
        assert_int_equal(result.more, x.count < all);
}

struct walking {
    const struct model *m;
    size_t at;
};

static bool on_change(const struct mvcc_event *e, void *arg)
{
    struct walking *w = arg;
    const struct model_change *c = &w->m->changes[w->at++];

    assert_true(w->at <= w->m->count);
    assert_int_equal(e->is_delete, c->tombstone);
    assert_int_equal(e->sub, c->sub);
    if (!c->tombstone) {
        model_check_kv(c, &e->kv, true);
        return true;
    }
    assert_true(slice_equal(e->kv.key, model_key(c->key)));
    assert_int_equal(e->kv.mod_rev, c->main);
    assert_int_equal(e->kv.mod_time_ns, c->time_ns);
    return true;
}

enum status model_compare_history(const struct model *m, struct mvcc *s, mvcc_rev from, mvcc_rev to)
{
    struct walking w = {.m = m};
    enum status st;

    while (w.at < m->count && m->changes[w.at].main < from)
        w.at++;
    st = mvcc_history(s, from, to, on_change, &w);
    if (st == ST_OK)
        assert_true(w.at == m->count || m->changes[w.at].main > to);
    return st;
}

void model_compare(const struct model *m, struct mvcc *s, struct rng *rng, unsigned questions)
{
    struct mvcc_stats stats;
    int64_t alive = 0;

    assert_int_equal(mvcc_revision(s), m->revision);
    for (unsigned key = 0; key < MODEL_KEYS; key++)
        alive += model_at(m, key, 0) != NULL;
    mvcc_get_stats(s, &stats);
    assert_int_equal(stats.keys, alive);
    assert_int_equal(stats.revisions, m->count);
    for (unsigned i = 0; i < questions; i++) {
        unsigned key = (unsigned)rng_below(rng, MODEL_KEYS);
        mvcc_rev rev = (mvcc_rev)rng_below(rng, (uint64_t)m->revision + 1), to = rev + (mvcc_rev)rng_below(rng, 10);
        const struct model_change *c = model_at(m, key, rev);
        struct mvcc_kv kv;
        assert_int_equal(mvcc_get(s, model_key(key), rev, true, &kv), c ? ST_OK : ST_NOT_FOUND);
        if (c)
            model_check_kv(c, &kv, true);
        compare_range(m, s, rng);
        assert_int_equal(model_compare_history(m, s, rev, to), ST_OK);
    }
    assert_int_equal(mvcc_check_rev(s, m->revision + 1), ST_FUTURE_REV);
    assert_int_equal(mvcc_check_rev(s, -1), ST_COMPACTED);
}
