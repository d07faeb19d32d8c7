/* SPDX-License-Identifier: Apache-2.0 */
/* The table of methods, and what all of them go through. */
#include "raftd/api/api.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mem.h"
#include "raftd/api/internal.h"

#define ANSWER_KEEP_BYTES (1u << 20) /* of the room for answers; what a larger one took is given back */

/* ---- answers ---- */

struct buf *api_answer_room(struct api *a)
{
    if (a->answer.cap > ANSWER_KEEP_BYTES)
        buf_fini(&a->answer);
    buf_clear(&a->answer);
    return &a->answer;
}

void api_reply(struct grpc_call *call, struct slice answer)
{
    uint8_t *p = grpc_call_message(call, answer.len);

    if (answer.len)
        memcpy(p, answer.data, answer.len);
    grpc_call_finish(call, ST_OK, NULL);
}

void api_reply_message(struct grpc_call *call, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);

    protobuf_c_message_pack(m, grpc_call_message(call, len));
    grpc_call_finish(call, ST_OK, NULL);
}

/* A deadline of the client's is told as one, whoever notices first that it is over: the call's own timer, or the node. */
void api_fail(struct grpc_call *call, enum status st)
{
    bool is_over = (st == ST_TIMEOUT || st == ST_TIMEOUT_LEADER_FAIL) && clock_monotonic_ns() >= grpc_call_deadline_ns(call);

    grpc_call_finish(call, is_over ? ST_DEADLINE : st, NULL);
}

void api_fill_header(struct api *a, Etcdserverpb__ResponseHeader *h, int64_t revision)
{
    struct kv_header kv;

    node_get_header(a->node, &kv);
    etcdserverpb__response_header__init(h);
    h->cluster_id = kv.cluster_id;
    h->member_id = kv.member_id;
    h->raft_term = kv.raft_term;
    h->revision = revision;
}

/* ---- calls that wait for the node ---- */

struct wait {
    struct api_pending pending;
    struct api *api;
    struct grpc_call *call;
    struct node_request *request; /* NULL: the node is done with it */
    api_read_fn then_fn;          /* NULL: no read, the node gives the answer */
    size_t message_len;
    uint8_t message[]; /* of a read, to go on with */
};

static void wait_free(struct wait *w)
{
    w->api->waiting_bytes -= w->message_len;
    free(w);
}

static bool is_refused(const struct api *a, const struct grpc_call *call);

/* An alarm may have come while it waited. */
static void answer_read(struct wait *w)
{
    grpc_call_set_data(w->call, NULL);
    if (is_refused(w->api, w->call))
        api_fail(w->call, ST_CORRUPT_CLUSTER);
    else
        w->then_fn(w->api, w->call, slice_of(w->message, w->message_len));
    wait_free(w);
}

static void on_node_done(void *arg, enum status st, struct slice answer)
{
    struct wait *w = arg;

    w->request = NULL;
    if (st == ST_OK && w->then_fn) {
        /* A round of reads is over at once, and the answers of all of them may be large. A later read is linearizable, too. */
        if (grpc_call_is_full(w->call))
            grpc_call_hold(w->call);
        else
            answer_read(w);
        return;
    }
    grpc_call_set_data(w->call, NULL);
    if (st == ST_OK)
        api_reply(w->call, answer);
    else
        api_fail(w->call, st);
    wait_free(w);
}

/* Only reads that are held are told. */
static void on_room_for_answer(struct grpc_call *call, void *service_arg)
{
    (void)service_arg;
    answer_read(grpc_call_data(call));
}

static void wait_cancel(struct api *a, struct api_pending *p)
{
    struct wait *w = (struct wait *)p;

    if (w->request)
        node_cancel(a->node, w->request);
    wait_free(w);
}

void api_on_pending_canceled(struct grpc_call *call, void *service_arg)
{
    struct api_pending *p = grpc_call_data(call);

    if (!p)
        return;
    grpc_call_set_data(call, NULL);
    p->cancel_fn(service_arg, p);
    grpc_call_finish(call, ST_CANCELED, NULL);
}

