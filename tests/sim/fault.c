/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong, a row a kind. */
#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "proto/state.pb-c.h"
#include "raft/internal.h"
#include "tests/sim/ask.h"
#include "tests/sim/run.h"

/* Of what is asked beside the clients; whether it is heard is nobody's operation. */
static void on_published(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    (void)st;
    (void)answer;
}

/* ---- crashes ---- */

static void on_restart(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    struct sim_member *m = &run->members.members[number];

    (void)bytes;
    (void)len;
    if (!m->up && m->life == life && !m->is_gone)
        member_start(m);
}

static void crash(struct run *run, struct sim_member *m)
{
    if (!m->up)
        return;
    member_crash(m, (enum member_end)rng_below(&run->world.rng, MEMBER_ENDS));
    world_at(&run->world, run->world.now_ns + world_between(&run->world, 0, run->outage_ns), on_restart, run, m->number, m->life,
             NULL, 0);
}

static void cut_writing(struct run *run, struct sim_member *m)
{
    (void)run;
    m->cuts_writing = true;
}

static void crash_all(struct run *run, struct sim_member *m)
{
    (void)m;
    for (unsigned i = 0; i < run->members.count; i++)
        crash(run, &run->members.members[i]);
}

/* ---- damage: of so few members that a majority of the voters stays whole ---- */

static bool is_voter(const struct raft_conf *c, const struct sim_member *m)
{
    return raft_conf_is_voter(c, m->number + 1);
}

/* It is not known to be healed; or it lost all it had, and was not removed. */
static bool is_unsound(const struct sim_member *m)
{
    return damage_is_open(m) || (m->is_wiped && member_is_in(m));
}

/* Those that are not known to be healed; conf: of the voters. */
static unsigned count_damaged(struct member_world *s, const struct raft_conf *conf)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < s->count; i++) {
        damage_look(&s->members[i]);
        sum += is_unsound(&s->members[i]) && (!conf || is_voter(conf, &s->members[i]));
    }
    return sum;
}

/* It has too few others to heal; and knows it, whatever comes now: from when that is in force. */
static bool is_among_few(const struct sim_member *m)
{
    return m->up ? node_members(m->node)->conf.voter_count < HEALING_MEMBERS_MIN
                 : !m->data.voters.is_unsaved && m->data.voters.count < HEALING_MEMBERS_MIN;
}

static bool may_be_damaged(struct run *run, struct sim_member *m)
{
    struct member_world *s = &run->members;
    bool changes = s->count != s->founders || run->changed_ns;
    const struct sim_member *newest = member_newest(s);
    const struct raft_conf *c = newest ? &node_members(newest->node)->conf : NULL;
    unsigned left;

    if (!c || m->is_gone || m->is_wiped || m->is_alone || raft_conf_is_joint(c))
        return false;
    if (c->voter_count < HEALING_MEMBERS_MIN)
        return !count_damaged(s, NULL) && is_among_few(m);
    if (m->data.voters.is_unsaved || (changes && run->world.now_ns < run->changed_ns + 3 * client_wait_ns(run)))
        return false;
    left = c->voter_count - count_damaged(s, c) - (is_voter(c, m) && !is_unsound(m));
    /* One change more may be under way. */
    return changes ? 2 * (left - 1) > c->voter_count - 1 : 2 * left > c->voter_count;
}

static void damage(struct run *run, struct sim_member *m)
{
    if (!may_be_damaged(run, m))
        return;
    if (m->up && world_chance(&run->world, 700))
        crash(run, m);
    for (int64_t n = world_between(&run->world, 1, 3); n > 0; n--)
        (void)damage_member(m);
}

/* Without others that have it, what was damaged comes from a copy. */
static void mend(struct sim_member *m)
{
    bool heals = m->data.voters.count >= HEALING_MEMBERS_MIN;

    damage_look(m);
    if (!damage_is_open(m) || (m->up && m->life != m->damage.life && (heals || !m->damage.count)))
        return;
    if (m->up)
        member_crash(m, MEMBER_KILLED);
    if (!heals)
        damage_undo(m);
    member_start(m);
}

