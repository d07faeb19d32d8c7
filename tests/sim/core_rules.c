/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of Raft. */
#include "tests/sim/core_rules.h"

#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "tests/sim/bounds.h"
#include "tests/sim/history.h"

#define NUMBER(x) ((unsigned long long)(x))

void core_rules_init(struct core_rules *r)
{
    *r = (struct core_rules){0};
    for (unsigned i = 0; i < WORLD_NODES_MAX; i++)
        r->watches[i].number = i;
}

void core_rules_fini(struct core_rules *r)
{
    for (unsigned i = 0; i < WORLD_NODES_MAX; i++) {
        free(r->watches[i].reads);
        free(r->watches[i].contexts);
    }
    free(r->entries);
    free(r->leaders);
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

const struct rule_entry *core_rules_entry(const struct core_rules *r, raft_index index)
{
    return index < r->entries_cap && r->entries[index].term ? &r->entries[index] : NULL;
}

static uint32_t crc_of(const struct raft_entry *e)
{
    return crc32c(e->type, e->data, e->len);
}

/* Does it hold that entry? What it has compacted it had applied. */
static bool holds(const struct raft_log *l, raft_index index, raft_term term)
{
    return index <= l->snapshot_index || raft_log_term(l, index) == term;
}

/* Its log does not end in a term yet of which it forgot nothing. */
static bool has_forgotten(const struct core_watch *w)
{
    return w->forgot && raft_log_last_term(&w->core->log) <= w->forgot;
}

/* ---- the log ---- */

/* State machine safety, and log matching below the commit: an index is one entry, for everybody and for ever. */
static void check_committed(struct core_rules *r, struct core_watch *w)
{
    const struct raft_log *l = &w->core->log;
    raft_index from = w->commit > l->snapshot_index ? w->commit : l->snapshot_index;

    SIM_CHECK(l->commit >= w->commit && l->applied >= w->applied,
              "commitment: member %u goes back from commit %llu, applied %llu to %llu, %llu", w->number, NUMBER(w->commit),
              NUMBER(w->applied), NUMBER(l->commit), NUMBER(l->applied));
    for (raft_index i = from + 1; i <= l->commit; i++) {
        const struct raft_entry *e = *raft_log_slot(l, i);
        struct rule_entry *known;
        r->entries = room(r->entries, &r->entries_cap, i, sizeof *r->entries);
        known = &r->entries[i];
        if (!known->term)
            *known = (struct rule_entry){.term = e->term, .known_in = w->core->term, .crc = crc_of(e)};
        SIM_CHECK(known->term == e->term && known->crc == crc_of(e),
                  "state machine safety: entry %llu is of term %llu for member %u, and was committed in term %llu", NUMBER(i),
                  NUMBER(e->term), w->number, NUMBER(known->term));
        if (i > r->last)
            r->last = i;
    }
    w->commit = l->commit;
    w->applied = l->applied;
}

/* What was committed in an earlier term is in a new leader's log. */
static void check_completeness(const struct core_rules *r, const struct core_watch *w)
{
    const struct raft_log *l = &w->core->log;

    for (raft_index i = l->snapshot_index + 1; i <= r->last; i++) {
        const struct rule_entry *known = &r->entries[i];
        if (known->term && known->known_in < w->core->term)
            SIM_CHECK(raft_log_term(l, i) == known->term,
                      "leader completeness: member %u leads term %llu without entry %llu of term %llu", w->number,
                      NUMBER(w->core->term), NUMBER(i), NUMBER(known->term));
    }
}

/* Terms never fall along a log, and none is of the future. */
static void check_terms(const struct core_watch *w)
{
    const struct raft_log *l = &w->core->log;
    raft_term term = l->snapshot_term;

    for (raft_index i = l->snapshot_index + 1; i <= raft_log_last(l); i++) {
        raft_term next = raft_log_term(l, i);
        SIM_CHECK(next >= term && next <= w->core->term,
                  "log matching: member %u has entry %llu of term %llu behind one of term %llu, in term %llu", w->number, NUMBER(i),
                  NUMBER(next), NUMBER(term), NUMBER(w->core->term));
        term = next;
    }
}

/*
 * Election safety: a term has one leader. Seen as soon as it is one, but for one that its own vote elected: that counts once it may speak
 * (raft/leader.c), and before that it is forgotten with a crash, while others may elect another by an older configuration.
 */
static void check_one_leader(struct core_rules *r, const struct raft *core)
{
    if (core->role != RAFT_LEADER || core->log.stored < core->mute_until)
        return;
    r->leaders = room(r->leaders, &r->leaders_cap, core->term, sizeof *r->leaders);
    r->elections += !r->leaders[core->term];
    SIM_CHECK(!r->leaders[core->term] || r->leaders[core->term] == core->options.id,
              "election safety: two leaders of term %llu", NUMBER(core->term));
    r->leaders[core->term] = core->options.id;
}

static void note_leader(struct core_rules *r, struct core_watch *w)
{
    const struct raft *core = w->core;

    check_one_leader(r, core);
    if (core->role != RAFT_LEADER || w->leader_term == core->term)
        return;
    w->leader_term = core->term;
    w->led_ticks = 0;
    w->elected_commit = core->log.commit;
    w->inherited = bounds_uncommitted(core);
    w->read_count = 0;
    w->round = 0;
    memset(w->answered, 0, sizeof w->answered);
    check_completeness(r, w);
}

/* Raft 5.4.2: what a leader commits ends with an entry of its own term. */
static void check_own_commit(const struct core_watch *w)
{
    const struct raft *core = w->core;

    if (core->role == RAFT_LEADER && core->log.commit > w->elected_commit)
        SIM_CHECK(raft_log_term(&core->log, core->log.commit) == core->term,
                  "commitment: member %u commits up to entry %llu of term %llu as the leader of term %llu", w->number,
                  NUMBER(core->log.commit), NUMBER(raft_log_term(&core->log, core->log.commit)), NUMBER(core->term));
}

/* A majority of each half, counted here and not by the core. there: by number of the member. */
static bool is_majority(const raft_id *voters, unsigned count, const bool *there)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += there[voters[i] - 1];
    return !count || 2 * sum > count;
}

