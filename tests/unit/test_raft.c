/* SPDX-License-Identifier: Apache-2.0 */
/* The consensus core: what must happen, and, by chance, what must never happen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/raft_cluster.h"

static struct cluster c; /* large */

static void a_single_node_leads_and_commits_alone(void **state)
{
    (void)state;
    cluster_init(&c, 1, 1);
    raft_campaign(c.nodes[0].raft);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), 0);
    assert_true(cluster_propose(&c, 0, "a"));
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 2); /* a new leader's no-op, and ours */
    cluster_fini(&c);
}

static void an_entry_is_not_committed_before_the_own_disk_has_it(void **state)
{
    (void)state;
    cluster_init(&c, 1, 1);
    raft_campaign(c.nodes[0].raft);
    cluster_settle(&c);
    assert_true(cluster_propose(&c, 0, "a"));
    cluster_run(&c, 0, false);
    assert_int_equal(c.committed_last, 1);
    cluster_store_one(&c, 0);
    cluster_run(&c, 0, false);
    assert_int_equal(c.committed_last, 2);
    cluster_fini(&c);
}

static void three_nodes_elect_a_leader_and_replicate(void **state)
{
    int leader;

    (void)state;
    cluster_init(&c, 3, 7);
    assert_true(cluster_elect(&c) <= 20);
    leader = cluster_leader(&c);
    for (int i = 0; i < 50; i++)
        assert_true(cluster_propose(&c, (unsigned)leader, "value"));
    cluster_settle(&c);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(c.nodes[i].applied, 51);
    cluster_fini(&c);
}

static void a_follower_forwards_proposals_to_the_leader(void **state)
{
    unsigned follower;

    (void)state;
    cluster_init(&c, 3, 3);
    cluster_elect(&c);
    follower = ((unsigned)cluster_leader(&c) + 1) % 3;
    assert_true(cluster_propose(&c, follower, "from afar"));
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 2);
    cluster_fini(&c);
}

static void a_leader_that_hears_no_quorum_steps_down(void **state)
{
    unsigned leader;

    (void)state;
    cluster_init(&c, 3, 5);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    cluster_isolate(&c, leader, true);
    cluster_tick_all(&c, 25);
    assert_int_not_equal(cluster_status(&c, leader).role, RAFT_LEADER);
    assert_int_not_equal(cluster_leader(&c), (int)leader);
    assert_true(cluster_leader(&c) >= 0);
    cluster_fini(&c);
}

static void a_node_that_was_cut_off_does_not_disturb_when_it_returns(void **state)
{
    unsigned leader, other;
    raft_term term;

    (void)state;
    cluster_init(&c, 3, 11);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    other = (leader + 1) % 3;
    term = cluster_status(&c, leader).hard.term;
    cluster_isolate(&c, other, true);
    cluster_tick_all(&c, 100);
    assert_int_equal(cluster_status(&c, other).hard.term, term); /* pre-votes do not move the term */
    cluster_isolate(&c, other, false);
    cluster_tick_all(&c, 30);
    assert_int_equal(cluster_leader(&c), (int)leader);
    assert_int_equal(cluster_status(&c, leader).hard.term, term);
    cluster_fini(&c);
}

static void what_a_deposed_leader_wrote_alone_is_replaced(void **state)
{
    unsigned old;

    (void)state;
    cluster_init(&c, 3, 13);
    cluster_elect(&c);
    old = (unsigned)cluster_leader(&c);
    cluster_isolate(&c, old, true);
    for (int i = 0; i < 20; i++)
        cluster_propose(&c, old, "lost");
    cluster_settle(&c);
    cluster_tick_all(&c, 40);
    assert_true(cluster_propose(&c, (unsigned)cluster_leader(&c), "kept"));
    cluster_settle(&c);
    cluster_isolate(&c, old, false);
    cluster_tick_all(&c, 40);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(cluster_status(&c, i).last, cluster_status(&c, 0).last);
        assert_int_equal(c.nodes[i].applied, c.committed_last);
    }
    cluster_fini(&c);
}

