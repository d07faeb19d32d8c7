/* SPDX-License-Identifier: Apache-2.0 */
/* A bare core and its owner. */
#include "tests/sim/cores.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "raft/conf_change.h"
#include "raftd/peer/frame.h"
#include "tests/sim/history.h"

#define SNAPSHOT_PATIENCE_TICKS 30 /* of a leader for an answer about one that it sent */

void cores_trace(const struct cores *s, const char *format, ...)
{
    va_list args;

    if (!s->trace)
        return;
    printf("%10.3f ms  ", (double)s->world.now_ns / NS_PER_MS);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

bool core_is_awake(const struct sim_core *m)
{
    return m->raft && m->paused_until_ns <= m->shared->world.now_ns;
}

/* Is it of this life? One that is paused gets it later. */
static bool is_for(struct sim_core *m, uint64_t life, world_event_fn fn, uint64_t number, const uint8_t *bytes, size_t len)
{
    struct world *w = &m->shared->world;

    if (!m->raft || (life && life != m->life))
        return false;
    if (core_is_awake(m))
        return true;
    world_at(w, m->paused_until_ns, fn, m->shared, m->number, number, bytes, len);
    return false;
}

/* ---- the disk ---- */

static raft_index disk_last(const struct core_disk *d)
{
    return d->begin + d->count;
}

/* 0: it is not there. */
static raft_term disk_term(const struct core_disk *d, raft_index index)
{
    if (index == d->begin)
        return d->begin_term;
    return index > d->begin && index <= disk_last(d) ? d->entries[index - d->begin - 1]->term : 0;
}

static bool disk_has(const struct core_disk *d, raft_index index, raft_term term)
{
    return index <= d->begin || index <= d->checkpoint || disk_term(d, index) == term;
}

/* The same of one that lost its log: until it ends in a later term, whoever else elects a leader knows of what it had. */
static bool disk_counts(const struct core_disk *d, raft_index index, raft_term term)
{
    return disk_has(d, index, term) || (d->lost_term && disk_term(d, disk_last(d)) <= d->lost_term);
}

static void disk_truncate(struct core_disk *d, size_t count)
{
    while (d->count > count)
        raft_entry_unref(d->entries[--d->count]);
}

/* The log begins behind an entry: what follows that very entry stays, else nothing does. */
static void disk_begin(struct core_disk *d, raft_index index, raft_term term)
{
    size_t drop = 0;

    if (index <= d->begin)
        return;
    if (disk_term(d, index) != term)
        disk_truncate(d, 0);
    while (drop < d->count && d->entries[drop]->index <= index)
        raft_entry_unref(d->entries[drop++]);
    d->count -= drop;
    if (drop)
        memmove(d->entries, d->entries + drop, d->count * sizeof *d->entries);
    d->begin = index;
    d->begin_term = term;
}

static void disk_write(struct sim_core *m, const struct core_batch *b)
{
    struct core_disk *d = &m->disk;

    if (b->has_hard)
        d->hard = b->hard;
    if (b->begin)
        disk_begin(d, b->begin, b->begin_term);
    for (size_t i = 0; i < b->count; i++) {
        struct raft_entry *e = b->entries[i];
        SIM_CHECK(e->index > d->begin && e->index <= disk_last(d) + 1, "storage: member %u is to store entry %llu behind %llu..%llu",
                  m->number, (unsigned long long)e->index, (unsigned long long)d->begin, (unsigned long long)disk_last(d));
        disk_truncate(d, (size_t)(e->index - d->begin - 1));
        d->entries = mem_grow(d->entries, &d->cap, d->count + 1, sizeof *d->entries);
        d->entries[d->count++] = raft_entry_ref(e);
    }
}

static void batch_free(struct core_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        raft_entry_unref(b->entries[i]);
    free(b->entries);
    free(b->after);
}

static void drop_first_batch(struct sim_core *m)
{
    batch_free(&m->batches[0]);
    memmove(m->batches, m->batches + 1, --m->batch_count * sizeof *m->batches);
}

/* ---- rules of disks ---- */

/* A message that promises something leaves: it is durable. */
static void check_promise(const struct sim_core *m, const struct raft_message *message)
{
    const struct raft_hard_state *hard = &m->disk.hard;
    raft_id vote = message->type == RAFT_MSG_VOTE ? message->from : message->to;
    bool votes = message->type == RAFT_MSG_VOTE || (message->type == RAFT_MSG_VOTE_RESPONSE && !message->reject);

    if (votes)
        SIM_CHECK(hard->term > message->term || (hard->term == message->term && hard->vote == vote),
                  "durability: member %u votes for %llu in term %llu, and its disk does not know", m->number,
                  (unsigned long long)vote, (unsigned long long)message->term);
    if (message->type == RAFT_MSG_APPEND_RESPONSE && !message->reject && message->term == m->raft->term)
        SIM_CHECK(disk_has(&m->disk, message->index, raft_log_term(&m->raft->log, message->index)),
                  "durability: member %u says that it holds entry %llu, and its disk does not", m->number,
                  (unsigned long long)message->index);
}

/* What the core takes for stored: it counts itself by it, and applies up to it. */
static void check_stored(const struct sim_core *m)
{
    const struct raft_log *l = &m->raft->log;

    SIM_CHECK(disk_has(&m->disk, l->stored, raft_log_term(l, l->stored)) || l->stored == l->snapshot_index,
              "durability: member %u takes entry %llu for stored, and its disk does not have it", m->number,
              (unsigned long long)l->stored);
    SIM_CHECK(l->handed <= l->stored, "durability: member %u applies entry %llu, and has stored up to %llu", m->number,
              (unsigned long long)l->handed, (unsigned long long)l->stored);
}

/* By configurations that stay: what anybody knows to be committed is on the disks of a majority, for ever, whoever is up. */
static void check_committed(const struct cores *s)
{
    const struct rule_entry *known = core_rules_entry(&s->rules, s->rules.last);
    bool there[WORLD_NODES_MAX] = {false};

    if (s->changes || !known)
        return;
    for (unsigned i = 0; i < s->count; i++)
        there[i] = disk_counts(&s->members[i].disk, s->rules.last, known->term);
    SIM_CHECK(core_rules_is_quorum(&s->confs[0].conf, there),
              "durability: entry %llu of term %llu is committed, and not on the disks of a majority", (unsigned long long)s->rules.last,
              (unsigned long long)known->term);
}

/* By those that change: when a leader takes it for committed. */
static void check_commit(const struct sim_core *m, raft_index commit_before, const struct raft_conf *conf_before)
{
    const struct raft *core = m->raft;
    bool there[WORLD_NODES_MAX] = {false};

    if (core->role != RAFT_LEADER || core->log.commit <= commit_before || memcmp(conf_before, &core->conf, sizeof *conf_before) != 0)
        return;
    for (unsigned i = 0; i < m->shared->count; i++)
        there[i] = disk_counts(&m->shared->members[i].disk, core->log.commit, raft_log_term(&core->log, core->log.commit));
    SIM_CHECK(core_rules_is_quorum(&core->conf, there),
              "durability: member %u commits entry %llu, and it is not on the disks of a majority", m->number,
              (unsigned long long)core->log.commit);
}

/* ---- messages ---- */

static void on_unreachable(void *arg, unsigned number, uint64_t peer, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];

    if (!is_for(m, 0, on_unreachable, peer, bytes, len))
        return;
    raft_unreachable(m->raft, peer + 1);
    core_run(m);
}

