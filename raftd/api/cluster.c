/* SPDX-License-Identifier: Apache-2.0 */
/* etcdserverpb.Cluster: who is there, and changes of that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec.h"
#include "common/mem.h"
#include "net/digest.h"
#include "net/url.h"
#include "raftd/api/internal.h"

/* A member list as protobuf-c wants it. */
struct member_rows {
    Etcdserverpb__Member rows[MEMBERS_MAX], *pointers[MEMBERS_MAX];
    unsigned count;
};

static void fill_rows(struct api *a, struct member_rows *ret_rows)
{
    const struct members *members = node_members(a->node);

    ret_rows->count = members->count;
    for (unsigned i = 0; i < members->count; i++) {
        const struct member *m = &members->list[i];
        Etcdserverpb__Member *row = &ret_rows->rows[i];
        etcdserverpb__member__init(row);
        row->id = m->id;
        row->name = m->name;
        row->peerurls = m->peer_urls;
        row->n_peerurls = m->peer_url_count;
        row->clienturls = m->client_urls;
        row->n_clienturls = m->client_url_count;
        row->islearner = members_is_learner(members, m->id);
        ret_rows->pointers[i] = row;
    }
}

static void answer_members(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    struct member_rows rows;

    (void)message;
    fill_rows(a, &rows);
    api_fill_header(a, &header, 0); /* etcd leaves the revision out here */
    response.header = &header;
    response.members = rows.pointers;
    response.n_members = rows.count;
    api_reply_message(call, &response.base);
}

void api_member_list(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberListRequest *r =
        etcdserverpb__member_list_request__unpack(&a->arena.allocator, message.len, message.data);
    bool linearizable = r && r->linearizable;

    arena_reset(&a->arena);
    if (!r)
        api_fail(call, ST_BAD_MESSAGE);
    else if (linearizable)
        api_read(a, call, message, answer_members);
    else
        answer_members(a, call, message);
}

/* ---- changes ---- */

/* One that waits for the node. */
struct change_call {
    struct api_pending pending;
    struct api *api;
    struct grpc_call *call;
    struct node_request *request;
    enum member_change_kind kind;
    uint64_t id;
};

static void answer_add(struct api *a, struct grpc_call *call, uint64_t id)
{
    Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    struct member_rows rows;

    fill_rows(a, &rows);
    api_fill_header(a, &header, 0);
    response.header = &header;
    for (unsigned i = 0; i < rows.count; i++)
        if (rows.rows[i].id == id)
            response.member = &rows.rows[i];
    response.members = rows.pointers;
    response.n_members = rows.count;
    api_reply_message(call, &response.base);
}

/* The answers to all other changes are alike on the wire: header, members. */
static void answer_change(struct api *a, struct change_call *c)
{
    if (c->kind == MEMBER_ADD || c->kind == MEMBER_ADD_LEARNER)
        answer_add(a, c->call, c->id);
    else
        answer_members(a, c->call, slice_of(NULL, 0));
}

static void on_changed(void *arg, enum status st, struct slice answer)
{
    struct change_call *c = arg;

    (void)answer;
    grpc_call_set_data(c->call, NULL);
    if (st == ST_OK)
        answer_change(c->api, c);
    else
        api_fail(c->call, st);
    free(c);
}

static void change_cancel(struct api *a, struct api_pending *p)
{
    struct change_call *c = (struct change_call *)p;

    node_cancel(a->node, c->request);
    free(c);
}

static void change_members(struct api *a, struct grpc_call *call, const struct member_change *change)
{
    struct change_call *c = mem_alloc(sizeof *c);
    enum status st;

    *c = (struct change_call){.pending = {change_cancel}, .api = a, .call = call, .kind = change->kind, .id = change->id};
    st = node_change_members(a->node, change, grpc_call_deadline_ns(call), on_changed, c, &c->request);
    if (st == ST_OK) {
        grpc_call_set_data(call, c);
        return;
    }
    free(c);
    api_fail(call, st);
}

