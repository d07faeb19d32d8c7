/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the members: the rules alone, and on whole members that take them as leader and as follower. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "proto/state.pb-c.h"
#include "raftd/node/membership.h"
#include "tests/unit/check.h"
#include "tests/unit/node_cluster.h"

static char url_a[] = "http://a:2380", url_b[] = "http://b:2380", url_c[] = "http://c:2380", url_d[] = "http://d:2380";
static char *urls[] = {url_a, url_b, url_c, url_d};

/* ---- the rules ---- */

static struct membership_entry entry_of(enum member_change_kind kind, uint64_t id, char **url)
{
    struct membership_entry e = {.change = {kind, id, url, url != NULL}, .learners_max = 1, .origin = 7, .request = 8}, back;
    struct raft_entry *entry = membership_encode(&e);
    struct arena a;

    arena_init(&a);
    assert_int_equal(membership_decode(&a, entry, &back), ST_OK);
    assert_int_equal(back.change.kind, kind);
    assert_true(back.change.id == id && back.origin == 7 && back.request == 8);
    assert_int_equal(back.change.peer_url_count, url != NULL);
    e.core = back.core;
    e.core.context = slice_of(NULL, 0);
    arena_fini(&a);
    raft_entry_unref(entry);
    return e;
}

static enum status judge(const struct members *m, enum member_change_kind kind, uint64_t id, char **url)
{
    struct membership_entry e = entry_of(kind, id, url);

    return membership_judge(m, &e);
}

static void change(struct members *m, enum member_change_kind kind, uint64_t id, char **url)
{
    struct membership_entry e = entry_of(kind, id, url);
    struct raft_conf conf;

    assert_int_equal(membership_judge(m, &e), ST_OK);
    assert_int_equal(raft_conf_changed(&m->conf, &e.core, &conf), ST_OK);
    membership_apply(m, &e.change, &conf);
}

static struct members three(void)
{
    struct members m = {0};

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(members_add(&m, i + 1, "", urls + i, 1), ST_OK);
    return m;
}

static void a_change_is_refused_with_etcds_words(void **state)
{
    struct members m = three();

    (void)state;
    assert_int_equal(judge(&m, MEMBER_ADD, 3, urls + 3), ST_MEMBER_EXISTS);
    assert_int_equal(judge(&m, MEMBER_ADD, 4, urls + 1), ST_PEER_URL_EXISTS);
    assert_int_equal(judge(&m, MEMBER_UPDATE, 4, urls + 3), ST_MEMBER_NOT_FOUND);
    assert_int_equal(judge(&m, MEMBER_UPDATE, 1, urls + 1), ST_PEER_URL_EXISTS);
    assert_int_equal(judge(&m, MEMBER_UPDATE, 1, urls + 0), ST_OK); /* its own */
    assert_int_equal(judge(&m, MEMBER_REMOVE, 4, NULL), ST_MEMBER_NOT_FOUND);
    assert_int_equal(judge(&m, MEMBER_PROMOTE, 4, NULL), ST_MEMBER_NOT_FOUND);
    assert_int_equal(judge(&m, MEMBER_PROMOTE, 1, NULL), ST_MEMBER_NOT_LEARNER);
    change(&m, MEMBER_ADD_LEARNER, 4, urls + 3);
    assert_true(members_is_learner(&m, 4) && !members_is_learner(&m, 3));
    assert_int_equal(judge(&m, MEMBER_ADD_LEARNER, 5, (char *[]){(char[]){"http://e:1"}}), ST_TOO_MANY_LEARNERS);
    change(&m, MEMBER_PROMOTE, 4, NULL);
    assert_false(members_is_learner(&m, 4));
    change(&m, MEMBER_REMOVE, 2, NULL);
    /* For ever. */
    assert_int_equal(judge(&m, MEMBER_ADD, 2, urls + 1), ST_MEMBER_NOT_FOUND);
    assert_int_equal(judge(&m, MEMBER_REMOVE, 2, NULL), ST_MEMBER_NOT_FOUND);
    change(&m, MEMBER_ADD, 9, urls + 1); /* but its URL is free */
    change(&m, MEMBER_REMOVE, 1, NULL);
    change(&m, MEMBER_REMOVE, 3, NULL);
    change(&m, MEMBER_REMOVE, 4, NULL);
    assert_int_equal(judge(&m, MEMBER_REMOVE, 9, NULL), ST_NOT_ENOUGH_STARTED); /* nobody would be left */
    members_fini(&m);
}

