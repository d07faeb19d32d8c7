/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the log share. */
#include "tests/unit/test_wal_fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void on_failure(void *arg, const char *text)
{
    struct fixture *fx = arg;

    snprintf(fx->failure, sizeof fx->failure, "%s", text);
    if (!fx->catch_failure)
        fail_msg("unexpected failure: %s", text);
    longjmp(fx->on_failure, 1);
}

static void on_wake(void *arg)
{
    (void)arg;
}

void fixture_init(struct fixture *fx, uint64_t segment_bytes)
{
    memset(fx, 0, sizeof *fx);
    fx->disk = memory_disk_new();
    fx->segment_bytes = segment_bytes;
}

void fixture_fini(struct fixture *fx)
{
    fixture_close(fx);
    fx->disk->ops->free(fx->disk);
}

enum status fixture_open(struct fixture *fx, uint64_t cluster, uint64_t member)
{
    struct wal_options options = {.disk = fx->disk,
                                  .cluster_id = cluster,
                                  .member_id = member,
                                  .segment_bytes = fx->segment_bytes,
                                  .synchronous = true,
                                  .wake_fn = on_wake,
                                  .fail_fn = on_failure,
                                  .arg = fx};
    bool new;

    fx->error = (struct error){0};
    return wal_open(&options, &fx->wal, &new, &fx->error);
}

void fixture_start(struct fixture *fx)
{
    enum status st = fixture_open(fx, TEST_CLUSTER, TEST_MEMBER);

    if (st != ST_OK)
        fail_msg("cannot be opened: %s", fx->error.text);
    wal_start(fx->wal);
}

void fixture_close(struct fixture *fx)
{
    wal_close(fx->wal);
    fx->wal = NULL;
}

void fixture_reopen(struct fixture *fx)
{
    struct model found;
    enum status st;

    fixture_close(fx);
    st = fixture_open(fx, TEST_CLUSTER, TEST_MEMBER);
    if (st != ST_OK)
        fail_msg("cannot be opened: %s", fx->error.text);
    fixture_read(fx, &found);
    assert_true(model_equal(&found, &fx->model));
    wal_start(fx->wal);
}

void fixture_change_disk(struct fixture *fx, struct disk *disk)
{
    fixture_close(fx);
    fx->disk->ops->free(fx->disk);
    fx->disk = disk;
}

/* ---- entries ---- */

static uint8_t byte_of(raft_index index, raft_term term, uint32_t at)
{
    return (uint8_t)(index * 31 + term * 7 + at);
}

static struct raft_entry *make_entry(raft_index index, raft_term term, uint32_t len)
{
    struct raft_entry *e = raft_entry_new(index % 5 ? RAFT_ENTRY_NORMAL : RAFT_ENTRY_CONF, len);

    e->index = index;
    e->term = term;
    for (uint32_t i = 0; i < len; i++)
        e->data[i] = byte_of(index, term, i);
    return e;
}

static void check_entry(const struct raft_entry *e)
{
    assert_int_equal(e->type, e->index % 5 ? RAFT_ENTRY_NORMAL : RAFT_ENTRY_CONF);
    for (uint32_t i = 0; i < e->len; i++)
        if (e->data[i] != byte_of(e->index, e->term, i))
            fail_msg("entry %llu: byte %u is wrong", (unsigned long long)e->index, i);
}

void fixture_append(struct fixture *fx, raft_index first, size_t count, raft_term term,
                    uint32_t len)
{
    struct raft_entry *entries[64];
    uint64_t ticket;

    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++)
        entries[i] = make_entry(first + i, term, len);
    /* A failure jumps away from here, so the references go to the wal's copy first. */
    if (fx->catch_failure) {
        jmp_buf outer;
        memcpy(outer, fx->on_failure, sizeof outer);
        if (setjmp(fx->on_failure)) {
            for (size_t i = 0; i < count; i++)
                raft_entry_unref(entries[i]);
            memcpy(fx->on_failure, outer, sizeof outer);
            longjmp(fx->on_failure, 1);
        }
        wal_append(fx->wal, NULL, entries, count, true);
        memcpy(fx->on_failure, outer, sizeof outer);
    } else {
        ticket = wal_append(fx->wal, NULL, entries, count, true);
        assert_int_equal(wal_durable(fx->wal), ticket);
    }
    for (size_t i = 0; i < count; i++)
        raft_entry_unref(entries[i]);
    model_append(&fx->model, first, count, term, len);
}

void fixture_append_hard(struct fixture *fx, struct raft_hard_state hard, bool sync)
{
    wal_append(fx->wal, &hard, NULL, 0, sync);
    fx->model.hard = hard;
}

void fixture_release(struct fixture *fx, raft_index index)
{
    raft_term term = model_term(&fx->model, index);

    wal_release(fx->wal, index, term);
    model_release(&fx->model, index, term);
}

/* ---- the model ---- */

raft_index model_last(const struct model *m)
{
    return m->begin + m->count;
}

raft_term model_term(const struct model *m, raft_index index)
{
    assert_true(index > m->begin && index <= model_last(m));
    return m->entries[index - m->begin - 1].term;
}

void model_append(struct model *m, raft_index first, size_t count, raft_term term, uint32_t len)
{
    assert_true(first > m->begin && first <= model_last(m) + 1);
    m->count = first - m->begin - 1;
    assert_true(m->count + count <= MODEL_ENTRIES_MAX);
    for (size_t i = 0; i < count; i++) {
        m->entries[m->count].term = term;
        m->entries[m->count++].len = len;
    }
}

void model_release(struct model *m, raft_index index, raft_term term)
{
    size_t drop = index - m->begin;

    if (index > model_last(m) || m->entries[drop - 1].term != term)
        drop = m->count; /* a snapshot took the log's place */
    m->count -= drop;
    memmove(m->entries, m->entries + drop, m->count * sizeof m->entries[0]);
    m->begin = index;
    m->begin_term = term;
}

void fixture_read(struct fixture *fx, struct model *ret_model)
{
    struct raft_entry **entries = NULL;
    size_t count = 0;
    enum status st;

    memset(ret_model, 0, sizeof *ret_model);
    wal_get_begin(fx->wal, &ret_model->begin, &ret_model->begin_term);
    st = wal_replay(fx->wal, ret_model->begin, &ret_model->hard, &entries, &count, &fx->error);
    assert_int_equal(st, ST_OK);
    assert_true(count <= MODEL_ENTRIES_MAX);
    ret_model->count = count;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i]->index, ret_model->begin + i + 1);
        check_entry(entries[i]);
        ret_model->entries[i].term = entries[i]->term;
        ret_model->entries[i].len = entries[i]->len;
        raft_entry_unref(entries[i]);
    }
    free(entries);
}

bool model_equal(const struct model *a, const struct model *b)
{
    if (a->begin != b->begin || a->begin_term != b->begin_term || a->count != b->count ||
        a->hard.term != b->hard.term || a->hard.vote != b->hard.vote ||
        a->hard.commit != b->hard.commit)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->entries[i].term != b->entries[i].term || a->entries[i].len != b->entries[i].len)
            return false;
    return true;
}
