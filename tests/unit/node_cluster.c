/* SPDX-License-Identifier: Apache-2.0 */
/* Members without a process. */
#include "tests/unit/node_cluster.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "mvcc/transfer.h"
#include "proto/wire.h"
#include "tests/unit/check.h"
#include "tests/unit/memory_disk.h"
#include "tests/unit/temp_dir.h"

#define TICK_NS (10 * NS_PER_MS)
#define STEP_NS (2 * NS_PER_MS)
#define ELECTION_TICKS 10
#define DELIVERIES 20 /* a step */

static struct node_cluster *cluster; /* the one that is */

/* ---- what a node asks of its owner ---- */

static void push(const struct letter *l)
{
    if (cluster->pool_count < POOL_MAX)
        cluster->pool[cluster->pool_count++] = *l;
}

static struct letter copy_letter(const struct letter *l)
{
    struct letter copy = *l;

    copy.message.entries =
        mem_copy(l->message.entries ? (void *)l->message.entries : "", l->message.entry_count * sizeof *l->message.entries);
    for (size_t i = 0; i < l->message.entry_count; i++) {
        struct raft_entry *old = l->message.entries[i], *fresh = raft_entry_new(RAFT_ENTRY_NORMAL, old->len);
        fresh->type = old->type;
        fresh->term = old->term;
        fresh->index = old->index;
        memcpy(fresh->data, old->data, old->len);
        copy.message.entries[i] = fresh;
    }
    copy.data = mem_copy(l->snapshot.data.len ? (const void *)l->snapshot.data.data : "", l->snapshot.data.len);
    copy.snapshot.data.data = copy.data;
    return copy;
}

static void free_letter(struct letter *l)
{
    for (size_t i = 0; i < l->message.entry_count; i++)
        raft_entry_unref(l->message.entries[i]);
    free(l->message.entries);
    free(l->data);
}

static void on_send(void *arg, const struct raft_message *m)
{
    struct letter l = {.message = *m};

    (void)arg;
    l = copy_letter(&l);
    push(&l);
}

static void on_send_snapshot(void *arg, const struct snapshot_message *m)
{
    struct letter l = {.is_snapshot = true, .snapshot = *m};

    (void)arg;
    l = copy_letter(&l);
    push(&l);
}

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_seal(void *arg, struct mvcc_seal *seal)
{
    struct member_node *m = arg;

    assert_true(m->work_count < JOBS_MAX);
    m->work[m->work_count++] = (struct work){.seal = seal};
}

static void on_job(void *arg, struct node_job *job)
{
    struct member_node *m = arg;

    assert_true(m->work_count < JOBS_MAX);
    m->work[m->work_count++] = (struct work){.job = job};
}

static void on_restored(void *arg, struct mvcc *store)
{
    struct member_node *m = arg;

    assert_true(mvcc_applied_index(store) > mvcc_applied_index(m->store));
    assert_true(mvcc_revision(store) >= mvcc_revision(m->store));
    m->store = store;
}

static void on_snapshot(void *arg, const char *what, uint64_t peer, raft_index index, const char *why)
{
    struct member_node *m = arg;

    (void)peer;
    (void)index;
    (void)why;
    m->installed += strcmp(what, "installed") == 0;
    m->sent += strcmp(what, "sent") == 0;
    m->given_up += strcmp(what, "given up") == 0;
    m->refused += strcmp(what, "refused") == 0;
}

static bool on_voters(void *arg, raft_index index, unsigned count)
{
    struct member_node *m = arg;

    (void)index;
    m->told_voters = count;
    return !m->keeps_no_voters;
}

static void on_fail(void *arg, const char *text)
{
    (void)arg;
    fail_msg("%s", text);
}

static int64_t on_wall(void *arg)
{
    (void)arg;
    return cluster->now_ns;
}

/* ---- life ---- */

static struct members initial_members(void)
{
    struct members m = {0};
    char url[] = "http://x", *urls[] = {url};

    for (unsigned i = 0; i < NODES; i++)
        assert_int_equal(members_add(&m, i + 1, "", urls, 1), ST_OK);
    return m;
}

