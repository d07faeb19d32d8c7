/* SPDX-License-Identifier: Apache-2.0 */
/* Birth, the dispatch of messages, ticks, and what the owner asks. */
#include "raft/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/planted.h"
#include "raft/conf_change.h"

/* Reads of others that a leader remembers; more are lost, and asked again. */
#define READS_MAX 100000u

void raft_trace(struct raft *r, const char *format, ...)
{
    char line[200];
    va_list args;

    if (!r->trace_fn)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    r->trace_fn(r->trace_arg, line);
}

struct raft_message *raft_emit(struct raft *r, struct message_list *list, enum raft_message_type type, raft_id to)
{
    struct raft_message *m;

    list->items = mem_grow(list->items, &list->cap, list->count + 1, sizeof *list->items);
    m = &list->items[list->count++];
    *m = (struct raft_message){.type = type, .from = r->options.id, .to = to, .term = r->term};
    return m;
}

struct raft *raft_new(const struct raft_options *options)
{
    struct raft *r = mem_zero(sizeof *r);

    INVARIANT(options->id && options->heartbeat_ticks > 0 && options->election_ticks > options->heartbeat_ticks);
    INVARIANT(options->inflight_messages_max > 0 && raft_conf_makes_sense(&options->conf));
    INVARIANT(options->hard.term <= RAFT_NUMBER_MAX);
    r->options = *options;
    r->conf = options->conf;
    raft_conf_members(&r->conf, &r->members);
    r->rng.state = options->random_seed;
    r->term = PLANTED(hard_state_ignored) ? 0 : options->hard.term;
    r->vote = PLANTED(hard_state_ignored) ? 0 : options->hard.vote;
    r->forward_life = rng_next(&r->rng);
    raft_log_init(&r->log, options);
    /* A term is never below one's own entries. */
    if (r->term < raft_log_last_term(&r->log)) {
        r->term = raft_log_last_term(&r->log);
        r->vote = 0;
    }
    r->options.entries = NULL;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        r->progress[i].inflight = mem_alloc(options->inflight_messages_max * sizeof(struct inflight));
    raft_become_follower(r, r->term, 0);
    r->emitted = (struct raft_hard_state){r->term, r->vote, r->log.commit};
    return r;
}

void raft_free(struct raft *r)
{
    if (!r)
        return;
    raft_log_fini(&r->log);
    for (size_t i = 0; i < r->forward_count; i++)
        raft_entry_unref(r->forward[i]);
    for (size_t i = 0; i < r->kept_count; i++)
        raft_entry_unref(r->kept[i]);
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        free(r->progress[i].inflight);
    free(r->kept);
    free(r->forward);
    free(r->reads);
    free(r->read_states);
    free(r->out.items);
    free(r->after.items);
    free(r);
}

/* ---- messages ---- */

/* A message of a newer term: step into it, unless it is a disturbance. False: ignore the message. */
static bool enter_newer_term(struct raft *r, const struct raft_message *m)
{
    bool from_leader = m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAPSHOT;
    bool asked_in_vain;

    if ((m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE || m->type == RAFT_MSG_PULL) && !m->transfer &&
        raft_in_lease(r))
        return false;
    /* Neither asking nor agreeing to an election that may never come moves the term. */
    if ((m->type == RAFT_MSG_PRE_VOTE && !PLANTED(pre_vote_moves_term)) || (m->type == RAFT_MSG_PRE_VOTE_RESPONSE && !m->reject))
        return true;
    asked_in_vain = r->options.pull_log && r->role == RAFT_PRE_CANDIDATE && m->type == RAFT_MSG_PRE_VOTE_RESPONSE;
    raft_become_follower(r, m->term, from_leader ? m->from : 0);
    if (asked_in_vain)
        r->election_elapsed = r->election_timeout - 1; /* for a term that is over: again with the next tick */
    return true;
}

static void answer_older_term(struct raft *r, const struct raft_message *m)
{
    /* A leader that was cut off, or a node whose term ran ahead of everybody's: our term frees it (etcd raft, Step). */
    if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAPSHOT) {
        struct raft_message *answer = raft_emit(r, &r->out, RAFT_MSG_APPEND_RESPONSE, m->from);
        answer->reject = true;
        answer->index = UINT64_MAX; /* says nothing of the log */
    } else if (m->type == RAFT_MSG_PRE_VOTE) {
        raft_emit(r, &r->out, RAFT_MSG_PRE_VOTE_RESPONSE, m->from)->reject = true;
    }
}

