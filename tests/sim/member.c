/* SPDX-License-Identifier: Apache-2.0 */
/* Life and death of members. */
#include "tests/sim/member.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "mvcc/transfer.h"
#include "raft/snapshot.h"
#include "raftd/node/internal.h"
#include "raftd/peer/frame.h"
#include "raftd/roster.h"
#include "raftd/wal/reader.h"
#include "tests/sim/greeting.h"
#include "tests/sim/history.h"
#include "tests/sim/work.h"
#include "tests/sim/write_errors.h"
#include "tests/unit/temp_dir.h"

#define ELECTION_TICKS 8

void sim_trace(const struct member_world *s, const char *format, ...)
{
    va_list args;

    if (!s->trace)
        return;
    printf("%10.3f ms  ", (double)s->world->now_ns / NS_PER_MS);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

int64_t member_now(const struct sim_member *m)
{
    return m->clock_base_ns + m->shared->world->now_ns / 100 * m->clock_percent;
}

static int64_t world_time(const struct sim_member *m, int64_t member_ns)
{
    return (member_ns - m->clock_base_ns) / m->clock_percent * 100 + 100;
}

/* ---- the end that it makes itself ---- */

static void on_return(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];

    (void)bytes;
    (void)len;
    if (!m->up && m->life == life && !m->is_gone)
        member_start(m);
}

/* It found damage that others have, or its store cannot be written: it begins anew at once. */
static void ended(struct sim_member *m)
{
    struct world *w = m->shared->world;

    member_crash(m, MEMBER_KILLED);
    world_at(w, w->now_ns + 1, on_return, m->shared, m->number, m->life, NULL, 0);
}

/* In whatever lets a node act: from here, if the node ends its process. */
#define ENDS_HERE(m)           \
    do {                       \
        if (setjmp((m)->on_end)) { \
            ended(m);          \
            return;            \
        }                      \
    } while (0)

/* ---- events ---- */

/* Is it of this life? A paused member gets it later. */
static bool is_for(struct sim_member *m, uint64_t life, world_event_fn fn, uint64_t number, const uint8_t *bytes, size_t len)
{
    struct world *w = m->shared->world;

    if (!m->up || (life && life != m->life))
        return false;
    if (m->paused_until_ns <= w->now_ns)
        return true;
    world_at(w, m->paused_until_ns, fn, m->shared, m->number, number, bytes, len);
    return false;
}

static void on_log_news(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];

    if (!is_for(m, life, on_log_news, life, bytes, len))
        return;
    ENDS_HERE(m);
    node_on_wal(m->node);
    member_run(m);
}

static void on_log_step(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];
    struct world *w = m->shared->world;

    if (!is_for(m, life, on_log_step, life, bytes, len))
        return;
    if (m->disk_stalled_until_ns > w->now_ns) {
        world_at(w, m->disk_stalled_until_ns, on_log_step, m->shared, number, life, NULL, 0);
        return;
    }
    m->log_step_due = false;
    if (m->cuts_writing) {
        member_crash(m, MEMBER_POWER_CUT_WRITING);
        world_at(w, w->now_ns + world_between(w, 0, m->shared->power_off_ns), on_return, m->shared, number, life, NULL, 0);
        return;
    }
    if (!wal_step(m->files.wal))
        return;
    m->shared->log_waits += wal_wants_step(m->files.wal);
    m->is_alone = m->is_alone && !wal_durable(m->files.wal); /* the first batch says so */
    if (world_chance(w, m->shared->late_news)) { /* the loop has other things to do first */
        world_at(w, w->now_ns + world_between(w, 0, 5 * NS_PER_MS), on_log_news, m->shared, number, life, NULL, 0);
        return;
    }
    ENDS_HERE(m);
    node_on_wal(m->node);
    member_run(m);
}

/* What threads of raftd do by themselves. */
static void look_after_files(struct sim_member *m)
{
    voters_keeper_on_tick(&m->voters, member_now(m));
    if (m->disk_stalled_until_ns <= m->shared->world->now_ns && world_chance(m->shared->world, 50))
        wal_make_spare(m->files.wal);
}

