/* SPDX-License-Identifier: Apache-2.0 */
/* What a follower does with what its leader sends. Raft 5.3 */
#include "common/planted.h"
#include "raft/internal.h"

/* Appends come from outside: indexes in sequence, terms that never fall and are not of the future. */
bool raft_entries_make_sense(const struct raft_message *m)
{
    raft_term term = m->log_term;

    if (m->entry_count && !m->entries)
        return false;
    if (m->index > UINT64_MAX - m->entry_count - 1)
        return false;
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = m->entries[i];
        if (!e || e->index != m->index + 1 + i || e->term < term || e->term > m->term || !e->term)
            return false;
        term = e->term;
    }
    return true;
}

void raft_commit_to(struct raft *r, raft_index index)
{
    if (index > raft_log_last(&r->log))
        index = raft_log_last(&r->log);
    if (index > r->log.commit)
        r->log.commit = index;
}

static struct raft_message *answer_append(struct raft *r, const struct raft_message *m, raft_index index)
{
    /* "I hold it" is a promise: it leaves when it is true on disk. */
    struct raft_message *answer = raft_emit(r, PLANTED(ack_before_sync) ? &r->out : &r->after, RAFT_MSG_APPEND_RESPONSE, m->from);

    answer->index = index;
    return answer;
}

/* Append what is new; an entry that differs is replaced with all behind it. False: it would touch what is committed. */
bool raft_merge_entries(struct raft *r, const struct raft_message *m)
{
    for (size_t i = 0; i < m->entry_count; i++) {
        struct raft_entry *e = m->entries[i];
        if (e->index <= raft_log_last(&r->log)) {
            if (e->index <= r->log.snapshot_index || raft_log_term(&r->log, e->index) == e->term || PLANTED(conflict_kept))
                continue;
            if (e->index <= r->log.commit) {
                raft_trace(r, "%llx ignores an append that contradicts what is committed at %llu",
                           (unsigned long long)r->options.id, (unsigned long long)e->index);
                return false;
            }
            raft_log_truncate(&r->log, e->index);
        }
        raft_log_append(&r->log, e);
    }
    return true;
}

void raft_on_append(struct raft *r, const struct raft_message *m)
{
    struct raft_message *answer;
    raft_index last_new;

    if (!raft_entries_make_sense(m))
        return;
    if (m->index < r->log.commit) {
        answer_append(r, m, r->log.commit);
        return;
    }
    if (m->index <= raft_log_last(&r->log) && (raft_log_term(&r->log, m->index) == m->log_term || PLANTED(no_log_matching))) {
        if (!raft_merge_entries(r, m))
            return;
        last_new = m->index + m->entry_count;
        if (PLANTED(truncate_without_conflict) && raft_log_last(&r->log) > last_new && last_new >= r->log.commit)
            raft_log_truncate(&r->log, last_new + 1);
        raft_commit_to(r, m->commit < last_new || PLANTED(commit_beyond_append) ? m->commit : last_new);
        answer_append(r, m, last_new);
        return;
    }
    answer = answer_append(r, m, m->index);
    answer->reject = true;
    answer->hint_index = raft_log_agreement(&r->log, m->index, m->log_term);
    answer->hint_term = raft_log_term(&r->log, answer->hint_index);
}

void raft_on_heartbeat(struct raft *r, const struct raft_message *m)
{
    raft_commit_to(r, m->commit);
    if (m->hint_index > r->everywhere)
        r->everywhere = m->hint_index;
    raft_answer_heartbeat(r, m->from, m->context);
}

bool raft_wants_snapshot(const struct raft *r, raft_index index, raft_term term)
{
    return (index > r->log.commit && (index > raft_log_last(&r->log) || raft_log_term(&r->log, index) != term)) ||
           PLANTED(stale_snapshot);
}

/*
 * The announcement of a snapshot. If what it holds is here already, say so, and the leader goes on from there: past it, or the
 * very entry is in the log, which then agrees with the leader's up to it, and all of that is committed (etcd raft: restore).
 */
void raft_on_snapshot(struct raft *r, const struct raft_message *m)
{
    if (!m->log_term || m->log_term > m->term || raft_wants_snapshot(r, m->index, m->log_term))
        return;
    raft_commit_to(r, m->index);
    answer_append(r, m, r->log.commit);
}
