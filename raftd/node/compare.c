/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members compare what they hold. One that wants to know asks all others, and itself, for the hash of the revision it is at
 * (RAFT_MSG_HASH), and judges the answers (divergence.h): the leader, each corrupt_check_ns, and raises the alarm CORRUPT; a member at its
 * start, before it serves, for as long as it takes. The asked one answers when it has that revision: who is behind is waited for, and not accused.
 *
 * A hash is made in slices with pauses between them. Nobody's clock matters but one's own, for when to give up.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/planted.h"
#include "raftd/node/internal.h"

#define SLICE_PAUSE_NS (5 * NS_PER_MS)
#define ASK_AGAIN_NS (500 * NS_PER_MS)   /* who has not answered: the question may be lost, or there was no connection yet */
#define PATIENCE_NS (60 * NS_PER_S)      /* of a leader; or its period, if that is longer */
#define QUESTION_NS (4 * ASK_AGAIN_NS)   /* a question that is not repeated is forgotten */

static PRINTF_LIKE(3, 4) void tell(struct node *n, bool is_bad, const char *format, ...)
{
    char text[200];
    va_list args;

    if (!n->options.compare_fn)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    n->options.compare_fn(n->options.arg, is_bad, text);
}

/* ---- who asks ---- */

static bool has_answered(const struct comparison *c, uint64_t id)
{
    for (unsigned i = 0; i < c->row_count; i++)
        if (c->rows[i].id == id)
            return true;
    return false;
}

static void ask(struct node *n)
{
    struct comparison *c = &n->comparison;

    c->ask_again_ns = n->now_ns + ASK_AGAIN_NS;
    for (unsigned i = 0; i < n->members.count; i++) {
        struct raft_message m = {.type = RAFT_MSG_HASH,
                                 .from = n->options.member_id,
                                 .to = n->members.list[i].id,
                                 .index = (uint64_t)c->rev,
                                 .context = c->number};
        if (has_answered(c, m.to))
            continue;
        if (m.to == m.from)
            compare_on_message(n, &m);
        else
            node_send(n, &m);
    }
}

static void begin(struct node *n, enum comparison_kind kind, int64_t patience_ns)
{
    n->comparison = (struct comparison){.kind = kind,
                                        .number = requests_next_id(n),
                                        .rev = mvcc_revision(n->options.store),
                                        .began_ns = n->now_ns,
                                        .until_ns = n->now_ns + patience_ns};
    ask(n);
}

void node_compare_at_start(struct node *n, node_compared_fn done_fn, void *arg)
{
    n->compared_fn = done_fn;
    n->compared_arg = arg;
    begin(n, COMPARISON_AT_START, node_request_timeout_ns(n));
}

static void on_alarm_done(void *arg, enum status st, struct slice answer)
{
    (void)arg;
    (void)st; /* if it came to nothing, the next comparison finds the same */
    (void)answer;
}

static void raise_alarm(struct node *n, uint64_t id)
{
    bool *alarm = members_alarm(&n->members, id, ALARM_CORRUPT);
    Etcdserverpb__AlarmRequest r = ETCDSERVERPB__ALARM_REQUEST__INIT;
    uint8_t bytes[64];

    if (!alarm || *alarm)
        return;
    r.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    r.memberid = id;
    r.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    INVARIANT(etcdserverpb__alarm_request__get_packed_size(&r) <= sizeof bytes);
    if (node_propose(n, COMMAND_ALARM, slice_of(bytes, etcdserverpb__alarm_request__pack(&r, bytes)), INT64_MAX,
                     on_alarm_done, n, NULL) != ST_OK)
        tell(n, true, "the alarm CORRUPT could not be raised, again with the next comparison");
}

static void tell_incomparable(struct node *n, const struct divergence *d)
{
    const struct comparison *c = &n->comparison;

    for (unsigned i = 0; i < c->row_count; i++)
        if (c->rows[i].known && c->rows[i].compact_rev != d->compact_rev)
            tell(n, true, "not compared: it has another compact revision member=%" PRIx64 " compact_rev=%" PRId64 " others=%" PRId64,
                 c->rows[i].id, c->rows[i].compact_rev, d->compact_rev);
}

