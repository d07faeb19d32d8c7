/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges, points, history. */
#include <string.h>

#include "mvcc/internal.h"
#include "mvcc/record.h"

enum status mvcc_check_rev(const struct mvcc *s, mvcc_rev rev)
{
    if (rev < 0 || (rev && rev < s->compact_revision))
        return ST_COMPACTED;
    return rev > s->revision + (s->writing && s->subs ? 1 : 0) ? ST_FUTURE_REV : ST_OK;
}

/* What a version of a key looks like. Its record must be there: an index without its record is damage. */
static enum status load(struct mvcc *s, const struct version *v, bool value, struct mvcc_kv *ret_kv)
{
    uint32_t flags;
    enum status st = store_read(s, v->main, v->sub, ret_kv, &flags);

    if (st == ST_NOT_FOUND || (st == ST_OK && flags & RECORD_TOMBSTONE))
        return ST_CORRUPT;
    if (!value)
        ret_kv->value.len = 0;
    return st;
}

enum status mvcc_get(struct mvcc *s, struct slice key, mvcc_rev rev, bool value, struct mvcc_kv *ret_kv)
{
    enum status st = mvcc_check_rev(s, rev);
    const struct keyindex *k;
    const struct version *v;

    if (st != ST_OK)
        return st;
    k = index_find(s->index, key);
    v = k ? keyindex_at(k, rev) : NULL;
    return v ? load(s, v, value, ret_kv) : ST_NOT_FOUND;
}

/* Counting needs no walk when it is about now, or when nothing has changed since rev. */
static bool count_is_cheap(const struct mvcc *s, mvcc_rev rev)
{
    return !rev || (rev == s->revision && !(s->writing && s->subs));
}

int64_t mvcc_count(const struct mvcc *s, const struct mvcc_span *span)
{
    int64_t above;

    if (span->point) {
        const struct keyindex *k = index_find(s->index, span->from);
        return k && keyindex_is_alive(k);
    }
    if (mvcc_span_is_empty(span))
        return 0;
    above = span->open ? index_alive(s->index) : index_rank(s->index, span->to);
    return above - index_rank(s->index, span->from);
}

/* Is the cursor's key before the end of the span? */
static bool is_inside(const struct mvcc_span *span, const struct keyindex *k)
{
    return span->open || slice_compare(keyindex_key(k), span->to) < 0;
}

/* A walk over a span under way. */
struct walk {
    struct mvcc *store;
    const struct mvcc_query *query;
    mvcc_emit_fn emit_fn;
    void *arg;
    int64_t left;   /* to emit */
    uint64_t bytes; /* emitted */
    bool counting;  /* also what is not emitted any more */
    bool emitting;
    struct mvcc_range_result *result;
};

/* Has the slice seen what it may? at: where the next one begins. */
static bool slice_is_over(struct walk *w, int64_t visited, const struct keyindex *at)
{
    if (!w->query->visit_max || (visited < w->query->visit_max && w->bytes < w->query->visit_bytes_max))
        return false;
    w->result->unfinished = true;
    w->result->next = keyindex_key(at);
    return true;
}

static enum status visit(struct walk *w, const struct keyindex *k)
{
    const struct version *v = keyindex_at(k, w->query->rev);
    struct mvcc_kv kv;
    enum status st;

    if (!v)
        return ST_OK;
    w->result->count++;
    if (!w->emitting)
        return ST_OK;
    if (w->left-- <= 0) {
        w->result->more = true;
        w->emitting = false;
        return ST_OK;
    }
    st = load(w->store, v, w->query->values, &kv);
    if (st != ST_OK)
        return st;
    w->bytes += kv.key.len + kv.value.len;
    w->emitting = w->emit_fn(&kv, w->arg);
    return ST_OK;
}

static enum status range_up(struct walk *w)
{
    struct cursor c = index_seek(w->store->index, w->query->span.from);
    enum status st = ST_OK;
    const struct keyindex *k;
    int64_t visited = 0;

    while (st == ST_OK && (w->emitting || w->counting) && (k = cursor_key(&c)) && is_inside(&w->query->span, k)) {
        if (slice_is_over(w, visited++, k))
            break;
        st = visit(w, k);
        cursor_next(&c);
    }
    return st;
}

static enum status range_down(struct walk *w)
{
    const struct mvcc_span *span = &w->query->span;
    struct cursor c = span->open ? index_end(w->store->index) : index_seek(w->store->index, span->to);
    const struct keyindex *k, *last = NULL;
    enum status st = ST_OK;
    int64_t visited = 0;

    while (st == ST_OK && (w->emitting || w->counting) && cursor_back(w->store->index, &c)) {
        k = cursor_key(&c);
        if (slice_compare(keyindex_key(k), span->from) < 0 || (last && slice_is_over(w, visited, last)))
            break;
        st = visit(w, k);
        last = k;
        visited++;
    }
    return st;
}