bool faults_look_for_damage(struct run *run)
{
    struct member_world *s = &run->members;

    for (unsigned i = 0; i < s->count; i++)
        mend(&s->members[i]);
    for (unsigned i = 0; i < s->count; i++)
        if (damage_is_open(&s->members[i]) && member_is_in(&s->members[i])) /* one that was removed has nobody to heal from */
            return true;
    return false;
}

/* ---- a member that loses all its data; its operator removes it once it has ended ---- */

/* Any other that can hear; NULL: nobody can. */
static struct sim_member *ask_somebody(struct run *run, const struct sim_member *m)
{
    unsigned from = (unsigned)rng_below(&run->world.rng, run->members.count);

    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *other = &run->members.members[(from + i) % run->members.count];
        if (other->up && other != m && member_is_in(other) && other->paused_until_ns <= run->world.now_ns)
            return other;
    }
    return NULL;
}

static void remove_member(struct run *run, struct sim_member *m)
{
    struct member_change change = {.kind = MEMBER_REMOVE, .id = m->number + 1};
    struct sim_member *asked = ask_somebody(run, m);

    if (!asked)
        return;
    run->changed_ns = run->world.now_ns;
    if (node_change_members(asked->node, &change, member_now(asked) + client_wait_ns(run), on_published, NULL, NULL) == ST_OK)
        member_run(asked);
}

bool faults_remove_gone(struct run *run)
{
    bool found = false;

    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        if (!m->is_gone || !member_is_in(m))
            continue;
        found = true;
        remove_member(run, m);
    }
    return found;
}

/* One that never was a member takes the place: it is new, and so is its id. False: there is none, or nobody wants it. */
static bool add_fresh(struct run *run)
{
    struct member_world *s = &run->members;
    struct sim_member *asked = &s->members[rng_below(&run->world.rng, s->count)];
    char text[40], *url[1] = {text};
    struct member_change change = {.kind = MEMBER_ADD, .peer_urls = url, .peer_url_count = 1};
    unsigned i = s->founders;

    while (i < s->count && (s->members[i].is_gone || s->members[i].has_heard || member_is_in(&s->members[i])))
        i++;
    if (i == s->count || !run->to_add)
        return false;
    if (!asked->up || !member_is_in(asked) || asked->paused_until_ns > run->world.now_ns || count_damaged(s, NULL))
        return true;
    change.id = i + 1;
    snprintf(text, sizeof text, "http://a.member:%u", i + 1);
    run->to_add--; /* it may be refused, or lost: no operator is sure */
    run->changed_ns = run->world.now_ns;
    sim_trace(s, "%u is asked to add %u", asked->number, i);
    if (node_change_members(asked->node, &change, member_now(asked) + client_wait_ns(run), on_published, NULL, NULL) == ST_OK)
        member_run(asked);
    return true;
}

static void on_operator(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    bool goes_on = epoch == run->epoch && faults_remove_gone(run);

    (void)bytes;
    (void)len;
    for (unsigned i = 0; !goes_on && i < run->members.count; i++) /* one that has not ended yet */
        goes_on = run->members.members[i].is_wiped && member_is_in(&run->members.members[i]);
    if (epoch == run->epoch && (goes_on || add_fresh(run)))
        world_at(&run->world, run->world.now_ns + client_wait_ns(run) / 4, on_operator, run, number, epoch, NULL, 0);
}

static void call_operator(struct run *run)
{
    world_at(&run->world, run->world.now_ns + client_wait_ns(run) / 4, on_operator, run, 0, run->epoch, NULL, 0);
}

/* Else nobody could tell: ARCHITECTURE.md says what cannot be detected. */
static bool is_known_to_all(struct run *run, const struct sim_member *m)
{
    for (unsigned i = 0; i < run->members.count; i++) {
        const struct sim_member *other = &run->members.members[i];
        if (other != m && !other->is_gone && member_is_in(other) && !m->met_by[i])
            return false;
    }
    return true;
}

static void wipe(struct run *run, struct sim_member *m)
{
    const struct sim_member *newest = member_newest(&run->members);

    if (!newest || !member_is_in(newest) || node_members(newest->node)->conf.voter_count < 3 || damage_is_open(m) || !may_be_damaged(run, m) ||
        !member_is_in(m) || !is_known_to_all(run, m))
        return;
    if (m->up)
        crash(run, m);
    member_wipe(m);
    run->to_add = 1;
    call_operator(run);
}

