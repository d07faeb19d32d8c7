/* SPDX-License-Identifier: Apache-2.0 */
/* A member alone, with everything around it played by the test. */
#include "tests/unit/one_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/temp_dir.h"

static char dir[120];
struct disk *disk;
struct mvcc *store;
struct wal *wal;
struct node *node;
static struct members initial;
uint64_t segment_bytes, space_low_bytes;
int64_t corrupt_check_ns;
int64_t clock_ns;
char compare_words[4096];
bool compare_is_bad;
bool force_new_cluster, open_fails;
struct raft_message sent[SENT_MAX];
unsigned sent_count, seals;
struct mvcc_seal *seal;
unsigned jobs, unreadables, heals;
uint64_t connected;
jmp_buf *ends_to;
struct node_job *job;

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_send(void *arg, const struct raft_message *m)
{
    (void)arg;
    if (sent_count < SENT_MAX)
        sent[sent_count++] = *m;
}

static void on_seal(void *arg, struct mvcc_seal *s)
{
    (void)arg;
    seal = s;
    seals++;
}

static void on_job(void *arg, struct node_job *j)
{
    (void)arg;
    job = j;
    jobs++;
}

static void on_unreadable(void *arg, raft_index index)
{
    (void)arg;
    (void)index;
    unreadables++;
}

static void on_damaged(void *arg)
{
    (void)arg;
    heals++;
}

static int64_t connected_since(void *arg, uint64_t id)
{
    (void)arg;
    return connected >> id & 1 ? 0 : INT64_MAX;
}

static void on_fail(void *arg, const char *text)
{
    (void)arg;
    if (ends_to)
        longjmp(*ends_to, 1);
    fail_msg("%s", text);
}

static void on_compare(void *arg, bool is_bad, const char *text)
{
    size_t len = strlen(compare_words);

    (void)arg;
    compare_is_bad = is_bad;
    snprintf(compare_words + len, sizeof compare_words - len, "%s\n", text);
}

static int64_t now(void *arg)
{
    (void)arg;
    return clock_ns;
}

static int64_t wall_ns(void *arg)
{
    (void)arg;
    return 1;
}

void open_node(unsigned members, uint64_t seal_entries, bool stepped)
{
    struct mvcc_options so = {.dir = dir, .memtable_bytes = UINT64_MAX, .seal_entries = seal_entries, .no_sync = true};
    struct wal_options wo = {.disk = disk,
                             .cluster_id = 1,
                             .member_id = 1,
                             .segment_bytes = segment_bytes,
                             .synchronous = true,
                             .stepped = stepped,
                             .wake_fn = on_nothing,
                             .fail_fn = on_fail};
    struct node_options o = {.cluster_id = 1,
                             .member_id = 1,
                             .initial = &initial,
                             .tick_ns = 10 * MS,
                             .election_ticks = 10,
                             .message_bytes_max = RAFT_MESSAGE_BYTES_MAX,
                             .store_options = so,
                             .space_floor_bytes = SPACE_FLOOR_BYTES,
                             .space_low_bytes = space_low_bytes,
                             .window_bytes_max = RAFT_WINDOW_BYTES_MAX,
                             .inflight_messages_max = 8,
                             .bounds = NODE_BOUNDS,
                             .random_seed = 9,
                             .force_new_cluster = force_new_cluster,
                             .corrupt_check_ns = corrupt_check_ns,
                             .send_fn = on_send,
                             .work_fn = on_nothing,
                             .applied_fn = on_nothing,
                             .seal_fn = on_seal,
                             .job_fn = on_job,
                             .fail_fn = on_fail,
                             .compare_fn = on_compare,
                             .unreadable_fn = on_unreadable,
                             .damaged_fn = on_damaged,
                             .connected_fn = connected_since,
                             .wall_ns_fn = wall_ns,
                             .now_ns_fn = clock_ns ? now : NULL};
    static struct store_dir nowhere; /* no snapshots here */
    struct error error = {0};
    bool is_new;

    for (unsigned i = initial.count; i < members; i++)
        assert_int_equal(members_add(&initial, i + 1, "", NULL, 0), ST_OK);
    assert_int_equal(mvcc_open(&so, &store, &error), ST_OK);
    assert_int_equal(wal_open(&wo, &wal, &is_new, &error), ST_OK);
    o.dir = &nowhere;
    o.store = store;
    o.wal = wal;
    node = NULL;
    assert_int_equal(node_new(&o, &node, &error) == ST_OK, !open_fails);
    if (node)
        node_run(node);
}

void close_node(void)
{
    node_free(node);
    wal_close(wal);
    mvcc_close(store);
}

int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "node"));
    disk = memory_disk_new();
    sent_count = seals = jobs = unreadables = heals = 0;
    connected = 0;
    ends_to = NULL;
    job = NULL;
    segment_bytes = 1 << 16;
    space_low_bytes = 0;
    corrupt_check_ns = 0;
    compare_words[0] = '\0';
    force_new_cluster = open_fails = false;
    return 0;
}

int tear_down(void **state)
{
    char command[200];

    (void)state;
    disk->ops->free(disk);
    members_fini(&initial);
    snprintf(command, sizeof command, "%s/0000000000000001.tdb", dir);
    unlink(command);
    snprintf(command, sizeof command, "%s/0000000000000001.keys", dir);
    unlink(command);
    return rmdir(dir);
}

void write_seal(void)
{
    struct error error = {0};

    assert_int_equal(seals, 1);
    assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
    node_on_seal_written(node, seal, ST_OK, &error);
}

void flip_in_store(const char *text)
{
    static uint8_t bytes[1 << 20];
    char path[200];
    size_t len;
    uint8_t *at;
    FILE *file;

    snprintf(path, sizeof path, "%s/0000000000000001.tdb", dir);
    file = fopen(path, "r+b");
    assert_non_null(file);
    len = fread(bytes, 1, sizeof bytes, file);
    at = memmem(bytes, len, text + 1, strlen(text + 1));
    assert_non_null(at);
    assert_int_equal(fseek(file, at - 1 - bytes, SEEK_SET), 0);
    assert_int_equal(fputc(at[-1] ^ 1, file), at[-1] ^ 1);
    assert_int_equal(fclose(file), 0);
}

unsigned sent_of(enum raft_message_type type)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sent_count; i++)
        count += sent[i].type == type;
    return count;
}

void hear_of_leader(uint64_t id, raft_term term)
{
    struct raft_message m = {.type = RAFT_MSG_HEARTBEAT, .from = id, .to = 1, .term = term};

    node_step(node, &m);
    node_run(node);
}
