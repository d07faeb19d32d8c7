/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the log. The input says which records stand in up to three segments, sealed with right checksums
 * (else no fuzzer gets past them), and which bytes are changed then.
 */
#include <stdlib.h>

#include "common/mem.h"
#include "raftd/wal/reader.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/memory_disk.h"

#define SEGMENT_BYTES 4096

static void append_record(struct reader *in, uint8_t *segment, uint64_t *at, uint64_t identity)
{
    enum record_type type = (enum record_type)(draw_below(in, 10) ? 1 + draw_below(in, 5) : draw_u8(in));
    size_t len = type == RECORD_ENTRY ? 24 + draw_below(in, 20) : draw_below(in, 10) ? 24 : draw_below(in, 40);
    struct buf b = {0};
    uint8_t *payload;

    if (*at + wal_record_bytes(len) > SEGMENT_BYTES)
        return;
    payload = wal_record_begin(&b, type, len);
    memset(payload, 0, len);
    for (size_t i = 0; i + 8 <= len && i < 24; i += 8)
        put_le64(payload + i, draw_number(in));
    wal_record_set_flags(b.data, draw_below(in, 4) ? RECORD_BATCH_ENDS : 0);
    wal_record_seal(b.data, identity, *at, draw_below(in, 4) ? SEGMENT_HEADER_BYTES : (uint32_t)*at);
    memcpy(segment + *at, b.data, wal_record_bytes(len));
    *at += wal_record_bytes(len);
    buf_fini(&b);
}

static void make_segment(struct reader *in, struct disk *disk, uint64_t sequence, uint64_t previous_end, uint64_t *ret_end)
{
    uint8_t segment[SEGMENT_BYTES] = {0};
    struct segment_header h = {.cluster_id = 1,
                               .member_id = 1,
                               .sequence = sequence,
                               .identity = 100 + sequence,
                               .previous_identity = sequence > 1 ? 99 + sequence : 0,
                               .previous_end = previous_end,
                               .size = SEGMENT_BYTES,
                               .first_index = draw_number(in),
                               .begin_index = draw_below(in, 3) ? 0 : draw_number(in),
                               .begin_term = draw_below(in, 3),
                               .begin_sequence = 1};
    uint64_t at = SEGMENT_HEADER_BYTES;
    char name[SEGMENT_NAME_BYTES];
    struct disk_file *f;

    for (uint64_t n = draw_below(in, 12); n; n--)
        append_record(in, segment, &at, h.identity);
    *ret_end = at >= SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES ? at - RECORD_HEADER_BYTES : at; /* before its end record, if there is one */
    wal_segment_header_encode(&h, segment);
    for (uint64_t n = draw_below(in, 4); n; n--)
        segment[draw_below(in, SEGMENT_BYTES)] ^= draw_u8(in);
    wal_segment_name(h.sequence, h.first_index, name);
    INVARIANT(disk->ops->open(disk, name, DISK_CREATE, &f) == 0);
    INVARIANT(disk->ops->write(f, 0, segment, draw_below(in, 20) ? SEGMENT_BYTES : draw_below(in, SEGMENT_BYTES)) == 0);
    disk->ops->close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(slice_of(data, size));
    struct disk *disk = memory_disk_new();
    struct wal_state state;
    struct error error = {0};
    uint64_t end = 0;
    enum status st;

    for (uint64_t i = 1, n = 1 + draw_below(&in, 3); i <= n; i++)
        make_segment(&in, disk, i, end, &end);
    st = wal_read(disk, 1, 1, &state, &error);
    INVARIANT(st == ST_OK || st == ST_CORRUPT || st == ST_BAD_ARGUMENT);
    INVARIANT((st == ST_OK) == (error.text[0] == 0)); /* a refusal says where */
    if (st == ST_OK) {
        for (size_t i = 0; i < state.entry_count; i++)
            INVARIANT(state.entries[i]->index == state.begin_index + 1 + i);
        wal_state_fini(&state);
    }
    disk->ops->free(disk);
    return 0;
}
