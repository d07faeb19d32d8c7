/* SPDX-License-Identifier: Apache-2.0 */
/* Membership: what a change must do, and, by chance, what no order of changes, crashes and losses may do. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/raft_cluster.h"

static struct cluster c; /* large */

/* n nodes, the first `voters` are members, and node 0 leads. */
static void begin(unsigned n, unsigned voters, uint64_t seed)
{
    cluster_init_some(&c, n, voters, seed);
    raft_campaign(c.nodes[0].raft);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), 0);
}

static void change(const char *changes)
{
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, changes), ST_OK);
    cluster_settle(&c);
    cluster_tick_all(&c, 2);
}

static void a_cluster_grows_from_one_member_and_survives_its_founder(void **state)
{
    (void)state;
    begin(3, 1, 1);
    change("v2");
    change("v3");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(cluster_conf(&c, i)->voter_count, 3);
    cluster_crash(&c, 0);
    cluster_elect(&c);
    assert_true(cluster_propose(&c, (unsigned)cluster_leader(&c), "goes on"));
    cluster_tick_all(&c, 2);
    assert_int_equal(c.nodes[1].applied, c.committed_last);
    assert_int_equal(c.nodes[2].applied, c.committed_last);
    cluster_fini(&c);
}

static void a_change_is_refused_while_another_is_not_applied(void **state)
{
    (void)state;
    begin(5, 3, 2);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "v4"), ST_OK);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "v5"), ST_CONF_PENDING);
    cluster_settle(&c);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "v5"), ST_OK);
    cluster_settle(&c);
    assert_int_equal(cluster_conf(&c, 0)->voter_count, 5);
    cluster_fini(&c);
}

/* raft-dev, July 2015. */
static void a_new_leader_changes_nothing_before_it_committed_in_its_term(void **state)
{
    (void)state;
    begin(4, 3, 3);
    raft_campaign(c.nodes[1].raft); /* the others still hear a leader: without the votes nothing is committed */
    cluster_settle(&c);
    cluster_isolate(&c, 0, true);
    while (cluster_leader(&c) <= 0) {
        for (unsigned i = 1; i < 3; i++)
            cluster_tick(&c, i);
        for (unsigned i = 0; i < 4; i++)
            cluster_run(&c, i, true);
        for (size_t i = 0; i < c.pool_count;)
            if (c.pool[i].type == RAFT_MSG_APPEND)
                cluster_drop(&c, i);
            else
                cluster_deliver(&c, i, false);
    }
    assert_int_equal(cluster_change(&c, (unsigned)cluster_leader(&c), RAFT_TRANSITION_AUTO, "v4"), ST_CONF_PENDING);
    cluster_tick_all(&c, 3);
    assert_int_equal(cluster_change(&c, (unsigned)cluster_leader(&c), RAFT_TRANSITION_AUTO, "v4"), ST_OK);
    cluster_fini(&c);
}

static void a_change_comes_alone_and_makes_sense_or_is_refused(void **state)
{
    struct raft_entry *two[2];
    struct raft_conf_change leave = {0};

    (void)state;
    begin(3, 1, 4);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "r1"), ST_BAD_ARGUMENT);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, ""), ST_BAD_ARGUMENT);
    two[0] = raft_entry_new(RAFT_ENTRY_NORMAL, 1);
    two[0]->data[0] = 'x';
    two[1] = raft_conf_change_encode(&leave);
    assert_int_equal(raft_propose(c.nodes[0].raft, two, 2), ST_BAD_ARGUMENT);
    raft_entry_unref(two[1]);
    two[1] = raft_entry_new(RAFT_ENTRY_CONF, 1);
    two[1]->data[0] = 0;
    assert_int_equal(raft_propose(c.nodes[0].raft, two + 1, 1), ST_BAD_ARGUMENT);
    raft_entry_unref(two[0]);
    raft_entry_unref(two[1]);
    assert_int_equal(cluster_status(&c, 0).last, 1);
    cluster_fini(&c);
}

