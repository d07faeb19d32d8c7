/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the store share: a directory for a store and one for a copy of it, its files, and stores that seal soon. */
#ifndef TESTS_UNIT_MVCC_FIXTURE_H
#define TESTS_UNIT_MVCC_FIXTURE_H

#include "mvcc/mvcc.h"
#include "tests/unit/check.h"

extern char dir[160], copy[160];

int set_up(void **state); /* of a group */
int tear_down(void **state);

/* Its files. */
void empty_dir(const char *path);
/* The caller frees it. */
uint8_t *file_read(const char *path, size_t *ret_len);
void file_write(const char *path, const uint8_t *data, size_t len);
void copy_file(const char *from, const char *to, size_t len_max);
/* Of a segment; good for the next three calls. */
const char *name_of(const char *in, unsigned sequence, const char *suffix);

enum status try_open(const char *path, struct mvcc **ret_store, struct error *ret_error);
struct mvcc *open_store(const char *path);
/* All that is in memory becomes a segment. */
void seal_all(struct mvcc *s, const char *state);

#endif