static void on_tick(void *arg, unsigned number, uint64_t tick, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];
    int64_t next, tick_at;

    if (tick != m->tick || !is_for(m, 0, on_tick, tick, bytes, len))
        return;
    look_after_files(m);
    ENDS_HERE(m);
    tick_at = m->node->next_tick_ns;
    next = node_tick(m->node, member_now(m));
    if (m->node->next_tick_ns != tick_at)
        rules_on_tick(m);
    world_at(m->shared->world, world_time(m, next), on_tick, m->shared, m->number, m->tick, NULL, 0);
    member_run(m);
}

/* What asks for an election that may never come moves no term. */
static void step(struct sim_member *m, const struct raft_message *message)
{
    struct raft_status before, after;

    node_get_raft_status(m->node, &before);
    core_rules_on_receive(&m->shared->rules.core, m->number, message);
    node_step(m->node, message);
    core_rules_on_stepped(&m->shared->rules.core, m->number, message);
    node_get_raft_status(m->node, &after);
    SIM_CHECK(message->type != RAFT_MSG_PRE_VOTE || before.hard.term == after.hard.term,
              "a pre-vote moves member %u from term %llu to %llu", m->number, (unsigned long long)before.hard.term,
              (unsigned long long)after.hard.term);
}

static void on_message(void *arg, unsigned number, uint64_t from, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];
    struct snapshot_message snapshot;
    struct raft_message message;
    struct slice payload;
    size_t frame_len;

    if (!is_for(m, 0, on_message, from, bytes, len))
        return;
    SIM_CHECK(frame_next(slice_of(bytes, len), PEER_FRAME_BYTES_MAX, &payload, &frame_len) == ST_OK && frame_len == len,
              "a frame does not come back as it was");
    if (!greeting_is_heard(m, &m->shared->members[from]))
        return;
    m->has_heard = true;
    core_rules_on_heard(&m->shared->rules.core, number, from + 1);
    ENDS_HERE(m);
    if (frame_kind(payload) == FRAME_SNAPSHOT) {
        SIM_CHECK(frame_decode_snapshot(payload, &snapshot) == ST_OK, "nor what is said about a snapshot");
        node_on_snapshot_message(m->node, &snapshot);
    } else {
        SIM_CHECK(frame_decode_message(payload, &message) == ST_OK, "nor a message");
        step(m, &message);
        frame_free_message(&message);
    }
    member_run(m);
}

static void storage_soon(struct sim_member *m);

static void on_storage_time(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];
    struct member_work work = m->work[0];

    if (!is_for(m, life, on_storage_time, life, bytes, len))
        return;
    if (m->storage_stalled_until_ns > m->shared->world->now_ns) {
        world_at(m->shared->world, m->storage_stalled_until_ns, on_storage_time, m->shared, number, life, NULL, 0);
        return;
    }
    work_run(m, &work);
    memmove(m->work, m->work + 1, --m->work_count * sizeof *m->work);
    if (m->work_count)
        storage_soon(m);
    m->shared->seals += work.seal && work.status == ST_OK;
    ENDS_HERE(m);
    if (work.seal)
        node_on_seal_written(m->node, work.seal, work.status, &work.error);
    else if (work.io)
        work.io->done_fn(work.io);
    else
        node_on_job_done(m->node, work.job);
    member_run(m);
}

static void storage_soon(struct sim_member *m)
{
    struct world *w = m->shared->world;

    world_at(w, w->now_ns + world_between(w, NS_PER_MS, (m->work[0].seal ? 200 : 20) * NS_PER_MS), on_storage_time, m->shared,
             m->number, m->life, NULL, 0);
}

void member_add_work(struct sim_member *m, struct member_work work)
{
    SIM_CHECK(m->work_count < MEMBER_WORK_MAX, "member %u asks too much of its storage thread", m->number);
    m->work[m->work_count++] = work;
    if (m->work_count == 1)
        storage_soon(m);
}

static void on_unreachable(void *arg, unsigned number, uint64_t peer, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];

    if (!is_for(m, 0, on_unreachable, peer, bytes, len))
        return;
    ENDS_HERE(m);
    node_on_unreachable(m->node, peer + 1);
    member_run(m);
}