/* What the leader of this term says. */
static void on_leader_message(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER)
        return; /* two leaders of one term cannot be; whoever says so lies */
    if (r->role != RAFT_FOLLOWER)
        raft_become_follower(r, r->term, m->from);
    r->leader = m->from;
    r->election_elapsed = r->early_tries = 0;
    if (m->type == RAFT_MSG_APPEND)
        raft_on_append(r, m);
    else if (m->type == RAFT_MSG_HEARTBEAT)
        raft_on_heartbeat(r, m);
    else
        raft_on_snapshot(r, m);
}

/*
 * Proposals of a follower. Only for a leader: passing them on again could go round for ever. Only for the leader of the
 * term they were sent in, and each count once: a message that the network repeats, even to a later leader, is never
 * appended twice. One that comes when we are about to lead no more, or just do not, is kept for who leads next.
 */
static enum status on_propose(struct raft *r, const struct raft_message *m)
{
    bool leads = r->role == RAFT_LEADER && (m->term == r->term || PLANTED(proposals_of_any_term));
    int slot = raft_slot(r, m->from);

    if (!leads && (!r->led || m->term != r->led))
        return ST_NO_LEADER;
    if (m->entry_count && !m->entries)
        return ST_BAD_ARGUMENT;
    for (size_t i = 0; i < m->entry_count; i++)
        if (!m->entries[i] || m->entries[i]->type > RAFT_ENTRY_CONF || !m->entries[i]->len)
            return ST_BAD_ARGUMENT;
    if (slot < 0)
        return ST_OK; /* removed: its proposals are none of ours */
    if (!raft_progress_take_proposal(&r->progress[slot], m->hint_index, m->context))
        return ST_OK;
    if (!leads || r->transferee)
        return raft_keep_proposals(r, m->entries, m->entry_count);
    return raft_append_proposals(r, m->entries, m->entry_count);
}

static enum status on_request(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_PROPOSE:
        return on_propose(r, m);
    case RAFT_MSG_READ_INDEX:
        if (r->role != RAFT_LEADER)
            return ST_NO_LEADER;
        if (r->read_count >= READS_MAX)
            return ST_TOO_MANY_REQUESTS;
        raft_queue_read(r, m->from, m->context);
        return ST_OK;
    default: /* RAFT_MSG_TRANSFER_LEADER */
        return r->role == RAFT_LEADER ? raft_transfer_leader(r, m->context) : ST_NO_LEADER;
    }
}

/* A refusal of an older term says nothing of the log; a proposal tells its sender's lives apart. */
static bool has_indexes(const struct raft_message *m)
{
    return (m->index <= RAFT_NUMBER_MAX || (m->type == RAFT_MSG_APPEND_RESPONSE && m->reject)) && m->commit <= RAFT_NUMBER_MAX &&
           (m->hint_index <= RAFT_NUMBER_MAX || m->type == RAFT_MSG_PROPOSE);
}

static bool is_message(const struct raft *r, const struct raft_message *m)
{
    bool known = m->type == RAFT_MSG_PULL || m->type == RAFT_MSG_PULL_RESPONSE ||
                 (m->type >= RAFT_MSG_PROPOSE && m->type <= RAFT_MSG_HEARTBEAT_RESPONSE) ||
                 (m->type >= RAFT_MSG_TRANSFER_LEADER && m->type <= RAFT_MSG_PRE_VOTE_RESPONSE);

    return known && m->term <= RAFT_NUMBER_MAX && (m->term <= r->term || m->term - r->term <= RAFT_TERM_LEAP_MAX) && m->log_term <= RAFT_NUMBER_MAX && has_indexes(m);
}

