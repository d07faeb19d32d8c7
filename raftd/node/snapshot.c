/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: the sending side, and where messages about them go. */
#include "raftd/node/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "common/planted.h"
#include "mvcc/transfer.h"
#include "raftd/node/internal.h"

/* Elections' worth of ticks: unanswered chunks go out again; a receiver that says nothing is given up; pause after a failure. */
#define RESEND_ELECTIONS 1
#define SILENCE_ELECTIONS 4
#define PAUSE_ELECTIONS 1
/* How often the end is moved on. Each time is shorter by as much as sending is quicker than writing; if it is not, enough is enough. */
#define EXTENSIONS_MAX 16
/* A transfer rests only while it has sent so many times what was written meanwhile: it must come to an end. */
#define RESTING_LEAD 2
/* Ticks it rests for each in which it kept members and disks busy. One was enough for half the writes at the median, and not always. */
#define REST_TICKS 2
/* The longest rest at once, in elections: half of what a receiver waits for a sender that says nothing. */
#define REST_ELECTIONS_MAX 5

enum sender_stage { SENDER_WAITS, SENDER_SENDS, SENDER_PAUSES };

/* A chunk without an answer. */
struct sent_chunk {
    struct snapshot_message message; /* without its data */
    struct buf data;
};

struct snapshot_sender {
    raft_id to;
    raft_term term; /* ours */
    enum sender_stage stage;
    uint64_t transfer;
    /* what the end will say, as of when it was decided */
    raft_index index;
    raft_term log_term;
    mvcc_rev revision;
    struct buf state;
    struct buf trusted; /* as it was offered */
    unsigned extensions;
    /* the stream */
    bool begun; /* the receiver has said from where on */
    struct mvcc_position at;
    struct read_ahead ahead;
    uint64_t next, answered; /* chunks answered .. next - 1 are out, at chunks[number % SNAPSHOT_WINDOW] */
    struct sent_chunk chunks[SNAPSHOT_WINDOW];
    uint32_t crc;
    bool ended; /* the END is out */
    bool sent; /* something, since the last tick */
    unsigned silent_ticks, stalled_ticks, pause_ticks;
    unsigned rest_ticks;  /* owed to those who write */
    unsigned quiet_ticks; /* in which nobody's write ended */
    uint64_t bytes;      /* sent */
    uint64_t applied_begin, applied; /* node's bytes_applied: when it began; at the last tick */
    TAILQ_ENTRY(snapshot_sender) link;
};

static void sender_free(struct node *n, struct snapshot_sender *s)
{
    TAILQ_REMOVE(&n->senders, s, link);
    for (unsigned i = 0; i < SNAPSHOT_WINDOW; i++)
        buf_fini(&s->chunks[i].data);
    buf_fini(&s->state);
    buf_fini(&s->trusted);
    read_ahead_fini(&s->ahead);
    free(s);
}

static struct snapshot_sender *sender_find(struct node *n, raft_id to)
{
    struct snapshot_sender *s;

    TAILQ_FOREACH(s, &n->senders, link)
        if (s->to == to)
            return s;
    return NULL;
}

static void tell(struct node *n, const char *what, const struct snapshot_sender *s, const char *why)
{
    node_tell_snapshot(n, what, s->to, s->index, why);
}

/* The core hears of it after a pause: it would announce the next one at once. */
static void sender_fail(struct node *n, struct snapshot_sender *s, const char *why)
{
    if (s->stage == SENDER_PAUSES)
        return;
    if (s->stage == SENDER_SENDS)
        tell(n, "not sent", s, why);
    s->stage = SENDER_PAUSES;
    s->pause_ticks = PAUSE_ELECTIONS * n->options.election_ticks;
    for (unsigned i = 0; i < SNAPSHOT_WINDOW; i++)
        buf_fini(&s->chunks[i].data);
}

void snapshot_announced(struct node *n, raft_id to)
{
    struct snapshot_sender *s = sender_find(n, to);
    struct raft_status st;

    if (s)
        sender_free(n, s);
    raft_get_status(n->raft, &st);
    s = mem_zero(sizeof *s);
    s->to = to;
    s->term = st.hard.term;
    s->ahead.done_fn = n->options.work_fn;
    s->ahead.arg = n->options.arg;
    TAILQ_INSERT_TAIL(&n->senders, s, link);
}

