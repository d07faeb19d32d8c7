/* SPDX-License-Identifier: Apache-2.0 */
/* The consensus core: members that are behind the log, and what may be forgotten of it. */
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

static struct raft_progress progress_of(unsigned leader, unsigned node)
{
    struct raft_progress p;

    assert_int_equal(raft_get_progress(c.nodes[leader].raft, node + 1, &p), ST_OK);
    return p;
}

/* A leader with two followers, one of which missed what the leader's log no longer holds. */
static unsigned make_one_fall_behind(unsigned *ret_follower)
{
    unsigned leader, follower;

    cluster_init(&c, 3, 41);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    follower = (leader + 1) % 3;
    propose_some(3);
    cluster_isolate(&c, follower, true);
    propose_some(20);
    cluster_compact(&c, leader, c.nodes[leader].applied);
    *ret_follower = follower;
    return leader;
}

static void a_follower_behind_the_log_gets_a_snapshot_and_then_the_log(void **state)
{
    unsigned follower, leader = make_one_fall_behind(&follower);

    (void)state;
    cluster_isolate(&c, follower, false);
    cluster_tick_all(&c, 3);
    assert_int_equal(c.snapshots_installed, 1);
    assert_int_equal(c.nodes[follower].applied, c.committed_last);
    assert_int_equal(progress_of(leader, follower).state, RAFT_REPLICATE);
    propose_some(3);
    assert_int_equal(c.nodes[follower].applied, c.committed_last);
    assert_true(progress_of(leader, follower).next > progress_of(leader, follower).match);
    assert_int_equal(c.snapshots_installed, 1);
    cluster_fini(&c);
}

/* etcd raft 149: word that an older snapshot is installed, when the member holds more by now. */
static void late_word_of_a_snapshot_takes_nothing_back(void **state)
{
    unsigned follower, leader = make_one_fall_behind(&follower);
    struct raft_message answer = {.type = RAFT_MSG_APPEND_RESPONSE, .from = follower + 1, .to = leader + 1};
    raft_index announced = c.nodes[leader].applied;

    (void)state;
    cluster_isolate(&c, follower, false);
    for (int round = 0; round < 20 && progress_of(leader, follower).state != RAFT_SNAPSHOT; round++) {
        raft_tick(c.nodes[leader].raft);
        for (unsigned i = 0; i < 3; i++)
            cluster_run(&c, i, true);
        for (size_t i = 0; i < c.pool_count && progress_of(leader, follower).state != RAFT_SNAPSHOT;)
            cluster_deliver(&c, i, false);
    }
    for (unsigned i = 0; i < c.pool_count;) /* it stays on its way */
        if (c.pool[i].type == RAFT_MSG_SNAPSHOT)
            c.pool[i] = c.pool[--c.pool_count];
        else
            i++;
    propose_some(5);
    cluster_compact(&c, leader, c.nodes[leader].applied);
    assert_int_equal(progress_of(leader, follower).state, RAFT_SNAPSHOT);
    answer.term = cluster_status(&c, leader).hard.term;
    answer.index = announced + 2;
    assert_int_equal(raft_step(c.nodes[leader].raft, &answer), ST_OK);
    assert_int_equal(progress_of(leader, follower).state, RAFT_SNAPSHOT);
    raft_snapshot_sent(c.nodes[leader].raft, follower + 1, announced);
    assert_int_equal(progress_of(leader, follower).state, RAFT_PROBE);
    assert_int_equal(progress_of(leader, follower).match, announced + 2);
    assert_int_equal(progress_of(leader, follower).next, announced + 3);
    cluster_fini(&c);
}

static void a_snapshot_that_failed_is_made_anew_with_what_is_applied_then(void **state)
{
    unsigned follower, leader = make_one_fall_behind(&follower);
    raft_index first = c.nodes[leader].applied;

    (void)state;
    cluster_isolate(&c, follower, false);
    c.snapshot_failures = 100;
    cluster_tick_all(&c, 3);
    assert_int_equal(c.snapshots_installed, 0);
    propose_some(10);
    c.snapshot_failures = 0;
    cluster_tick_all(&c, 2);
    assert_int_equal(c.snapshots_installed, 1);
    assert_true(c.nodes[follower].snapshot_index >= first + 10);
    assert_int_equal(c.nodes[follower].applied, c.committed_last);
    cluster_fini(&c);
}

/* Snapshots take their time. */
static void deliver_all_but_snapshots(void)
{
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < c.n; i++)
            cluster_run(&c, i, true);
        for (size_t at = c.pool_count; at-- > 0;)
            if (c.pool[at].type != RAFT_MSG_SNAPSHOT)
                cluster_deliver(&c, at, false);
    }
}

/* hashicorp/raft 212: compacted past the snapshot while it was on its way: another one, and no append behind a gap. */
static void compaction_past_a_snapshot_under_way_leads_to_a_newer_one(void **state)
{
    unsigned follower, leader = make_one_fall_behind(&follower);

    (void)state;
    cluster_isolate(&c, follower, false);
    for (unsigned i = 0; i < 20 && !c.pool_count; i++) {
        cluster_tick(&c, leader);
        deliver_all_but_snapshots();
    }
    assert_int_equal(c.pool_count, 1);
    assert_int_equal(progress_of(leader, follower).state, RAFT_SNAPSHOT);
    assert_true(cluster_propose(&c, leader, "more"));
    deliver_all_but_snapshots();
    assert_true(c.nodes[leader].applied > c.pool[0].index);
    cluster_compact(&c, leader, c.nodes[leader].applied);
    cluster_tick_all(&c, 3);
    assert_int_equal(c.snapshots_installed, 2);
    assert_int_equal(c.nodes[follower].applied, c.committed_last);
    assert_int_equal(progress_of(leader, follower).state, RAFT_REPLICATE);
    cluster_fini(&c);
}

