/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges, points, history. */
#include <string.h>

#include "common/crc32c.h"
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
    bool tombstone;
    enum status st = store_read(s, v->main, v->sub, ret_kv, &tombstone);

    if (st == ST_NOT_FOUND || (st == ST_OK && tombstone))
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

static int64_t count_now(const struct mvcc *s, const struct mvcc_span *span)
{
    int64_t above = span->open ? index_alive(s->index) : index_rank(s->index, span->to);

    return above - index_rank(s->index, span->from);
}

/* Is the cursor's key before the end of the span? */
static bool is_inside(const struct mvcc_span *span, const struct keyindex *k)
{
    return span->open || slice_compare(keyindex_key(k), span->to) < 0;
}

static enum status range_up(struct mvcc *s, const struct mvcc_query *q, mvcc_emit_fn emit_fn, void *arg,
                            int64_t *ret_seen, bool *ret_cut)
{
    bool counting = !count_is_cheap(s, q->rev);
    int64_t seen = 0, left = q->limit ? q->limit : INT64_MAX;
    struct cursor c = index_seek(s->index, q->span.from);
    bool emitting = !q->count_only;
    const struct keyindex *k;
    struct mvcc_kv kv;

    for (; (k = cursor_key(&c)) && is_inside(&q->span, k) && (emitting || counting); cursor_next(&c)) {
        const struct version *v = keyindex_at(k, q->rev);
        enum status st;
        if (!v)
            continue;
        seen++;
        if (!emitting)
            continue;
        if (left-- <= 0) {
            *ret_cut = true;
            emitting = false;
            continue;
        }
        st = load(s, v, q->values, &kv);
        if (st != ST_OK)
            return st;
        emitting = emit_fn(&kv, arg);
    }
    *ret_seen = seen;
    return ST_OK;
}