static void a_follower_forwards_a_change_to_the_leader(void **state)
{
    (void)state;
    begin(4, 3, 5);
    assert_true(cluster_propose(&c, 1, "before"));
    assert_int_equal(cluster_change(&c, 1, RAFT_TRANSITION_AUTO, "v4"), ST_OK);
    assert_int_equal(cluster_change(&c, 1, RAFT_TRANSITION_AUTO, "r3"), ST_OK); /* refused there: one is under way */
    assert_true(cluster_propose(&c, 1, "behind"));                             /* but this is not lost with it */
    cluster_settle(&c);
    cluster_tick_all(&c, 2);
    assert_int_equal(cluster_conf(&c, 3)->voter_count, 4);
    assert_int_equal(c.committed_last, 4);
    cluster_fini(&c);
}

static void a_learner_gets_everything_and_counts_for_nothing(void **state)
{
    struct raft_progress p;

    (void)state;
    begin(4, 3, 6);
    change("l4");
    assert_int_equal(raft_get_progress(c.nodes[0].raft, 4, &p), ST_OK);
    assert_int_equal(p.match, cluster_status(&c, 0).last);
    cluster_isolate(&c, 1, true);
    cluster_isolate(&c, 2, true);
    assert_true(cluster_propose(&c, 0, "not by learners"));
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 3).last, cluster_status(&c, 0).last);
    assert_true(c.committed_last < cluster_status(&c, 0).last);
    cluster_tick_all(&c, 60); /* nor does it keep the leader in office, nor look for another */
    assert_int_equal(cluster_leader(&c), -1);
    assert_int_equal(cluster_status(&c, 3).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(&c, 3).leader, 0);
    assert_int_equal(cluster_status(&c, 3).hard.term, 1);
    cluster_fini(&c);
}

/* etcd PR 10998: its vote is needed, and it does not know yet that it has one. */
static void a_learner_that_was_promoted_without_knowing_it_votes(void **state)
{
    (void)state;
    begin(3, 2, 7);
    change("l3");
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "v3"), ST_OK);
    cluster_isolate(&c, 2, true);
    cluster_settle(&c);
    cluster_tick_all(&c, 2);
    assert_int_equal(cluster_conf(&c, 1)->voter_count, 3);
    assert_int_equal(cluster_conf(&c, 2)->voter_count, 2);
    cluster_isolate(&c, 2, false);
    cluster_crash(&c, 0);
    cluster_elect(&c);
    assert_int_equal(cluster_leader(&c), 1);
    cluster_fini(&c);
}

/* Else it leads the same term twice, and its learner holds another entry of that term at that place. */
static void who_elects_itself_says_nothing_before_its_vote_is_durable(void **state)
{
    (void)state;
    begin(2, 1, 3);
    change("l2");
    for (unsigned life = 0; life < 3; life++) {
        cluster_crash(&c, 0);
        cluster_restart(&c, 0);
        cluster_run(&c, 0, true); /* it applies its members */
        raft_campaign(c.nodes[0].raft);
        assert_true(cluster_propose(&c, 0, life == 2 ? "kept" : "lost with the term"));
        cluster_tick(&c, 0);
        if (life < 2)
            cluster_run(&c, 0, false);
        assert_int_equal(c.pool_count, 0);
    }
    cluster_settle(&c);
    cluster_tick_all(&c, 2);
    assert_int_equal(c.nodes[0].applied, c.committed_last);
    assert_int_equal(c.nodes[1].applied, c.committed_last);
    assert_memory_equal(c.nodes[1].log[c.committed_last]->data, "kept", 4);
    cluster_fini(&c);
}

static void a_removed_leader_steps_down_and_the_rest_goes_on(void **state)
{
    raft_term term;

    (void)state;
    begin(3, 3, 8);
    change("r1");
    assert_int_equal(cluster_status(&c, 0).role, RAFT_FOLLOWER);
    cluster_elect(&c);
    term = cluster_status(&c, (unsigned)cluster_leader(&c)).hard.term;
    cluster_tick_all(&c, 60); /* what was removed is quiet */
    assert_int_equal(cluster_status(&c, 0).hard.term, 1);
    assert_int_equal(cluster_status(&c, (unsigned)cluster_leader(&c)).hard.term, term);
    cluster_fini(&c);
}

