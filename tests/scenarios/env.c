/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes: the ready loop, storage and state machine, done at once or when they are told to. */
#include "tests/scenarios/env.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* ---- output ---- */

static void put_lines(struct env *e, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        buf_printf(&e->out, "%*s%.*s\n", len ? (int)e->indent : 0, "", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static PRINTF_LIKE(2, 0) void put_formatted(struct env *e, const char *format, va_list args)
{
    char *text = NULL;

    INVARIANT(vasprintf(&text, format, args) >= 0);
    put_lines(e, text);
    free(text);
}

void env_out(struct env *e, const char *format, ...)
{
    va_list args;

    if (e->level == LEVEL_NONE)
        return;
    va_start(args, format);
    put_formatted(e, format, args);
    va_end(args);
}

void env_error(struct env *e, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_formatted(e, format, args);
    va_end(args);
}

static void on_trace(void *arg, const char *line)
{
    struct env *e = arg;

    if (e->level <= LEVEL_INFO)
        env_out(e, "INFO %s", line);
}

/* ---- parcels ---- */

void parcels_push(struct parcels *list, struct parcel p)
{
    list->items = mem_grow(list->items, &list->cap, list->count + 1, sizeof *list->items);
    list->items[list->count++] = p;
}

struct parcel parcels_take(struct parcels *list, size_t at)
{
    struct parcel p = list->items[at];

    memmove(list->items + at, list->items + at + 1, (--list->count - at) * sizeof p);
    return p;
}

static void parcels_fini(struct parcels *list)
{
    for (size_t i = 0; i < list->count; i++)
        parcel_fini(&list->items[i]);
    free(list->items);
}

/* ---- nodes come and go ---- */

static void add_history(struct node *n, const struct checkpoint *c)
{
    n->history = mem_grow(n->history, &n->history_cap, n->history_count + 1, sizeof *n->history);
    n->history[n->history_count++] = *c;
}

const struct checkpoint *node_checkpoint(const struct node *n, raft_index index)
{
    for (size_t i = n->history_count; i > 0; i--)
        if (n->history[i - 1].index <= index)
            return &n->history[i - 1];
    return &n->history[0];
}

void node_add(struct env *e, const struct raft_options *o, const struct checkpoint *from, bool async)
{
    struct node *n = mem_zero(sizeof *n);
    struct raft_ready ignored;

    n->env = e;
    n->options = *o;
    n->options.id = e->count + 1;
    n->options.random_seed = e->seed++;
    n->async = async;
    n->raft = raft_new(&n->options);
    /* Restored, not begun, there: the term is still 0. What that makes ready is no news. */
    if (from->index && raft_restore(n->raft, from->index, from->term, &from->conf) == ST_OK &&
        raft_ready(n->raft, &ignored)) {
        raft_advance(n->raft);
        raft_stored(n->raft, ignored.batch);
    }
    n->compacted = n->hard.commit = from->index;
    n->compacted_term = from->term;
    add_history(n, from);
    raft_set_trace(n->raft, on_trace, e);
    e->nodes = mem_grow(e->nodes, &e->cap, e->count + 1, sizeof *e->nodes);
    e->nodes[e->count++] = n;
}

void node_restart(struct node *n)
{
    const struct checkpoint *last = &n->history[n->history_count - 1];
    struct raft_options o = n->options;

    o.hard = n->hard;
    o.snapshot_index = n->compacted;
    o.snapshot_term = n->compacted_term;
    o.applied = last->index;
    o.conf = last->conf;
    o.entries = n->log;
    o.entry_count = n->log_count;
    o.random_seed = n->env->seed++;
    raft_free(n->raft);
    n->raft = raft_new(&o);
    raft_set_trace(n->raft, on_trace, n->env);
    while (n->append_work.count) {
        struct parcel p = parcels_take(&n->append_work, 0);
        parcel_fini(&p);
    }
    while (n->apply_work.count) {
        struct parcel p = parcels_take(&n->apply_work, 0);
        parcel_fini(&p);
    }
    n->role = RAFT_FOLLOWER;
    n->leader = 0;
    n->has_ready = n->restored = false;
}

static void node_free(struct node *n)
{
    raft_free(n->raft);
    for (size_t i = 0; i < n->log_count; i++)
        raft_entry_unref(n->log[i]);
    free(n->log);
    free(n->history);
    parcels_fini(&n->append_work);
    parcels_fini(&n->apply_work);
    free(n);
}

void env_init(struct env *e)
{
    *e = (struct env){.seed = 1};
    buf_init(&e->out);
}

void env_fini(struct env *e)
{
    for (size_t i = 0; i < e->count; i++)
        node_free(e->nodes[i]);
    free(e->nodes);
    parcels_fini(&e->messages);
    buf_fini(&e->out);
}

/* ---- storage and state machine ---- */

static void store(struct node *n, bool has_hard, const struct raft_hard_state *hard, struct raft_entry **entries,
                  size_t count)
{
    if (has_hard)
        n->hard = *hard;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)(entries[i]->index - n->compacted - 1);
        while (n->log_count > at)
            raft_entry_unref(n->log[--n->log_count]);
        n->log = mem_grow(n->log, &n->log_cap, n->log_count + 1, sizeof *n->log);
        n->log[n->log_count++] = raft_entry_ref(entries[i]);
    }
}

