/* SPDX-License-Identifier: Apache-2.0 */
/* Members that the alarm CORRUPT names neither lead nor hand on what they hold, while others can. */
#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/memory_disk.h"
#include "tests/unit/node_cluster.h"

static struct node_cluster c; /* large */

static void on_done(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    (void)st;
    (void)answer;
}

static bool named(unsigned at, unsigned whom)
{
    return members_look_up(node_members(c.nodes[at].node), whom + 1)->corrupt;
}

static void name(unsigned whom, bool raise)
{
    const uint8_t alarm[] = {0x08, raise ? 1 : 2, 0x10, (uint8_t)(whom + 1), 0x18, 2};
    unsigned leader = node_cluster_elect(&c);

    assert_int_equal(node_propose(c.nodes[leader].node, COMMAND_ALARM, slice_of(alarm, sizeof alarm), INT64_MAX, on_done, NULL, NULL), ST_OK);
    for (unsigned i = 0; i < 200 && named(leader, whom) != raise; i++)
        node_cluster_step(&c);
    assert_true(named(leader, whom) == raise);
}

static enum status move_lead(unsigned from, unsigned to)
{
    return node_transfer_leader(c.nodes[from].node, to + 1, INT64_MAX, on_done, NULL, NULL);
}

static bool leads(unsigned i)
{
    struct raft_status st;

    node_get_raft_status(c.nodes[i].node, &st);
    return st.role == RAFT_LEADER;
}

static void a_named_member_gives_the_lead_away_and_does_not_get_it_back(void **state)
{
    unsigned first, second, third;

    (void)state;
    node_cluster_init(&c, 41);
    first = node_cluster_elect(&c);
    node_cluster_write(&c, 20);
    name(first, true);
    for (unsigned i = 0; i < 300 && leads(first); i++)
        node_cluster_step(&c);
    second = node_cluster_elect(&c);
    assert_true(second != first);
    third = NODES - first - second;
    node_cluster_steps(&c, 300);
    assert_true(leads(second)); /* all is quiet */
    assert_int_equal(move_lead(second, first), ST_BAD_TRANSFEREE);
    assert_int_equal(node_heir(c.nodes[second].node), third + 1);
    /* Of the two that are left one may lead, and the other one's vote lets it. */
    node_cluster_kill(&c, second);
    assert_int_equal(node_cluster_elect(&c), third);
    node_cluster_start(&c, second);
    node_cluster_steps(&c, 300);
    /* When an operator ends the alarm it is one like all others. */
    name(first, false);
    node_cluster_steps(&c, 100);
    assert_int_equal(move_lead(node_cluster_elect(&c), first), ST_OK);
    for (unsigned i = 0; i < 300 && !leads(first); i++)
        node_cluster_step(&c);
    assert_true(leads(first));
    node_cluster_write(&c, 20);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

/* Else nobody could end the alarms. */
static void if_all_are_named_one_of_them_leads(void **state)
{
    unsigned leader;

    (void)state;
    node_cluster_init(&c, 42);
    for (unsigned i = 0; i < NODES; i++)
        name(i, true);
    node_cluster_steps(&c, 300);
    leader = node_cluster_elect(&c);
    assert_int_equal(move_lead(leader, (leader + 1) % NODES), ST_OK);
    node_cluster_steps(&c, 100);
    node_cluster_kill(&c, node_cluster_elect(&c));
    node_cluster_elect(&c);
    for (unsigned i = 0; i < NODES; i++)
        name(i, false);
    node_cluster_fini(&c);
}

static unsigned chunks_of[NODES + 1];

static void listen(struct snapshot_message *m, uint8_t *data)
{
    (void)data;
    chunks_of[m->from] += m->type == SNAPSHOT_OFFER || m->type == SNAPSHOT_CHUNK || m->type == SNAPSHOT_END;
}

static void it_sends_no_snapshot_and_ends_one_under_way(void **state)
{
    unsigned leader, behind, third, before;

    (void)state;
    node_cluster_init(&c, 43);
    leader = node_cluster_elect(&c);
    behind = (leader + 1) % NODES;
    third = (leader + 2) % NODES;
    node_cluster_write(&c, 30);
    node_cluster_kill(&c, behind);
    node_cluster_write(&c, 1500);
    name(third, true);
    node_cluster_start(&c, behind);
    c.nodes[behind].no_jobs = true; /* so that it is under way for a while */
    c.tamper_fn = listen;
    node_cluster_steps(&c, 60);
    assert_true(leads(leader));
    assert_true(chunks_of[leader + 1] > 1);
    /* There is no heir: one lacks what it takes, one is named itself. */
    name(leader, true);
    node_cluster_step(&c);
    before = chunks_of[leader + 1];
    c.nodes[behind].no_jobs = false;
    node_cluster_steps(&c, 1500);
    assert_true(leads(leader));
    assert_int_equal(chunks_of[leader + 1], before);
    assert_int_equal(c.nodes[behind].installed, 0);
    /* The third one leads as soon as it may, and has what the other lacks. */
    name(third, false);
    for (unsigned i = 0; i < 3000 && mvcc_revision(c.nodes[behind].store) < mvcc_revision(c.nodes[third].store); i++)
        node_cluster_step(&c);
    assert_true(leads(third));
    assert_int_equal(mvcc_revision(c.nodes[behind].store), mvcc_revision(c.nodes[third].store));
    name(leader, false);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

/* Else nobody could end the alarms, or remove who is gone. */
static void if_nobody_else_can_a_named_one_leads_after_a_while(void **state)
{
    unsigned leader, away, third;

    (void)state;
    node_cluster_init(&c, 44);
    leader = node_cluster_elect(&c);
    away = (leader + 1) % NODES;
    third = (leader + 2) % NODES;
    node_cluster_write(&c, 30);
    node_cluster_kill(&c, away);
    name(leader, true);
    name(third, true);
    node_cluster_kill(&c, third);
    node_cluster_kill(&c, leader);
    node_cluster_start(&c, leader);
    node_cluster_start(&c, third);
    node_cluster_elect(&c);
    node_cluster_steps(&c, 300);
    /* It gives way to one that is not named. */
    node_cluster_start(&c, away);
    for (unsigned i = 0; i < 3000 && !leads(away); i++)
        node_cluster_step(&c);
    assert_true(leads(away));
    name(leader, false);
    name(third, false);
    node_cluster_converge(&c);
    node_cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_named_member_gives_the_lead_away_and_does_not_get_it_back),
        cmocka_unit_test(if_all_are_named_one_of_them_leads),
        cmocka_unit_test(it_sends_no_snapshot_and_ends_one_under_way),
        cmocka_unit_test(if_nobody_else_can_a_named_one_leads_after_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