/* ---- what the node asks for ---- */

static void send_frame(struct sim_member *m, unsigned to, struct buf *frame)
{
    SIM_CHECK(to < m->shared->count, "a message to nobody");
    if (!world_send(m->shared->world, m->number, to, buf_slice(frame)))
        world_at(m->shared->world, 0, on_unreachable, m->shared, m->number, to, NULL, 0);
    buf_fini(frame);
}

static void send_fn(void *arg, const struct raft_message *message)
{
    struct sim_member *m = arg;
    unsigned to = (unsigned)message->to - 1;

    struct buf frame = {0};

    SIM_CHECK(message->from == m->number + 1, "a message of nobody");
    rules_on_send(m, message);
    frame_append_message(&frame, message);
    send_frame(m, to, &frame);
}

static void send_snapshot_fn(void *arg, const struct snapshot_message *message)
{
    struct sim_member *m = arg;
    struct buf frame = {0};

    frame_append_snapshot(&frame, message);
    send_frame(m, (unsigned)message->to - 1, &frame);
}

static void work_fn(void *arg)
{
    (void)arg; /* member_run follows everything */
}

static void seal_fn(void *arg, struct mvcc_seal *seal)
{
    member_add_work(arg, (struct member_work){.seal = seal});
}

static void job_fn(void *arg, struct node_job *job)
{
    member_add_work(arg, (struct member_work){.job = job});
}

static void restored_fn(void *arg, struct mvcc *store)
{
    struct sim_member *m = arg;

    SIM_CHECK(mvcc_applied_index(store) > mvcc_applied_index(m->store) && mvcc_revision(store) >= mvcc_revision(m->store),
              "the store of member %u goes back", m->number);
    m->store = store;
    m->shared->snapshots++;
    sim_trace(m->shared, "%u installs a snapshot of %llu", m->number, (unsigned long long)mvcc_applied_index(store));
}

static void changed_fn(void *arg, const struct raft_status *st)
{
    struct sim_member *m = arg;

    if (st->role == RAFT_LEADER)
        sim_trace(m->shared, "%u leads term %llu", m->number, (unsigned long long)st->hard.term);
}

static void node_fail_fn(void *arg, const char *text)
{
    struct sim_member *m = arg;

    SIM_CHECK(m->store_error, "member %u ends itself: %s", m->number, text);
    m->shared->store_errors++;
    sim_trace(m->shared, "%u ends itself: %s", m->number, text);
    longjmp(m->on_end, 1);
}

/* One that is paused keeps its connections. */
static int64_t connected_fn(void *arg, uint64_t id)
{
    const struct sim_member *m = arg;
    const struct world *w = m->shared->world;
    unsigned i = (unsigned)id - 1;

    return i < m->shared->count && m->shared->members[i].up && !w->cut[i][m->number] && !w->cut[m->number][i] ? 0 : INT64_MAX;
}

static void damaged_fn(void *arg)
{
    struct sim_member *m = arg;
    struct error error;
    enum status st = storage_on_damage(&m->files, m->store, &error);

    SIM_CHECK(damage_is_open(m), "member %u finds damage where there was none: %s", m->number, error.text);
    if (st == ST_OK)
        return;
    SIM_CHECK(st == ST_CORRUPT, "member %u: %s", m->number, error.text);
    sim_trace(m->shared, "%u begins anew: %s", m->number, error.text);
    longjmp(m->on_end, 1);
}

static void unreadable_fn(void *arg, raft_index index)
{
    struct sim_member *m = arg;

    SIM_CHECK(damage_is_open(m), "member %u cannot read what entry %llu depends on", m->number, (unsigned long long)index);
    sim_trace(m->shared, "%u cannot read what entry %llu depends on", m->number, (unsigned long long)index);
    m->shared->put_off++;
}

static bool voters_fn(void *arg, raft_index index, unsigned count)
{
    struct sim_member *m = arg;

    return voters_keeper_note(&m->voters, index, count);
}

static void voters_kept_fn(void *arg)
{
    struct sim_member *m = arg;

    node_voters_kept(m->node);
}