static void a_deposed_leader_answers_no_read(void **state)
{
    unsigned old;

    (void)state;
    cluster_init(&c, 3, 17);
    cluster_elect(&c);
    old = (unsigned)cluster_leader(&c);
    cluster_settle(&c);
    /* It does not know yet that it is cut off. */
    cluster_isolate(&c, old, true);
    cluster_ask(&c, old);
    cluster_settle(&c);
    assert_int_equal(c.reads_answered, 0);
    cluster_tick_all(&c, 40);
    assert_int_equal(c.reads_answered, 0);
    cluster_fini(&c);
}

/* etcd 21399: answers to heartbeats of before the question confirm nothing. */
static void late_answers_to_older_heartbeats_confirm_no_newer_read(void **state)
{
    unsigned leader;
    size_t kept = 0;

    (void)state;
    cluster_init(&c, 3, 19);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    cluster_ask(&c, leader);
    cluster_run(&c, leader, true);
    for (size_t i = 0; i < c.pool_count; i++)
        cluster_deliver(&c, i, true); /* heartbeats arrive and stay to be delivered again */
    for (unsigned i = 0; i < 3; i++)
        if (i != leader)
            cluster_run(&c, i, true);
    /* The answers are held up; meanwhile a second read is asked. */
    for (size_t i = 0; i < c.pool_count; i++)
        kept += c.pool[i].type == RAFT_MSG_HEARTBEAT_RESPONSE;
    assert_int_equal(kept, 2);
    cluster_ask(&c, leader);
    cluster_run(&c, leader, true);
    for (size_t i = 0; i < c.pool_count;)
        if (c.pool[i].type == RAFT_MSG_HEARTBEAT_RESPONSE)
            cluster_deliver(&c, i, false);
        else
            cluster_drop(&c, i);
    cluster_run(&c, leader, true);
    assert_int_equal(c.reads_answered, 1);
    cluster_fini(&c);
}

static void a_new_leader_answers_reads_only_after_committing_in_its_term(void **state)
{
    struct raft *r;

    (void)state;
    cluster_init(&c, 3, 23);
    cluster_elect(&c);
    cluster_crash(&c, (unsigned)cluster_leader(&c));
    for (int t = 0; t < 200 && cluster_leader(&c) < 0; t++) {
        for (unsigned i = 0; i < 3; i++)
            cluster_tick(&c, i);
        /* Votes pass, appends do not. */
        for (unsigned i = 0; i < 3; i++)
            cluster_run(&c, i, true);
        for (size_t i = 0; i < c.pool_count;)
            if (c.pool[i].type == RAFT_MSG_APPEND)
                cluster_drop(&c, i);
            else
                cluster_deliver(&c, i, false);
    }
    assert_true(cluster_leader(&c) >= 0);
    r = c.nodes[cluster_leader(&c)].raft;
    (void)r;
    cluster_ask(&c, (unsigned)cluster_leader(&c));
    for (int round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 3; i++)
            cluster_run(&c, i, true);
        for (size_t i = 0; i < c.pool_count;)
            if (c.pool[i].type == RAFT_MSG_APPEND)
                cluster_drop(&c, i);
            else
                cluster_deliver(&c, i, false);
    }
    assert_int_equal(c.reads_answered, 0);
    cluster_tick_all(&c, 5);
    assert_int_equal(c.reads_answered, 1);
    cluster_fini(&c);
}

static void leadership_can_be_handed_over(void **state)
{
    unsigned leader, heir;

    (void)state;
    cluster_init(&c, 3, 29);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    heir = (leader + 1) % 3;
    assert_int_equal(raft_transfer_leader(c.nodes[leader].raft, heir + 1), ST_OK);
    assert_false(cluster_propose(&c, leader, "not now"));
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), (int)heir);
    cluster_fini(&c);
}