static void no_more_members_than_there_can_be(void **state)
{
    struct members m = {0};
    char text[20], *url = text;

    (void)state;
    for (uint64_t id = 1; id <= RAFT_VOTERS_MAX; id++) {
        snprintf(text, sizeof text, "http://%u:1", (unsigned)id);
        assert_int_equal(members_add(&m, id, "", &url, 1), ST_OK);
    }
    snprintf(text, sizeof text, "http://x:1");
    assert_int_equal(judge(&m, MEMBER_ADD, 99, &url), ST_LIMIT);
    m.removed_count = MEMBERS_REMOVED_MAX;
    m.removed = calloc(MEMBERS_REMOVED_MAX, sizeof *m.removed);
    assert_int_equal(judge(&m, MEMBER_REMOVE, 1, NULL), ST_LIMIT);
    members_fini(&m);
}

static bool decodes(const struct raft_conf_change *core)
{
    struct raft_entry *entry = raft_conf_change_encode(core);
    struct membership_entry back;
    struct arena a;
    enum status st;

    arena_init(&a);
    st = membership_decode(&a, entry, &back);
    arena_fini(&a);
    raft_entry_unref(entry);
    return st == ST_OK;
}

static void what_is_no_change_of_ours_changes_nothing(void **state)
{
    struct membership_entry e = entry_of(MEMBER_PROMOTE, 4, NULL);
    struct raft_entry *entry = membership_encode(&e);
    struct raft_conf_change core, other;

    (void)state;
    assert_int_equal(raft_conf_change_decode(entry, &core), ST_OK);
    assert_true(decodes(&core));
    other = core;
    other.changes[0].id = 5; /* the core's part and ours must agree */
    assert_false(decodes(&other));
    other = core;
    other.changes[0].type = RAFT_CHANGE_REMOVE;
    assert_false(decodes(&other));
    other = core;
    other.count = 2;
    other.changes[1] = other.changes[0];
    assert_false(decodes(&other));
    other = core;
    other.transition = RAFT_TRANSITION_JOINT_IMPLICIT;
    assert_false(decodes(&other));
    other = core;
    other.context = slice_of_text("\xff");
    assert_false(decodes(&other));
    other.context = slice_of(NULL, 0);
    assert_false(decodes(&other));
    raft_entry_unref(entry);
}

/* Whatever stands in an entry that came from outside. */
static void any_bytes_are_a_change_or_none(void **state)
{
    struct membership_entry e = entry_of(MEMBER_ADD, 4, urls);
    struct raft_entry *good = membership_encode(&e);
    struct rng rng = {.state = 11};
    struct members m = three();
    unsigned decoded = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t len = (uint32_t)rng_below(&rng, good->len + 1);
        struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_CONF, len);
        struct membership_entry back;
        struct arena a;
        memcpy(entry->data, good->data, len);
        for (uint64_t i = rng_below(&rng, 4); len && i > 0; i--)
            entry->data[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
        arena_init(&a);
        if (membership_decode(&a, entry, &back) == ST_OK) {
            decoded++;
            assert_true(membership_judge(&m, &back) < ST_COUNT);
        }
        arena_fini(&a);
        raft_entry_unref(entry);
    }
    assert_true(decoded > 0 && decoded < 20000);
    raft_entry_unref(good);
    members_fini(&m);
}

/* ---- --strict-reconfig-check ---- */

static int64_t since[10]; /* by id */

static int64_t connected(void *arg, uint64_t id)
{
    (void)arg;
    return id < 10 ? since[id] : INT64_MAX;
}