/* No word of a snapshot: it has failed. */
static void on_patience(void *arg, unsigned number, uint64_t peer, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];

    if (!is_for(m, 0, on_patience, peer, bytes, len))
        return;
    raft_snapshot_sent(m->raft, peer + 1, 0);
    core_run(m);
}

static void send_message(struct sim_core *m, const struct raft_message *message)
{
    struct cores *s = m->shared;
    unsigned to = (unsigned)message->to - 1;
    struct buf frame = {0};

    SIM_CHECK(message->from == m->number + 1 && to < s->count, "a message of nobody, or to nobody");
    if (to == m->number) { /* as a node does */
        if (raft_step(m->raft, message) != ST_OK)
            cores_trace(s, "%u: a message to itself is not taken", m->number);
        return;
    }
    core_rules_on_send(&s->rules, m->number, message);
    check_promise(m, message);
    if (message->type == RAFT_MSG_SNAPSHOT)
        world_at(&s->world, s->world.now_ns + SNAPSHOT_PATIENCE_TICKS * s->tick_ns, on_patience, s, m->number, to, NULL, 0);
    frame_append_message(&frame, message);
    if (!world_send(&s->world, m->number, to, buf_slice(&frame)))
        world_at(&s->world, 0, on_unreachable, s, m->number, to, NULL, 0);
    buf_fini(&frame);
}

