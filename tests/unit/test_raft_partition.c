/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leader whenever some node reaches a quorum: the three partial partitions of the Omni-Paxos paper, and any others, over
 * many seeds. A message takes half a tick, a twentieth of an election timeout.
 */
#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/raft_cluster.h"

#define TIMEOUT 10u /* ticks, as in raft_cluster.c */

static struct cluster c; /* large */
static unsigned slowest; /* ticks, of all runs since it was zeroed */

static raft_term term_of(unsigned i)
{
    struct raft_status st;

    raft_get_status(c.nodes[i].raft, &st);
    return st.hard.term;
}

static bool leads(unsigned i)
{
    struct raft_status st;

    raft_get_status(c.nodes[i].raft, &st);
    return st.role == RAFT_LEADER;
}

/* What was sent before arrives, in any order. */
static void half_a_tick(void)
{
    size_t due;

    for (due = c.pool_count; due > 0; due--) {
        size_t at = (size_t)rng_below(&c.rng, due);
        struct raft_message last = c.pool[due - 1];
        c.pool[due - 1] = c.pool[at];
        c.pool[at] = last;
        if (c.cut[c.pool[due - 1].from - 1][c.pool[due - 1].to - 1])
            cluster_drop(&c, due - 1);
        else
            cluster_deliver(&c, due - 1, false);
    }
    for (unsigned i = 0; i < c.n; i++)
        cluster_run(&c, i, true);
}

static void tick(void)
{
    half_a_tick();
    for (unsigned i = 0; i < c.n; i++) {
        cluster_tick(&c, i);
        cluster_run(&c, i, true);
    }
    half_a_tick();
}

static void link_is(unsigned a, unsigned b, bool up)
{
    c.cut[a][b] = c.cut[b][a] = !up;
}

static void all_links_are(bool up)
{
    for (unsigned i = 0; i < c.n; i++)
        for (unsigned k = 0; k < i; k++)
            link_is(i, k, up);
}

/* A leader that has been one for a while, at a random moment of its heartbeats and everybody's timers. */
static unsigned begin(unsigned n, uint64_t seed)
{
    c.message_bytes_max = 1024;
    cluster_init(&c, n, seed);
    while (cluster_leader(&c) < 0)
        tick();
    for (uint64_t more = TIMEOUT + rng_below(&c.rng, 3 * TIMEOUT); more > 0; more--)
        tick();
    return (unsigned)cluster_leader(&c);
}

/* Entries that only the leader and some others have, and that may or may not be committed. */
static void write_behind_the_back_of(unsigned node, unsigned leader)
{
    for (unsigned i = 0; i < c.n; i++)
        if (i == node || (i != leader && rng_below(&c.rng, 3) == 0))
            link_is(leader, i, false);
    for (uint64_t more = 2 + rng_below(&c.rng, 4); more > 0; more--) {
        cluster_propose(&c, leader, "behind the back");
        tick();
    }
}

/* Ticks until something that was proposed from now on is committed. */
static unsigned ticks_until_it_works(void)
{
    raft_index before = c.committed_last;
    raft_term asked[CLUSTER_NODES_MAX] = {0}; /* each leader once a term */
    unsigned ticks = 0;

    for (; ticks < 40 * TIMEOUT; ticks++) {
        struct raft_entry *e = c.committed[c.committed_last];
        if (c.committed_last > before && e->len == 4 && !memcmp(e->data, "work", 4))
            break;
        for (unsigned i = 0; i < c.n; i++)
            if (leads(i) && asked[i] != term_of(i) && cluster_propose(&c, i, "work"))
                asked[i] = term_of(i);
        tick();
    }
    if (ticks > slowest)
        slowest = ticks;
    return ticks;
}

/* Leaders change no more: neither to and fro, nor in circles. */
static void check_it_is_quiet(void)
{
    int leader = cluster_leader(&c);
    raft_term term = term_of((unsigned)leader);

    for (unsigned i = 0; i < 20 * TIMEOUT; i++)
        tick();
    assert_int_equal(cluster_leader(&c), leader);
    assert_int_equal(term_of((unsigned)leader), term);
}

/* Everybody reaches the hub, and nobody else; the leader, if it lives, reaches it too, and has no quorum any more. */
static void quorum_loss(uint64_t seed, unsigned n)
{
    unsigned leader = begin(n, seed), hub = (leader + 1 + (unsigned)rng_below(&c.rng, n - 1)) % n;

    all_links_are(false);
    for (unsigned i = 0; i < n; i++)
        if (i != hub)
            link_is(hub, i, true);
    assert_true(ticks_until_it_works() <= 4 * TIMEOUT);
    assert_int_equal(cluster_leader(&c), (int)hub);
    check_it_is_quiet();
    cluster_fini(&c);
}

