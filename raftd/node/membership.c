/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the members: their entries, and the rules. */
#include "raftd/node/membership.h"

#include <string.h>

#include "common/limits.h"
#include "common/mem.h"
#include "proto/state.pb-c.h"

#define IN_SYNC_PERCENT 90 /* etcd: readyPercentThreshold */

/* ---- entries ---- */

/* By kind; what the core makes of it. */
static const enum raft_change_type core_types[] = {
    [MEMBER_ADD] = RAFT_CHANGE_ADD_VOTER,  [MEMBER_ADD_LEARNER] = RAFT_CHANGE_ADD_LEARNER,
    [MEMBER_REMOVE] = RAFT_CHANGE_REMOVE,  [MEMBER_UPDATE] = RAFT_CHANGE_UPDATE,
    [MEMBER_PROMOTE] = RAFT_CHANGE_ADD_VOTER,
};

struct raft_entry *membership_encode(const struct membership_entry *e)
{
    Raftfs__State__MemberChange row = RAFTFS__STATE__MEMBER_CHANGE__INIT;
    struct raft_conf_change core = {.count = 1, .changes = {{core_types[e->change.kind], e->change.id}}};
    char *urls[MEMBER_URLS_MAX];
    struct raft_entry *entry;
    struct buf b = {0};
    size_t len;

    INVARIANT(e->change.peer_url_count <= MEMBER_URLS_MAX);
    for (unsigned i = 0; i < e->change.peer_url_count; i++)
        urls[i] = e->change.peer_urls[i];
    row.kind = e->change.kind;
    row.id = e->change.id;
    row.peer_urls = urls;
    row.n_peer_urls = e->change.peer_url_count;
    row.learners_max = e->learners_max;
    row.origin = e->origin;
    row.request = e->request;
    len = raftfs__state__member_change__get_packed_size(&row);
    raftfs__state__member_change__pack(&row, buf_reserve(&b, len));
    buf_commit(&b, len);
    core.context = buf_slice(&b);
    entry = raft_conf_change_encode(&core);
    buf_fini(&b);
    return entry;
}

static bool is_change(const Raftfs__State__MemberChange *row, const struct raft_conf_change *core)
{
    bool with_urls = row->kind == MEMBER_ADD || row->kind == MEMBER_ADD_LEARNER || row->kind == MEMBER_UPDATE;

    if (row->kind < MEMBER_ADD || row->kind > MEMBER_PROMOTE || core->count != 1 ||
        core->transition != RAFT_TRANSITION_AUTO || core->changes[0].type != core_types[row->kind] ||
        core->changes[0].id != row->id || row->n_peer_urls > MEMBER_URLS_MAX || !row->n_peer_urls != !with_urls)
        return false;
    for (size_t i = 0; i < row->n_peer_urls; i++)
        if (strlen(row->peer_urls[i]) > MEMBER_URL_BYTES_MAX)
            return false;
    return true;
}

enum status membership_decode(struct arena *a, const struct raft_entry *entry, struct membership_entry *ret_entry)
{
    Raftfs__State__MemberChange *row;
    struct raft_conf_change core;

    if (raft_conf_change_decode(entry, &core) != ST_OK)
        return ST_BAD_ARGUMENT;
    row = raftfs__state__member_change__unpack(&a->allocator, core.context.len, core.context.data);
    if (!row || !is_change(row, &core))
        return ST_BAD_ARGUMENT;
    *ret_entry = (struct membership_entry){
        .change = {(enum member_change_kind)row->kind, row->id, row->peer_urls, (unsigned)row->n_peer_urls},
        .learners_max = row->learners_max,
        .origin = row->origin,
        .request = row->request,
        .core = core,
    };
    return ST_OK;
}

bool membership_is_leave(const struct raft_entry *entry, struct raft_conf_change *ret_change)
{
    struct raft_conf_change core;

    if (raft_conf_change_decode(entry, &core) != ST_OK || core.count || core.transition != RAFT_TRANSITION_AUTO)
        return false;
    *ret_change = core;
    return true;
}

/* ---- the rules of what is applied ---- */

/* Does somebody else have one of these? */
static bool urls_are_taken(const struct members *m, const struct member_change *c)
{
    for (unsigned i = 0; i < m->count; i++)
        for (unsigned k = 0; m->list[i].id != c->id && k < c->peer_url_count; k++)
            if (member_has_url(&m->list[i], c->peer_urls[k]))
                return true;
    return false;
}

static enum status judge_by_members(const struct members *m, const struct membership_entry *e)
{
    const struct member *is = members_look_up(m, e->change.id);

    if (members_is_removed(m, e->change.id))
        return ST_MEMBER_NOT_FOUND; /* as etcd says it */
    switch (e->change.kind) {
    case MEMBER_ADD:
    case MEMBER_ADD_LEARNER:
        if (is)
            return ST_MEMBER_EXISTS;
        if (urls_are_taken(m, &e->change))
            return ST_PEER_URL_EXISTS;
        if (e->change.kind == MEMBER_ADD_LEARNER && m->conf.learner_count >= e->learners_max)
            return ST_TOO_MANY_LEARNERS;
        return m->count == MEMBERS_MAX ? ST_LIMIT : ST_OK;
    case MEMBER_REMOVE:
        if (!is)
            return ST_MEMBER_NOT_FOUND;
        return m->removed_count == MEMBERS_REMOVED_MAX ? ST_LIMIT : ST_OK;
    case MEMBER_UPDATE:
        if (!is)
            return ST_MEMBER_NOT_FOUND;
        return urls_are_taken(m, &e->change) ? ST_PEER_URL_EXISTS : ST_OK;
    case MEMBER_PROMOTE:
        if (!is)
            return ST_MEMBER_NOT_FOUND;
        return members_is_learner(m, e->change.id) ? ST_OK : ST_MEMBER_NOT_LEARNER;
    }
    return ST_BAD_ARGUMENT;
}

