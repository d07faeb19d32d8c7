/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integers to bytes and back. Our own formats (WAL, segments, peer frames) are little-endian; big-endian
 * and varint are for formats of others (revision keys, protobuf, gRPC frames). Writing goes through a
 * pointer into room the caller has; reading goes through a struct reader, which never passes the end: a
 * short input sets `bad`, further reads give zero, and the caller checks once at the end.
 */
#ifndef COMMON_CODEC_H
#define COMMON_CODEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/slice.h"

static inline uint8_t *put_u8(uint8_t *p, uint8_t v)
{
    *p = v;
    return p + 1;
}

static inline uint8_t *put_le32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    return p + 4;
}

static inline uint8_t *put_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    return p + 8;
}

static inline uint8_t *put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    return p + 4;
}

static inline uint8_t *put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
    return p + 8;
}

static inline uint8_t *put_bytes(uint8_t *p, const void *data, size_t len)
{
    if (len)
        memcpy(p, data, len);
    return p + len;
}

static inline uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_le64(const uint8_t *p)
{
    return (uint64_t)get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

static inline uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline uint64_t get_be64(const uint8_t *p)
{
    return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

/* Bytes that a varint of v takes: 1 to 10. */
static inline size_t varint_len(uint64_t v)
{
    size_t n = 1;

    for (; v > 127; v >>= 7)
        n++;
    return n;
}

static inline uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    for (; v > 127; v >>= 7)
        *p++ = (uint8_t)(v | 128);
    *p++ = (uint8_t)v;
    return p;
}

struct reader {
    const uint8_t *next;
    const uint8_t *end;
    bool bad; /* something was read past the end, or was no valid encoding */
};

static inline struct reader reader_of(struct slice s)
{
    return (struct reader){.next = s.data, .end = s.data ? s.data + s.len : NULL};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->next);
}

static inline const uint8_t *read_bytes(struct reader *r, size_t len)
{
    const uint8_t *p = r->next;

    if (r->bad || reader_left(r) < len) {
        r->bad = true;
        return NULL;
    }
    r->next += len;
    return p;
}

static inline struct slice read_slice(struct reader *r, size_t len)
{
    const uint8_t *p = read_bytes(r, len);
    return slice_of(p, p ? len : 0);
}

static inline uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    return p ? *p : 0;
}

static inline uint32_t read_le32(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 4);
    return p ? get_le32(p) : 0;
}

static inline uint64_t read_le64(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 8);
    return p ? get_le64(p) : 0;
}

static inline uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = read_u8(r);
        v |= (uint64_t)(b & 127) << shift;
        if (!(b & 128))
            return r->bad ? 0 : v;
    }
    r->bad = true;
    return 0;
}

#endif
