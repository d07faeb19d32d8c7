/* SPDX-License-Identifier: Apache-2.0 */
/* The rules. What is looked at inside a member is its core's log and its disk. */
#include "tests/sim/rules.h"

#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "raft/internal.h"
#include "raftd/node/internal.h"
#include "raftd/wal/reader.h"
#include "tests/sim/history.h"
#include "tests/sim/member.h"

/* Reading a disk is dear: of a thousand occasions so many are looked at. */
#define LOOKS_AT_SENDS 15
#define LOOKS_AT_OTHERS 2
#define LOOKS_AT_ACKS 15
#define LOOKS_AT_LOGS 5 /* of the ticks */

#define NUMBER(x) ((unsigned long long)(x))

void rules_fini(struct rules *r)
{
    free(r->entries);
    free(r->leaders);
}

static const struct raft_log *log_of(const struct sim_member *m)
{
    return &m->node->raft->log;
}

/* Room for index, all beyond what was there zero. */
static void *room(void *array, size_t *cap, uint64_t index, size_t size)
{
    size_t before = array ? *cap : 0;

    array = mem_grow(array, cap, index + 1, size);
    if (*cap > before)
        memset((char *)array + before * size, 0, (*cap - before) * size);
    return array;
}

static struct rule_entry *rule_entry(struct rules *r, raft_index index)
{
    r->entries = room(r->entries, &r->entries_cap, index, sizeof *r->entries);
    return &r->entries[index];
}

static uint32_t crc_of(const struct raft_entry *e)
{
    return crc32c(e->type, e->data, e->len);
}

/* ---- the log ---- */

/* State machine safety, and log matching below the commit: an index is one entry, for everybody and for ever. */
static void check_committed(struct sim_member *m)
{
    struct rules *r = &m->shared->rules;
    const struct raft_log *l = log_of(m);
    raft_index from = m->checked_commit > l->snapshot_index ? m->checked_commit : l->snapshot_index;

    for (raft_index i = from + 1; i <= l->commit; i++) {
        const struct raft_entry *e = *raft_log_slot(l, i);
        struct rule_entry *known = rule_entry(r, i);
        if (!known->term)
            *known = (struct rule_entry){.term = e->term, .known_in = m->node->raft->term, .crc = crc_of(e)};
        SIM_CHECK(known->term == e->term && known->crc == crc_of(e),
                  "state machine safety: entry %llu is of term %llu for member %u, and was committed in term %llu", NUMBER(i),
                  NUMBER(e->term), m->number, NUMBER(known->term));
        if (i > r->last)
            r->last = i;
    }
    m->checked_commit = l->commit;
}

/* What was committed in an earlier term is in a new leader's log. */
static void check_completeness(struct sim_member *m)
{
    struct rules *r = &m->shared->rules;
    const struct raft_log *l = log_of(m);

    for (raft_index i = l->snapshot_index + 1; i <= r->last; i++) {
        const struct rule_entry *known = rule_entry(r, i);
        if (known->term && known->known_in < m->node->raft->term)
            SIM_CHECK(raft_log_term(l, i) == known->term,
                      "leader completeness: member %u leads term %llu without entry %llu of term %llu", m->number,
                      NUMBER(m->node->raft->term), NUMBER(i), NUMBER(known->term));
    }
}

/* Election safety: a term has one leader. */
static void check_leader(struct sim_member *m)
{
    struct rules *r = &m->shared->rules;
    const struct raft *core = m->node->raft;

    if (core->role != RAFT_LEADER || m->checked_leader_term == core->term)
        return;
    m->checked_leader_term = core->term;
    m->led_ticks = 0;
    m->elected_commit = core->log.commit;
    r->leaders = room(r->leaders, &r->leaders_cap, core->term, sizeof *r->leaders);
    r->elections += !r->leaders[core->term];
    SIM_CHECK(!r->leaders[core->term] || r->leaders[core->term] == core->options.id,
              "election safety: two leaders of term %llu", NUMBER(core->term));
    r->leaders[core->term] = core->options.id;
    check_completeness(m);
}

/* Raft 5.4.2: what a leader commits ends with an entry of its own term. */
static void check_own_commit(const struct sim_member *m)
{
    const struct raft *core = m->node->raft;

    if (core->role == RAFT_LEADER && core->log.commit > m->elected_commit)
        SIM_CHECK(raft_log_term(&core->log, core->log.commit) == core->term,
                  "commitment: member %u commits up to entry %llu of term %llu as the leader of term %llu", m->number,
                  NUMBER(core->log.commit), NUMBER(raft_log_term(&core->log, core->log.commit)), NUMBER(core->term));
}

static bool holds(const struct sim_member *m, raft_index index, raft_term term)
{
    /* Of one that is down nothing is known here: rules_on_ack reads its disk. */
    return !m->up || index <= log_of(m)->snapshot_index || raft_log_term(log_of(m), index) == term;
}

