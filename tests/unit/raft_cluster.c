/* SPDX-License-Identifier: Apache-2.0 */
/* The array-driven cluster. */
#include "tests/unit/raft_cluster.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/unit/check.h"

#define ELECTION_TICKS 10

/* The configuration as of an index that some node has applied: what all began with, and the changes up to there. */
static struct raft_conf conf_at(const struct cluster *c, raft_index index)
{
    struct raft_conf conf = {0};

    for (unsigned k = 0; k < c->voters; k++)
        conf.voters[conf.voter_count++] = k + 1;
    for (raft_index at = 1; at <= index; at++) {
        struct raft_conf_change change;
        struct raft_conf changed;
        if (c->committed[at]->type != RAFT_ENTRY_CONF)
            continue;
        assert_int_equal(raft_conf_change_decode(c->committed[at], &change), ST_OK);
        if (raft_conf_changed(&conf, &change, &changed) == ST_OK)
            conf = changed;
    }
    return conf;
}

static struct raft *make_core(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];
    struct raft_options o = {
        .id = i + 1,
        .conf = conf_at(c, node->snapshot_index),
        .election_ticks = ELECTION_TICKS,
        .heartbeat_ticks = 1,
        .pre_vote = true,
        .check_quorum = true,
        .step_down_on_removal = true,
        .pull_log = !c->no_pull,
        .random_seed = rng_next(&c->rng),
        .message_bytes_max = c->message_bytes_max ? c->message_bytes_max : 64, /* tiny, so that every boundary is crossed */
        .inflight_messages_max = 4,
        .inflight_bytes_max = 256,
        .uncommitted_bytes_max = 4096,
        .hard = node->hard,
        .applied = node->snapshot_index,
        .snapshot_index = node->snapshot_index,
        .snapshot_term = node->snapshot_term,
        .lost_term = node->lost_term,
        .entries = node->log + node->snapshot_index + 1,
        .entry_count = (size_t)(node->last - node->snapshot_index),
    };

    node->applied = node->snapshot_index;
    return raft_new(&o);
}

void cluster_init(struct cluster *c, unsigned n, uint64_t seed)
{
    cluster_init_some(c, n, n, seed);
}

void cluster_init_some(struct cluster *c, unsigned n, unsigned voters, uint64_t seed)
{
    bool no_pull = c->no_pull;
    size_t message_bytes_max = c->message_bytes_max;

    memset(c, 0, sizeof *c);
    c->no_pull = no_pull;
    c->message_bytes_max = message_bytes_max;
    c->n = n;
    c->voters = voters;
    c->rng.state = seed;
    c->next_context = 1;
    for (unsigned i = 0; i < n; i++) {
        c->nodes[i].raft = make_core(c, i);
        c->nodes[i].up = true;
    }
}

static void message_free(struct raft_message *m)
{
    for (size_t i = 0; i < m->entry_count; i++)
        raft_entry_unref(m->entries[i]);
    free(m->entries);
}

static struct raft_message message_copy(const struct raft_message *m)
{
    struct raft_message copy = *m;

    copy.entries = m->entry_count ? mem_copy(m->entries, m->entry_count * sizeof *m->entries) : NULL;
    for (size_t i = 0; i < m->entry_count; i++) {
        raft_entry_ref(copy.entries[i]);
        /* A proposal that is delivered twice must not be the same object: its index is set by the leader. */
        if (m->type == RAFT_MSG_PROPOSE) {
            struct raft_entry *fresh = raft_entry_new((enum raft_entry_type)m->entries[i]->type, m->entries[i]->len);
            memcpy(fresh->data, m->entries[i]->data, fresh->len);
            raft_entry_unref(copy.entries[i]);
            copy.entries[i] = fresh;
        }
    }
    return copy;
}

static void batch_free(struct cluster_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        raft_entry_unref(b->entries[i]);
    free(b->entries);
    free(b->after);
}

void cluster_fini(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct cluster_node *node = &c->nodes[i];
        raft_free(node->raft);
        for (size_t k = 0; k < node->batch_count; k++)
            batch_free(&node->batches[k]);
        for (raft_index k = 1; k <= node->last; k++)
            raft_entry_unref(node->log[k]);
    }
    for (size_t i = 0; i < c->pool_count; i++)
        message_free(&c->pool[i]);
    for (raft_index i = 1; i <= c->committed_last; i++)
        raft_entry_unref(c->committed[i]);
}

