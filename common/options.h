/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's options as one table: parsing, environment, help and the check against the manual follow from the row.
 * Spelled as etcd's: --name value, --name=value, -name too; a bool may stand alone. The environment variable of
 * --data-dir is PREFIX_DATA_DIR; the same option by flag and by environment is refused, as etcd does; variables with
 * the prefix that no row has are somebody else's.
 */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/slice.h"

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_BOOL, OPTION_DURATION };

struct option_row {
    const char *name;          /* without dashes */
    enum option_kind kind;
    size_t offset;             /* in the caller's struct: const char *, int64_t, bool, or int64_t of nanoseconds (Go's 1h2m3.5s) */
    const char *default_text;  /* parsed like a value; NULL: leave what is there */
    int64_t min, max;          /* OPTION_NUMBER, OPTION_DURATION */
    const char *help;          /* one line */
};

struct option_table {
    const struct option_row *rows;
    size_t row_count;
    const char *env_prefix; /* "ETCD"; NULL: no environment */
};

/*
 * Fill `conf` with defaults, then the environment, then the arguments. Texts point into argv, the environment or the
 * table. Words that are no options end up in ret_rest (argc of them at most), in order; NULL refuses them.
 * ST_BAD_ARGUMENT says which option and why.
 */
enum status options_parse(const struct option_table *table, void *conf, int argc, char **argv, char **envp,
                          const char **ret_rest, int *ret_rest_count, struct error *ret_error) MUST_CHECK;

/* "  --name (default)   help" for every row, on standard output. */
void options_print_help(const struct option_table *table);

/* What Go takes for a bool: true, True, TRUE, t, T, 1, and false the same way. */
bool options_parse_bool(struct slice text, bool *ret_value);

/* Was the option of this name given, by flag or environment? For rules such as "A needs B". */
bool options_given(const struct option_table *table, int argc, char **argv, const char *name);

#endif
