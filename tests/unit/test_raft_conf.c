/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations and their changes: the bytes, the algebra, and that no single step lets two disjoint groups decide. */
#include <string.h>

#include "common/rng.h"
#include "raft/conf_change.h"
#include "raft/internal.h"
#include "tests/unit/check.h"

#define IDS 6u /* members 1..IDS: few enough to try every set of them */

static struct raft_conf_change random_change(struct rng *rng)
{
    struct raft_conf_change c = {.transition = (enum raft_transition)rng_below(rng, 3), .count = (unsigned)rng_below(rng, 4)};

    for (unsigned i = 0; i < c.count; i++)
        c.changes[i] = (struct raft_change){(enum raft_change_type)rng_below(rng, 4), 1 + rng_below(rng, IDS)};
    return c;
}

static void what_is_written_is_read_again(void **state)
{
    struct rng rng = {.state = 1};

    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct raft_conf_change in = random_change(&rng), out;
        uint8_t context[300];
        struct raft_entry *e;
        memset(context, (int)rng_below(&rng, 256), sizeof context);
        in.context = slice_of(context, rng_below(&rng, sizeof context));
        e = raft_conf_change_encode(&in);
        assert_int_equal(raft_conf_change_decode(e, &out), ST_OK);
        assert_int_equal(out.transition, in.transition);
        assert_int_equal(out.count, in.count);
        for (unsigned k = 0; k < in.count; k++) {
            assert_int_equal(out.changes[k].type, in.changes[k].type);
            assert_int_equal(out.changes[k].id, in.changes[k].id);
        }
        assert_true(slice_equal(out.context, in.context));
        raft_entry_unref(e);
    }
}

static enum status decode_bytes(enum raft_entry_type type, const uint8_t *bytes, size_t len)
{
    struct raft_entry *e = raft_entry_new(type, (uint32_t)len);
    struct raft_conf_change out;
    enum status st;

    if (len)
        memcpy(e->data, bytes, len);
    st = raft_conf_change_decode(e, &out);
    raft_entry_unref(e);
    return st;
}

static void bytes_that_are_no_change_are_refused(void **state)
{
    uint8_t good[4 + 9] = {1, 0, 1, 0, 3, 7}, bad[sizeof good];

    (void)state;
    assert_int_equal(decode_bytes(RAFT_ENTRY_CONF, good, sizeof good), ST_OK);
    assert_int_equal(decode_bytes(RAFT_ENTRY_NORMAL, good, sizeof good), ST_CORRUPT);
    for (size_t len = 0; len < sizeof good; len++)
        assert_int_equal(decode_bytes(RAFT_ENTRY_CONF, good, len), ST_CORRUPT);
    for (size_t at = 0; at < 5; at++) { /* the format, a transition, more changes than there are, the zero, a type */
        memcpy(bad, good, sizeof bad);
        bad[at] = 200;
        assert_int_equal(decode_bytes(RAFT_ENTRY_CONF, bad, sizeof bad), ST_CORRUPT);
    }
    memcpy(bad, good, sizeof bad);
    bad[5] = 0; /* nobody */
    assert_int_equal(decode_bytes(RAFT_ENTRY_CONF, bad, sizeof bad), ST_CORRUPT);
}

static void any_bytes_are_decoded_or_refused(void **state)
{
    struct rng rng = {.state = 2};
    unsigned taken = 0;

    (void)state;
    for (int i = 0; i < 300000; i++) {
        uint8_t bytes[64];
        size_t len = rng_below(&rng, sizeof bytes);
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)(rng_below(&rng, 2) ? rng_below(&rng, 4) : rng_next(&rng));
        if (len)
            bytes[0] = 1;
        taken += decode_bytes(RAFT_ENTRY_CONF, bytes, len) == ST_OK;
    }
    assert_true(taken > 1000); /* it is not all noise */
}

