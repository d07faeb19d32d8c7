/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands with any payload, through a whole member to its store; then the same log applied by one for whom nobody
 * waits. Both stores must be equal: what is applied depends on the log alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/mem.h"
#include "raftd/node/node.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/memory_disk.h"
#include "tests/unit/temp_dir.h"

static void on_done(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    INVARIANT(st == ST_OK || !answer.len);
}

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_send(void *arg, const struct raft_message *m)
{
    (void)arg;
    (void)m;
}

static void on_seal(void *arg, struct mvcc_seal *seal)
{
    (void)arg;
    (void)seal;
    INVARIANT(!"nothing is sealed here");
}

static void on_fail(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
    abort();
}

static int64_t wall_ns(void *arg)
{
    return (int64_t)++*(uint64_t *)arg;
}

struct replica {
    struct store_dir dir; /* no snapshots here */
    struct mvcc *store;
    struct wal *wal;
    struct node *node;
    struct members initial;
    uint64_t clock;
};

/* Its store is empty: whatever is in the log is applied. */
static void replica_open(struct replica *r, struct disk *disk, const char *dir)
{
    struct mvcc_options store = {.dir = dir,
                                 .memtable_bytes = UINT64_MAX / (2 * SEAL_LOG_FACTOR),
                                 .seal_entries = UINT64_MAX,
                                 .no_sync = true};
    struct wal_options log = {.disk = disk,
                              .cluster_id = 1,
                              .member_id = 1,
                              .segment_bytes = 1 << 16,
                              .synchronous = true,
                              .wake_fn = on_nothing,
                              .fail_fn = on_fail};
    struct node_options o = {.cluster_id = 1,
                             .member_id = 1,
                             .initial = &r->initial,
                             .tick_ns = 1000000,
                             .election_ticks = 10,
                             .message_bytes_max = 1000,
                             .inflight_messages_max = 2,
                             .bounds = NODE_BOUNDS,
                             .random_seed = 5,
                             .store_options = store,
                             .snapshot_count = SNAPSHOT_COUNT_DEFAULT,
                             .snapshot_catchup = SNAPSHOT_CATCHUP_DEFAULT,
                             .window_bytes_max = RAFT_WINDOW_BYTES_MAX,
                             .snapshot_chunk_bytes = SNAPSHOT_CHUNK_BYTES,
                             .send_fn = on_send,
                             .work_fn = on_nothing,
                             .applied_fn = on_nothing,
                             .seal_fn = on_seal,
                             .fail_fn = on_fail,
                             .wall_ns_fn = wall_ns,
                             .arg = &r->clock};
    struct error error = {0};
    bool is_new;

    *r = (struct replica){0};
    INVARIANT(members_add(&r->initial, 1, "one", NULL, 0) == ST_OK);
    INVARIANT(mvcc_open(&store, &r->store, &error) == ST_OK);
    INVARIANT(wal_open(&log, &r->wal, &is_new, &error) == ST_OK);
    o.store = r->store;
    o.dir = &r->dir;
    o.wal = r->wal;
    INVARIANT(node_new(&o, &r->node, &error) == ST_OK);
    node_run(r->node);
}

static void replica_close(struct replica *r)
{
    node_free(r->node);
    wal_close(r->wal);
    mvcc_close(r->store);
    members_fini(&r->initial);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(slice_of(data, size));
    struct disk *disk = memory_disk_new();
    struct replica first, second;
    uint32_t hash[2];
    char dir[120];

    INVARIANT(temp_dir_make(dir, sizeof dir, "fuzz"));
    replica_open(&first, disk, dir);
    while (reader_left(&in)) {
        enum command_kind kind = (enum command_kind)draw_below(&in, 7);
        struct slice payload = draw_bytes(&in, draw_below(&in, 60000));
        INVARIANT(node_propose(first.node, kind, payload, INT64_MAX, on_done, NULL, NULL) == ST_OK);
        if (draw_below(&in, 2))
            node_run(first.node);
    }
    node_run(first.node);
    INVARIANT(mvcc_hash(first.store, 0, &hash[0]) == ST_OK);
    /* The second reads the log while the first still stands: nothing is written to it any more. */
    replica_open(&second, disk, dir);
    INVARIANT(mvcc_hash(second.store, 0, &hash[1]) == ST_OK);
    INVARIANT(hash[0] == hash[1] && mvcc_revision(first.store) == mvcc_revision(second.store));
    replica_close(&second);
    replica_close(&first);
    disk->ops->free(disk);
    rmdir(dir);
    return 0;
}
