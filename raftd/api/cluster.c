/* SPDX-License-Identifier: Apache-2.0 */
/* etcdserverpb.Cluster: who is there. */
#include "raftd/api/internal.h"

static void answer_members(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__Member rows[MEMBERS_MAX], *pointers[MEMBERS_MAX];
    const struct members *members = node_members(a->node);
    Etcdserverpb__ResponseHeader header;

    (void)message;
    for (unsigned i = 0; i < members->count; i++) {
        const struct member *m = &members->list[i];
        etcdserverpb__member__init(&rows[i]);
        rows[i].id = m->id;
        rows[i].name = m->name;
        rows[i].peerurls = m->peer_urls;
        rows[i].n_peerurls = m->peer_url_count;
        rows[i].clienturls = m->client_urls;
        rows[i].n_clienturls = m->client_url_count;
        rows[i].islearner = members_is_learner(members, m->id);
        pointers[i] = &rows[i];
    }
    api_fill_header(a, &header, 0); /* etcd leaves the revision out here */
    response.header = &header;
    response.members = pointers;
    response.n_members = members->count;
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
