/* SPDX-License-Identifier: Apache-2.0 */
/* Greetings, and the ends of those that are no members any more. */
#include "tests/sim/greeting.h"

#include <string.h>

#include "raftd/roster.h"
#include "tests/sim/history.h"
#include "tests/sim/member.h"

/* ---- what raftd/roster.c calls: connections, of which there are none, and the thread ---- */

void peers_put(struct peers *p, uint64_t member_id, const struct url *urls, unsigned url_count)
{
    (void)p;
    (void)member_id;
    (void)urls;
    (void)url_count;
}

void peers_keep(struct peers *p, const uint64_t *member_ids, unsigned count)
{
    (void)p;
    (void)member_ids;
    (void)count;
}

/* Whoever was to come later is judged with the next that it says. */
void peers_judge_again(struct peers *p)
{
    (void)p;
}

void storage_thread_submit(struct storage_thread *t, struct storage_job *job)
{
    member_add_work((struct sim_member *)t, (struct member_work){.io = job});
}

/* ---- the end ---- */

static void on_gone(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];

    (void)bytes;
    (void)len;
    if (!m->up || m->life != life)
        return;
    SIM_CHECK(m->is_wiped, "member %u has lost nothing and ends, for it can be no member any more", number);
    sim_trace(m->shared, "%u ends for good", number);
    member_crash(m, MEMBER_KILLED);
    m->is_gone = true;
    m->shared->dismissed++;
}

/* A member that was removed goes on here, for whatever it does must disturb nobody. */
static void end_fn(void *arg, int exit_status, int64_t delay_ns, const char *why)
{
    struct sim_member *m = arg;

    (void)why;
    if (exit_status)
        world_at(m->shared->world, m->shared->world->now_ns + delay_ns, on_gone, m->shared, m->number, m->life, NULL, 0);
}

static void fail_fn(void *arg, const char *text)
{
    struct sim_member *m = arg;

    sim_fail("member %u ends itself: %s", m->number, text);
}

static void on_dismissal(void *arg, unsigned number, uint64_t life, const uint8_t *bytes, size_t len)
{
    struct sim_member *m = &((struct member_world *)arg)->members[number];

    (void)bytes;
    (void)len;
    if (m->up && m->life == life)
        roster_on_dismissed(m->roster, DISMISSAL_INCARNATION, "dismissed");
}

/* ---- greetings ---- */

enum status greeting_open(struct sim_member *m, struct error *ret_error)
{
    struct roster_options o = {.node = m->node,
                               .storage = (struct storage_thread *)m,
                               .dir_fd = m->data.member_fd,
                               .member_id = m->data.member_id,
                               .incarnation = m->data.incarnation,
                               .founders = &m->data.initial,
                               .end_fn = end_fn,
                               .fail_fn = fail_fn,
                               .arg = m};

    memset(m->heard_life, 0, sizeof m->heard_life);
    return roster_open(&o, &m->roster, ret_error);
}

void greeting_close(struct sim_member *m)
{
    roster_free(m->roster);
    m->roster = NULL;
}

bool greeting_is_heard(struct sim_member *m, struct sim_member *from)
{
    struct world *w = m->shared->world;

    if (from->is_gone) /* what it said went with its host */
        return false;
    if (m->heard_life[from->number] == from->life)
        return true;
    switch (roster_judge(m->roster, from->data.member_id, from->data.incarnation)) {
    case PEER_WELCOME:
        SIM_CHECK(!from->is_wiped || from->life == from->wiped_in, "identity: member %u hears %u, which has lost all that it promised", m->number, from->number);
        m->heard_life[from->number] = from->life;
        from->met_by[m->number] = true;
        return true;
    case PEER_OTHER_INCARNATION:
        world_at(w, w->now_ns + w->delay_ns, on_dismissal, m->shared, from->number, from->life, NULL, 0);
        return false;
    default:
        return false;
    }
}
