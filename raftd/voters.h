/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many voters the cluster had when this member last applied a change of it. Damage heals where others can give back what was lost, and
 * this must be known when neither store nor log can be read: so it is kept beside them. Of a joint configuration the smaller half counts.
 *
 * A start with damage counts by the file. A number that is too high is fatal then: a member that is alone sets aside the only log there is,
 * and waits for others that are none. One that is too low is not: it refuses, and the operator has the files. So a lower number is durable before
 * the change that makes it is in force here, with the index of that entry, so that no replay of older entries raises it again; a higher one is
 * written after, beside everything else. Applying stands still for the first (node.h, voters_fn); a full disk ends nobody.
 *
 *     DIR/member/voters    8 magic "RFTVOTRS", 4 format, 4 CRC-32C of what follows, 8 applied index, 8 count; little-endian
 */
#ifndef RAFTD_VOTERS_H
#define RAFTD_VOTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct voters {
    uint64_t index; /* as of this entry; 0: as in the beginning */
    unsigned count;
    bool is_unsaved; /* the file says something older */
    bool has_fallen; /* the number became lower since: what made it so must not be in force before it is saved */
};

/* From the directory of that descriptor; without a file, what is there stays. ST_CORRUPT: it is damaged. */
enum status voters_load(struct voters *v, int dir_fd, struct error *ret_error) MUST_CHECK;
/* What is older than what is known (the log is applied once more after a start) changes nothing. */
void voters_note(struct voters *v, uint64_t index, unsigned count);
/* If it is unsaved. ST_NO_SPACE: it stays so, and may be tried again. */
enum status voters_save(struct voters *v, int dir_fd, struct error *ret_error) MUST_CHECK;

#endif
