/* SPDX-License-Identifier: Apache-2.0 */
/* The table of members and its stored form. */
#include "raftd/node/members.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/planted.h"
#include "proto/state.pb-c.h"
#include "raft/conf_change.h"

static char **texts_copy(char *const *texts, unsigned count)
{
    char **copy = mem_alloc((count + 1) * sizeof *copy);

    for (unsigned i = 0; i < count; i++)
        copy[i] = mem_text(texts[i]);
    copy[count] = NULL;
    return copy;
}

static void texts_free(char **texts)
{
    for (char **t = texts; t && *t; t++)
        free(*t);
    free(texts);
}

static void member_fini(struct member *m)
{
    free(m->name);
    texts_free(m->peer_urls);
    texts_free(m->client_urls);
}

void members_fini(struct members *m)
{
    for (unsigned i = 0; i < m->count; i++)
        member_fini(&m->list[i]);
    free(m->removed);
    *m = (struct members){0};
}

void members_insert(struct members *m, uint64_t id, const char *name, char *const *peer_urls, unsigned peer_url_count,
                    const struct raft_conf *conf)
{
    unsigned at = m->count;

    INVARIANT(m->count < MEMBERS_MAX);
    for (; at > 0 && m->list[at - 1].id > id; at--)
        m->list[at] = m->list[at - 1];
    m->list[at] = (struct member){.id = id,
                                  .name = mem_text(name),
                                  .peer_urls = texts_copy(peer_urls, peer_url_count),
                                  .peer_url_count = peer_url_count,
                                  .client_urls = texts_copy(NULL, 0)};
    m->count++;
    m->conf = *conf;
}

enum status members_add(struct members *m, uint64_t id, const char *name, char *const *peer_urls,
                        unsigned peer_url_count)
{
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CHANGE_ADD_VOTER, id}}};
    struct raft_conf conf;
    enum status st;

    if (!id || members_find(m, id))
        return ST_BAD_ARGUMENT;
    if (m->count == MEMBERS_MAX)
        return ST_LIMIT;
    st = raft_conf_changed(&m->conf, &change, &conf);
    if (st == ST_OK)
        members_insert(m, id, name, peer_urls, peer_url_count, &conf);
    return st;
}

