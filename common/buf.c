/* SPDX-License-Identifier: Apache-2.0 */
/* The growing byte buffer. */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->start = b->end = 0;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    if (b->cap - b->end >= len && b->data)
        return b->data + b->end;
    /* Moving the content down is cheaper than growing once half of the buffer is consumed. */
    if (b->start && b->start >= b->cap / 2) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    if (b->cap - b->end < len || !b->data)
        b->data = mem_grow(b->data, &b->cap, b->end + (len < 64 ? 64 : len), 1);
    return b->data + b->end;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (!len)
        return;
    memcpy(buf_reserve(b, len), data, len);
    b->end += len;
}

void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.data, s.len);
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
    *buf_reserve(b, 1) = byte;
    b->end++;
}

void buf_append_text(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    char *room = (char *)buf_reserve(b, 256);
    int n;

    va_start(args, format);
    n = vsnprintf(room, b->cap - b->end, format, args);
    va_end(args);
    INVARIANT(n >= 0);
    if ((size_t)n >= b->cap - b->end) {
        room = (char *)buf_reserve(b, (size_t)n + 1);
        va_start(args, format);
        vsnprintf(room, (size_t)n + 1, format, args);
        va_end(args);
    }
    b->end += (size_t)n;
}

const char *buf_text(struct buf *b)
{
    *buf_reserve(b, 1) = 0;
    return (const char *)b->data + b->start;
}

void buf_consume(struct buf *b, size_t len)
{
    INVARIANT(len <= buf_len(b));
    b->start += len;
    if (b->start == b->end)
        b->start = b->end = 0;
}

size_t buf_take(struct buf *b, uint8_t **ret_data)
{
    size_t len = buf_len(b);

    if (b->start && len)
        memmove(b->data, b->data + b->start, len);
    *ret_data = b->data;
    *b = (struct buf){0};
    return len;
}