static enum status is_safe(const struct members *m, enum member_change_kind kind, uint64_t id)
{
    struct membership_view v = {m, 1, 100 * NS_PER_S, connected, NULL};
    struct member_change c = {kind, id, urls, 1};

    return membership_is_safe(&v, &c);
}

static void a_change_that_could_cost_the_quorum_is_refused(void **state)
{
    struct members m = three();

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        since[i] = 90 * NS_PER_S;
    assert_int_equal(is_safe(&m, MEMBER_ADD, 4), ST_NOT_ENOUGH_STARTED); /* nobody has a name yet */
    assert_int_equal(is_safe(&m, MEMBER_ADD_LEARNER, 4), ST_OK);
    for (unsigned i = 0; i < 3; i++)
        member_set_name(&m.list[i], "started");
    assert_int_equal(is_safe(&m, MEMBER_ADD, 4), ST_OK);
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 2), ST_OK);
    since[3] = 96 * NS_PER_S; /* connected, but not for long enough */
    assert_int_equal(is_safe(&m, MEMBER_ADD, 4), ST_UNHEALTHY);
    assert_int_equal(is_safe(&m, MEMBER_ADD_LEARNER, 4), ST_UNHEALTHY);
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 2), ST_UNHEALTHY);
    since[2] = INT64_MAX; /* who is down may go */
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 2), ST_OK);
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 1), ST_UNHEALTHY);
    assert_int_equal(is_safe(&m, MEMBER_UPDATE, 2), ST_OK);
    member_set_name(&m.list[0], "");
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 2), ST_NOT_ENOUGH_STARTED);
    members_fini(&m);
}

static void one_member_may_become_two_and_stay_one(void **state)
{
    struct members m = {0};

    (void)state;
    assert_int_equal(members_add(&m, 1, "one", urls, 1), ST_OK);
    assert_int_equal(is_safe(&m, MEMBER_ADD, 2), ST_OK);
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 1), ST_NOT_ENOUGH_STARTED);
    change(&m, MEMBER_ADD_LEARNER, 2, urls + 1);
    assert_int_equal(is_safe(&m, MEMBER_REMOVE, 2), ST_OK); /* a learner is no part of any quorum */
    assert_int_equal(membership_may_promote(&m), ST_OK);
    member_set_name(&m.list[0], "");
    change(&m, MEMBER_ADD, 3, urls + 2);
    assert_int_equal(membership_may_promote(&m), ST_NOT_ENOUGH_STARTED);
    members_fini(&m);
}

static void a_learner_is_in_sync_at_ninety_percent(void **state)
{
    (void)state;
    assert_true(membership_is_in_sync(90, 100));
    assert_false(membership_is_in_sync(89, 100));
    assert_true(membership_is_in_sync(0, 0));
    assert_true(membership_is_in_sync(UINT64_MAX, UINT64_MAX));
    assert_false(membership_is_in_sync(UINT64_MAX / 2, UINT64_MAX));
}

/* ---- the stored form ---- */

static void the_state_keeps_who_votes_and_who_was_removed(void **state)
{
    struct members m = three(), back = {0};
    struct buf b = {0}, again = {0};

    (void)state;
    change(&m, MEMBER_ADD_LEARNER, 4, urls + 3);
    change(&m, MEMBER_REMOVE, 2, NULL);
    members_find(&m, 3)->incarnation = 0x1234567812345678;
    /* Joint: as the core has it between two entries. */
    m.conf.outgoing[0] = 3;
    m.conf.outgoing_count = 1;
    m.conf.auto_leave = true;
    members_encode(&m, &b);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_OK);
    assert_memory_equal(&back.conf, &m.conf, sizeof m.conf);
    assert_true(members_is_removed(&back, 2) && !members_is_removed(&back, 3));
    assert_true(members_find(&back, 3)->incarnation == 0x1234567812345678);
    members_encode(&back, &again);
    assert_true(slice_equal(buf_slice(&b), buf_slice(&again)));
    members_fini(&back);
    /* Who is in the list and in no set, and the other way round, is damage. */
    m.conf.learner_count = 0;
    buf_clear(&b);
    members_encode(&m, &b);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_CORRUPT);
    members_fini(&back);
    m.conf.learner_count = 1;
    m.conf.learners[0] = 9;
    buf_clear(&b);
    members_encode(&m, &b);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_CORRUPT);
    members_fini(&back);
    members_fini(&m);
    buf_fini(&b);
    buf_fini(&again);
}

