/* SPDX-License-Identifier: Apache-2.0 */
/* One core, and whatever anybody may do to it, in any order. Nothing that arrives may break an invariant. */
#include <stdlib.h>

#include "raft/raft.h"
#include "tests/fuzz/fuzz.h"

static void step(struct raft *r, struct reader *in)
{
    struct raft_entry *entries[4];
    struct raft_message m = {.type = (enum raft_message_type)draw_below(in, 25),
                             .from = draw_below(in, 5),
                             .to = draw_below(in, 20) ? 1 : 2,
                             .term = draw_number(in),
                             .log_term = draw_number(in),
                             .index = draw_number(in),
                             .commit = draw_number(in),
                             .hint_index = draw_number(in),
                             .hint_term = draw_number(in),
                             .context = draw_number(in),
                             .reject = draw_below(in, 2),
                             .transfer = draw_below(in, 2),
                             .entries = entries,
                             .entry_count = draw_below(in, 5)};

    for (size_t i = 0; i < m.entry_count; i++) {
        entries[i] = raft_entry_new(draw_below(in, 8) ? RAFT_ENTRY_NORMAL : RAFT_ENTRY_CONF, (uint32_t)draw_below(in, 9));
        memset(entries[i]->data, 1, entries[i]->len);
        entries[i]->term = draw_below(in, 3) ? m.log_term : draw_number(in);
        entries[i]->index = draw_below(in, 10) ? m.index + 1 + i : draw_number(in);
    }
    if (raft_step(r, &m) != ST_OK)
        INVARIANT(m.type == RAFT_MSG_PROPOSE || m.type == RAFT_MSG_READ_INDEX || m.type == RAFT_MSG_TRANSFER_LEADER);
    for (size_t i = 0; i < m.entry_count; i++)
        raft_entry_unref(entries[i]);
}

static void check_ready(const struct raft_ready *rd, raft_index applied)
{
    for (size_t i = 0; i < rd->committed_count; i++)
        INVARIANT(rd->committed[i]->index == applied + 1 + i);
    for (size_t i = 1; i < rd->entry_count; i++)
        INVARIANT(rd->entries[i]->index == rd->entries[0]->index + i && rd->entries[i]->term >= rd->entries[i - 1]->term);
    for (size_t i = 0; i < rd->message_after_count; i++)
        INVARIANT(rd->messages_after_stored[i].entry_count == 0);
    INVARIANT(!rd->entry_count || rd->must_sync);
}

static void run(struct raft *r, raft_index *applied, uint64_t *batch, struct raft_hard_state *hard)
{
    struct raft_ready rd;

    if (!raft_ready(r, &rd))
        return;
    check_ready(&rd, *applied);
    /* What was promised is never taken back. */
    INVARIANT(rd.hard.term > hard->term || (rd.hard.term == hard->term && (!hard->vote || rd.hard.vote == hard->vote)));
    INVARIANT(rd.hard.commit >= hard->commit);
    *hard = rd.hard;
    *applied += rd.committed_count;
    *batch = rd.batch;
    raft_advance(r);
    raft_applied(r, *applied);
}

static struct raft *make(struct reader *in)
{
    struct raft_options o = {.id = 1,
                             .conf = {.voters = {1, 2, 3}, .voter_count = draw_below(in, 4) ? 3 : 1},
                             .election_ticks = 5,
                             .heartbeat_ticks = 1,
                             .pre_vote = draw_below(in, 2),
                             .check_quorum = draw_below(in, 2),
                             .random_seed = draw_u8(in),
                             .message_bytes_max = 50,
                             .inflight_messages_max = 2,
                             .inflight_bytes_max = 100,
                             .uncommitted_bytes_max = 100};

    return raft_new(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(slice_of(data, size));
    struct raft_hard_state hard = {0};
    raft_index applied = 0;
    uint64_t batch = 0;
    struct raft *r;

    if (!size)
        return 0;
    r = make(&in);
    while (reader_left(&in)) {
        struct raft_entry *e;
        switch (draw_below(&in, 16)) {
        case 0:
            raft_tick(r);
            break;
        case 1:
            raft_campaign(r);
            break;
        case 2:
            e = raft_entry_new(RAFT_ENTRY_NORMAL, 1 + (uint32_t)draw_below(&in, 9));
            memset(e->data, 2, e->len);
            if (raft_propose(r, &e, 1) != ST_OK)
                batch += 0;
            raft_entry_unref(e);
            break;
        case 3:
            if (raft_read_index(r, draw_u8(&in)) != ST_OK)
                raft_tick(r);
            break;
        case 4:
            raft_unreachable(r, draw_below(&in, 5));
            break;
        case 5:
            raft_snapshot_sent(r, draw_below(&in, 5), draw_below(&in, 2));
            break;
        case 6:
            raft_compact(r, draw_below(&in, applied + 1));
            break;
        case 7:
            raft_stored(r, batch);
            break;
        case 8:
        case 9:
        case 10:
            run(r, &applied, &batch, &hard);
            break;
        default:
            step(r, &in);
            break;
        }
    }
    raft_free(r);
    return 0;
}
