/* SPDX-License-Identifier: Apache-2.0 */
/* From the log, the windows and the queues themselves, not from what the core or the node counted. */
#include "tests/sim/bounds.h"

#include "common/limits.h"
#include "raftd/node/internal.h"
#include "tests/sim/history.h"
#include "tests/sim/member.h"

void bounds_draw(struct world *w, struct node_bounds *ret_bounds)
{
    /* Each by itself: one that is reached first hides those behind it. */
    *ret_bounds = NODE_BOUNDS;
    if (world_chance(w, 300))
        ret_bounds->inflight_bytes_max = (size_t)world_between(w, 100, 4000);
    if (world_chance(w, 300))
        ret_bounds->uncommitted_bytes_max = (size_t)world_between(w, 100, 2000);
    if (world_chance(w, 300))
        ret_bounds->unstored_bytes_max = (size_t)world_between(w, 50, 500);
    if (world_chance(w, 300))
        ret_bounds->apply_lag_max = (uint64_t)world_between(w, 0, 20);
    if (world_chance(w, 300))
        ret_bounds->pending_max = (unsigned)world_between(w, 1, 6);
}

static size_t greater(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- a core ---- */

/* Of the entries behind `index`; *ret_largest: of one. */
static size_t bytes_behind(const struct raft_log *l, raft_index index, size_t *ret_largest)
{
    size_t sum = 0;

    *ret_largest = 0;
    for (raft_index i = index + 1; i <= raft_log_last(l); i++) {
        const struct raft_entry *e = *raft_log_slot(l, i);
        size_t bytes = e->len ? raft_entry_bytes(e) : 0; /* a new leader's own entry comes whatever is there */
        sum += bytes;
        *ret_largest = greater(*ret_largest, bytes);
    }
    return sum;
}

size_t bounds_uncommitted(const struct raft *core)
{
    size_t largest;

    return bytes_behind(&core->log, core->log.commit, &largest);
}

/* A batch is let through if nothing else is under way: of a message's worth, with one entry more at most. */
static void check_uncommitted(const struct raft *core, size_t uncommitted)
{
    const struct raft_options *o = &core->options;
    size_t largest, sum = bytes_behind(&core->log, core->log.commit, &largest);
    size_t batch = o->message_bytes_max + largest;

    SIM_CHECK(sum <= greater(greater(o->uncommitted_bytes_max, uncommitted), batch),
              "bounded memory: leader %llu has %zu bytes that are not committed, not %zu", (unsigned long long)o->id, sum,
              o->uncommitted_bytes_max);
}

/* The oldest of what has no answer is given up to ask again: what is on its way is what the core has in its window. */
static void check_inflight(const struct raft *core, raft_id to, const struct progress *p)
{
    const struct raft_options *o = &core->options;
    size_t sum = 0, last = 0;

    SIM_CHECK(p->inflight_count <= o->inflight_messages_max, "bounded memory: %u appends to %llu have no answer, not %u", p->inflight_count,
              (unsigned long long)to, o->inflight_messages_max);
    for (unsigned i = 0; i < p->inflight_count; i++)
        sum += last = p->inflight[(p->inflight_from + i) % o->inflight_messages_max].bytes;
    SIM_CHECK(sum == last || sum - last < o->inflight_bytes_max, "bounded memory: %zu bytes and an append to %llu have no answer, not %zu",
              sum - last, (unsigned long long)to, o->inflight_bytes_max);
    SIM_CHECK(sum == p->inflight_bytes, "bounded memory: %zu bytes to %llu have no answer, and %zu are counted", sum, (unsigned long long)to,
              p->inflight_bytes);
}

void bounds_check_core(const struct raft *core, size_t uncommitted)
{
    size_t kept = 0;

    for (size_t i = 0; i < core->kept_count; i++)
        kept += raft_entry_bytes(core->kept[i]);
    SIM_CHECK(kept <= core->options.uncommitted_bytes_max, "bounded memory: %llu keeps proposals of %zu bytes for the next leader, not %zu",
              (unsigned long long)core->options.id, kept, core->options.uncommitted_bytes_max);
    if (core->role != RAFT_LEADER)
        return;
    check_uncommitted(core, uncommitted);
    for (unsigned i = 0; i < core->members.count; i++)
        if (core->members.ids[i] != core->options.id)
            check_inflight(core, core->members.ids[i], &core->progress[i]);
}

/* ---- a member ---- */

/* What is kept for others. */
static void check_window(const struct sim_member *m)
{
    const struct raft_log *l = &m->node->raft->log;
    size_t bytes = 0;

    if (l->bytes <= m->shared->window_bytes_max)
        return;
    for (raft_index i = l->snapshot_index + 1; i <= l->applied; i++)
        bytes += (*raft_log_slot(l, i))->len;
    SIM_CHECK(bytes <= m->shared->window_bytes_max, "bounded memory: member %u keeps %zu bytes of applied entries, not %zu", m->number,
              bytes, m->shared->window_bytes_max);
}

/* At the boundary an append may come; or, of a leader, what clients had queued before. */
static void check_unstored(const struct sim_member *m)
{
    const struct node_bounds *bounds = &m->node->options.bounds;
    const struct raft_log *l = &m->node->raft->log;
    size_t largest, sum = bytes_behind(l, l->stored, &largest);
    size_t more = m->shared->message_bytes_max + 2 * largest + (m->node->raft->led ? bounds->uncommitted_bytes_max : 0);

    SIM_CHECK(sum <= bounds->unstored_bytes_max + more, "bounded memory: %zu bytes wait for the disk of member %u, not %zu", sum, m->number,
              bounds->unstored_bytes_max);
}

static unsigned count_requests(struct request_list *list)
{
    struct node_request *r;
    unsigned count = 0;

    TAILQ_FOREACH(r, list, link)
    {
        count++;
    }
    return count;
}

/* Those that ask for another leader have a bound of their own. One entry comes whatever waits before it. */
static void check_requests(const struct sim_member *m)
{
    const struct node_bounds *bounds = &m->node->options.bounds;
    struct request_list *lists[] = {&m->node->proposing, &m->node->proposed, &m->node->reading, &m->node->asked, &m->node->reached,
                                    &m->node->changing};
    struct node_request *r;
    size_t bytes = 0, last = 0;
    unsigned count = 0;

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        count += count_requests(lists[i]);
    SIM_CHECK(count <= bounds->pending_max, "bounded memory: member %u waits for %u requests, not %u", m->number, count, bounds->pending_max);
    TAILQ_FOREACH(r, &m->node->proposing, link)
    {
        bytes += last = r->entry->len;
    }
    SIM_CHECK(bytes <= bounds->uncommitted_bytes_max + last, "bounded memory: member %u has %zu bytes to propose, not %zu", m->number, bytes,
              bounds->uncommitted_bytes_max);
}

void bounds_check_member(const struct sim_member *m)
{
    check_window(m);
    check_unstored(m);
    check_requests(m);
}

/* To take a write changes neither what is committed nor what is applied. */
void bounds_check_taken(const struct sim_member *m)
{
    const struct raft_log *l = &m->node->raft->log;
    uint64_t most = m->node->options.bounds.apply_lag_max;

    SIM_CHECK(l->commit - l->applied <= most, "bounded memory: member %u takes a write when %llu entries are not applied, not %llu",
              m->number, (unsigned long long)(l->commit - l->applied), (unsigned long long)most);
}