void node_cluster_start(struct node_cluster *c, unsigned number)
{
    struct member_node *m = &c->nodes[number];
    struct members initial = initial_members();
    char name[STORE_PATH_BYTES];
    struct error error = {0};
    struct wal_options wal = {.disk = m->disk,
                              .cluster_id = 1,
                              .member_id = number + 1,
                              .segment_bytes = 16384,
                              .synchronous = true,
                              .wake_fn = on_nothing,
                              .fail_fn = on_fail};
    struct node_options o = {.cluster_id = 1,
                             .member_id = number + 1,
                             .initial = &initial,
                             .store_options = {.memtable_bytes = 4096, .seal_entries = 40, .no_sync = true},
                             .space_floor_bytes = SPACE_FLOOR_BYTES,
                             .space_low_bytes = SPACE_LOW_BYTES,
                             .dir = &m->dir,
                             .tick_ns = TICK_NS,
                             .election_ticks = ELECTION_TICKS,
                             .random_seed = rng_next(&c->rng),
                             .message_bytes_max = 4096,
                             .inflight_messages_max = 8,
                             .bounds = NODE_BOUNDS,
                             .now_ns = c->now_ns,
                             .limits = {.txn_ops_max = 128},
                             .learners_max = 1,
                             .snapshot_count = 20,
                             .snapshot_catchup = 10,
                             .window_bytes_max = 32768,
                             .snapshot_chunk_bytes = 500,
                             .send_fn = on_send,
                             .send_snapshot_fn = on_send_snapshot,
                             .work_fn = on_nothing,
                             .applied_fn = on_nothing,
                             .seal_fn = on_seal,
                             .job_fn = on_job,
                             .restored_fn = on_restored,
                             .snapshot_fn = on_snapshot,
                             .voters_fn = on_voters,
                             .fail_fn = on_fail,
                             .wall_ns_fn = on_wall,
                             .arg = m};
    bool is_new;

    assert_int_equal(store_dir_open(&m->dir, m->path, true, &error), ST_OK);
    store_dir_name(&m->dir, m->dir.generation, name);
    o.store_options.dir = name;
    if (mvcc_open(&o.store_options, &m->store, &error) != ST_OK || wal_open(&wal, &m->wal, &is_new, &error) != ST_OK)
        fail_msg("%s", error.text);
    o.store = m->store;
    o.wal = m->wal;
    if (node_new(&o, &m->node, &error) != ST_OK)
        fail_msg("%s", error.text);
    members_fini(&initial);
    m->up = true;
}

/* A seal that was being written is, whether or not anybody hears of it: memory has to be given back somehow. */
static void end_seals(struct member_node *m)
{
    struct error error;
    uint64_t index, term;

    for (unsigned i = 0; i < m->work_count; i++) {
        struct work *w = &m->work[i];
        if (!w->seal)
            continue;
        if (!w->ran)
            assert_int_equal(mvcc_seal_write(w->seal, &error), ST_OK);
        assert_int_equal(mvcc_seal_end(m->store, w->seal, &index, &term, &error), ST_OK);
    }
    m->work_count = 0;
}

void node_cluster_kill(struct node_cluster *c, unsigned number)
{
    struct member_node *m = &c->nodes[number];
    struct disk *found;

    if (!m->up)
        return;
    m->up = false;
    found = memory_disk_after_kill(m->disk);
    end_seals(m);
    node_free(m->node);
    wal_close(m->wal);
    mvcc_close(m->store);
    m->disk->ops->free(m->disk);
    m->disk = found;
    m->node = NULL;
}

void node_cluster_init(struct node_cluster *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    cluster = c;
    c->rng.state = seed;
    c->now_ns = NS_PER_S;
    c->job_steps = 4;
    assert_true(temp_dir_make(c->root, sizeof c->root, "cluster"));
    for (unsigned i = 0; i < NODES; i++) {
        struct member_node *m = &c->nodes[i];
        m->number = i;
        snprintf(m->path, sizeof m->path, "%s/n%u", c->root, i);
        assert_int_equal(mkdir(m->path, 0700), 0);
        m->disk = memory_disk_new();
        node_cluster_start(c, i);
    }
}

void node_cluster_fini(struct node_cluster *c)
{
    char name[STORE_PATH_BYTES + 16];
    struct error error;

    for (unsigned i = 0; i < NODES; i++) {
        struct member_node *m = &c->nodes[i];
        struct store_dir dir;
        node_cluster_kill(c, i);
        m->disk->ops->free(m->disk);
        assert_int_equal(store_dir_open(&dir, m->path, true, &error), ST_OK);
        store_dir_name(&dir, dir.generation, name);
        assert_int_equal(mvcc_remove(name, &error), ST_OK);
        snprintf(name, sizeof name, "%s/current", m->path);
        unlink(name);
        assert_int_equal(rmdir(m->path), 0); /* nothing is left over */
    }
    for (size_t i = 0; i < c->pool_count; i++)
        free_letter(&c->pool[i]);
    assert_int_equal(rmdir(c->root), 0);
}

/* ---- time passes ---- */

static void deliver(struct node_cluster *c, struct letter *l)
{
    raft_id from = l->is_snapshot ? l->snapshot.from : l->message.from, to = l->is_snapshot ? l->snapshot.to : l->message.to;
    struct member_node *m;

    if (!from || !to || from > NODES || to > NODES)
        return; /* to nobody */
    m = &c->nodes[to - 1];
    if (!m->up || c->cut[from - 1] || c->cut[to - 1])
        return;
    if (!l->is_snapshot) {
        node_step(m->node, &l->message);
        return;
    }
    if (c->tamper_fn)
        c->tamper_fn(&l->snapshot, l->data);
    node_on_snapshot_message(m->node, &l->snapshot);
}