void node_compact(struct node *n, raft_index index)
{
    size_t count = (size_t)(index - n->compacted);

    n->compacted_term = n->log[count - 1]->term;
    for (size_t i = 0; i < count; i++)
        raft_entry_unref(n->log[i]);
    n->log_count -= count;
    memmove(n->log, n->log + count, n->log_count * sizeof *n->log);
    n->compacted = index;
    raft_compact(n->raft, index);
}

static void apply(struct node *n, struct raft_entry *e)
{
    struct checkpoint c = n->history[n->history_count - 1];
    struct raft_conf_change change;
    struct slice update = slice_of(e->data, e->len);
    size_t len = strlen(c.data);

    c.index = e->index;
    c.term = e->term;
    if (e->type == RAFT_ENTRY_CONF) {
        if (raft_conf_change_decode(e, &change) != ST_OK)
            return;
        if (raft_apply_conf_change(n->raft, &change, &c.conf) != ST_OK)
            env_out(n->env, "WARN %llu refused a change", (unsigned long long)n->options.id);
        update = slice_of("", 0);
    }
    if (update.len < sizeof c.data - len)
        memcpy(c.data + len, update.data, update.len);
    add_history(n, &c);
}

/* ---- a ready batch ---- */

bool node_has_ready(struct node *n)
{
    struct raft_status st;

    if (!n->has_ready) {
        n->ready = (struct raft_ready){0};
        n->has_ready = raft_ready(n->raft, &n->ready);
    }
    raft_get_status(n->raft, &st);
    return n->has_ready || n->restored || st.role != n->role || st.leader != n->leader;
}

static struct parcel message_parcel(const struct node *n, const struct raft_message *m)
{
    struct parcel p = parcel_of(m);

    if (m->type == RAFT_MSG_SNAPSHOT)
        p.snapshot = *node_checkpoint(n, m->index);
    return p;
}

static void add_answer(struct parcel *p, struct parcel answer)
{
    p->answers = mem_resize(p->answers, (p->answer_count + 1) * sizeof answer);
    p->answers[p->answer_count++] = answer;
}

/* Everything for the storage, and what may be sent when it is durable. */
static void push_append_work(struct node *n, struct parcels *out, const struct raft_ready *rd)
{
    raft_id id = n->options.id;
    struct raft_message all = {.from = id, .to = APPEND_THREAD, .entries = rd->entries, .entry_count = rd->entry_count};
    struct raft_message done = {.from = APPEND_THREAD, .to = id};
    struct parcel p, answer;

    if (!rd->hard_changed && !rd->entry_count && !rd->message_after_count)
        return;
    all.type = done.type = RAFT_MSG_APPEND;
    all.term = rd->hard_changed ? rd->hard.term : 0;
    p = parcel_of(&all);
    p.kind = PARCEL_APPEND;
    p.batch = rd->batch;
    p.has_hard = rd->hard_changed;
    p.hard = rd->hard;
    for (size_t i = 0; i < rd->message_after_count; i++)
        add_answer(&p, message_parcel(n, &rd->messages_after_stored[i]));
    if (rd->entry_count) {
        done.index = rd->entries[rd->entry_count - 1]->index;
        done.log_term = rd->entries[rd->entry_count - 1]->term;
    }
    answer = parcel_of(&done);
    answer.kind = PARCEL_APPENDED;
    answer.batch = rd->batch;
    add_answer(&p, answer);
    parcels_push(out, p);
}

