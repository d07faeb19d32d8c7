/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that aborts where malloc(3) would return NULL. */
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/invariant.h"

void *mem_alloc(size_t size)
{
    void *p = malloc(size ? size : 1);

    INVARIANT(p != NULL);
    return p;
}

void *mem_zero(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    INVARIANT(p != NULL);
    return p;
}

void *mem_resize(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);

    INVARIANT(p != NULL);
    return p;
}

void *mem_copy(const void *data, size_t size)
{
    void *p = mem_alloc(size);

    if (size)
        memcpy(p, data, size);
    return p;
}

char *mem_text(const char *text)
{
    return mem_copy(text, strlen(text) + 1);
}

void *mem_grow(void *array, size_t *cap, size_t need, size_t size)
{
    size_t n = *cap ? *cap : 8;

    if (need <= *cap && array)
        return array;
    while (n < need)
        n *= 2;
    INVARIANT(n <= SIZE_MAX / size);
    *cap = n;
    return mem_resize(array, n * size);
}