/* Where an id is, or belongs, among the removed. */
static unsigned removed_place(const struct members *m, uint64_t id)
{
    unsigned low = 0, high = m->removed_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (m->removed[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool members_is_removed(const struct members *m, uint64_t id)
{
    unsigned at = removed_place(m, id);

    return at < m->removed_count && m->removed[at] == id;
}

static void add_removed(struct members *m, uint64_t id)
{
    unsigned at = removed_place(m, id);

    INVARIANT(m->removed_count < MEMBERS_REMOVED_MAX);
    m->removed = mem_grow(m->removed, &m->removed_cap, m->removed_count + 1, sizeof *m->removed);
    memmove(m->removed + at + 1, m->removed + at, (m->removed_count - at) * sizeof *m->removed);
    m->removed[at] = id;
    m->removed_count++;
}

void members_remove(struct members *m, uint64_t id, const struct raft_conf *conf)
{
    struct member *gone = members_find(m, id);
    unsigned at = (unsigned)(gone - m->list);

    INVARIANT(gone != NULL);
    member_fini(gone);
    m->count--;
    memmove(gone, gone + 1, (m->count - at) * sizeof *gone);
    add_removed(m, id);
    m->conf = *conf;
}

const struct member *members_look_up(const struct members *m, uint64_t id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].id == id)
            return &m->list[i];
    return NULL;
}

struct member *members_find(struct members *m, uint64_t id)
{
    const struct member *found = members_look_up(m, id);

    return found ? &m->list[found - m->list] : NULL;
}

bool members_is_learner(const struct members *m, uint64_t id)
{
    for (unsigned i = 0; i < m->conf.learner_count; i++)
        if (m->conf.learners[i] == id)
            return true;
    for (unsigned i = 0; i < m->conf.learner_next_count; i++)
        if (m->conf.learners_next[i] == id)
            return true;
    return false;
}

unsigned members_alarms(const struct members *m, unsigned type, struct alarm *ret_list)
{
    unsigned count = 0;

    for (unsigned i = 0; i < m->count; i++) {
        if (m->list[i].no_space && type != ALARM_CORRUPT)
            ret_list[count++] = (struct alarm){m->list[i].id, ALARM_NO_SPACE};
        if (m->list[i].corrupt && type != ALARM_NO_SPACE)
            ret_list[count++] = (struct alarm){m->list[i].id, ALARM_CORRUPT};
    }
    if (m->corrupt && type != ALARM_NO_SPACE)
        ret_list[count++] = (struct alarm){0, ALARM_CORRUPT};
    return count;
}

bool *members_alarm(struct members *m, uint64_t id, unsigned type)
{
    struct member *member = members_find(m, id);

    if (type == ALARM_CORRUPT && !id)
        return &m->corrupt;
    if (!member || (type != ALARM_CORRUPT && type != ALARM_NO_SPACE))
        return NULL;
    return type == ALARM_CORRUPT ? &member->corrupt : &member->no_space;
}

bool members_is_corrupt(const struct members *m)
{
    struct alarm list[ALARMS_MAX];

    return members_alarms(m, ALARM_CORRUPT, list) > 0;
}

bool members_may_lead(const struct members *m, uint64_t id)
{
    const struct member *voter = members_look_up(m, id);

    if (!voter || !voter->corrupt || PLANTED(corrupt_leads))
        return true;
    for (unsigned i = 0; i < m->conf.voter_count; i++) {
        voter = members_look_up(m, m->conf.voters[i]);
        if (voter && !voter->corrupt)
            return false;
    }
    return true;
}

void member_set_client_urls(struct member *m, char *const *urls, unsigned count)
{
    char **old = m->client_urls;

    m->client_urls = texts_copy(urls, count);
    m->client_url_count = count;
    texts_free(old);
}

void member_set_peer_urls(struct member *m, char *const *urls, unsigned count)
{
    char **old = m->peer_urls;

    m->peer_urls = texts_copy(urls, count);
    m->peer_url_count = count;
    texts_free(old);
}

void member_set_name(struct member *m, const char *name)
{
    char *old = m->name;

    m->name = mem_text(name);
    free(old);
}

/*
 * So the state beside the keys fits one message, whatever members and clients do: a member with all its texts, each behind a tag and a
 * length; ids of those who are gone, packed; what there is of a configuration, four lists of ids.
 */
#define FIELD_BYTES_MAX 8u
#define NUMBER_BYTES_MAX (FIELD_BYTES_MAX + 10u)
#define MEMBER_BYTES_MAX                                                                                                        \
    (2 * MEMBER_URLS_MAX * (MEMBER_URL_BYTES_MAX + FIELD_BYTES_MAX) + MEMBER_NAME_BYTES_MAX + FIELD_BYTES_MAX + 4 * NUMBER_BYTES_MAX)
_Static_assert(MEMBERS_MAX * MEMBER_BYTES_MAX + MEMBERS_REMOVED_MAX * NUMBER_BYTES_MAX + (4 * RAFT_VOTERS_MAX + 1) * NUMBER_BYTES_MAX <=
                   SNAPSHOT_STATE_BYTES_MAX,
               "the state beside the keys does not fit a message");

static bool is_majority(const raft_id *voters, unsigned count, bool (*is_true_fn)(const void *arg, uint64_t id), const void *arg)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += is_true_fn(arg, voters[i]);
    return sum > count / 2;
}

bool members_is_quorum(const struct raft_conf *conf, bool (*is_true_fn)(const void *arg, uint64_t id), const void *arg)
{
    return is_majority(conf->voters, conf->voter_count, is_true_fn, arg) &&
           (!conf->outgoing_count || is_majority(conf->outgoing, conf->outgoing_count, is_true_fn, arg));
}

unsigned members_voters(const struct raft_conf *conf)
{
    return raft_conf_is_joint(conf) && conf->outgoing_count < conf->voter_count ? conf->outgoing_count : conf->voter_count;
}

bool member_has_url(const struct member *m, const char *url)
{
    for (unsigned i = 0; i < m->peer_url_count; i++)
        if (strcmp(m->peer_urls[i], url) == 0)
            return true;
    return false;
}

bool member_texts_fit(const char *name, char *const *urls, size_t count)
{
    bool fit = strlen(name) <= MEMBER_NAME_BYTES_MAX && count <= MEMBER_URLS_MAX;

    for (size_t i = 0; fit && i < count; i++)
        fit = strlen(urls[i]) <= MEMBER_URL_BYTES_MAX;
    return fit;
}

void members_copy(struct members *to, const struct members *from)
{
    struct buf state = {0};

    members_encode(from, &state);
    INVARIANT(members_decode(to, buf_slice(&state)) == ST_OK);
    buf_fini(&state);
}