static bool majority_holds(const struct member_world *s, const raft_id *voters, unsigned count, raft_index index, raft_term term)
{
    unsigned holding = 0;

    for (unsigned i = 0; i < count; i++)
        holding += holds(&s->members[voters[i] - 1], index, term);
    return !count || 2 * holding > count;
}

/* What a leader newly takes for committed, a majority of its voters holds. Counted here, not by the core. */
static void check_quorum(struct sim_member *m, raft_index commit_before)
{
    const struct raft *core = m->node->raft;
    const struct raft_conf *c = &core->conf;
    bool same_conf = memcmp(c, &m->ran_conf, sizeof *c) == 0;
    raft_term term = raft_log_term(&core->log, core->log.commit);

    m->ran_conf = *c;
    if (core->role != RAFT_LEADER || core->log.commit <= commit_before || !same_conf || core->log.commit <= m->elected_commit)
        return;
    SIM_CHECK(majority_holds(m->shared, c->voters, c->voter_count, core->log.commit, term) &&
                  majority_holds(m->shared, c->outgoing, c->outgoing_count, core->log.commit, term),
              "commitment: member %u commits entry %llu of term %llu, and no majority of the voters holds it", m->number,
              NUMBER(core->log.commit), NUMBER(term));
}

/* Thesis 4.1, and raft-dev of July 2015: one change at a time, and none before the leader committed in its term. */
static void check_conf_entries(const struct sim_member *m)
{
    const struct raft *core = m->node->raft;
    const struct raft_log *l = &core->log;
    unsigned own = 0;

    if (core->role != RAFT_LEADER)
        return;
    for (raft_index i = l->applied + 1; i <= raft_log_last(l); i++) {
        const struct raft_entry *e = *raft_log_slot(l, i);
        if (e->type != RAFT_ENTRY_CONF || e->term != core->term)
            continue;
        own++;
        SIM_CHECK(raft_log_term(l, l->commit) == core->term,
                  "membership: member %u changes it in term %llu before it committed in that term", m->number, NUMBER(core->term));
    }
    SIM_CHECK(own <= 1, "membership: member %u has %u changes under way", m->number, own);
}

/* Two entries of one index and term are the same, and so is all before them. */
static void compare_logs(const struct sim_member *a, const struct sim_member *b)
{
    const struct raft_log *la = log_of(a), *lb = log_of(b);
    raft_index first = la->snapshot_index > lb->snapshot_index ? la->snapshot_index : lb->snapshot_index;
    raft_index i = raft_log_last(la) < raft_log_last(lb) ? raft_log_last(la) : raft_log_last(lb);

    while (i > first && raft_log_term(la, i) != raft_log_term(lb, i))
        i--;
    for (; i > first; i--) {
        const struct raft_entry *ea = *raft_log_slot(la, i), *eb = *raft_log_slot(lb, i);
        SIM_CHECK(ea->term == eb->term && (ea == eb || crc_of(ea) == crc_of(eb)),
                  "log matching: members %u and %u differ at entry %llu and agree behind it", a->number, b->number, NUMBER(i));
    }
}

void rules_compare_logs(struct member_world *s)
{
    for (unsigned a = 0; a < s->count; a++)
        for (unsigned b = 0; b < a; b++)
            if (s->members[a].up && s->members[b].up)
                compare_logs(&s->members[a], &s->members[b]);
}

/* ---- the store ---- */

