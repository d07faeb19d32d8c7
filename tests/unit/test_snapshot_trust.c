/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a snapshot is gone on behind only while everybody is trusted whose records it holds. */
#include <string.h>

#include "common/crc32c.h"
#include "mvcc/record.h"
#include "tests/unit/check.h"
#include "tests/unit/memory_disk.h"
#include "tests/unit/node_cluster.h"

#define WRONG_REVISION 100 /* what a member that differs sends of it differs */
#define NOBODY NODES
#define MESSAGES_MAX 4096
#define A_GOOD_PART 60000 /* bytes of a snapshot; segments hold the greater part of them */

static struct node_cluster c; /* large */
static unsigned differs; /* or NOBODY */
static uint64_t bytes_sent;
static uint64_t transfer;           /* the newest */
static mvcc_rev begun_at;           /* the receiver's answer to it; 0: none yet */
static uint32_t crcs[MESSAGES_MAX]; /* of its stream, after each message, as it is changed here */

static void change(struct slice records, uint8_t *at)
{
    for (size_t done = 0, len; done < records.len; done += len) {
        struct mvcc_kv kv;
        uint32_t flags;
        int64_t sub;
        len = record_len(at + done);
        record_decode(at + done, &kv, &sub, &flags);
        if (kv.mod_rev == WRONG_REVISION) {
            at[done + len - 1] ^= 1;
            record_seal(at + done, len);
        }
    }
}

/* A store with a wrong value in it is read, sent and checksummed as any other. */
static void listen(struct snapshot_message *m, uint8_t *data)
{
    if (m->type == SNAPSHOT_OFFER && m->transfer != transfer) {
        transfer = m->transfer;
        begun_at = 0;
        crcs[0] = m->crc;
    }
    if (m->type == SNAPSHOT_RECEIVED && m->transfer == transfer && m->sequence && !begun_at)
        begun_at = m->revision;
    if (m->type != SNAPSHOT_CHUNK && m->type != SNAPSHOT_END)
        return;
    if (m->type == SNAPSHOT_CHUNK) {
        bytes_sent += m->data.len;
        if (m->from == differs + 1)
            change(m->data, data);
    }
    assert_true(m->transfer == transfer && m->sequence > 0 && m->sequence < MESSAGES_MAX);
    m->crc = crcs[m->sequence] = crc32c(crcs[m->sequence - 1], m->data.data, m->data.len);
}

static void on_done(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    (void)st;
    (void)answer;
}

static bool is_on(unsigned at, unsigned whom)
{
    const struct members *m = node_members(c.nodes[at].node);

    return whom == NOBODY ? m->corrupt : members_look_up(m, whom + 1)->corrupt;
}

/* CORRUPT: names somebody, or nobody. Until `at` knows. */
static void alarm_set(unsigned at, unsigned whom, bool on)
{
    const uint8_t alarm[] = {0x08, on ? 1 : 2, 0x10, whom == NOBODY ? 0 : (uint8_t)(whom + 1), 0x18, 2};

    assert_int_equal(node_propose(c.nodes[node_cluster_elect(&c)].node, COMMAND_ALARM, slice_of(alarm, sizeof alarm), INT64_MAX, on_done, NULL, NULL),
                     ST_OK);
    for (unsigned i = 0; i < 1000 && is_on(at, whom) != on; i++)
        node_cluster_step(&c);
    assert_true(is_on(at, whom) == on);
}

struct roles {
    unsigned first, behind, third; /* leads and sends; lacks a good part; could lead, too */
};

static struct roles send_a_good_part(uint64_t seed, bool first_differs)
{
    struct roles r;

    node_cluster_init(&c, seed);
    c.in_order = true;
    c.tamper_fn = listen;
    bytes_sent = 0;
    r.first = node_cluster_elect(&c);
    r.behind = (r.first + 1) % NODES;
    r.third = (r.first + 2) % NODES;
    differs = first_differs ? r.first : NOBODY;
    node_cluster_write(&c, 30);
    node_cluster_kill(&c, r.behind);
    node_cluster_write(&c, 1500);
    node_cluster_start(&c, r.behind);
    for (unsigned i = 0; i < 20000 && bytes_sent < A_GOOD_PART; i++)
        node_cluster_step(&c);
    assert_true(bytes_sent >= A_GOOD_PART);
    assert_int_equal(node_cluster_elect(&c), r.first);
    return r;
}