void members_encode(const struct members *m, struct buf *out)
{
    Raftfs__State__NodeState state = RAFTFS__STATE__NODE_STATE__INIT;
    Raftfs__State__Configuration conf = RAFTFS__STATE__CONFIGURATION__INIT;
    Raftfs__State__Member rows[MEMBERS_MAX], *pointers[MEMBERS_MAX];
    struct raft_conf c = m->conf; /* what is packed is no const */
    size_t len;

    for (unsigned i = 0; i < m->count; i++) {
        raftfs__state__member__init(&rows[i]);
        rows[i].id = m->list[i].id;
        rows[i].name = m->list[i].name;
        rows[i].peer_urls = m->list[i].peer_urls;
        rows[i].n_peer_urls = m->list[i].peer_url_count;
        rows[i].client_urls = m->list[i].client_urls;
        rows[i].n_client_urls = m->list[i].client_url_count;
        rows[i].no_space = m->list[i].no_space;
        rows[i].corrupt = m->list[i].corrupt;
        rows[i].incarnation = m->list[i].incarnation;
        pointers[i] = &rows[i];
    }
    state.members = pointers;
    state.n_members = m->count;
    conf.voters = c.voters;
    conf.n_voters = c.voter_count;
    conf.outgoing = c.outgoing;
    conf.n_outgoing = c.outgoing_count;
    conf.learners = c.learners;
    conf.n_learners = c.learner_count;
    conf.learners_next = c.learners_next;
    conf.n_learners_next = c.learner_next_count;
    conf.auto_leave = c.auto_leave;
    state.conf = &conf;
    state.removed = m->removed;
    state.n_removed = m->removed_count;
    state.corrupt = m->corrupt;
    len = raftfs__state__node_state__get_packed_size(&state);
    raftfs__state__node_state__pack(&state, buf_reserve(out, len));
    buf_commit(out, len);
}

static bool copy_ids(raft_id *to, unsigned *ret_count, const uint64_t *from, size_t count, unsigned max)
{
    if (count > max)
        return false;
    if (count)
        memcpy(to, from, count * sizeof *to);
    *ret_count = (unsigned)count;
    return true;
}

static enum status decode_conf(struct members *m, const Raftfs__State__Configuration *row)
{
    struct raft_conf c = {0};
    unsigned known = 0;

    if (!copy_ids(c.voters, &c.voter_count, row->voters, row->n_voters, RAFT_VOTERS_MAX) ||
        !copy_ids(c.outgoing, &c.outgoing_count, row->outgoing, row->n_outgoing, RAFT_VOTERS_MAX) ||
        !copy_ids(c.learners, &c.learner_count, row->learners, row->n_learners, RAFT_LEARNERS_MAX) ||
        !copy_ids(c.learners_next, &c.learner_next_count, row->learners_next, row->n_learners_next, RAFT_VOTERS_MAX))
        return ST_CORRUPT;
    c.auto_leave = row->auto_leave;
    for (unsigned i = 0; i < c.voter_count; i++)
        known += members_look_up(m, c.voters[i]) != NULL;
    for (unsigned i = 0; i < c.learner_count; i++)
        known += members_look_up(m, c.learners[i]) != NULL;
    for (unsigned i = 0; i < c.learner_next_count; i++)
        known += members_look_up(m, c.learners_next[i]) != NULL;
    if (!raft_conf_makes_sense(&c) || known != m->count ||
        known != c.voter_count + c.learner_count + c.learner_next_count)
        return ST_CORRUPT;
    m->conf = c;
    return ST_OK;
}

static enum status decode_member(struct members *m, const Raftfs__State__Member *row)
{
    struct member *added;

    if (!row->id || members_look_up(m, row->id) || m->count == MEMBERS_MAX ||
        !member_texts_fit(row->name, row->peer_urls, row->n_peer_urls) ||
        !member_texts_fit("", row->client_urls, row->n_client_urls))
        return ST_CORRUPT;
    members_insert(m, row->id, row->name, row->peer_urls, (unsigned)row->n_peer_urls, &m->conf);
    added = members_find(m, row->id);
    member_set_client_urls(added, row->client_urls, (unsigned)row->n_client_urls);
    added->incarnation = row->incarnation;
    added->no_space = row->no_space;
    added->corrupt = row->corrupt;
    return ST_OK;
}

/* States of old have no configuration. */
static enum status vote_all(struct members *m)
{
    struct raft_conf c = {0};

    if (m->count > RAFT_VOTERS_MAX)
        return ST_CORRUPT;
    for (unsigned i = 0; i < m->count; i++)
        c.voters[c.voter_count++] = m->list[i].id;
    m->conf = c;
    return ST_OK;
}

enum status members_decode(struct members *m, struct slice bytes)
{
    Raftfs__State__NodeState *state = raftfs__state__node_state__unpack(NULL, bytes.len, bytes.data);
    enum status st = state && state->n_removed <= MEMBERS_REMOVED_MAX ? ST_OK : ST_CORRUPT;

    for (size_t i = 0; st == ST_OK && i < state->n_members; i++)
        st = decode_member(m, state->members[i]);
    if (st == ST_OK)
        st = state->conf ? decode_conf(m, state->conf) : vote_all(m);
    for (size_t i = 0; st == ST_OK && i < state->n_removed; i++) {
        if (members_is_removed(m, state->removed[i]) || members_look_up(m, state->removed[i]))
            st = ST_CORRUPT;
        else
            add_removed(m, state->removed[i]);
    }
    if (st == ST_OK)
        m->corrupt = state->corrupt;
    if (state)
        raftfs__state__node_state__free_unpacked(state, NULL);
    return st;
}
