/* SPDX-License-Identifier: Apache-2.0 */
/* etcdserverpb.Maintenance: looking at a member, and giving leadership away. Hashes are in hash.c. */
#include "raftd/api/internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/limits.h"

void api_status(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__StatusResponse response;
    Etcdserverpb__DowngradeInfo no_downgrade;
    Etcdserverpb__ResponseHeader header;
    char version[] = ETCD_API_VERSION, storage[] = ETCD_STORAGE_VERSION, no_leader[] = "etcdserver: no leader";
    char alarms[RAFT_VOTERS_MAX + RAFT_LEARNERS_MAX][64], *errors[1 + RAFT_VOTERS_MAX + RAFT_LEARNERS_MAX];
    const struct members *members = node_members(a->node);
    struct raft_status raft;
    struct mvcc_stats stats;
    bool decoded = etcdserverpb__status_request__unpack(&a->arena.allocator, message.len, message.data) != NULL;

    arena_reset(&a->arena);
    if (!decoded) {
        api_fail(call, ST_BAD_MESSAGE);
        return;
    }
    etcdserverpb__status_response__init(&response);
    etcdserverpb__downgrade_info__init(&no_downgrade);
    node_get_raft_status(a->node, &raft);
    mvcc_get_stats(node_store(a->node), &stats);
    api_fill_header(a, &header, mvcc_revision(node_store(a->node)));
    response.header = &header;
    response.version = version;
    response.storageversion = storage;
    /* Never zero: etcdctl divides by it. What is not sealed yet counts as in use. */
    response.dbsize = (int64_t)(stats.disk_bytes + stats.memtable_bytes) + 1;
    response.dbsizeinuse = response.dbsize;
    response.dbsizequota = QUOTA_BYTES_SHOWN;
    response.downgradeinfo = &no_downgrade;
    response.islearner = node_is_learner(a->node);
    response.leader = raft.leader;
    response.raftindex = raft.hard.commit;
    response.raftterm = raft.hard.term;
    response.raftappliedindex = raft.applied;
    response.errors = errors;
    if (!raft.leader)
        errors[response.n_errors++] = no_leader;
    for (unsigned i = 0; i < members->count; i++) {
        if (!members->list[i].no_space)
            continue;
        snprintf(alarms[i], sizeof alarms[i], "memberID:%" PRIu64 " alarm:NOSPACE ", members->list[i].id);
        errors[response.n_errors++] = alarms[i];
    }
    api_reply_message(call, &response.base);
}

/* NOSPACE is the only one there is. Linearizable, as etcd's. */
static void answer_alarms(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__AlarmRequest *r = etcdserverpb__alarm_request__unpack(&a->arena.allocator, message.len, message.data);
    const struct members *members = node_members(a->node);
    bool wanted;
    uint64_t ids[RAFT_VOTERS_MAX + RAFT_LEARNERS_MAX];
    struct kv_header h;
    size_t count = 0;

    INVARIANT(r != NULL); /* it was decoded before */
    wanted = r->alarm == ETCDSERVERPB__ALARM_TYPE__NONE || r->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    arena_reset(&a->arena);
    for (unsigned i = 0; wanted && i < members->count; i++)
        if (members->list[i].no_space)
            ids[count++] = members->list[i].id;
    node_get_header(a->node, &h);
    kv_encode_alarms(api_answer_room(a), &h, mvcc_revision(node_store(a->node)), ids, count);
    api_reply(call, buf_slice(&a->answer));
}

/* Raised by the members themselves, as their disks run full; they end it, too, but an operator may. */
void api_alarm(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__AlarmRequest *r = etcdserverpb__alarm_request__unpack(&a->arena.allocator, message.len, message.data);
    bool raise = r && r->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    bool list = r && r->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET;
    bool known = r && (unsigned)r->action <= ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;

    arena_reset(&a->arena);
    if (!r) {
        api_fail(call, ST_BAD_MESSAGE);
    } else if (!known) {
        grpc_call_finish(call, ST_BAD_ARGUMENT, "etcdserver: unknown alarm action");
    } else if (raise) {
        grpc_call_finish(call, ST_UNKNOWN_METHOD, "etcdserver: alarms cannot be raised here");
    } else if (list) {
        api_read(a, call, message, answer_alarms);
    } else {
        api_propose(a, call, COMMAND_ALARM, message);
    }
}

/* The answer has no header, as etcd's. */
void api_move_leader(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__MoveLeaderRequest *r =
        etcdserverpb__move_leader_request__unpack(&a->arena.allocator, message.len, message.data);
    uint64_t to = r ? r->targetid : 0;

    arena_reset(&a->arena);
    if (r)
        api_transfer_leader(a, call, to);
    else
        api_fail(call, ST_BAD_MESSAGE);
}