enum status raft_step(struct raft *r, const struct raft_message *m)
{
    INVARIANT(!r->in_ready);
    /* From members we do not know (yet) too: our configuration may be the older one. Thesis 4.1 */
    if (!is_message(r, m) || !m->from || m->from == r->options.id || m->to != r->options.id)
        return ST_OK;
    if (m->type == RAFT_MSG_PROPOSE || m->type == RAFT_MSG_READ_INDEX || m->type == RAFT_MSG_TRANSFER_LEADER)
        return on_request(r, m);
    if (r->fitness == RAFT_UNFIT && m->type == RAFT_MSG_PRE_VOTE)
        return ST_OK; /* a vote itself needs no refusal: it leaves when it is durable */
    if (m->term > r->term && !enter_newer_term(r, m))
        return ST_OK;
    if (m->term < r->term && !(PLANTED(old_term_append) && m->type == RAFT_MSG_APPEND)) {
        answer_older_term(r, m);
        return ST_OK;
    }
    switch (m->type) {
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAPSHOT:
        on_leader_message(r, m);
        break;
    case RAFT_MSG_APPEND_RESPONSE:
        raft_on_append_response(r, m);
        break;
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        raft_on_heartbeat_response(r, m);
        break;
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        raft_on_vote(r, m);
        break;
    case RAFT_MSG_VOTE_RESPONSE:
    case RAFT_MSG_PRE_VOTE_RESPONSE:
        raft_on_vote_response(r, m);
        break;
    case RAFT_MSG_READ_INDEX_RESPONSE:
        if (m->from == r->leader)
            raft_add_read_state(r, m->context, m->index);
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_on_timeout_now(r, m);
        break;
    case RAFT_MSG_PULL:
        raft_on_pull(r, m);
        break;
    case RAFT_MSG_PULL_RESPONSE:
        raft_on_pull_response(r, m);
        break;
    default:
        break;
    }
    return ST_OK;
}

/* ---- the owner ---- */

static void tick_leader(struct raft *r)
{
    if (++r->election_elapsed >= r->options.election_ticks) {
        r->election_elapsed = 0;
        r->transferee = 0; /* it did not come to pass */
    }
    if (!raft_hears_quorum(r) && r->options.check_quorum && !PLANTED(no_check_quorum)) {
        raft_trace(r, "%llx hears no quorum and steps down", (unsigned long long)r->options.id);
        raft_become_follower(r, r->term, 0);
        return;
    }
    if (++r->heartbeat_elapsed >= r->options.heartbeat_ticks) {
        r->heartbeat_elapsed = 0;
        /* Also repeats a round of reads whose heartbeats were lost. */
        raft_send_heartbeats(r, r->read_count ? r->read_round : 0);
    }
}

void raft_tick(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        tick_leader(r);
    } else if (++r->election_elapsed >= r->election_timeout) {
        r->election_elapsed = 0;
        if (!raft_may_campaign(r))
            r->leader = 0; /* a learner cannot look for another, but it knows that it lost this one */
        raft_start_election(r, r->options.pre_vote, false);
    }
}

void raft_campaign(struct raft *r)
{
    if (r->role != RAFT_LEADER)
        raft_start_election(r, r->options.pre_vote, false);
}

enum status raft_propose(struct raft *r, struct raft_entry *const *entries, size_t count)
{
    if (r->role == RAFT_LEADER)
        return r->transferee ? ST_NO_LEADER : raft_append_proposals(r, entries, count);
    if (!r->leader)
        return ST_NO_LEADER;
    r->forward = mem_grow(r->forward, &r->forward_cap, r->forward_count + count, sizeof *r->forward);
    for (size_t i = 0; i < count; i++)
        r->forward[r->forward_count++] = raft_entry_ref(entries[i]);
    return ST_OK;
}

enum status raft_read_index(struct raft *r, uint64_t context)
{
    if (r->role == RAFT_LEADER) {
        raft_queue_read(r, r->options.id, context);
        return ST_OK;
    }
    if (!r->leader)
        return ST_NO_LEADER;
    raft_emit(r, &r->out, RAFT_MSG_READ_INDEX, r->leader)->context = context;
    return ST_OK;
}

void raft_step_down(struct raft *r)
{
    if (r->role == RAFT_LEADER)
        raft_become_follower(r, r->term, 0);
}

void raft_set_fitness(struct raft *r, enum raft_fitness fitness)
{
    r->fitness = fitness;
    if (fitness != RAFT_FIT && (r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE))
        raft_become_follower(r, r->term, 0);
}

void raft_forget_leader(struct raft *r)
{
    if (r->role == RAFT_FOLLOWER)
        r->leader = 0;
}