static void voters_fail_fn(void *arg, const char *text)
{
    struct sim_member *m = arg;

    sim_fail("member %u ends itself: %s", m->number, text);
}

static void members_fn(void *arg)
{
    struct sim_member *m = arg;

    roster_sync(m->roster);
}

/* Done about damage, at a start. */
static void tell_fn(void *arg, enum log_level level, const char *what, const char *why)
{
    struct sim_member *m = arg;

    (void)level;
    SIM_CHECK(damage_is_open(m) || m->read_error_at, "member %u finds damage where there was none: %s", m->number, why);
    m->shared->healed_stores += strstr(what, "the store is damaged") != NULL;
    m->log_is_new |= strstr(what, "no votes until") != NULL;
    sim_trace(m->shared, "%u: %s: %s", m->number, what, why);
}

static void log_fail_fn(void *arg, const char *text)
{
    struct sim_member *m = arg;

    SIM_CHECK(m->dying, "the log of member %u fails: %s", m->number, text);
    longjmp(m->on_failure, 1);
}

static void wake_fn(void *arg)
{
    (void)arg;
}

static int64_t now_ns_fn(void *arg)
{
    return member_now(arg);
}

static int64_t wall_ns_fn(void *arg)
{
    struct sim_member *m = arg;

    /* A wall clock is good for nothing: it differs, and jumps. */
    if (world_chance(m->shared->world, 5))
        m->wall_offset_ns = world_between(m->shared->world, -3600 * NS_PER_S, 3600 * NS_PER_S);
    return m->shared->world->now_ns + m->wall_offset_ns;
}

/* ---- doing ---- */

/* How long the disk takes; a full one is asked again in a while. */
static int64_t log_step_ns(struct sim_member *m)
{
    struct world *w = m->shared->world;

    if (m->is_full && world_chance(w, 500))
        return m->shared->tick_ns;
    return world_chance(w, m->shared->slow_disk) ? world_between(w, NS_PER_MS, 400 * NS_PER_MS) : world_between(w, 50000, NS_PER_MS);
}

void member_run(struct sim_member *m)
{
    struct world *w = m->shared->world;

    ENDS_HERE(m);
    rules_before_run(m);
    node_run(m->node);
    rules_on_run(m);
    if (m->shared->ran_fn)
        m->shared->ran_fn(m->shared->ran_arg, m);
    if (m->log_step_due || !wal_wants_step(m->files.wal))
        return;
    m->log_step_due = true;
    world_at(w, w->now_ns + log_step_ns(m), on_log_step, m->shared, m->number, m->life, NULL, 0);
}

/* ---- starting, as raftd does ---- */

static struct mvcc_options store_options(const struct sim_member *m)
{
    return (struct mvcc_options){
        .memtable_bytes = m->shared->memtable_bytes, .seal_entries = m->shared->seal_entries};
}

static enum status open_files(struct sim_member *m, struct error *ret_error)
{
    struct member_world *s = m->shared;
    enum status st = data_dir_open(&m->data, m->dir, rng_next(&s->world->rng), ret_error);

    if (st == ST_OK && m->data.is_new)
        st = data_dir_begin(&m->data, SIM_CLUSTER_ID, m->number + 1, &s->initial, ret_error);
    if (st != ST_OK)
        return st;
    m->files = (struct storage){.dir = &m->data,
                                .alone = m->is_alone,
                                .store_options = store_options(m),
                                .wal_options = {.disk = m->disk,
                                                .cluster_id = m->data.cluster_id,
                                                .member_id = m->data.member_id,
                                                .segment_bytes = s->segment_bytes,
                                                .synchronous = true,
                                                .identity_seed = rng_next(&s->world->rng) | 1,
                                                .stepped = true,
                                                .wake_fn = wake_fn,
                                                .fail_fn = log_fail_fn,
                                                .arg = m},
                                .tell_fn = tell_fn,
                                .arg = m};
    memory_disk_fail_at(m->disk, m->read_error_at, EIO);
    st = storage_open(&m->files, ret_error);
    memory_disk_fail_at(m->disk, 0, 0);
    m->voters = (struct voters_keeper){.storage = (struct storage_thread *)m, /* greeting.c: one thread for all */
                                       .voters = &m->data.voters,
                                       .dir_fd = m->data.member_fd,
                                       .kept_fn = voters_kept_fn,
                                       .fail_fn = voters_fail_fn,
                                       .arg = m};
    return st;
}

