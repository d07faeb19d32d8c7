/* SPDX-License-Identifier: Apache-2.0 */
/* etcdserverpb.Maintenance, as far as clients need it to look at a member. */
#include "raftd/api/internal.h"

void api_status(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__StatusResponse response;
    Etcdserverpb__DowngradeInfo no_downgrade;
    Etcdserverpb__ResponseHeader header;
    char version[] = ETCD_API_VERSION, storage[] = ETCD_STORAGE_VERSION, no_leader[] = "etcdserver: no leader";
    char *errors[] = {no_leader};
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
    response.leader = raft.leader;
    response.raftindex = raft.hard.commit;
    response.raftterm = raft.hard.term;
    response.raftappliedindex = raft.applied;
    if (!raft.leader) {
        response.errors = errors;
        response.n_errors = 1;
    }
    api_reply_message(call, &response.base);
}

/* No alarm can be raised here yet, so there are none to list or to end. */
void api_alarm(struct api *a, struct grpc_call *call, struct slice message)
{
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    Etcdserverpb__AlarmRequest *r = etcdserverpb__alarm_request__unpack(&a->arena.allocator, message.len, message.data);
    Etcdserverpb__ResponseHeader header;
    bool raise = r && r->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    bool known = r && (unsigned)r->action <= ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;

    arena_reset(&a->arena);
    if (!r) {
        api_fail(call, ST_BAD_MESSAGE);
    } else if (!known) {
        grpc_call_finish(call, ST_BAD_ARGUMENT, "etcdserver: unknown alarm action");
    } else if (raise) {
        grpc_call_finish(call, ST_UNKNOWN_METHOD, "etcdserver: alarms cannot be raised here");
    } else {
        api_fill_header(a, &header, mvcc_revision(node_store(a->node)));
        response.header = &header;
        api_reply_message(call, &response.base);
    }
}
