/* SPDX-License-Identifier: Apache-2.0 */
/* The Ready loop: the one place where core, log, store and requests meet. */
#include "raftd/node/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

/* etcd: ReqTimeout, 5 s and two elections. */
#define REQUEST_TIMEOUT_NS (5 * NS_PER_S)

int64_t node_request_timeout_ns(const struct node *n)
{
    return REQUEST_TIMEOUT_NS + 2 * n->options.tick_ns * n->options.election_ticks;
}

static enum status restore_members(struct node *n, struct slice state, struct error *ret_error)
{
    const struct members *initial = n->options.initial;
    enum status st = ST_OK;

    if (state.len) {
        st = members_decode(&n->members, state);
        return st == ST_OK ? st : error_set(ret_error, st, "store: the members in the newest segment cannot be read");
    }
    for (unsigned i = 0; st == ST_OK && i < initial->count; i++)
        st = members_add(&n->members, initial->list[i].id, "", initial->list[i].peer_urls,
                         initial->list[i].peer_url_count);
    return st == ST_OK ? st : error_set(ret_error, st, "initial cluster: more members than can be");
}

/* The core begins where the log does: the log may reach back behind the store's checkpoint, for members that are behind. */
static enum status restore_raft(struct node *n, const struct mvcc_checkpoint *checkpoint,
                                struct error *ret_error)
{
    struct raft_options o = {
        .id = n->options.member_id,
        .election_ticks = n->options.election_ticks,
        .heartbeat_ticks = 1,
        .pre_vote = true,
        .check_quorum = true,
        .random_seed = rng_next(&n->rng),
        .message_bytes_max = n->options.message_bytes_max,
        .inflight_messages_max = n->options.inflight_messages_max,
        .inflight_bytes_max = RAFT_INFLIGHT_BYTES_MAX,
        .uncommitted_bytes_max = RAFT_UNCOMMITTED_BYTES_MAX,
        .applied = checkpoint->applied_index,
    };
    struct raft_entry **entries = NULL;
    enum status st;

    wal_get_begin(n->options.wal, &o.snapshot_index, &o.snapshot_term);
    if (o.snapshot_index > checkpoint->applied_index)
        return error_set(ret_error, ST_CORRUPT, "log: begins behind entry %llu, but the store ends at %llu",
                         (unsigned long long)o.snapshot_index, (unsigned long long)checkpoint->applied_index);
    st = wal_replay(n->options.wal, o.snapshot_index, &o.hard, &entries, &o.entry_count, ret_error);
    if (st != ST_OK)
        return st;
    if (checkpoint->applied_index > o.snapshot_index + o.entry_count)
        st = error_set(ret_error, ST_CORRUPT, "log: ends at entry %llu, but the store holds %llu: part of the log is missing",
                       (unsigned long long)(o.snapshot_index + o.entry_count),
                       (unsigned long long)checkpoint->applied_index);
    if (o.hard.commit < checkpoint->applied_index)
        o.hard.commit = checkpoint->applied_index; /* what was sealed was committed */
    for (unsigned i = 0; i < n->members.count; i++)
        o.conf.voters[o.conf.voter_count++] = n->members.list[i].id;
    o.entries = entries;
    if (st == ST_OK)
        n->raft = raft_new(&o);
    for (size_t i = 0; i < o.entry_count; i++)
        raft_entry_unref(entries[i]);
    free(entries);
    return st;
}

enum status node_new(const struct node_options *options, struct node **ret_node,
                     struct error *ret_error)
{
    struct node *n = mem_zero(sizeof *n);
    struct mvcc_checkpoint checkpoint;
    enum status st;

    n->options = *options;
    n->rng.state = options->random_seed;
    n->now_ns = options->now_ns;
    n->next_tick_ns = options->now_ns + options->tick_ns;
    arena_init(&n->arena);
    requests_init(n);
    mvcc_get_checkpoint(options->store, &checkpoint);
    n->sealed_index = checkpoint.applied_index;
    n->sealed_term = checkpoint.applied_term;
    st = restore_members(n, checkpoint.state, ret_error);
    if (st == ST_OK)
        st = restore_raft(n, &checkpoint, ret_error);
    if (st != ST_OK) {
        node_free(n);
        return st;
    }
    wal_start(options->wal);
    /* Nobody else can lead: no need to wait for a timeout (etcd ticks ahead). */
    if (n->members.count == 1)
        raft_campaign(n->raft);
    *ret_node = n;
    return ST_OK;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    requests_fini(n);
    raft_free(n->raft);
    members_fini(&n->members);
    arena_fini(&n->arena);
    buf_fini(&n->answer);
    free(n->held);
    free(n->batches);
    free(n);
}