enum status membership_judge(const struct members *m, const struct membership_entry *e)
{
    enum status st = judge_by_members(m, e);
    struct raft_conf conf;

    if (st != ST_OK)
        return st;
    st = raft_conf_changed(&m->conf, &e->core, &conf);
    if (st == ST_BAD_ARGUMENT && e->change.kind == MEMBER_REMOVE)
        return ST_NOT_ENOUGH_STARTED; /* the last voter */
    return st;
}

void membership_apply(struct members *m, const struct member_change *c, const struct raft_conf *conf)
{
    switch (c->kind) {
    case MEMBER_ADD:
    case MEMBER_ADD_LEARNER:
        members_insert(m, c->id, "", c->peer_urls, c->peer_url_count, conf);
        break;
    case MEMBER_REMOVE:
        members_remove(m, c->id, conf);
        break;
    case MEMBER_UPDATE:
        member_set_peer_urls(members_find(m, c->id), c->peer_urls, c->peer_url_count);
        break;
    case MEMBER_PROMOTE:
        m->conf = *conf;
        break;
    }
}

/* ---- --strict-reconfig-check ---- */

static unsigned quorum_of(unsigned count)
{
    return count / 2 + 1;
}

/* Voters but `except`; how many of them have started once. */
static unsigned count_voters(const struct members *m, uint64_t except, unsigned *ret_started)
{
    unsigned count = 0, started = 0;

    for (unsigned i = 0; i < m->count; i++) {
        if (m->list[i].id == except || members_is_learner(m, m->list[i].id))
            continue;
        count++;
        started += *m->list[i].name != 0;
    }
    *ret_started = started;
    return count;
}

/* Voters that we are connected to for long enough, and ourselves. */
static unsigned count_connected(const struct membership_view *v)
{
    unsigned count = 0;

    for (unsigned i = 0; i < v->members->count; i++) {
        uint64_t id = v->members->list[i].id;
        if (members_is_learner(v->members, id))
            continue;
        count += id == v->self || v->connected_fn(v->arg, id) < v->now_ns - MEMBER_HEALTHY_NS;
    }
    return count;
}

static enum status may_add(const struct membership_view *v, bool learner)
{
    unsigned started, voters = count_voters(v->members, 0, &started);

    /* A lone member may get a second one: that is how its data are brought to more. */
    if (!learner && !(voters == 1 && started == 1) && started < quorum_of(voters + 1))
        return ST_NOT_ENOUGH_STARTED;
    /* The new one may be down, and a quorum is needed all the same. */
    if (voters > 1 && count_connected(v) < quorum_of(voters + 1))
        return ST_UNHEALTHY;
    return ST_OK;
}

static enum status may_remove(const struct membership_view *v, uint64_t id)
{
    unsigned started, others = count_voters(v->members, id, &started), voters = others;

    if (members_is_learner(v->members, id))
        return ST_OK;
    if (started < quorum_of(others))
        return ST_NOT_ENOUGH_STARTED;
    if (id != v->self && v->connected_fn(v->arg, id) == INT64_MAX)
        return ST_OK; /* it is down, and no part of any quorum of now */
    voters += members_look_up(v->members, id) != NULL;
    /* In signed numbers, as etcd: with no voter connected none may go. */
    if ((int)count_connected(v) - 1 < 1 + ((int)voters - 1) / 2)
        return ST_UNHEALTHY;
    return ST_OK;
}

enum status membership_is_safe(const struct membership_view *v, const struct member_change *c)
{
    switch (c->kind) {
    case MEMBER_ADD:
    case MEMBER_ADD_LEARNER:
        return may_add(v, c->kind == MEMBER_ADD_LEARNER);
    case MEMBER_REMOVE:
        return may_remove(v, c->id);
    case MEMBER_UPDATE:
    case MEMBER_PROMOTE:
        break;
    }
    return ST_OK;
}

enum status membership_may_promote(const struct members *m)
{
    unsigned started, voters = count_voters(m, 0, &started);

    return started + 1 < quorum_of(voters + 1) ? ST_NOT_ENOUGH_STARTED : ST_OK;
}

bool membership_is_in_sync(raft_index match, raft_index leader_match)
{
    /* In double, as etcd: indexes may be anything, and a product of two would overflow. */
    return (double)match * 100 >= (double)leader_match * IN_SYNC_PERCENT;
}

enum status membership_follow(struct members *m, const struct raft_entry *entry)
{
    struct raft_conf_change leave;
    struct membership_entry e;
    struct raft_conf conf;
    struct arena a;
    enum status st;

    if (membership_is_leave(entry, &leave)) {
        st = raft_conf_changed(&m->conf, &leave, &conf);
        if (st == ST_OK)
            m->conf = conf;
        return st;
    }
    arena_init(&a);
    st = membership_decode(&a, entry, &e);
    if (st == ST_OK)
        st = membership_judge(m, &e);
    if (st == ST_OK)
        st = raft_conf_changed(&m->conf, &e.core, &conf);
    if (st == ST_OK)
        membership_apply(m, &e.change, &conf);
    arena_fini(&a);
    return st;
}