/* A snapshot whose announcement is lost is one that failed: its sender notices, sooner or later. */
static void lose(struct cluster *c, const struct raft_message *m)
{
    if (m->type == RAFT_MSG_SNAPSHOT && c->nodes[m->from - 1].up)
        raft_snapshot_sent(c->nodes[m->from - 1].raft, m->to, 0);
}

static void send(struct cluster *c, const struct raft_message *m)
{
    if (c->pool_count < CLUSTER_POOL_MAX && !c->cut[m->from - 1][m->to - 1])
        c->pool[c->pool_count++] = message_copy(m);
    else
        lose(c, m);
}

/* State machine safety and leader completeness: what one node applies at an index, all do, for ever. */
static void check_committed(struct cluster *c, struct raft_entry *e)
{
    if (e->index <= c->committed_last) {
        struct raft_entry *known = c->committed[e->index];
        assert_int_equal(known->term, e->term);
        assert_int_equal(known->len, e->len);
        assert_memory_equal(known->data, e->data, e->len);
        return;
    }
    assert_int_equal(e->index, c->committed_last + 1);
    assert_true(e->index < CLUSTER_LOG_MAX);
    c->committed[++c->committed_last] = raft_entry_ref(e);
}

/* Election safety: at most one leader a term. And it sends nobody what that one holds (etcd raft 149). */
static void check_leader(struct cluster *c, unsigned i)
{
    struct raft_status st;

    raft_get_status(c->nodes[i].raft, &st);
    if (st.role != RAFT_LEADER || st.hard.term >= CLUSTER_LOG_MAX)
        return;
    if (!c->leader_of_term[st.hard.term])
        c->leader_of_term[st.hard.term] = st.id;
    assert_int_equal(c->leader_of_term[st.hard.term], st.id);
    for (raft_id id = 1; id <= c->n; id++) {
        struct raft_progress p;
        if (id != st.id && raft_get_progress(c->nodes[i].raft, id, &p) == ST_OK)
            assert_true(p.next > p.match);
    }
}

/* What a change does not allow, it allows nowhere: all nodes come to the same. */
static void apply_conf(struct cluster_node *node, const struct raft_entry *e)
{
    struct raft_conf_change change;
    struct raft_conf conf;

    if (e->type != RAFT_ENTRY_CONF)
        return;
    assert_int_equal(raft_conf_change_decode(e, &change), ST_OK);
    if (raft_apply_conf_change(node->raft, &change, &conf) == ST_OK)
        assert_memory_equal(&conf, raft_get_conf(node->raft), sizeof conf);
}

/* A read may not be answered below what was committed, anywhere, when it was asked. */
static void check_read(struct cluster *c, struct cluster_node *node, const struct raft_read_state *read)
{
    for (size_t i = 0; i < node->asked; i++) {
        if (node->asked_context[i] != read->context)
            continue;
        assert_true(read->index >= node->asked_floor[i]);
        c->reads_answered++;
        node->asked--;
        node->asked_context[i] = node->asked_context[node->asked];
        node->asked_floor[i] = node->asked_floor[node->asked];
        return;
    }
}

void cluster_store_one(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];
    struct cluster_batch b;

    if (!node->batch_count)
        return;
    b = node->batches[0];
    memmove(node->batches, node->batches + 1, --node->batch_count * sizeof b);
    if (b.has_hard)
        node->hard = b.hard;
    for (size_t k = 0; k < b.count; k++) {
        raft_index at = b.entries[k]->index;
        assert_true(at < CLUSTER_LOG_MAX && at <= node->last + 1);
        for (; node->last >= at; node->last--) {
            raft_entry_unref(node->log[node->last]);
            node->log[node->last] = NULL;
        }
        node->log[++node->last] = raft_entry_ref(b.entries[k]);
    }
    raft_stored(node->raft, b.number);
    for (size_t k = 0; k < b.after_count; k++)
        send(c, &b.after[k]);
    batch_free(&b);
}