static size_t find_message(enum raft_message_type type)
{
    for (size_t i = 0; i < c.pool_count; i++)
        if (c.pool[i].type == type)
            return i;
    fail_msg("no message of type %d", type);
    return 0;
}

static void a_forwarded_proposal_that_arrives_twice_is_appended_once(void **state)
{
    unsigned follower;

    (void)state;
    cluster_init(&c, 3, 37);
    cluster_elect(&c);
    follower = ((unsigned)cluster_leader(&c) + 1) % 3;
    assert_true(cluster_propose(&c, follower, "once"));
    cluster_run(&c, follower, true);
    for (int i = 0; i < 3; i++)
        cluster_deliver(&c, find_message(RAFT_MSG_PROPOSE), true);
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 2);
    /* A new life of the follower counts from the beginning, and is heard. */
    cluster_crash(&c, follower);
    cluster_restart(&c, follower);
    cluster_tick_all(&c, 3);
    assert_true(cluster_propose(&c, follower, "again"));
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 3);
    cluster_fini(&c);
}

/* A follower's proposal on its way to the leader, who is about to hand over to the other follower. */
static unsigned propose_into_a_transfer(bool cut_heir, unsigned *ret_heir)
{
    unsigned leader, follower;

    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    *ret_heir = (leader + 1) % 3;
    follower = (leader + 2) % 3;
    if (cut_heir)
        cluster_isolate(&c, *ret_heir, true);
    assert_true(cluster_propose(&c, follower, "kept"));
    cluster_run(&c, follower, true);
    assert_int_equal(raft_transfer_leader(c.nodes[leader].raft, *ret_heir + 1), ST_OK);
    return leader;
}

static void an_heir_that_cannot_lead_is_not_waited_for(void **state)
{
    unsigned leader, heir;

    (void)state;
    cluster_init(&c, 3, 43);
    leader = propose_into_a_transfer(false, &heir);
    raft_set_fitness(c.nodes[heir].raft, RAFT_UNFIT);
    assert_int_equal(cluster_status(&c, leader).transferee, heir + 1);
    cluster_settle(&c); /* without a tick */
    assert_int_equal(cluster_leader(&c), (int)leader);
    assert_int_equal(cluster_status(&c, leader).transferee, 0);
    assert_int_equal(c.committed_last, 2); /* its no-op, and what it had kept for the heir */
    raft_set_fitness(c.nodes[heir].raft, RAFT_FIT);
    assert_int_equal(raft_transfer_leader(c.nodes[leader].raft, heir + 1), ST_OK);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), (int)heir);
    cluster_fini(&c);
}

static void a_proposal_that_meets_a_transfer_is_the_next_leaders_once(void **state)
{
    unsigned heir;

    (void)state;
    cluster_init(&c, 3, 43);
    propose_into_a_transfer(false, &heir);
    for (int i = 0; i < 3; i++)
        cluster_deliver(&c, find_message(RAFT_MSG_PROPOSE), true);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), (int)heir);
    assert_int_equal(c.committed_last, 3); /* two no-ops, and it */
    cluster_fini(&c);
}

static void a_proposal_that_comes_just_after_its_leader_went_is_the_next_ones_once(void **state)
{
    unsigned heir, leader;

    (void)state;
    cluster_init(&c, 3, 44);
    leader = propose_into_a_transfer(false, &heir);
    /* Everything but the proposal. */
    for (int round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 3; i++)
            cluster_run(&c, i, true);
        for (size_t i = 0; i < c.pool_count;)
            if (c.pool[i].type == RAFT_MSG_PROPOSE)
                i++;
            else
                cluster_deliver(&c, i, false);
    }
    assert_int_equal(cluster_leader(&c), (int)heir);
    assert_int_equal(cluster_status(&c, leader).role, RAFT_FOLLOWER);
    for (int i = 0; i < 3; i++)
        cluster_deliver(&c, find_message(RAFT_MSG_PROPOSE), true);
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 3);
    cluster_fini(&c);
}

