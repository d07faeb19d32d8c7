/* SPDX-License-Identifier: Apache-2.0 */
/* Everything a member consists of, wired together. Decisions are in the rooms; here they are acted on. */
#include "raftd/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"
#include "net/grpc_server.h"
#include "net/loop.h"
#include "net/socket.h"
#include "raftd/api/api.h"
#include "raftd/data_dir.h"
#include "raftd/join.h"
#include "raftd/node/node.h"
#include "raftd/node_work.h"
#include "raftd/peer/peers.h"
#include "raftd/publish.h"
#include "raftd/roster.h"
#include "raftd/storage.h"
#include "raftd/storage_thread.h"
#include "raftd/voters_keeper.h"

#define STOP_NS NS_PER_S /* for calls under way, once asked to stop */
#define STALL_REPORT_NS (60 * NS_PER_S)
#define STALL_WORTH_A_LINE_NS (100 * NS_PER_MS)

struct server {
    const struct conf *conf;
    struct loop *loop;
    struct data_dir dir;
    struct disk *disk;
    struct storage files; /* as they were opened; later: */
    struct mvcc *store;
    struct node *node;
    struct peers *peers;
    struct roster *roster;
    struct publisher publisher;
    struct api *api;
    struct grpc_server *grpc;
    struct storage_thread *storage, *voters_storage;
    struct node_work work;
    struct voters_keeper voters;
    struct listener *listeners[2 * CONF_URLS_MAX];
    unsigned listener_count;
    struct loop_wake *wal_wake;
    struct loop_task run;
    struct loop_timer tick, stall, stop, end;
    bool ending; /* no member any more */
    int exit_status;
    struct loop_signal *term, *interrupt;
    bool stopping;
    int64_t hand_over_until_ns; /* then it stops all the same */
    int64_t stall_max_ns; /* the longest turn of the loop */
};

/* ---- what the node asks for ---- */

static void run_soon(struct server *s)
{
    loop_task_queue(s->loop, &s->run);
}

static void on_run(void *arg)
{
    struct server *s = arg;

    node_run(s->node);
}

static void node_send_fn(void *arg, const struct raft_message *m)
{
    struct server *s = arg;

    peers_send(s->peers, m);
}

static void node_send_snapshot_fn(void *arg, const struct snapshot_message *m)
{
    struct server *s = arg;

    peers_send_snapshot(s->peers, m);
}

static void node_work_fn(void *arg)
{
    run_soon(arg);
}

static void node_applied_fn(void *arg)
{
    struct server *s = arg;

    api_on_applied(s->api);
}

static void fail(void *arg, const char *text)
{
    (void)arg;
    log_error("server", "%s; ending", text);
    _exit(1); /* no cleanup: what is stored is in the log, and nothing may be acknowledged any more */
}

/* Healing is what a start does; and what a start finds is what kill -9 leaves. */
static void node_damaged_fn(void *arg)
{
    struct server *s = arg;
    struct error error;
    enum status st = storage_on_damage(&s->files, s->store, &error);

    if (st == ST_OK)
        return;
    if (st != ST_CORRUPT)
        fail(s, error.text);
    log_error("server", "a record of the store is damaged; beginning anew why=\"%s\"", error.text);
    execv("/proc/self/exe", s->conf->argv);
    fail(s, "a record of the store is damaged, and the program cannot be started again");
}

static bool node_voters_fn(void *arg, raft_index index, unsigned count)
{
    struct server *s = arg;

    return voters_keeper_note(&s->voters, index, count);
}

static void on_voters_kept(void *arg)
{
    struct server *s = arg;

    node_voters_kept(s->node);
}

static int64_t wall_clock(void *arg)
{
    (void)arg;
    return clock_wall_ns();
}

static int64_t node_now_fn(void *arg)
{
    struct server *s = arg;

    return loop_now_ns(s->loop);
}

static void node_members_fn(void *arg)
{
    struct server *s = arg;

    roster_sync(s->roster);
    if (s->api)
        api_on_members(s->api);
}

static int64_t node_connected_fn(void *arg, uint64_t member_id)
{
    struct server *s = arg;

    return peers_connected_since(s->peers, member_id);
}