void node_send(struct node *n, const struct raft_message *m)
{
    if (m->to != n->options.member_id)
        n->options.send_fn(n->options.arg, m);
    else if (raft_step(n->raft, m) != ST_OK)
        return; /* to ourselves, and not taken: like any lost message */
}

void node_step(struct node *n, const struct raft_message *m)
{
    /* A refused proposal of a follower is a lost one: its client's deadline answers. */
    if (raft_step(n->raft, m) != ST_OK)
        return;
}

void node_on_unreachable(struct node *n, uint64_t member_id)
{
    raft_unreachable(n->raft, member_id);
}

void node_on_wal(struct node *n)
{
    storage_release_durable(n);
}

int64_t node_tick(struct node *n, int64_t now_ns)
{
    n->now_ns = now_ns;
    /* After a pause (a stopped process, a stalled machine) one tick is enough: lost time is no reason for an election. */
    if (now_ns - n->next_tick_ns > n->options.tick_ns * 2)
        n->next_tick_ns = now_ns;
    while (n->next_tick_ns <= now_ns) {
        raft_tick(n->raft);
        n->next_tick_ns += n->options.tick_ns;
        storage_forget(n);
    }
    requests_expire(n);
    return n->next_tick_ns < n->earliest_deadline_ns ? n->next_tick_ns : n->earliest_deadline_ns;
}

static void notice_changes(struct node *n)
{
    struct raft_status now;

    raft_get_status(n->raft, &now);
    if (now.role == n->last_status.role && now.leader == n->last_status.leader &&
        now.hard.term == n->last_status.hard.term)
        return;
    if (n->last_status.leader && now.leader != n->last_status.leader)
        n->leader_was_lost = true;
    if (now.leader && now.leader != n->last_status.leader)
        requests_on_new_leader(n);
    n->last_status = now;
    if (n->options.changed_fn)
        n->options.changed_fn(n->options.arg, &now);
}

/* One batch of the core: store, send, apply, answer. */
static void run_ready(struct node *n, const struct raft_ready *rd)
{
    raft_index applied = 0;

    storage_append(n, rd);
    for (size_t i = 0; i < rd->message_count; i++)
        node_send(n, &rd->messages[i]);
    for (size_t i = 0; i < rd->message_after_count; i++)
        storage_hold(n, &rd->messages_after_stored[i]);
    for (size_t i = 0; i < rd->committed_count; i++) {
        apply_entry(n, rd->committed[i]);
        applied = rd->committed[i]->index;
    }
    for (size_t i = 0; i < rd->read_count; i++)
        requests_on_read_state(n, &rd->reads[i]);
    raft_advance(n->raft);
    if (applied)
        raft_applied(n->raft, applied);
}

void node_run(struct node *n)
{
    mvcc_rev before = mvcc_revision(n->options.store);
    uint64_t applied = mvcc_applied_index(n->options.store);
    struct raft_ready rd;

    requests_send(n);
    while (raft_ready(n->raft, &rd)) {
        run_ready(n, &rd);
        requests_on_applied(n, mvcc_applied_index(n->options.store));
        /* A synchronous log is durable already; and an answered round of reads lets the next one begin. */
        storage_release_durable(n);
        requests_send(n);
    }
    notice_changes(n);
    if (mvcc_revision(n->options.store) != before)
        n->options.applied_fn(n->options.arg);
    if (mvcc_applied_index(n->options.store) != applied)
        storage_maybe_seal(n);
}

void node_get_raft_status(const struct node *n, struct raft_status *ret_status)
{
    raft_get_status(n->raft, ret_status);
}

struct mvcc *node_store(struct node *n)
{
    return n->options.store;
}

const struct members *node_members(const struct node *n)
{
    return &n->members;
}

void node_get_header(const struct node *n, struct kv_header *ret_header)
{
    struct raft_status st;

    raft_get_status(n->raft, &st);
    *ret_header = (struct kv_header){
        .cluster_id = n->options.cluster_id,
        .member_id = n->options.member_id,
        .raft_term = st.hard.term,
        .answer_bytes_max = RESPONSE_BYTES_MAX,
    };
}