static void a_proposal_kept_for_a_transfer_that_fails_is_appended_after_all(void **state)
{
    unsigned heir, leader;

    (void)state;
    cluster_init(&c, 3, 45);
    leader = propose_into_a_transfer(true, &heir);
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 1);
    cluster_tick_all(&c, 11);
    assert_int_equal(cluster_leader(&c), (int)leader);
    assert_int_equal(cluster_status(&c, leader).transferee, 0);
    assert_int_equal(c.committed_last, 2);
    cluster_fini(&c);
}

/* uncommitted_bytes_max bounds these as well: here it is 4096. */
static void no_more_proposals_are_kept_than_may_be_uncommitted(void **state)
{
    unsigned heir, leader;
    char text[200] = "";
    raft_index before;

    (void)state;
    cluster_init(&c, 3, 46);
    leader = propose_into_a_transfer(true, &heir);
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 100; i++)
        assert_true(cluster_propose(&c, (leader + 2) % 3, text));
    cluster_settle(&c);
    before = c.committed_last;
    cluster_tick_all(&c, 11);
    assert_true(c.committed_last > before);
    assert_true(c.committed_last - before <= 4096 / (sizeof text - 1));
    cluster_fini(&c);
}

static void a_late_proposal_of_an_older_term_is_not_appended(void **state)
{
    unsigned leader, heir;
    struct raft_message late;
    raft_index before;

    (void)state;
    cluster_init(&c, 3, 41);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    heir = (leader + 1) % 3;
    assert_true(cluster_propose(&c, heir, "once"));
    cluster_run(&c, heir, true);
    cluster_deliver(&c, find_message(RAFT_MSG_PROPOSE), true);
    late = c.pool[find_message(RAFT_MSG_PROPOSE)];
    c.pool[find_message(RAFT_MSG_PROPOSE)] = c.pool[c.pool_count - 1];
    c.pool_count--;
    cluster_settle(&c);
    assert_int_equal(raft_transfer_leader(c.nodes[leader].raft, heir + 1), ST_OK);
    cluster_settle(&c);
    assert_int_equal(raft_transfer_leader(c.nodes[heir].raft, leader + 1), ST_OK);
    cluster_settle(&c);
    assert_int_equal(cluster_leader(&c), (int)leader);
    before = c.committed_last;
    assert_int_equal(raft_step(c.nodes[leader].raft, &late), ST_NO_LEADER);
    cluster_settle(&c);
    assert_int_equal(c.committed_last, before);
    raft_entry_unref(late.entries[0]);
    free(late.entries);
    cluster_fini(&c);
}

static void forwarded_proposals_travel_in_messages_of_bounded_size(void **state)
{
    unsigned follower, messages = 0;

    (void)state;
    cluster_init(&c, 3, 43);
    cluster_elect(&c);
    follower = ((unsigned)cluster_leader(&c) + 1) % 3;
    for (int i = 0; i < 20; i++)
        assert_true(cluster_propose(&c, follower, "0123456789"));
    cluster_run(&c, follower, true);
    for (size_t i = 0; i < c.pool_count; i++) {
        messages += c.pool[i].type == RAFT_MSG_PROPOSE;
        assert_true(c.pool[i].entry_count <= 1); /* two are more than message_bytes_max */
    }
    assert_int_equal(messages, 20);
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 21);
    cluster_fini(&c);
}

