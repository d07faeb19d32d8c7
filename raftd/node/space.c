/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that runs full, before it is. This member is short of space when the log has no file ahead, a checkpoint found no space,
 * or less is left than both need (space_low_bytes); it is not any more when there is an eighth more than that. A member that
 * is short says so to all by etcd's NOSPACE alarm, an entry as any other, and takes it back itself.
 *
 * Writes that make the store grow are refused where they would fail: at a member that is short, everywhere while the leader
 * is, and while those that are not are no quorum. So a follower's full disk stops nobody, and a leader's only until it has given the lead
 * away. Deletes, alarms and Raft's own entries go on in the log's reserve, down to a floor that is left to terms and votes.
 *
 * A follower takes no entries that its log has no room for; to the leader they are lost messages, and come again. Nor does one whose
 * checkpoint waits for space and whose memtables hold SPACE_BACKLOG_FACTOR times their size: memory is bounded, too.
 */
#include "raftd/node/internal.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"
#include "raftd/node/snapshot.h"

#define RETRY_NS (1000 * NS_PER_MS)

/* ---- what grows ---- */

static bool command_grows(struct node *n, enum command_kind kind, struct slice payload)
{
    Etcdserverpb__TxnRequest *txn;
    bool grows;

    if (kind != COMMAND_TXN)
        return kind == COMMAND_PUT;
    txn = kv_unpack_txn(&n->arena, payload);
    grows = !txn || kv_txn_puts(txn);
    arena_reset(&n->arena);
    return grows;
}

/* What the cluster needs to go on, and to get out. */
static bool is_ours(enum command_kind kind)
{
    return kind == COMMAND_ALARM || kind == COMMAND_MEMBER_PUBLISH;
}

static bool log_has_room(struct node *n, uint64_t bytes)
{
    struct wal_space space;

    wal_get_space(n->options.wal, &space);
    return !space.is_full || space.room_bytes >= n->options.space_floor_bytes + bytes;
}

static bool has_space(const void *arg, uint64_t id)
{
    const struct node *n = arg;
    const struct member *m = members_look_up(&n->members, id);

    return !m || !m->no_space;
}

/* Is there nobody to store a write for us? */
static bool cluster_is_short(struct node *n)
{
    struct raft_status st;
    const struct member *leader;

    raft_get_status(n->raft, &st);
    leader = members_find(&n->members, st.leader);
    return (leader && leader->no_space) || !members_is_quorum(&n->members.conf, has_space, n);
}

enum status space_admit(struct node *n, enum command_kind kind, struct slice payload)
{
    if (is_ours(kind))
        return ST_OK;
    if (n->is_short && !log_has_room(n, payload.len))
        return ST_NO_SPACE;
    if (!n->is_short && !cluster_is_short(n))
        return ST_OK;
    return command_grows(n, kind, payload) ? ST_NO_SPACE : ST_OK;
}

/* ---- messages ---- */

static bool takes_entry(struct node *n, const struct raft_entry *e)
{
    struct command c = {0};

    if (e->type != RAFT_ENTRY_NORMAL || !command_parse(e, &c) || is_ours(c.kind))
        return true;
    return log_has_room(n, e->len) && !command_grows(n, c.kind, c.payload);
}

/* Those that had heard of no alarm yet; their clients' deadlines answer. */
static enum status step_proposal(struct node *n, const struct raft_message *m)
{
    struct raft_message kept = *m;
    enum status st = ST_OK;

    kept.entries = mem_alloc((m->entry_count + 1) * sizeof(*kept.entries));
    kept.entry_count = 0;
    for (size_t i = 0; i < m->entry_count; i++)
        if (takes_entry(n, m->entries[i]))
            kept.entries[kept.entry_count++] = m->entries[i];
    if (kept.entry_count)
        st = raft_step(n->raft, &kept);
    free(kept.entries);
    return st;
}

