/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scenario script: blocks of command lines, "----", the exact output, an empty line. Output that holds an empty line stands
 * between two pairs of such lines. Lines that begin with # and empty lines between the blocks are comments.
 */
#ifndef TESTS_SCENARIOS_SCRIPT_H
#define TESTS_SCENARIOS_SCRIPT_H

#include <stdbool.h>

#include "common/buf.h"

/* key, or key=value, or key=(value, value ...) */
#define ARGS_MAX 24u
#define VALUES_MAX 16u
struct arg {
    char *key;
    char *values[VALUES_MAX];
    unsigned value_count;
};

struct command {
    char *text; /* owns what the rest points into */
    char *name;
    struct arg args[ARGS_MAX];
    unsigned arg_count;
};

/* False: no such syntax, or too much of it. The caller frees text either way. */
bool command_parse(const char *line, struct command *ret_command);
void command_fini(struct command *c);
/* NULL: it has none of that name. */
const struct arg *command_arg(const struct command *c, const char *key);

struct block {
    const char *comment; /* what stands before, to be written again */
    size_t comment_len;
    char *line;     /* the command line */
    char *input;    /* the lines below it, each with its newline */
    char *expected; /* with its newlines */
    unsigned number; /* of the command line in the file, from 1 */
};

struct script {
    char *text; /* the whole file */
    struct block *blocks;
    size_t count, cap;
    const char *rest; /* comments behind the last block */
};

/* False, with a message on stderr: it cannot be read, or a block has no "----". */
bool script_read(struct script *s, const char *path);
void script_fini(struct script *s);
/* The file again, with this block's output. */
void script_append_block(struct buf *file, const struct block *b, struct slice output);

#endif