/* An append of `count` entries of one term behind index 0, from a leader of that or a later term. */
static void append_from(struct raft *r, raft_id from, raft_term term, raft_term entry_term, size_t count,
                        raft_index commit)
{
    struct raft_entry *list[4];
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = from, .to = 1, .term = term, .commit = commit};

    for (size_t i = 0; i < count; i++) {
        list[i] = raft_entry_new(RAFT_ENTRY_NORMAL, 1);
        list[i]->term = entry_term;
        list[i]->index = i + 1;
        list[i]->data[0] = (uint8_t)i;
    }
    m.entries = list;
    m.entry_count = count;
    assert_int_equal(raft_step(r, &m), ST_OK);
    for (size_t i = 0; i < count; i++)
        raft_entry_unref(list[i]);
}

static uint64_t take_batch(struct raft *r, size_t *ret_committed)
{
    struct raft_ready rd = {0};
    raft_index applied;

    assert_true(raft_ready(r, &rd));
    *ret_committed = rd.committed_count;
    applied = rd.committed_count ? rd.committed[rd.committed_count - 1]->index : 0;
    raft_advance(r);
    if (applied)
        raft_applied(r, applied);
    return rd.batch;
}

/* An entry is replaced and brought back while its first life is still with the disk (etcd raft: the ABA of its storage threads). */
static void news_of_a_batch_is_none_of_entries_that_came_back_later(void **state)
{
    struct raft *r;
    uint64_t first, last;
    size_t committed;

    (void)state;
    cluster_init(&c, 3, 47);
    r = c.nodes[0].raft;
    append_from(r, 2, 2, 2, 2, 0);
    first = take_batch(r, &committed);
    append_from(r, 3, 3, 3, 1, 0);
    take_batch(r, &committed);
    append_from(r, 2, 4, 2, 2, 2);
    last = take_batch(r, &committed);
    raft_stored(r, first); /* 2@2 was durable then; the disk is about to replace it by 1@3 */
    assert_int_equal(committed, 0);
    append_from(r, 2, 4, 2, 2, 2); /* something to make a batch of: an answer */
    take_batch(r, &committed);
    assert_int_equal(committed, 0);
    raft_stored(r, last);
    take_batch(r, &committed);
    assert_int_equal(committed, 2);
    cluster_fini(&c);
}

/* The batches of a core until there is none; everything is durable at once. Messages of that type that left, the last one copied. */
static unsigned drain(struct raft *r, enum raft_message_type type, struct raft_message *ret_last)
{
    struct raft_ready rd;
    unsigned found = 0;

    while (raft_ready(r, &rd)) {
        raft_index applied = rd.committed_count ? rd.committed[rd.committed_count - 1]->index : 0;
        for (size_t i = 0; i < rd.message_count + rd.message_after_count; i++) {
            const struct raft_message *m = i < rd.message_count ? &rd.messages[i] :
                                                                  &rd.messages_after_stored[i - rd.message_count];
            if (m->type != type)
                continue;
            found++;
            *ret_last = *m;
        }
        raft_advance(r);
        if (applied)
            raft_applied(r, applied);
        raft_stored(r, rd.batch);
    }
    return found;
}

static void a_follower_acknowledges_no_more_than_was_compared(void **state)
{
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 3, .to = 1, .term = 2, .index = 1, .log_term = 1, .commit = 3};
    struct raft_message answer;

    (void)state;
    cluster_init(&c, 3, 59);
    append_from(c.nodes[0].raft, 2, 1, 1, 3, 0);
    drain(c.nodes[0].raft, RAFT_MSG_APPEND_RESPONSE, &answer);
    assert_int_equal(answer.index, 3);
    /* The new leader has told of entry 1 only: what lies behind may not be its own. */
    assert_int_equal(raft_step(c.nodes[0].raft, &m), ST_OK);
    assert_int_equal(drain(c.nodes[0].raft, RAFT_MSG_APPEND_RESPONSE, &answer), 1);
    assert_false(answer.reject);
    assert_int_equal(answer.index, 1);
    assert_int_equal(cluster_status(&c, 0).hard.commit, 1);
    cluster_fini(&c);
}