static void on_installed(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len);

static void consider_snapshot(struct sim_core *m, const struct raft_message *message)
{
    struct world *w = &m->shared->world;

    if (m->installs || message->from != m->raft->leader || !raft_wants_snapshot(m->raft, message->index, message->log_term))
        return;
    m->installs = message->from;
    m->install_index = message->index;
    m->install_term = message->log_term;
    world_at(w, w->now_ns + world_between(w, m->shared->tick_ns / 10, m->shared->install_ns), on_installed, m->shared, m->number, m->life,
             NULL, 0);
}

static void on_message(void *arg, unsigned number, uint64_t from, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];
    struct raft_message message;
    struct slice payload;
    size_t frame_len;
    bool brings_log;

    if (!is_for(m, 0, on_message, from, bytes, len))
        return;
    SIM_CHECK(frame_next(slice_of(bytes, len), PEER_FRAME_BYTES_MAX, &payload, &frame_len) == ST_OK && frame_len == len &&
                  frame_decode_message(payload, &message) == ST_OK,
              "a frame does not come back as it was");
    brings_log = message.type == RAFT_MSG_APPEND || message.type == RAFT_MSG_PULL_RESPONSE;
    core_rules_on_heard(&m->shared->rules, number, from + 1);
    if (!m->installs || !brings_log) { /* the commit must not pass what is being installed */
        core_rules_on_receive(&m->shared->rules, number, &message);
        if (raft_step(m->raft, &message) != ST_OK)
            cores_trace(m->shared, "%u: message %d of %llu is not taken", number, (int)message.type, (unsigned long long)from);
        core_rules_on_stepped(&m->shared->rules, number, &message);
        if (message.type == RAFT_MSG_SNAPSHOT)
            consider_snapshot(m, &message);
        if (message.type == RAFT_MSG_APPEND && world_chance(&m->shared->world, m->shared->forgets))
            raft_forget_leader(m->raft);
    }
    frame_free_message(&message);
    core_run(m);
}

/* ---- configurations ---- */

static const struct raft_conf *conf_at(const struct cores *s, raft_index index)
{
    size_t i = s->conf_count;

    while (s->confs[--i].index > index)
        ;
    return &s->confs[i].conf;
}

/* The same on all who apply that entry. */
static void note_conf(struct sim_core *m, raft_index index)
{
    struct cores *s = m->shared;
    const struct raft_conf *conf = raft_get_conf(m->raft);

    if (index > s->confs[s->conf_count - 1].index) {
        s->confs = mem_grow(s->confs, &s->conf_cap, s->conf_count + 1, sizeof *s->confs);
        s->confs[s->conf_count++] = (struct core_conf_point){index, *conf};
    }
    SIM_CHECK(memcmp(conf_at(s, index), conf, sizeof *conf) == 0, "equal members: member %u, after entry %llu, has others than another",
              m->number, (unsigned long long)index);
}