/* Written before there were learners. */
/* Whatever members say of themselves, the state beside the keys fits the message that ends a snapshot. */
static void the_state_is_never_larger_than_a_message(void **state)
{
    char name[MEMBER_NAME_BYTES_MAX + 2], url[MEMBER_URL_BYTES_MAX + 2], *many[MEMBER_URLS_MAX + 1];
    struct members m = {0}, back = {0};
    struct buf b = {0};

    (void)state;
    memset(name, 'n', sizeof name);
    memset(url, 'u', sizeof url);
    name[MEMBER_NAME_BYTES_MAX] = url[MEMBER_URL_BYTES_MAX] = 0;
    for (unsigned i = 0; i <= MEMBER_URLS_MAX; i++)
        many[i] = url;
    assert_true(member_texts_fit(name, many, MEMBER_URLS_MAX));
    assert_false(member_texts_fit(name, many, MEMBER_URLS_MAX + 1));
    for (unsigned i = 0; i < RAFT_VOTERS_MAX; i++) {
        assert_int_equal(members_add(&m, UINT64_MAX - i, name, many, MEMBER_URLS_MAX), ST_OK);
        member_set_client_urls(members_find(&m, UINT64_MAX - i), many, MEMBER_URLS_MAX);
    }
    for (unsigned i = 0; i < RAFT_LEARNERS_MAX; i++) {
        struct raft_conf conf = m.conf;
        conf.learners[conf.learner_count++] = UINT64_MAX - 100 - i;
        members_insert(&m, UINT64_MAX - 100 - i, name, many, MEMBER_URLS_MAX, &conf);
        member_set_client_urls(members_find(&m, UINT64_MAX - 100 - i), many, MEMBER_URLS_MAX);
    }
    m.removed = calloc(MEMBERS_REMOVED_MAX, sizeof *m.removed);
    for (unsigned i = 0; i < MEMBERS_REMOVED_MAX; i++)
        m.removed[m.removed_count++] = UINT64_MAX / 2 + i;
    members_encode(&m, &b);
    assert_in_range(buf_len(&b), SNAPSHOT_STATE_BYTES_MAX / 8, SNAPSHOT_STATE_BYTES_MAX);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_OK);
    members_fini(&back);
    /* And a longer one is none. */
    name[MEMBER_NAME_BYTES_MAX] = 'n';
    name[MEMBER_NAME_BYTES_MAX + 1] = 0;
    assert_false(member_texts_fit(name, many, 1));
    member_set_name(&m.list[0], name);
    buf_clear(&b);
    members_encode(&m, &b);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_CORRUPT);
    members_fini(&back);
    member_set_name(&m.list[0], "short");
    url[MEMBER_URL_BYTES_MAX] = 'u';
    url[MEMBER_URL_BYTES_MAX + 1] = 0;
    assert_false(member_texts_fit("short", many, 1));
    member_set_client_urls(&m.list[0], many, 1);
    buf_clear(&b);
    members_encode(&m, &b);
    assert_int_equal(members_decode(&back, buf_slice(&b)), ST_CORRUPT);
    members_fini(&back);
    members_fini(&m);
    buf_fini(&b);
}