/* ---- beginning ---- */

/* The end is here and now. */
static void sender_aim(struct node *n, struct snapshot_sender *s)
{
    s->index = mvcc_applied_index(n->options.store);
    s->log_term = raft_term_at(n->raft, s->index);
    if (!PLANTED(snapshot_index_ahead) || !s->extensions)
        s->revision = mvcc_revision(n->options.store);
    buf_clear(&s->state);
    node_encode_state(n, &s->state);
}

static void send_chunk(struct node *n, struct snapshot_sender *s, uint64_t number)
{
    struct sent_chunk *c = &s->chunks[number % SNAPSHOT_WINDOW];

    c->message.data = buf_slice(&c->data);
    n->options.send_snapshot_fn(n->options.arg, &c->message);
}

static void chunk_finish(struct node *n, struct snapshot_sender *s, enum snapshot_message_type type)
{
    struct sent_chunk *c = &s->chunks[s->next % SNAPSHOT_WINDOW];
    struct slice data = buf_slice(&c->data);

    s->crc = crc32c(s->crc, data.data, data.len);
    c->message = (struct snapshot_message){.type = type,
                                           .from = n->options.member_id,
                                           .to = s->to,
                                           .term = s->term,
                                           .transfer = s->transfer,
                                           .sequence = s->next,
                                           .index = s->index,
                                           .log_term = s->log_term,
                                           .revision = s->revision,
                                           .crc = s->crc};
    s->sent = true;
    s->bytes += data.len;
    send_chunk(n, s, s->next++);
}

/*
 * May what that member handed on be gone on behind? Not if CORRUPT names it; nor if it is no member any more: nobody compares what it
 * held. While it is known that somebody is wrong and not who, there is nobody but ourselves: what we send is no mixture then.
 */
static bool is_trusted(const struct node *n, raft_id id)
{
    const struct member *m = members_look_up(&n->members, id);

    return m && !m->corrupt && (!n->members.corrupt || id == n->options.member_id);
}

static void list_trusted(const struct node *n, struct buf *out)
{
    for (unsigned i = 0; i < n->members.count; i++) {
        uint8_t id[SNAPSHOT_ID_BYTES];
        put_le64(id, n->members.list[i].id);
        if (is_trusted(n, n->members.list[i].id))
            buf_append(out, id, sizeof id);
    }
}

/* Nobody has lost our trust since the offer: the receiver may have gone on behind what it has of that one. */
static bool offer_stands(const struct node *n, const struct snapshot_sender *s)
{
    struct reader r = reader_of(buf_slice(&s->trusted));

    while (reader_left(&r))
        if (!is_trusted(n, read_le64(&r)))
            return false;
    return true;
}

static void sender_start(struct node *n, struct snapshot_sender *s)
{
    s->stage = SENDER_SENDS;
    s->transfer = rng_next(&n->rng) | 1;
    sender_aim(n, s);
    s->applied_begin = s->applied = n->bytes_applied;
    s->quiet_ticks = n->options.election_ticks;
    tell(n, "sending", s, NULL);
    list_trusted(n, &s->trusted);
    buf_append_slice(&s->chunks[0].data, buf_slice(&s->trusted));
    chunk_finish(n, s, SNAPSHOT_OFFER);
}

/* The answer to the offer. A member may hold what we, a new leader, did not apply yet: later, then. */
static void sender_begin(struct node *n, struct snapshot_sender *s, mvcc_rev held)
{
    if (held < 1 || held > s->revision) {
        sender_fail(n, s, "the member holds other revisions");
        return;
    }
    s->begun = true;
    s->at = mvcc_export_begin(n->options.store);
    if (s->at.main <= held)
        s->at = (struct mvcc_position){.main = held + 1};
}

/* ---- the stream ---- */

/* All records are out. Has the log gone too far meanwhile? */
static bool sender_extend(struct node *n, struct snapshot_sender *s)
{
    raft_index behind = mvcc_applied_index(n->options.store) - s->index;

    if (behind <= n->options.snapshot_catchup / 2 || s->extensions >= EXTENSIONS_MAX)
        return false;
    s->extensions++;
    sender_aim(n, s);
    return true;
}