/* Peer URLs in the one spelling that all members have of them. */
struct peer_urls {
    char texts[MEMBER_URLS_MAX][MEMBER_URL_BYTES_MAX + 1], *list[MEMBER_URLS_MAX];
    unsigned count;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* etcd's rules for them (types.NewURLs); and what no member could dial is refused, too. */
static bool take_urls(char *const *texts, size_t count, struct peer_urls *ret_urls)
{
    if (count < 1 || count > MEMBER_URLS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *text = texts[i] + strspn(texts[i], " \t\r\n");
        size_t len = strlen(text);
        char word[MEMBER_URL_BYTES_MAX + 1];
        struct error error;
        struct url url;
        while (len && strchr(" \t\r\n", text[len - 1]))
            len--;
        if (!len || len > MEMBER_URL_BYTES_MAX)
            return false;
        memcpy(word, text, len);
        word[len] = 0;
        if (!strstr(word, "://") || url_parse(word, &url, &error) != ST_OK || url.tls || (!url.is_unix && word[len - 1] == '/'))
            return false;
        url_format(&url, ret_urls->texts[i], sizeof ret_urls->texts[i]);
        ret_urls->list[i] = ret_urls->texts[i];
    }
    ret_urls->count = (unsigned)count;
    qsort(ret_urls->list, count, sizeof ret_urls->list[0], compare_texts);
    return true;
}

/* etcd: as at the start of a cluster, but with the time in place of the token. */
static uint64_t new_member_id(const struct peer_urls *urls)
{
    struct buf b = {0};
    uint8_t digest[20];

    for (unsigned i = 0; i < urls->count; i++)
        buf_append_text(&b, urls->list[i]);
    buf_printf(&b, "%lld", (long long)(clock_wall_ns() / NS_PER_S));
    digest_sha1(buf_slice(&b), digest);
    buf_fini(&b);
    return get_be64(digest);
}

void api_member_add(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberAddRequest *r =
        etcdserverpb__member_add_request__unpack(&a->arena.allocator, message.len, message.data);
    struct member_change c = {.kind = r && r->islearner ? MEMBER_ADD_LEARNER : MEMBER_ADD};
    struct peer_urls urls;
    bool valid = r && take_urls(r->peerurls, r->n_peerurls, &urls);

    arena_reset(&a->arena);
    if (!valid) {
        api_fail(call, r ? ST_BAD_MEMBER_URLS : ST_BAD_MESSAGE);
        return;
    }
    c.id = new_member_id(&urls);
    c.peer_urls = urls.list;
    c.peer_url_count = urls.count;
    change_members(a, call, &c);
}

void api_member_update(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberUpdateRequest *r =
        etcdserverpb__member_update_request__unpack(&a->arena.allocator, message.len, message.data);
    struct member_change c = {.kind = MEMBER_UPDATE, .id = r ? r->id : 0};
    struct peer_urls urls;
    bool valid = r && take_urls(r->peerurls, r->n_peerurls, &urls);

    arena_reset(&a->arena);
    if (!valid) {
        api_fail(call, r ? ST_BAD_MEMBER_URLS : ST_BAD_MESSAGE);
        return;
    }
    c.peer_urls = urls.list;
    c.peer_url_count = urls.count;
    if (c.id)
        change_members(a, call, &c);
    else
        api_fail(call, ST_MEMBER_NOT_FOUND); /* nobody has it */
}

static void change_by_id(struct api *a, struct grpc_call *call, enum member_change_kind kind, bool decoded, uint64_t id)
{
    struct member_change c = {.kind = kind, .id = id};

    arena_reset(&a->arena);
    if (!decoded)
        api_fail(call, ST_BAD_MESSAGE);
    else if (!id)
        api_fail(call, ST_MEMBER_NOT_FOUND); /* nobody has it */
    else
        change_members(a, call, &c);
}

void api_member_remove(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberRemoveRequest *r =
        etcdserverpb__member_remove_request__unpack(&a->arena.allocator, message.len, message.data);

    change_by_id(a, call, MEMBER_REMOVE, r != NULL, r ? r->id : 0);
}

void api_member_promote(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberPromoteRequest *r =
        etcdserverpb__member_promote_request__unpack(&a->arena.allocator, message.len, message.data);

    change_by_id(a, call, MEMBER_PROMOTE, r != NULL, r ? r->id : 0);
}