bool core_rules_is_quorum(const struct raft_conf *c, const bool there[WORLD_NODES_MAX])
{
    return is_majority(c->voters, c->voter_count, there) && is_majority(c->outgoing, c->outgoing_count, there);
}

/* What a leader newly takes for committed, a majority of its voters holds. Of one that is down only its owner can tell. */
static void check_quorum(const struct core_rules *r, struct core_watch *w, raft_index commit_before)
{
    const struct raft *core = w->core;
    const struct raft_conf *c = &core->conf;
    bool same_conf = memcmp(c, &w->ran_conf, sizeof *c) == 0;
    raft_term term = raft_log_term(&core->log, core->log.commit);
    bool holding[WORLD_NODES_MAX];

    w->ran_conf = *c;
    if (core->role != RAFT_LEADER || core->log.commit <= commit_before || !same_conf || core->log.commit <= w->elected_commit)
        return;
    /* Of one that forgot, what it said before counts: those who elect a leader without it share somebody who has the entry, too. */
    for (unsigned i = 0; i < WORLD_NODES_MAX; i++)
        holding[i] = !r->watches[i].core || has_forgotten(&r->watches[i]) || holds(&r->watches[i].core->log, core->log.commit, term);
    SIM_CHECK(core_rules_is_quorum(c, holding),
              "commitment: member %u commits entry %llu of term %llu, and no majority of the voters holds it", w->number,
              NUMBER(core->log.commit), NUMBER(term));
}

/* Thesis 4.1, and raft-dev of July 2015: one change at a time, and none before the leader committed in its term. */
static void check_conf_entries(const struct core_watch *w)
{
    const struct raft *core = w->core;
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
                  "membership: member %u changes it in term %llu before it committed in that term", w->number, NUMBER(core->term));
    }
    SIM_CHECK(own <= 1, "membership: member %u has %u changes under way", w->number, own);
}

