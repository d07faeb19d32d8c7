/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run [-rewrite] [FILE...]: executes scenario scripts on the core and compares its traces with those in the files; -rewrite
 * writes them there. Without a FILE, all of tests/scenarios in the source tree.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/scenarios/env.h"

static void complain(const char *path, const struct block *b, const char *got)
{
    fprintf(stderr, "%s:%u: %s\n--- expected\n%s--- got\n%s---\n", path, b->number, b->line, b->expected, got);
}

static bool write_file(const char *path, struct slice text)
{
    FILE *f = fopen(path, "w");
    bool ok = f && fwrite(text.data, 1, text.len, f) == text.len;

    if (!f || fclose(f) || !ok) {
        perror(path);
        return false;
    }
    return true;
}

/* The first difference ends a script: what follows would differ too. */
static bool run_script(const char *path, bool rewrite)
{
    struct script s;
    struct buf file;
    struct env e;
    bool ok = script_read(&s, path);

    env_init(&e);
    buf_init(&file);
    for (size_t i = 0; ok && i < s.count; i++) {
        env_command(&e, s.blocks[i].line, s.blocks[i].input);
        script_append_block(&file, &s.blocks[i], buf_slice(&e.out));
        if (!rewrite && !slice_equal(buf_slice(&e.out), slice_of_text(s.blocks[i].expected))) {
            complain(path, &s.blocks[i], buf_text(&e.out));
            ok = false;
        }
    }
    if (ok && rewrite) {
        buf_append_text(&file, s.rest);
        ok = write_file(path, buf_slice(&file));
    }
    env_fini(&e);
    buf_fini(&file);
    script_fini(&s);
    return ok;
}

static int is_script(const struct dirent *d)
{
    size_t len = strlen(d->d_name);

    return len > 4 && !strcmp(d->d_name + len - 4, ".txt");
}

/* What did not go as it is written; -1: there is nothing. */
static int run_all(bool rewrite)
{
    const char *top = getenv("srcdir");
    struct dirent **list;
    char path[4096];
    int failed = 0, count;

    snprintf(path, sizeof path, "%s/tests/scenarios", top ? top : ".");
    count = scandir(path, &list, is_script, alphasort);
    if (count <= 0) {
        fprintf(stderr, "no scenarios in %s\n", path);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/tests/scenarios/%s", top ? top : ".", list[i]->d_name);
        failed += !run_script(path, rewrite);
        free(list[i]);
    }
    free(list);
    printf("%d scenarios, %d differ\n", count, failed);
    return failed;
}

int main(int argc, char **argv)
{
    int at = 1, failed = 0;
    bool rewrite = argc > 1 && (!strcmp(argv[1], "-rewrite") || !strcmp(argv[1], "--rewrite"));

    at += rewrite;
    if (at < argc && argv[at][0] == '-') {
        fprintf(stderr, "usage: run [-rewrite] [FILE...]\n");
        return 2;
    }
    if (at == argc)
        return run_all(rewrite) != 0;
    for (; at < argc; at++)
        failed += !run_script(argv[at], rewrite);
    return failed != 0;
}