static enum status open_node(struct sim_member *m, struct error *ret_error)
{
    struct member_world *s = m->shared;
    struct node_options o = {.cluster_id = m->data.cluster_id,
                             .member_id = m->data.member_id,
                             .initial = &m->data.initial,
                             .tick_ns = s->tick_ns,
                             .election_ticks = ELECTION_TICKS,
                             .message_bytes_max = s->message_bytes_max,
                             .inflight_messages_max = s->inflight_messages_max,
                             .bounds = s->bounds,
                             .random_seed = rng_next(&s->world->rng),
                             .now_ns = member_now(m),
                             .force_new_cluster = m->is_alone,
                             .limits = {.txn_ops_max = TXN_OPS_MAX},
                             .learners_max = 2,
                             .corrupt_check_ns = s->corrupt_check_ns,
                             .scrub_ns = s->scrub_ns,
                             .store_options = store_options(m),
                             .snapshot_count = m->snapshot_count,
                             .snapshot_catchup = m->snapshot_catchup,
                             .window_bytes_max = s->window_bytes_max,
                             .snapshot_chunk_bytes = s->snapshot_chunk_bytes,
                             .space_floor_bytes = 1024,
                             .space_low_bytes = s->space_low_bytes,
                             .send_fn = send_fn,
                             .send_snapshot_fn = send_snapshot_fn,
                             .work_fn = work_fn,
                             .applied_fn = work_fn,
                             .seal_fn = seal_fn,
                             .job_fn = job_fn,
                             .restored_fn = restored_fn,
                             .changed_fn = changed_fn,
                             .members_fn = members_fn,
                             .voters_fn = voters_fn,
                             .connected_fn = connected_fn,
                             .damaged_fn = damaged_fn,
                             .unreadable_fn = unreadable_fn,
                             .fail_fn = node_fail_fn,
                             .wall_ns_fn = wall_ns_fn,
                             .now_ns_fn = now_ns_fn,
                             .arg = m};
    return storage_open_node(&m->files, &o, &m->node, ret_error);
}

static void close_files(struct sim_member *m)
{
    node_free(m->node);
    m->node = NULL;
    wal_close(m->files.wal);
    mvcc_close(m->store);
    data_dir_close(&m->data);
    m->files = (struct storage){0};
    m->store = NULL;
}

static enum status open_member(struct sim_member *m, struct error *ret_error)
{
    enum status st;

    m->log_is_new = false;
    m->lost_before = damage_lost_term(m);
    st = open_files(m, ret_error);
    if (st == ST_OK)
        st = open_node(m, ret_error);
    m->store = m->files.store;
    if (st == ST_OK)
        st = greeting_open(m, ret_error);
    return st;
}

/* A log that is broken is never gone on with, and one that is whole never given up. */
static void check_log(struct sim_member *m)
{
    SIM_CHECK(!m->damage.promise_is_lost, "damage: member %u starts without what it promised", m->number);
    SIM_CHECK(!m->damage.log_is_broken || m->log_is_new, "damage: member %u goes on with a log that is broken", m->number);
    damage_forget_log(m);
    if (!m->log_is_new)
        return;
    core_rules_on_lost_log(&m->shared->rules.core, m->number);
    m->shared->healed_logs++;
}

/* It did not start, and says why: a disk that cannot be read, or damage that nobody else can heal. Neither is there the next time. */
static void on_refusal(struct sim_member *m, const struct error *error)
{
    sim_trace(m->shared, "%u does not start: %s", m->number, error->text);
    SIM_CHECK(*error->text, "member %u does not start, and says nothing", m->number);
    if (m->read_error_at) {
        m->read_error_at = 0;
        close_files(m);
        return;
    }
    if (damage_lost_term(m) > m->lost_before) /* given up before the start found what refused it */
        core_rules_on_lost_log(&m->shared->rules.core, m->number);
    SIM_CHECK(m->damage.count && (m->damage.needs_operator || !storage_can_heal(&m->files)), "member %u does not start: %s", m->number,
              error->text);
    close_files(m);
    damage_undo(m);
    m->shared->refused_starts++;
}