/* ---- all but one are lost for good, and the operator has that one go on alone; the others can be none any more ---- */

static void lose(struct run *run, struct sim_member *m)
{
    if (m->up)
        member_crash(m, (enum member_end)rng_below(&run->world.rng, MEMBER_ENDS));
    m->is_gone = true;
}

static bool may_go_on_alone(struct run *run, const struct sim_member *m)
{
    struct raft_status st;

    if (run->alone || run->members.founders < 2 || !m->up || m->is_wiped || count_damaged(&run->members, NULL))
        return false;
    node_get_raft_status(m->node, &st);
    /* What it knows to be committed and has not applied may remove it. */
    return !st.recovering && st.applied == st.hard.commit && members_look_up(node_members(m->node), m->number + 1);
}

static void leave_alone(struct run *run, struct sim_member *m)
{
    if (!may_go_on_alone(run, m))
        return;
    run->alone = true;
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *other = &run->members.members[i];
        if (other != m && (other->has_heard || members_look_up(&run->members.initial, i + 1)))
            lose(run, other);
    }
    member_crash(m, (enum member_end)rng_below(&run->world.rng, MEMBER_ENDS));
    member_set_full(m, false);
    m->is_alone = true;
    run->members.alones++;
    member_start(m);
    run->to_add = 2;
    call_operator(run);
}

/* ---- full disks, and those that cannot write ---- */

static void on_space(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;

    (void)epoch;
    (void)bytes;
    (void)len;
    member_set_full(&run->members.members[number], false);
}

static void fill_disk(struct run *run, struct sim_member *m)
{
    struct world *w = &run->world;
    int64_t until = w->now_ns + world_between(w, run->outage_ns / 4, 3 * run->outage_ns);

    if (m->is_full || damage_is_open(m))
        return;
    member_set_full(m, true);
    world_at(w, until, on_space, run, m->number, run->epoch, NULL, 0);
}

static void fill_all_disks(struct run *run, struct sim_member *m)
{
    (void)m;
    for (unsigned i = 0; i < run->members.count; i++)
        fill_disk(run, &run->members.members[i]);
}

static void break_store(struct run *run, struct sim_member *m)
{
    (void)run;
    m->store_error = m->up ? EIO : 0;
}

/* ---- time and the network ---- */

static void pause_member(struct run *run, struct sim_member *m)
{
    m->paused_until_ns = run->world.now_ns + world_between(&run->world, 0, run->outage_ns);
}

static void stall_disk(struct run *run, struct sim_member *m)
{
    m->disk_stalled_until_ns = run->world.now_ns + world_between(&run->world, 0, run->outage_ns);
}

static void stall_storage(struct run *run, struct sim_member *m)
{
    m->storage_stalled_until_ns = run->world.now_ns + world_between(&run->world, 0, run->outage_ns);
}

static void separate(struct run *run, struct sim_member *m)
{
    world_separate(&run->world, m->number, run->members.count);
}

static void join(struct run *run, struct sim_member *m)
{
    (void)m;
    world_heal(&run->world);
}

/* ---- a member tells its name and URLs, as it does when it starts ---- */

static void publish(struct run *run, struct sim_member *m)
{
    Raftfs__State__Member told;
    char name[40], *urls[1] = {name};
    struct buf b;

    if (!m->up || m->paused_until_ns > run->world.now_ns)
        return;
    snprintf(name, sizeof name, "n%u-%llu", m->number, (unsigned long long)m->life);
    raftfs__state__member__init(&told);
    told.id = m->number + 1;
    told.incarnation = m->data.incarnation;
    told.name = name;
    told.client_urls = urls;
    told.n_client_urls = 1;
    b = ask_packed(&told.base);
    if (node_propose(m->node, COMMAND_MEMBER_PUBLISH, buf_slice(&b), member_now(m) + client_wait_ns(run), on_published, NULL,
                     NULL) == ST_OK)
        member_run(m);
    buf_fini(&b);
}

/* ---- membership ---- */

