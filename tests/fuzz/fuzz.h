/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target is one file with LLVMFuzzerTestOneInput. With --enable-fuzzers (clang) it is linked with libFuzzer;
 * without, with replay.c, and make check runs it over its corpus and over changes of it that are always the same.
 * A target may not keep anything from one input to the next.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "common/codec.h"
#include "common/invariant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Draw from the input: zeros at its end. */
static inline uint8_t draw_u8(struct reader *r)
{
    return read_u8(r);
}

static inline uint64_t draw_below(struct reader *r, uint64_t bound)
{
    uint64_t v = read_u8(r);

    return bound > 256 ? (v << 8 | read_u8(r)) % bound : v % bound;
}

static inline struct slice draw_bytes(struct reader *r, size_t len)
{
    return read_slice(r, len < reader_left(r) ? len : reader_left(r));
}

/* A number that is small, large, or anything. */
static inline uint64_t draw_number(struct reader *r)
{
    uint8_t how = read_u8(r);

    if (how < 200)
        return how % 12;
    if (how < 230)
        return UINT64_MAX - how % 4;
    return read_u8(r) % 2 ? UINT64_MAX >> how % 64 : (uint64_t)1 << how % 64;
}

#endif
