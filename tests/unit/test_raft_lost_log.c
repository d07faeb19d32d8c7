/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consensus core: nodes that lost their log to a damaged disk. They know the term they were in, and nothing of what they
 * stored and acknowledged. The fixture checks after every step that no term has two leaders and that nothing committed is lost or
 * changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/raft_cluster.h"

static struct cluster c; /* large */

static void propose_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_true(cluster_propose(&c, (unsigned)cluster_leader(&c), "abcdef"));
        cluster_settle(&c);
    }
}

static void one_that_lost_its_log_catches_up_and_counts_again(void **state)
{
    unsigned leader, lost, other;

    (void)state;
    cluster_init(&c, 3, 7);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    lost = (leader + 1) % 3;
    other = (leader + 2) % 3;
    propose_some(10);
    cluster_lose_log(&c, lost);
    cluster_restart(&c, lost);
    assert_true(cluster_status(&c, lost).recovering);
    cluster_tick_all(&c, 60); /* its term is ahead of the leader's: there is an election without it */
    assert_true(cluster_leader(&c) >= 0);
    assert_false(cluster_status(&c, lost).recovering);
    assert_int_equal(c.nodes[lost].applied, c.committed_last);
    /* With it and one other, where the third one is gone. */
    cluster_crash(&c, other);
    cluster_tick_all(&c, 60);
    propose_some(3);
    assert_int_equal(c.nodes[lost].applied, c.committed_last);
    cluster_fini(&c);
}

/* Else it would be chosen as an heir, and an election would be lost. */
static void one_that_lost_its_log_says_that_it_cannot_lead(void **state)
{
    struct raft_progress p;
    unsigned lost;

    (void)state;
    cluster_init(&c, 3, 7);
    cluster_elect(&c);
    lost = ((unsigned)cluster_leader(&c) + 1) % 3;
    propose_some(3);
    cluster_lose_log(&c, lost);
    cluster_restart(&c, lost);
    for (int round = 0; round < 100; round++) { /* heartbeats, and none of the log */
        for (unsigned i = 0; i < 3; i++)
            raft_tick(c.nodes[i].raft);
        for (unsigned i = 0; i < 3; i++)
            cluster_run(&c, i, true);
        for (size_t i = 0; i < c.pool_count;)
            if (c.pool[i].type == RAFT_MSG_APPEND && c.pool[i].to == lost + 1)
                cluster_drop(&c, i);
            else
                cluster_deliver(&c, i, false);
    }
    assert_true(cluster_status(&c, lost).recovering);
    assert_int_equal(raft_get_progress(c.nodes[cluster_leader(&c)].raft, lost + 1, &p), ST_OK);
    assert_true(p.active && p.unfit);
    cluster_tick_all(&c, 20);
    assert_false(cluster_status(&c, lost).recovering);
    assert_int_equal(raft_get_progress(c.nodes[cluster_leader(&c)].raft, lost + 1, &p), ST_OK);
    assert_false(p.unfit);
    cluster_fini(&c);
}

/* A committed entry that one of two holders forgets: the third, who never had it, must not be elected with that one's vote. */
static void who_forgot_an_entry_elects_nobody_who_lacks_it(void **state)
{
    unsigned leader, lost, third;
    raft_index committed;

    (void)state;
    cluster_init(&c, 3, 8);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    lost = (leader + 1) % 3;
    third = (leader + 2) % 3;
    cluster_isolate(&c, third, true);
    propose_some(5);
    committed = c.committed_last;
    cluster_lose_log(&c, lost);
    cluster_restart(&c, lost);
    cluster_isolate(&c, third, false);
    cluster_crash(&c, leader);
    cluster_tick_all(&c, 200);
    assert_int_equal(cluster_leader(&c), -1);
    assert_int_equal(cluster_status(&c, lost).role, RAFT_FOLLOWER); /* nor does it try itself */
    cluster_restart(&c, leader);
    cluster_tick_all(&c, 60);
    assert_true(cluster_leader(&c) >= 0 && cluster_leader(&c) != (int)lost);
    assert_true(c.committed_last > committed);
    assert_int_equal(c.nodes[lost].applied, c.committed_last);
    cluster_fini(&c);
}

/*
 * The leader remembers what the forgetful one acknowledged, and would count it for entries that it does not have any more. So
 * what this one begins with is a term in which nothing was acknowledged: the leader of the old one is none any more.
 */
static void what_was_acknowledged_before_does_not_count_after(void **state)
{
    unsigned leader, lost;
    raft_term before;

    (void)state;
    cluster_init(&c, 5, 9);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    before = cluster_status(&c, leader).hard.term;
    lost = (leader + 1) % 5;
    for (unsigned i = 2; i < 5; i++)
        cluster_isolate(&c, (leader + i) % 5, true);
    assert_true(cluster_propose(&c, leader, "stored by two"));
    cluster_settle(&c);
    cluster_lose_log(&c, lost);
    cluster_restart(&c, lost);
    cluster_tick(&c, leader); /* a heartbeat */
    cluster_settle(&c);
    assert_int_not_equal(cluster_status(&c, leader).role, RAFT_LEADER);
    assert_true(cluster_status(&c, leader).hard.term > before);
    for (unsigned i = 2; i < 5; i++)
        cluster_isolate(&c, (leader + i) % 5, false);
    cluster_tick_all(&c, 80);
    assert_true(cluster_leader(&c) >= 0);
    assert_int_equal(c.nodes[lost].applied, c.committed_last);
    cluster_fini(&c);
}