static bool is_member(const struct raft_conf *conf, raft_id id)
{
    struct raft_members members;

    raft_conf_members(conf, &members);
    return raft_members_slot(&members, id) >= 0;
}

/* Who was removed never comes back under that id (a leader has forgotten which of its proposals it took). */
static enum status judge_change(void *arg, const struct raft_entry *e)
{
    const struct sim_core *m = arg;
    const struct cores *s = m->shared;
    struct raft_conf_change change;

    SIM_CHECK(raft_conf_change_decode(e, &change) == ST_OK, "a change that cannot be read");
    for (unsigned i = 0; i < change.count; i++) {
        bool was = false, is = is_member(raft_get_conf(m->raft), change.changes[i].id);
        for (size_t k = 0; k < s->conf_count; k++)
            was = was || is_member(&s->confs[k].conf, change.changes[i].id);
        if (was && !is && change.changes[i].type != RAFT_CHANGE_REMOVE)
            return ST_NOT_FOUND;
    }
    return ST_OK;
}

/* ---- applying ---- */

static void apply_proposal(struct sim_core *m, const struct raft_entry *e)
{
    struct cores *s = m->shared;
    uint64_t number = get_le64(e->data);

    SIM_CHECK(e->len >= 8 && number && number <= s->proposals, "an entry that nobody proposed");
    if (!s->applied_at[number])
        s->applied_at[number] = e->index;
    SIM_CHECK(s->applied_at[number] == e->index, "proposal %llu was applied twice, as entry %llu and %llu", (unsigned long long)number,
              (unsigned long long)s->applied_at[number], (unsigned long long)e->index);
}

static void apply(struct sim_core *m, const struct raft_entry *e)
{
    struct raft_conf_change change;
    struct raft_conf conf;

    world_note(&m->shared->world, e->index << 8 | m->number);
    if (e->type == RAFT_ENTRY_NORMAL) {
        if (e->len)
            apply_proposal(m, e);
        return;
    }
    SIM_CHECK(raft_conf_change_decode(e, &change) == ST_OK, "a change that cannot be read");
    if (raft_apply_conf_change(m->raft, &change, &conf) == ST_OK)
        cores_trace(m->shared, "%u applies change %llu: %u voters, %u outgoing, %u learners", m->number, (unsigned long long)e->index,
                    conf.voter_count, conf.outgoing_count, conf.learner_count);
    note_conf(m, e->index);
}

static void answer_read(struct sim_core *m, const struct raft_read_state *state)
{
    core_rules_on_own_read_point(&m->shared->rules, m->number, state->context, state->index);
    for (size_t i = 0; i < m->read_count; i++) {
        struct core_read read = m->reads[i];
        if (read.context != state->context)
            continue;
        SIM_CHECK(state->index >= read.floor, "reads: member %u is told to read at entry %llu, and %llu was committed when it asked",
                  m->number, (unsigned long long)state->index, (unsigned long long)read.floor);
        m->reads[i] = m->reads[--m->read_count];
        m->shared->reads_answered++;
        return;
    }
}

/* ---- the loop ---- */

static void on_stored(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len);

static void store_soon(struct sim_core *m)
{
    struct cores *s = m->shared;
    struct world *w = &s->world;
    int64_t most = world_chance(w, s->slow_stores) ? 20 * s->tick_ns : s->store_ns;

    if (m->store_due || !m->batch_count)
        return;
    m->store_due = true;
    world_at(w, w->now_ns + world_between(w, most / 10, most), on_stored, s, m->number, m->life, NULL, 0);
}