static void a_state_of_old_has_voters_only(void **state)
{
    Raftfs__State__Member rows[2], *pointers[2] = {&rows[0], &rows[1]};
    Raftfs__State__NodeState old = RAFTFS__STATE__NODE_STATE__INIT;
    struct members m = {0};
    uint8_t bytes[200];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        raftfs__state__member__init(&rows[i]);
        rows[i].id = i + 1;
    }
    old.members = pointers;
    old.n_members = 2;
    assert_int_equal(members_decode(&m, slice_of(bytes, raftfs__state__node_state__pack(&old, bytes))), ST_OK);
    assert_int_equal(m.conf.voter_count, 2);
    assert_true(m.conf.voters[0] == 1 && m.conf.voters[1] == 2);
    members_fini(&m);
}

/* ---- whole members ---- */

static struct node_cluster cluster;

struct waiter {
    unsigned ended;
    enum status status;
};

static void on_done(void *arg, enum status st, struct slice answer)
{
    struct waiter *w = arg;

    assert_int_equal(answer.len, 0);
    w->ended++;
    w->status = st;
}

static void ask(unsigned node, enum member_change_kind kind, uint64_t id, char **url, struct waiter *w)
{
    struct member_change c = {kind, id, url, url != NULL};

    *w = (struct waiter){0};
    assert_int_equal(node_change_members(cluster.nodes[node].node, &c, INT64_MAX, on_done, w, NULL), ST_OK);
}

static void wait_for(struct waiter *w, enum status expected)
{
    for (unsigned i = 0; !w->ended; i++) {
        assert_true(i < 5000);
        node_cluster_step(&cluster);
    }
    assert_int_equal(w->ended, 1);
    assert_string_equal(status_text(w->status), status_text(expected));
}

static unsigned begin(uint64_t seed)
{
    node_cluster_init(&cluster, seed);
    for (unsigned i = 0; node_cluster_leader(&cluster) < 0; i++) {
        assert_true(i < 5000);
        node_cluster_step(&cluster);
    }
    node_cluster_steps(&cluster, 50); /* its first entry is committed */
    return (unsigned)node_cluster_leader(&cluster);
}

static const struct members *members_of(unsigned node)
{
    return node_members(cluster.nodes[node].node);
}

static void a_change_is_made_whoever_is_asked(void **state)
{
    unsigned leader = begin(3), follower = (leader + 1) % NODES;
    struct waiter w;

    (void)state;
    ask(leader, MEMBER_ADD_LEARNER, 10, urls, &w);
    wait_for(&w, ST_OK);
    assert_true(members_is_learner(members_of(leader), 10));
    ask(follower, MEMBER_UPDATE, 10, urls + 1, &w);
    wait_for(&w, ST_OK);
    assert_string_equal(members_look_up(members_of(follower), 10)->peer_urls[0], url_b);
    node_cluster_converge(&cluster);
    for (unsigned i = 0; i < NODES; i++) { /* no voter in anybody's view (etcd 21694) */
        assert_true(members_is_learner(members_of(i), 10));
        assert_int_equal(members_voters(&members_of(i)->conf), NODES);
    }
    ask(follower, MEMBER_REMOVE, 10, NULL, &w);
    wait_for(&w, ST_OK);
    node_cluster_converge(&cluster);
    for (unsigned i = 0; i < NODES; i++)
        assert_true(members_is_removed(members_of(i), 10));
    node_cluster_fini(&cluster);
}

static void a_follower_hears_why_the_leader_refuses(void **state)
{
    unsigned leader = begin(4), follower = (leader + 1) % NODES;
    struct raft_status before, after;
    struct waiter w;

    (void)state;
    ask(follower, MEMBER_ADD_LEARNER, 10, urls, &w);
    wait_for(&w, ST_OK);
    node_get_raft_status(cluster.nodes[leader].node, &before);
    ask(follower, MEMBER_PROMOTE, 10, NULL, &w);
    wait_for(&w, ST_LEARNER_NOT_READY); /* nobody is there under that id */
    ask(leader, MEMBER_PROMOTE, 10, NULL, &w);
    wait_for(&w, ST_LEARNER_NOT_READY);
    ask(follower, MEMBER_PROMOTE, 99, NULL, &w);
    wait_for(&w, ST_MEMBER_NOT_FOUND);
    ask(follower, MEMBER_ADD, 10, urls + 1, &w);
    wait_for(&w, ST_MEMBER_EXISTS);
    ask(leader, MEMBER_ADD_LEARNER, 11, urls + 1, &w);
    wait_for(&w, ST_TOO_MANY_LEARNERS);
    ask(follower, MEMBER_REMOVE, 99, NULL, &w);
    wait_for(&w, ST_MEMBER_NOT_FOUND);
    node_get_raft_status(cluster.nodes[leader].node, &after);
    assert_true(after.last == before.last); /* what is refused is not in the log */
    node_cluster_fini(&cluster);
}