/* Raft 5.4.2 and figure 8: an entry of an older term is on a quorum, and yet may be replaced. */
static void an_entry_of_an_older_term_is_not_committed_by_counting(void **state)
{
    struct raft_message vote = {.type = RAFT_MSG_PRE_VOTE_RESPONSE, .from = 2, .to = 1}, m;
    struct raft *r;

    (void)state;
    cluster_init(&c, 3, 61);
    r = c.nodes[0].raft;
    append_from(r, 3, 2, 2, 2, 0);
    drain(r, RAFT_MSG_APPEND_RESPONSE, &m);
    raft_campaign(r);
    vote.term = 3;
    assert_int_equal(raft_step(r, &vote), ST_OK);
    drain(r, RAFT_MSG_VOTE, &m);
    vote.type = RAFT_MSG_VOTE_RESPONSE;
    assert_int_equal(raft_step(r, &vote), ST_OK);
    drain(r, RAFT_MSG_APPEND, &m);
    assert_int_equal(cluster_status(&c, 0).role, RAFT_LEADER);
    assert_int_equal(cluster_status(&c, 0).last, 3); /* two of term 2, the no-op of term 3 */
    m = (struct raft_message){.type = RAFT_MSG_APPEND_RESPONSE, .from = 2, .to = 1, .term = 3, .index = 2};
    assert_int_equal(raft_step(r, &m), ST_OK);
    assert_int_equal(cluster_status(&c, 0).hard.commit, 0);
    m.index = 3;
    assert_int_equal(raft_step(r, &m), ST_OK);
    assert_int_equal(cluster_status(&c, 0).hard.commit, 3);
    cluster_fini(&c);
}

static void a_message_of_an_impossible_term_changes_nothing(void **state)
{
    struct raft_message m = {.from = 2, .to = 1};
    struct raft_ready rd;

    (void)state;
    cluster_init(&c, 3, 53);
    for (int type = 0; type < 40; type++)
        for (unsigned shift = 0; shift < 64; shift++) {
            m.type = (enum raft_message_type)type;
            m.term = UINT64_MAX << shift >> shift;
            if (m.term <= RAFT_TERM_LEAP_MAX && ((type >= 2 && type <= 9) || (type >= 13 && type <= 18) || type == 32 || type == 33))
                continue; /* a term that could be */
            assert_int_equal(raft_step(c.nodes[0].raft, &m), ST_OK);
            assert_int_equal(cluster_status(&c, 0).hard.term, 0);
        }
    assert_false(raft_ready(c.nodes[0].raft, &rd));
    cluster_fini(&c);
}

/* Nothing can be there: what is counted on from such an index goes round. */
static void a_message_of_an_impossible_index_changes_nothing(void **state)
{
    static const enum raft_message_type types[] = {RAFT_MSG_APPEND, RAFT_MSG_HEARTBEAT, RAFT_MSG_SNAPSHOT, RAFT_MSG_VOTE,
                                                   RAFT_MSG_PRE_VOTE, RAFT_MSG_APPEND_RESPONSE};
    struct raft_ready rd;

    (void)state;
    cluster_init(&c, 3, 54);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (unsigned field = 0; field < 3; field++) {
            struct raft_message m = {.type = types[i], .from = 2, .to = 1, .term = 5, .log_term = 4};
            *(field == 0 ? &m.index : field == 1 ? &m.commit : &m.hint_index) = RAFT_NUMBER_MAX + 1;
            assert_int_equal(raft_step(c.nodes[0].raft, &m), ST_OK);
            assert_int_equal(cluster_status(&c, 0).hard.term, 0);
        }
    assert_false(raft_ready(c.nodes[0].raft, &rd));
    cluster_fini(&c);
}

static unsigned proposed; /* in this run */

static void propose_new(unsigned i)
{
    char text[20];

    snprintf(text, sizeof text, "%u", proposed++);
    cluster_propose(&c, i, text);
}

