/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of members. What is looked at inside a member is its core's log and its disk. */
#include "tests/sim/rules.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "raft/internal.h"
#include "raftd/node/internal.h"
#include "raftd/wal/reader.h"
#include "tests/sim/bounds.h"
#include "tests/sim/history.h"
#include "tests/sim/member.h"

/* Reading a disk is dear: of a thousand occasions so many are looked at. */
#define LOOKS_AT_SENDS 15
#define LOOKS_AT_OTHERS 2
#define LOOKS_AT_ACKS 15
#define LOOKS_AT_LOGS 5 /* of the ticks */

#define NUMBER(x) ((unsigned long long)(x))

void rules_init(struct rules *r)
{
    *r = (struct rules){0};
    core_rules_init(&r->core);
}

void rules_fini(struct rules *r)
{
    core_rules_fini(&r->core);
    free(r->revisions);
}

static const struct raft_log *log_of(const struct sim_member *m)
{
    return &m->node->raft->log;
}

/* ---- the store ---- */

/* Equal stores: the same revision at the same applied index, everywhere and always; and it never goes back. */
static void check_revision(struct sim_member *m)
{
    struct rules *r = &m->shared->rules;
    raft_index index = mvcc_applied_index(m->store);
    mvcc_rev revision = mvcc_revision(m->store), *known;
    size_t before = r->revisions_cap;

    r->revisions = mem_grow(r->revisions, &r->revisions_cap, index + 1, sizeof *r->revisions);
    if (r->revisions_cap > before)
        memset(r->revisions + before, 0, (r->revisions_cap - before) * sizeof *r->revisions);
    known = &r->revisions[index];
    if (!*known)
        *known = revision;
    SIM_CHECK(*known == revision, "equal stores: member %u is at revision %lld after entry %llu, another was at %lld",
              m->number, (long long)revision, NUMBER(index), (long long)*known);
    SIM_CHECK(revision >= m->checked_revision, "revisions go back: member %u was at %lld and is at %lld", m->number,
              (long long)m->checked_revision, (long long)revision);
    m->checked_revision = revision;
}

/* ---- what is durable ---- */

/* A store that is down keeps what it had. */
static void note_checkpoint(struct sim_member *m)
{
    struct mvcc_checkpoint checkpoint;

    mvcc_get_checkpoint(m->store, &checkpoint);
    m->checkpoint = checkpoint.applied_index;
}

/* What the log would be if the power went now. False: it may be damaged, and says nothing. */
static bool durable_log(struct sim_member *m, struct wal_state *ret_state)
{
    struct disk *d = m->damage.log ? NULL : memory_disk_durable(m->disk);
    struct error error = {0};
    enum status st;

    *ret_state = (struct wal_state){0};
    if (!d)
        return false;
    st = wal_read(d, SIM_CLUSTER_ID, m->number + 1, ret_state, &error);
    SIM_CHECK(st == ST_OK, "durability: after a power cut now, the log of member %u could not be read: %s", m->number, error.text);
    d->ops->free(d);
    return true;
}

/* Of what its memory has forgotten the term is not known any more: 0. */
static bool disk_has(const struct sim_member *m, const struct wal_state *w, raft_index index, raft_term term)
{
    if (index <= w->begin_index || index <= m->checkpoint)
        return true;
    return index <= w->begin_index + w->entry_count &&
           (!term || w->entries[index - w->begin_index - 1]->term == term);
}

static void check_promise(struct sim_member *m, const struct raft_message *message)
{
    const struct raft_log *l = log_of(m);
    struct wal_state w;

    if (!durable_log(m, &w))
        return;
    if (message->type == RAFT_MSG_APPEND_RESPONSE)
        SIM_CHECK(disk_has(m, &w, message->index, raft_log_term(l, message->index)),
                  "durability: member %u says that it holds entry %llu, and its disk does not", m->number, NUMBER(message->index));
    else
        SIM_CHECK(w.hard.term >= message->term, "durability: member %u votes in term %llu, and its disk knows %llu", m->number,
                  NUMBER(message->term), NUMBER(w.hard.term));
    if (message->type == RAFT_MSG_VOTE)
        SIM_CHECK(w.hard.term > message->term || w.hard.vote == message->from,
                  "durability: member %u asks for votes, and its own is not on its disk", m->number);
    if (message->type == RAFT_MSG_VOTE_RESPONSE)
        SIM_CHECK(w.hard.term > message->term || w.hard.vote == message->to,
                  "durability: member %u votes for %llu, and its disk does not know", m->number, NUMBER(message->to));
    wal_state_fini(&w);
}