static void when_the_leader_loses_its_quorum_the_hub_is_elected(void **state)
{
    (void)state;
    slowest = 0;
    for (uint64_t seed = 1; seed <= 400; seed++)
        quorum_loss(seed * 7, seed % 4 ? 5 : 7);
    print_message("slowest: %u ticks of %u\n", slowest, 4 * TIMEOUT);
}

/* The same, but the leader is gone, and others have entries that the hub has not. */
static unsigned constrained(uint64_t seed, unsigned n)
{
    unsigned leader = begin(n, seed), hub = (leader + 1 + (unsigned)rng_below(&c.rng, n - 1)) % n, ticks;

    write_behind_the_back_of(hub, leader);
    all_links_are(false);
    for (unsigned i = 0; i < n; i++)
        if (i != hub && i != leader)
            link_is(hub, i, true);
    ticks = ticks_until_it_works();
    if (ticks <= 4 * TIMEOUT) {
        assert_true(leads(hub));
        check_it_is_quiet();
    }
    return ticks;
}

static void a_hub_that_lacks_entries_fetches_them_and_is_elected(void **state)
{
    (void)state;
    slowest = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        assert_true(constrained(seed * 11, seed % 4 ? 5 : 7) <= 4 * TIMEOUT);
        cluster_fini(&c);
    }
    print_message("slowest: %u ticks of %u\n", slowest, 4 * TIMEOUT);
}

/* So that we know what the rule is good for. */
static void without_that_rule_nobody_is_elected(void **state)
{
    unsigned stuck = 0;

    (void)state;
    c.no_pull = true;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        stuck += constrained(seed * 11, 5) == 40 * TIMEOUT;
        cluster_fini(&c);
    }
    c.no_pull = false;
    assert_true(stuck > 20);
}

/* The entries of the hub are many, and not the right ones: it goes back to where the logs agree, in many messages. */
static void a_hub_replaces_what_was_never_committed(void **state)
{
    unsigned replaced = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        unsigned old = begin(5, seed * 13), hub = old, next, others = 0;
        raft_index last;
        struct raft_status st;
        for (unsigned i = 0; i < 5; i++) /* the hub is a leader that nobody hears */
            if (i != hub)
                link_is(hub, i, false);
        for (int k = 0; k < 20; k++)
            cluster_propose(&c, hub, "never");
        while (cluster_leader(&c) < 0 || leads(old)) /* it finds out */
            tick();
        next = (unsigned)cluster_leader(&c);
        for (int k = 0; k < 15; k++) {
            cluster_propose(&c, next, "for ever");
            tick();
        }
        raft_get_status(c.nodes[hub].raft, &st);
        last = st.last;
        all_links_are(false);
        for (unsigned i = 0; i < 5; i++)
            if (i != hub && i != next)
                link_is(hub, i, others++ < 5);
        assert_true(ticks_until_it_works() <= 4 * TIMEOUT);
        raft_get_status(c.nodes[hub].raft, &st);
        assert_int_equal(st.role, RAFT_LEADER);
        replaced += st.last != last;
        for (unsigned i = 0; i < 5; i++)
            if (i != next)
                assert_true(c.nodes[i].applied + 1 >= c.committed_last);
        cluster_fini(&c);
    }
    assert_int_equal(replaced, 100);
}

/* Entries first, first + 1, ... of these terms from node 3 to node 1, with what the type needs beside. */
static void hear(struct raft_message m, const char *terms)
{
    struct raft_entry *list[8];

    for (m.entry_count = 0; terms[m.entry_count]; m.entry_count++) {
        struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 1);
        e->term = (raft_term)(terms[m.entry_count] - '0');
        e->index = m.index + 1 + m.entry_count;
        e->data[0] = 'x';
        list[m.entry_count] = e;
    }
    m.to = 1;
    m.entries = list;
    assert_int_equal(raft_step(c.nodes[0].raft, &m), ST_OK);
    for (size_t i = 0; i < m.entry_count; i++)
        raft_entry_unref(list[i]);
    cluster_run(&c, 0, true);
}