static void node_changed_fn(void *arg, const struct raft_status *st)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate", "leader"};
    struct server *s = arg;

    log_notice("node", "role changed role=%s term=%" PRIu64 " leader=%" PRIx64 " node=%" PRIx64, roles[st->role],
               st->hard.term, st->leader, st->id);
    if (s->api)
        api_on_leader(s->api, st->leader);
}

static void node_snapshot_fn(void *arg, const char *what, uint64_t peer, raft_index index, const char *why)
{
    (void)arg;
    if (why)
        log_warning("node", "snapshot %s, proceeding peer=%" PRIx64 " index=%" PRIu64 " why=\"%s\"", what, peer, index, why);
    else
        log_notice("node", "snapshot %s peer=%" PRIx64 " index=%" PRIu64, what, peer, index);
}

static void node_space_fn(void *arg, bool is_short, const char *why)
{
    (void)arg;
    if (is_short)
        log_warning("node", "the disk is about to be full, writes are refused why=\"%s\"", why);
    else
        log_notice("node", "there is space on the disk again");
}

static void node_disk_fn(void *arg, bool stalls)
{
    (void)arg;
    if (stalls)
        log_warning("node", "the disk of the log stalls: this member does not lead, proceeding");
    else
        log_notice("node", "the disk of the log goes on");
}

static void node_unreadable_fn(void *arg, raft_index index)
{
    struct server *s = arg;
    struct error what;

    mvcc_get_damage(s->store, &what);
    log_error("node", "an entry depends on a record that is damaged: nothing is applied here index=%" PRIu64 " why=\"%s\"", index, what.text);
}

static void node_compare_fn(void *arg, bool is_bad, const char *text)
{
    (void)arg;
    if (is_bad)
        log_warning("node", "%s", text);
    else
        log_info("node", "%s", text);
}

static void node_restored_fn(void *arg, struct mvcc *store)
{
    struct server *s = arg;

    s->store = store;
    if (s->api)
        api_on_restored(s->api, store);
}

static void node_seal_fn(void *arg, struct mvcc_seal *seal)
{
    struct server *s = arg;

    node_work_seal(&s->work, seal);
}

static void node_job_fn(void *arg, struct node_job *job)
{
    struct server *s = arg;

    node_work_job(&s->work, job);
}

static void on_work_done(void *arg)
{
    run_soon(arg);
}

/* ---- what happens ---- */

static void wal_wake_fn(void *arg)
{
    struct server *s = arg;

    loop_wake_send(s->wal_wake);
}

static void on_wal(void *arg)
{
    struct server *s = arg;

    node_on_wal(s->node);
    run_soon(s);
}

static void on_tick(void *arg)
{
    struct server *s = arg;
    int64_t next = node_tick(s->node, loop_now_ns(s->loop));

    voters_keeper_on_tick(&s->voters, loop_now_ns(s->loop));
    loop_timer_set(s->loop, &s->tick, next);
    run_soon(s);
}

static void on_peer_message(void *arg, const struct raft_message *m)
{
    struct server *s = arg;

    node_step(s->node, m);
    run_soon(s);
}

static void on_peer_snapshot(void *arg, const struct snapshot_message *m)
{
    struct server *s = arg;

    node_on_snapshot_message(s->node, m);
    run_soon(s);
}

static void on_peer_unreachable(void *arg, uint64_t member_id)
{
    struct server *s = arg;

    node_on_unreachable(s->node, member_id);
}

static enum peer_verdict on_peer_judge(void *arg, uint64_t member_id, uint64_t incarnation)
{
    struct server *s = arg;

    return roster_judge(s->roster, member_id, incarnation);
}

static void on_peer_question(void *arg, struct buf *ret_founders, struct buf *ret_members)
{
    struct server *s = arg;

    roster_tell_cluster(s->roster, ret_founders, ret_members);
}

static void on_peer_dismissed(void *arg, enum dismissal_reason reason, const char *why)
{
    struct server *s = arg;

    roster_on_dismissed(s->roster, reason, why);
}

static void on_client(void *arg, int fd)
{
    struct server *s = arg;

    grpc_server_accept(s->grpc, fd);
}

static void on_peer(void *arg, int fd)
{
    struct server *s = arg;

    peers_accept(s->peers, fd);
}

