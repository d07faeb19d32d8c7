/* SPDX-License-Identifier: Apache-2.0 */
/* The table of members and its stored form. */
#include "raftd/node/members.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "proto/state.pb-c.h"

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

void members_fini(struct members *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        free(m->list[i].name);
        texts_free(m->list[i].peer_urls);
        texts_free(m->list[i].client_urls);
    }
    m->count = 0;
}

enum status members_add(struct members *m, uint64_t id, const char *name, char *const *peer_urls,
                        unsigned peer_url_count)
{
    unsigned at = m->count;

    if (members_find(m, id))
        return ST_BAD_ARGUMENT;
    if (m->count == RAFT_VOTERS_MAX)
        return ST_LIMIT;
    for (; at > 0 && m->list[at - 1].id > id; at--)
        m->list[at] = m->list[at - 1];
    m->list[at] = (struct member){.id = id,
                                  .name = mem_text(name),
                                  .peer_urls = texts_copy(peer_urls, peer_url_count),
                                  .peer_url_count = peer_url_count,
                                  .client_urls = texts_copy(NULL, 0)};
    m->count++;
    return ST_OK;
}

struct member *members_find(struct members *m, uint64_t id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].id == id)
            return &m->list[i];
    return NULL;
}

void member_set_client_urls(struct member *m, char *const *urls, unsigned count)
{
    char **old = m->client_urls;

    m->client_urls = texts_copy(urls, count);
    m->client_url_count = count;
    texts_free(old);
}

void member_set_name(struct member *m, const char *name)
{
    char *old = m->name;

    m->name = mem_text(name);
    free(old);
}

void members_encode(const struct members *m, struct buf *out)
{
    Raftfs__State__NodeState state = RAFTFS__STATE__NODE_STATE__INIT;
    Raftfs__State__Member rows[RAFT_VOTERS_MAX], *pointers[RAFT_VOTERS_MAX];
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
        pointers[i] = &rows[i];
    }
    state.members = pointers;
    state.n_members = m->count;
    len = raftfs__state__node_state__get_packed_size(&state);
    raftfs__state__node_state__pack(&state, buf_reserve(out, len));
    buf_commit(out, len);
}

enum status members_decode(struct members *m, struct slice bytes)
{
    Raftfs__State__NodeState *state = raftfs__state__node_state__unpack(NULL, bytes.len, bytes.data);
    enum status st = state ? ST_OK : ST_CORRUPT;

    for (size_t i = 0; st == ST_OK && i < state->n_members; i++) {
        const Raftfs__State__Member *row = state->members[i];
        st = members_add(m, row->id, row->name, row->peer_urls, (unsigned)row->n_peer_urls);
        if (st != ST_OK)
            break;
        member_set_client_urls(members_find(m, row->id), row->client_urls, (unsigned)row->n_client_urls);
        members_find(m, row->id)->no_space = row->no_space;
    }
    if (state)
        raftfs__state__node_state__free_unpacked(state, NULL);
    return st;
}