/* It has the longer log, and its vote is still needed by who does not know that it is not. */
static void a_removed_leader_tells_who_it_refuses_what_is_committed(void **state)
{
    (void)state;
    c.no_pull = true;
    begin(2, 2, 17);
    cluster_tick_all(&c, 2);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "r1"), ST_OK);
    cluster_run(&c, 0, true);
    while (c.pool_count && c.pool[0].to == 2)
        cluster_deliver(&c, 0, false);
    cluster_run(&c, 1, true);
    assert_true(cluster_propose(&c, 0, "one more"));
    while (c.pool_count)
        cluster_deliver(&c, 0, false);
    cluster_run(&c, 0, true);
    assert_int_equal(cluster_status(&c, 0).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(&c, 0).last, cluster_status(&c, 1).last + 1);
    assert_int_equal(cluster_status(&c, 1).hard.commit, cluster_status(&c, 1).last - 1);
    while (c.pool_count)
        cluster_drop(&c, 0);
    cluster_tick_all(&c, 60);
    assert_int_equal(cluster_leader(&c), 1);
    c.no_pull = false;
    cluster_fini(&c);
}

static void a_node_that_was_removed_without_knowing_it_does_not_disturb(void **state)
{
    (void)state;
    begin(4, 4, 9);
    cluster_isolate(&c, 3, true);
    change("r4");
    cluster_isolate(&c, 3, false);
    assert_int_equal(cluster_conf(&c, 3)->voter_count, 4);
    cluster_tick_all(&c, 100);
    assert_int_equal(cluster_leader(&c), 0);
    assert_int_equal(cluster_status(&c, 0).hard.term, 1);
    cluster_fini(&c);
}

static void a_joint_configuration_is_left_by_itself(void **state)
{
    (void)state;
    begin(5, 3, 10);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "r2 v4 l3 v5"), ST_OK);
    cluster_settle(&c);
    cluster_tick_all(&c, 2);
    for (unsigned i = 0; i < 5; i++) {
        const struct raft_conf *conf = cluster_conf(&c, i);
        if (i == 1)
            continue; /* it may not hear of its end */
        assert_int_equal(conf->outgoing_count, 0);
        assert_int_equal(conf->voter_count, 3);
        assert_int_equal(conf->learner_count, 1);
        assert_int_equal(conf->learners[0], 3);
    }
    cluster_fini(&c);
}

static void a_joint_configuration_needs_both_majorities_until_it_is_left(void **state)
{
    raft_index before;

    (void)state;
    begin(6, 3, 11);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_JOINT_EXPLICIT, "v4 v5 v6 r2 r3"), ST_OK);
    cluster_settle(&c);
    cluster_tick_all(&c, 3);
    assert_int_equal(cluster_conf(&c, 5)->outgoing_count, 3);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "v2"), ST_BAD_ARGUMENT);
    before = c.committed_last;
    cluster_isolate(&c, 4, true);
    cluster_isolate(&c, 5, true);
    assert_true(cluster_propose(&c, 0, "the old majority alone"));
    cluster_tick_all(&c, 3);
    assert_int_equal(c.committed_last, before);
    cluster_isolate(&c, 4, false);
    cluster_tick_all(&c, 3);
    assert_int_equal(c.committed_last, before + 1);
    cluster_isolate(&c, 1, true);
    cluster_isolate(&c, 2, true);
    assert_true(cluster_propose(&c, 0, "the new majority alone"));
    cluster_tick_all(&c, 3);
    assert_int_equal(c.committed_last, before + 1);
    cluster_isolate(&c, 1, false);
    cluster_tick_all(&c, 3);
    assert_int_equal(c.committed_last, before + 2);
    change("");
    assert_int_equal(cluster_conf(&c, 0)->outgoing_count, 0);
    assert_int_equal(cluster_conf(&c, 4)->voter_count, 4);
    cluster_fini(&c);
}