static void on_no_clients(void *arg)
{
    struct server *s = arg;

    loop_stop(s->loop);
}

/* Whoever waits for an answer gets it, unless it takes too long or we are asked again. */
static void drain(struct server *s)
{
    grpc_server_drain(s->grpc);
    if (grpc_server_conns(s->grpc))
        loop_timer_set(s->loop, &s->stop, loop_now_ns(s->loop) + STOP_NS);
    else
        loop_stop(s->loop);
}

static bool hand_over(struct server *s);

static void on_handed_over(void *arg, enum status st, struct slice answer)
{
    struct server *s = arg;

    (void)answer;
    if (st == ST_STOPPED)
        return; /* we are asked again, and end at once */
    if (st == ST_TIMEOUT_TRANSFER && hand_over(s))
        return;
    if (st == ST_OK)
        log_notice("server", "leadership was handed over");
    else
        log_warning("server", "leadership could not be handed over, proceeding why=\"%s\"", status_text(st));
    drain(s);
}

/*
 * A leader first lets another lead, who does so at once: nobody waits for an election. If that one cannot, the next one. At most an
 * election timeout (etcd) for all of them.
 */
static bool hand_over(struct server *s)
{
    uint64_t heir = node_heir(s->node);

    if (!heir || loop_now_ns(s->loop) >= s->hand_over_until_ns ||
        node_transfer_leader(s->node, heir, s->hand_over_until_ns, on_handed_over, s, NULL) != ST_OK)
        return false;
    log_notice("server", "handing leadership over peer=%" PRIx64, heir);
    run_soon(s);
    return true;
}

static void on_signal(void *arg)
{
    struct server *s = arg;

    if (s->stopping) {
        loop_stop(s->loop);
        return;
    }
    s->stopping = true;
    s->hand_over_until_ns = loop_now_ns(s->loop) + s->conf->flags.election_ms * NS_PER_MS;
    log_info("server", "asked to stop clients=%u", grpc_server_conns(s->grpc));
    if (!hand_over(s))
        drain(s);
}

static int64_t take_stall(struct server *s)
{
    int64_t stall = loop_take_stall_ns(s->loop);

    if (stall > s->stall_max_ns)
        s->stall_max_ns = stall;
    return stall;
}

static void on_stall_time(void *arg)
{
    struct server *s = arg;
    int64_t stall = take_stall(s);

    if (stall > STALL_WORTH_A_LINE_NS)
        log_warning("server", "the loop was busy without a pause, proceeding ms=%" PRId64, (int64_t)(stall / NS_PER_MS));
    else
        log_debug("server", "longest round us=%" PRId64, stall / 1000);
    loop_timer_set(s->loop, &s->stall, loop_now_ns(s->loop) + STALL_REPORT_NS);
}

/* etcd's words, and its exit status where it has one. */
static void on_no_member(void *arg, int exit_status, int64_t delay_ns, const char *why)
{
    struct server *s = arg;

    if (s->ending)
        return;
    s->ending = true;
    s->exit_status = exit_status;
    log_error("server", "server error: %s", why);
    log_error("server", "data-dir used by this member must be removed node=%" PRIx64, s->dir.member_id);
    loop_timer_set(s->loop, &s->end, loop_now_ns(s->loop) + delay_ns);
}

static void on_publish_refused(void *arg, enum status why)
{
    on_no_member(arg, 1, 0, status_text(why));
}

/* ---- opening ---- */

static struct mvcc_options store_options(const struct server *s)
{
    return (struct mvcc_options){.memtable_bytes = (uint64_t)s->conf->flags.memtable_bytes,
                                .seal_entries = SEAL_ENTRIES_MAX};
}

static void storage_tell_fn(void *arg, enum log_level level, const char *what, const char *why)
{
    (void)arg;
    log_write(level, "server", "%s why=\"%s\"", what, why);
}

static enum status open_storage(struct server *s, struct error *ret_error)
{
    enum status st = disk_posix_open(s->dir.wal_path, &s->disk, ret_error);