void cluster_run(struct cluster *c, unsigned i, bool sync)
{
    struct cluster_node *node = &c->nodes[i];
    struct raft_ready rd;

    while (node->up && node->batch_count < 250 && raft_ready(node->raft, &rd)) {
        struct cluster_batch *b = &node->batches[node->batch_count++];
        *b = (struct cluster_batch){.number = rd.batch, .has_hard = rd.hard_changed, .hard = rd.hard, .count = rd.entry_count};
        b->entries = mem_copy(rd.entries ? (void *)rd.entries : "", rd.entry_count * sizeof *rd.entries);
        for (size_t k = 0; k < rd.entry_count; k++)
            raft_entry_ref(b->entries[k]);
        b->after = mem_copy(rd.messages_after_stored ? (void *)rd.messages_after_stored : "",
                            rd.message_after_count * sizeof *rd.messages_after_stored);
        b->after_count = rd.message_after_count;
        for (size_t k = 0; k < rd.message_count; k++)
            send(c, &rd.messages[k]);
        for (size_t k = 0; k < rd.committed_count; k++) {
            assert_int_equal(rd.committed[k]->index, node->applied + 1);
            check_committed(c, rd.committed[k]);
            apply_conf(node, rd.committed[k]);
            node->applied++;
        }
        for (size_t k = 0; k < rd.read_count; k++)
            check_read(c, node, &rd.reads[k]);
        raft_advance(node->raft);
        raft_applied(node->raft, node->applied);
        check_leader(c, i);
        while (sync && node->batch_count)
            cluster_store_one(c, i);
    }
}

/* The store of the sender as it was then, in place of what is here: durable, then told to the core. */
static void install(struct cluster *c, unsigned i, raft_index index, raft_term term)
{
    struct cluster_node *node = &c->nodes[i];
    struct raft_conf conf = conf_at(c, index);

    while (node->batch_count)
        cluster_store_one(c, i);
    for (raft_index k = 1; k <= node->last; k++) {
        raft_entry_unref(node->log[k]);
        node->log[k] = NULL;
    }
    node->last = node->snapshot_index = node->applied = index;
    node->snapshot_term = term;
    assert_int_equal(raft_restore(node->raft, index, term, &conf), ST_OK);
    c->snapshots_installed++;
}

/* All else is taken, or ignored. */
static bool may_refuse(const struct raft_message *m)
{
    return m->type == RAFT_MSG_PROPOSE || m->type == RAFT_MSG_READ_INDEX || m->type == RAFT_MSG_TRANSFER_LEADER;
}

static void step(struct cluster *c, const struct raft_message *m)
{
    unsigned to = (unsigned)m->to - 1, from = (unsigned)m->from - 1;
    struct raft_status st;
    raft_index done = 0;

    if (!c->nodes[to].up) {
        lose(c, m);
        return;
    }
    if (raft_step(c->nodes[to].raft, m) != ST_OK)
        assert_true(may_refuse(m));
    if (m->type != RAFT_MSG_SNAPSHOT)
        return;
    raft_get_status(c->nodes[to].raft, &st);
    if (st.leader == m->from && st.hard.term == m->term && raft_wants_snapshot(c->nodes[to].raft, m->index, m->log_term) &&
        rng_below(&c->rng, 100) >= c->snapshot_failures) {
        install(c, to, m->index, m->log_term);
        done = m->index;
    }
    if (c->nodes[from].up)
        raft_snapshot_sent(c->nodes[from].raft, m->to, done);
}

void cluster_compact(struct cluster *c, unsigned i, raft_index index)
{
    struct cluster_node *node = &c->nodes[i];

    assert_true(index <= node->applied);
    if (index <= node->snapshot_index)
        return;
    node->snapshot_term = raft_term_at(node->raft, index);
    node->snapshot_index = index;
    assert_true(node->snapshot_term > 0);
    raft_compact(node->raft, index);
}

void cluster_deliver(struct cluster *c, size_t at, bool keep)
{
    struct raft_message m = c->pool[at];

    if (keep) {
        m = message_copy(&m);
    } else {
        c->pool[at] = c->pool[--c->pool_count];
    }
    step(c, &m);
    message_free(&m);
}

void cluster_drop(struct cluster *c, size_t at)
{
    lose(c, &c->pool[at]);
    message_free(&c->pool[at]);
    c->pool[at] = c->pool[--c->pool_count];
}

void cluster_settle(struct cluster *c)
{
    for (int round = 0; round < 10000; round++) {
        size_t before = c->pool_count;
        for (unsigned i = 0; i < c->n; i++)
            cluster_run(c, i, true);
        if (!c->pool_count && !before)
            return;
        /* In order: the oldest first. */
        for (size_t left = c->pool_count; left > 0; left--) {
            struct raft_message m = c->pool[0];
            memmove(c->pool, c->pool + 1, --c->pool_count * sizeof m);
            if (c->cut[m.from - 1][m.to - 1])
                lose(c, &m);
            else
                step(c, &m);
            message_free(&m);
        }
    }
    fail_msg("the cluster does not come to rest");
}

