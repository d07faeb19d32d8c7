/* SPDX-License-Identifier: Apache-2.0 */
/* The Ready loop: the one place where core, log, store and requests meet. */
#include "raftd/node/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/planted.h"
#include "raftd/node/snapshot.h"

/* etcd: ReqTimeout, 5 s and two elections. */
#define REQUEST_TIMEOUT_NS (5 * NS_PER_S)

int64_t node_request_timeout_ns(const struct node *n)
{
    return REQUEST_TIMEOUT_NS + 2 * n->options.tick_ns * n->options.election_ticks;
}

/* ---- the small state ---- */

void node_encode_state(const struct node *n, struct buf *out)
{
    members_encode(&n->members, out);
}

static enum status decode_members(struct slice state, struct members *ret_members)
{
    struct members members = {0};
    enum status st = members_decode(&members, state);

    if (st != ST_OK || !members.count) {
        members_fini(&members);
        return ST_CORRUPT;
    }
    *ret_members = members;
    return ST_OK;
}

enum status node_decode_state(struct node *n, struct slice state)
{
    struct members members;
    enum status st = decode_members(state, &members);

    if (st != ST_OK)
        return st;
    members_fini(&n->members);
    n->members = members;
    n->members_changed = true;
    return ST_OK;
}

bool node_tell_voters(const struct node *n, raft_index index, const struct raft_conf *conf)
{
    return !n->options.voters_fn || n->options.voters_fn(n->options.arg, index, members_voters(conf)) || PLANTED(voters_kept_late);
}

bool node_tell_voters_of(const struct node *n, raft_index index, struct slice state)
{
    struct members members;
    bool kept;

    INVARIANT(decode_members(state, &members) == ST_OK); /* it was tried before */
    kept = node_tell_voters(n, index, &members.conf);
    members_fini(&members);
    return kept;
}

enum status node_check_state(struct slice state)
{
    struct members members;
    enum status st = decode_members(state, &members);

    if (st == ST_OK)
        members_fini(&members);
    return st;
}

/* ---- birth ---- */

static enum status restore_members(struct node *n, struct slice state, struct error *ret_error)
{
    const struct members *initial = n->options.initial;
    enum status st = ST_OK;

    if (state.len) {
        st = node_decode_state(n, state);
        return st == ST_OK ? st : error_set(ret_error, st, "store: the members in the newest segment cannot be read");
    }
    for (unsigned i = 0; st == ST_OK && i < initial->count; i++)
        st = members_add(&n->members, initial->list[i].id, "", initial->list[i].peer_urls,
                         initial->list[i].peer_url_count);
    return st == ST_OK ? st : error_set(ret_error, st, "initial cluster: more members than can be");
}

/* Does the log hold the store's last entry, or begin behind it? */
static bool log_reaches(const struct raft_options *o, const struct mvcc_checkpoint *c)
{
    raft_index index = c->applied_index;

    if (index == o->snapshot_index)
        return index == 0 || o->snapshot_term == c->applied_term;
    return index > o->snapshot_index && index - o->snapshot_index <= o->entry_count &&
           o->entries[index - o->snapshot_index - 1]->term == c->applied_term;
}

/*
 * The store is ahead of the log, which happens in one way only: a snapshot was installed, and a crash came before the log began
 * anew behind it. The log's entries count for nothing then, term and vote do. Otherwise part of the log is missing.
 */
static enum status begin_behind_snapshot(struct node *n, struct raft_options *o, const struct mvcc_checkpoint *c,
                                         struct error *ret_error)
{
    const struct store_dir *d = n->options.dir;

    if (c->applied_index != d->installed_index || c->applied_term != d->installed_term ||
        o->snapshot_index >= c->applied_index)
        return error_set(ret_error, ST_CORRUPT,
                         "log: does not hold entry %llu of term %llu, where the store ends: part of the log is missing",
                         (unsigned long long)c->applied_index, (unsigned long long)c->applied_term);
    o->snapshot_index = c->applied_index;
    o->snapshot_term = c->applied_term;
    return ST_OK;
}

static struct raft_options core_options(struct node *n, const struct mvcc_checkpoint *checkpoint)
{
    return (struct raft_options){
        .id = n->options.member_id,
        .conf = n->members.conf,
        .judge_conf_fn = changes_judge,
        .judge_conf_arg = n,
        .step_down_on_removal = true,
        .election_ticks = n->options.election_ticks,
        .heartbeat_ticks = 1,
        .pre_vote = true,
        .check_quorum = true,
        .pull_log = true,
        .random_seed = rng_next(&n->rng),
        .message_bytes_max = n->options.message_bytes_max,
        .inflight_messages_max = n->options.inflight_messages_max,
        .inflight_bytes_max = n->options.bounds.inflight_bytes_max,
        .uncommitted_bytes_max = n->options.bounds.uncommitted_bytes_max,
        .applied = checkpoint->applied_index,
        .lost_term = n->options.force_new_cluster ? 0 : wal_lost_term(n->options.wal), /* there is nobody to wait for */
    };
}