static void push_apply_work(struct node *n, struct parcels *out, const struct raft_ready *rd)
{
    raft_id id = n->options.id;
    struct raft_message all = {.type = RAFT_MSG_APPEND, .from = id, .to = APPLY_THREAD};
    struct raft_message done = {.type = RAFT_MSG_APPEND, .from = APPLY_THREAD, .to = id};
    struct parcel p, answer;

    if (!rd->committed_count)
        return;
    all.entries = done.entries = rd->committed;
    all.entry_count = done.entry_count = rd->committed_count;
    p = parcel_of(&all);
    p.kind = PARCEL_APPLY;
    answer = parcel_of(&done);
    answer.kind = PARCEL_APPLIED;
    add_answer(&p, answer);
    parcels_push(out, p);
}

static void put_state(struct node *n, struct buf *out, const struct raft_ready *rd)
{
    struct raft_status st;

    raft_get_status(n->raft, &st);
    if (st.role != n->role || st.leader != n->leader)
        buf_printf(out, "Lead:%llu State:%s\n", (unsigned long long)st.leader, notation_role(st.role));
    n->role = st.role;
    n->leader = st.leader;
    if (rd->hard_changed) {
        buf_printf(out, "HardState Term:%llu", (unsigned long long)rd->hard.term);
        if (rd->hard.vote)
            buf_printf(out, " Vote:%llu", (unsigned long long)rd->hard.vote);
        buf_printf(out, " Commit:%llu\n", (unsigned long long)rd->hard.commit);
    }
    for (size_t i = 0; i < rd->read_count; i++)
        buf_printf(out, "%s{%llu %llu}%s", i ? " " : "ReadStates [", (unsigned long long)rd->reads[i].index,
                   (unsigned long long)rd->reads[i].context, i + 1 < rd->read_count ? "" : "]\n");
}

static void put_entry_list(struct buf *out, const char *title, struct raft_entry **entries, size_t count)
{
    if (count)
        buf_printf(out, "%s:\n", title);
    for (size_t i = 0; i < count; i++) {
        notation_entry(out, entries[i]);
        buf_append_text(out, "\n");
    }
}

/* Of a batch: the entries to apply, kept beyond it. */
struct committed {
    struct raft_entry **entries;
    size_t count;
};

static void take_committed(struct committed *c, const struct raft_ready *rd)
{
    c->entries = mem_resize(c->entries, (c->count + rd->committed_count + 1) * sizeof *c->entries);
    for (size_t i = 0; i < rd->committed_count; i++)
        c->entries[c->count++] = raft_entry_ref(rd->committed[i]);
}

/*
 * Storage that is done at once. The core hands out only what is stored; a follower learns of entries and that they are
 * committed together, and so, told as one, this batch and the next are what others have in one.
 */
static void store_at_once(struct node *n, const struct raft_ready *rd, struct committed *c)
{
    bool both = rd->entry_count && n->role != RAFT_LEADER;
    struct raft_ready next;

    store(n, rd->hard_changed, &rd->hard, rd->entries, rd->entry_count);
    take_committed(c, rd);
    raft_advance(n->raft);
    raft_stored(n->raft, rd->batch);
    if (!both || !raft_ready(n->raft, &next))
        return;
    INVARIANT(!next.hard_changed && !next.entry_count && !next.message_count && !next.message_after_count);
    take_committed(c, &next);
    raft_advance(n->raft);
    raft_stored(n->raft, next.batch);
}

static void apply_at_once(struct node *n, struct committed *c)
{
    for (size_t i = 0; i < c->count; i++) {
        apply(n, c->entries[i]);
        raft_applied(n->raft, c->entries[i]->index);
        raft_entry_unref(c->entries[i]);
    }
    free(c->entries);
}

static void put_snapshot(struct node *n, struct buf *out)
{
    const struct checkpoint *c = &n->history[n->history_count - 1];

    if (!n->restored)
        return;
    buf_printf(out, "Snapshot Index:%llu Term:%llu ConfState:", (unsigned long long)c->index, (unsigned long long)c->term);
    notation_conf(out, &c->conf);
    buf_append_text(out, "\n");
    n->restored = false;
}