static bool has_id(const raft_id *ids, unsigned count, raft_id id)
{
    for (unsigned i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* The model: count heads. */
static bool is_majority(const raft_id *ids, unsigned count, unsigned set)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++)
        n += set >> ids[i] & 1;
    return 2 * n > count;
}

static bool is_quorum(const struct raft_conf *c, unsigned set)
{
    return is_majority(c->voters, c->voter_count, set) &&
           (!c->outgoing_count || is_majority(c->outgoing, c->outgoing_count, set));
}

static void check_quorums(const struct raft_conf *c)
{
    struct raft_members m;

    raft_conf_members(c, &m);
    for (unsigned set = 0; set < 2u << IDS; set += 2) {
        bool there[RAFT_MEMBERS_MAX];
        enum vote votes[RAFT_MEMBERS_MAX];
        uint64_t values[RAFT_MEMBERS_MAX];
        for (unsigned i = 0; i < m.count; i++) {
            there[i] = set >> m.ids[i] & 1;
            votes[i] = there[i] ? VOTE_GRANTED : VOTE_OPEN;
            values[i] = there[i] ? 7 : 3;
        }
        assert_int_equal(raft_conf_has_quorum(c, &m, there), is_quorum(c, set));
        assert_int_equal(raft_conf_outcome(c, &m, votes), is_quorum(c, set) ? VOTE_GRANTED : VOTE_OPEN);
        assert_int_equal(raft_conf_reached(c, &m, values), is_quorum(c, set) ? 7 : 3);
        for (unsigned i = 0; i < m.count; i++)
            votes[i] = there[i] ? VOTE_REJECTED : VOTE_OPEN;
        assert_int_equal(raft_conf_outcome(c, &m, votes), is_quorum(c, ~set) ? VOTE_OPEN : VOTE_REJECTED);
    }
}

/* Two configurations that follow each other may be in force at one time: each quorum meets each of the other. */
static void check_overlap(const struct raft_conf *a, const struct raft_conf *b)
{
    for (unsigned set = 0; set < 2u << IDS; set += 2)
        if (is_quorum(a, set))
            assert_false(is_quorum(b, ~set));
}

/* A set before and after a change, member by member, told once more in other words. */
static void check_change(const struct raft_conf *old, const struct raft_conf_change *change, const struct raft_conf *new)
{
    bool leave = !change->count && change->transition == RAFT_TRANSITION_AUTO;
    bool joint = change->count > 1 || change->transition != RAFT_TRANSITION_AUTO;

    for (raft_id id = 1; id <= IDS; id++) {
        bool was_voter = has_id(old->voters, old->voter_count, id), voter = was_voter;
        bool learner = has_id(old->learners, old->learner_count, id) ||
                       has_id(old->learners_next, old->learner_next_count, id);
        bool next;
        for (unsigned i = 0; i < change->count; i++) {
            enum raft_change_type type = change->changes[i].type;
            if (change->changes[i].id != id || type == RAFT_CHANGE_UPDATE)
                continue;
            voter = type == RAFT_CHANGE_ADD_VOTER;
            learner = type == RAFT_CHANGE_ADD_LEARNER;
        }
        next = learner && joint && was_voter;
        assert_int_equal(has_id(new->voters, new->voter_count, id), voter);
        assert_int_equal(has_id(new->learners, new->learner_count, id), learner && !next);
        assert_int_equal(has_id(new->learners_next, new->learner_next_count, id), next);
        assert_int_equal(has_id(new->outgoing, new->outgoing_count, id), joint && !leave && was_voter);
    }
    assert_int_equal(new->auto_leave, joint && change->transition != RAFT_TRANSITION_JOINT_EXPLICIT);
    assert_true(raft_conf_makes_sense(new));
}

