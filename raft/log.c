/* SPDX-License-Identifier: Apache-2.0 */
/* The window of the log that is in memory. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/planted.h"
#include "raft/internal.h"

void raft_log_init(struct raft_log *l, const struct raft_options *options)
{
    *l = (struct raft_log){.snapshot_index = options->snapshot_index, .snapshot_term = options->snapshot_term};
    for (size_t i = 0; i < options->entry_count; i++) {
        INVARIANT(options->entries[i]->index == raft_log_last(l) + 1);
        raft_log_append(l, options->entries[i]);
    }
    l->given = l->stored = raft_log_last(l);
    l->commit = options->hard.commit;
    l->applied = l->handed = options->applied;
    INVARIANT(l->snapshot_index <= l->applied && l->applied <= raft_log_last(l));
    /* A commit index is only written down after the entries, but it needs no sync, nor do they need to be ours. */
    if (l->commit > raft_log_last(l))
        l->commit = raft_log_last(l);
    if (l->commit < l->applied)
        l->commit = l->applied;
}

static void drop_slots(struct raft_log *l, size_t at, size_t count)
{
    for (size_t i = at; i < at + count; i++) {
        l->bytes -= l->slots[i]->len;
        raft_entry_unref(l->slots[i]);
    }
}

void raft_log_fini(struct raft_log *l)
{
    drop_slots(l, l->from, l->count);
    free(l->slots);
    free(l->unstored);
}

struct raft_entry **raft_log_slot(const struct raft_log *l, raft_index index)
{
    INVARIANT(index > l->snapshot_index && index <= raft_log_last(l));
    return &l->slots[l->from + (size_t)(index - l->snapshot_index - 1)];
}

raft_term raft_log_term(const struct raft_log *l, raft_index index)
{
    if (index == l->snapshot_index)
        return l->snapshot_term;
    if (index < l->snapshot_index || index > raft_log_last(l))
        return 0;
    return (*raft_log_slot(l, index))->term;
}

raft_term raft_log_last_term(const struct raft_log *l)
{
    return raft_log_term(l, raft_log_last(l));
}

void raft_log_append(struct raft_log *l, struct raft_entry *e)
{
    if (l->from + l->count == l->cap && l->from > l->cap / 2) {
        memmove(l->slots, l->slots + l->from, l->count * sizeof *l->slots);
        l->from = 0;
    }
    l->slots = mem_grow(l->slots, &l->cap, l->from + l->count + 1, sizeof *l->slots);
    l->slots[l->from + l->count++] = raft_entry_ref(e);
    l->bytes += e->len;
}

void raft_log_truncate(struct raft_log *l, raft_index index)
{
    size_t keep = (size_t)(index - l->snapshot_index - 1);

    INVARIANT(index > l->commit && index <= raft_log_last(l));
    drop_slots(l, l->from + keep, l->count - keep);
    l->count = keep;
    if (l->given >= index)
        l->given = index - 1;
    if (l->stored >= index)
        l->stored = index - 1;
    for (size_t i = 0; i < l->unstored_count; i++)
        if (l->unstored[i].last >= index && !PLANTED(replaced_entry_counts))
            l->unstored[i].last = index - 1;
}

void raft_log_give(struct raft_log *l, uint64_t batch)
{
    if (l->given == raft_log_last(l))
        return;
    l->given = raft_log_last(l);
    l->unstored = mem_grow(l->unstored, &l->unstored_cap, l->unstored_count + 1, sizeof *l->unstored);
    l->unstored[l->unstored_count++] = (struct unstored){batch, l->given};
}

bool raft_log_store(struct raft_log *l, uint64_t batch)
{
    raft_index before = l->stored;
    size_t done = 0;

    for (; done < l->unstored_count && l->unstored[done].batch <= batch; done++)
        if (l->unstored[done].last > l->stored)
            l->stored = l->unstored[done].last;
    l->unstored_count -= done;
    if (done)
        memmove(l->unstored, l->unstored + done, l->unstored_count * sizeof *l->unstored);
    return l->stored > before;
}

bool raft_log_is_up_to_date(const struct raft_log *l, raft_index index, raft_term term)
{
    raft_term last_term = raft_log_last_term(l);

    return term > last_term || (term == last_term && index >= raft_log_last(l));
}

raft_index raft_log_agreement(const struct raft_log *l, raft_index index, raft_term term)
{
    if (index > raft_log_last(l))
        index = raft_log_last(l);
    while (index > l->snapshot_index && raft_log_term(l, index) > term)
        index--;
    return index;
}

void raft_log_compact(struct raft_log *l, raft_index index)
{
    size_t drop;

    if (index <= l->snapshot_index)
        return;
    INVARIANT(index <= l->applied);
    drop = (size_t)(index - l->snapshot_index);
    l->snapshot_term = raft_log_term(l, index);
    drop_slots(l, l->from, drop);
    l->from += drop;
    l->count -= drop;
    l->snapshot_index = index;
}

void raft_log_reset(struct raft_log *l, raft_index index, raft_term term)
{
    drop_slots(l, l->from, l->count);
    l->from = l->count = 0;
    l->unstored_count = 0;
    l->snapshot_index = l->given = l->stored = l->commit = l->handed = l->applied = index;
    l->snapshot_term = term;
}