static enum status range_down(struct mvcc *s, const struct mvcc_query *q, mvcc_emit_fn emit_fn, void *arg,
                              int64_t *ret_seen, bool *ret_cut)
{
    int64_t seen = 0, left = q->limit ? q->limit : INT64_MAX;
    struct cursor c = q->span.open ? index_end(s->index) : index_seek(s->index, q->span.to);
    bool emitting = true;
    struct mvcc_kv kv;

    while (cursor_back(s->index, &c)) {
        const struct keyindex *k = cursor_key(&c);
        const struct version *v;
        enum status st;
        if (slice_compare(keyindex_key(k), q->span.from) < 0)
            break;
        v = keyindex_at(k, q->rev);
        if (!v)
            continue;
        seen++;
        if (!emitting)
            continue;
        if (left-- <= 0) {
            *ret_cut = true;
            emitting = false;
            continue;
        }
        st = load(s, v, q->values, &kv);
        if (st != ST_OK)
            return st;
        emitting = emit_fn(&kv, arg);
    }
    *ret_seen = seen;
    return ST_OK;
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

/* From child to child: behind a group the walk goes on at the first key that cannot be in it. */
static enum status range_grouped(struct mvcc *s, const struct mvcc_query *q, mvcc_emit_fn emit_fn, void *arg,
                                 int64_t *ret_seen, bool *ret_cut)
{
    int64_t seen = 0, left = q->limit ? q->limit : INT64_MAX;
    struct cursor c = index_seek(s->index, q->span.from);
    const struct keyindex *k;

    while ((k = cursor_key(&c)) && is_inside(&q->span, k)) {
        const struct version *v = keyindex_at(k, q->rev);
        struct mvcc_kv kv = {0};
        enum status st;
        size_t len;
        if (!v) {
            cursor_next(&c);
            continue;
        }
        if (left-- <= 0) {
            *ret_cut = true;
            break;
        }
        seen++;
        len = group_len(q, keyindex_key(k));
        if (!len) {
            st = load(s, v, q->values, &kv);
            if (st != ST_OK)
                return st;
            if (!emit_fn(&kv, arg))
                break;
            cursor_next(&c);
            continue;
        }
        kv.group = true;
        kv.key = slice_of(k->key, len);
        if (!emit_fn(&kv, arg))
            break;
        if (q->delimiter == 0xff) { /* nothing sorts behind it at this place: walk */
            struct slice name = slice_of(k->key, len);
            while ((k = cursor_key(&c)) && slice_has_prefix(keyindex_key(k), name))
                cursor_next(&c);
            continue;
        }
        buf_clear(&s->scratch_key);
        buf_append(&s->scratch_key, k->key, len);
        s->scratch_key.data[s->scratch_key.end - 1]++;
        c = index_seek(s->index, buf_slice(&s->scratch_key));
    }
    *ret_seen = seen;
    return ST_OK;
}

static enum status range_point(struct mvcc *s, const struct mvcc_query *q, mvcc_emit_fn emit_fn, void *arg,
                               int64_t *ret_seen)
{
    struct mvcc_kv kv;
    enum status st = mvcc_get(s, q->span.from, q->rev, q->values, &kv);

    *ret_seen = st == ST_OK;
    if (st == ST_OK && !q->count_only)
        emit_fn(&kv, arg);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

enum status mvcc_range(struct mvcc *s, const struct mvcc_query *query, mvcc_emit_fn emit_fn, void *arg,
                       struct mvcc_range_result *ret_result)
{
    struct mvcc_range_result result = {.rev = query->rev ? query->rev : mvcc_pending_revision(s)};
    enum status st = mvcc_check_rev(s, query->rev);

    if (st != ST_OK)
        return st;
    if (query->span.point)
        st = range_point(s, query, emit_fn, arg, &result.count);
    else if (mvcc_span_is_empty(&query->span))
        st = ST_OK;
    else if (query->grouped)
        st = range_grouped(s, query, emit_fn, arg, &result.count, &result.more);
    else if (query->count_only && count_is_cheap(s, query->rev))
        result.count = count_now(s, &query->span);
    else if (query->descending)
        st = range_down(s, query, emit_fn, arg, &result.count, &result.more);
    else
        st = range_up(s, query, emit_fn, arg, &result.count, &result.more);
    if (st != ST_OK)
        return st;
    if (!query->span.point && !query->grouped && !mvcc_span_is_empty(&query->span) && count_is_cheap(s, query->rev))
        result.count = count_now(s, &query->span);
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
        for (int64_t sub = 0;; sub++) {
            struct mvcc_event e = {.sub = sub};
            enum status st = store_read(s, main, sub, &e.kv, &e.is_delete);
            if (st == ST_NOT_FOUND && sub > 0)
                break;
            if (st != ST_OK) /* a revision without its first change is damage */
                return st == ST_NOT_FOUND ? ST_CORRUPT : st;
            if (!event_fn(&e, arg))
                return ST_OK;
        }
    }
    return ST_OK;
}

struct hasher {
    uint32_t crc;
    struct buf bytes;
};

static bool on_hash(const struct mvcc_event *e, void *arg)
{
    struct hasher *h = arg;
    size_t len = record_bytes(e->kv.key.len, e->kv.value.len);

    buf_clear(&h->bytes);
    record_encode(buf_reserve(&h->bytes, len), &e->kv, e->sub, e->is_delete);
    h->crc = crc32c(h->crc, h->bytes.data, len);
    return true;
}

enum status mvcc_hash(struct mvcc *s, mvcc_rev rev, uint32_t *ret_hash)
{
    struct hasher h = {0};
    enum status st = mvcc_check_rev(s, rev);

    if (st == ST_OK)
        st = mvcc_history(s, s->compact_revision + 1, rev ? rev : s->revision, on_hash, &h);
    buf_fini(&h.bytes);
    if (st == ST_OK)
        *ret_hash = h.crc;
    return st;
}
