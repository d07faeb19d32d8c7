/* SPDX-License-Identifier: Apache-2.0 */
/* Walking the tags of a message without decoding it. */
#include "proto/nesting.h"

#include "common/codec.h"

enum { TYPE_VARINT = 0, TYPE_64 = 1, TYPE_BYTES = 2, TYPE_32 = 5 };

bool proto_nests_within(const ProtobufCMessageDescriptor *type, struct slice bytes, unsigned most)
{
    struct reader r = reader_of(bytes);

    if (!most)
        return false;
    while (reader_left(&r) && !r.bad) {
        uint64_t tag = read_varint(&r), len;
        const ProtobufCFieldDescriptor *field;
        struct slice inside;
        switch (tag & 7) {
        case TYPE_VARINT:
            read_varint(&r);
            continue;
        case TYPE_64:
            read_bytes(&r, 8);
            continue;
        case TYPE_32:
            read_bytes(&r, 4);
            continue;
        case TYPE_BYTES:
            break;
        default:
            return false; /* groups, which no message of ours has */
        }
        /* Whatever is odd is refused: the decoder may read on from another place than this walk would. */
        len = read_varint(&r);
        if (len > reader_left(&r))
            return false;
        inside = read_slice(&r, (size_t)len);
        field = protobuf_c_message_descriptor_get_field(type, (unsigned)(uint32_t)(tag >> 3));
        if (field && field->type == PROTOBUF_C_TYPE_MESSAGE && !proto_nests_within(field->descriptor, inside, most - 1))
            return false;
    }
    return !r.bad;
}
