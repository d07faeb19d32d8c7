/* SPDX-License-Identifier: Apache-2.0 */
/* From memtable to segment: freeze here, write anywhere, take over here. */
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/planted.h"
#include "mvcc/internal.h"

bool mvcc_wants_seal(const struct mvcc *s)
{
    struct mvcc_checkpoint last;

    if (s->frozen)
        return false;
    mvcc_get_checkpoint(s, &last);
    return memtable_bytes(s->memtable) >= s->memtable_limit ||
           s->applied_index - last.applied_index >= s->entries_limit;
}

void seal_free(struct mvcc_seal *seal)
{
    if (!seal)
        return;
    segment_close(seal->segment);
    buf_fini(&seal->state);
    free(seal);
}

struct mvcc_seal *mvcc_seal_begin(struct mvcc *s, struct slice state)
{
    struct mvcc_seal *seal;
    struct mvcc_checkpoint last;

    INVARIANT(!s->writing);
    mvcc_get_checkpoint(s, &last);
    if (s->frozen || s->applied_index == last.applied_index)
        return NULL;
    seal = mem_zero(sizeof *seal);
    snprintf(seal->dir, sizeof seal->dir, "%s", s->dir);
    seal->no_sync = s->no_sync;
    s->seal = seal;
    seal->frozen = s->frozen = s->memtable;
    seal->meta = (struct segment_meta){
        .sequence = s->segment_count + 1,
        .first_rev = memtable_first_main(s->frozen),
        .next_rev = memtable_next_main(s->frozen),
        .applied_index = s->applied_index - PLANTED(applied_index_behind) + PLANTED(applied_index_ahead),
        .applied_term = s->applied_term,
        .last_time_ns = s->last_time_ns,
        .record_count = memtable_count(s->frozen),
    };
    buf_append_slice(&seal->state, state);
    s->memtable = memtable_new(s->revision + 1);
    return seal;
}

enum status mvcc_seal_write(struct mvcc_seal *seal, struct error *ret_error)
{
    return segment_write(seal->dir, seal->frozen, &seal->meta, buf_slice(&seal->state), seal->no_sync, &seal->segment,
                         ret_error);
}

enum status mvcc_seal_end(struct mvcc *s, struct mvcc_seal *seal, uint64_t *ret_index, uint64_t *ret_term,
                          struct error *ret_error)
{
    enum status st = ST_OK;

    if (!seal->segment) {
        st = error_set(ret_error, ST_IO, "%s: a seal was not written", s->dir);
    } else {
        s->segments = mem_grow(s->segments, &s->segment_cap, s->segment_count + 1, sizeof *s->segments);
        s->segments[s->segment_count++] = seal->segment;
        seal->segment = NULL;
        memtable_free(s->frozen);
        s->frozen = NULL;
        *ret_index = seal->meta.applied_index;
        *ret_term = seal->meta.applied_term;
    }
    s->seal = NULL;
    seal_free(seal);
    return st;
}