/* Whatever the network did to it: a proposal is committed once, or not at all. */
static void check_none_is_committed_twice(void)
{
    static bool seen[8000];

    memset(seen, 0, sizeof seen);
    for (raft_index i = 1; i <= c.committed_last; i++) {
        const struct raft_entry *e = c.committed[i];
        char text[20] = {0};
        if (!e->len || e->data[0] == 'a')
            continue; /* a no-op, or the one after the storm */
        memcpy(text, e->data, e->len);
        assert_false(seen[atoi(text)]);
        seen[atoi(text)] = true;
    }
}

/* Anything at all, in any order: nothing unsafe may follow, and when it stops the cluster works. */
static unsigned random_run(uint64_t seed, unsigned nodes)
{
    unsigned snapshots;

    cluster_init(&c, nodes, seed);
    proposed = 0;
    c.snapshot_failures = 30;
    for (int step = 0; step < 4000 && c.committed_last < CLUSTER_LOG_MAX - 200; step++) {
        unsigned i = (unsigned)rng_below(&c.rng, nodes);
        uint64_t dice = rng_below(&c.rng, 1000);
        if (dice < 120)
            cluster_tick(&c, i);
        else if (dice < 200)
            propose_new(i);
        else if (dice < 260)
            cluster_ask(&c, i);
        else if (dice < 266 && c.nodes[i].up)
            cluster_crash(&c, i);
        else if (dice < 300 && !c.nodes[i].up)
            cluster_restart(&c, i);
        else if (dice < 303)
            c.cut[i][rng_below(&c.rng, nodes)] = true;
        else if (dice < 306)
            memset(c.cut, 0, sizeof c.cut);
        else if (dice < 330 && c.pool_count)
            cluster_drop(&c, rng_below(&c.rng, c.pool_count));
        else if (dice < 360 && c.pool_count)
            cluster_deliver(&c, rng_below(&c.rng, c.pool_count), true);
        else if (dice < 480 && c.nodes[i].up)
            cluster_store_one(&c, i);
        else if (dice < 485)
            raft_unreachable(c.nodes[i].raft, 1 + rng_below(&c.rng, nodes));
        else if (dice < 492)
            cluster_compact(&c, i, c.nodes[i].applied - rng_below(&c.rng, c.nodes[i].applied < 4 ? 1 : 4));
        else
            for (int k = 0; k < 3 && c.pool_count; k++)
                cluster_deliver(&c, rng_below(&c.rng, c.pool_count), false);
        cluster_run(&c, i, rng_below(&c.rng, 2));
    }
    memset(c.cut, 0, sizeof c.cut);
    c.snapshot_failures = 0;
    for (unsigned i = 0; i < nodes; i++) {
        while (c.nodes[i].up && c.nodes[i].batch_count)
            cluster_store_one(&c, i);
        if (!c.nodes[i].up)
            cluster_restart(&c, i);
    }
    cluster_settle(&c);
    cluster_tick_all(&c, 60);
    assert_true(cluster_leader(&c) >= 0);
    assert_true(cluster_propose(&c, (unsigned)cluster_leader(&c), "after the storm"));
    cluster_tick_all(&c, 5);
    for (unsigned i = 0; i < nodes; i++)
        assert_int_equal(c.nodes[i].applied, c.committed_last);
    check_none_is_committed_twice();
    snapshots = c.snapshots_installed;
    cluster_fini(&c);
    return snapshots;
}

static void nothing_unsafe_happens_by_chance(void **state)
{
    unsigned snapshots = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        snapshots += random_run(seed * 1000003, seed % 3 == 0 ? 5 : 3);
    assert_true(snapshots > 100);
}

/* ---- snapshots ---- */