/* Two entries of one index and term are the same, and so is all before them. */
static void compare_logs(const struct core_watch *a, const struct core_watch *b)
{
    const struct raft_log *la = &a->core->log, *lb = &b->core->log;
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

void core_rules_compare_logs(struct core_rules *r)
{
    for (unsigned a = 0; a < WORLD_NODES_MAX; a++)
        for (unsigned b = 0; b < a; b++)
            if (r->watches[a].core && r->watches[b].core)
                compare_logs(&r->watches[a], &r->watches[b]);
}

/* ---- promises ---- */

/* Figure 2: a vote is for one, and an entry that was acknowledged to a leader stays as long as that leader's term. */
static void check_promises(const struct core_watch *w)
{
    const struct raft *core = w->core;

    SIM_CHECK(core->term >= w->acked_in && core->term >= w->voted_in, "persistent state: member %u is in term %llu, and was in %llu",
              w->number, NUMBER(core->term), NUMBER(w->acked_in > w->voted_in ? w->acked_in : w->voted_in));
    SIM_CHECK(core->term > w->voted_in || core->vote == w->vote,
              "persistent state: member %u voted for %llu in term %llu, and now it is %llu", w->number, NUMBER(w->vote),
              NUMBER(core->term), NUMBER(core->vote));
    SIM_CHECK(core->term > w->acked_in || holds(&core->log, w->acked, w->acked_term),
              "durability: member %u said in term %llu that it holds entry %llu of term %llu, and does not", w->number,
              NUMBER(core->term), NUMBER(w->acked), NUMBER(w->acked_term));
}

static void note_ack(struct core_watch *w, const struct raft_message *m)
{
    const struct raft *core = w->core;

    if (m->term != core->term)
        return;
    SIM_CHECK(m->index <= raft_log_last(&core->log), "durability: member %u says in term %llu that it holds entry %llu, and does not",
              w->number, NUMBER(m->term), NUMBER(m->index));
    if ((m->term == w->acked_in && m->index <= w->acked) || m->index < core->log.snapshot_index)
        return;
    w->acked_in = m->term;
    w->acked = m->index;
    w->acked_term = raft_log_term(&core->log, m->index);
}

static void note_vote(struct core_watch *w, raft_term term, raft_id vote)
{
    SIM_CHECK(term != w->voted_in || vote == w->vote, "election safety: member %u votes for %llu in term %llu, and did for %llu",
              w->number, NUMBER(vote), NUMBER(term), NUMBER(w->vote));
    if (term <= w->voted_in)
        return;
    w->voted_in = term;
    w->vote = vote;
}

/* Who forgot what it promised gives no vote, and asks for none (raft/election.c, raft_is_recovering). */
static void check_memory(const struct core_watch *w, const struct raft_message *m)
{
    bool asks = m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE;
    bool gives = (m->type == RAFT_MSG_VOTE_RESPONSE || m->type == RAFT_MSG_PRE_VOTE_RESPONSE) && !m->reject;

    SIM_CHECK(!has_forgotten(w) || w->is_wiped || (!asks && !gives), "votes: member %u forgot what it promised up to term %llu, and votes in term %llu",
              w->number, NUMBER(w->forgot), NUMBER(m->term));
}

/* ---- reads: thesis 6.4 ---- */

static void note_read(struct core_watch *w, raft_id from, uint64_t context)
{
    w->reads = mem_grow(w->reads, &w->read_cap, w->read_count + 1, sizeof *w->reads);
    w->reads[w->read_count++] = (struct rule_read){.from = from, .context = context, .round = w->round};
}

/* raft.h: each attempt has a context of its own, or answers to a lost one count for those who asked later (etcd 21399). */
static void note_attempt(struct core_watch *w, uint64_t context)
{
    for (size_t i = w->context_count; i-- > 0;)
        SIM_CHECK(w->contexts[i] != context, "reads: member %u asks a second time for a read point of the same context", w->number);
    w->contexts = mem_grow(w->contexts, &w->context_cap, w->context_count + 1, sizeof *w->contexts);
    w->contexts[w->context_count++] = context;
}

/* The first that was asked like that, which is the first to be answered; it is done. */
static struct rule_read take_read(struct core_watch *w, raft_id from, uint64_t context)
{
    for (size_t i = 0; i < w->read_count; i++) {
        struct rule_read read = w->reads[i];
        if (read.from != from || read.context != context)
            continue;
        memmove(w->reads + i, w->reads + i + 1, (--w->read_count - i) * sizeof *w->reads);
        return read;
    }
    sim_fail("reads: member %u gives out a read point in term %llu that it was not asked for in that term", w->number,
             NUMBER(w->core->term));
}

/*
 * A leader gives out a read point at an entry of its term, and after a majority answered a heartbeat that it sent when it had been
 * asked. Counted here: by what it sent and what came.
 */
static void check_read_point(struct core_watch *w, raft_id from, uint64_t context, raft_index index)
{
    const struct raft *core = w->core;
    struct rule_read read = take_read(w, from, context);
    bool answered[WORLD_NODES_MAX];

    for (unsigned i = 0; i < WORLD_NODES_MAX; i++)
        answered[i] = i == w->number || w->answered[i] > read.round;
    SIM_CHECK(core_rules_is_quorum(&core->conf, answered),
              "reads: member %u gives out a read point in term %llu, and no majority answered what it sent since it was asked", w->number,
              NUMBER(core->term));
    SIM_CHECK(index <= core->log.snapshot_index || raft_log_term(&core->log, index) == core->term,
              "reads: member %u gives out entry %llu of term %llu as a read point in term %llu", w->number, NUMBER(index),
              NUMBER(raft_log_term(&core->log, index)), NUMBER(core->term));
}

void core_rules_on_own_read(struct core_rules *r, unsigned number, uint64_t context)
{
    struct core_watch *w = &r->watches[number];

    note_leader(r, w);
    if (w->core->role == RAFT_LEADER)
        note_read(w, w->core->options.id, context);
}

void core_rules_on_own_read_point(struct core_rules *r, unsigned number, uint64_t context, raft_index index)
{
    struct core_watch *w = &r->watches[number];

    /* Whoever is no leader (any more) got it from one, who was looked at. */
    if (w->core->role == RAFT_LEADER && w->core->term == w->leader_term)
        check_read_point(w, w->core->options.id, context, index);
}

/* ---- time ---- */

void core_rules_on_heard(struct core_rules *r, unsigned number, raft_id from)
{
    r->watches[number].silent_ticks[from - 1] = 0;
}

/* A leader that hears no majority gives up: within an election timeout, and here after two and a bit. */
static void check_hearing(struct core_watch *w)
{
    const struct raft *core = w->core;
    unsigned patience = 2 * core->options.election_ticks + 2;
    bool heard[WORLD_NODES_MAX];

    if (memcmp(&core->conf, &w->ticked_conf, sizeof core->conf) != 0)
        w->led_ticks = 0; /* whoever is new has one election timeout to be heard of */
    w->ticked_conf = core->conf;
    if (core->role != RAFT_LEADER || ++w->led_ticks < patience)
        return;
    for (unsigned i = 0; i < WORLD_NODES_MAX; i++)
        heard[i] = i == w->number || w->silent_ticks[i] < patience;
    SIM_CHECK(core_rules_is_quorum(&core->conf, heard),
              "member %u leads term %llu and has heard no majority for %u ticks", w->number, NUMBER(core->term), patience);
}

void core_rules_on_tick(struct core_rules *r, unsigned number)
{
    struct core_watch *w = &r->watches[number];

    for (unsigned i = 0; i < WORLD_NODES_MAX; i++)
        w->silent_ticks[i]++;
    check_hearing(w);
}

/* ---- occasions ---- */

void core_rules_on_start(struct core_rules *r, unsigned number, const struct raft *core)
{
    struct core_watch *w = &r->watches[number];

    w->core = core;
    w->commit = w->applied = w->elected_commit = 0;
    w->leader_term = w->term = 0;
    w->role = RAFT_FOLLOWER;
    w->read_count = w->context_count = 0;
    memset(w->silent_ticks, 0, sizeof w->silent_ticks);
    check_terms(w);
    check_promises(w);
}

void core_rules_on_lost_log(struct core_rules *r, unsigned number)
{
    struct core_watch *w = &r->watches[number];

    w->forgot = w->acked_in > w->voted_in ? w->acked_in : w->voted_in;
}

void core_rules_on_wiped(struct core_rules *r, unsigned number)
{
    struct core_watch *w = &r->watches[number];

    core_rules_on_lost_log(r, number);
    w->is_wiped = true;
    w->acked_in = w->voted_in = w->acked_term = 0;
    w->acked = 0;
    w->vote = 0;
}

void core_rules_on_alone(struct core_rules *r, unsigned number, raft_index keep, raft_term term)
{
    struct core_watch *w = &r->watches[number];

    for (raft_index i = keep + 1; i <= r->last; i++)
        r->entries[i] = (struct rule_entry){0};
    if (r->last > keep)
        r->last = keep;
    for (size_t i = term + 1; i < r->leaders_cap; i++)
        r->leaders[i] = 0;
    w->acked_in = w->acked_term = 0;
    w->acked = 0;
}

void core_rules_on_end(struct core_rules *r, unsigned number)
{
    r->watches[number].core = NULL;
}

void core_rules_on_receive(struct core_rules *r, unsigned number, const struct raft_message *m)
{
    struct core_watch *w = &r->watches[number];

    note_leader(r, w);
    core_rules_on_heard(r, number, m->from);
    w->commit_before = w->core->log.commit;
    w->last_before = raft_log_last(&w->core->log);
    w->last_term_before = raft_log_last_term(&w->core->log);
    if (w->core->role != RAFT_LEADER)
        return;
    if (m->type == RAFT_MSG_READ_INDEX)
        note_read(w, m->from, m->context);
    if (m->type == RAFT_MSG_HEARTBEAT_RESPONSE && m->term == w->core->term && m->context > w->answered[m->from - 1])
        w->answered[m->from - 1] = m->context;
}

void core_rules_on_stepped(struct core_rules *r, unsigned number, const struct raft_message *m)
{
    const struct core_watch *w = &r->watches[number];
    const struct raft_log *l = &w->core->log;
    raft_index compared = m->index + m->entry_count, commit = l->commit;

    /* Figure 2, AppendEntries rule 5. */
    if ((m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_PULL_RESPONSE) && commit > w->commit_before)
        SIM_CHECK(commit <= compared && commit <= m->commit,
                  "commitment: member %u commits up to entry %llu by entries up to %llu and a commit of %llu", number, NUMBER(commit),
                  NUMBER(compared), NUMBER(m->commit));
    /* raft/pull.c: only of a log that is newer, by Raft 5.4.1, than the one that it had. */
    if (m->type == RAFT_MSG_PULL_RESPONSE && (raft_log_last(l) != w->last_before || raft_log_last_term(l) != w->last_term_before))
        SIM_CHECK(m->hint_term > w->last_term_before || (m->hint_term == w->last_term_before && m->hint_index > w->last_before),
                  "log: member %u, which ends at entry %llu of term %llu, takes entries of a log that ends at %llu of term %llu", number,
                  NUMBER(w->last_before), NUMBER(w->last_term_before), NUMBER(m->hint_index), NUMBER(m->hint_term));
}

/* Who asks for votes has one, by all the changes that it knows to be committed. */
void core_rules_before_run(struct core_rules *r, unsigned number)
{
    struct core_watch *w = &r->watches[number];
    const struct raft *core = w->core;
    bool asks = core->role == RAFT_PRE_CANDIDATE || core->role == RAFT_CANDIDATE;
    bool begins = asks && (core->role != w->role || core->term != w->term);

    note_leader(r, w);
    w->role = core->role;
    w->term = core->term;
    if (!begins)
        return;
    SIM_CHECK(raft_conf_is_voter(&core->conf, core->options.id), "membership: member %u asks for votes and has none", number);
    for (raft_index i = core->log.applied + 1; i <= core->log.commit; i++)
        SIM_CHECK((*raft_log_slot(&core->log, i))->type != RAFT_ENTRY_CONF,
                  "membership: member %u asks for votes before it applied the committed change %llu", number, NUMBER(i));
}

void core_rules_on_run(struct core_rules *r, unsigned number)
{
    struct core_watch *w = &r->watches[number];
    raft_index commit_before = w->commit;
    size_t uncommitted;

    check_committed(r, w);
    note_leader(r, w);
    check_own_commit(w);
    check_quorum(r, w, commit_before);
    check_conf_entries(w);
    check_promises(w);
    bounds_check_core(w->core, w->inherited > r->batch_bytes_max ? w->inherited : r->batch_bytes_max);
    uncommitted = bounds_uncommitted(w->core);
    if (w->inherited > uncommitted) /* what went of it does not come again */
        w->inherited = uncommitted;
}

void core_rules_on_send(struct core_rules *r, unsigned number, const struct raft_message *m)
{
    struct core_watch *w = &r->watches[number];

    note_leader(r, w);
    check_memory(w, m);
    if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT)
        SIM_CHECK(m->term < r->leaders_cap && r->leaders[m->term] == m->from,
                  "election safety: member %u speaks as the leader of term %llu, and may not yet", number, NUMBER(m->term));
    if (m->type == RAFT_MSG_APPEND_RESPONSE && !m->reject)
        note_ack(w, m);
    else if (m->type == RAFT_MSG_VOTE)
        note_vote(w, m->term, m->from);
    else if (m->type == RAFT_MSG_VOTE_RESPONSE && !m->reject)
        note_vote(w, m->term, m->to);
    else if (m->type == RAFT_MSG_HEARTBEAT && m->term == w->leader_term && m->context > w->round)
        w->round = m->context;
    else if (m->type == RAFT_MSG_READ_INDEX_RESPONSE && m->term == w->leader_term && w->core->term == m->term)
        check_read_point(w, m->to, m->context, m->index);
    else if (m->type == RAFT_MSG_READ_INDEX)
        note_attempt(w, m->context);
}