/* One message, if there is room for it: a slice of the loop's time. */
static void sender_step(struct node *n, struct snapshot_sender *s)
{
    struct sent_chunk *c = &s->chunks[s->next % SNAPSHOT_WINDOW];
    mvcc_rev upto;
    enum status st;

    if (s->stage != SENDER_SENDS || !s->begun || s->ended || s->rest_ticks || s->next - s->answered >= SNAPSHOT_WINDOW)
        return;
    buf_clear(&c->data);
    if (s->at.main > s->revision && !sender_extend(n, s)) {
        s->ended = true;
        buf_append_slice(&c->data, buf_slice(&s->state));
        chunk_finish(n, s, SNAPSHOT_END);
        return;
    }
    if (!read_ahead_is_there(n, &s->ahead, s->at.main, &upto))
        return;
    st = mvcc_export(n->options.store, &s->at, upto < s->revision ? upto : s->revision, n->options.snapshot_chunk_bytes, SNAPSHOT_CHUNK_RECORDS,
                     &c->data);
    if (st != ST_OK) {
        sender_fail(n, s, status_text(st)); /* ours to report; who needs it may get it from a healthier leader */
        return;
    }
    chunk_finish(n, s, SNAPSHOT_CHUNK);
    if (s->next - s->answered < SNAPSHOT_WINDOW)
        n->options.work_fn(n->options.arg);
}

static void sender_on_answer(struct node *n, struct snapshot_sender *s, const struct snapshot_message *m)
{
    /* Less than it had: old news, or an old offer had it begin this transfer anew after a restart, and it waits for what was sent. */
    if (m->type != SNAPSHOT_RECEIVED || m->sequence >= s->answered)
        s->silent_ticks = 0;
    switch (m->type) {
    case SNAPSHOT_RECEIVED:
        if (m->sequence <= s->answered || m->sequence > s->next)
            return; /* old news */
        s->answered = m->sequence;
        s->stalled_ticks = 0;
        if (!s->begun)
            sender_begin(n, s, m->revision);
        n->options.work_fn(n->options.arg);
        break;
    case SNAPSHOT_INSTALLED:
        if (!s->ended || m->index != s->index)
            return;
        tell(n, "sent", s, NULL);
        raft_snapshot_sent(n->raft, s->to, s->index);
        sender_free(n, s);
        n->options.work_fn(n->options.arg);
        break;
    default:
        sender_fail(n, s, "refused by the member");
    }
}

/* ---- what the rest of the node calls ---- */

void node_job_start(struct node *n, struct node_job *job)
{
    TAILQ_INSERT_TAIL(&n->jobs, job, link);
    n->options.job_fn(n->options.arg, job);
}

static void job_end(struct node *n, struct node_job *job)
{
    TAILQ_REMOVE(&n->jobs, job, link);
    job->free_fn(n, job);
}

void node_on_job_done(struct node *n, struct node_job *job)
{
    if (job->done_fn)
        job->done_fn(n, job);
    job_end(n, job);
}

void snapshots_init(struct node *n)
{
    TAILQ_INIT(&n->senders);
    TAILQ_INIT(&n->jobs);
    TAILQ_INIT(&n->receivers);
    receivers_init(n);
}

void snapshots_fini(struct node *n)
{
    while (!TAILQ_EMPTY(&n->jobs))
        job_end(n, TAILQ_FIRST(&n->jobs));
    while (!TAILQ_EMPTY(&n->senders))
        sender_free(n, TAILQ_FIRST(&n->senders));
    receivers_fini(n);
}

void node_on_snapshot_message(struct node *n, const struct snapshot_message *m)
{
    struct snapshot_sender *s;

    if (m->to != n->options.member_id || m->from == n->options.member_id || !m->transfer)
        return;
    if (m->type == SNAPSHOT_OFFER || m->type == SNAPSHOT_CHUNK || m->type == SNAPSHOT_END) {
        receiver_on_message(n, m);
        return;
    }
    s = sender_find(n, m->from);
    if (s && s->stage == SENDER_SENDS && s->transfer == m->transfer)
        sender_on_answer(n, s, m);
}

