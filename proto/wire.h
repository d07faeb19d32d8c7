/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing protobuf by hand, for answers that are made while the store is walked: no tree of messages, no array of
 * pointers, one copy of every value. proto3 rules: a field at its default is not written.
 * (https://protobuf.dev/programming-guides/encoding/)
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "common/buf.h"
#include "common/codec.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_LEN_BYTES = 5 };

static inline size_t wire_tag_len(uint32_t field)
{
    return varint_len((uint64_t)field << 3);
}

static inline void wire_raw_varint(struct buf *b, uint64_t v)
{
    uint8_t *p = buf_reserve(b, 10);
    buf_commit(b, (size_t)(put_varint(p, v) - p));
}

static inline void wire_tag(struct buf *b, uint32_t field, unsigned type)
{
    wire_raw_varint(b, (uint64_t)field << 3 | type);
}

static inline void wire_uint(struct buf *b, uint32_t field, uint64_t v)
{
    if (!v)
        return;
    wire_tag(b, field, WIRE_VARINT);
    wire_raw_varint(b, v);
}

/* int64 and enums: negative numbers take ten bytes. */
static inline void wire_int(struct buf *b, uint32_t field, int64_t v)
{
    wire_uint(b, field, (uint64_t)v);
}

static inline void wire_bool(struct buf *b, uint32_t field, bool v)
{
    wire_uint(b, field, v ? 1 : 0);
}

static inline void wire_bytes(struct buf *b, uint32_t field, struct slice s)
{
    if (!s.len)
        return;
    wire_tag(b, field, WIRE_BYTES);
    wire_raw_varint(b, s.len);
    buf_append_slice(b, s);
}

static inline void wire_text(struct buf *b, uint32_t field, const char *text)
{
    wire_bytes(b, field, slice_of_text(text));
}

/* A message field that is present even when it is empty; its len bytes follow. */
static inline void wire_message(struct buf *b, uint32_t field, size_t len)
{
    wire_tag(b, field, WIRE_BYTES);
    wire_raw_varint(b, len);
}

/* What wire_uint and wire_bytes would write, for lengths that must be known first. */
static inline size_t wire_uint_len(uint32_t field, uint64_t v)
{
    return v ? wire_tag_len(field) + varint_len(v) : 0;
}

static inline size_t wire_bytes_len(uint32_t field, size_t len)
{
    return len ? wire_tag_len(field) + varint_len(len) + len : 0;
}

/*
 * A message whose length is not known yet: wire_open leaves room for a length of five bytes, all that protobuf allows,
 * and wire_close writes it, padded: a longer spelling of the same number, which every decoder takes.
 */
static inline size_t wire_open(struct buf *b, uint32_t field)
{
    wire_tag(b, field, WIRE_BYTES);
    buf_reserve(b, WIRE_LEN_BYTES);
    buf_commit(b, WIRE_LEN_BYTES);
    return buf_len(b);
}

static inline void wire_close(struct buf *b, size_t opened)
{
    size_t len = buf_len(b) - opened;
    uint8_t *p = b->data + b->start + opened - WIRE_LEN_BYTES;

    INVARIANT(len < 1u << 31);
    for (int i = 0; i < WIRE_LEN_BYTES; i++)
        p[i] = (uint8_t)((len >> 7 * i & 127) | (i + 1 < WIRE_LEN_BYTES ? 128 : 0));
}

#endif