static void a_follower_that_holds_the_entry_commits_and_installs_nothing(void **state)
{
    struct raft_message m = {.type = RAFT_MSG_SNAPSHOT};
    unsigned leader, follower;
    struct raft_status st;
    struct raft_ready rd;

    (void)state;
    cluster_init(&c, 3, 43);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    follower = (leader + 1) % 3;
    propose_some(2);
    /* An entry that the follower holds without knowing that it is committed. */
    assert_true(cluster_propose(&c, leader, "x"));
    cluster_run(&c, leader, true);
    for (size_t at = 0; at < c.pool_count; at++)
        if (c.pool[at].to == follower + 1)
            cluster_deliver(&c, at--, false);
    cluster_run(&c, follower, true);
    st = cluster_status(&c, follower);
    assert_true(st.last > st.hard.commit);
    m.from = leader + 1;
    m.to = follower + 1;
    m.term = st.hard.term;
    m.index = st.last;
    m.log_term = st.last_term;
    assert_false(raft_wants_snapshot(c.nodes[follower].raft, m.index, m.log_term));
    assert_int_equal(raft_step(c.nodes[follower].raft, &m), ST_OK);
    assert_int_equal(cluster_status(&c, follower).hard.commit, st.last);
    assert_true(raft_ready(c.nodes[follower].raft, &rd));
    assert_int_equal(rd.message_after_count, 1);
    assert_int_equal(rd.messages_after_stored[0].type, RAFT_MSG_APPEND_RESPONSE);
    assert_int_equal(rd.messages_after_stored[0].index, st.last);
    raft_advance(c.nodes[follower].raft);
    /* An older one than that: the same answer. Another term there, or beyond the end: wanted. */
    assert_false(raft_wants_snapshot(c.nodes[follower].raft, 1, 1));
    assert_int_equal(raft_restore(c.nodes[follower].raft, 1, 1, raft_get_conf(c.nodes[follower].raft)), ST_STALE);
    assert_true(raft_wants_snapshot(c.nodes[follower].raft, st.last + 1, st.last_term));
    cluster_fini(&c);
}

static void entries_held_are_counted_in_bytes(void **state)
{
    struct raft *r;
    raft_index first, fit;

    (void)state;
    cluster_init(&c, 1, 5);
    r = c.nodes[0].raft;
    raft_campaign(r);
    cluster_settle(&c);
    propose_some(10); /* of 6 bytes */
    assert_int_equal(cluster_status(&c, 0).log_bytes, 60);
    first = cluster_status(&c, 0).first;
    fit = raft_index_to_fit(r, 31);
    assert_int_equal(fit, cluster_status(&c, 0).last - 5);
    assert_int_equal(raft_index_to_fit(r, 0), cluster_status(&c, 0).last);
    assert_int_equal(raft_index_to_fit(r, 1000), first - 1);
    cluster_compact(&c, 0, fit);
    assert_int_equal(cluster_status(&c, 0).log_bytes, 30);
    assert_int_equal(raft_index_to_fit(r, 1000), fit);
    cluster_fini(&c);
}

/* A change that only the store knows of any more: who gets the snapshot has it, and so has who begins behind it. */
static void a_snapshot_brings_the_configuration(void **state)
{
    unsigned leader, follower;

    (void)state;
    cluster_init_some(&c, 4, 3, 43);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    follower = (leader + 1) % 3;
    cluster_settle(&c);
    cluster_isolate(&c, follower, true);
    assert_int_equal(cluster_change(&c, leader, RAFT_TRANSITION_AUTO, "v4"), ST_OK);
    cluster_settle(&c);
    assert_int_equal(cluster_conf(&c, leader)->voter_count, 4);
    assert_int_equal(cluster_conf(&c, follower)->voter_count, 3);
    cluster_compact(&c, leader, c.nodes[leader].applied);
    cluster_isolate(&c, follower, false);
    cluster_tick_all(&c, 3);
    assert_true(c.snapshots_installed >= 1);
    assert_int_equal(cluster_conf(&c, follower)->voter_count, 4);
    assert_int_equal(progress_of(leader, follower).state, RAFT_REPLICATE);
    assert_int_equal(progress_of(leader, 3).state, RAFT_REPLICATE);
    cluster_crash(&c, leader);
    cluster_restart(&c, leader);
    assert_int_equal(cluster_conf(&c, leader)->voter_count, 4);
    cluster_elect(&c);
    cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_behind_the_log_gets_a_snapshot_and_then_the_log),
        cmocka_unit_test(late_word_of_a_snapshot_takes_nothing_back),
        cmocka_unit_test(a_snapshot_that_failed_is_made_anew_with_what_is_applied_then),
        cmocka_unit_test(compaction_past_a_snapshot_under_way_leads_to_a_newer_one),
        cmocka_unit_test(a_follower_that_holds_the_entry_commits_and_installs_nothing),
        cmocka_unit_test(a_snapshot_brings_the_configuration),
        cmocka_unit_test(entries_held_are_counted_in_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
