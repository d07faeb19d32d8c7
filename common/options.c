/* SPDX-License-Identifier: Apache-2.0 */
/* Options from a table: defaults, environment, arguments. */
#include "common/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool options_parse_bool(struct slice text, bool *ret_value)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"1", true}, {"t", true}, {"T", true}, {"true", true}, {"True", true}, {"TRUE", true},
                 {"0", false}, {"f", false}, {"F", false}, {"false", false}, {"False", false}, {"FALSE", false}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_equal(text, slice_of_text(words[i].text))) {
            *ret_value = words[i].value;
            return true;
        }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, perhaps a fraction: whole + part / scale. *text moves behind it. */
static bool parse_decimal(const char **text, int64_t *ret_whole, double *ret_part, double *ret_scale)
{
    unsigned digits = 0;
    const char *p = *text;

    *ret_whole = 0;
    *ret_part = 0;
    *ret_scale = 1;
    for (; is_digit(*p); p++, digits++)
        if (__builtin_mul_overflow(*ret_whole, 10, ret_whole) || __builtin_add_overflow(*ret_whole, *p - '0', ret_whole))
            return false;
    if (*p == '.')
        for (p++; is_digit(*p); p++, digits++)
            if (*ret_scale < 1e15) { /* what follows is less than a nanosecond of anything */
                *ret_part = *ret_part * 10 + (*p - '0');
                *ret_scale *= 10;
            }
    *text = p;
    return digits > 0;
}

/* As Go's: a sign, and then a number and a unit, again and again. 0 needs no unit. */
static bool parse_duration(const char *text, int64_t *ret_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1}, {"us", 1000}, {"\u00b5s", 1000}, {"\u03bcs", 1000}, {"ms", 1000000},
                 {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}};
    const unsigned count = sizeof units / sizeof *units;
    bool is_negative = *text == '-';
    int64_t sum = 0, whole;
    double part, scale;

    text += *text == '-' || *text == '+';
    if (!strcmp(text, "0")) {
        *ret_ns = 0;
        return true;
    }
    do {
        unsigned i = 0;
        size_t len;
        if (!parse_decimal(&text, &whole, &part, &scale))
            return false;
        len = strcspn(text, ".0123456789");
        while (i < count && (strlen(units[i].name) != len || memcmp(units[i].name, text, len)))
            i++;
        if (i == count || __builtin_mul_overflow(whole, units[i].ns, &whole) || __builtin_add_overflow(sum, whole, &sum) ||
            __builtin_add_overflow(sum, (int64_t)(part * ((double)units[i].ns / scale)), &sum))
            return false;
        text += len;
    } while (*text);
    *ret_ns = is_negative ? -sum : sum;
    return true;
}

static enum status option_set(const struct option_row *row, void *conf, const char *value,
                              const char *where, struct error *ret_error)
{
    char *field = (char *)conf + row->offset;
    char *end;
    long long number;

    switch (row->kind) {
    case OPTION_TEXT:
        memcpy(field, &value, sizeof value);
        return ST_OK;
    case OPTION_BOOL:
        if (!options_parse_bool(slice_of_text(value), (bool *)(void *)field))
            return error_set(ret_error, ST_BAD_ARGUMENT, "%s --%s: \"%s\" is neither true nor false",
                             where, row->name, value);
        return ST_OK;
    case OPTION_NUMBER:
        errno = 0;
        number = strtoll(value, &end, 10);
        if (errno || end == value || *end)
            return error_set(ret_error, ST_BAD_ARGUMENT, "%s --%s: \"%s\" is no number", where,
                             row->name, value);
        if (number < row->min || number > row->max)
            return error_set(ret_error, ST_BAD_ARGUMENT, "%s --%s: %lld is not in %lld..%lld", where,
                             row->name, number, (long long)row->min, (long long)row->max);
        *(int64_t *)(void *)field = number;
        return ST_OK;
    case OPTION_DURATION:
        if (!parse_duration(value, (int64_t *)(void *)field))
            return error_set(ret_error, ST_BAD_ARGUMENT, "%s --%s: \"%s\" is no duration such as 90s or 1h30m", where, row->name, value);
        if (*(int64_t *)(void *)field < row->min || *(int64_t *)(void *)field > row->max)
            return error_set(ret_error, ST_BAD_ARGUMENT, "%s --%s: %s is too short or too long", where, row->name, value);
        return ST_OK;
    }
    return ST_BAD_ARGUMENT;
}

