/* SPDX-License-Identifier: Apache-2.0 */
/* What a leader does: append, replicate, commit. Raft 5.3, 5.4.2. */
#include "common/planted.h"
#include "raft/internal.h"

/*
 * A candidate asks when its own vote is durable, so whoever got an answer may say at once what it likes. One whose own vote is enough
 * leads before any disk knows of the term. After a crash it would lead that term once more, with other entries: so it says
 * nothing before its first entry is stored, and with it the term. (Its learners would hold what nobody ever committed.)
 */
static bool was_elected_alone(const struct raft *r)
{
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->votes[i] == VOTE_GRANTED && r->members.ids[i] != r->options.id)
            return false;
    return true;
}

static bool is_mute(const struct raft *r)
{
    return r->log.stored < r->mute_until;
}

/* Of an entry, in uncommitted_bytes. Empty ones, a leader's own, are never refused. */
static size_t uncommitted_bytes_of(const struct raft_entry *e)
{
    return e->len ? raft_entry_bytes(e) : 0;
}

/* What earlier terms left counts too: else each of many short ones would add as much again. */
static size_t tail_bytes(struct raft *r)
{
    size_t bytes = 0;

    for (raft_index i = r->log.commit + 1; i <= raft_log_last(&r->log); i++)
        bytes += uncommitted_bytes_of(*raft_log_slot(&r->log, i));
    return bytes;
}

void raft_become_leader(struct raft *r)
{
    struct raft_entry *no_op = raft_entry_new(RAFT_ENTRY_NORMAL, 0);
    enum status st;

    r->role = RAFT_LEADER;
    r->leader = r->options.id;
    r->led = r->term;
    r->heartbeat_elapsed = r->election_elapsed = r->early_tries = 0;
    r->uncommitted_bytes = tail_bytes(r);
    r->pending_conf = raft_log_last(&r->log); /* there may be one among them */
    for (unsigned i = 0; i < r->members.count; i++) {
        raft_progress_reset(&r->progress[i], raft_log_last(&r->log) + 1);
        r->progress[i].active = true; /* gets one election timeout to be heard from */
    }
    raft_trace(r, "%llx became leader at term %llu", (unsigned long long)r->options.id,
               (unsigned long long)r->term);
    /* Only an entry of its own term lets a leader know what is committed. Raft 8 */
    st = raft_append_proposals(r, &no_op, 1);
    INVARIANT(st == ST_OK);
    r->mute_until = was_elected_alone(r) ? no_op->index : 0;
    raft_entry_unref(no_op);
}

enum status raft_append_proposals(struct raft *r, struct raft_entry *const *entries, size_t count)
{
    size_t bytes = 0;

    if (raft_slot(r, r->options.id) < 0)
        return ST_NO_LEADER; /* removed: what is under way may end, nothing new begins */
    for (size_t i = 0; i < count; i++) {
        enum status st = entries[i]->type == RAFT_ENTRY_CONF ? raft_judge_conf_entry(r, entries[i]) : ST_OK;
        if (st == ST_OK && entries[i]->type == RAFT_ENTRY_CONF && count > 1)
            st = ST_BAD_ARGUMENT;
        if (st != ST_OK)
            return st;
        bytes += uncommitted_bytes_of(entries[i]);
    }
    /* A single large proposal is let through when nothing else is under way, and so are empty ones. */
    if (bytes && r->uncommitted_bytes && r->uncommitted_bytes + bytes > r->options.uncommitted_bytes_max && !PLANTED(uncommitted_unbounded))
        return ST_TOO_MANY_REQUESTS;
    r->uncommitted_bytes += bytes;
    for (size_t i = 0; i < count; i++) {
        entries[i]->term = r->term;
        entries[i]->index = raft_log_last(&r->log) + 1;
        raft_log_append(&r->log, entries[i]);
        if (entries[i]->type == RAFT_ENTRY_CONF)
            r->pending_conf = entries[i]->index;
    }
    return ST_OK;
}

raft_index raft_match_min(const struct raft *r)
{
    raft_index lowest = UINT64_MAX;

    if (r->role != RAFT_LEADER)
        return r->everywhere;
    for (unsigned i = 0; i < r->members.count; i++) {
        raft_index match =
            r->members.ids[i] == r->options.id ? r->log.stored : r->progress[i].match;
        if (match < lowest)
            lowest = match;
    }
    return lowest;
}