void snapshots_on_unreachable(struct node *n, raft_id id)
{
    struct snapshot_sender *s = sender_find(n, id);

    if (s)
        sender_fail(n, s, "the member cannot be reached");
}

/*
 * While clients write, the transfer rests for twice as long as it kept members and disks busy: so writes have two thirds of their time. That
 * no write ended within a tick does not say that nobody writes: it may be what held them up. A chunk counts until its answer comes,
 * which is when the receiver's disk is done with it. If they write so much that the end would run away, it does not rest.
 */
static void sender_take_rest(struct node *n, struct snapshot_sender *s)
{
    bool was_busy = s->sent || s->answered < s->next, others_write;
    bool leads = s->bytes >= RESTING_LEAD * (n->bytes_applied - s->applied_begin);

    s->quiet_ticks = n->bytes_applied == s->applied ? s->quiet_ticks + 1 : 0;
    others_write = s->quiet_ticks < n->options.election_ticks;
    s->sent = false;
    s->applied = n->bytes_applied;
    if (!leads || !others_write)
        s->rest_ticks = 0;
    else if (was_busy && s->rest_ticks < REST_ELECTIONS_MAX * n->options.election_ticks)
        s->rest_ticks += REST_TICKS;
    else if (!was_busy && s->rest_ticks)
        s->rest_ticks--;
}

static void sender_on_tick(struct node *n, struct snapshot_sender *s)
{
    if (s->stage == SENDER_PAUSES && --s->pause_ticks == 0) {
        raft_snapshot_sent(n->raft, s->to, 0);
        sender_free(n, s);
        return;
    }
    if (s->stage != SENDER_SENDS)
        return;
    sender_take_rest(n, s);
    if (++s->silent_ticks > SILENCE_ELECTIONS * n->options.election_ticks) {
        sender_fail(n, s, "no answer");
        return;
    }
    if (++s->stalled_ticks < RESEND_ELECTIONS * n->options.election_ticks)
        return;
    s->stalled_ticks = 0;
    for (uint64_t number = s->answered; number < s->next; number++)
        send_chunk(n, s, number);
}

void snapshots_on_tick(struct node *n)
{
    struct snapshot_sender *s, *next;

    for (s = TAILQ_FIRST(&n->senders); s; s = next) {
        next = TAILQ_NEXT(s, link);
        sender_on_tick(n, s);
    }
    receivers_on_tick(n);
}

/* A sender lives as long as the core waits for it, in the term in which it was announced. */
static bool sender_has_reason(const struct node *n, const struct snapshot_sender *s)
{
    struct raft_progress p;
    struct raft_status st;

    raft_get_status(n->raft, &st);
    return st.hard.term == s->term && raft_get_progress(n->raft, s->to, &p) == ST_OK && p.state == RAFT_SNAPSHOT;
}

void snapshots_run(struct node *n)
{
    bool corrupt = node_is_corrupt(n); /* what is wrong here must not go on to others: they wait */
    struct snapshot_sender *s, *next;
    unsigned sending = 0;

    for (s = TAILQ_FIRST(&n->senders); s; s = next) {
        next = TAILQ_NEXT(s, link);
        if (!sender_has_reason(n, s)) {
            if (s->stage == SENDER_SENDS)
                tell(n, "not needed any more", s, NULL);
            sender_free(n, s);
        } else {
            if (corrupt && s->stage == SENDER_SENDS)
                sender_fail(n, s, status_text(ST_CORRUPT_CLUSTER));
            if (s->stage == SENDER_SENDS && !offer_stands(n, s))
                sender_fail(n, s, "not everybody is to be trusted any more whose records the member may hold");
            sending += s->stage == SENDER_SENDS;
        }
    }
    TAILQ_FOREACH(s, &n->senders, link)
    {
        if (s->stage == SENDER_WAITS && !corrupt && sending < SNAPSHOT_TRANSFERS_MAX) {
            sending++;
            sender_start(n, s);
        }
        sender_step(n, s);
    }
}

raft_index snapshot_pin(const struct node *n)
{
    raft_index lowest = UINT64_MAX;
    const struct snapshot_sender *s;

    TAILQ_FOREACH(s, &n->senders, link)
        if (s->stage == SENDER_SENDS && s->index < lowest)
            lowest = s->index;
    return lowest;
}
