/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying an entry: a pure function of the log and the state before it, the same on every replica. Only the answer,
 * for the one node whose client waits, is made beside it.
 */
#include "common/planted.h"
#include "raftd/node/internal.h"

#include <string.h>

#include "proto/state.pb-c.h"
#include "raftd/node/membership.h"

typedef enum status (*apply_fn)(struct node *n, const struct kv_header *h, struct slice payload,
                                struct buf *out);

static enum status apply_put(struct node *n, const struct kv_header *h, struct slice payload,
                             struct buf *out)
{
    Etcdserverpb__PutRequest *r =
        etcdserverpb__put_request__unpack(&n->arena.allocator, payload.len, payload.data);

    return r ? kv_apply_put(n->options.store, h, r, out) : ST_BAD_MESSAGE;
}

static enum status apply_delete(struct node *n, const struct kv_header *h, struct slice payload,
                                struct buf *out)
{
    Etcdserverpb__DeleteRangeRequest *r =
        etcdserverpb__delete_range_request__unpack(&n->arena.allocator, payload.len, payload.data);

    return r ? kv_apply_delete(n->options.store, h, r, out) : ST_BAD_MESSAGE;
}

static enum status apply_txn(struct node *n, const struct kv_header *h, struct slice payload,
                             struct buf *out)
{
    Etcdserverpb__TxnRequest *r = kv_unpack_txn(&n->arena, payload);

    return r ? kv_apply_txn(n->options.store, h, r, out) : ST_BAD_MESSAGE;
}

/* A member tells its name and where its clients find it; ids nobody knows are ignored. */
static enum status apply_publish(struct node *n, const struct kv_header *h, struct slice payload,
                                 struct buf *out)
{
    Raftfs__State__Member *m =
        raftfs__state__member__unpack(&n->arena.allocator, payload.len, payload.data);
    struct member *known = m ? members_find(&n->members, m->id) : NULL;

    (void)h;
    (void)out;
    if (!known || !member_texts_fit(m->name, m->client_urls, m->n_client_urls))
        return ST_BAD_MESSAGE;
    /* Whoever comes with another data directory has forgotten what the member promised. */
    if (known->incarnation && m->incarnation && known->incarnation != m->incarnation)
        return ST_OTHER_INCARNATION;
    if (m->incarnation)
        known->incarnation = m->incarnation;
    n->members_changed = true;
    member_set_name(known, m->name);
    member_set_client_urls(known, m->client_urls, (unsigned)m->n_client_urls);
    return ST_OK;
}

/* Raised and ended by members, or ended by an operator; answered as etcd does: with what was changed. */
static enum status apply_alarm(struct node *n, const struct kv_header *h, struct slice payload, struct buf *out)
{
    Etcdserverpb__AlarmRequest *r =
        etcdserverpb__alarm_request__unpack(&n->arena.allocator, payload.len, payload.data);
    bool raise = r && r->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    bool *alarm = r ? members_alarm(&n->members, r->memberid, r->alarm) : NULL;
    bool changed = alarm && (raise || *alarm);
    struct alarm answer;

    if (!r)
        return ST_BAD_MESSAGE;
    if (alarm) {
        n->members_changed |= *alarm != raise;
        *alarm = raise;
    }
    answer = (struct alarm){r->memberid, (enum alarm_type)r->alarm};
    if (out)
        kv_encode_alarms(out, h, mvcc_revision(n->options.store), &answer, changed);
    return ST_OK;
}

static bool is_clients(enum command_kind kind)
{
    return kind == COMMAND_PUT || kind == COMMAND_DELETE_RANGE || kind == COMMAND_TXN;
}

/* As in etcd nothing is written while data is in doubt, so that it does not get worse. */
bool apply_refuses(const struct node *n, enum command_kind kind)
{
    return is_clients(kind) && members_is_corrupt(&n->members);
}

/* By command_kind. A kind without a row changes nothing, the same on every replica. */
static const apply_fn apply_rows[] = {
    [COMMAND_PUT] = apply_put,
    [COMMAND_DELETE_RANGE] = apply_delete,
    [COMMAND_TXN] = apply_txn,
    [COMMAND_MEMBER_PUBLISH] = apply_publish,
    [COMMAND_ALARM] = apply_alarm,
};

/* What an entry makes of the configuration. */
struct conf_entry {
    bool is_leave; /* of a joint one; else: */
    struct membership_entry membership;
    const struct raft_conf_change *change;
    struct raft_conf_change leave;
    struct raft_conf conf; /* as it will be */
};

/* A change of the members is judged here as everywhere. */
static enum status judge_conf(struct node *n, const struct raft_entry *e, struct conf_entry *c)
{
    enum status st = ST_OK;

    c->is_leave = membership_is_leave(e, &c->leave);
    c->change = c->is_leave ? &c->leave : &c->membership.core;
    if (!c->is_leave)
        st = membership_decode(&n->arena, e, &c->membership);
    if (st == ST_OK && !c->is_leave)
        st = membership_judge(&n->members, &c->membership);
    return st == ST_OK ? raft_conf_changed(&n->members.conf, c->change, &c->conf) : st;
}

