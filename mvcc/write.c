/* SPDX-License-Identifier: Apache-2.0 */
/* Applying changes. */
#include "common/mem.h"
#include "mvcc/internal.h"
#include "mvcc/record.h"

/* A clock that is wilder than this is cut: times go up by one a change and must never run over. */
#define TIME_NS_MAX (INT64_MAX / 2)

void mvcc_begin(struct mvcc *s, uint64_t index, uint64_t term, int64_t time_ns)
{
    INVARIANT(!s->writing && index == s->applied_index + 1);
    s->writing = true;
    s->subs = 0;
    s->applied_index = index;
    s->previous_term = s->applied_term;
    s->applied_term = term;
    if (time_ns > TIME_NS_MAX)
        time_ns = TIME_NS_MAX;
    s->write_time_ns = time_ns > s->last_time_ns ? time_ns : s->last_time_ns + 1;
}

void mvcc_cancel(struct mvcc *s)
{
    INVARIANT(s->writing && !s->subs);
    s->writing = false;
    s->applied_index--;
    s->applied_term = s->previous_term;
}

mvcc_rev mvcc_pending_revision(const struct mvcc *s)
{
    return s->revision + (s->writing && s->subs ? 1 : 0);
}

bool mvcc_has_changes(const struct mvcc *s)
{
    return s->subs > 0;
}

static void add_record(struct mvcc *s, const struct mvcc_kv *kv, bool tombstone)
{
    size_t len = record_bytes(kv->key.len, kv->value.len);
    int64_t sub = s->subs++;

    INVARIANT(s->writing && sub < 1u << 31);
    record_encode(memtable_add(s->memtable, s->revision + 1, sub, len), kv, sub, tombstone ? RECORD_TOMBSTONE : 0);
    index_add(s->index, kv->key, s->revision + 1, (uint32_t)sub, tombstone);
}

enum status mvcc_put(struct mvcc *s, struct slice key, struct slice value, int64_t lease)
{
    const struct keyindex *k = index_find(s->index, key);
    struct mvcc_kv kv = {.key = key,
                         .value = value,
                         .create_rev = s->revision + 1,
                         .mod_rev = s->revision + 1,
                         .version = 1,
                         .lease = lease,
                         .create_time_ns = s->write_time_ns,
                         .mod_time_ns = s->write_time_ns};

    if (k && keyindex_is_alive(k)) {
        const struct version *all = keyindex_versions(k), *newest = &all[k->count - 1];
        struct mvcc_kv old;
        uint32_t flags;
        enum status st;
        kv.create_rev = all[newest->first].main;
        kv.version = (int64_t)(k->count - newest->first) + 1;
        /* Only the creation time needs the record. Without it this replica would differ from the others. */
        st = store_read(s, newest->main, newest->sub, &old, &flags);
        if (st != ST_OK)
            return st == ST_NOT_FOUND ? ST_CORRUPT : st;
        kv.create_time_ns = old.create_time_ns;
    }
    add_record(s, &kv, false);
    return ST_OK;
}

int64_t mvcc_delete(struct mvcc *s, const struct mvcc_span *span)
{
    struct cursor c = index_seek(s->index, span->from);
    const struct keyindex *k;
    int64_t deleted = 0;

    /* Tombstones are versions of keys that are there: the tree does not move under the cursor. */
    for (; (k = cursor_key(&c)); cursor_next(&c)) {
        struct mvcc_kv kv = {.key = keyindex_key(k), .mod_rev = s->revision + 1, .mod_time_ns = s->write_time_ns};
        if (span->point ? !slice_equal(kv.key, span->from) : !span->open && slice_compare(kv.key, span->to) >= 0)
            break;
        if (keyindex_is_alive(k)) {
            add_record(s, &kv, true);
            deleted++;
        }
        if (span->point)
            break;
    }
    return deleted;
}

mvcc_rev mvcc_end(struct mvcc *s)
{
    INVARIANT(s->writing);
    s->writing = false;
    if (s->subs) {
        record_set_last(memtable_record(s->memtable, memtable_count(s->memtable) - 1));
        s->revision++;
        s->last_time_ns = s->write_time_ns;
    }
    s->subs = 0;
    return s->revision;
}