static void on_stored(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];
    struct core_batch done;

    if (!is_for(m, life, on_stored, life, bytes, len))
        return;
    if (m->stalled_until_ns > m->shared->world.now_ns) {
        world_at(&m->shared->world, m->stalled_until_ns, on_stored, m->shared, number, life, NULL, 0);
        return;
    }
    m->store_due = false;
    done = m->batches[0];
    memmove(m->batches, m->batches + 1, --m->batch_count * sizeof *m->batches);
    disk_write(m, &done);
    if (done.number)
        raft_stored(m->raft, done.number);
    for (size_t i = 0; i < done.after_count; i++)
        send_message(m, &done.after[i]);
    batch_free(&done);
    check_committed(m->shared);
    core_run(m);
}

static struct core_batch *add_batch(struct sim_core *m)
{
    m->batches = mem_grow(m->batches, &m->batch_cap, m->batch_count + 1, sizeof *m->batches);
    m->batches[m->batch_count] = (struct core_batch){0};
    return &m->batches[m->batch_count++];
}

static void store(struct sim_core *m, const struct raft_ready *rd)
{
    struct core_batch *b;

    if (!rd->hard_changed && !rd->entry_count && !rd->message_after_count)
        return;
    b = add_batch(m);
    b->number = rd->batch;
    b->has_hard = rd->hard_changed;
    b->hard = rd->hard;
    b->count = rd->entry_count;
    b->after_count = rd->message_after_count;
    if (b->count)
        b->entries = mem_copy(rd->entries, b->count * sizeof *b->entries);
    for (size_t i = 0; i < b->count; i++)
        raft_entry_ref(b->entries[i]);
    if (b->after_count)
        b->after = mem_copy(rd->messages_after_stored, b->after_count * sizeof *b->after);
}

static void run_ready(struct sim_core *m, const struct raft_ready *rd)
{
    raft_index applied = 0;

    store(m, rd);
    for (size_t i = 0; i < rd->message_count; i++)
        send_message(m, &rd->messages[i]);
    for (size_t i = 0; i < rd->read_count; i++) /* it may wait until more is applied; the point itself does not move */
        answer_read(m, &rd->reads[i]);
    for (size_t i = 0; i < rd->committed_count; i++) {
        apply(m, rd->committed[i]);
        applied = rd->committed[i]->index;
    }
    raft_advance(m->raft);
    if (applied)
        raft_applied(m->raft, applied);
}

void core_run(struct sim_core *m)
{
    struct core_rules *rules = &m->shared->rules;
    raft_index commit_before = rules->watches[m->number].commit;
    struct raft_conf conf_before = m->raft->conf;
    raft_index known_before = rules->last;
    struct raft_ready rd;

    core_rules_before_run(rules, m->number);
    while (raft_ready(m->raft, &rd))
        run_ready(m, &rd);
    core_rules_on_run(rules, m->number);
    check_stored(m);
    check_commit(m, commit_before, &conf_before);
    if (rules->last > known_before)
        check_committed(m->shared);
    if (!m->led && m->raft->role == RAFT_LEADER)
        m->shared->elected_fn(m->shared->elected_arg, m);
    m->led = m->raft->role == RAFT_LEADER;
    store_soon(m);
}

/* ---- ticks ---- */

static void on_tick(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];

    if (!is_for(m, life, on_tick, life, bytes, len))
        return;
    raft_tick(m->raft);
    core_rules_on_tick(&m->shared->rules, number);
    world_at(&m->shared->world, m->shared->world.now_ns + m->shared->tick_ns / 100 * m->clock_percent, on_tick, m->shared, number, life,
             NULL, 0);
    core_run(m);
}

/* ---- stores ---- */

/* How a snapshot ended comes to who sent it, or does not. */
static void on_outcome(void *arg, unsigned number, uint64_t what, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];

    if (!is_for(m, 0, on_outcome, what, bytes, len))
        return;
    raft_snapshot_sent(m->raft, (what & 255) + 1, what >> 8);
    core_run(m);
}

