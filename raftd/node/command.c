/* SPDX-License-Identifier: Apache-2.0 */
/* Commands to entries and back. */
#include "raftd/node/command.h"

#include "common/codec.h"

struct raft_entry *command_new(const struct command *header, size_t payload_len)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)(COMMAND_HEADER_BYTES + payload_len));
    uint8_t *p = e->data;

    p = put_u8(p, COMMAND_FORMAT);
    p = put_u8(p, (uint8_t)header->kind);
    p = put_u8(put_u8(p, 0), 0);
    p = put_le32(p, 0);
    p = put_le64(p, header->origin);
    p = put_le64(p, header->request);
    put_le64(p, (uint64_t)header->time_ns);
    return e;
}

uint8_t *command_payload_room(struct raft_entry *e)
{
    return e->data + COMMAND_HEADER_BYTES;
}

bool command_parse(const struct raft_entry *e, struct command *ret_command)
{
    if (e->type != RAFT_ENTRY_NORMAL || e->len < COMMAND_HEADER_BYTES || e->data[0] != COMMAND_FORMAT)
        return false;
    *ret_command = (struct command){
        .kind = (enum command_kind)e->data[1],
        .origin = get_le64(e->data + 8),
        .request = get_le64(e->data + 16),
        .time_ns = (int64_t)get_le64(e->data + 24),
        .payload = slice_of(e->data + COMMAND_HEADER_BYTES, e->len - COMMAND_HEADER_BYTES),
    };
    return true;
}
