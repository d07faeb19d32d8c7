/* SPDX-License-Identifier: Apache-2.0 */
/* etcdserverpb.Maintenance: looking at a member, and giving leadership away. Hashes are in hash.c. */
#include "raftd/api/internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/limits.h"

/* etcd's protobuf text. */
static void print_alarm(const struct alarm *alarm, char *ret_text, size_t size)
{
    const char *type = alarm->type == ALARM_CORRUPT ? "CORRUPT" : "NOSPACE";

    if (alarm->id)
        snprintf(ret_text, size, "memberID:%" PRIu64 " alarm:%s ", alarm->id, type);
    else
        snprintf(ret_text, size, "alarm:%s ", type);
}

void api_status(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__StatusResponse response;
    Etcdserverpb__DowngradeInfo no_downgrade;
    Etcdserverpb__ResponseHeader header;
    char version[] = ETCD_API_VERSION, storage[] = ETCD_STORAGE_VERSION, no_leader[] = "etcdserver: no leader";
    char texts[ALARMS_MAX][64], *errors[1 + ALARMS_MAX];
    struct alarm alarms[ALARMS_MAX];
    unsigned alarm_count = members_alarms(node_members(a->node), 0, alarms);
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
    for (unsigned i = 0; i < alarm_count; i++) {
        print_alarm(&alarms[i], texts[i], sizeof texts[i]);
        errors[response.n_errors++] = texts[i];
    }
    api_reply_message(call, &response.base);
}

/* Linearizable, as etcd's. */
static void answer_alarms(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__AlarmRequest *r = etcdserverpb__alarm_request__unpack(&a->arena.allocator, message.len, message.data);
    struct alarm list[ALARMS_MAX];
    struct kv_header h;
    unsigned count = 0;

    INVARIANT(r != NULL); /* it was decoded before */
    if ((unsigned)r->alarm <= ETCDSERVERPB__ALARM_TYPE__CORRUPT)
        count = members_alarms(node_members(a->node), r->alarm, list);
    arena_reset(&a->arena);
    node_get_header(a->node, &h);
    kv_encode_alarms(api_answer_room(a), &h, mvcc_revision(node_store(a->node)), list, count);
    api_reply(call, buf_slice(&a->answer));
}

/* Raised by the members themselves; NOSPACE they end, too. An operator may end any. */
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