    if (st != ST_OK)
        return st;
    s->files = (struct storage){.dir = &s->dir,
                                .alone = s->conf->flags.force_new_cluster,
                                .store_options = store_options(s),
                                .wal_options = {.disk = s->disk,
                                                .cluster_id = s->dir.cluster_id,
                                                .member_id = s->dir.member_id,
                                                .segment_bytes = WAL_SEGMENT_BYTES,
                                                .wake_fn = wal_wake_fn,
                                                .fail_fn = fail,
                                                .arg = s},
                                .tell_fn = storage_tell_fn,
                                .arg = s};
    st = storage_open(&s->files, ret_error);
    s->store = s->files.store;
    if (st != ST_OK)
        return st;
    s->wal_wake = loop_wake_new(s->loop, on_wal, s);
    s->storage = storage_thread_start(s->loop);
    s->voters_storage = storage_thread_start(s->loop);
    s->voters = (struct voters_keeper){.storage = s->voters_storage,
                                       .voters = &s->dir.voters,
                                       .dir_fd = s->dir.member_fd,
                                       .kept_fn = on_voters_kept,
                                       .fail_fn = fail,
                                       .arg = s};
    s->work = (struct node_work){.storage = s->storage, .done_fn = on_work_done, .arg = s};
    return ST_OK;
}

static enum status open_node(struct server *s, struct error *ret_error)
{
    const struct conf_flags *f = &s->conf->flags;
    struct node_options o = {
        .cluster_id = s->dir.cluster_id,
        .member_id = s->dir.member_id,
        .initial = &s->dir.initial,
        .store_options = store_options(s),
        .tick_ns = f->heartbeat_ms * NS_PER_MS,
        .election_ticks = (unsigned)(f->election_ms / f->heartbeat_ms),
        .message_bytes_max = RAFT_MESSAGE_BYTES_MAX,
        .inflight_messages_max = RAFT_INFLIGHT_MESSAGES_MAX,
        .bounds = NODE_BOUNDS,
        .random_seed = rng_seed_from_system(),
        .now_ns = loop_now_ns(s->loop),
        .force_new_cluster = f->force_new_cluster,
        .corrupt_check_ns = f->corrupt_check_ns,
        .scrub_ns = f->scrub_ns,
        .strict_reconfig_check = f->strict_reconfig_check,
        .learners_max = (unsigned)f->max_learners,
        .limits = {.txn_ops_max = TXN_OPS_MAX},
        .snapshot_count = (uint64_t)f->snapshot_count,
        .snapshot_catchup = (uint64_t)f->snapshot_catchup,
        .window_bytes_max = RAFT_WINDOW_BYTES_MAX,
        .snapshot_chunk_bytes = SNAPSHOT_CHUNK_BYTES,
        .space_floor_bytes = SPACE_FLOOR_BYTES,
        /* What two checkpoints and the log's next files take. */
        .space_low_bytes = 2 * ((uint64_t)f->memtable_bytes + WAL_SEGMENT_BYTES),
        .send_fn = node_send_fn,
        .send_snapshot_fn = node_send_snapshot_fn,
        .work_fn = node_work_fn,
        .applied_fn = node_applied_fn,
        .seal_fn = node_seal_fn,
        .job_fn = node_job_fn,
        .restored_fn = node_restored_fn,
        .snapshot_fn = node_snapshot_fn,
        .space_fn = node_space_fn,
        .members_fn = node_members_fn,
        .voters_fn = node_voters_fn,
        .connected_fn = node_connected_fn,
        .changed_fn = node_changed_fn,
        .damaged_fn = node_damaged_fn,
        .disk_fn = node_disk_fn,
        .unreadable_fn = node_unreadable_fn,
        .compare_fn = node_compare_fn,
        .fail_fn = fail,
        .wall_ns_fn = wall_clock,
        .now_ns_fn = node_now_fn,
        .arg = s,
    };
    enum status st = storage_open_node(&s->files, &o, &s->node, ret_error);
    s->work.node = s->node;
    return st;
}