static void deliver_one(struct node_cluster *c)
{
    size_t at = c->in_order ? 0 : rng_below(&c->rng, c->pool_count < 8 ? c->pool_count : 8);
    struct letter l = c->pool[at];

    memmove(c->pool + at, c->pool + at + 1, (--c->pool_count - at) * sizeof l);
    if (rng_below(&c->rng, 100) < c->repeated_percent) {
        struct letter copy = copy_letter(&l);
        push(&copy);
    }
    if (rng_below(&c->rng, 100) >= c->lost_percent)
        deliver(c, &l);
    free_letter(&l);
}

static void run_job(struct member_node *m)
{
    struct work *w = &m->work[0], done;

    if (!m->work_count || m->no_jobs)
        return;
    if (!w->ran) {
        w->ran = true;
        if (w->seal)
            w->status = mvcc_seal_write(w->seal, &w->error);
        else
            w->job->run_fn(w->job);
        return;
    }
    done = *w;
    memmove(m->work, m->work + 1, --m->work_count * sizeof *w);
    if (done.seal)
        node_on_seal_written(m->node, done.seal, done.status, &done.error);
    else
        node_on_job_done(m->node, done.job);
}

void node_cluster_step(struct node_cluster *c)
{
    c->now_ns += STEP_NS;
    for (unsigned i = 0; i < DELIVERIES && c->pool_count; i++)
        deliver_one(c);
    for (unsigned i = 0; i < NODES; i++) {
        struct member_node *m = &c->nodes[i];
        if (!m->up)
            continue;
        for (unsigned k = 0; k < c->job_steps; k++)
            if (rng_below(&c->rng, 3))
                run_job(m);
        node_tick(m->node, c->now_ns);
        node_run(m->node);
    }
}

void node_cluster_steps(struct node_cluster *c, unsigned steps)
{
    while (steps--)
        node_cluster_step(c);
}

/* ---- writes ---- */

static void on_written(void *arg, enum status st, struct slice answer)
{
    bool *acknowledged = arg;

    (void)answer;
    if (st != ST_OK)
        return;
    *acknowledged = true;
    cluster->acknowledged_count++;
}

int node_cluster_leader(const struct node_cluster *c)
{
    raft_term newest = 0;
    int leader = -1;

    for (unsigned i = 0; i < NODES; i++) {
        struct raft_status st;
        if (!c->nodes[i].up)
            continue;
        node_get_raft_status(c->nodes[i].node, &st);
        if (st.role == RAFT_LEADER && st.hard.term > newest) {
            newest = st.hard.term;
            leader = (int)i;
        }
    }
    return leader;
}

unsigned node_cluster_elect(struct node_cluster *c)
{
    for (unsigned i = 0; i < 3000 && node_cluster_leader(c) < 0; i++)
        node_cluster_step(c);
    assert_true(node_cluster_leader(c) >= 0);
    return (unsigned)node_cluster_leader(c);
}

void node_cluster_write(struct node_cluster *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int leader = node_cluster_leader(c);
        struct buf put = {0};
        char text[64];
        assert_true(c->written < WRITES_MAX);
        snprintf(text, sizeof text, "w%u", c->written);
        wire_text(&put, 1, text);
        memset(text, 'v', sizeof text);
        text[20 + c->written % 40] = 0;
        wire_text(&put, 2, text);
        if (leader >= 0 &&
            node_propose(c->nodes[leader].node, COMMAND_PUT, buf_slice(&put), INT64_MAX, on_written,
                         &c->acknowledged[c->written], NULL) == ST_OK)
            c->written++;
        buf_fini(&put);
        node_cluster_step(c);
    }
}

/* Something of a snapshot that was received and is of no use any more: it must go. */
static bool has_partial(const struct member_node *m)
{
    char path[STORE_PATH_BYTES];

    store_dir_name(&m->dir, m->dir.generation + 1, path);
    return access(path, F_OK) == 0;
}

static bool are_equal(const struct node_cluster *c)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct raft_status st;
        node_get_raft_status(c->nodes[i].node, &st);
        if (st.applied != st.last || has_partial(&c->nodes[i]) || mvcc_applied_index(c->nodes[i].store) != mvcc_applied_index(c->nodes[0].store))
            return false;
    }
    return true;
}

void node_cluster_converge(struct node_cluster *c)
{
    uint32_t hash[NODES];
    unsigned before = c->acknowledged_count;

    /* A write of now must be acknowledged, and everybody have it. */
    for (unsigned i = 0; c->acknowledged_count == before || !are_equal(c); i++) {
        if (i > 5000)
            fail_msg("the members do not become equal");
        if (c->acknowledged_count == before && i % 50 == 0)
            node_cluster_write(c, 1);
        node_cluster_step(c);
    }
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(mvcc_hash(c->nodes[i].store, 0, &hash[i]), ST_OK);
        assert_int_equal(hash[i], hash[0]);
    }
    for (unsigned i = 0; i < c->written; i++) {
        char key[16];
        struct mvcc_kv kv;
        snprintf(key, sizeof key, "w%u", i);
        if (c->acknowledged[i])
            assert_int_equal(mvcc_get(c->nodes[0].store, slice_of_text(key), 0, true, &kv), ST_OK);
    }
}