/* The log's side of an installation that was interrupted; nothing to do otherwise. */
static void finish_restoring(struct node *n, const struct mvcc_checkpoint *checkpoint)
{
    struct raft_status st;

    raft_get_status(n->raft, &st);
    if (st.first - 1 == checkpoint->applied_index && checkpoint->applied_index)
        wal_release(n->options.wal, checkpoint->applied_index, checkpoint->applied_term);
}

static void drop_entries(struct raft_entry **entries, size_t *count)
{
    while (*count)
        raft_entry_unref(entries[--*count]);
}

/* The core begins where the log does: the log may reach back behind the store's checkpoint, for members that are behind. */
static enum status restore_raft(struct node *n, const struct mvcc_checkpoint *checkpoint,
                                struct error *ret_error)
{
    struct raft_options o = core_options(n, checkpoint);
    struct raft_entry **entries = NULL;
    size_t count, decreed = 0;
    enum status st;

    wal_get_begin(n->options.wal, &o.snapshot_index, &o.snapshot_term);
    if (o.snapshot_index > checkpoint->applied_index)
        return error_set(ret_error, ST_CORRUPT, "log: begins behind entry %llu, but the store ends at %llu",
                         (unsigned long long)o.snapshot_index, (unsigned long long)checkpoint->applied_index);
    st = wal_replay(n->options.wal, o.snapshot_index, &o.hard, &entries, &count, ret_error);
    if (st != ST_OK)
        return st;
    if (o.hard.term > RAFT_NUMBER_MAX) {
        drop_entries(entries, &count);
        return error_set(ret_error, ST_CORRUPT, "log: no member comes to term %llu", (unsigned long long)o.hard.term);
    }
    o.entries = entries;
    o.entry_count = count;
    if (!log_reaches(&o, checkpoint)) {
        st = begin_behind_snapshot(n, &o, checkpoint, ret_error);
        drop_entries(entries, &count);
    }
    if (o.hard.commit < checkpoint->applied_index)
        o.hard.commit = checkpoint->applied_index; /* what was sealed was committed */
    if (st == ST_OK && n->options.force_new_cluster)
        st = alone_decree(n, &o, &entries, &count, &decreed, ret_error);
    if (st == ST_OK) {
        o.entries = entries;
        o.entry_count = count;
        n->raft = raft_new(&o);
        wal_start(n->options.wal);
        finish_restoring(n, checkpoint);
    }
    if (st == ST_OK && n->options.force_new_cluster)
        n->last_ticket = n->decree_ticket = wal_append(n->options.wal, &o.hard, entries + decreed, count - decreed, true);
    drop_entries(entries, &count);
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
    snapshots_init(n);
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
    *ret_node = n;
    return ST_OK;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    requests_fini(n);
    snapshots_fini(n);
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
    if (m->type == RAFT_MSG_SNAPSHOT)
        snapshot_announced(n, m->to); /* the first chunk says it to the member */
    else if (m->to != n->options.member_id)
        n->options.send_fn(n->options.arg, m);
    else if (raft_step(n->raft, m) != ST_OK)
        return; /* to ourselves, and not taken: like any lost message */
}

void node_step(struct node *n, const struct raft_message *m)
{
    bool brings_log = m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_PULL_RESPONSE;
    enum status st;

    if (brings_log && snapshot_is_installing(n) && !PLANTED(append_while_installing))
        return; /* the commit must not pass what is being installed; what is lost is asked for again */
    if (m->entry_count && (brings_log || m->type == RAFT_MSG_PROPOSE) && stall_is_log_full(n))
        return; /* the disk does not keep up */
    if (members_is_removed(&n->members, m->from))
        return; /* for good: whatever it is after */
    if (m->type == RAFT_MSG_PROPOSE_REFUSED) {
        changes_on_refused(n, m);
        return;
    }
    if (m->type == RAFT_MSG_HASH || m->type == RAFT_MSG_HASH_RESPONSE) {
        compare_on_message(n, m);
        return;
    }
    /* A refused write of a follower is a lost one: its client's deadline answers. */
    st = space_step(n, m);
    if (st != ST_OK && m->type == RAFT_MSG_PROPOSE)
        changes_refuse(n, m, st);
}