static enum status open_peers(struct server *s, struct error *ret_error)
{
    struct roster_options roster = {
        .loop = s->loop,
        .node = s->node,
        .storage = s->storage,
        .dir_fd = s->dir.member_fd,
        .member_id = s->dir.member_id,
        .incarnation = s->dir.incarnation,
        .founders = &s->dir.initial,
        .end_fn = on_no_member,
        .fail_fn = fail,
        .arg = s,
    };
    struct peers_options o = {
        .loop = s->loop,
        .cluster_id = s->dir.cluster_id,
        .member_id = s->dir.member_id,
        .incarnation = s->dir.incarnation,
        .urls = s->conf->advertise_peer.list,
        .url_count = s->conf->advertise_peer.count,
        .dead_ns = 2 * s->conf->flags.election_ms * NS_PER_MS,
        .judge_fn = on_peer_judge,
        .cluster_fn = on_peer_question,
        .dismissed_fn = on_peer_dismissed,
        .message_fn = on_peer_message,
        .snapshot_fn = on_peer_snapshot,
        .unreachable_fn = on_peer_unreachable,
        .arg = s,
    };
    enum status st = roster_open(&roster, &s->roster, ret_error);

    if (st != ST_OK)
        return st;
    s->peers = peers_new(&o);
    roster_set_peers(s->roster, s->peers);
    roster_sync(s->roster);
    return ST_OK;
}

static enum status open_listeners(struct server *s, const struct conf_urls *urls, void (*accept_fn)(void *arg, int fd),
                                  struct error *ret_error)
{
    enum status st = ST_OK;

    for (unsigned i = 0; st == ST_OK && i < urls->count; i++) {
        st = listener_open(s->loop, &urls->list[i], accept_fn, s, &s->listeners[s->listener_count], ret_error);
        if (st == ST_OK)
            s->listener_count++;
    }
    return st;
}

static enum status open_services(struct server *s, struct error *ret_error)
{
    struct grpc_server_options o = {.loop = s->loop,
                                    .message_bytes_max = REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES_MAX,
                                    .drained_fn = on_no_clients,
                                    .drained_arg = s};
    enum status st;

    s->api = api_new(s->loop, s->node);
    api_on_leader(s->api, 0);
    o.methods = api_methods(&o.method_count);
    o.service_arg = s->api;
    s->grpc = grpc_server_new(&o);
    st = open_listeners(s, &s->conf->listen_peer, on_peer, ret_error);
    if (st == ST_OK && !s->conf->flags.initial_corrupt_check)
        st = open_listeners(s, &s->conf->listen_client, on_client, ret_error);
    return st;
}

static void start_timers(struct server *s)
{
    loop_task_init(&s->run, LOOP_WORK, on_run, s);
    loop_timer_init(&s->tick, on_tick, s);
    loop_timer_init(&s->stall, on_stall_time, s);
    loop_timer_init(&s->stop, on_no_clients, s);
    loop_timer_init(&s->end, on_no_clients, s);
}

/* A member of a new cluster, or one that was added to another. */
static enum status be_born(struct server *s, struct error *ret_error)
{
    const struct conf *c = s->conf;
    struct join_answer answer = {0};
    enum status st;

    if (!c->join)
        return data_dir_begin(&s->dir, c->cluster_id, c->member_id, &c->initial, ret_error);
    st = join_ask(c, &answer, ret_error);
    if (st == ST_OK)
        st = data_dir_begin(&s->dir, answer.cluster_id, answer.member_id, &answer.founders, ret_error);
    members_fini(&answer.founders);
    return st;
}

enum status server_open(const struct conf *conf, struct server **ret_server, struct error *ret_error)
{
    struct server *s = mem_zero(sizeof *s);
    enum status st;

    s->conf = conf;
    s->dir = (struct data_dir){.lock_fd = -1, .member_fd = -1};
    s->loop = loop_new();
    start_timers(s);
    st = data_dir_is_inhabited(conf->data_dir) ? ST_OK : conf_check_self(conf, ret_error);
    if (st == ST_OK)
        st = data_dir_open(&s->dir, conf->data_dir, rng_seed_from_system(), ret_error);
    if (st == ST_OK)
        st = s->dir.is_new ? be_born(s, ret_error) : data_dir_check_owner(&s->dir, conf->member_id, ret_error);
    if (st == ST_OK && !s->dir.is_new && !conf->join && s->dir.member_id != conf->member_id)
        log_warning("server", "the data directory knows another member, which it stays; --initial-* are ignored "
                              "node=%" PRIx64, s->dir.member_id);
    if (st == ST_OK)
        st = open_storage(s, ret_error);
    if (st == ST_OK && conf->flags.force_new_cluster)
        log_warning("server", "going on as the only member: what this one does not know to be committed is dropped, and the others are "
                              "removed for good");
    if (st == ST_OK)
        st = open_node(s, ret_error);
    if (st == ST_OK)
        st = open_peers(s, ret_error);
    if (st == ST_OK)
        st = open_services(s, ret_error);
    if (st != ST_OK) {
        server_close(s);
        return st;
    }
    *ret_server = s;
    return ST_OK;
}