static void tell_result(struct node *n, const struct divergence *d)
{
    const struct comparison *c = &n->comparison;

    for (unsigned i = 0; i < d->wrong_count; i++)
        tell(n, true, "found different hash values: most members differ from this one member=%" PRIx64 " rev=%" PRId64, d->wrong[i], c->rev);
    if (d->doubtful)
        tell(n, true, "found different hash values, and no quorum that agrees rev=%" PRId64, c->rev);
    else if (!d->wrong_count && d->compared < 2 && n->members.count > 1)
        tell(n, true, "no hash values could be compared rev=%" PRId64 " answers=%u of=%u", c->rev, c->row_count, n->members.count);
    else if (!d->wrong_count)
        tell(n, d->compared < n->members.count && c->kind == COMPARISON_AS_LEADER,
             "compared hash values, none differ rev=%" PRId64 " members=%u of=%u", c->rev, d->compared, n->members.count);
    tell_incomparable(n, d);
}

static bool has(const uint64_t *list, unsigned count, uint64_t id)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] == id)
            return true;
    return false;
}

static void end_as_leader(struct node *n, const struct divergence *d)
{
    tell_result(n, d);
    n->comparison.kind = COMPARISON_NONE;
    for (unsigned i = 0; i < d->wrong_count; i++)
        raise_alarm(n, d->wrong[i]);
    if (d->doubtful)
        raise_alarm(n, 0);
}

/* Somebody who is there has not said what could decide it. */
static bool is_worth_waiting(const struct node *n)
{
    for (unsigned i = 0; i < n->members.count; i++) {
        uint64_t id = n->members.list[i].id;
        struct raft_progress p;
        if (!members_is_learner(&n->members, id) && !has_answered(&n->comparison, id) &&
            raft_get_progress(n->raft, id, &p) == ST_OK && p.active)
            return true;
    }
    return false;
}

/*
 * It is over when all have answered, or somebody is known to be wrong; and when the next one is due, if a quorum agrees or some differ, and
 * there is nobody who could say more: who is slower than the period would never be compared.
 */
static void judge_as_leader(struct node *n, const struct divergence *d, bool is_over)
{
    const struct comparison *c = &n->comparison;

    if (is_over || d->wrong_count || (c->is_due_again && (d->agreed || d->doubtful) && !is_worth_waiting(n)))
        end_as_leader(n, d);
}

/*
 * This member serves when a quorum holds what it does, and ends when a quorum does not, or when nobody can tell who is right. That too few
 * answer is neither: it goes on asking. So members that all start at once wait for each other, each of which answers before it serves.
 */
static void judge_at_start(struct node *n, const struct divergence *d, bool is_over)
{
    uint64_t me = n->options.member_id;
    bool holds = has(d->alike, d->alike_count, me) || (d->agreed && !members_look_up(&n->members, me));
    bool differs = has(d->wrong, d->wrong_count, me) || (d->doubtful && is_over);

    if (holds || differs) {
        tell_result(n, d);
        n->comparison.kind = COMPARISON_NONE;
        n->compared_fn(n->compared_arg, holds);
    } else if (n->now_ns >= n->comparison.until_ns) {
        tell(n, true, "no quorum yet to compare with, clients wait rev=%" PRId64 " members=%u of=%u", n->comparison.rev, d->compared,
             n->members.count);
        tell_incomparable(n, d);
        begin(n, COMPARISON_AT_START, node_request_timeout_ns(n));
    }
}

/* Nothing is said before this member's own hash is made, however long that takes. */
static void judge(struct node *n)
{
    struct comparison *c = &n->comparison;
    bool is_over = n->now_ns >= c->until_ns || c->row_count >= n->members.count;
    struct divergence d;

    if (!has_answered(c, n->options.member_id) && members_look_up(&n->members, n->options.member_id))
        return;
    divergence_find(c->rows, c->row_count, &n->members.conf, &d);
    if (c->kind == COMPARISON_AT_START)
        judge_at_start(n, &d, is_over);
    else
        judge_as_leader(n, &d, is_over);
}

static void on_answer(struct node *n, const struct raft_message *m)
{
    struct comparison *c = &n->comparison;

    if (!c->kind || m->context != c->number || m->index != (uint64_t)c->rev || c->row_count == MEMBERS_MAX ||
        !members_look_up(&n->members, m->from))
        return;
    if (has_answered(c, m->from))
        return;
    /* The others get as long again as this member took. */
    if (m->from == n->options.member_id && c->until_ns < n->now_ns + (n->now_ns - c->began_ns))
        c->until_ns = n->now_ns + (n->now_ns - c->began_ns);
    c->rows[c->row_count++] = (struct hash_row){m->from, !m->reject, (uint32_t)m->hint_term, (mvcc_rev)m->commit};
    judge(n);
}

