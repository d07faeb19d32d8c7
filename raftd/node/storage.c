/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves when what is durable: batches go to the log with a ticket, messages that promise something wait for their
 * ticket, the core hears what is stored. And what may be forgotten: a checkpoint of the store frees the log behind it.
 */
#include "raftd/node/internal.h"

#include <stdio.h>

#include "common/mem.h"
#include "common/planted.h"
#include "raftd/node/snapshot.h"

/* Make room at the end of a queue that lives in held[from..to): move down, else grow. */
static void *queue_room(void *array, size_t *from, size_t *to, size_t *cap, size_t size)
{
    if (*from == *to)
        *from = *to = 0;
    if (*to < *cap && array)
        return array;
    if (*from > *cap / 2) {
        memmove(array, (char *)array + *from * size, (*to - *from) * size);
        *to -= *from;
        *from = 0;
        return array;
    }
    return mem_grow(array, cap, *to + 1, size);
}

void storage_append(struct node *n, const struct raft_ready *rd)
{
    struct stored_batch *b;

    if (!rd->hard_changed && !rd->entry_count)
        return;
    n->last_ticket = wal_append(n->options.wal, rd->hard_changed ? &rd->hard : NULL, rd->entries,
                                rd->entry_count, rd->must_sync);
    if (!rd->entry_count)
        return;
    n->batches = queue_room(n->batches, &n->batches_from, &n->batches_to, &n->batches_cap, sizeof *n->batches);
    b = &n->batches[n->batches_to++];
    *b = (struct stored_batch){.ticket = n->last_ticket, .batch = rd->batch};
    for (size_t i = 0; i < rd->entry_count; i++)
        b->bytes += rd->entries[i]->len + RAFT_ENTRY_OVERHEAD_BYTES;
    n->unstored_bytes += b->bytes;
}

/* The later of two answers says all that the earlier one did. A leader asks a member whose disk stalls at each heartbeat. */
static bool says_more(const struct held_message *h, uint64_t ticket, const struct raft_message *m)
{
    const struct raft_message *held = &h->message;

    return m->type == RAFT_MSG_APPEND_RESPONSE && held->type == m->type && held->to == m->to && held->term == m->term && !held->reject &&
           !m->reject && h->ticket == ticket && m->index >= held->index;
}

void storage_hold(struct node *n, const struct raft_message *m)
{
    uint64_t ticket = n->last_ticket - (PLANTED(held_for_earlier_ticket) && n->last_ticket ? 1 : 0);
    struct held_message *h;

    INVARIANT(m->entry_count == 0);
    if (n->held_from < n->held_to && says_more(&n->held[n->held_to - 1], ticket, m)) {
        n->held[n->held_to - 1].message = *m;
        return;
    }
    n->held = queue_room(n->held, &n->held_from, &n->held_to, &n->held_cap, sizeof *n->held);
    h = &n->held[n->held_to++];
    h->ticket = ticket;
    h->message = *m;
}

void storage_release_durable(struct node *n)
{
    uint64_t durable = wal_durable(n->options.wal);

    stall_on_durable(n, durable);
    while (n->batches_from < n->batches_to && n->batches[n->batches_from].ticket <= durable) {
        const struct stored_batch *b = &n->batches[n->batches_from++];
        n->unstored_bytes -= b->bytes;
        raft_stored(n->raft, b->batch);
    }
    while (n->held_from < n->held_to && n->held[n->held_from].ticket <= durable) {
        struct raft_message m = n->held[n->held_from++].message;
        node_send(n, &m);
    }
}

/* Entries that change nothing leave no records, but the log grows by them as well. */
static bool wants_seal(const struct node *n)
{
    return mvcc_wants_seal(n->options.store) ||
           n->log_bytes_applied > SEAL_LOG_FACTOR * n->options.store_options.memtable_bytes;
}

/*
 * Entries are applied when they are stored, but for those that --force-new-cluster decrees. A checkpoint with these is not to be ahead of the
 * log: after a crash others would stand in their place.
 */
static bool is_ahead_of_log(const struct node *n)
{
    return wal_durable(n->options.wal) < n->decree_ticket;
}

void storage_maybe_seal(struct node *n)
{
    struct buf state = {0};
    struct mvcc_seal *seal;

    if (is_ahead_of_log(n) || n->seal_running || n->starved_seal || snapshot_is_installing(n) || !wants_seal(n))
        return;
    node_encode_state(n, &state);
    seal = mvcc_seal_begin(n->options.store, buf_slice(&state));
    buf_fini(&state);
    if (!seal)
        return;
    n->log_bytes_applied = 0;
    n->seal_running = true;
    n->options.seal_fn(n->options.arg, seal);
}

void node_on_seal_written(struct node *n, struct mvcc_seal *seal, enum status st,
                          const struct error *error)
{
    struct error end_error = {0};
    uint64_t index = 0, term = 0;

    if (st == ST_NO_SPACE) { /* it stays frozen: there may be space later */
        n->seal_running = false;
        space_on_starved_seal(n, seal, error->text);
        return;
    }
    if (st == ST_OK) {
        st = mvcc_seal_end(n->options.store, seal, &index, &term, &end_error);
        error = &end_error;
    }
    if (st != ST_OK) {
        n->options.fail_fn(n->options.arg, error->text);
        return;
    }
    n->seal_running = false;
    n->starved_seal = NULL;
    n->sealed_index = index;
    n->sealed_term = term;
    storage_forget(n);
}

static raft_index lower(raft_index a, raft_index b)
{
    return a < b ? a : b;
}

/*
 * What need not stay in memory: entries that every member holds; beyond snapshot-count and catch-up entries all but the last
 * catch-up ones (as etcd), unless a member is being sent what is behind, or a snapshot to which it must connect; and if all that
 * has more bytes than there may be, the older half, whoever needs it: that member gets another snapshot.
 */
static raft_index forgettable(const struct node *n, const struct raft_status *st)
{
    const struct node_options *o = &n->options;
    raft_index upto = lower(raft_match_min(n->raft), st->applied), held = st->applied + 1 - st->first, cut;

    if (held > o->snapshot_count + o->snapshot_catchup) {
        cut = st->applied - o->snapshot_catchup;
        cut = lower(cut, lower(raft_match_min_streaming(n->raft), snapshot_pin(n)));
        upto = cut > upto ? cut : upto;
    }
    if (st->log_bytes > o->window_bytes_max) {
        cut = lower(raft_index_to_fit(n->raft, o->window_bytes_max / 2), st->applied);
        upto = cut > upto ? cut : upto;
    }
    return upto;
}

/* On disk, what is not in memory any more and in a checkpoint of the store; so a restart has what memory had, or less. */
void storage_forget(struct node *n)
{
    struct raft_status st;
    raft_index keep;
    raft_term term;

    raft_get_status(n->raft, &st);
    raft_compact(n->raft, forgettable(n, &st));
    raft_get_status(n->raft, &st);
    keep = PLANTED(log_freed_before_checkpoint) ? st.first - 1 : lower(st.first - 1, n->sealed_index);
    if (keep <= n->released_index)
        return;
    term = keep == n->sealed_index ? n->sealed_term : raft_term_at(n->raft, keep);
    if (!term)
        return; /* forgotten in memory before the log was told: the next checkpoint releases it */
    wal_release(n->options.wal, keep, term);
    n->released_index = keep;
}
