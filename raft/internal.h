/* SPDX-License-Identifier: Apache-2.0 */
/* The private parts of the core, shared by the files of this room. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "common/rng.h"
#include "raft/raft.h"

/* ---- log.c: the window of entries in memory ---- */

/* A batch of entries that is with the storage, and how far the log is durable once the batch is. */
struct unstored {
    uint64_t batch;
    raft_index last;
};

/*
 * Entries snapshot_index+1 .. last, as one array of references. What the storage was given, has made durable, what is
 * committed and what was handed out for applying are marks in it:
 *     snapshot_index <= applied <= handed <= min(commit, stored),  stored <= given <= last,  commit <= last
 */
struct raft_log {
    struct raft_entry **slots;
    size_t from, count, cap; /* slots[from .. from+count) */
    size_t bytes; /* data of the entries */
    raft_index snapshot_index;
    raft_term snapshot_term;
    struct unstored *unstored; /* ascending batch; last never above what the log still holds of the batch */
    size_t unstored_count, unstored_cap;
    raft_index given;   /* handed to storage */
    raft_index stored;  /* durable here */
    raft_index commit;
    raft_index handed;  /* in a ready batch for applying */
    raft_index applied;
};

void raft_log_init(struct raft_log *l, const struct raft_options *options);
void raft_log_fini(struct raft_log *l);
static inline raft_index raft_log_last(const struct raft_log *l)
{
    return l->snapshot_index + l->count;
}
raft_term raft_log_last_term(const struct raft_log *l);
/* 0 if it is not there. */
raft_term raft_log_term(const struct raft_log *l, raft_index index);
/* The slot of an index that is in the window. */
struct raft_entry **raft_log_slot(const struct raft_log *l, raft_index index);
/* Takes a reference. */
void raft_log_append(struct raft_log *l, struct raft_entry *e);
/* Drop index and all behind it; index > commit. */
void raft_log_truncate(struct raft_log *l, raft_index index);
/* Is a log that ends at (index, term) at least as new as this one? Raft 5.4.1 */
bool raft_log_is_up_to_date(const struct raft_log *l, raft_index index, raft_term term);
/* The last index <= `index` whose term is <= `term`: where two logs may agree at best. */
raft_index raft_log_agreement(const struct raft_log *l, raft_index index, raft_term term);
/* Everything up to the last entry goes to storage in this batch. */
void raft_log_give(struct raft_log *l, uint64_t batch);
/* All batches up to this one are durable. False: nothing new in that. */
bool raft_log_store(struct raft_log *l, uint64_t batch);
void raft_log_compact(struct raft_log *l, raft_index index);
void raft_log_reset(struct raft_log *l, raft_index index, raft_term term);

/* ---- conf.c: who counts ---- */

#define RAFT_MEMBERS_MAX (2 * RAFT_VOTERS_MAX + RAFT_LEARNERS_MAX)

/* Everybody in a configuration. What is kept of each stands in arrays beside, at the place of the id: its slot. */
struct raft_members {
    raft_id ids[RAFT_MEMBERS_MAX]; /* ascending */
    unsigned count;
};

enum vote { VOTE_OPEN, VOTE_GRANTED, VOTE_REJECTED };

void raft_conf_members(const struct raft_conf *c, struct raft_members *ret_members);
/* -1 if it is none. */
int raft_members_slot(const struct raft_members *m, raft_id id);
/* In either half. */
bool raft_conf_is_voter(const struct raft_conf *c, raft_id id);
unsigned raft_quorum_of(unsigned count);
/* The largest value that a quorum (of both halves) has reached; values by slot. */
uint64_t raft_conf_reached(const struct raft_conf *c, const struct raft_members *m, const uint64_t *values);
bool raft_conf_has_quorum(const struct raft_conf *c, const struct raft_members *m, const bool *there);
/* Of an election so far: rejected once no quorum can come together any more. */
enum vote raft_conf_outcome(const struct raft_conf *c, const struct raft_members *m, const enum vote *votes);

/* ---- progress.c: a leader's view of one member ---- */

struct inflight {
    raft_index last; /* of the append */
    size_t bytes;
};

/* A life of a member that forwards proposals, and the last of them that was taken. */
struct proposer {
    uint64_t life, last;
};
/* Restarts within one term whose late proposals are still known for what they are. */
#define PROPOSER_LIVES 8u