/* The length of the group's name if the key has a delimiter at or behind the offset; 0: it stands for itself. */
static size_t group_len(const struct mvcc_query *q, struct slice key)
{
    const uint8_t *found;

    if (key.len <= q->group_offset)
        return 0;
    found = memchr(key.data + q->group_offset, q->delimiter, key.len - q->group_offset);
    return found ? (size_t)(found - key.data) + 1 : 0;
}

/* Behind a group: the first key that cannot be in it. */
static struct cursor leave_group(struct mvcc *s, struct cursor c, struct slice name, uint8_t delimiter)
{
    const struct keyindex *k;

    if (delimiter == 0xff) { /* nothing sorts behind it at this place: walk */
        while ((k = cursor_key(&c)) && slice_has_prefix(keyindex_key(k), name))
            cursor_next(&c);
        return c;
    }
    buf_clear(&s->scratch_key);
    buf_append_slice(&s->scratch_key, name);
    s->scratch_key.data[s->scratch_key.end - 1]++;
    return index_seek(s->index, buf_slice(&s->scratch_key));
}

/* From child to child. */
static enum status range_grouped(struct walk *w)
{
    const struct mvcc_query *q = w->query;
    struct cursor c = index_seek(w->store->index, q->span.from);
    const struct keyindex *k;
    int64_t visited = 0;

    while ((w->emitting || q->count_only) && (k = cursor_key(&c)) && is_inside(&q->span, k)) {
        const struct version *v = keyindex_at(k, q->rev);
        size_t len = v ? group_len(q, keyindex_key(k)) : 0;
        if (slice_is_over(w, visited++, k))
            break;
        if (!v || !len) {
            enum status st = visit(w, k);
            if (st != ST_OK)
                return st;
            cursor_next(&c);
        } else if (w->emitting && w->left-- <= 0) {
            w->result->more = true;
            w->emitting = false;
        } else {
            struct mvcc_kv group = {.group = true, .key = slice_of(k->key, len)};
            w->result->count++;
            if (w->emitting)
                w->emitting = w->emit_fn(&group, w->arg);
            c = leave_group(w->store, c, group.key, q->delimiter);
        }
    }
    /* What the limit cut off was met, and is not among those emitted. */
    if (w->result->more && w->result->count > q->limit)
        w->result->count = q->limit;
    return ST_OK;
}

static enum status range_point(struct walk *w)
{
    const struct mvcc_query *q = w->query;
    struct mvcc_kv kv;
    enum status st = mvcc_get(w->store, q->span.from, q->rev, q->values, &kv);

    w->result->count = st == ST_OK;
    if (st == ST_OK && w->emitting)
        w->emit_fn(&kv, w->arg);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static enum status range_walk(struct walk *w)
{
    const struct mvcc_query *q = w->query;

    if (q->span.point)
        return range_point(w);
    if (mvcc_span_is_empty(&q->span))
        return ST_OK;
    if (q->grouped)
        return range_grouped(w);
    return q->descending ? range_down(w) : range_up(w);
}

enum status mvcc_range(struct mvcc *s, const struct mvcc_query *query, mvcc_emit_fn emit_fn, void *arg,
                       struct mvcc_range_result *ret_result)
{
    struct mvcc_range_result result = {.rev = query->rev ? query->rev : mvcc_pending_revision(s)};
    bool cheap = count_is_cheap(s, query->rev) && !query->grouped && !query->visit_max;
    struct walk w = {.store = s,
                     .query = query,
                     .emit_fn = emit_fn,
                     .arg = arg,
                     .left = query->limit ? query->limit : INT64_MAX,
                     .counting = !cheap && !query->no_count,
                     .emitting = !query->count_only,
                     .result = &result};
    enum status st = mvcc_check_rev(s, query->rev);

    if (st == ST_OK)
        st = range_walk(&w);
    if (st != ST_OK)
        return st;
    if (cheap)
        result.count = mvcc_count(s, &query->span);
    *ret_result = result;
    return ST_OK;
}

enum status mvcc_history(struct mvcc *s, mvcc_rev from, mvcc_rev to, mvcc_event_fn event_fn, void *arg)
{
    if (from <= s->compact_revision)
        return ST_COMPACTED;
    if (from < 2)
        from = 2; /* revision 1 is the empty store */
    if (to > s->revision)
        to = s->revision;
    for (mvcc_rev main = from; main <= to; main++) {
        uint32_t flags = 0;
        for (int64_t sub = 0; !(flags & RECORD_LAST); sub++) {
            struct mvcc_event e = {.sub = sub};
            enum status st = store_read(s, main, sub, &e.kv, &flags);
            if (st != ST_OK) /* a change before the last one that is not there is damage */
                return st == ST_NOT_FOUND ? ST_CORRUPT : st;
            e.is_delete = flags & RECORD_TOMBSTONE;
            if (!event_fn(&e, arg))
                return ST_OK;
        }
    }
    return ST_OK;
}
