/* SPDX-License-Identifier: Apache-2.0 */
/* Roles and how they change. Raft 5.2, 5.4.1; pre-vote: thesis 9.6; leader stickiness: thesis 4.2.3 and 6.2. */
#include "common/planted.h"
#include "raft/internal.h"

#define EARLY_TRIES_MAX 2 /* elections given up early in a row, until there is a leader */

static void reset(struct raft *r, raft_term term)
{
    if (r->term != term) {
        r->term = term;
        r->vote = 0;
    }
    r->leader = 0;
    r->election_elapsed = r->heartbeat_elapsed = 0;
    r->election_timeout = r->options.election_ticks + (unsigned)rng_below(&r->rng, r->options.election_ticks);
    r->transferee = 0;
    r->gives_way = false;
    r->newest.from = r->pull.from = r->asked.from = 0;
    r->uncommitted_bytes = 0;
    if (!PLANTED(reads_outlive_term))
        raft_drop_reads(r);
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        r->votes[i] = VOTE_OPEN;
}

/*
 * This node lost its log, and what it acknowledged in terms up to lost_term. Whoever leads a later term was elected without its vote;
 * so among those who voted is one that still holds, and had before it voted, any entry that was committed with this
 * node's help (two majorities meet, and not here), and by 5.4.1 the leader holds it. It has begun with an entry of its
 * own term behind all that: a log that ends in such a term is a leader's up to there (log matching), so nothing is missing any more.
 * Entries it takes meanwhile it has, and says so as any follower: no promise is in doubt but those of old.
 */
bool raft_is_recovering(const struct raft *r)
{
    return !PLANTED(lost_log_votes) && r->options.lost_term && raft_log_last_term(&r->log) <= r->options.lost_term;
}

void raft_become_follower(struct raft *r, raft_term term, raft_id leader)
{
    reset(r, term);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    raft_trace(r, "%llx became follower at term %llu", (unsigned long long)r->options.id, (unsigned long long)term);
}

/*
 * Raft lets who lost an election wait for a whole election timeout, so that whoever won it is heard first. But who asks again for a
 * pre-vote disturbs nobody, and who was refused may well have lost; so these ask again sooner, and of two that took each
 * other's votes one does (gives_way): where some node reaches a quorum, a leader is there within four election timeouts. Not for
 * ever: of an election that is given up early, votes may be on their way, behind a slow disk.
 */
static void ask_again_within(struct raft *r, unsigned ticks)
{
    unsigned left = 1 + (unsigned)rng_below(&r->rng, ticks);

    if (r->election_timeout - r->election_elapsed > left)
        r->election_elapsed = r->election_timeout - left;
}

bool raft_in_lease(const struct raft *r)
{
    return r->options.check_quorum && r->leader && r->election_elapsed < r->options.election_ticks;
}

static void decide(struct raft *r, bool transfer)
{
    switch (raft_conf_outcome(&r->conf, &r->members, r->votes)) {
    case VOTE_GRANTED:
        if (r->role == RAFT_PRE_CANDIDATE)
            raft_start_election(r, false, transfer);
        else
            raft_become_leader(r);
        break;
    case VOTE_REJECTED:
        /* A lost pre-vote leaves the term as it is: nobody was disturbed. */
        raft_become_follower(r, r->term, 0);
        break;
    case VOTE_OPEN:
        break;
    }
}

void raft_start_election(struct raft *r, bool pre_vote, bool transfer)
{
    if (!raft_may_campaign(r))
        return;
    if (pre_vote) {
        /* Not reset(): the term and the vote stay. */
        reset(r, r->term);
        r->role = RAFT_PRE_CANDIDATE;
        ask_again_within(r, r->options.election_ticks); /* it disturbs nobody */
    } else {
        reset(r, r->term + 1);
        r->role = RAFT_CANDIDATE;
        r->vote = r->options.id;
    }
    raft_trace(r, "%llx became %scandidate at term %llu", (unsigned long long)r->options.id, pre_vote ? "pre-" : "",
               (unsigned long long)r->term);
    r->votes[raft_slot(r, r->options.id)] = VOTE_GRANTED;
    for (unsigned i = 0; i < r->members.count; i++) {
        struct raft_message *m;
        if (r->members.ids[i] == r->options.id || !raft_conf_is_voter(&r->conf, r->members.ids[i]))
            continue;
        /* The own vote is durable before anybody's answer can come: the request waits for the storage. */
        m = raft_emit(r, pre_vote || PLANTED(candidate_before_sync) ? &r->out : &r->after, pre_vote ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE,
                      r->members.ids[i]);
        m->term = pre_vote ? r->term + 1 : r->term;
        m->index = raft_log_last(&r->log);
        m->log_term = raft_log_last_term(&r->log);
        m->transfer = transfer;
    }
    decide(r, transfer);
}

