/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte buffer that grows: append at the end, consume at the front. The owner calls buf_fini; a zeroed
 * struct is a valid empty buffer. Pointers into it are valid until the next append or reserve.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "common/invariant.h"
#include "common/slice.h"

struct buf {
    uint8_t *data; /* NULL while nothing was appended */
    size_t start;  /* first byte that is not consumed */
    size_t end;    /* one past the last byte */
    size_t cap;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
/* Forget the content, keep the memory. */
void buf_clear(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data ? b->data + b->start : NULL, b->end - b->start);
}

/* Room for len bytes at the end; write them, then buf_commit what was written. */
uint8_t *buf_reserve(struct buf *b, size_t len);
static inline void buf_commit(struct buf *b, size_t len)
{
    INVARIANT(len <= b->cap - b->end);
    b->end += len;
}

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_append_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* A terminating NUL behind the content that is not part of it. */
const char *buf_text(struct buf *b);

/* Drop len bytes at the front; len <= buf_len. */
void buf_consume(struct buf *b, size_t len);
/* Give the memory away: the caller frees *ret_data; the buffer is empty after. */
size_t buf_take(struct buf *b, uint8_t **ret_data);

#endif