void node_process_ready(struct node *n)
{
    bool any = node_has_ready(n);
    struct raft_ready rd = n->ready;
    struct parcels sent = {0};
    struct committed c = {0};
    struct buf text;

    if (!any) {
        env_out(n->env, "<empty Ready>");
        return;
    }
    buf_init(&text);
    put_state(n, &text, &rd);
    put_entry_list(&text, "Entries", rd.entries, rd.entry_count);
    put_snapshot(n, &text);
    for (size_t i = 0; i < rd.message_count; i++)
        parcels_push(&sent, message_parcel(n, &rd.messages[i]));
    for (size_t i = 0; !n->async && i < rd.message_after_count; i++)
        parcels_push(&sent, message_parcel(n, &rd.messages_after_stored[i]));
    if (n->async) {
        put_entry_list(&text, "CommittedEntries", rd.committed, rd.committed_count);
        push_append_work(n, &sent, &rd);
        push_apply_work(n, &sent, &rd);
        if (n->has_ready)
            raft_advance(n->raft);
    } else if (n->has_ready) {
        store_at_once(n, &rd, &c);
        put_entry_list(&text, "CommittedEntries", c.entries, c.count);
    }
    n->has_ready = false;
    if (sent.count)
        buf_append_text(&text, "Messages:\n");
    for (size_t i = 0; i < sent.count; i++) {
        notation_parcel(&text, &sent.items[i], 0);
        buf_append_text(&text, "\n");
        parcels_push(sent.items[i].kind == PARCEL_APPEND  ? &n->append_work :
                     sent.items[i].kind == PARCEL_APPLY ? &n->apply_work :
                                                            &n->env->messages,
                     sent.items[i]);
    }
    env_out(n->env, "Ready MustSync=%s:\n%s", rd.must_sync ? "true" : "false", buf_text(&text));
    apply_at_once(n, &c);
    free(sent.items);
    buf_fini(&text);
}

/* ---- storage and state machine that answer when they are told to ---- */

static void send_answers(struct node *n, struct parcel *work)
{
    struct buf text;

    buf_init(&text);
    for (size_t i = 0; i < work->answer_count; i++) {
        notation_parcel(&text, &work->answers[i], 0);
        buf_append_text(&text, "\n");
        parcels_push(&n->env->messages, work->answers[i]);
    }
    env_out(n->env, "Responses:\n%s", buf_text(&text));
    work->answer_count = 0;
    parcel_fini(work);
    buf_fini(&text);
}

static struct parcel begin_work(struct node *n, struct parcels *list)
{
    struct parcel work = parcels_take(list, 0);
    size_t answers = work.answer_count;
    struct buf text;

    buf_init(&text);
    work.answer_count = 0;
    notation_parcel(&text, &work, 0);
    work.answer_count = answers;
    env_out(n->env, "Processing:\n%s", buf_text(&text));
    buf_fini(&text);
    return work;
}

void node_process_append(struct node *n)
{
    struct parcel work;

    if (!n->append_work.count) {
        env_out(n->env, "no append work to perform");
        return;
    }
    work = begin_work(n, &n->append_work);
    store(n, work.has_hard, &work.hard, work.m.entries, work.m.entry_count);
    send_answers(n, &work);
}

void node_process_apply(struct node *n)
{
    struct parcel work;

    if (!n->apply_work.count) {
        env_out(n->env, "no apply work to perform");
        return;
    }
    work = begin_work(n, &n->apply_work);
    for (size_t i = 0; i < work.m.entry_count; i++)
        apply(n, work.m.entries[i]);
    send_answers(n, &work);
}

/* ---- messages ---- */

static void restore(struct node *n, const struct checkpoint *c)
{
    if (raft_restore(n->raft, c->index, c->term, &c->conf) != ST_OK)
        return;
    while (n->log_count)
        raft_entry_unref(n->log[--n->log_count]);
    n->compacted = c->index;
    n->compacted_term = c->term;
    add_history(n, c);
    n->restored = true;
}

void node_receive(struct node *n, const struct parcel *p)
{
    struct raft_status st;
    enum status result = ST_OK;

    raft_get_status(n->raft, &st);
    switch (p->kind) {
    case PARCEL_APPENDED:
        raft_stored(n->raft, p->batch);
        return;
    case PARCEL_APPLIED:
        if (p->m.entries[p->m.entry_count - 1]->index > st.applied)
            raft_applied(n->raft, p->m.entries[p->m.entry_count - 1]->index);
        return;
    default:
        break;
    }
    result = raft_step(n->raft, &p->m);
    raft_get_status(n->raft, &st);
    /* The message stands for the snapshot too; what is not wanted, or was here already, is not installed. */
    if (p->m.type == RAFT_MSG_SNAPSHOT && st.leader == p->m.from)
        restore(n, &p->snapshot);
    if (result != ST_OK)
        env_out(n->env, "%s", result == ST_NO_LEADER ? "raft proposal dropped" : status_text(result));
}