static void no_single_step_lets_two_disjoint_groups_decide(void **state)
{
    struct rng rng = {.state = 3};
    struct raft_conf conf = {.voters = {1}, .voter_count = 1};
    unsigned joint = 0, simple = 0, left = 0;

    (void)state;
    for (int i = 0; i < 30000; i++) {
        struct raft_conf_change change = random_change(&rng);
        struct raft_conf next;
        if (raft_conf_changed(&conf, &change, &next) != ST_OK)
            continue;
        check_change(&conf, &change, &next);
        check_quorums(&next);
        check_overlap(&conf, &next);
        joint += raft_conf_is_joint(&next);
        left += raft_conf_is_joint(&conf);
        simple += !raft_conf_is_joint(&conf) && !raft_conf_is_joint(&next);
        conf = next;
    }
    assert_true(joint > 1000 && simple > 200 && left > 1000);
}

static enum status change_one(const struct raft_conf *c, enum raft_transition transition, enum raft_change_type type,
                              raft_id id, struct raft_conf *ret_conf)
{
    struct raft_conf_change change = {.transition = transition, .count = 1, .changes = {{type, id}}};

    return raft_conf_changed(c, &change, ret_conf);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct raft_conf one = {.voters = {1}, .voter_count = 1}, none = {0}, conf, joint;
    struct raft_conf_change leave = {0};

    (void)state;
    assert_int_equal(change_one(&one, RAFT_TRANSITION_AUTO, RAFT_CHANGE_REMOVE, 1, &conf), ST_BAD_ARGUMENT);
    assert_int_equal(change_one(&one, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_LEARNER, 1, &conf), ST_BAD_ARGUMENT);
    assert_int_equal(raft_conf_changed(&one, &leave, &conf), ST_BAD_ARGUMENT);
    assert_int_equal(change_one(&none, RAFT_TRANSITION_JOINT_EXPLICIT, RAFT_CHANGE_ADD_VOTER, 1, &conf), ST_BAD_ARGUMENT);
    assert_int_equal(change_one(&one, RAFT_TRANSITION_JOINT_EXPLICIT, RAFT_CHANGE_ADD_VOTER, 2, &joint), ST_OK);
    assert_int_equal(change_one(&joint, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_VOTER, 3, &conf), ST_BAD_ARGUMENT);
    assert_int_equal(change_one(&joint, RAFT_TRANSITION_JOINT_IMPLICIT, RAFT_CHANGE_ADD_VOTER, 3, &conf), ST_BAD_ARGUMENT);
    assert_int_equal(raft_conf_changed(&joint, &leave, &conf), ST_OK);
}

static void the_limits_hold_also_when_a_joint_configuration_is_left(void **state)
{
    struct raft_conf conf = {.voters = {1}, .voter_count = 1};
    struct raft_conf_change demote = {.transition = RAFT_TRANSITION_JOINT_EXPLICIT, .count = 1};

    (void)state;
    for (raft_id id = 2; id <= RAFT_VOTERS_MAX; id++)
        assert_int_equal(change_one(&conf, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_VOTER, id, &conf), ST_OK);
    assert_int_equal(change_one(&conf, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_VOTER, 99, &conf), ST_LIMIT);
    for (raft_id id = 100; id < 100 + RAFT_LEARNERS_MAX; id++)
        assert_int_equal(change_one(&conf, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_LEARNER, id, &conf), ST_OK);
    assert_int_equal(change_one(&conf, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_LEARNER, 99, &conf), ST_LIMIT);
    /* A voter that would become one learner too many, later. */
    demote.changes[0] = (struct raft_change){RAFT_CHANGE_ADD_LEARNER, 5};
    assert_int_equal(raft_conf_changed(&conf, &demote, &conf), ST_LIMIT);
    assert_int_equal(change_one(&conf, RAFT_TRANSITION_AUTO, RAFT_CHANGE_ADD_LEARNER, 100, &conf), ST_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(bytes_that_are_no_change_are_refused),
        cmocka_unit_test(any_bytes_are_decoded_or_refused),
        cmocka_unit_test(no_single_step_lets_two_disjoint_groups_decide),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(the_limits_hold_also_when_a_joint_configuration_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