/* Node 1 at term 3, with a log of these terms that leader 2 knows of, was refused by node 3 for a log that ends at 5@2. */
static void become_one_that_pulls(const char *terms)
{
    struct raft_message heartbeat = {.type = RAFT_MSG_APPEND, .from = 2, .term = 3};
    struct raft_message refusal = {.type = RAFT_MSG_PRE_VOTE_RESPONSE, .from = 3, .term = 3, .reject = true};
    struct raft_status st;

    cluster_init(&c, 3, 23);
    hear(heartbeat, terms);
    do {
        cluster_tick(&c, 0);
        cluster_run(&c, 0, true);
        raft_get_status(c.nodes[0].raft, &st);
    } while (st.role != RAFT_PRE_CANDIDATE);
    while (c.pool_count)
        cluster_drop(&c, 0);
    refusal.index = 5;
    refusal.log_term = terms[1] == '3' ? 3 : 2;
    hear(refusal, "");
    assert_int_equal(c.pool_count, 1);
    assert_int_equal(c.pool[0].type, RAFT_MSG_PULL);
    assert_int_equal(c.pool[0].to, 3);
    assert_int_equal(c.pool[0].index, 2);
}

static void an_older_log_replaces_nothing(void **state)
{
    struct raft_message late = {.type = RAFT_MSG_PULL_RESPONSE, .from = 3, .term = 3, .index = 1};
    struct raft_status st;

    (void)state;
    become_one_that_pulls("13");
    late.reject = true;
    late.index = 2;
    late.hint_index = 1;
    late.hint_term = 1;
    hear(late, ""); /* the logs part behind 1 */
    late.reject = false;
    late.index = 1;
    late.log_term = 1;
    late.hint_index = 4;
    late.hint_term = 2; /* longer, but of an older term */
    hear(late, "222");
    raft_get_status(c.nodes[0].raft, &st);
    assert_int_equal(st.last, 2);
    assert_int_equal(st.last_term, 3);
    cluster_fini(&c);
}

static void who_replaces_what_it_told_a_leader_enters_a_later_term(void **state)
{
    struct raft_message m = {.type = RAFT_MSG_PULL_RESPONSE, .from = 3, .term = 3, .reject = true};
    struct raft_status st;

    (void)state;
    become_one_that_pulls("11");
    m.index = 2;
    m.hint_index = 1;
    m.hint_term = 1;
    hear(m, "");
    m.reject = false;
    m.index = 1;
    m.log_term = 1;
    m.hint_index = 5;
    m.hint_term = 2;
    hear(m, "222");
    raft_get_status(c.nodes[0].raft, &st);
    assert_int_equal(st.last, 4);
    assert_int_equal(st.last_term, 2);
    assert_int_equal(st.hard.term, 4);
    assert_int_equal(c.pool[c.pool_count - 1].type, RAFT_MSG_PULL); /* and goes on */
    assert_int_equal(c.pool[c.pool_count - 1].index, 4);
    cluster_fini(&c);
}

static void chained(uint64_t seed, unsigned n)
{
    unsigned leader = begin(n, seed);
    raft_term term = term_of(leader);
    unsigned hub = (leader + 1) % n;

    /* leader - hub - all others: nobody but the hub, and with three nodes the leader, reaches a quorum. */
    if (n == 3) {
        link_is(leader, (leader + 2) % 3, false);
        for (unsigned i = 0; i < 40 * TIMEOUT; i++)
            tick();
        assert_true(leads(leader));
        assert_int_equal(term_of(leader), term);
        assert_true(ticks_until_it_works() <= TIMEOUT);
        cluster_fini(&c);
        return;
    }
    /* A chain of all of them, the leader anywhere in it: the inner nodes reach three. */
    hub = (unsigned)rng_below(&c.rng, n);
    all_links_are(false);
    for (unsigned i = 0; i + 1 < n; i++)
        link_is((hub + i) % n, (hub + i + 1) % n, true);
    assert_true(ticks_until_it_works() <= 4 * TIMEOUT);
    check_it_is_quiet();
    cluster_fini(&c);
}

static void in_a_chain_one_leads_and_leadership_does_not_go_to_and_fro(void **state)
{
    (void)state;
    slowest = 0;
    for (uint64_t seed = 1; seed <= 200; seed++)
        chained(seed * 17, seed % 2 ? 3 : 5);
    print_message("slowest: %u ticks of %u\n", slowest, 4 * TIMEOUT);
}