static void a_majority_that_lost_its_log_elects_nobody(void **state)
{
    (void)state;
    cluster_init(&c, 3, 10);
    cluster_elect(&c);
    propose_some(5);
    for (unsigned i = 0; i < 2; i++) {
        cluster_lose_log(&c, i);
        cluster_restart(&c, i);
    }
    cluster_tick_all(&c, 300);
    assert_int_equal(cluster_leader(&c), -1);
    cluster_fini(&c);
}

/* ---- by chance ---- */

static unsigned recovering(unsigned nodes)
{
    unsigned count = 0;

    for (unsigned i = 0; i < nodes; i++)
        count += cluster_is_recovering(&c, i);
    return count;
}

static void one_step(unsigned nodes, unsigned lost_max)
{
    unsigned i = (unsigned)rng_below(&c.rng, nodes);
    uint64_t dice = rng_below(&c.rng, 1000);

    if (dice < 120)
        cluster_tick(&c, i);
    else if (dice < 200)
        (void)cluster_propose(&c, i, "abc");
    else if (dice < 203 && c.nodes[i].up)
        cluster_crash(&c, i);
    else if (dice < 204 && (cluster_is_recovering(&c, i) || recovering(nodes) < lost_max))
        cluster_lose_log(&c, i);
    else if (dice < 250 && !c.nodes[i].up)
        cluster_restart(&c, i);
    else if (dice < 254)
        c.cut[i][rng_below(&c.rng, nodes)] = true;
    else if (dice < 257)
        memset(c.cut, 0, sizeof c.cut);
    else if (dice < 290 && c.pool_count)
        cluster_deliver(&c, rng_below(&c.rng, c.pool_count), true);
    else if (dice < 410 && c.nodes[i].up)
        cluster_store_one(&c, i);
    else if (dice < 417 && c.nodes[i].up)
        cluster_compact(&c, i, c.nodes[i].applied - rng_below(&c.rng, c.nodes[i].applied < 4 ? 1 : 4));
    else
        for (int k = 0; k < 3 && c.pool_count; k++)
            cluster_deliver(&c, rng_below(&c.rng, c.pool_count), false);
    cluster_run(&c, i, rng_below(&c.rng, 2));
}

/* So many may lack their logs at a time. Returns what was committed meanwhile. */
static raft_index random_run(uint64_t seed, unsigned nodes, unsigned lost_max)
{
    raft_index committed;

    cluster_init(&c, nodes, seed);
    c.snapshot_failures = 30;
    for (int step = 0; step < 8000 && c.committed_last < CLUSTER_LOG_MAX - 300; step++)
        one_step(nodes, lost_max);
    committed = c.committed_last;
    memset(c.cut, 0, sizeof c.cut);
    c.snapshot_failures = 0;
    for (unsigned i = 0; i < nodes; i++) {
        while (c.nodes[i].up && c.nodes[i].batch_count)
            cluster_store_one(&c, i);
        if (!c.nodes[i].up)
            cluster_restart(&c, i);
    }
    cluster_settle(&c);
    cluster_tick_all(&c, 100);
    if (lost_max <= (nodes - 1) / 2) {
        assert_true(cluster_leader(&c) >= 0);
        assert_int_equal(recovering(nodes), 0);
        for (unsigned i = 0; i < nodes; i++)
            assert_int_equal(c.nodes[i].applied, c.committed_last);
    }
    cluster_fini(&c);
    return committed;
}

static void a_minority_may_lose_its_logs_again_and_again(void **state)
{
    raft_index committed = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        committed += random_run(seed * 7919, seed % 2 ? 3 : 5, seed % 2 ? 1 : 2);
    assert_true(committed > 2000);
}

static void whoever_loses_its_log_nothing_committed_is_lost_in_silence(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        (void)random_run(seed * 104729, seed % 2 ? 3 : 5, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_lost_its_log_catches_up_and_counts_again),
        cmocka_unit_test(one_that_lost_its_log_says_that_it_cannot_lead),
        cmocka_unit_test(who_forgot_an_entry_elects_nobody_who_lacks_it),
        cmocka_unit_test(what_was_acknowledged_before_does_not_count_after),
        cmocka_unit_test(a_majority_that_lost_its_log_elects_nobody),
        cmocka_unit_test(a_minority_may_lose_its_logs_again_and_again),
        cmocka_unit_test(whoever_loses_its_log_nothing_committed_is_lost_in_silence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