static void garbage_from_peers_is_ignored(void **state)
{
    struct rng rng = {.state = 99};

    (void)state;
    cluster_init(&c, 3, 31);
    cluster_elect(&c);
    for (int i = 0; i < 20000; i++) {
        struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 3), *list[3] = {e, e, e};
        struct raft_message m = {
            .type = (enum raft_message_type)rng_below(&rng, 25),
            .from = rng_below(&rng, 5),
            .to = 1,
            .term = rng_below(&rng, 4) ? rng_below(&rng, 6) : rng_next(&rng) >> 8,
            .log_term = rng_below(&rng, 5),
            .index = rng_below(&rng, 3) ? rng_below(&rng, 8) : rng_next(&rng),
            .commit = rng_below(&rng, 3) ? 0 : rng_below(&rng, 2),
            .hint_index = rng_next(&rng),
            .hint_term = rng_below(&rng, 5),
            .context = rng_next(&rng),
            .reject = rng_below(&rng, 2),
            .transfer = rng_below(&rng, 2),
            .entries = list,
            .entry_count = rng_below(&rng, 4),
        };
        struct raft_ready rd;
        e->term = rng_below(&rng, 6);
        e->index = rng_below(&rng, 10);
        memcpy(e->data, "abc", 3);
        if (raft_step(c.nodes[0].raft, &m) != ST_OK)
            assert_true(m.type == RAFT_MSG_PROPOSE || m.type == RAFT_MSG_READ_INDEX || m.type == RAFT_MSG_TRANSFER_LEADER);
        while (raft_ready(c.nodes[0].raft, &rd)) {
            raft_index applied = rd.committed_count ? rd.committed[rd.committed_count - 1]->index : 0;
            raft_advance(c.nodes[0].raft);
            if (applied)
                raft_applied(c.nodes[0].raft, applied);
            raft_stored(c.nodes[0].raft, rd.batch);
        }
        raft_entry_unref(e);
    }
    cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_node_leads_and_commits_alone),
        cmocka_unit_test(an_entry_is_not_committed_before_the_own_disk_has_it),
        cmocka_unit_test(three_nodes_elect_a_leader_and_replicate),
        cmocka_unit_test(a_follower_forwards_proposals_to_the_leader),
        cmocka_unit_test(a_leader_that_hears_no_quorum_steps_down),
        cmocka_unit_test(a_node_that_was_cut_off_does_not_disturb_when_it_returns),
        cmocka_unit_test(what_a_deposed_leader_wrote_alone_is_replaced),
        cmocka_unit_test(a_deposed_leader_answers_no_read),
        cmocka_unit_test(late_answers_to_older_heartbeats_confirm_no_newer_read),
        cmocka_unit_test(a_new_leader_answers_reads_only_after_committing_in_its_term),
        cmocka_unit_test(leadership_can_be_handed_over),
        cmocka_unit_test(a_forwarded_proposal_that_arrives_twice_is_appended_once),
        cmocka_unit_test(a_late_proposal_of_an_older_term_is_not_appended),
        cmocka_unit_test(an_heir_that_cannot_lead_is_not_waited_for),
        cmocka_unit_test(a_proposal_that_meets_a_transfer_is_the_next_leaders_once),
        cmocka_unit_test(a_proposal_that_comes_just_after_its_leader_went_is_the_next_ones_once),
        cmocka_unit_test(a_proposal_kept_for_a_transfer_that_fails_is_appended_after_all),
        cmocka_unit_test(no_more_proposals_are_kept_than_may_be_uncommitted),
        cmocka_unit_test(forwarded_proposals_travel_in_messages_of_bounded_size),
        cmocka_unit_test(news_of_a_batch_is_none_of_entries_that_came_back_later),
        cmocka_unit_test(a_follower_acknowledges_no_more_than_was_compared),
        cmocka_unit_test(an_entry_of_an_older_term_is_not_committed_by_counting),
        cmocka_unit_test(a_message_of_an_impossible_term_changes_nothing),
        cmocka_unit_test(a_message_of_an_impossible_index_changes_nothing),
        cmocka_unit_test(nothing_unsafe_happens_by_chance),
        cmocka_unit_test(garbage_from_peers_is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