static void who_asks_while_another_change_is_made_waits(void **state)
{
    unsigned leader = begin(5), follower = (leader + 1) % NODES;
    struct waiter w[5];

    (void)state;
    cluster.in_order = true; /* a forwarded proposal that was overtaken is lost */
    ask(follower, MEMBER_ADD, 10, urls, &w[0]);
    ask(leader, MEMBER_ADD, 11, urls + 1, &w[1]);
    ask(follower, MEMBER_UPDATE, 1, urls + 2, &w[2]);
    ask((leader + 2) % NODES, MEMBER_UPDATE, 2, urls + 3, &w[3]);
    ask(leader, MEMBER_REMOVE, 12, NULL, &w[4]);
    wait_for(&w[4], ST_MEMBER_NOT_FOUND);
    for (unsigned i = 0; i < 4; i++)
        wait_for(&w[i], ST_OK);
    assert_int_equal(members_of(follower)->count, 5);
    node_cluster_fini(&cluster);
}

/* Messages that are lost, late and there twice: a change is made once or not at all, and everybody agrees which. */
static void on_a_bad_network_a_change_is_made_once_or_not_at_all(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 26; seed++) {
        struct waiter w[4];
        begin(seed);
        cluster.lost_percent = 5;
        cluster.repeated_percent = 20;
        for (uint64_t round = 0; round < 4; round++) {
            char text[30], *url = text;
            snprintf(text, sizeof text, "http://%u:1", (unsigned)round);
            ask((unsigned)round % NODES, round % 2 ? MEMBER_ADD_LEARNER : MEMBER_UPDATE, round % 2 ? 10 + round : round + 1, &url,
                &w[round]);
            node_cluster_steps(&cluster, 20);
        }
        for (unsigned i = 0; i < 4; i++)
            for (unsigned k = 0; k < 10000 && !w[i].ended; k++)
                node_cluster_step(&cluster);
        cluster.lost_percent = cluster.repeated_percent = 0;
        node_cluster_converge(&cluster);
        for (unsigned i = 0; i < NODES; i++) {
            struct buf mine = {0}, first = {0};
            members_encode(members_of(i), &mine);
            members_encode(members_of(0), &first);
            assert_true(slice_equal(buf_slice(&mine), buf_slice(&first)));
            buf_fini(&mine);
            buf_fini(&first);
        }
        for (unsigned i = 0; i < 4; i++)
            assert_true(w[i].ended == 1);
        if (w[1].status == ST_OK)
            assert_non_null(members_look_up(members_of(0), 11));
        node_cluster_fini(&cluster);
    }
}

static void a_leader_that_is_removed_commits_it_and_steps_down(void **state)
{
    unsigned leader = begin(6), other = (leader + 1) % NODES;
    struct raft_status st;
    struct waiter w;

    (void)state;
    ask(leader, MEMBER_REMOVE, leader + 1, NULL, &w);
    wait_for(&w, ST_OK);
    node_get_raft_status(cluster.nodes[leader].node, &st);
    assert_true(st.role == RAFT_FOLLOWER);
    for (unsigned i = 0; i < 5000 && !members_is_removed(members_of(other), leader + 1); i++)
        node_cluster_step(&cluster);
    for (unsigned i = 0; i < 5000 && node_cluster_leader(&cluster) < 0; i++)
        node_cluster_step(&cluster);
    assert_true(node_cluster_leader(&cluster) >= 0 && (unsigned)node_cluster_leader(&cluster) != leader);
    assert_int_equal(members_of(other)->count, 2);
    node_cluster_fini(&cluster);
}