static bool has_room_for(struct node *n, const struct raft_message *m)
{
    uint64_t limit = n->options.store_options.memtable_bytes, bytes = 0;
    struct mvcc_stats stats;

    for (size_t i = 0; i < m->entry_count; i++)
        bytes += m->entries[i]->len + SPACE_ENTRY_OVERHEAD_BYTES;
    if (!log_has_room(n, bytes))
        return false;
    if (!n->starved_seal)
        return true;
    mvcc_get_stats(n->options.store, &stats);
    return stats.memtable_bytes / SPACE_BACKLOG_FACTOR < limit;
}

enum status space_step(struct node *n, const struct raft_message *m)
{
    if (!n->is_short || !m->entry_count)
        return raft_step(n->raft, m);
    if (m->type == RAFT_MSG_PROPOSE)
        return step_proposal(n, m);
    return has_room_for(n, m) ? raft_step(n->raft, m) : ST_NO_SPACE;
}

/* ---- as time passes ---- */

static const char *why_short(struct node *n)
{
    uint64_t low = n->options.space_low_bytes;
    struct wal_space space;

    wal_get_space(n->options.wal, &space);
    if (space.is_full)
        return "there is no space for the next file of the log";
    if (n->starved_seal)
        return "there is no space for a checkpoint";
    if (n->is_short)
        low += low / 8;
    return space.free_bytes < low ? "little space is left" : NULL;
}

/* why: NULL: it is not. */
static void set_short(struct node *n, const char *why)
{
    bool was = n->is_short;

    n->is_short = why != NULL;
    if (was != n->is_short && n->options.space_fn)
        n->options.space_fn(n->options.arg, n->is_short, why);
}

static void on_alarm_done(void *arg, enum status st, struct slice answer)
{
    struct node *n = arg;

    (void)st;
    (void)answer;
    n->alarm_asked = false;
}

/* Have the alarm say what is the case. */
static void ask_for_alarm(struct node *n)
{
    const struct member *me = members_find(&n->members, n->options.member_id);
    Etcdserverpb__AlarmRequest r = ETCDSERVERPB__ALARM_REQUEST__INIT;
    uint8_t bytes[64];

    if (!me || me->no_space == n->is_short || n->alarm_asked || !n->last_status.leader)
        return;
    r.action = n->is_short ? ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE
                           : ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    r.memberid = me->id;
    r.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    INVARIANT(etcdserverpb__alarm_request__get_packed_size(&r) <= sizeof bytes);
    if (node_propose(n, COMMAND_ALARM, slice_of(bytes, etcdserverpb__alarm_request__pack(&r, bytes)), INT64_MAX,
                     on_alarm_done, n, NULL) == ST_OK)
        n->alarm_asked = true;
}

/* The lead to one who has space, if there are enough of them for the cluster to go on. */
static void give_lead_away(struct node *n)
{
    const struct member *me = members_find(&n->members, n->options.member_id);

    if (n->is_short && me && me->no_space && members_is_quorum(&n->members.conf, has_space, n))
        transfer_offer_lead(n, true);
}

void space_on_starved_seal(struct node *n, struct mvcc_seal *seal, const char *why)
{
    set_short(n, why);
    n->starved_seal = seal;
}

/* Not before there could be space: what is written in vain takes the little that is left from others. */
static void retry_seal(struct node *n)
{
    struct mvcc_seal *seal = n->starved_seal;
    struct wal_space space;
    struct mvcc_stats stats;

    if (!seal || n->seal_running || snapshot_is_installing(n))
        return;
    wal_get_space(n->options.wal, &space);
    mvcc_get_stats(n->options.store, &stats);
    if (space.free_bytes < stats.frozen_bytes)
        return;
    n->seal_running = true;
    n->options.seal_fn(n->options.arg, seal);
}

void space_on_tick(struct node *n)
{
    set_short(n, why_short(n));
    ask_for_alarm(n);
    give_lead_away(n);
    if (n->now_ns < n->space_retry_at_ns)
        return;
    n->space_retry_at_ns = n->now_ns + RETRY_NS;
    retry_seal(n);
}