static struct wait *wait_new(struct api *a, struct grpc_call *call, struct slice message, api_read_fn then_fn)
{
    struct wait *w = mem_alloc(sizeof *w + message.len);

    *w = (struct wait){.pending = {wait_cancel}, .api = a, .call = call, .then_fn = then_fn, .message_len = message.len};
    a->waiting_bytes += message.len;
    if (message.len)
        memcpy(w->message, message.data, message.len);
    return w;
}

static void wait_begun(struct grpc_call *call, struct wait *w, enum status st)
{
    if (st == ST_OK) {
        grpc_call_set_data(call, w);
        return;
    }
    wait_free(w);
    api_fail(call, st);
}

void api_propose(struct api *a, struct grpc_call *call, enum command_kind kind, struct slice payload)
{
    struct wait *w = wait_new(a, call, slice_of(NULL, 0), NULL);

    wait_begun(call, w,
               node_propose(a->node, kind, payload, grpc_call_deadline_ns(call), on_node_done, w, &w->request));
}

void api_read(struct api *a, struct grpc_call *call, struct slice message, api_read_fn then_fn)
{
    struct wait *w;

    if (a->waiting_bytes + message.len > WAITING_READS_BYTES_MAX) {
        api_fail(call, ST_TOO_MANY_REQUESTS);
        return;
    }
    w = wait_new(a, call, message, then_fn);
    wait_begun(call, w, node_read(a->node, grpc_call_deadline_ns(call), on_node_done, w, &w->request));
}

void api_transfer_leader(struct api *a, struct grpc_call *call, uint64_t to)
{
    struct wait *w = wait_new(a, call, slice_of(NULL, 0), NULL);

    wait_begun(call, w,
               node_transfer_leader(a->node, to, grpc_call_deadline_ns(call), on_node_done, w, &w->request));
}

/* ---- the table ---- */

static const struct api_method rows[] = {
    {.path = "/etcdserverpb.KV/Range", .handle = api_kv_range, .flags = METHOD_ON_LEARNERS | METHOD_READS},
    {.path = "/etcdserverpb.KV/RangeStream",
     .handle = api_kv_range_stream,
     .flags = METHOD_ANSWERS_STREAM | METHOD_READS,
     .on_writable = api_range_stream_on_writable},
    {.path = "/etcdserverpb.KV/Put", .handle = api_kv_put},
    {.path = "/etcdserverpb.KV/Txn", .handle = api_kv_txn, .flags = METHOD_READS},
    {.path = "/etcdserverpb.KV/DeleteRange", .handle = api_kv_delete},
    {.path = "/etcdserverpb.Watch/Watch",
     .handle = api_watch_message,
     .flags = METHOD_STREAMS | METHOD_WATCHES_LEADER | METHOD_READS,
     .on_cancel = api_watch_on_cancel,
     .on_writable = api_watch_on_writable},
    {.path = "/etcdserverpb.Cluster/MemberList", .handle = api_member_list},
    {.path = "/etcdserverpb.Cluster/MemberAdd", .handle = api_member_add},
    {.path = "/etcdserverpb.Cluster/MemberRemove", .handle = api_member_remove},
    {.path = "/etcdserverpb.Cluster/MemberUpdate", .handle = api_member_update},
    {.path = "/etcdserverpb.Cluster/MemberPromote", .handle = api_member_promote},
    {.path = "/etcdserverpb.Maintenance/Status", .handle = api_status, .flags = METHOD_ON_LEARNERS},
    {.path = "/etcdserverpb.Maintenance/Alarm", .handle = api_alarm},
    {.path = "/etcdserverpb.Maintenance/Hash", .handle = api_hash},
    {.path = "/etcdserverpb.Maintenance/HashKV", .handle = api_hash_kv},
    {.path = "/etcdserverpb.Maintenance/MoveLeader", .handle = api_move_leader},
    {.path = "/grpc.health.v1.Health/Check", .handle = api_health_check},
    {.path = "/grpc.health.v1.Health/Watch",
     .handle = api_health_watch,
     .flags = METHOD_STREAMS,
     .on_cancel = api_health_on_cancel},
};
#define ROW_COUNT (sizeof rows / sizeof *rows)