static void change_members(struct run *run, struct sim_member *m)
{
    static const enum member_change_kind kinds[] = {MEMBER_ADD,     MEMBER_ADD_LEARNER, MEMBER_ADD_LEARNER, MEMBER_PROMOTE,
                                                    MEMBER_PROMOTE, MEMBER_PROMOTE,     MEMBER_REMOVE,      MEMBER_REMOVE,
                                                    MEMBER_UPDATE};
    char url[40], *urls[1] = {url};
    struct member_change change;

    if (run->members.count == run->members.founders || !m->up || m->paused_until_ns > run->world.now_ns)
        return;
    change.kind = kinds[rng_below(&run->world.rng, sizeof kinds / sizeof *kinds)];
    change.id = 1 + rng_below(&run->world.rng, run->members.count);
    change.peer_urls = urls;
    change.peer_url_count = change.kind == MEMBER_REMOVE || change.kind == MEMBER_PROMOTE ? 0 : 1;
    snprintf(url, sizeof url, "http://a.member:%llu", 1000 + (unsigned long long)rng_below(&run->world.rng, 1000));
    if (count_damaged(&run->members, NULL))
        return; /* a majority stays: damage and the loss of a healthy member would be two faults */
    run->changed_ns = run->world.now_ns;
    sim_trace(&run->members, "%u is asked for change %d of %llu", m->number, (int)change.kind, (unsigned long long)change.id - 1);
    if (node_change_members(m->node, &change, member_now(m) + client_wait_ns(run), on_published, NULL, NULL) == ST_OK)
        member_run(m);
}

static void transfer_leader(struct run *run, struct sim_member *m)
{
    uint64_t to = 1 + rng_below(&run->world.rng, run->members.count);

    if (!m->up || m->paused_until_ns > run->world.now_ns)
        return;
    if (node_transfer_leader(m->node, to, member_now(m) + client_wait_ns(run), on_published, NULL, NULL) == ST_OK)
        member_run(m);
}

/* ---- chance ---- */

static const struct fault {
    unsigned weight;
    void (*fn)(struct run *run, struct sim_member *victim);
} faults[] = {
    {30, crash},    {10, crash_all}, {20, separate}, {20, join},
    {20, pause_member}, {15, stall_disk}, {10, publish}, {15, change_members}, {5, transfer_leader},
    {15, damage}, {15, fill_disk}, {3, fill_all_disks}, {5, break_store}, {5, wipe}, {2, leave_alone},
    {15, cut_writing}, {10, stall_storage},
};

/* Any member, or the one that it hurts most. */
static struct sim_member *draw_victim(struct run *run)
{
    struct world *w = &run->world;
    unsigned at = (unsigned)rng_below(&w->rng, run->members.count);

    if (world_chance(w, 500))
        for (unsigned i = 0; i < run->members.count; i++) {
            struct sim_member *m = &run->members.members[i];
            struct raft_status st;
            if (!m->up)
                continue;
            node_get_raft_status(m->node, &st);
            if (st.role == RAFT_LEADER)
                at = i;
        }
    return &run->members.members[at];
}

static const struct fault *draw_fault(struct world *w)
{
    return world_draw_row(w, faults, sizeof faults / sizeof *faults, sizeof *faults);
}

void faults_strike(struct run *run, struct sim_member *victim)
{
    draw_fault(&run->world)->fn(run, victim);
}

static void next_fault(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;
    struct world *w = &run->world;

    (void)bytes;
    (void)len;
    if (epoch != run->epoch)
        return;
    faults_strike(run, draw_victim(run));
    world_at(w, w->now_ns + world_between(w, 0, run->fault_ns), next_fault, run, number, epoch, NULL, 0);
}

void faults_start(struct run *run)
{
    world_at(&run->world, run->world.now_ns + run->fault_ns / 2, next_fault, run, 0, run->epoch, NULL, 0);
}

void faults_heal(struct run *run)
{
    world_heal(&run->world);
    run->world.loss = run->world.repeat = run->world.late = 0;
    run->members.slow_disk = run->members.late_news = 0;
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *m = &run->members.members[i];
        m->paused_until_ns = m->storage_stalled_until_ns = 0;
        member_disk_goes_on(m);
        m->cuts_writing = false;
        m->store_error = 0;
        member_set_full(m, false);
        if (!m->up && !m->is_gone)
            member_start(m);
        if (!m->is_gone && m->data.voters.count < HEALING_MEMBERS_MIN) /* nobody has what it would heal with, nor gets a snapshot of it */
            mend(m);
    }
}
