/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small files that a member keeps beside its log and store (identity, met, voters): read whole, and replaced whole, so that the old
 * content is there or the new one, durably. Errors name the file as member/NAME. Blocking; any thread.
 */
#ifndef RAFTD_SMALL_FILE_H
#define RAFTD_SMALL_FILE_H

#include <stddef.h>

#include "common/error.h"

/* At most size bytes of it. ST_NOT_FOUND, without words, if it is not there; ST_IO. */
enum status small_file_read(int dir_fd, const char *name, void *ret_data, size_t size, size_t *ret_len, struct error *ret_error)
    MUST_CHECK;
/* By NAME.new, a sync, a rename and a sync of the directory. ST_NO_SPACE: what is there stays; ST_IO. */
enum status small_file_replace(int dir_fd, const char *name, const void *data, size_t len, struct error *ret_error) MUST_CHECK;

#endif