static void what_was_changed_is_there_after_a_restart_and_in_a_snapshot(void **state)
{
    unsigned leader = begin(7), follower = (leader + 1) % NODES;
    struct waiter w;

    (void)state;
    node_cluster_kill(&cluster, follower);
    ask(leader, MEMBER_ADD_LEARNER, 10, urls, &w);
    wait_for(&w, ST_OK);
    node_cluster_write(&cluster, 400); /* seals, and a log that does not reach back */
    for (unsigned i = 0; i < 200; i++)
        node_cluster_step(&cluster);
    node_cluster_start(&cluster, follower);
    for (unsigned i = 0; i < 5000 && !members_look_up(members_of(follower), 10); i++)
        node_cluster_step(&cluster);
    assert_true(cluster.nodes[follower].installed > 0);
    assert_true(members_is_learner(members_of(follower), 10));
    node_cluster_kill(&cluster, follower);
    node_cluster_start(&cluster, follower);
    assert_true(members_is_learner(members_of(follower), 10));
    node_cluster_fini(&cluster);
}

/* ---- a change that has to be on disk first ---- */

static uint64_t applied_of(unsigned node)
{
    return mvcc_applied_index(cluster.nodes[node].store);
}

static void on_put(void *arg, enum status st, struct slice answer)
{
    (void)answer;
    on_done(arg, st, slice_of(NULL, 0));
}

static enum status put(unsigned node, struct waiter *w)
{
    *w = (struct waiter){0};
    return node_propose(cluster.nodes[node].node, COMMAND_PUT, slice_of("\x0a\x01k", 3), INT64_MAX, on_put, w, NULL);
}

static void kept(unsigned node)
{
    cluster.nodes[node].keeps_no_voters = false;
    node_voters_kept(cluster.nodes[node].node);
}

static void wait_until_told(unsigned node, unsigned voters)
{
    for (unsigned i = 0; cluster.nodes[node].told_voters != voters; i++) {
        assert_true(i < 5000);
        node_cluster_step(&cluster);
    }
}

/* It stays the leader, commits what comes, and applies and answers none of it. */
static void nothing_is_in_force(unsigned leader, const struct waiter *change, unsigned voters)
{
    uint64_t applied = applied_of(leader);
    struct raft_status st;
    struct waiter w;

    assert_int_equal(put(leader, &w), ST_OK);
    node_cluster_steps(&cluster, 500);
    node_get_raft_status(cluster.nodes[leader].node, &st);
    assert_int_equal(st.role, RAFT_LEADER);
    assert_true(st.hard.commit >= applied + 2); /* the change and the write */
    assert_true(applied_of(leader) == applied && st.applied == applied);
    assert_int_equal(members_of(leader)->conf.voter_count, voters);
    assert_true(!change->ended && !w.ended);
    kept(leader);
    wait_for(&w, ST_OK);
}

static void fewer_voters_are_kept_before_they_are_in_force(void **state)
{
    unsigned leader = begin(9);
    struct waiter w;

    (void)state;
    for (unsigned i = 1; i < NODES; i++) {
        cluster.nodes[leader].keeps_no_voters = true;
        ask(leader, MEMBER_REMOVE, (leader + i) % NODES + 1, NULL, &w);
        wait_until_told(leader, NODES - i);
        nothing_is_in_force(leader, &w, NODES - i + 1);
        wait_for(&w, ST_OK);
        assert_int_equal(members_of(leader)->conf.voter_count, NODES - i);
    }
    node_cluster_fini(&cluster);
}