static void on_installed(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_core *m = &((struct cores *)arg)->members[number];
    struct world *w = &m->shared->world;
    struct core_batch *b;

    if (!is_for(m, life, on_installed, life, bytes, len))
        return;
    SIM_CHECK(raft_restore(m->raft, m->install_index, m->install_term, conf_at(m->shared, m->install_index)) == ST_OK,
              "snapshots: member %u cannot begin behind entry %llu, which it installed", number, (unsigned long long)m->install_index);
    cores_trace(m->shared, "%u installs a snapshot of %llu", number, (unsigned long long)m->install_index);
    m->disk.checkpoint = m->install_index;
    m->disk.checkpoint_term = m->install_term;
    b = add_batch(m);
    b->begin = m->install_index;
    b->begin_term = m->install_term;
    if (world_chance(w, 700))
        world_at(w, w->now_ns + world_between(w, 0, w->delay_tail_ns), on_outcome, m->shared, (unsigned)m->installs - 1,
                 m->install_index << 8 | number, NULL, 0);
    m->installs = 0;
    m->shared->snapshots++;
    core_run(m);
}

void core_checkpoint(struct sim_core *m)
{
    const struct raft_log *l = &m->raft->log;
    raft_index upto = l->applied > m->shared->catchup ? l->applied - m->shared->catchup : 0;
    struct core_batch *b;

    if (m->installs || l->applied == l->snapshot_index)
        return;
    m->disk.checkpoint = l->applied;
    m->disk.checkpoint_term = raft_log_term(l, l->applied);
    if (upto <= l->snapshot_index)
        return;
    b = add_batch(m);
    b->begin = upto;
    b->begin_term = raft_log_term(l, upto);
    raft_compact(m->raft, upto);
    core_run(m);
}

/* ---- what clients ask ---- */

void core_propose(struct sim_core *m, unsigned count)
{
    struct cores *s = m->shared;
    struct raft_entry *entries[8] = {NULL};

    for (unsigned i = 0; i < count; i++) {
        uint64_t number = ++s->proposals;
        size_t before = s->applied_cap;
        entries[i] = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)world_between(&s->world, 8, 8 + (int64_t)s->value_bytes));
        memset(entries[i]->data, 0, entries[i]->len);
        put_le64(entries[i]->data, number);
        s->applied_at = mem_grow(s->applied_at, &s->applied_cap, number + 1, sizeof *s->applied_at);
        if (s->applied_cap > before)
            memset(s->applied_at + before, 0, (s->applied_cap - before) * sizeof *s->applied_at);
    }
    if (raft_propose(m->raft, entries, count) != ST_OK) /* for want of a leader, or of room */
        cores_trace(s, "%u takes no proposal", m->number);
    for (unsigned i = 0; i < count; i++)
        raft_entry_unref(entries[i]);
    core_run(m);
}

void core_read(struct sim_core *m)
{
    struct cores *s = m->shared;
    uint64_t context = ++s->contexts;

    if (raft_read_index(m->raft, context) != ST_OK)
        return;
    core_rules_on_own_read(&s->rules, m->number, context);
    m->reads = mem_grow(m->reads, &m->read_cap, m->read_count + 1, sizeof *m->reads);
    m->reads[m->read_count++] = (struct core_read){context, s->rules.last};
    core_run(m);
}

/* ---- life and death ---- */

