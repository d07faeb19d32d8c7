/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing scenario scripts. */
#include "tests/scenarios/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define SCRIPT_BYTES_MAX (16u * 1024u * 1024u)

/* ---- a command line ---- */

static bool parse_values(struct arg *arg, char *text)
{
    for (char *value = strtok(text, ", "); value; value = strtok(NULL, ", ")) {
        if (arg->value_count == VALUES_MAX)
            return false;
        arg->values[arg->value_count++] = value;
    }
    return true;
}

/* One word, in which ( ) may hold blanks; *at moves behind it. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " ");
    size_t len = strcspn(word, " (");

    if (!*word)
        return NULL;
    if (word[len] == '(') {
        len += strcspn(word + len, ")");
        len += word[len] == ')';
    }
    *at = word + len + (word[len] == ' ');
    word[len] = 0;
    return word;
}

bool command_parse(const char *line, struct command *ret_command)
{
    char *at, *word;

    *ret_command = (struct command){.text = mem_text(line)};
    at = ret_command->text;
    ret_command->name = next_word(&at);
    if (!ret_command->name)
        return false;
    while ((word = next_word(&at))) {
        struct arg *arg = &ret_command->args[ret_command->arg_count++];
        char *value = strchr(word, '=');
        if (ret_command->arg_count == ARGS_MAX)
            return false;
        arg->key = word;
        if (!value)
            continue;
        *value++ = 0;
        if (*value == '(') {
            value++;
            value[strcspn(value, ")")] = 0;
        }
        if (!parse_values(arg, value))
            return false;
    }
    return true;
}

void command_fini(struct command *c)
{
    free(c->text);
}

const struct arg *command_arg(const struct command *c, const char *key)
{
    for (unsigned i = 0; i < c->arg_count; i++)
        if (!strcmp(c->args[i].key, key))
            return &c->args[i];
    return NULL;
}

/* ---- a file ---- */

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = mem_alloc(SCRIPT_BYTES_MAX + 1);
    size_t len;

    if (!f) {
        perror(path);
        free(text);
        return NULL;
    }
    len = fread(text, 1, SCRIPT_BYTES_MAX, f);
    fclose(f);
    text[len] = 0;
    return mem_resize(text, len + 1);
}

static const char *line_end(const char *p)
{
    const char *end = strchr(p, '\n');

    return end ? end : p + strlen(p);
}

static const char *next_line(const char *p)
{
    const char *end = line_end(p);

    return *end ? end + 1 : end;
}

static bool line_is(const char *p, const char *text)
{
    size_t len = strlen(text);

    return !strncmp(p, text, len) && p + len == line_end(p);
}

static char *copy_range(const char *from, const char *to)
{
    char *text = mem_alloc((size_t)(to - from) + 1);

    memcpy(text, from, (size_t)(to - from));
    text[to - from] = 0;
    return text;
}

static const char *read_expected(const char *p, char **ret_expected)
{
    const char *from = p;
    bool twice = line_is(p, "----");

    if (twice)
        from = p = next_line(p);
    while (*p && !(twice ? line_is(p, "----") && line_is(next_line(p), "----") : line_is(p, "")))
        p = next_line(p);
    *ret_expected = copy_range(from, p);
    return twice ? next_line(next_line(p)) : p;
}

static const char *read_block(struct block *b, const char *comment, const char *p)
{
    const char *input;

    b->comment = comment;
    b->comment_len = (size_t)(p - comment);
    b->line = copy_range(p, line_end(p));
    input = p = next_line(p);
    while (*p && !line_is(p, "----"))
        p = next_line(p);
    if (!*p)
        return NULL;
    b->input = copy_range(input, p);
    return read_expected(next_line(p), &b->expected);
}

bool script_read(struct script *s, const char *path)
{
    const char *p, *comment;

    *s = (struct script){.text = read_file(path)};
    if (!s->text)
        return false;
    p = comment = s->text;
    while (*p) {
        struct block *b;
        if (*p == '#' || *p == '\n') {
            p = next_line(p);
            continue;
        }
        s->blocks = mem_grow(s->blocks, &s->cap, s->count + 1, sizeof *s->blocks);
        b = &s->blocks[s->count++];
        *b = (struct block){.number = 1};
        for (const char *q = s->text; q < p; q++)
            b->number += *q == '\n';
        p = comment = read_block(b, comment, p);
        if (!p) {
            fprintf(stderr, "%s:%u: no ---- below this command\n", path, b->number);
            return false;
        }
    }
    s->rest = comment;
    return true;
}

void script_fini(struct script *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->blocks[i].line);
        free(s->blocks[i].input);
        free(s->blocks[i].expected);
    }
    free(s->blocks);
    free(s->text);
}

void script_append_block(struct buf *file, const struct block *b, struct slice output)
{
    bool twice = output.len && (output.data[0] == '\n' || memmem(output.data, output.len, "\n\n", 2));

    buf_append(file, b->comment, b->comment_len);
    buf_printf(file, "%s\n%s----\n%s", b->line, b->input, twice ? "----\n" : "");
    buf_append_slice(file, output);
    if (twice)
        buf_append_text(file, "----\n----\n");
}
