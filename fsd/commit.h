/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When what was written becomes a transaction, and what value it makes. Pure. Shells decide the rules: they ignore what
 * close(2) returns, and their first close comes before the data (`echo v > f` is open, dup2, close, write, dup2).
 */
#ifndef FSD_COMMIT_H
#define FSD_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "fsd/fh.h"

#define HOLD_MULTIPLE 4096u /* a write that ends at a multiple may be the middle of a stream: the buffer of stdio, cp, dd */

enum commit_mode { COMMIT_AUTO, COMMIT_WRITE, COMMIT_CLOSE };
enum commit_moment { AT_WRITE, AT_FLUSH, AT_FSYNC, AT_RELEASE };

/* fh writes. The write is held already, when at is AT_WRITE; write_end: where it ended. */
bool commit_is_due(enum commit_mode mode, enum commit_moment at, const struct fh *fh, uint64_t write_end);

struct commit_change {
    bool replace; /* the old value does not matter: a truncation came before */
    bool resize;  /* after the writes: cut or filled with zeros to size */
    uint64_t size;
};

/* What the value becomes. writes: as file_hold keeps them. False: longer than VALUE_BYTES_MAX; *ret_value is then undefined. */
bool commit_new_value(const struct commit_change *change, struct slice base, struct slice writes, struct buf *ret_value);

#endif