/* What it knows to be committed, as its disk says now: the rest goes when it goes on alone. */
static raft_index known_commit(struct sim_member *m)
{
    struct wal_state w = {0};
    struct error error;
    raft_index last, commit;

    SIM_CHECK(wal_read(m->disk, SIM_CLUSTER_ID, m->number + 1, &w, &error) == ST_OK, "member %u: %s", m->number, error.text);
    last = w.begin_index + w.entry_count;
    commit = w.hard.commit < last ? w.hard.commit : last;
    wal_state_fini(&w);
    return commit;
}

/* All that is committed, and what removes the others, is applied before anybody asks. */
static void go_on_alone(struct sim_member *m)
{
    member_run(m);
    SIM_CHECK(node_members(m->node)->count == 1 && node_members(m->node)->conf.voter_count == 1,
              "member %u is alone, and knows of %u members", m->number, node_members(m->node)->count);
    sim_trace(m->shared, "%u goes on alone, applied %llu, revision %lld", m->number, (unsigned long long)mvcc_applied_index(m->store),
              (long long)mvcc_revision(m->store));
    m->shared->alone_fn(m->shared->alone_arg, mvcc_revision(m->store));
}

void member_start(struct sim_member *m)
{
    struct member_world *s = m->shared;
    raft_index commit = m->is_alone ? known_commit(m) : 0;
    struct mvcc_checkpoint checkpoint;
    struct error error = {0};

    m->life++;
    m->clock_base_ns = world_between(s->world, 0, 1000 * NS_PER_S); /* another boot */
    m->clock_percent = (unsigned)world_between(s->world, 90, 110);
    m->paused_until_ns = m->disk_stalled_until_ns = m->storage_stalled_until_ns = 0;
    m->log_step_due = m->cuts_writing = false;
    m->store_error = 0;
    m->read_error_at = world_chance(s->world, 30) ? 1 + (unsigned)rng_below(&s->world->rng, 20) : 0;
    if (damage_is_open(m) || m->is_wiped)
        member_set_full(m, false); /* a new log needs space */
    while (open_member(m, &error) != ST_OK)
        on_refusal(m, &error);
    m->read_error_at = 0;
    check_log(m);
    m->up = true;
    mvcc_get_checkpoint(m->store, &checkpoint);
    if (m->is_alone)
        rules_on_alone(m, commit > checkpoint.applied_index ? commit : checkpoint.applied_index);
    rules_on_start(m);
    sim_trace(s, "%u starts, applied %llu", m->number, (unsigned long long)mvcc_applied_index(m->store));
    m->tick += WORLD_NODES_MAX; /* unlike all before */
    world_at(s->world, 0, on_tick, s, m->number, m->tick, NULL, 0);
    if (m->is_alone)
        go_on_alone(m);
}

void member_crash(struct sim_member *m, enum member_end how)
{
    struct member_world *s = m->shared;
    struct disk *volatile left; /* set between two setjmp(3) */

    sim_trace(s, "%u crashes (%d), applied %llu", m->number, (int)how, (unsigned long long)mvcc_applied_index(m->store));
    m->up = false;
    rules_on_end(m);
    s->crashes++;
    m->dying = true;
    if (how == MEMBER_POWER_CUT_WRITING && !setjmp(m->on_failure)) {
        memory_disk_fail_at(m->disk, 1 + (unsigned)rng_below(&s->world->rng, 14), EIO);
        wal_step(m->files.wal);
    }
    if (how == MEMBER_SYNC_FAILS && !setjmp(m->on_failure)) {
        memory_disk_fail_sync(m->disk);
        wal_step(m->files.wal);
        SIM_CHECK(!memory_disk_has_dropped(m->disk), "fail-stop: member %u goes on after a sync failed", m->number);
    }
    left = how == MEMBER_KILLED ? memory_disk_after_kill(m->disk) : memory_disk_after_power_cut(m->disk, &s->world->rng);
    memory_disk_fail_at(m->disk, 0, 0);
    unsynced_end(m->unsynced, how != MEMBER_KILLED, rng_next(&s->world->rng), work_calls(m));
    work_end(m);
    greeting_close(m);
    (void)setjmp(m->on_failure); /* a sync that fails is the last: then the log is closed without it */
    close_files(m);
    unsynced_settle(m->unsynced);
    m->dying = false;
    m->disk->ops->free(m->disk);
    m->disk = left;
}