void raft_unreachable(struct raft *r, raft_id id)
{
    int slot = raft_slot(r, id);

    /* What was in the stream is probably lost: find out where the member stands. */
    if (r->role == RAFT_LEADER && slot >= 0 && r->progress[slot].state == RAFT_REPLICATE)
        raft_progress_probe(&r->progress[slot]);
}

void raft_snapshot_sent(struct raft *r, raft_id id, raft_index index)
{
    int slot = raft_slot(r, id);
    struct progress *p = slot < 0 ? NULL : &r->progress[slot];

    if (r->role != RAFT_LEADER || !p || p->state != RAFT_SNAPSHOT)
        return;
    raft_progress_probe(p);
    if (index >= p->next) /* next stays above match (etcd raft 149) */
        p->next = index + 1;
    p->paused = !index; /* a failed one is tried again with the next heartbeat's answer */
}

enum status raft_restore(struct raft *r, raft_index index, raft_term term, const struct raft_conf *conf)
{
    INVARIANT(!r->in_ready);
    if (r->role == RAFT_LEADER || !raft_wants_snapshot(r, index, term))
        return ST_STALE;
    raft_log_reset(&r->log, index, term);
    raft_switch_conf(r, conf);
    if (r->leader) /* what it holds is durable; the term that this is said in may not be yet (figure 2: persistent state) */
        raft_emit(r, &r->after, RAFT_MSG_APPEND_RESPONSE, r->leader)->index = index;
    return ST_OK;
}

void raft_stored(struct raft *r, uint64_t batch)
{
    if (raft_log_store(&r->log, batch))
        raft_maybe_commit(r);
}

void raft_applied(struct raft *r, raft_index index)
{
    INVARIANT(index >= r->log.applied && index <= r->log.handed);
    r->log.applied = index;
}

void raft_put_off_applying(struct raft *r, bool off)
{
    INVARIANT(!r->in_ready);
    r->applying_is_put_off = off;
    r->log.handed = r->log.applied;
}

void raft_compact(struct raft *r, raft_index index)
{
    INVARIANT(!r->in_ready);
    raft_log_compact(&r->log, index);
}

raft_index raft_index_to_fit(const struct raft *r, size_t bytes)
{
    raft_index index = raft_log_last(&r->log);

    for (; index > r->log.snapshot_index; index--) {
        size_t len = (*raft_log_slot(&r->log, index))->len;
        if (len > bytes)
            break;
        bytes -= len;
    }
    return index;
}

void raft_get_status(const struct raft *r, struct raft_status *ret_status)
{
    *ret_status = (struct raft_status){
        .id = r->options.id,
        .leader = r->leader,
        .role = r->role,
        .hard = {r->term, r->vote, r->log.commit},
        .first = r->log.snapshot_index + 1,
        .last = raft_log_last(&r->log),
        .applied = r->log.applied,
        .last_term = raft_log_last_term(&r->log),
        .recovering = raft_is_recovering(r),
        .transferee = r->transferee,
        .uncommitted_bytes = r->uncommitted_bytes,
        .log_bytes = r->log.bytes,
    };
}

const struct raft_conf *raft_get_conf(const struct raft *r)
{
    return &r->conf;
}

enum status raft_get_progress(const struct raft *r, raft_id id, struct raft_progress *ret_progress)
{
    int slot = raft_slot(r, id);
    const struct progress *p;

    if (r->role != RAFT_LEADER)
        return ST_NOT_LEADER;
    if (slot < 0)
        return ST_NOT_FOUND;
    p = &r->progress[slot];
    *ret_progress = (struct raft_progress){
        id == r->options.id ? r->log.stored : p->match, p->next, p->state, p->inflight_count, p->active, p->unfit};
    return ST_OK;
}

raft_term raft_term_at(const struct raft *r, raft_index index)
{
    return raft_log_term(&r->log, index);
}

const struct raft_entry *raft_entry_at(const struct raft *r, raft_index index)
{
    bool is_held = index > r->log.snapshot_index && index <= raft_log_last(&r->log);

    return is_held ? *raft_log_slot(&r->log, index) : NULL;
}

void raft_set_trace(struct raft *r, void (*trace_fn)(void *arg, const char *line), void *arg)
{
    r->trace_fn = trace_fn;
    r->trace_arg = arg;
}