/* The next one begins; where. */
static mvcc_rev next_begins(void)
{
    uint64_t before = transfer;

    for (unsigned i = 0; i < 20000 && (transfer == before || !begun_at); i++)
        node_cluster_step(&c);
    assert_true(transfer != before && begun_at);
    return begun_at;
}

static void finish(const struct roles *r)
{
    for (unsigned i = 0; i < 40000 && !c.nodes[r->behind].installed; i++)
        node_cluster_step(&c);
    assert_int_equal(c.nodes[r->behind].installed, 1);
    for (unsigned i = 0; i < NODES; i++)
        if (is_on(node_cluster_elect(&c), i))
            alarm_set(node_cluster_elect(&c), i, false);
    node_cluster_converge(&c); /* all hold the same: the one that differs does so only in what it sends */
    node_cluster_fini(&c);
}

static void what_a_member_sent_goes_when_it_is_named(void **state)
{
    (void)state;
    for (unsigned restart = 0; restart < 2; restart++) {
        struct roles r = send_a_good_part(22, true);
        alarm_set(r.third, r.first, true);
        assert_int_equal(c.nodes[r.behind].installed, 0);
        if (restart) {
            node_cluster_kill(&c, r.behind);
            node_cluster_start(&c, r.behind);
            assert_true(c.nodes[r.behind].dir.partial);
        }
        assert_int_equal(next_begins(), 1);
        assert_int_equal(node_cluster_elect(&c), r.third);
        finish(&r);
    }
}

/* A transfer that goes on behind it is under way when the alarm comes. */
static void what_another_one_sent_behind_it_goes_as_well(void **state)
{
    struct roles r = send_a_good_part(23, true);

    (void)state;
    node_cluster_kill(&c, r.first);
    assert_int_equal(node_cluster_elect(&c), r.third);
    assert_true(next_begins() > 300);
    node_cluster_start(&c, r.first);
    c.nodes[r.behind].no_jobs = true; /* it does not come to its end */
    alarm_set(r.third, r.first, true);
    assert_int_equal(c.nodes[r.behind].installed, 0);
    c.nodes[r.behind].no_jobs = false;
    assert_int_equal(next_begins(), 1);
    finish(&r);
}

/* Nobody compares what it held. */
static void what_a_member_sent_goes_when_it_is_removed(void **state)
{
    struct roles r = send_a_good_part(24, true);
    struct member_change change = {.kind = MEMBER_REMOVE, .id = r.first + 1};
    uint32_t hash, expected;

    (void)state;
    assert_int_equal(node_change_members(c.nodes[r.first].node, &change, INT64_MAX, on_done, NULL, NULL), ST_OK);
    for (unsigned i = 0; i < 3000 && !members_is_removed(node_members(c.nodes[r.third].node), r.first + 1); i++)
        node_cluster_step(&c);
    assert_int_equal(c.nodes[r.behind].installed, 0);
    assert_int_equal(next_begins(), 1);
    assert_int_equal(node_cluster_elect(&c), r.third);
    for (unsigned i = 0; i < 40000 && mvcc_revision(c.nodes[r.behind].store) < mvcc_revision(c.nodes[r.third].store); i++)
        node_cluster_step(&c);
    assert_int_equal(mvcc_hash(c.nodes[r.behind].store, 0, &hash), ST_OK);
    assert_int_equal(mvcc_hash(c.nodes[r.third].store, 0, &expected), ST_OK);
    assert_int_equal(hash, expected);
    node_cluster_fini(&c);
}

static void while_nobody_knows_who_is_wrong_a_leader_goes_on_behind_itself_only(void **state)
{
    struct roles r = send_a_good_part(25, false);

    (void)state;
    alarm_set(r.first, NOBODY, true);
    alarm_set(r.third, NOBODY, true);
    assert_true(next_begins() > 300);
    node_cluster_kill(&c, r.first);
    assert_int_equal(next_begins(), 1);
    assert_int_equal(node_cluster_elect(&c), r.third);
    node_cluster_start(&c, r.first);
    alarm_set(r.third, NOBODY, false);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_member_sent_goes_when_it_is_named),
        cmocka_unit_test(what_another_one_sent_behind_it_goes_as_well),
        cmocka_unit_test(what_a_member_sent_goes_when_it_is_removed),
        cmocka_unit_test(while_nobody_knows_who_is_wrong_a_leader_goes_on_behind_itself_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
