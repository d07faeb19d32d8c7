/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without a fuzzer: over every file of its corpus, and over changes of each (flipped bits, other
 * bytes, cuts, repeats, two halves) drawn from a seed that never changes. Given file names, just over these.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/rng.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_BYTES_MAX 65536
#define CHANGES_OF_EACH 400

struct input {
    uint8_t *data;
    size_t len;
};

static struct input *inputs;
static size_t input_count, input_cap;

static void load(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct input in = {.data = mem_alloc(INPUT_BYTES_MAX)};

    if (!f) {
        perror(path);
        exit(1);
    }
    in.len = fread(in.data, 1, INPUT_BYTES_MAX, f);
    fclose(f);
    inputs = mem_grow(inputs, &input_cap, input_count + 1, sizeof in);
    inputs[input_count++] = in;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void load_corpus(const char *program)
{
    const char *srcdir = getenv("srcdir"), *name = strrchr(program, '/');
    char dir[1000], path[2000], **names = NULL;
    size_t count = 0, cap = 0;
    struct dirent *e;
    DIR *d;

    name = name ? name + 1 : program;
    snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
    d = opendir(dir);
    if (!d) {
        perror(dir);
        exit(1);
    }
    while ((e = readdir(d)))
        if (e->d_name[0] != '.') {
            names = mem_grow(names, &cap, count + 1, sizeof *names);
            names[count++] = mem_text(e->d_name);
        }
    closedir(d);
    if (count)
        qsort(names, count, sizeof *names, compare_names); /* the order of a directory is nobody's */
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        load(path);
        free(names[i]);
    }
    free(names);
}

static size_t change(struct rng *rng, uint8_t *data, size_t len)
{
    const struct input *other = &inputs[rng_below(rng, input_count)];
    size_t at = len ? rng_below(rng, len) : 0, n;

    switch (rng_below(rng, 6)) {
    case 0:
        if (len)
            data[at] ^= (uint8_t)(1u << rng_below(rng, 8));
        return len;
    case 1:
        if (len)
            data[at] = (uint8_t)rng_next(rng);
        return len;
    case 2:
        return at;
    case 3: /* a part comes again */
        n = len - at < INPUT_BYTES_MAX - len ? len - at : INPUT_BYTES_MAX - len;
        memcpy(data + len, data + at, n);
        return len + n;
    case 4: /* another's end */
        n = other->len > at ? other->len - at : 0;
        memcpy(data + at, other->data + (other->len - n), n);
        return at + n;
    default:
        if (len < INPUT_BYTES_MAX)
            data[len++] = (uint8_t)rng_next(rng);
        return len;
    }
}

int main(int argc, char **argv)
{
    struct rng rng = {.state = 20260101};
    size_t runs = 0;

    for (int i = 1; i < argc; i++)
        load(argv[i]);
    if (argc == 1)
        load_corpus(argv[0]);
    for (size_t i = 0; i < input_count; i++) {
        LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].len);
        runs++;
        for (unsigned k = 0; argc == 1 && k < CHANGES_OF_EACH; k++) {
            uint8_t *data = mem_alloc(INPUT_BYTES_MAX), *exact;
            size_t len = inputs[i].len;
            memcpy(data, inputs[i].data, len);
            for (unsigned n = 1 + (unsigned)rng_below(&rng, 6); n; n--)
                len = change(&rng, data, len);
            exact = mem_copy(data, len + !len); /* so that a byte too far is noticed */
            LLVMFuzzerTestOneInput(exact, len);
            free(exact);
            free(data);
            runs++;
        }
    }
    printf("%zu inputs\n", runs);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    free(inputs);
    return input_count ? 0 : 1;
}
