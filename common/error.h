/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A status with words, for edges where a person reads them: flags, data directories, mounts. Rooms that
 * decide (raft, mvcc) return the bare status. error_set always returns its status, so that a failing
 * function can end with `return error_set(...)`.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include "common/invariant.h"
#include "common/status.h"

struct error {
    enum status status;
    char text[300]; /* what, where, and why; no newline */
};

enum status error_set(struct error *ret_error, enum status st, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
