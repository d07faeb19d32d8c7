/* SPDX-License-Identifier: Apache-2.0 */
/* Flow control: what a leader holds, and has on its way, is bounded. */
#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/raft_cluster.h"

static struct cluster c; /* large */

/* 4096 bytes here, with what an entry counts for beside its data: tiny ones are bounded as well. */
static void what_is_not_committed_is_bounded(void **state)
{
    static const size_t sizes[] = {1, 400};
    char text[5000];
    unsigned leader;

    (void)state;
    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < 2; i++) {
        unsigned taken = 0;
        cluster_init(&c, 3, 47);
        cluster_elect(&c);
        leader = (unsigned)cluster_leader(&c);
        cluster_isolate(&c, leader, true);
        text[sizes[i]] = 0;
        while (taken < 1000 && cluster_propose(&c, leader, text))
            taken++;
        assert_in_range(taken * (sizes[i] + RAFT_ENTRY_OVERHEAD_BYTES), 4096 - 400 - RAFT_ENTRY_OVERHEAD_BYTES, 4096);
        assert_true(cluster_status(&c, leader).uncommitted_bytes <= 4096);
        cluster_isolate(&c, leader, false);
        cluster_tick_all(&c, 2);
        assert_int_equal(cluster_status(&c, leader).uncommitted_bytes, 0);
        assert_true(cluster_propose(&c, leader, text));
        text[sizes[i]] = 'x';
        cluster_fini(&c);
    }
    /* One that is larger than all that may be is let through alone. */
    cluster_init(&c, 3, 48);
    cluster_elect(&c);
    leader = (unsigned)cluster_leader(&c);
    text[sizeof text - 1] = 0;
    assert_true(cluster_propose(&c, leader, text));
    assert_false(cluster_propose(&c, leader, "x"));
    cluster_settle(&c);
    assert_true(cluster_propose(&c, leader, "x"));
    cluster_fini(&c);
}

static void store_all(struct raft *r)
{
    struct raft_ready ready;

    while (raft_ready(r, &ready)) {
        uint64_t batch = ready.batch;
        raft_advance(r);
        raft_stored(r, batch);
    }
}

/* Votes pass and appends do not: each term would find an empty account, and add as much as the one before. */
static void what_is_not_committed_is_bounded_over_terms(void **state)
{
    struct raft_options options = {.id = 1,
                                   .conf = {.voters = {1, 2, 3}, .voter_count = 3},
                                   .election_ticks = 10,
                                   .heartbeat_ticks = 1,
                                   .random_seed = 1,
                                   .message_bytes_max = 1 << 20,
                                   .inflight_messages_max = 16,
                                   .inflight_bytes_max = 1 << 20,
                                   .uncommitted_bytes_max = 4096};
    struct raft *r = raft_new(&options);
    unsigned taken = 0;

    (void)state;
    for (raft_term term = 1; term <= 10; term++) {
        struct raft_message vote = {.type = RAFT_MSG_VOTE_RESPONSE, .from = 2, .to = 1, .term = term};
        enum status st;
        raft_campaign(r);
        store_all(r);
        assert_int_equal(raft_step(r, &vote), ST_OK);
        store_all(r);
        do {
            struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, 400);
            memset(e->data, 'x', 400);
            st = raft_propose(r, &e, 1);
            raft_entry_unref(e);
            store_all(r);
            taken += st == ST_OK;
        } while (st == ST_OK);
        assert_int_equal(st, ST_TOO_MANY_REQUESTS);
        raft_step_down(r);
    }
    assert_in_range(taken * (400 + RAFT_ENTRY_OVERHEAD_BYTES), 4096 - 400 - RAFT_ENTRY_OVERHEAD_BYTES, 4096);
    raft_free(r);
}

/* 256 bytes here. */
static void what_is_on_its_way_to_a_silent_follower_is_bounded(void **state)
{
    unsigned leader, silent;
    size_t bytes = 0, largest = 0;

    (void)state;
    cluster_init(&c, 3, 49);
    cluster_elect(&c);
    cluster_tick_all(&c, 2);
    leader = (unsigned)cluster_leader(&c);
    silent = (leader + 1) % 3;
    for (unsigned i = 0; i < 30; i++) {
        assert_true(cluster_propose(&c, leader, "some thirty bytes of a proposal"));
        cluster_run(&c, leader, true);
    }
    for (size_t i = 0; i < c.pool_count; i++) {
        size_t one = 0;
        if (c.pool[i].type != RAFT_MSG_APPEND || c.pool[i].to != silent + 1)
            continue;
        for (size_t k = 0; k < c.pool[i].entry_count; k++)
            one += c.pool[i].entries[k]->len + RAFT_ENTRY_OVERHEAD_BYTES;
        bytes += one;
        largest = one > largest ? one : largest;
    }
    assert_in_range(bytes, 1, 256 + largest);
    cluster_settle(&c);
    assert_int_equal(c.committed_last, 31);
    cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_committed_is_bounded),
        cmocka_unit_test(what_is_not_committed_is_bounded_over_terms),
        cmocka_unit_test(what_is_on_its_way_to_a_silent_follower_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