/* What the core takes for stored here: a leader counts itself by it, and applies up to it. */
static void check_stored(struct sim_member *m)
{
    const struct raft_log *l = log_of(m);
    struct wal_state w;

    if (!durable_log(m, &w))
        return;
    SIM_CHECK(disk_has(m, &w, l->stored, raft_log_term(l, l->stored)),
              "durability: member %u takes entry %llu for stored, and its disk does not have it", m->number, NUMBER(l->stored));
    wal_state_fini(&w);
}

void rules_on_send(struct sim_member *m, const struct raft_message *message)
{
    bool promises = (message->type == RAFT_MSG_APPEND_RESPONSE && !message->reject) || message->type == RAFT_MSG_VOTE ||
                    (message->type == RAFT_MSG_VOTE_RESPONSE && !message->reject);

    core_rules_on_send(&m->shared->rules.core, m->number, message);
    /* An answer that stands for an older log says nothing of this one's entries. */
    if (message->type == RAFT_MSG_APPEND_RESPONSE && message->index > raft_log_last(log_of(m)))
        return;
    note_checkpoint(m);
    if (promises && world_chance(m->shared->world, LOOKS_AT_SENDS))
        check_promise(m, message);
    if (world_chance(m->shared->world, message->type == RAFT_MSG_APPEND ? LOOKS_AT_SENDS : LOOKS_AT_OTHERS))
        check_stored(m);
}

void rules_on_ack(struct sim_member *m)
{
    const struct raft *core = m->node->raft;
    raft_index index = mvcc_applied_index(m->store);
    bool there[WORLD_NODES_MAX] = {false};
    const struct rule_entry *known;

    /* Which majority it was cannot be told where majorities change. */
    if (m->shared->founders < m->shared->count)
        return;
    known = core_rules_entry(&m->shared->rules.core, index);
    if (!world_chance(m->shared->world, LOOKS_AT_ACKS) || !known)
        return;
    for (unsigned i = 0; i < m->shared->count; i++) {
        struct sim_member *other = &m->shared->members[i];
        struct wal_state w;
        bool may_have_had_it = !durable_log(other, &w) || damage_is_open(other) || other->is_wiped;
        there[i] = may_have_had_it || disk_has(other, &w, index, known->term);
        wal_state_fini(&w);
    }
    SIM_CHECK(core_rules_is_quorum(&core->conf, there),
              "durability: entry %llu is acknowledged on member %u, and not on the disks of a majority", NUMBER(index), m->number);
}

/* ---- a disk that stalls ---- */

/* Ticks in which the log had something to write and got nothing done. */
static unsigned count_stalled(struct sim_member *m)
{
    uint64_t durable = wal_durable(m->files.wal);

    m->stalled_ticks = durable == m->stalled_at && durable != m->node->last_ticket ? m->stalled_ticks + 1 : 0;
    m->stalled_at = durable;
    return m->stalled_ticks;
}

/* raftd/node/stall.c: a leader whose disk stalls has handed over or stepped down within two election timeouts, if others can lead. */
static void check_stall(struct sim_member *m)
{
    const struct raft *core = m->node->raft;
    bool there[WORLD_NODES_MAX] = {false};

    if (count_stalled(m) <= 2 * core->options.election_ticks || core->role != RAFT_LEADER)
        return;
    for (unsigned i = 0; i < core->members.count; i++) /* who answers: one that only asks for votes does not hear us, and needs no leave */
        there[core->members.ids[i] - 1] = core->members.ids[i] != core->options.id && core->progress[i].active;
    SIM_CHECK(!core_rules_is_quorum(&core->conf, there), "stalls: the disk of member %u does nothing for %u ticks, and it leads on", m->number,
              m->stalled_ticks);
}

/* ---- occasions ---- */

void rules_on_start(struct sim_member *m)
{
    m->checked_revision = 0;
    m->stalled_ticks = 0;
    core_rules_on_start(&m->shared->rules.core, m->number, m->node->raft);
}

void rules_on_alone(struct sim_member *m, raft_index keep)
{
    struct rules *r = &m->shared->rules;

    core_rules_on_alone(&r->core, m->number, keep, m->node->raft->term);
    for (size_t i = keep + 1; i < r->revisions_cap; i++)
        r->revisions[i] = 0;
}

void rules_on_end(struct sim_member *m)
{
    core_rules_on_end(&m->shared->rules.core, m->number);
}

void rules_before_run(struct sim_member *m)
{
    core_rules_before_run(&m->shared->rules.core, m->number);
}

void rules_on_run(struct sim_member *m)
{
    note_checkpoint(m);
    core_rules_on_run(&m->shared->rules.core, m->number);
    check_revision(m);
}

void rules_on_tick(struct sim_member *m)
{
    core_rules_on_tick(&m->shared->rules.core, m->number);
    bounds_check_member(m);
    check_stall(m);
    if (world_chance(m->shared->world, LOOKS_AT_LOGS))
        core_rules_compare_logs(&m->shared->rules.core);
}
