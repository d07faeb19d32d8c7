/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: sets of members, what a change makes of them (thesis 4.3), and quorums in one or two majorities. */
#include <string.h>

#include "common/planted.h"
#include "raft/conf_change.h"
#include "raft/internal.h"

/* ---- sets of members ---- */

static int find(const raft_id *ids, unsigned count, raft_id id)
{
    for (unsigned i = 0; i < count; i++)
        if (ids[i] == id)
            return (int)i;
    return -1;
}

static bool add(raft_id *ids, unsigned *count, unsigned max, raft_id id)
{
    unsigned at = *count;

    if (find(ids, *count, id) >= 0)
        return true;
    if (*count == max)
        return false;
    for (; at > 0 && ids[at - 1] > id; at--)
        ids[at] = ids[at - 1];
    ids[at] = id;
    ++*count;
    return true;
}

static void drop(raft_id *ids, unsigned *count, raft_id id)
{
    int at = find(ids, *count, id);

    if (at < 0)
        return;
    --*count;
    memmove(ids + at, ids + at + 1, (*count - (unsigned)at) * sizeof *ids);
    ids[*count] = 0;
}

bool raft_conf_is_voter(const struct raft_conf *c, raft_id id)
{
    return find(c->voters, c->voter_count, id) >= 0 || find(c->outgoing, c->outgoing_count, id) >= 0;
}

void raft_conf_members(const struct raft_conf *c, struct raft_members *ret_members)
{
    struct raft_members m = {0};

    for (unsigned i = 0; i < c->voter_count; i++)
        add(m.ids, &m.count, RAFT_MEMBERS_MAX, c->voters[i]);
    for (unsigned i = 0; i < c->outgoing_count; i++)
        add(m.ids, &m.count, RAFT_MEMBERS_MAX, c->outgoing[i]);
    for (unsigned i = 0; i < c->learner_count; i++)
        add(m.ids, &m.count, RAFT_MEMBERS_MAX, c->learners[i]);
    *ret_members = m;
}

int raft_members_slot(const struct raft_members *m, raft_id id)
{
    return find(m->ids, m->count, id);
}

static bool are_distinct(const raft_id *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!ids[i] || find(ids, i, ids[i]) >= 0)
            return false;
    return true;
}

bool raft_conf_makes_sense(const struct raft_conf *c)
{
    if (c->voter_count > RAFT_VOTERS_MAX || c->outgoing_count > RAFT_VOTERS_MAX ||
        c->learner_next_count > RAFT_VOTERS_MAX || c->learner_count + c->learner_next_count > RAFT_LEARNERS_MAX)
        return false;
    if (!are_distinct(c->voters, c->voter_count) || !are_distinct(c->outgoing, c->outgoing_count) ||
        !are_distinct(c->learners, c->learner_count) || !are_distinct(c->learners_next, c->learner_next_count))
        return false;
    for (unsigned i = 0; i < c->learner_count; i++)
        if (raft_conf_is_voter(c, c->learners[i]))
            return false;
    for (unsigned i = 0; i < c->learner_next_count; i++)
        if (find(c->outgoing, c->outgoing_count, c->learners_next[i]) < 0 ||
            find(c->voters, c->voter_count, c->learners_next[i]) >= 0)
            return false;
    return (c->voter_count || !c->outgoing_count) && (c->outgoing_count || !c->auto_leave);
}

/* ---- changes ---- */

static void remove_member(struct raft_conf *c, raft_id id)
{
    drop(c->voters, &c->voter_count, id);
    drop(c->learners, &c->learner_count, id);
    drop(c->learners_next, &c->learner_next_count, id);
}

/* Who still votes in the outgoing half cannot be a learner yet: it becomes one when the joint configuration is left. */
static bool make_learner(struct raft_conf *c, raft_id id)
{
    remove_member(c, id);
    if (c->learner_count + c->learner_next_count == RAFT_LEARNERS_MAX)
        return false;
    if (find(c->outgoing, c->outgoing_count, id) >= 0)
        return add(c->learners_next, &c->learner_next_count, RAFT_VOTERS_MAX, id);
    return add(c->learners, &c->learner_count, RAFT_LEARNERS_MAX, id);
}