raft_index raft_match_min_streaming(const struct raft *r)
{
    raft_index lowest = UINT64_MAX;

    for (unsigned i = 0; r->role == RAFT_LEADER && i < r->members.count; i++) {
        const struct progress *p = &r->progress[i];
        if (r->members.ids[i] != r->options.id && p->state == RAFT_REPLICATE && p->match < lowest)
            lowest = p->match;
    }
    return lowest;
}

void raft_send_heartbeats(struct raft *r, uint64_t round)
{
    raft_index everywhere = raft_match_min(r);

    if (is_mute(r))
        return;
    for (unsigned i = 0; i < r->members.count; i++) {
        struct progress *p = &r->progress[i];
        struct raft_message *m;
        if (r->members.ids[i] == r->options.id)
            continue;
        m = raft_emit(r, &r->out, RAFT_MSG_HEARTBEAT, r->members.ids[i]);
        /* Only what is known to be there: its log may differ beyond. */
        m->commit = p->match < r->log.commit && !PLANTED(heartbeat_commit_unbounded) ? p->match : r->log.commit;
        m->context = round;
        m->hint_index = everywhere;
    }
}

/* Raft 5.4.2: an entry of an older term is never committed by counting; it is, once one of ours behind it is. */
void raft_maybe_commit(struct raft *r)
{
    uint64_t match[RAFT_MEMBERS_MAX] = {0};
    raft_index reached;

    if (r->role != RAFT_LEADER)
        return;
    for (unsigned i = 0; i < r->members.count; i++)
        match[i] = r->members.ids[i] == r->options.id ?
                       (PLANTED(leader_counts_itself_early) ? raft_log_last(&r->log) : r->log.stored) :
                       r->progress[i].match;
    reached = raft_conf_reached(&r->conf, &r->members, match);
    if (reached <= r->log.commit || (raft_log_term(&r->log, reached) != r->term && !PLANTED(commit_old_term)))
        return;
    for (raft_index i = r->log.commit + 1; i <= reached; i++)
        r->uncommitted_bytes -= uncommitted_bytes_of(*raft_log_slot(&r->log, i));
    r->log.commit = reached;
}

bool raft_hears_quorum(struct raft *r)
{
    bool active[RAFT_MEMBERS_MAX];

    for (unsigned i = 0; i < r->members.count; i++) {
        struct progress *p = &r->progress[i];
        if (p->silent < r->options.election_ticks)
            p->silent++;
        else
            p->active = false;
        active[i] = p->active || r->members.ids[i] == r->options.id;
        if (!active[i] && p->state == RAFT_REPLICATE)
            raft_progress_probe(p); /* nobody takes what is streamed, and nothing is to be kept for it */
    }
    return raft_conf_has_quorum(&r->conf, &r->members, active);
}

/* ---- replication ---- */

/* Tell it that a snapshot comes, of what is applied now, and wait for the owner's word. */
static void announce_snapshot(struct raft *r, struct progress *p, raft_id to)
{
    struct raft_message *m;

    if (!p->active)
        return; /* nobody there to take it */
    m = raft_emit(r, &r->out, RAFT_MSG_SNAPSHOT, to);
    m->index = r->log.applied;
    m->log_term = raft_log_term(&r->log, r->log.applied);
    p->state = RAFT_SNAPSHOT;
}