static void a_new_leader_leaves_the_joint_configuration_that_it_finds(void **state)
{
    (void)state;
    begin(5, 3, 12);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_JOINT_IMPLICIT, "v4 v5"), ST_OK);
    while (!cluster_conf(&c, 0)->outgoing_count) { /* until the leader alone knows that it is committed */
        for (unsigned i = 0; i < 5; i++)
            cluster_run(&c, i, true);
        for (size_t left = c.pool_count; left > 0 && !cluster_conf(&c, 0)->outgoing_count; left--) {
            cluster_deliver(&c, 0, false);
            cluster_run(&c, 0, true);
        }
    }
    cluster_crash(&c, 0);
    while (c.pool_count)
        cluster_drop(&c, 0);
    cluster_elect(&c);
    cluster_tick_all(&c, 5);
    assert_int_equal(cluster_conf(&c, (unsigned)cluster_leader(&c))->outgoing_count, 0);
    assert_int_equal(cluster_conf(&c, (unsigned)cluster_leader(&c))->voter_count, 5);
    cluster_fini(&c);
}

/* etcd #12359, #7625: who counts by the older configuration might be elected beside the newer one. */
static void nobody_campaigns_with_a_committed_change_unapplied(void **state)
{
    struct raft_conf_change v2 = {.count = 1, .changes = {{RAFT_CHANGE_ADD_VOTER, 2}}};
    struct raft_entry *e = raft_conf_change_encode(&v2);
    struct raft_options o = {
        .id = 1,
        .conf = {.voters = {1}, .voter_count = 1},
        .election_ticks = 10,
        .heartbeat_ticks = 1,
        .inflight_messages_max = 1,
        .entries = &e,
        .entry_count = 1,
        .hard = {.term = 1, .commit = 1},
    };
    struct raft *r;
    struct raft_status st;
    struct raft_ready rd;
    struct raft_conf conf;

    (void)state;
    e->term = e->index = 1;
    r = raft_new(&o);
    raft_campaign(r);
    raft_get_status(r, &st);
    assert_int_equal(st.role, RAFT_FOLLOWER);
    assert_true(raft_ready(r, &rd));
    assert_int_equal(rd.committed_count, 1);
    raft_advance(r);
    assert_int_equal(raft_apply_conf_change(r, &v2, &conf), ST_OK);
    raft_applied(r, 1);
    raft_campaign(r);
    raft_get_status(r, &st);
    assert_int_equal(st.role, RAFT_CANDIDATE); /* by both: alone it was elected at once */
    raft_free(r);
    raft_entry_unref(e);
}

static void a_read_is_answered_once_fewer_answers_are_enough(void **state)
{
    (void)state;
    begin(2, 2, 13);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "r2"), ST_OK);
    cluster_run(&c, 0, true);
    cluster_ask(&c, 0); /* its heartbeats are lost */
    cluster_run(&c, 0, true);
    for (size_t i = 0; i < c.pool_count;)
        if (c.pool[i].type == RAFT_MSG_HEARTBEAT)
            cluster_drop(&c, i);
        else
            i++;
    cluster_settle(&c);
    assert_int_equal(cluster_conf(&c, 0)->voter_count, 1);
    assert_int_equal(c.reads_answered, 1);
    cluster_fini(&c);
}

static void leadership_goes_to_voters_only_and_followers_pass_the_wish_on(void **state)
{
    (void)state;
    begin(5, 3, 14);
    change("l4");
    assert_int_equal(raft_transfer_leader(c.nodes[0].raft, 4), ST_BAD_ARGUMENT);
    assert_int_equal(raft_transfer_leader(c.nodes[0].raft, 5), ST_NOT_FOUND);
    assert_int_equal(raft_transfer_leader(c.nodes[4].raft, 2), ST_NO_LEADER);
    assert_int_equal(raft_transfer_leader(c.nodes[3].raft, 2), ST_OK);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), 1);
    cluster_fini(&c);
}

