/* SPDX-License-Identifier: Apache-2.0 */
/* Members that are behind the log get a snapshot, whatever happens to messages, members and jobs on the way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "tests/unit/memory_disk.h"
#include "tests/unit/node_cluster.h"

static struct node_cluster c; /* large */

/* Another member than the leader misses more than the log keeps; returns which. It is up again. */
static unsigned make_one_fall_behind(unsigned writes)
{
    unsigned behind = (node_cluster_elect(&c) + 1) % NODES;

    node_cluster_write(&c, 30);
    node_cluster_kill(&c, behind);
    node_cluster_write(&c, writes);
    node_cluster_start(&c, behind);
    return behind;
}

static void a_member_that_was_away_catches_up_while_writes_go_on(void **state)
{
    unsigned behind, before;

    (void)state;
    node_cluster_init(&c, 1);
    c.in_order = true;
    behind = make_one_fall_behind(400);
    before = c.acknowledged_count;
    for (unsigned i = 0; i < 3000 && !c.nodes[behind].installed; i++)
        node_cluster_write(&c, 1);
    assert_int_equal(c.nodes[behind].installed, 1);
    assert_true(c.acknowledged_count > before);
    node_cluster_write(&c, 100);
    node_cluster_converge(&c);
    /* It came in time for the log: once was enough. */
    assert_int_equal(c.nodes[behind].installed, 1);
    /* And it can lead. */
    for (unsigned i = 0; i < NODES; i++)
        if (i != behind)
            node_cluster_kill(&c, i);
    node_cluster_start(&c, (behind + 1) % NODES);
    node_cluster_elect(&c);
    node_cluster_write(&c, 30);
    node_cluster_start(&c, (behind + 2) % NODES);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

static void memory_and_log_are_bounded_while_a_member_is_away(void **state)
{
    unsigned leader, away;
    struct raft_status st;

    (void)state;
    node_cluster_init(&c, 2);
    leader = node_cluster_elect(&c);
    away = (leader + 1) % NODES;
    node_cluster_kill(&c, away);
    for (unsigned i = 0; i < 1500; i++) {
        node_cluster_write(&c, 1);
        for (unsigned k = 0; k < NODES; k++) {
            if (!c.nodes[k].up)
                continue;
            node_get_raft_status(c.nodes[k].node, &st);
            /* snapshot-count and catch-up, what a tick and the writes under way add */
            assert_true(st.applied + 1 - st.first <= 20 + 10 + 20);
            /* segments: what the memtable and the window hold, the open one, the next, a spare or two */
            assert_null(memory_disk_name(c.nodes[k].disk, ".wal", 6));
        }
    }
    node_get_raft_status(c.nodes[leader].node, &st);
    assert_true(st.applied > 1000);
    node_cluster_start(&c, away);
    node_cluster_converge(&c);
    assert_true(c.nodes[away].installed > 0);
    node_cluster_fini(&c);
}

/* The store is swapped, the log does not know: the one gap that a crash may leave between the two. */
static void a_crash_between_the_swap_and_the_new_log_is_finished_at_the_start(void **state)
{
    unsigned behind;
    char current[128];
    struct raft_status st;

    (void)state;
    node_cluster_init(&c, 3);
    c.in_order = true;
    behind = make_one_fall_behind(300);
    c.job_steps = 1; /* the swap is done in one, heard of in another */
    snprintf(current, sizeof current, "%s/current", c.nodes[behind].path);
    for (unsigned i = 0; i < 5000 && access(current, F_OK) < 0; i++)
        node_cluster_step(&c);
    assert_int_equal(access(current, F_OK), 0);
    assert_int_equal(c.nodes[behind].installed, 0);
    node_cluster_kill(&c, behind);
    node_cluster_start(&c, behind);
    assert_int_equal(c.nodes[behind].dir.generation, 1);
    node_get_raft_status(c.nodes[behind].node, &st);
    assert_true(st.applied >= 300);
    assert_int_equal(st.applied, mvcc_applied_index(c.nodes[behind].store));
    assert_int_equal(st.first, st.applied + 1);
    assert_true(st.hard.term > 0);
    /* Once more, from a log that has begun anew. */
    node_cluster_kill(&c, behind);
    node_cluster_start(&c, behind);
    node_cluster_converge(&c);
    assert_int_equal(c.nodes[behind].installed, 0);
    node_cluster_fini(&c);
}

/* Between any two steps of the receiver's storage: a restart, and it ends well. */
static void the_receiver_may_be_killed_at_any_step(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 160; steps += 3) {
        unsigned behind;
        node_cluster_init(&c, 100 + steps);
        behind = make_one_fall_behind(60);
        node_cluster_steps(&c, steps);
        node_cluster_kill(&c, behind);
        node_cluster_write(&c, 60);
        node_cluster_start(&c, behind);
        node_cluster_converge(&c);
        node_cluster_fini(&c);
    }
}