static void tell_ready(const struct server *s)
{
    char text[300];

    for (unsigned i = 0; i < s->conf->listen_client.count; i++) {
        url_format(&s->conf->listen_client.list[i], text, sizeof text);
        log_info("server", "ready to serve client requests url=%s", text);
    }
}

/* --initial-corrupt-check: clients are let in when it is known that they get what the others would give them. */
static void on_compared(void *arg, bool may_serve)
{
    struct server *s = arg;
    struct error error;

    if (!may_serve) {
        log_error("server", "checkInitialHashKV failed: %" PRIx64 " found data inconsistency with peers", s->dir.member_id);
        s->exit_status = 1;
        loop_stop(s->loop);
    } else if (open_listeners(s, &s->conf->listen_client, on_client, &error) != ST_OK) {
        fail(s, error.text);
    } else {
        tell_ready(s);
    }
}

int server_run(struct server *s)
{
    s->term = loop_signal_new(s->loop, SIGTERM, on_signal, s);
    s->interrupt = loop_signal_new(s->loop, SIGINT, on_signal, s);
    signal(SIGPIPE, SIG_IGN);
    log_info("server", "started node=%" PRIx64 " cluster=%" PRIx64 " name=%s rev=%" PRId64 " index=%" PRIu64,
             s->dir.member_id, s->dir.cluster_id, s->conf->flags.name, mvcc_revision(s->store),
             mvcc_applied_index(s->store));
    if (!s->conf->flags.initial_corrupt_check)
        tell_ready(s);
    loop_timer_set(s->loop, &s->tick, loop_now_ns(s->loop));
    s->publisher = (struct publisher){.loop = s->loop,
                                      .node = s->node,
                                      .conf = s->conf,
                                      .member_id = s->dir.member_id,
                                      .incarnation = s->dir.incarnation,
                                      .work_fn = node_work_fn,
                                      .refused_fn = on_publish_refused,
                                      .arg = s};
    publisher_start(&s->publisher);
    loop_timer_set(s->loop, &s->stall, loop_now_ns(s->loop) + STALL_REPORT_NS);
    run_soon(s);
    loop_run_once(s->loop, 0); /* what the log held is applied here: nobody waits yet, and it is no stall */
    if (s->conf->flags.initial_corrupt_check)
        node_compare_at_start(s->node, on_compared, s);
    (void)loop_take_stall_ns(s->loop);
    loop_run(s->loop);
    (void)take_stall(s);
    log_info("server", "stopped longest_turn_us=%" PRId64, s->stall_max_ns / 1000);
    return s->exit_status;
}

void server_close(struct server *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->listener_count; i++)
        listener_close(s->listeners[i]);
    loop_timer_cancel(s->loop, &s->tick);
    publisher_stop(&s->publisher);
    loop_timer_cancel(s->loop, &s->stall);
    loop_timer_cancel(s->loop, &s->stop);
    loop_timer_cancel(s->loop, &s->end);
    loop_task_cancel(s->loop, &s->run);
    storage_thread_stop(s->storage);
    storage_thread_stop(s->voters_storage);
    voters_keeper_stop(&s->voters);
    /* The log first: what was proposed is written; then those who wait are told that the outcome is open. */
    wal_close(s->files.wal);
    grpc_server_free(s->grpc);
    api_free(s->api);
    node_free(s->node);
    peers_free(s->peers);
    roster_free(s->roster);
    mvcc_close(s->store);
    loop_wake_free(s->wal_wake);
    if (s->disk)
        s->disk->ops->free(s->disk);
    data_dir_close(&s->dir);
    loop_signal_free(s->term);
    loop_signal_free(s->interrupt);
    loop_free(s->loop);
    free(s);
}