static size_t count_for_message(const struct raft *r, raft_index next, size_t *ret_bytes)
{
    size_t bytes = 0, count = 0;

    for (raft_index i = next; i <= raft_log_last(&r->log); i++) {
        size_t len = raft_entry_bytes(*raft_log_slot(&r->log, i));
        if (count && bytes + len > r->options.message_bytes_max)
            break;
        bytes += len;
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

size_t raft_count_for_message(const struct raft *r, raft_index next)
{
    size_t bytes;

    return count_for_message(r, next, &bytes);
}

/*
 * Entries that the member needs are gone, as far as we know of it. What we know may be old, and a snapshot is dear: first ask whether
 * it holds the entry where the log begins. It lacks all behind what it lacks. False: it does not; a snapshot is announced.
 */
static bool ask_at_the_beginning(struct raft *r, struct progress *p, raft_id to)
{
    if (p->lacks && p->lacks <= r->log.snapshot_index) {
        announce_snapshot(r, p, to);
        return false;
    }
    if (p->state != RAFT_PROBE)
        raft_progress_probe(p);
    p->next = r->log.snapshot_index + 1;
    return true;
}

/* One append behind next - 1, with or without entries. False: the stream has ended. */
static bool send_append(struct raft *r, struct progress *p, raft_id to, bool with_entries)
{
    size_t count, bytes = 0;
    struct raft_message *m;

    if (p->next <= r->log.snapshot_index && !ask_at_the_beginning(r, p, to))
        return false;
    count = with_entries ? count_for_message(r, p->next, &bytes) : 0;
    m = raft_emit(r, &r->out, RAFT_MSG_APPEND, to);
    m->index = p->next - 1;
    m->log_term = raft_log_term(&r->log, m->index);
    INVARIANT(!m->index == !m->log_term); /* a term of 0 would match a follower that lacks the entry (etcd raft 76f1249) */
    m->commit = r->log.commit;
    m->entries = count ? raft_log_slot(&r->log, p->next) : NULL; /* valid until raft_advance: nothing moves before */
    m->entry_count = count;
    p->sent_commit = r->log.commit;
    if (p->state == RAFT_PROBE)
        p->paused = true;
    else if (count)
        raft_progress_sent(p, &r->options, m->index + count, bytes);
    return p->state == RAFT_REPLICATE;
}

static void fill_one(struct raft *r, struct progress *p, raft_id to)
{
    if (p->state == RAFT_PROBE && !p->paused) {
        send_append(r, p, to, true);
        return;
    }
    if (p->state != RAFT_REPLICATE)
        return;
    while (p->next <= raft_log_last(&r->log) && !raft_progress_is_full(p, &r->options))
        if (!send_append(r, p, to, true))
            return;
    /* Nothing to carry the news that more is committed: an append of its own, so that followers apply without delay. */
    if (p->sent_commit < r->log.commit && p->next > raft_log_last(&r->log))
        send_append(r, p, to, false);
}

void raft_fill_appends(struct raft *r)
{
    if (r->role != RAFT_LEADER || is_mute(r))
        return;
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->members.ids[i] != r->options.id)
            fill_one(r, &r->progress[i], r->members.ids[i]);
}

/* ---- answers ---- */

static void on_rejected(struct raft *r, struct progress *p, const struct raft_message *m)
{
    raft_index agreement = m->hint_index;

    /* Skip everything of ours that is newer than the follower's term there: no shared entry can be among it. */
    if (m->hint_term)
        agreement = raft_log_agreement(&r->log, m->hint_index, m->hint_term);
    if (raft_progress_reject(p, m->index, agreement) && p->state == RAFT_REPLICATE)
        raft_progress_probe(p);
}

void raft_on_append_response(struct raft *r, const struct raft_message *m)
{
    int slot = raft_slot(r, m->from);
    struct progress *p;
    bool news;

    if (r->role != RAFT_LEADER || slot < 0)
        return;
    p = &r->progress[slot];
    raft_progress_heard(p);
    if (m->reject) {
        on_rejected(r, p, m);
        return;
    }
    if (m->index > raft_log_last(&r->log))
        return; /* nobody holds what was never written */
    news = raft_progress_accept(p, m->index);
    if (p->state == RAFT_PROBE && (news || p->match == m->index))
        raft_progress_replicate(p);
    else if (p->state == RAFT_SNAPSHOT && p->match >= r->log.snapshot_index)
        raft_progress_replicate(p); /* installed, or it had what was thought to be missing */
    else if (p->state == RAFT_REPLICATE)
        raft_progress_free_inflight(p, &r->options, m->index);
    if (news)
        raft_maybe_commit(r);
    if (m->from == r->transferee && p->match == raft_log_last(&r->log))
        raft_emit(r, &r->out, RAFT_MSG_TIMEOUT_NOW, m->from);
}

void raft_on_heartbeat_response(struct raft *r, const struct raft_message *m)
{
    int slot = raft_slot(r, m->from);
    struct progress *p;

    if (r->role != RAFT_LEADER || slot < 0)
        return;
    p = &r->progress[slot];
    raft_progress_heard(p);
    raft_note_fitness(r, p, m);
    if (!PLANTED(probe_never_repeated))
        p->paused = false;
    /* It lives, but an answer was lost: let one append through, its answer tells where the follower stands. */
    if (p->state == RAFT_REPLICATE && p->match < raft_log_last(&r->log) && raft_progress_is_full(p, &r->options))
        raft_progress_free_inflight(p, &r->options, p->inflight[p->inflight_from].last);
    if (p->state == RAFT_REPLICATE && p->match < raft_log_last(&r->log) && p->next > raft_log_last(&r->log))
        send_append(r, p, m->from, false);
    if (m->context > p->read_round && m->context <= r->read_round) {
        p->read_round = PLANTED(late_answer_confirms_all) ? r->read_round : m->context;
        raft_confirm_reads(r);
    }
}