struct progress {
    raft_index match, next;
    enum raft_progress_state state;
    bool paused;            /* RAFT_PROBE: one append is out, wait for its answer or a heartbeat's */
    bool active;            /* heard from in the last election_ticks */
    bool unfit;             /* it said last that it could not take the lead */
    unsigned silent;        /* ticks since then, of a leader */
    raft_index lacks;       /* RAFT_PROBE: it said that it does not hold this entry of ours; 0: none */
    raft_index sent_commit; /* the newest commit index that an append carried */
    uint64_t read_round;    /* the newest round of heartbeats that it answered */
    struct inflight *inflight; /* a ring of options.inflight_messages_max */
    unsigned inflight_from, inflight_count;
    size_t inflight_bytes;
    struct proposer proposers[PROPOSER_LIVES];
    unsigned proposer_next; /* the place that a new one takes */
};

void raft_progress_reset(struct progress *p, raft_index next);
static inline void raft_progress_heard(struct progress *p)
{
    p->active = true;
    p->silent = 0;
}
void raft_progress_probe(struct progress *p);
void raft_progress_replicate(struct progress *p);
/* Entries up to index are held there. False: old news. */
bool raft_progress_accept(struct progress *p, raft_index index);
/* The append behind `rejected` did not fit; it may fit behind `agreement`. False: old news. */
bool raft_progress_reject(struct progress *p, raft_index rejected, raft_index agreement);
bool raft_progress_is_full(const struct progress *p, const struct raft_options *o);
void raft_progress_sent(struct progress *p, const struct raft_options *o, raft_index last, size_t bytes);
void raft_progress_free_inflight(struct progress *p, const struct raft_options *o, raft_index up_to);
/* The count-th proposal of that life of the member. False: it, or a later one, was here before. */
bool raft_progress_take_proposal(struct progress *p, uint64_t life, uint64_t count);

/* ---- the core ---- */

/* A read that waits for its round of heartbeats (or, round 0, for one to begin). */
struct pending_read {
    raft_id from; /* ourselves, or the follower that asked */
    uint64_t context;
    uint64_t round;
    raft_index index;
};

struct message_list {
    struct raft_message *items;
    size_t count, cap;
};

struct raft {
    struct raft_options options;
    struct raft_conf conf;
    struct raft_members members; /* of conf */
    raft_index pending_conf;     /* leader: no change may be proposed before this is applied */
    struct raft_log log;
    struct rng rng;
    raft_term term;
    raft_id vote, leader;
    enum raft_role role;
    enum raft_fitness fitness;
    unsigned election_elapsed, heartbeat_elapsed; /* ticks */
    unsigned election_timeout;                    /* ticks, drawn anew each time */
    unsigned early_tries;                         /* elections given up before their time, since a leader was there */
    bool gives_way;                               /* a candidate: another one of this term has the greater id, and may win */
    enum vote votes[RAFT_MEMBERS_MAX];         /* by slot of members, as progress is */
    struct progress progress[RAFT_MEMBERS_MAX];
    raft_index everywhere;    /* what every member holds, as the leader last said */
    raft_id transferee;
    raft_term led;               /* the last term in which we led; progress is of that term */
    raft_index mute_until;       /* leader: what is to be stored before anybody hears of its term (raft/leader.c) */
    struct raft_entry **kept;    /* proposals that came too late for it: for the next leader */
    size_t kept_count, kept_cap, kept_bytes;
    struct {
        raft_id from;
        raft_index index;
        raft_term term;
    } newest;                 /* the newest log that refused our pre-vote; from 0: none did */
    struct {
        raft_id from;
        raft_index behind;
    } pull;                   /* whose entries we wait for, and behind which of ours; from 0: nobody's */
    struct {
        raft_id from;
        raft_index behind;
        raft_term term;
    } asked;                  /* who waits for ours; from 0: nobody */
    size_t uncommitted_bytes; /* leader: in the log and not committed */
    uint64_t read_round;      /* of heartbeats; never goes back, so an old answer confirms nothing new */
    struct pending_read *reads;
    size_t read_count, read_cap;
    bool reads_recount;       /* the configuration changed: a round may be confirmed already */
    /* what the next ready batch carries */
    struct message_list out, after;
    struct raft_entry **forward; /* proposals for the leader */
    size_t forward_count, forward_cap;
    uint64_t forward_life, forward_messages; /* see RAFT_MSG_PROPOSE */
    struct raft_read_state *read_states;
    size_t read_state_count, read_state_cap;
    struct raft_hard_state emitted;
    uint64_t batch; /* of the last ready */
    bool in_ready;
    bool applying_is_put_off;
    void (*trace_fn)(void *arg, const char *line);
    void *trace_arg;
};