/* The core and the table go along, or nothing happens. */
static enum status put_in_force(struct node *n, const struct conf_entry *c)
{
    struct raft_conf conf;
    enum status st = raft_apply_conf_change(n->raft, c->change, &conf);

    if (st != ST_OK)
        return st;
    if (c->is_leave)
        n->members.conf = conf;
    else
        membership_apply(&n->members, &c->membership.change, &conf);
    n->members_changed = true;
    return ST_OK;
}

/* Who acts by fewer voters has kept it before: a lone member must not take itself for one of three after a crash. */
static bool apply_conf(struct node *n, const struct raft_entry *e)
{
    struct conf_entry c = {0};
    enum status st = judge_conf(n, e, &c);
    struct node_request *waiting;

    if (st == ST_OK && !node_tell_voters(n, e->index, &c.conf)) {
        arena_reset(&n->arena);
        return false;
    }
    mvcc_begin(n->options.store, e->index, e->term, 0);
    if (st == ST_OK)
        st = put_in_force(n, &c);
    mvcc_end(n->options.store);
    waiting = c.membership.origin == n->options.member_id ? requests_find_write(n, c.membership.request) : NULL;
    arena_reset(&n->arena);
    if (waiting)
        request_finish(n, waiting, st, slice_of(NULL, 0));
    return true;
}

/* Is it no state to wait in? */
static const char *why_not_wait(const struct node *n)
{
    if (mvcc_has_changes(n->options.store))
        return "a record that could be read a moment ago cannot be read any more"; /* half of it is done */
    if (!mvcc_is_damaged(n->options.store))
        return status_text(ST_CORRUPT); /* what is in memory is wrong: a start makes it anew */
    /* Behind it stand the entries that make it one: not alone, and not one of several, it must hear nobody. */
    if (n->options.force_new_cluster && !n->was_run)
        return "--force-new-cluster: what has to be applied first depends on a record that is damaged";
    return NULL;
}

/*
 * A record that the change depends on cannot be read. What this member made of the entry could differ from what the others do, so it makes
 * nothing of it: nothing is applied from here on, until a read of it succeeds or the member has healed. It stores the log and votes as before.
 */
static bool put_off(struct node *n, raft_index index)
{
    const char *why = why_not_wait(n);

    if (!n->awaits_record && n->options.unreadable_fn)
        n->options.unreadable_fn(n->options.arg, index);
    if (why)
        n->options.fail_fn(n->options.arg, why);
    mvcc_cancel(n->options.store);
    return false;
}

static bool apply_command(struct node *n, const struct raft_entry *e)
{
    struct command c = {0};
    bool is_command = command_parse(e, &c);
    struct node_request *waiting =
        is_command && c.origin == n->options.member_id ? requests_find_write(n, c.request) : NULL;
    apply_fn fn = (unsigned)c.kind < sizeof apply_rows / sizeof *apply_rows ? apply_rows[c.kind] : NULL;
    enum status st = ST_UNKNOWN_METHOD;
    struct kv_header h;

    mvcc_begin(n->options.store, e->index, e->term,
               PLANTED(apply_reads_clock) ? n->options.wall_ns_fn(n->options.arg) : c.time_ns);
    if (is_command && fn) {
        node_get_header(n, &h);
        buf_clear(&n->answer);
        st = apply_refuses(n, c.kind) ? ST_CORRUPT_CLUSTER : fn(n, &h, c.payload, waiting ? &n->answer : NULL);
        arena_reset(&n->arena);
    }
    if ((st == ST_CORRUPT || st == ST_IO) && !PLANTED(unreadable_skipped))
        return put_off(n, e->index);
    mvcc_end(n->options.store);
    if (waiting)
        request_finish(n, waiting, st, st == ST_OK ? buf_slice(&n->answer) : slice_of(NULL, 0));
    return true;
}

bool apply_entry(struct node *n, const struct raft_entry *e)
{
    bool is_conf = e->type == RAFT_ENTRY_CONF;
    bool is_applied = is_conf ? apply_conf(n, e) : apply_command(n, e);

    n->awaits_voters = is_conf && !is_applied;
    n->awaits_record = !is_conf && !is_applied;
    return is_applied;
}

/*
 * Where nobody has what is damaged here, a write that depends on it would have the member apply nothing more, for it is in the log by
 * then. It is refused before; so is one at a member that knows of damage, which may be about to heal. While nothing is applied no write has
 * an answer.
 */
enum status apply_foresee(struct node *n, enum command_kind kind, struct slice payload)
{
    Etcdserverpb__PutRequest *put;
    Etcdserverpb__TxnRequest *txn;
    enum status st = ST_OK;

    if (n->awaits_record && is_clients(kind))
        return ST_CORRUPT;
    if (n->members.conf.voter_count >= HEALING_MEMBERS_MIN && !mvcc_is_damaged(n->options.store))
        return ST_OK;
    if (kind == COMMAND_PUT && (put = etcdserverpb__put_request__unpack(&n->arena.allocator, payload.len, payload.data)))
        st = kv_foresee_put(n->options.store, put);
    else if (kind == COMMAND_TXN && (txn = kv_unpack_txn(&n->arena, payload)))
        st = kv_foresee_txn(n->options.store, txn);
    arena_reset(&n->arena);
    return st;
}
