/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leader whenever some node reaches a quorum. With pre-vote and check-quorum a partial partition costs a plain Raft at
 * most one election, but for the constrained one (Omni-Paxos, EuroSys 2023, section 2): the only node that reaches a
 * quorum lacks entries of a log that it reaches, so nobody there votes for it, and who has the entries reaches no quorum.
 * Nobody is elected until the network heals.
 *
 * So a pre-candidate that a quorum answered, and that was refused for its log alone, fetches what it lacks from the newest
 * log among those that refused it, and asks again. Entries of a newer log (by Raft 5.4.1) may replace those of an older
 * one, as if their leader had come by: if an entry of ours is ever committed, in any term, then every leader of a later
 * term has it, and so does every log that ends in that leader's term. Such a log is the newer one; and two logs that end
 * in one term differ in length only. What is replaced is therefore in no majority, and never will be.
 *
 * Only entries are fetched, no snapshot: whoever lacks some that the newer log holds no more waits for the network to heal. The owner
 * keeps enough of them (--snapshot-catchup-entries).
 */
#include "common/planted.h"
#include "raft/internal.h"

/* Is a log that ends at (index, term) newer than ours? */
static bool is_newer(const struct raft *r, raft_index index, raft_term term)
{
    if (PLANTED(pull_from_older_log))
        return term != raft_log_last_term(&r->log) || index > raft_log_last(&r->log);
    return term > raft_log_last_term(&r->log) || (term == raft_log_last_term(&r->log) && index > raft_log_last(&r->log));
}

/* ---- who lacks entries ---- */

void raft_note_newer_log(struct raft *r, const struct raft_message *m)
{
    if (!r->options.pull_log || !is_newer(r, m->index, m->log_term))
        return;
    if (r->newest.from && (m->log_term < r->newest.term ||
                           (m->log_term == r->newest.term && m->index <= r->newest.index)))
        return;
    r->newest.from = m->from;
    r->newest.index = m->index;
    r->newest.term = m->log_term;
}

raft_id raft_pull_source(const struct raft *r)
{
    bool answered[RAFT_MEMBERS_MAX];

    for (unsigned i = 0; i < r->members.count; i++)
        answered[i] = r->votes[i] != VOTE_OPEN;
    return r->newest.from && raft_conf_has_quorum(&r->conf, &r->members, answered) ? r->newest.from : 0;
}

static bool may_pull(const struct raft *r)
{
    return !r->leader && (r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE);
}

/* What comes behind this entry of ours? */
static void ask(struct raft *r, raft_id from, raft_index behind)
{
    struct raft_message *m = raft_emit(r, &r->out, RAFT_MSG_PULL, from);

    r->pull.from = from;
    r->pull.behind = behind;
    m->index = behind;
    m->log_term = raft_log_term(&r->log, behind);
}

void raft_pull(struct raft *r, raft_id from)
{
    if (!may_pull(r))
        return;
    raft_trace(r, "%llx reaches a quorum, and fetches entries of %llx", (unsigned long long)r->options.id,
               (unsigned long long)from);
    ask(r, from, raft_log_last(&r->log));
}

static bool replaces_entries(const struct raft *r, const struct raft_message *m)
{
    for (size_t i = 0; i < m->entry_count && m->entries[i]->index <= raft_log_last(&r->log); i++)
        if (m->entries[i]->index > r->log.snapshot_index &&
            raft_log_term(&r->log, m->entries[i]->index) != m->entries[i]->term)
            return true;
    return false;
}

/* The logs part before what we asked about: try where they may agree at best. */
static void ask_lower(struct raft *r, const struct raft_message *m)
{
    raft_index behind = raft_log_agreement(&r->log, m->hint_index, m->hint_term);

    if (behind < r->pull.behind && behind >= r->log.commit)
        ask(r, m->from, behind);
}

void raft_on_pull_response(struct raft *r, const struct raft_message *m)
{
    raft_index last_new = m->index + m->entry_count;

    if (!may_pull(r) || m->from != r->pull.from || m->index != r->pull.behind)
        return;
    if (m->reject) {
        ask_lower(r, m);
        return;
    }
    if (!raft_entries_make_sense(m) || !is_newer(r, m->hint_index, m->hint_term) || m->hint_index < last_new ||
        raft_log_term(&r->log, m->index) != m->log_term || !m->entry_count)
        return;
    /*
     * What we said that we hold must not be missed by the leader of this term, should there be one: it has to hear of a
     * later term from us, and begin anew.
     */
    if (replaces_entries(r, m) && !PLANTED(pull_without_new_term)) {
        if (r->term == RAFT_NUMBER_MAX)
            return;
        raft_become_follower(r, r->term + 1, 0);
    }
    if (!raft_merge_entries(r, m))
        return;
    r->election_elapsed = 0; /* it goes on well */
    raft_commit_to(r, m->commit < last_new ? m->commit : last_new);
    if (is_newer(r, m->hint_index, m->hint_term))
        ask(r, m->from, raft_log_last(&r->log));
    else
        raft_start_election(r, r->options.pre_vote, false);
}

/* ---- who has them ---- */

void raft_on_pull(struct raft *r, const struct raft_message *m)
{
    if (!r->options.pull_log || raft_in_lease(r))
        return;
    r->asked.from = m->from;
    r->asked.behind = m->index;
    r->asked.term = m->log_term;
}

void raft_fill_pull_response(struct raft *r)
{
    struct raft_message *m;
    raft_index behind = r->asked.behind;

    if (!r->asked.from)
        return;
    m = raft_emit(r, &r->out, RAFT_MSG_PULL_RESPONSE, r->asked.from);
    r->asked.from = 0;
    m->index = behind;
    if (behind < r->log.snapshot_index || behind > raft_log_last(&r->log) ||
        raft_log_term(&r->log, behind) != r->asked.term) {
        m->reject = true;
        m->hint_index = raft_log_agreement(&r->log, behind, r->asked.term);
        m->hint_term = raft_log_term(&r->log, m->hint_index);
        return;
    }
    m->log_term = r->asked.term;
    m->entry_count = raft_count_for_message(r, behind + 1);
    m->entries = m->entry_count ? raft_log_slot(&r->log, behind + 1) : NULL; /* valid until raft_advance */
    m->commit = r->log.commit;
    m->hint_index = raft_log_last(&r->log);
    m->hint_term = raft_log_last_term(&r->log);
}