void node_on_unreachable(struct node *n, uint64_t member_id)
{
    raft_unreachable(n->raft, member_id);
    snapshots_on_unreachable(n, member_id);
}

void node_on_wal(struct node *n)
{
    storage_release_durable(n);
}

void node_voters_kept(struct node *n)
{
    n->awaits_voters = false;
    raft_put_off_applying(n->raft, false);
    receiver_on_voters_kept(n);
    n->options.work_fn(n->options.arg);
}

int64_t node_tick(struct node *n, int64_t now_ns)
{
    int64_t next, scrub;

    n->now_ns = now_ns;
    /* After a pause (a stopped process, a stalled machine) one tick is enough: lost time is no reason for an election. */
    if (now_ns - n->next_tick_ns > n->options.tick_ns * 2)
        n->next_tick_ns = now_ns;
    while (n->next_tick_ns <= now_ns) {
        stall_on_tick(n);
        fitness_on_tick(n);
        raft_tick(n->raft);
        n->next_tick_ns += n->options.tick_ns;
        snapshots_on_tick(n);
        storage_forget(n);
    }
    space_on_tick(n);
    heal_on_tick(n);
    requests_expire(n);
    transfers_expire(n);
    next = compare_on_tick(n);
    scrub = scrub_on_tick(n);
    if (scrub < next)
        next = scrub;
    if (n->next_tick_ns < next)
        next = n->next_tick_ns;
    return next < n->earliest_deadline_ns ? next : n->earliest_deadline_ns;
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
    bool is_put_off = false;

    storage_append(n, rd);
    for (size_t i = 0; i < rd->message_count; i++)
        node_send(n, &rd->messages[i]);
    for (size_t i = 0; i < rd->message_after_count; i++)
        storage_hold(n, &rd->messages_after_stored[i]);
    for (size_t i = 0; i < rd->committed_count; i++) {
        is_put_off = !apply_entry(n, rd->committed[i]);
        if (is_put_off)
            break;
        applied = rd->committed[i]->index;
        n->log_bytes_applied += rd->committed[i]->len;
        n->bytes_applied += rd->committed[i]->len;
    }
    for (size_t i = 0; i < rd->read_count; i++)
        requests_on_read_state(n, &rd->reads[i]);
    raft_advance(n->raft);
    if (applied)
        raft_applied(n->raft, applied);
    if (is_put_off)
        raft_put_off_applying(n->raft, true);
}

static void run_batches(struct node *n)
{
    struct raft_ready rd;

    requests_send(n);
    while (raft_ready(n->raft, &rd)) {
        run_ready(n, &rd);
        requests_on_applied(n, mvcc_applied_index(n->options.store));
        /* A synchronous log is durable already; and an answered round of reads lets the next one begin. */
        storage_release_durable(n);
        requests_send(n);
    }
}

void node_run(struct node *n)
{
    mvcc_rev before = mvcc_revision(n->options.store);
    uint64_t applied = mvcc_applied_index(n->options.store);

    run_batches(n);
    /*
     * A lone voter: nobody else can lead, no need to wait for a timeout (etcd ticks ahead). Not before what the log has is
     * applied: nobody campaigns who knows of a change of the members that is not in force (raft.h).
     */
    if (!n->was_run && n->members.conf.voter_count == 1 && !raft_conf_is_joint(&n->members.conf)) {
        raft_campaign(n->raft);
        run_batches(n);
    }
    n->was_run |= !n->awaits_voters;
    notice_changes(n);
    transfers_run(n);
    if (n->members_changed && n->options.members_fn)
        n->options.members_fn(n->options.arg);
    n->members_changed = false;
    if (mvcc_revision(n->options.store) != before)
        n->options.applied_fn(n->options.arg);
    if (mvcc_applied_index(n->options.store) != applied)
        storage_maybe_seal(n);
    snapshots_run(n);
}

void node_tell_snapshot(struct node *n, const char *what, raft_id peer, raft_index index, const char *why)
{
    if (n->options.snapshot_fn)
        n->options.snapshot_fn(n->options.arg, what, peer, index, why);
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

bool node_is_learner(const struct node *n)
{
    return members_is_learner(&n->members, n->options.member_id);
}

bool node_is_corrupt(const struct node *n)
{
    const struct member *me = members_look_up(&n->members, n->options.member_id);

    return me && me->corrupt;
}

bool node_refuses_reads(const struct node *n)
{
    return node_is_corrupt(n) || n->members.corrupt;
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