/* RFC 3629: no longer spelling than needed, no halves of surrogate pairs, nothing above U+10FFFF. */
static bool is_utf8(struct slice s)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.data[i++];
        unsigned more = c < 0x80 ? 0 : c < 0xc0 ? 4 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf8 ? 3 : 4;
        uint32_t point = more ? c & (0x3fu >> more) : c;
        if (more == 4 || more > s.len - i)
            return false;
        for (unsigned k = 0; k < more; k++, i++) {
            if ((s.data[i] & 0xc0) != 0x80)
                return false;
            point = point << 6 | (s.data[i] & 0x3fu);
        }
        if (point < least[more] || (point >= 0xd800 && point < 0xe000) || point > 0x10ffff)
            return false;
    }
    return true;
}

static struct grpc_method methods[ROW_COUNT];

static const struct api_method *row_of(const struct grpc_call *call)
{
    return &rows[grpc_call_method(call) - methods];
}

static bool is_refused(const struct api *a, const struct grpc_call *call)
{
    return (row_of(call)->flags & METHOD_READS) && node_refuses_reads(a->node);
}

/* What the client's metadata asks for: etcd's interceptor. */
static enum status admit(struct api *a, const struct api_method *row, struct grpc_call *call)
{
    struct raft_status st;

    if (!(row->flags & METHOD_ON_LEARNERS) && node_is_learner(a->node))
        return ST_NOT_FOR_LEARNER;
    if (is_refused(a, call))
        return ST_CORRUPT_CLUSTER;
    if (!is_utf8(grpc_call_metadata(call, "client-api-version")))
        return ST_BAD_CLIENT_VERSION;
    if (row->flags & METHOD_WATCHES_LEADER)
        return ST_OK;
    if (!slice_equal(grpc_call_metadata(call, "hasleader"), slice_of_text("true")))
        return ST_OK;
    node_get_raft_status(a->node, &st);
    return st.leader ? ST_OK : ST_NO_LEADER;
}

/* The one door: the row of the method says whether the call gets in and who handles it. A stream that is in stays until it is ended. */
static void on_message(struct grpc_call *call, struct slice message, void *service_arg)
{
    const struct api_method *row = row_of(call);
    enum status st = grpc_call_data(call) ? ST_OK : admit(service_arg, row, call);

    if (st != ST_OK)
        api_fail(call, st);
    else
        row->handle(service_arg, call, message);
}

const struct grpc_method *api_methods(unsigned *ret_count)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        methods[i] = (struct grpc_method){
            .path = rows[i].path,
            .client_streams = rows[i].flags & METHOD_STREAMS,
            .server_streams = rows[i].flags & METHOD_ANSWERS_STREAM,
            .on_message = on_message,
            .on_cancel = rows[i].on_cancel ? rows[i].on_cancel : api_on_pending_canceled,
            .on_writable = rows[i].on_writable ? rows[i].on_writable : on_room_for_answer,
        };
    *ret_count = ROW_COUNT;
    return methods;
}

/* ---- life ---- */

struct api *api_new(struct loop *l, struct node *n)
{
    struct api *a = mem_zero(sizeof *a);

    a->loop = l;
    a->node = n;
    arena_init(&a->arena);
    TAILQ_INIT(&a->long_ranges);
    TAILQ_INIT(&a->parked_ranges);
    loop_timer_init(&a->next_slice, api_range_next_slice, a);
    api_hash_init(a);
    api_watch_init(a);
    return a;
}

void api_on_restored(struct api *a, struct mvcc *store)
{
    api_range_on_restored(a, store);
    api_watch_on_restored(a, store);
}

void api_free(struct api *a)
{
    if (!a)
        return;
    INVARIANT(TAILQ_EMPTY(&a->long_ranges) && TAILQ_EMPTY(&a->parked_ranges)); /* the calls are gone */
    loop_timer_cancel(a->loop, &a->next_slice);
    api_hash_fini(a);
    api_watch_fini(a);
    arena_fini(&a->arena);
    buf_fini(&a->answer);
    free(a);
}