/* Equal stores: the same revision at the same applied index, everywhere and always; and it never goes back. */
static void check_revision(struct sim_member *m)
{
    struct rule_entry *known = rule_entry(&m->shared->rules, mvcc_applied_index(m->store));
    mvcc_rev revision = mvcc_revision(m->store);

    if (!known->revision)
        known->revision = revision;
    SIM_CHECK(known->revision == revision, "equal stores: member %u is at revision %lld after entry %llu, another was at %lld",
              m->number, (long long)revision, NUMBER(mvcc_applied_index(m->store)), (long long)known->revision);
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

/* What the log would be if the power went now. */
static struct wal_state durable_log(struct sim_member *m)
{
    struct disk *d = memory_disk_durable(m->disk);
    struct wal_state state = {0};
    struct error error = {0};
    enum status st = wal_read(d, SIM_CLUSTER_ID, m->number + 1, &state, &error);

    SIM_CHECK(st == ST_OK, "durability: after a power cut now, the log of member %u could not be read: %s", m->number, error.text);
    d->ops->free(d);
    return state;
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
    struct wal_state w = durable_log(m);
    const struct raft_log *l = log_of(m);

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
    struct wal_state w = durable_log(m);

    SIM_CHECK(disk_has(m, &w, l->stored, raft_log_term(l, l->stored)),
              "durability: member %u takes entry %llu for stored, and its disk does not have it", m->number, NUMBER(l->stored));
    wal_state_fini(&w);
}

void rules_on_send(struct sim_member *m, const struct raft_message *message)
{
    bool promises = (message->type == RAFT_MSG_APPEND_RESPONSE && !message->reject) || message->type == RAFT_MSG_VOTE ||
                    (message->type == RAFT_MSG_VOTE_RESPONSE && !message->reject);

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
    bool there[RAFT_MEMBERS_MAX] = {false};

    /* Which majority it was cannot be told where majorities change. */
    if (m->shared->founders < m->shared->count)
        return;
    if (!world_chance(m->shared->world, LOOKS_AT_ACKS) || !rule_entry(&m->shared->rules, index)->term)
        return;
    for (unsigned i = 0; i < core->members.count; i++) {
        struct sim_member *other = &m->shared->members[core->members.ids[i] - 1];
        struct wal_state w = durable_log(other);
        there[i] = disk_has(other, &w, index, rule_entry(&m->shared->rules, index)->term);
        wal_state_fini(&w);
    }
    SIM_CHECK(raft_conf_has_quorum(&core->conf, &core->members, there),
              "durability: entry %llu is acknowledged on member %u, and not on the disks of a majority", NUMBER(index), m->number);
}

/* ---- time ---- */

void rules_on_heard(struct sim_member *m, raft_id from)
{
    m->silent_ticks[from - 1] = 0;
}

/* A leader that hears no majority gives up: within an election timeout, and here after two and a bit. */
static void check_hearing(struct sim_member *m)
{
    const struct raft *core = m->node->raft;
    unsigned patience = 2 * core->options.election_ticks + 2;
    bool heard[RAFT_MEMBERS_MAX];

    if (memcmp(&core->conf, &m->checked_conf, sizeof core->conf) != 0)
        m->led_ticks = 0; /* whoever is new has one election timeout to be heard of */
    m->checked_conf = core->conf;
    if (core->role != RAFT_LEADER || ++m->led_ticks < patience)
        return;
    for (unsigned i = 0; i < core->members.count; i++)
        heard[i] = core->members.ids[i] == core->options.id || m->silent_ticks[core->members.ids[i] - 1] < patience;
    SIM_CHECK(raft_conf_has_quorum(&core->conf, &core->members, heard),
              "member %u leads term %llu and has heard no majority for %u ticks", m->number, NUMBER(core->term), patience);
}

/* What is kept for others is bounded. */
static void check_window(struct sim_member *m)
{
    const struct raft_log *l = log_of(m);
    size_t bytes = 0;

    if (l->bytes <= m->shared->window_bytes_max)
        return;
    for (raft_index i = l->snapshot_index + 1; i <= l->applied; i++)
        bytes += (*raft_log_slot(l, i))->len;
    SIM_CHECK(bytes <= m->shared->window_bytes_max, "bounded memory: member %u keeps %zu bytes of applied entries, not %zu",
              m->number, bytes, m->shared->window_bytes_max);
}

/* ---- occasions ---- */

void rules_on_start(struct sim_member *m)
{
    m->checked_commit = 0;
    m->checked_leader_term = 0;
    m->checked_revision = 0;
    m->checked_role = RAFT_FOLLOWER;
    m->checked_term = 0;
    m->elected_commit = 0;
    memset(m->silent_ticks, 0, sizeof m->silent_ticks);
}

/* Who asks for votes has one, by all the changes that it knows to be committed. */
void rules_before_run(struct sim_member *m)
{
    const struct raft *core = m->node->raft;
    bool asks = core->role == RAFT_PRE_CANDIDATE || core->role == RAFT_CANDIDATE;
    bool begins = asks && (core->role != m->checked_role || core->term != m->checked_term);

    m->checked_role = core->role;
    m->checked_term = core->term;
    if (!begins)
        return;
    SIM_CHECK(raft_conf_is_voter(&core->conf, core->options.id), "membership: member %u asks for votes and has none", m->number);
    for (raft_index i = core->log.applied + 1; i <= core->log.commit; i++)
        SIM_CHECK((*raft_log_slot(&core->log, i))->type != RAFT_ENTRY_CONF,
                  "membership: member %u asks for votes before it applied the committed change %llu", m->number, NUMBER(i));
}

void rules_on_run(struct sim_member *m)
{
    raft_index commit_before = m->checked_commit;

    note_checkpoint(m);
    check_committed(m);
    check_leader(m);
    check_own_commit(m);
    check_quorum(m, commit_before);
    check_conf_entries(m);
    check_revision(m);
}

void rules_on_tick(struct sim_member *m)
{
    for (unsigned i = 0; i < WORLD_NODES_MAX; i++)
        m->silent_ticks[i]++;
    check_hearing(m);
    check_window(m);
    if (world_chance(m->shared->world, LOOKS_AT_LOGS))
        rules_compare_logs(m->shared);
}