static const struct option_row *option_find(const struct option_table *table, const char *name,
                                            size_t len)
{
    for (size_t i = 0; i < table->row_count; i++)
        if (strlen(table->rows[i].name) == len && memcmp(table->rows[i].name, name, len) == 0)
            return &table->rows[i];
    return NULL;
}

/* The name behind the dashes of an argument, its length, and the value after '='; NULL if it is no option. */
static const char *option_word(const char *word, size_t *ret_len, const char **ret_value)
{
    const char *name = word, *equals;

    if (*name != '-')
        return NULL;
    name += name[1] == '-' ? 2 : 1;
    if (!*name)
        return NULL;
    equals = strchr(name, '=');
    *ret_len = equals ? (size_t)(equals - name) : strlen(name);
    *ret_value = equals ? equals + 1 : NULL;
    return name;
}

bool options_given(const struct option_table *table, int argc, char **argv, const char *name)
{
    char variable[128];
    size_t len;
    const char *value;

    for (int i = 1; i < argc; i++) {
        const char *word = option_word(argv[i], &len, &value);
        if (word && strlen(name) == len && memcmp(word, name, len) == 0)
            return true;
    }
    if (!table->env_prefix)
        return false;
    snprintf(variable, sizeof variable, "%s_%s", table->env_prefix, name);
    for (char *p = variable; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return getenv(variable) != NULL;
}

/* --data-dir is PREFIX_DATA_DIR. */
static const struct option_row *option_of_variable(const struct option_table *table,
                                                   const char *variable, const char **ret_value)
{
    size_t prefix = strlen(table->env_prefix);
    const char *equals = strchr(variable, '=');
    char name[96];
    size_t len;

    if (!equals || strncmp(variable, table->env_prefix, prefix) || variable[prefix] != '_')
        return NULL;
    variable += prefix + 1;
    len = (size_t)(equals - variable);
    if (len >= sizeof name)
        return NULL;
    for (size_t i = 0; i < len; i++)
        name[i] = variable[i] == '_' ? '-' : (char)tolower((unsigned char)variable[i]);
    *ret_value = equals + 1;
    return option_find(table, name, len);
}

static enum status options_from_environment(const struct option_table *table, void *conf, int argc,
                                            char **argv, char **envp, struct error *ret_error)
{
    struct option_table flags_only = *table;
    enum status st = ST_OK;

    flags_only.env_prefix = NULL;
    for (; st == ST_OK && *envp; envp++) {
        const char *value;
        const struct option_row *row = option_of_variable(table, *envp, &value);
        if (!row)
            continue;
        if (options_given(&flags_only, argc, argv, row->name))
            return error_set(ret_error, ST_BAD_ARGUMENT,
                             "--%s is set by flag and by environment; unset one of them", row->name);
        st = option_set(row, conf, value, "environment", ret_error);
    }
    return st;
}

enum status options_parse(const struct option_table *table, void *conf, int argc, char **argv,
                          char **envp, const char **ret_rest, int *ret_rest_count,
                          struct error *ret_error)
{
    enum status st = ST_OK;
    int rest = 0;

    for (size_t i = 0; st == ST_OK && i < table->row_count; i++)
        if (table->rows[i].default_text)
            st = option_set(&table->rows[i], conf, table->rows[i].default_text, "default", ret_error);
    if (st == ST_OK && table->env_prefix && envp)
        st = options_from_environment(table, conf, argc, argv, envp, ret_error);
    for (int i = 1; st == ST_OK && i < argc; i++) {
        size_t len = 0;
        const char *value = NULL;
        const char *name = option_word(argv[i], &len, &value);
        const struct option_row *row = name ? option_find(table, name, len) : NULL;
        if (!name && ret_rest) {
            ret_rest[rest++] = argv[i];
            continue;
        }
        if (!row)
            return error_set(ret_error, ST_BAD_ARGUMENT, "%s \"%s\"", name ? "unknown option" : "unexpected word",
                             argv[i]);
        if (!value && row->kind == OPTION_BOOL)
            value = "true";
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--%s needs a value", row->name);
        st = option_set(row, conf, value, "flag", ret_error);
    }
    if (ret_rest_count)
        *ret_rest_count = rest;
    return st;
}

void options_print_help(const struct option_table *table)
{
    for (size_t i = 0; i < table->row_count; i++) {
        const struct option_row *row = &table->rows[i];
        char left[80];
        snprintf(left, sizeof left, "--%s '%s'", row->name, row->default_text ? row->default_text : "");
        printf("  %-56s %s\n", left, row->help);
    }
}