/* What it counts for in a message. */
static inline size_t raft_entry_bytes(const struct raft_entry *e)
{
    return e->len + RAFT_ENTRY_OVERHEAD_BYTES;
}

/* raft.c */
void raft_trace(struct raft *r, const char *format, ...) PRINTF_LIKE(2, 3);
struct raft_message *raft_emit(struct raft *r, struct message_list *list, enum raft_message_type type, raft_id to);
/* -1 if it is no member. */
static inline int raft_slot(const struct raft *r, raft_id id)
{
    return raft_members_slot(&r->members, id);
}

/* conf_change.c */
void raft_switch_conf(struct raft *r, const struct raft_conf *conf);
void raft_trace_conf(struct raft *r);
/* A leader: the last change is applied, and it has committed in its own term. */
bool raft_may_change_conf(const struct raft *r);
/* A leader may append it now: ST_OK, or why not. */
enum status raft_judge_conf_entry(const struct raft *r, const struct raft_entry *e);
void raft_maybe_leave_joint(struct raft *r);
/* A voter that is fit to lead and applied every change it knows to be committed. */
bool raft_may_campaign(const struct raft *r);
/* election.c */
bool raft_is_recovering(const struct raft *r);

/* election.c */
void raft_become_follower(struct raft *r, raft_term term, raft_id leader);
void raft_start_election(struct raft *r, bool pre_vote, bool transfer);
void raft_on_vote(struct raft *r, const struct raft_message *m);
void raft_on_vote_response(struct raft *r, const struct raft_message *m);
/* The leader is alive as far as we know, and nobody should disturb it. Thesis 6.2 and 4.2.3 */
bool raft_in_lease(const struct raft *r);

/* leader.c */
void raft_become_leader(struct raft *r);
enum status raft_append_proposals(struct raft *r, struct raft_entry *const *entries, size_t count);
void raft_send_heartbeats(struct raft *r, uint64_t round);
void raft_maybe_commit(struct raft *r);
void raft_on_append_response(struct raft *r, const struct raft_message *m);
void raft_on_heartbeat_response(struct raft *r, const struct raft_message *m);
/* One more tick without hearing of them, but for those that were heard of: is it still a quorum? */
bool raft_hears_quorum(struct raft *r);
/* How many entries from `next` on make one message. */
size_t raft_count_for_message(const struct raft *r, raft_index next);
/* Appends for whoever can take some: into the ready batch. */
void raft_fill_appends(struct raft *r);

/* follower.c */
/* Entries come from outside: indexes in sequence, terms that never fall and are not of the future. */
bool raft_entries_make_sense(const struct raft_message *m);
/* Append what is new; an entry that differs is replaced with all behind it. False: it would touch what is committed. */
bool raft_merge_entries(struct raft *r, const struct raft_message *m);
void raft_commit_to(struct raft *r, raft_index index);
void raft_on_append(struct raft *r, const struct raft_message *m);
void raft_on_heartbeat(struct raft *r, const struct raft_message *m);
void raft_on_snapshot(struct raft *r, const struct raft_message *m);

/* transfer.c */
/* The leader is told to count on this voter as an heir, or not to. */
void raft_answer_heartbeat(struct raft *r, raft_id to, uint64_t context);
void raft_on_timeout_now(struct raft *r, const struct raft_message *m);
/* It says whether it could lead. */
void raft_note_fitness(struct raft *r, struct progress *p, const struct raft_message *m);
/* They came while leadership goes: for whoever has it next. ST_TOO_MANY_REQUESTS. */
enum status raft_keep_proposals(struct raft *r, struct raft_entry *const *entries, size_t count);
/* Is it known who leads now? There they go. */
void raft_place_kept_proposals(struct raft *r);

/* pull.c */
/* Our pre-vote was refused by one with a newer log. */
void raft_note_newer_log(struct raft *r, const struct raft_message *m);
/* Whose log to fetch: 0 if nobody's is newer, or no quorum answered. */
raft_id raft_pull_source(const struct raft *r);
void raft_pull(struct raft *r, raft_id from);
void raft_on_pull(struct raft *r, const struct raft_message *m);
void raft_on_pull_response(struct raft *r, const struct raft_message *m);
void raft_fill_pull_response(struct raft *r);

/* read.c */
void raft_queue_read(struct raft *r, raft_id from, uint64_t context);
void raft_begin_read_round(struct raft *r);
void raft_confirm_reads(struct raft *r);
void raft_drop_reads(struct raft *r);
void raft_add_read_state(struct raft *r, uint64_t context, raft_index index);

#endif