/* The bound on what is in memory holds; and who waits when the member ends is told. */
static void while_a_change_is_kept_the_log_is_bounded(void **state)
{
    unsigned leader = begin(10), follower = (leader + 1) % NODES;
    struct member_node *m = &cluster.nodes[follower];
    struct raft_status st;
    struct waiter w;

    (void)state;
    m->keeps_no_voters = true;
    ask(leader, MEMBER_REMOVE, (leader + 2) % NODES + 1, NULL, &w);
    wait_for(&w, ST_OK);
    node_cluster_write(&cluster, 600);
    node_cluster_steps(&cluster, 200);
    node_get_raft_status(m->node, &st);
    assert_true(st.applied < st.last && members_of(follower)->conf.voter_count == NODES);
    assert_true(st.log_bytes < 3 * 32768); /* of windows, with what came in one message */
    assert_int_equal(put(follower, &w), ST_TOO_MANY_REQUESTS);
    kept(follower);
    node_cluster_steps(&cluster, 500);
    assert_int_equal(members_of(follower)->conf.voter_count, NODES - 1);
    assert_true(applied_of(follower) >= applied_of(leader) - 1);
    node_cluster_fini(&cluster);
}

static void a_snapshot_of_fewer_voters_waits_likewise(void **state)
{
    unsigned leader = begin(11), behind = (leader + 1) % NODES;
    struct member_node *m = &cluster.nodes[behind];
    struct waiter w;
    uint64_t applied = applied_of(behind);

    (void)state;
    cluster.cut[behind] = true;
    node_cluster_write(&cluster, 400); /* a log that does not reach back */
    node_cluster_steps(&cluster, 200);
    ask(leader, MEMBER_REMOVE, (leader + 2) % NODES + 1, NULL, &w);
    wait_for(&w, ST_OK);
    cluster.cut[behind] = false;
    m->keeps_no_voters = true;
    for (unsigned life = 0; life < 2; life++) { /* it may end meanwhile */
        m->told_voters = 0;
        wait_until_told(behind, NODES - 1);
        node_cluster_steps(&cluster, 300);
        assert_int_equal(m->installed, 0);
        assert_true(applied_of(behind) < applied + 100 && members_of(behind)->conf.voter_count == NODES);
        if (life == 0) {
            node_cluster_kill(&cluster, behind);
            node_cluster_start(&cluster, behind);
        }
    }
    kept(behind);
    for (unsigned i = 0; i < 5000 && members_of(behind)->conf.voter_count == NODES; i++)
        node_cluster_step(&cluster);
    assert_int_equal(m->installed, 1);
    assert_int_equal(members_of(behind)->conf.voter_count, NODES - 1);
    node_cluster_fini(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_refused_with_etcds_words),
        cmocka_unit_test(no_more_members_than_there_can_be),
        cmocka_unit_test(what_is_no_change_of_ours_changes_nothing),
        cmocka_unit_test(any_bytes_are_a_change_or_none),
        cmocka_unit_test(a_change_that_could_cost_the_quorum_is_refused),
        cmocka_unit_test(one_member_may_become_two_and_stay_one),
        cmocka_unit_test(a_learner_is_in_sync_at_ninety_percent),
        cmocka_unit_test(the_state_keeps_who_votes_and_who_was_removed),
        cmocka_unit_test(the_state_is_never_larger_than_a_message),
        cmocka_unit_test(a_state_of_old_has_voters_only),
        cmocka_unit_test(a_change_is_made_whoever_is_asked),
        cmocka_unit_test(a_follower_hears_why_the_leader_refuses),
        cmocka_unit_test(who_asks_while_another_change_is_made_waits),
        cmocka_unit_test(on_a_bad_network_a_change_is_made_once_or_not_at_all),
        cmocka_unit_test(a_leader_that_is_removed_commits_it_and_steps_down),
        cmocka_unit_test(what_was_changed_is_there_after_a_restart_and_in_a_snapshot),
        cmocka_unit_test(fewer_voters_are_kept_before_they_are_in_force),
        cmocka_unit_test(while_a_change_is_kept_the_log_is_bounded),
        cmocka_unit_test(a_snapshot_of_fewer_voters_waits_likewise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