static void the_sender_may_be_killed_at_any_step(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 160; steps += 5) {
        unsigned leader;
        node_cluster_init(&c, 500 + steps);
        make_one_fall_behind(60);
        node_cluster_steps(&c, steps);
        leader = node_cluster_elect(&c);
        node_cluster_kill(&c, leader);
        node_cluster_steps(&c, 50);
        node_cluster_start(&c, leader);
        node_cluster_write(&c, 60);
        node_cluster_converge(&c);
        node_cluster_fini(&c);
    }
}

/* ---- a transfer that was cut short goes on where it was ---- */

static mvcc_rev begun_at[100];
static unsigned begun_count;
static uint64_t records_sent; /* bytes */

/* Notes what receivers say they hold. */
static void listen(struct snapshot_message *m, uint8_t *data)
{
    static uint64_t last_transfer;

    (void)data;
    if (m->type == SNAPSHOT_CHUNK)
        records_sent += m->data.len;
    if (m->type != SNAPSHOT_RECEIVED || m->sequence < 1 || m->transfer == last_transfer || begun_count == 100)
        return;
    last_transfer = m->transfer;
    begun_at[begun_count++] = m->revision;
}

static unsigned begin_listening(uint64_t seed, unsigned writes)
{
    unsigned behind;

    node_cluster_init(&c, seed);
    c.in_order = true;
    behind = make_one_fall_behind(writes);
    c.tamper_fn = listen;
    begun_count = 0;
    records_sent = 0;
    return behind;
}

/* A good part of the records has come; the transfer is not over. */
static void let_it_come_to(unsigned behind, uint64_t bytes)
{
    for (unsigned i = 0; i < 20000 && records_sent < bytes; i++)
        node_cluster_step(&c);
    assert_true(records_sent >= bytes);
    assert_int_equal(c.nodes[behind].installed, 0);
}

static void the_receiver_goes_on_behind_its_last_segment_after_a_restart(void **state)
{
    unsigned behind = begin_listening(21, 1500);

    (void)state;
    let_it_come_to(behind, 60000);
    node_cluster_kill(&c, behind);
    node_cluster_start(&c, behind);
    assert_true(c.nodes[behind].dir.partial);
    node_cluster_converge(&c);
    assert_int_equal(begun_count, 2);
    assert_int_equal(begun_at[0], 1);
    assert_true(begun_at[1] > 200);
    assert_int_equal(c.nodes[behind].installed, 1);
    node_cluster_fini(&c);
}

static struct snapshot_message offer;
static uint8_t offered[400];

static void keep_the_offer(struct snapshot_message *m, uint8_t *data)
{
    listen(m, data);
    if (m->type != SNAPSHOT_OFFER || offer.type)
        return;
    assert_true(m->data.len <= sizeof offered);
    memcpy(offered, data, m->data.len);
    offer = *m;
    offer.data.data = offered;
}

/* The receiver waits for the first chunk of a transfer then, and the leader for an answer to one of the last. */
static void an_offer_that_comes_again_after_a_restart_ends_that_transfer(void **state)
{
    unsigned behind = begin_listening(33, 1500);

    (void)state;
    c.tamper_fn = keep_the_offer;
    offer = (struct snapshot_message){0};
    let_it_come_to(behind, 60000);
    node_cluster_kill(&c, behind);
    node_cluster_start(&c, behind);
    node_on_snapshot_message(c.nodes[behind].node, &offer);
    node_cluster_converge(&c);
    assert_int_equal(c.nodes[behind].installed, 1);
    assert_int_equal(begun_count, 2);
    node_cluster_fini(&c);
}

