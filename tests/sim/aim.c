/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that are aimed: at the moment in which a member becomes leader or ceases to be, installs a snapshot, or has other members. */
#include <string.h>

#include "common/clock.h"
#include "raftd/node/internal.h"
#include "raftd/node/snapshot.h"
#include "tests/sim/run.h"

#define AIM_TICKS 6      /* it strikes within that */
#define INSTALL_TICKS 60 /* an installation that is disturbed takes that, at most */

/* The one that it hurts: the member itself, or who leads now. */
static struct sim_member *draw_victim(struct run *run, struct sim_member *m)
{
    if (world_chance(&run->world, 500))
        return m;
    for (unsigned i = 0; i < run->members.count; i++) {
        struct sim_member *other = &run->members.members[i];
        if (other->up && other->node->raft->role == RAFT_LEADER)
            return other;
    }
    return m;
}

static void on_strike(void *arg, unsigned number, uint64_t epoch, const uint8_t *bytes, size_t len)
{
    struct run *run = arg;

    (void)bytes;
    (void)len;
    if (epoch == run->epoch)
        faults_strike(run, draw_victim(run, &run->members.members[number]));
}

void aim_on_run(void *arg, struct sim_member *m)
{
    struct run *run = arg;
    struct world *w = &run->world;
    const struct raft *core = m->node->raft;
    struct moment *was = &run->moments[m->number];
    struct moment is = {.life = m->life,
                        .leads = core->role == RAFT_LEADER,
                        .installs = snapshot_is_installing(m->node),
                        .conf = core->conf};
    bool same_life = was->life == is.life, installs = same_life && !was->installs && is.installs;
    bool began = same_life && (installs || was->leads != is.leads || memcmp(&was->conf, &is.conf, sizeof is.conf) != 0);

    *was = is;
    if (!began || run->weather == WEATHER_REST || !world_chance(w, run->aim))
        return;
    if (installs) /* it lasts */
        m->storage_stalled_until_ns = w->now_ns + world_between(w, 0, INSTALL_TICKS * run->members.tick_ns);
    world_at(w, w->now_ns + (world_chance(w, 300) ? 0 : world_between(w, 0, AIM_TICKS * run->members.tick_ns)), on_strike, run, m->number,
             run->epoch, NULL, 0);
}