void raft_on_vote(struct raft *r, const struct raft_message *m)
{
    bool pre = m->type == RAFT_MSG_PRE_VOTE;
    bool free_to = r->vote == m->from || (!r->vote && !r->leader) || (pre && m->term > r->term) || PLANTED(vote_twice);
    bool granted = free_to && !raft_is_recovering(r) &&
                   (raft_log_is_up_to_date(&r->log, m->index, m->log_term) || PLANTED(vote_without_log_check));
    struct raft_message *answer;

    /* A vote is a promise: it leaves when it is durable. A pre-vote promises nothing. */
    answer = raft_emit(r, pre || PLANTED(vote_before_sync) ? &r->out : &r->after, pre ? RAFT_MSG_PRE_VOTE_RESPONSE : RAFT_MSG_VOTE_RESPONSE,
                       m->from);
    answer->reject = !granted;
    /*
     * A granted pre-vote is for the term that was asked about; a refusal tells ours, and what is committed: the entry may
     * be the change after which the candidate does not need us any more (a member that was removed has the longer log).
     */
    if (granted) {
        answer->term = m->term;
    } else {
        answer->commit = r->log.commit;
        answer->hint_term = raft_log_term(&r->log, r->log.commit);
        if (pre && free_to && r->options.pull_log) {
            answer->index = raft_log_last(&r->log);
            answer->log_term = raft_log_last_term(&r->log);
            if (r->term < m->term - 1)
                answer->term = m->term - 1; /* theirs: from an older one they would not hear it */
        }
    }
    if (granted && !pre) {
        r->vote = m->from;
        r->election_elapsed = 0;
    }
    if (!pre && r->role == RAFT_CANDIDATE && m->from > r->options.id && raft_log_is_up_to_date(&r->log, m->index, m->log_term))
        r->gives_way = true;
    raft_trace(r, "%llx %s %s of %llx at term %llu", (unsigned long long)r->options.id,
               granted ? "granted" : "refused", pre ? "pre-vote" : "vote", (unsigned long long)m->from,
               (unsigned long long)m->term);
}

void raft_on_vote_response(struct raft *r, const struct raft_message *m)
{
    int slot = raft_slot(r, m->from);
    bool committed = m->reject && m->hint_term &&
                     (raft_log_term(&r->log, m->commit) == m->hint_term ||
                      (PLANTED(refusal_commit_unchecked) && m->commit <= raft_log_last(&r->log)));
    bool fits = (r->role == RAFT_PRE_CANDIDATE && m->type == RAFT_MSG_PRE_VOTE_RESPONSE) ||
                (r->role == RAFT_CANDIDATE && m->type == RAFT_MSG_VOTE_RESPONSE);
    raft_id source;
    bool gives_way;

    if (committed && r->role != RAFT_LEADER && m->commit > r->log.commit)
        r->log.commit = m->commit;
    if (!fits || slot < 0 || r->votes[slot] != VOTE_OPEN)
        return;
    /* An answer to an older round of pre-votes was for an older term. */
    if (r->role == RAFT_PRE_CANDIDATE && !m->reject && m->term != r->term + 1)
        return;
    r->votes[slot] = m->reject ? VOTE_REJECTED : VOTE_GRANTED;
    if (m->reject)
        raft_note_newer_log(r, m);
    source = r->role == RAFT_PRE_CANDIDATE ? raft_pull_source(r) : 0;
    gives_way = r->gives_way;
    decide(r, false);
    if (m->reject && !gives_way && (r->role != RAFT_CANDIDATE || r->early_tries < EARLY_TRIES_MAX)) {
        r->early_tries += r->role == RAFT_CANDIDATE;
        ask_again_within(r, (r->options.election_ticks + 1) / 2);
    }
    if (source)
        raft_pull(r, source);
}