static void another_leader_goes_on_where_the_first_one_was(void **state)
{
    unsigned behind = begin_listening(22, 1500), first = node_cluster_elect(&c);

    (void)state;
    let_it_come_to(behind, 60000);
    node_cluster_kill(&c, first);
    assert_int_not_equal(node_cluster_elect(&c), first);
    for (unsigned i = 0; i < 20000 && !c.nodes[behind].installed; i++)
        node_cluster_step(&c);
    assert_int_equal(c.nodes[behind].installed, 1);
    assert_int_equal(begun_count, 2);
    assert_true(begun_at[1] > 300); /* what was in memory, too */
    node_cluster_start(&c, first);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

static void spoil_the_end(struct snapshot_message *m, uint8_t *data)
{
    listen(m, data);
    m->crc ^= m->type == SNAPSHOT_END;
}

/* It needs that member to know that the last entries are committed, so it would never offer as much as is there. */
static void a_leader_that_cannot_apply_as_much_as_was_received_sends_it_anew(void **state)
{
    unsigned behind = begin_listening(28, 300), first = node_cluster_elect(&c), other = NODES - behind - first;
    mvcc_rev received;

    (void)state;
    c.tamper_fn = spoil_the_end;
    /* The other one has it in its log, and is cut off before it hears that it is committed. */
    for (unsigned i = 0; i < 20000 && mvcc_revision(c.nodes[first].store) == mvcc_revision(c.nodes[other].store); i++)
        node_cluster_write(&c, 1);
    c.cut[other] = true;
    received = mvcc_revision(c.nodes[first].store);
    for (unsigned i = 0; i < 20000 && (!begun_count || begun_at[begun_count - 1] < received); i++)
        node_cluster_step(&c);
    assert_int_equal(begun_at[begun_count - 1], received);
    node_cluster_kill(&c, first);
    c.cut[other] = false;
    assert_true(mvcc_revision(c.nodes[other].store) < received);
    assert_int_equal(node_cluster_elect(&c), other);
    c.tamper_fn = listen;
    for (unsigned i = 0; i < 20000 && !c.nodes[behind].installed; i++)
        node_cluster_step(&c);
    assert_int_equal(c.nodes[behind].installed, 1);
    assert_int_equal(begun_at[begun_count - 1], 1);
    node_cluster_start(&c, first);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

/* The whole would never get through in one go. */
static void a_member_gets_healthy_however_often_it_is_interrupted(void **state)
{
    (void)state;
    for (unsigned kill = 0; kill < 2; kill++) {
        unsigned behind = begin_listening(23 + kill, 1500), interruptions = 0;
        while (!c.nodes[behind].installed && interruptions < 99) {
            uint64_t before = records_sent;
            for (unsigned i = 0; i < 2000 && records_sent < before + 20000 && !c.nodes[behind].installed; i++)
                node_cluster_step(&c);
            interruptions++;
            c.cut[behind] = true;
            node_cluster_steps(&c, 300); /* until both sides have given up */
            c.cut[behind] = false;
            if (kill) {
                node_cluster_kill(&c, behind);
                node_cluster_start(&c, behind);
            }
        }
        assert_int_equal(c.nodes[behind].installed, 1);
        assert_true(interruptions > 3);
        node_cluster_converge(&c);
        node_cluster_fini(&c);
    }
}

/* It is of no use any more: the log had what was missing. */
static void what_was_received_is_removed_when_the_store_holds_as_much(void **state)
{
    char path[STORE_PATH_BYTES];
    unsigned behind = begin_listening(25, 300);

    (void)state;
    let_it_come_to(behind, 10000);
    node_cluster_kill(&c, behind);
    store_dir_name(&c.nodes[behind].dir, 1, path);
    assert_int_equal(access(path, F_OK), 0);
    /* As if it had caught up by the log: a store from somebody who did. */
    node_cluster_start(&c, behind);
    node_cluster_converge(&c);
    store_dir_name(&c.nodes[behind].dir, 2, path);
    assert_int_equal(mkdir(path, 0700), 0); /* the next one's, and it holds nothing */
    node_cluster_kill(&c, behind);
    node_cluster_start(&c, behind);
    assert_true(c.nodes[behind].dir.partial);
    node_cluster_steps(&c, 100);
    assert_int_equal(access(path, F_OK), -1);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

/* The last space is the log's. What was received stays, and is gone on with. */
static void a_member_that_is_short_of_space_takes_none_until_there_is_some(void **state)
{
    unsigned behind = begin_listening(27, 1500), refused;
    uint64_t received;

    (void)state;
    let_it_come_to(behind, 60000);
    memory_disk_set_size(c.nodes[behind].disk, SPACE_LOW_BYTES);
    node_cluster_steps(&c, 50);
    assert_int_equal(c.nodes[behind].given_up, 1);
    received = records_sent;
    for (unsigned i = 0; i < 2000 && c.nodes[behind].refused < 3; i++)
        node_cluster_step(&c);
    assert_int_equal(c.nodes[behind].refused, 3);
    node_cluster_write(&c, 30); /* the others go on */
    node_cluster_kill(&c, behind); /* it is on disk */
    node_cluster_start(&c, behind);
    memory_disk_set_size(c.nodes[behind].disk, SPACE_LOW_BYTES);
    refused = c.nodes[behind].refused;
    for (unsigned i = 0; i < 2000 && c.nodes[behind].refused == refused; i++)
        node_cluster_step(&c);
    assert_true(c.nodes[behind].dir.partial && c.nodes[behind].refused > refused);
    assert_int_equal(records_sent, received);
    assert_int_equal(begun_count, 1);
    memory_disk_set_size(c.nodes[behind].disk, UINT64_MAX);
    node_cluster_converge(&c);
    assert_int_equal(begun_count, 2);
    assert_true(begun_at[1] > 200);
    assert_int_equal(c.nodes[behind].installed, 1);
    node_cluster_fini(&c);
}

/* While others write, once in so many steps; 0: never. */
static uint64_t bytes_sent_in(unsigned steps, unsigned write_each)
{
    uint64_t before = records_sent;

    for (unsigned i = 0; i < steps; i++)
        if (write_each && i % write_each == 0)
            node_cluster_write(&c, 1);
        else
            node_cluster_step(&c);
    return records_sent - before;
}

/* Sends less while others write, however rarely one of their writes ends, and makes up for it when they do not. */
static void a_transfer_rests_while_clients_write(void **state)
{
    unsigned behind = begin_listening(26, 3000);
    uint64_t alone, beside_many, beside_few;

    (void)state;
    let_it_come_to(behind, 10000);
    alone = bytes_sent_in(200, 0);
    beside_many = bytes_sent_in(200, 5);
    beside_few = bytes_sent_in(200, 30);
    assert_int_equal(c.nodes[behind].installed, 0);
    assert_in_range(beside_many, alone / 6, alone / 2);
    assert_in_range(beside_few, alone / 6, alone / 2);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

/* A disk that needs long for one segment keeps all busy; the rest that follows is no longer than the receiver waits for a word. */
static void no_rest_outlasts_the_receivers_patience(void **state)
{
    unsigned behind = begin_listening(31, 3000);

    (void)state;
    let_it_come_to(behind, 60000);
    c.nodes[behind].no_jobs = true;
    for (unsigned i = 0; i < 400; i++)
        if (i % 5 == 0)
            node_cluster_write(&c, 1);
        else
            node_cluster_step(&c);
    c.nodes[behind].no_jobs = false;
    for (unsigned i = 0; i < 20000 && !c.nodes[behind].installed; i++)
        if (i % 5 == 0 && c.written < WRITES_MAX - 100)
            node_cluster_write(&c, 1);
        else
            node_cluster_step(&c);
    assert_int_equal(c.nodes[behind].installed, 1);
    assert_int_equal(begun_count, 1);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

static unsigned tampered;

static void flip_a_bit(struct snapshot_message *m, uint8_t *data)
{
    if (m->data.len && tampered < 3 && m->sequence == 2 * tampered + 1) {
        data[m->data.len / 2] ^= 4;
        tampered++;
    }
}

static void a_damaged_chunk_costs_a_new_transfer(void **state)
{
    unsigned behind;

    (void)state;
    tampered = 0;
    node_cluster_init(&c, 4);
    c.tamper_fn = flip_a_bit;
    behind = make_one_fall_behind(300);
    node_cluster_converge(&c);
    assert_int_equal(tampered, 3);
    assert_true(c.nodes[behind].given_up >= 3);
    assert_int_equal(c.nodes[behind].installed, 1);
    node_cluster_fini(&c);
}

static void a_receiver_whose_disk_hangs_is_given_up_and_served_later(void **state)
{
    unsigned behind;

    (void)state;
    node_cluster_init(&c, 5);
    behind = make_one_fall_behind(300);
    c.nodes[behind].no_jobs = true;
    node_cluster_steps(&c, 400);
    assert_int_equal(c.nodes[behind].installed, 0);
    c.nodes[behind].no_jobs = false;
    node_cluster_converge(&c);
    assert_true(c.nodes[behind].installed > 0);
    node_cluster_fini(&c);
}

/* Anything at all in any order; when it stops, all members are equal and nothing acknowledged is missing. */
static void whatever_happens_it_ends_well(void **state)
{
    unsigned installed = 0, seeds = getenv("RAFTFS_SEEDS") ? (unsigned)atoi(getenv("RAFTFS_SEEDS")) : 40;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        node_cluster_init(&c, seed * 7919);
        c.lost_percent = (unsigned)rng_below(&c.rng, 15);
        c.repeated_percent = (unsigned)rng_below(&c.rng, 15);
        for (unsigned i = 0; i < 400; i++) {
            unsigned n = (unsigned)rng_below(&c.rng, NODES);
            uint64_t dice = rng_below(&c.rng, 100);
            if (dice < 3)
                node_cluster_kill(&c, n);
            else if (dice < 12 && !c.nodes[n].up)
                node_cluster_start(&c, n);
            else if (dice < 15)
                c.cut[n] = !c.cut[n];
            else if (dice < 17)
                c.nodes[n].no_jobs = !c.nodes[n].no_jobs;
            else if (dice < 70)
                node_cluster_write(&c, 1 + (unsigned)rng_below(&c.rng, 10));
            else
                node_cluster_steps(&c, (unsigned)rng_below(&c.rng, 20));
        }
        c.lost_percent = c.repeated_percent = 0;
        for (unsigned n = 0; n < NODES; n++) {
            c.cut[n] = c.nodes[n].no_jobs = false;
            if (!c.nodes[n].up)
                node_cluster_start(&c, n);
        }
        node_cluster_converge(&c);
        for (unsigned n = 0; n < NODES; n++)
            installed += c.nodes[n].installed;
        node_cluster_fini(&c);
    }
    assert_true(installed > seeds / 2);
}

static void garbage_about_snapshots_is_ignored(void **state)
{
    static const uint8_t bytes[200];
    unsigned leader;

    (void)state;
    node_cluster_init(&c, 6);
    leader = node_cluster_elect(&c);
    node_cluster_write(&c, 50);
    for (unsigned i = 0; i < 5000; i++) {
        unsigned to = (unsigned)rng_below(&c.rng, NODES);
        struct raft_status st;
        struct snapshot_message m;
        node_get_raft_status(c.nodes[to].node, &st);
        m = (struct snapshot_message){
            .type = (enum snapshot_message_type)(1 + rng_below(&c.rng, 6)),
            .from = rng_below(&c.rng, 2) ? leader + 1 : rng_below(&c.rng, 6),
            .to = rng_below(&c.rng, 8) ? to + 1 : rng_below(&c.rng, 6),
            .term = rng_below(&c.rng, 8) ? st.hard.term : rng_below(&c.rng, st.hard.term),
            .transfer = rng_below(&c.rng, 4),
            .sequence = rng_below(&c.rng, 4) ? rng_below(&c.rng, 3) : rng_next(&c.rng),
            .index = rng_below(&c.rng, 3) ? st.applied + rng_below(&c.rng, 5) : rng_next(&c.rng),
            .log_term = rng_below(&c.rng, 4),
            .revision = (int64_t)rng_below(&c.rng, 100),
            .crc = rng_below(&c.rng, 2) ? 0 : (uint32_t)rng_next(&c.rng),
            .data = slice_of(bytes, rng_below(&c.rng, sizeof bytes)),
        };
        if (rng_below(&c.rng, 2))
            m.data.len = 0; /* its checksum is right then */
        node_on_snapshot_message(c.nodes[to].node, &m);
        if (i % 7 == 0)
            node_cluster_step(&c);
    }
    node_cluster_write(&c, 50);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_that_was_away_catches_up_while_writes_go_on),
        cmocka_unit_test(memory_and_log_are_bounded_while_a_member_is_away),
        cmocka_unit_test(a_crash_between_the_swap_and_the_new_log_is_finished_at_the_start),
        cmocka_unit_test(the_receiver_may_be_killed_at_any_step),
        cmocka_unit_test(the_sender_may_be_killed_at_any_step),
        cmocka_unit_test(the_receiver_goes_on_behind_its_last_segment_after_a_restart),
        cmocka_unit_test(an_offer_that_comes_again_after_a_restart_ends_that_transfer),
        cmocka_unit_test(another_leader_goes_on_where_the_first_one_was),
        cmocka_unit_test(a_leader_that_cannot_apply_as_much_as_was_received_sends_it_anew),
        cmocka_unit_test(a_member_gets_healthy_however_often_it_is_interrupted),
        cmocka_unit_test(what_was_received_is_removed_when_the_store_holds_as_much),
        cmocka_unit_test(a_member_that_is_short_of_space_takes_none_until_there_is_some),
        cmocka_unit_test(a_transfer_rests_while_clients_write),
        cmocka_unit_test(no_rest_outlasts_the_receivers_patience),
        cmocka_unit_test(a_damaged_chunk_costs_a_new_transfer),
        cmocka_unit_test(a_receiver_whose_disk_hangs_is_given_up_and_served_later),
        cmocka_unit_test(whatever_happens_it_ends_well),
        cmocka_unit_test(garbage_about_snapshots_is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
