/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is there or the process is not: a failed allocation aborts. A size that comes from outside
 * is checked against limits.h before it gets here.
 */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stddef.h>

/* All three return memory of the given size, never NULL; mem_free is free(3). mem_zero is zero-filled. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zero(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *old, size_t size) __attribute__((returns_nonnull));
void *mem_copy(const void *data, size_t size) __attribute__((malloc, returns_nonnull));
char *mem_text(const char *text) __attribute__((malloc, returns_nonnull));

/* Make room for `need` elements of `size` bytes in an array of *cap, doubling; returns the array. */
void *mem_grow(void *array, size_t *cap, size_t need, size_t size) __attribute__((returns_nonnull));

#endif