void member_wipe(struct sim_member *m)
{
    sim_trace(m->shared, "%u loses all its data", m->number);
    m->disk->ops->free(m->disk);
    m->disk = memory_disk_new();
    m->is_full = false;
    temp_dir_remove(m->dir);
    unsynced_forget(m->unsynced);
    m->is_wiped = true;
    m->wiped_in = m->life;
    for (unsigned i = 0; i < m->shared->count; i++)
        m->shared->members[i].met_by[m->number] = false;
    m->shared->wipes++;
    core_rules_on_wiped(&m->shared->rules.core, m->number);
}

void member_disk_goes_on(struct sim_member *m)
{
    m->disk_stalled_until_ns = 0;
    if (m->up && m->log_step_due)
        world_at(m->shared->world, 0, on_log_step, m->shared, m->number, m->life, NULL, 0);
}

/* Little is left, or none; or as much as anybody wants. */
void member_set_full(struct sim_member *m, bool full)
{
    uint64_t left = (uint64_t)world_between(m->shared->world, 0, 3 * (int64_t)m->shared->segment_bytes);

    if (m->is_full == full)
        return;
    m->is_full = full;
    memory_disk_set_size(m->disk, full ? memory_disk_used(m->disk) + left : UINT64_MAX);
    m->shared->full_disks += full;
    sim_trace(m->shared, "%u: %s", m->number, full ? "the disk is full" : "there is space again");
}

/* ---- all of them ---- */

const struct sim_member *member_newest(const struct member_world *s)
{
    const struct sim_member *newest = NULL;

    for (unsigned i = 0; i < s->count; i++)
        if (s->members[i].up && (!newest || mvcc_applied_index(s->members[i].store) > mvcc_applied_index(newest->store)))
            newest = &s->members[i];
    return newest;
}

bool member_is_in(const struct sim_member *m)
{
    const struct sim_member *newest = member_newest(m->shared);

    return newest && members_look_up(node_members(newest->node), m->number + 1);
}

void member_world_init(struct member_world *s, struct world *w, unsigned founders, unsigned others, const char *dir)
{
    char url[40], *urls[] = {url};

    *s = (struct member_world){.world = w, .count = founders + others, .founders = founders, .tick_ns = 20 * NS_PER_MS,
                               .memtable_bytes = UINT64_MAX, .seal_entries = UINT64_MAX, .bounds = NODE_BOUNDS,
                               .segment_bytes = SIM_SEGMENT_BYTES,
                               .window_bytes_max = SIZE_MAX, .snapshot_chunk_bytes = 4096};
    rules_init(&s->rules);
    w->deliver_fn = on_message;
    w->deliver_arg = s;
    for (unsigned i = 0; i < s->count; i++) {
        struct sim_member *m = &s->members[i];
        snprintf(url, sizeof url, "http://a.member:%u", i + 1);
        SIM_CHECK(i >= founders || members_add(&s->initial, i + 1, "", urls, 1) == ST_OK, "members");
        m->shared = s;
        m->number = i;
        m->tick = i;
        m->disk = memory_disk_new();
        snprintf(m->dir, sizeof m->dir, "%s/%u", dir, i);
        temp_dir_remove(m->dir);
        m->unsynced = unsynced_new(m->dir);
    }
}

void member_world_fini(struct member_world *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct sim_member *m = &s->members[i];
        if (m->up)
            member_crash(m, MEMBER_KILLED);
        m->disk->ops->free(m->disk);
        unsynced_free(m->unsynced);
        temp_dir_remove(m->dir);
    }
    members_fini(&s->initial);
    rules_fini(&s->rules);
}