void cluster_tick(struct cluster *c, unsigned i)
{
    if (c->nodes[i].up)
        raft_tick(c->nodes[i].raft);
}

void cluster_crash(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];

    node->up = false;
    for (size_t k = 0; k < node->batch_count; k++)
        batch_free(&node->batches[k]);
    node->batch_count = 0;
    node->asked = 0;
}

void cluster_lose_log(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];

    cluster_crash(c, i);
    for (raft_index k = 1; k <= node->last; k++) {
        raft_entry_unref(node->log[k]);
        node->log[k] = NULL;
    }
    node->last = node->snapshot_index = 0;
    node->snapshot_term = 0;
    node->lost_term = node->hard.term;
    node->hard = (struct raft_hard_state){.term = node->lost_term + 1};
}

bool cluster_is_recovering(const struct cluster *c, unsigned i)
{
    const struct cluster_node *node = &c->nodes[i];
    raft_term last = node->last > node->snapshot_index ? node->log[node->last]->term : node->snapshot_term;

    return node->lost_term && last <= node->lost_term;
}

void cluster_restart(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];

    raft_free(node->raft);
    node->raft = make_core(c, i);
    node->up = true;
}

bool cluster_propose(struct cluster *c, unsigned i, const char *text)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)strlen(text));
    bool taken;

    memcpy(e->data, text, e->len);
    taken = c->nodes[i].up && raft_propose(c->nodes[i].raft, &e, 1) == ST_OK;
    raft_entry_unref(e);
    return taken;
}

enum status cluster_change(struct cluster *c, unsigned i, enum raft_transition transition, const char *changes)
{
    struct raft_conf_change change = {.transition = transition};
    struct raft_entry *e;
    enum status st;

    for (const char *p = changes; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        enum raft_change_type type = *p == 'v'   ? RAFT_CHANGE_ADD_VOTER :
                                     *p == 'l' ? RAFT_CHANGE_ADD_LEARNER :
                                     *p == 'r' ? RAFT_CHANGE_REMOVE :
                                                 RAFT_CHANGE_UPDATE;
        change.changes[change.count++] = (struct raft_change){type, strtoull(p + 1, NULL, 10)};
    }
    e = raft_conf_change_encode(&change);
    st = c->nodes[i].up ? raft_propose(c->nodes[i].raft, &e, 1) : ST_NO_LEADER;
    raft_entry_unref(e);
    return st;
}

const struct raft_conf *cluster_conf(const struct cluster *c, unsigned i)
{
    return raft_get_conf(c->nodes[i].raft);
}

void cluster_ask(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];
    uint64_t context = c->next_context++;

    if (!node->up || node->asked == 64 || raft_read_index(node->raft, context) != ST_OK)
        return;
    node->asked_context[node->asked] = context;
    node->asked_floor[node->asked++] = c->committed_last;
}

int cluster_leader(const struct cluster *c)
{
    raft_term newest = 0;
    int leader = -1;

    for (unsigned i = 0; i < c->n; i++) {
        struct raft_status st;
        raft_get_status(c->nodes[i].raft, &st);
        if (c->nodes[i].up && st.role == RAFT_LEADER && st.hard.term > newest) {
            newest = st.hard.term;
            leader = (int)i;
        }
    }
    return leader;
}

unsigned cluster_elect(struct cluster *c)
{
    for (unsigned ticks = 0; ticks < 200; ticks++) {
        cluster_settle(c);
        if (cluster_leader(c) >= 0)
            return ticks;
        for (unsigned i = 0; i < c->n; i++)
            cluster_tick(c, i);
    }
    fail_msg("no leader within 20 election timeouts");
    return 0;
}

void cluster_tick_all(struct cluster *c, unsigned times)
{
    for (unsigned t = 0; t < times; t++) {
        for (unsigned i = 0; i < c->n; i++)
            cluster_tick(c, i);
        cluster_settle(c);
    }
}

void cluster_isolate(struct cluster *c, unsigned node, bool cut)
{
    for (unsigned i = 0; i < c->n; i++)
        if (i != node)
            c->cut[i][node] = c->cut[node][i] = cut;
}

struct raft_status cluster_status(const struct cluster *c, unsigned node)
{
    struct raft_status st;

    raft_get_status(c->nodes[node].raft, &st);
    return st;
}