static void go_on_asking(struct node *n)
{
    struct comparison *c = &n->comparison;
    struct raft_status st;

    raft_get_status(n->raft, &st);
    if (c->kind == COMPARISON_AS_LEADER && st.role != RAFT_LEADER)
        c->kind = COMPARISON_NONE; /* the next one asks anew */
    if (n->options.corrupt_check_ns && n->now_ns >= n->compare_at_ns) {
        c->is_due_again = true;
        if (c->kind)
            judge(n);
        if (n->compare_at_ns && st.role == RAFT_LEADER && n->members.count > 1 && !c->kind)
            begin(n, COMPARISON_AS_LEADER, n->options.corrupt_check_ns > PATIENCE_NS ? n->options.corrupt_check_ns : PATIENCE_NS);
        n->compare_at_ns = n->now_ns + n->options.corrupt_check_ns;
    }
    if (c->kind && n->now_ns >= c->until_ns)
        judge(n);
    if (c->kind && n->now_ns >= c->ask_again_ns)
        ask(n);
}

/* ---- who is asked ---- */

static void send_answer(struct node *n, const struct hash_question *q)
{
    struct raft_message m = {.type = RAFT_MSG_HASH_RESPONSE,
                             .from = n->options.member_id,
                             .to = q->from,
                             .index = (uint64_t)q->rev,
                             .context = q->number,
                             .reject = !q->known,
                             .hint_term = q->hash,
                             .commit = (uint64_t)q->compact_rev};

    if (m.to == m.from)
        on_answer(n, &m);
    else
        node_send(n, &m);
}

/* One of a member at a time: its last one. */
static struct hash_question *place_for(struct node *n, uint64_t from)
{
    struct hash_question *unused = NULL;

    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        struct hash_question *q = &n->questions[i];
        if (q->from == from)
            return q;
        if (!unused && (!q->from || q->until_ns <= n->now_ns))
            unused = q;
    }
    return unused;
}

static void on_question(struct node *n, const struct raft_message *m)
{
    struct hash_question *q = members_look_up(&n->members, m->from) ? place_for(n, m->from) : NULL;

    if (!q || !m->index || m->index > INT64_MAX)
        return;
    if (q->from != m->from || q->number != m->context || q->rev != (mvcc_rev)m->index)
        *q = (struct hash_question){.from = m->from, .number = m->context, .rev = (mvcc_rev)m->index};
    q->until_ns = n->now_ns + QUESTION_NS;
    if (q->done)
        send_answer(n, q); /* it was lost */
}

/* All that asked for this revision. */
static void answer_all(struct node *n, bool known)
{
    mvcc_rev rev = n->hashing;

    n->hashing = 0;
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        struct hash_question *q = &n->questions[i];
        if (!q->from || q->done || q->rev != rev)
            continue;
        q->done = true;
        q->known = known;
        q->hash = n->hasher.crc;
        q->compact_rev = n->hasher_compact_rev;
        send_answer(n, q);
    }
}

static struct hash_question *next_question(struct node *n)
{
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        struct hash_question *q = &n->questions[i];
        if (q->from && q->until_ns <= n->now_ns)
            q->from = 0;
        if (q->from && !q->done && (q->rev <= mvcc_revision(n->options.store) || PLANTED(hash_of_now)))
            return q;
    }
    return NULL;
}

static void hash_a_slice(struct node *n)
{
    struct hash_question *q = n->hashing ? NULL : next_question(n);
    enum status st = ST_OK;

    if (q) {
        n->hash_ahead.next = 0;
        n->hashing = q->rev;
        n->hasher_compact_rev = mvcc_compact_revision(n->options.store);
        st = mvcc_hash_begin(n->options.store, PLANTED(hash_of_now) ? 0 : q->rev, &n->hasher);
    }
    if (!n->hashing)
        return;
    if (st != ST_OK || read_ahead_hash(n, &n->hash_ahead, &n->hasher, &st) == HASH_ENDED)
        answer_all(n, st == ST_OK);
}

/* ---- events ---- */

void compare_on_message(struct node *n, const struct raft_message *m)
{
    if (m->type == RAFT_MSG_HASH)
        on_question(n, m);
    else
        on_answer(n, m);
}

int64_t compare_on_tick(struct node *n)
{
    go_on_asking(n);
    if (n->now_ns >= n->next_slice_ns) {
        hash_a_slice(n);
        n->next_slice_ns = n->now_ns + SLICE_PAUSE_NS;
    }
    return n->hashing ? n->next_slice_ns : INT64_MAX;
}