static void a_transfer_that_does_not_come_to_pass_ends_after_an_election_timeout(void **state)
{
    (void)state;
    begin(3, 3, 15);
    cluster_isolate(&c, 2, true);
    assert_int_equal(raft_transfer_leader(c.nodes[0].raft, 3), ST_OK);
    cluster_tick_all(&c, 5);
    assert_int_equal(cluster_status(&c, 0).transferee, 3);
    assert_false(cluster_propose(&c, 0, "not now"));
    cluster_tick_all(&c, 6);
    assert_int_equal(cluster_status(&c, 0).transferee, 0);
    assert_true(cluster_propose(&c, 0, "now"));
    cluster_tick_all(&c, 1);
    /* Nor to one that is removed, or does not vote any more, meanwhile. */
    assert_int_equal(raft_transfer_leader(c.nodes[0].raft, 3), ST_OK);
    assert_int_equal(raft_transfer_leader(c.nodes[0].raft, 3), ST_OK);
    assert_int_equal(cluster_change(&c, 0, RAFT_TRANSITION_AUTO, "l3"), ST_NO_LEADER);
    cluster_fini(&c);
}

static void a_leader_that_steps_down_or_is_forgotten_is_followed_by_another(void **state)
{
    (void)state;
    begin(3, 3, 16);
    raft_step_down(c.nodes[0].raft);
    assert_int_equal(cluster_status(&c, 0).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(&c, 0).hard.term, 1);
    raft_campaign(c.nodes[1].raft); /* 2 votes for itself; 0 does not hold a lease of itself */
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), 1);
    raft_campaign(c.nodes[2].raft); /* 0 hears 1, and refuses */
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), 1);
    raft_forget_leader(c.nodes[0].raft);
    raft_campaign(c.nodes[2].raft);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), 2);
    cluster_fini(&c);
}

/* ---- by chance ---- */

static unsigned churned; /* changes that were taken, all seeds */

static void change_something(unsigned i)
{
    enum raft_transition transition = (enum raft_transition)rng_below(&c.rng, 3);
    unsigned count = rng_below(&c.rng, 3) ? 1 : (unsigned)rng_below(&c.rng, 4);
    char text[40] = "";

    if (rng_below(&c.rng, 2))
        transition = RAFT_TRANSITION_AUTO;
    for (unsigned k = 0; k < count; k++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%c%u", len ? " " : "", "vvlrru"[rng_below(&c.rng, 6)],
                 1 + (unsigned)rng_below(&c.rng, c.n));
    }
    churned += cluster_change(&c, i, transition, text) == ST_OK;
}

static void random_step(unsigned i)
{
    uint64_t dice = rng_below(&c.rng, 1000);

    if (dice < 130)
        cluster_tick(&c, i);
    else if (dice < 180)
        cluster_propose(&c, i, "command");
    else if (dice < 230)
        change_something(i);
    else if (dice < 260)
        cluster_ask(&c, i);
    else if (dice < 268 && c.nodes[i].up)
        cluster_crash(&c, i);
    else if (dice < 310 && !c.nodes[i].up)
        cluster_restart(&c, i);
    else if (dice < 314)
        c.cut[i][rng_below(&c.rng, c.n)] = true;
    else if (dice < 318)
        memset(c.cut, 0, sizeof c.cut);
    else if (dice < 335 && c.pool_count)
        cluster_drop(&c, rng_below(&c.rng, c.pool_count));
    else if (dice < 355 && c.pool_count)
        cluster_deliver(&c, rng_below(&c.rng, c.pool_count), true);
    else if (dice < 480 && c.nodes[i].up)
        cluster_store_one(&c, i);
    else if (dice < 484 && c.nodes[i].up)
        (void)!raft_transfer_leader(c.nodes[i].raft, 1 + rng_below(&c.rng, c.n));
    else
        for (int k = 0; k < 4 && c.pool_count; k++)
            cluster_deliver(&c, rng_below(&c.rng, c.pool_count), false);
    cluster_run(&c, i, rng_below(&c.rng, 2));
}