/* 3 - 1 - 2 - 4: the inner ones reach a quorum each, take each other's votes, and would again and again by chance. */
static void of_two_candidates_that_split_the_votes_the_greater_one_asks_again_first(void **state)
{
    unsigned ticks;

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        begin(4, seed * 29);
        all_links_are(false);
        while (cluster_leader(&c) >= 0)
            tick();
        for (unsigned i = 0; i < 2 * TIMEOUT; i++) /* nobody is in a lease any more */
            tick();
        link_is(0, 2, true);
        link_is(0, 1, true);
        link_is(1, 3, true);
        raft_campaign(c.nodes[0].raft);
        raft_campaign(c.nodes[1].raft);
        for (ticks = 0; cluster_leader(&c) < 0; ticks++)
            tick();
        assert_int_equal(cluster_leader(&c), 1);
        assert_true(ticks <= TIMEOUT);
        cluster_fini(&c);
    }
}

/* What node 1 asked for in this tick: node 3 refuses it at once, and 2 grants it, votes and pre-votes, so many ticks later. */
static void answer_late(unsigned now, unsigned late, struct raft_message *grants, unsigned *due)
{
    while (c.pool_count) {
        struct raft_message m = c.pool[0], answer = {.from = m.to, .to = 1, .term = m.term, .type = m.type + 1};
        cluster_drop(&c, 0);
        if (m.from != 1 || (m.type != RAFT_MSG_VOTE && m.type != RAFT_MSG_PRE_VOTE))
            continue;
        if (m.to == 2) {
            grants[now + late] = answer;
            due[now + late] = true;
        } else {
            answer.reject = true;
            answer.term -= m.type == RAFT_MSG_PRE_VOTE;
            hear(answer, "");
        }
    }
    if (due[now])
        hear(grants[now], "");
}

/* A member that lost its log refuses all, always; the other's disk is slow. Who gives its elections up too early is never elected. */
static void a_vote_behind_a_slow_disk_is_waited_for(void **state)
{
    (void)state;
    for (unsigned late = 1; late < TIMEOUT; late++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct raft_message grants[12 * TIMEOUT] = {{0}};
            unsigned now = 0, due[12 * TIMEOUT] = {0};
            cluster_init(&c, 3, seed);
            for (; !leads(0); now++) {
                assert_true(now < 10 * TIMEOUT);
                cluster_tick(&c, 0);
                cluster_run(&c, 0, true);
                answer_late(now, late, grants, due);
            }
            cluster_fini(&c);
        }
}

static bool somebody_reaches_a_quorum(void)
{
    for (unsigned i = 0; i < c.n; i++) {
        unsigned reached = 0;
        for (unsigned k = 0; k < c.n; k++)
            reached += k == i || !(c.cut[i][k] || c.cut[k][i]);
        if (2 * reached > c.n)
            return true;
    }
    return false;
}

static void any_partition_in_which_somebody_reaches_a_quorum_has_a_leader(void **state)
{
    unsigned runs = 0;

    (void)state;
    slowest = 0;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        unsigned leader = begin(seed % 3 ? 5 : 3, seed * 19);
        if (seed % 2)
            write_behind_the_back_of((leader + 1) % c.n, leader);
        for (unsigned i = 0; i < c.n; i++) /* links, both ways; sometimes one way only */
            for (unsigned k = 0; k < i; k++) {
                link_is(i, k, rng_below(&c.rng, 2));
                if (rng_below(&c.rng, 8) == 0)
                    c.cut[i][k] = !c.cut[i][k];
            }
        if (somebody_reaches_a_quorum()) {
            runs++;
            assert_true(ticks_until_it_works() <= 4 * TIMEOUT);
            check_it_is_quiet();
        }
        cluster_fini(&c);
    }
    assert_true(runs > 1000);
    print_message("slowest: %u ticks, %u runs\n", slowest, runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_the_leader_loses_its_quorum_the_hub_is_elected),
        cmocka_unit_test(a_hub_that_lacks_entries_fetches_them_and_is_elected),
        cmocka_unit_test(without_that_rule_nobody_is_elected),
        cmocka_unit_test(a_hub_replaces_what_was_never_committed),
        cmocka_unit_test(an_older_log_replaces_nothing),
        cmocka_unit_test(who_replaces_what_it_told_a_leader_enters_a_later_term),
        cmocka_unit_test(in_a_chain_one_leads_and_leadership_does_not_go_to_and_fro),
        cmocka_unit_test(of_two_candidates_that_split_the_votes_the_greater_one_asks_again_first),
        cmocka_unit_test(a_vote_behind_a_slow_disk_is_waited_for),
        cmocka_unit_test(any_partition_in_which_somebody_reaches_a_quorum_has_a_leader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