static bool make_change(struct raft_conf *c, const struct raft_change *change)
{
    switch (change->type) {
    case RAFT_CHANGE_ADD_VOTER:
        drop(c->learners, &c->learner_count, change->id);
        drop(c->learners_next, &c->learner_next_count, change->id);
        return add(c->voters, &c->voter_count, RAFT_VOTERS_MAX, change->id);
    case RAFT_CHANGE_REMOVE:
        remove_member(c, change->id);
        return true;
    case RAFT_CHANGE_ADD_LEARNER:
        return make_learner(c, change->id);
    case RAFT_CHANGE_UPDATE:
        break;
    }
    return true;
}

static void leave_joint(struct raft_conf *c)
{
    memset(c->outgoing, 0, sizeof c->outgoing);
    c->outgoing_count = 0;
    c->auto_leave = false;
    for (; c->learner_next_count; drop(c->learners_next, &c->learner_next_count, c->learners_next[0]))
        add(c->learners, &c->learner_count, RAFT_LEARNERS_MAX, c->learners_next[0]);
}

enum status raft_conf_changed(const struct raft_conf *conf, const struct raft_conf_change *change,
                              struct raft_conf *ret_conf)
{
    struct raft_conf c = *conf;
    bool leave = !change->count && change->transition == RAFT_TRANSITION_AUTO;

    if (leave != raft_conf_is_joint(&c))
        return ST_BAD_ARGUMENT;
    if (leave) {
        leave_joint(&c);
    } else if (change->transition != RAFT_TRANSITION_AUTO || change->count > 1) {
        memcpy(c.outgoing, c.voters, sizeof c.outgoing);
        c.outgoing_count = c.voter_count;
        c.auto_leave = change->transition != RAFT_TRANSITION_JOINT_EXPLICIT;
        if (!c.outgoing_count)
            return ST_BAD_ARGUMENT; /* nobody could decide to leave */
    }
    for (unsigned i = 0; i < change->count; i++)
        if (!make_change(&c, &change->changes[i]))
            return ST_LIMIT;
    if (!c.voter_count)
        return ST_BAD_ARGUMENT;
    *ret_conf = c;
    return ST_OK;
}

/* ---- quorums ---- */

unsigned raft_quorum_of(unsigned count)
{
    return PLANTED(half_is_a_majority) ? (count + 1) / 2 : count / 2 + 1;
}

/* The largest value that a majority of these has reached. */
static uint64_t reached(const raft_id *ids, unsigned count, const struct raft_members *m, const uint64_t *values)
{
    uint64_t sorted[RAFT_VOTERS_MAX];
    unsigned n = 0;

    /* Insertion, largest first: there are a handful. */
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = values[raft_members_slot(m, ids[i])];
        unsigned at = n++;
        for (; at > 0 && sorted[at - 1] < value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
    }
    return n ? sorted[raft_quorum_of(count) - 1] : 0;
}

uint64_t raft_conf_reached(const struct raft_conf *c, const struct raft_members *m, const uint64_t *values)
{
    uint64_t incoming = reached(c->voters, c->voter_count, m, values), outgoing;

    if (PLANTED(learner_counts) && m->count <= RAFT_VOTERS_MAX)
        return reached(m->ids, m->count, m, values);
    if (!raft_conf_is_joint(c) || PLANTED(joint_one_majority))
        return incoming;
    outgoing = reached(c->outgoing, c->outgoing_count, m, values);
    return incoming < outgoing ? incoming : outgoing;
}

bool raft_conf_has_quorum(const struct raft_conf *c, const struct raft_members *m, const bool *there)
{
    uint64_t values[RAFT_MEMBERS_MAX] = {0};

    for (unsigned i = 0; i < m->count; i++)
        values[i] = there[i];
    return raft_conf_reached(c, m, values) > 0;
}

enum vote raft_conf_outcome(const struct raft_conf *c, const struct raft_members *m, const enum vote *votes)
{
    bool granted[RAFT_MEMBERS_MAX], possible[RAFT_MEMBERS_MAX];

    for (unsigned i = 0; i < m->count; i++) {
        granted[i] = votes[i] == VOTE_GRANTED;
        possible[i] = votes[i] != VOTE_REJECTED;
    }
    if (raft_conf_has_quorum(c, m, granted))
        return VOTE_GRANTED;
    return raft_conf_has_quorum(c, m, possible) ? VOTE_OPEN : VOTE_REJECTED;
}