static void random_churn(uint64_t seed)
{
    const struct raft_conf *conf;

    cluster_init_some(&c, 7, 1 + (unsigned)(seed % 4), seed * 7919);
    for (int step = 0; step < 5000 && c.committed_last < CLUSTER_LOG_MAX - 300; step++)
        random_step((unsigned)rng_below(&c.rng, c.n));
    memset(c.cut, 0, sizeof c.cut);
    for (unsigned i = 0; i < c.n; i++) {
        while (c.nodes[i].up && c.nodes[i].batch_count)
            cluster_store_one(&c, i);
        if (!c.nodes[i].up)
            cluster_restart(&c, i);
    }
    cluster_settle(&c);
    cluster_tick_all(&c, 80);
    assert_true(cluster_leader(&c) >= 0);
    assert_true(cluster_propose(&c, (unsigned)cluster_leader(&c), "after the storm"));
    cluster_tick_all(&c, 10);
    conf = cluster_conf(&c, (unsigned)cluster_leader(&c));
    for (unsigned i = 0; i < c.n; i++) {
        struct raft_progress p;
        if (raft_get_progress(c.nodes[cluster_leader(&c)].raft, i + 1, &p) != ST_OK)
            continue;
        assert_int_equal(c.nodes[i].applied, c.committed_last);
        assert_memory_equal(cluster_conf(&c, i), conf, sizeof *conf);
    }
    cluster_fini(&c);
}

static void no_order_of_changes_and_crashes_is_unsafe(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        random_churn(seed);
    assert_true(churned > 3000);
}

/* However it came there: there is no term behind it. */
static void in_the_last_term_nobody_campaigns(void **state)
{
    struct raft_options o = {.id = 1,
                             .conf = {.voters = {1}, .voter_count = 1},
                             .election_ticks = 10,
                             .heartbeat_ticks = 1,
                             .inflight_messages_max = 1,
                             .hard = {.term = RAFT_NUMBER_MAX}};
    struct raft *r = raft_new(&o);
    struct raft_status st;

    (void)state;
    raft_campaign(r);
    for (unsigned i = 0; i < 50; i++)
        raft_tick(r);
    raft_get_status(r, &st);
    assert_true(st.hard.term == RAFT_NUMBER_MAX && st.role == RAFT_FOLLOWER);
    raft_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_last_term_nobody_campaigns),
        cmocka_unit_test(a_cluster_grows_from_one_member_and_survives_its_founder),
        cmocka_unit_test(a_change_is_refused_while_another_is_not_applied),
        cmocka_unit_test(a_new_leader_changes_nothing_before_it_committed_in_its_term),
        cmocka_unit_test(a_change_comes_alone_and_makes_sense_or_is_refused),
        cmocka_unit_test(a_follower_forwards_a_change_to_the_leader),
        cmocka_unit_test(a_learner_gets_everything_and_counts_for_nothing),
        cmocka_unit_test(a_learner_that_was_promoted_without_knowing_it_votes),
        cmocka_unit_test(who_elects_itself_says_nothing_before_its_vote_is_durable),
        cmocka_unit_test(a_removed_leader_steps_down_and_the_rest_goes_on),
        cmocka_unit_test(a_removed_leader_tells_who_it_refuses_what_is_committed),
        cmocka_unit_test(a_node_that_was_removed_without_knowing_it_does_not_disturb),
        cmocka_unit_test(a_joint_configuration_is_left_by_itself),
        cmocka_unit_test(a_joint_configuration_needs_both_majorities_until_it_is_left),
        cmocka_unit_test(a_new_leader_leaves_the_joint_configuration_that_it_finds),
        cmocka_unit_test(nobody_campaigns_with_a_committed_change_unapplied),
        cmocka_unit_test(a_read_is_answered_once_fewer_answers_are_enough),
        cmocka_unit_test(leadership_goes_to_voters_only_and_followers_pass_the_wish_on),
        cmocka_unit_test(a_transfer_that_does_not_come_to_pass_ends_after_an_election_timeout),
        cmocka_unit_test(a_leader_that_steps_down_or_is_forgotten_is_followed_by_another),
        cmocka_unit_test(no_order_of_changes_and_crashes_is_unsafe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