void core_start(struct sim_core *m)
{
    struct cores *s = m->shared;
    struct core_disk *d = &m->disk;
    struct raft_options o = {.id = m->number + 1,
                             .conf = *conf_at(s, d->checkpoint),
                             .election_ticks = s->election_ticks,
                             .heartbeat_ticks = s->heartbeat_ticks,
                             .pre_vote = true,
                             .check_quorum = true,
                             .step_down_on_removal = true,
                             .pull_log = s->pull_log,
                             .lost_term = d->lost_term,
                             .judge_conf_fn = judge_change,
                             .judge_conf_arg = m,
                             .random_seed = rng_next(&s->world.rng),
                             .message_bytes_max = s->message_bytes,
                             .inflight_messages_max = s->inflight,
                             .inflight_bytes_max = 4 * s->message_bytes,
                             .uncommitted_bytes_max = s->uncommitted_bytes,
                             .applied = d->checkpoint};

    /* A snapshot was installed, and the log does not know yet. */
    if (!disk_has(&(struct core_disk){.begin = d->begin, .entries = d->entries, .count = d->count}, d->checkpoint, d->checkpoint_term))
        disk_begin(d, d->checkpoint, d->checkpoint_term);
    if (d->hard.commit < d->checkpoint)
        d->hard.commit = d->checkpoint;
    o.hard = d->hard;
    o.snapshot_index = d->begin;
    o.snapshot_term = d->begin_term;
    o.entries = d->entries;
    o.entry_count = d->count;
    m->raft = raft_new(&o);
    m->life++;
    m->clock_percent = (unsigned)world_between(&s->world, 90, 110);
    m->paused_until_ns = m->stalled_until_ns = 0;
    m->store_due = m->led = false;
    core_rules_on_start(&s->rules, m->number, m->raft);
    cores_trace(s, "%u starts, log %llu..%llu, commit %llu, term %llu", m->number, (unsigned long long)d->begin,
                (unsigned long long)disk_last(d), (unsigned long long)d->hard.commit, (unsigned long long)d->hard.term);
    world_at(&s->world, s->world.now_ns + world_between(&s->world, 0, s->tick_ns), on_tick, s, m->number, m->life, NULL, 0);
}

/* Of what was with the disk, the first batches are there. */
void core_crash(struct sim_core *m)
{
    size_t kept = (size_t)rng_below(&m->shared->world.rng, m->batch_count + 1);

    cores_trace(m->shared, "%u crashes, and %zu of %zu batches are on its disk", m->number, kept, m->batch_count);
    for (; m->batch_count; drop_first_batch(m))
        if (kept) {
            disk_write(m, &m->batches[0]);
            kept--;
        }
    core_rules_on_end(&m->shared->rules, m->number);
    raft_free(m->raft);
    m->raft = NULL;
    m->installs = 0;
    m->read_count = 0;
    m->shared->crashes++;
    check_committed(m->shared);
}

void core_lose_log(struct sim_core *m)
{
    struct core_disk *d = &m->disk;

    cores_trace(m->shared, "%u loses its log", m->number);
    disk_truncate(d, 0);
    d->begin = d->checkpoint;
    d->begin_term = d->checkpoint_term;
    d->lost_term = d->hard.term;
    d->hard = (struct raft_hard_state){.term = d->lost_term + 1, .commit = d->checkpoint};
    m->shared->lost = true;
    core_rules_on_lost_log(&m->shared->rules, m->number);
}

void cores_init(struct cores *s)
{
    struct raft_conf conf = {.voter_count = s->founders};

    for (unsigned i = 0; i < s->founders; i++)
        conf.voters[i] = i + 1;
    s->confs = mem_grow(NULL, &s->conf_cap, 1, sizeof *s->confs);
    s->confs[s->conf_count++] = (struct core_conf_point){0, conf};
    core_rules_init(&s->rules);
    s->world.deliver_fn = on_message;
    s->world.deliver_arg = s;
    for (unsigned i = 0; i < s->count; i++) {
        s->members[i].shared = s;
        s->members[i].number = i;
    }
}

void cores_fini(struct cores *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->members[i].raft)
            core_crash(&s->members[i]);
    for (unsigned i = 0; i < s->count; i++) {
        struct sim_core *m = &s->members[i];
        disk_truncate(&m->disk, 0);
        free(m->disk.entries);
        free(m->batches);
        free(m->reads);
    }
    core_rules_fini(&s->rules);
    free(s->confs);
    free(s->applied_at);
}
