/* SPDX-License-Identifier: Apache-2.0 */
/* Members, connections, and who was met. */
#include "raftd/roster.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/planted.h"
#include "raftd/met.h"

#define REMOVED_DELAY_NS NS_PER_S /* etcd: what is on its way to the others gets there */
#define REMOVED_TEXT "the member has been permanently removed from the cluster"

struct roster {
    struct roster_options options;
    struct peers *peers;
    struct met met, durable; /* of met; more may be on its way to the disk */
    bool saving;
};

struct save_job {
    struct storage_job job;
    struct roster *roster;
    struct met met;
    enum status status;
    struct error error;
};

/* ---- remembering ---- */

static void save_run(struct storage_job *job)
{
    struct save_job *j = (struct save_job *)job;

    j->status = met_save(&j->met, j->roster->options.dir_fd, &j->error);
}

static void save(struct roster *r);

static void save_done(struct storage_job *job)
{
    struct save_job *j = (struct save_job *)job;
    struct roster *r = j->roster;

    r->saving = false;
    if (j->status == ST_NO_SPACE) {
        log_warning("server", "%s; who is new is not heard, proceeding", j->error.text);
        r->met = r->durable; /* whoever waits for it dials again, and is written down then */
        free(j);
        return;
    }
    if (j->status != ST_OK)
        r->options.fail_fn(r->options.arg, j->error.text);
    r->durable = j->met;
    free(j);
    save(r);
    peers_judge_again(r->peers);
}

static void save(struct roster *r)
{
    struct save_job *j;
    bool news = r->met.count != r->durable.count;

    for (unsigned i = 0; i < r->met.count && !news; i++)
        news = r->met.rows[i].id != r->durable.rows[i].id;
    if (r->saving || !news)
        return;
    j = mem_zero(sizeof *j);
    j->job.run_fn = save_run;
    j->job.done_fn = save_done;
    j->roster = r;
    j->met = r->met;
    r->saving = true;
    storage_thread_submit(r->options.storage, &j->job);
}

/* A member of now that has not published itself: nobody else remembers it. */
static bool is_dear(void *arg, uint64_t id)
{
    struct roster *r = arg;
    const struct member *m = members_look_up(node_members(r->options.node), id);

    return m && !m->incarnation;
}

/* ---- what peers ask ---- */

static void remember(struct roster *r, uint64_t member_id, uint64_t incarnation)
{
    met_add(&r->met, member_id, incarnation, is_dear, r);
    save(r);
}

enum peer_verdict roster_judge(struct roster *r, uint64_t member_id, uint64_t incarnation)
{
    const struct members *members = node_members(r->options.node);
    const struct member *m = members_look_up(members, member_id);
    uint64_t met = met_find(&r->met, member_id);

    if (members_is_removed(members, member_id))
        return PEER_REMOVED;
    if (PLANTED(wiped_is_welcome))
        return PEER_WELCOME;
    if (m && m->incarnation && m->incarnation != incarnation)
        return PEER_OTHER_INCARNATION;
    /* Also of those whose record says it: after a start the record may be in the log only, and not applied before there is a leader. */
    if (!met)
        remember(r, member_id, incarnation);
    if (m && m->incarnation)
        return PEER_WELCOME;
    if (!met)
        return PEER_LATER;
    if (met != incarnation)
        return PEER_OTHER_INCARNATION;
    return met_find(&r->durable, member_id) ? PEER_WELCOME : PEER_LATER;
}

void roster_tell_cluster(const struct roster *r, struct buf *ret_founders, struct buf *ret_members)
{
    struct members known = {0};

    members_encode(r->options.founders, ret_founders);
    members_encode(node_members(r->options.node), ret_members);
    /* What only we know goes along: one that was met is no newcomer. */
    INVARIANT(members_decode(&known, buf_slice(ret_members)) == ST_OK);
    for (unsigned i = 0; i < known.count; i++)
        if (!known.list[i].incarnation)
            known.list[i].incarnation = met_find(&r->met, known.list[i].id);
    buf_clear(ret_members);
    members_encode(&known, ret_members);
    members_fini(&known);
}

void roster_on_dismissed(struct roster *r, enum dismissal_reason reason, const char *why)
{
    r->options.end_fn(r->options.arg, reason == DISMISSAL_REMOVED ? 0 : 1, 0, why);
}

/* ---- keeping up ---- */

/* A URL that nobody can dial is no reason to end: it came through the log, and an update can mend it. */
static void put_peer(struct roster *r, const struct member *m)
{
    struct url urls[MEMBER_URLS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < m->peer_url_count && count < MEMBER_URLS_MAX; i++) {
        struct error error = {0};
        if (url_parse(m->peer_urls[i], &urls[count], &error) == ST_OK)
            count++;
        else
            log_warning("server", "a peer URL that cannot be used, proceeding peer=%" PRIx64 " why=\"%s\"", m->id, error.text);
    }
    peers_put(r->peers, m->id, urls, count);
}

void roster_sync(struct roster *r)
{
    const struct members *members = node_members(r->options.node);
    const struct member *self = members_look_up(members, r->options.member_id);
    uint64_t ids[MEMBERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < members->count; i++)
        if (members->list[i].id != r->options.member_id)
            ids[count++] = members->list[i].id;
    peers_keep(r->peers, ids, count); /* first, for a snapshot may bring a table without any of those of before */
    for (unsigned i = 0; i < members->count; i++)
        if (members->list[i].id != r->options.member_id)
            put_peer(r, &members->list[i]);
    if (members_is_removed(members, r->options.member_id))
        r->options.end_fn(r->options.arg, 0, REMOVED_DELAY_NS, REMOVED_TEXT);
    else if (self && self->incarnation && self->incarnation != r->options.incarnation)
        r->options.end_fn(r->options.arg, 1, 0, status_text(ST_OTHER_INCARNATION));
}

enum status roster_open(const struct roster_options *options, struct roster **ret_roster, struct error *ret_error)
{
    struct roster *r = mem_zero(sizeof *r);
    enum status st;

    r->options = *options;
    st = met_load(&r->durable, options->dir_fd, ret_error);
    r->met = r->durable;
    if (st == ST_OK)
        *ret_roster = r;
    else
        free(r);
    return st;
}

void roster_set_peers(struct roster *r, struct peers *peers)
{
    r->peers = peers;
}

void roster_free(struct roster *r)
{
    free(r);
}
