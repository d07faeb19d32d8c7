/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many voters the cluster had when this member last applied a change of it. Damage heals where others can give back what was lost, and
 * this must be known when neither store nor log can be read: so it is kept beside them. Of a joint configuration the smaller half counts.
 *
 * The number in memory is right, and is written beside everything else (voters_keeper.h); a full disk ends nobody. If the process ends
 * before it is written, and the next start finds damage, that start counts the voters of before: one of three that is alone now sets the
 * damaged files aside (they are kept), waits for others and leads nobody; one of two that are three now refuses.
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
};

/* From the directory of that descriptor; without a file, what is there stays. ST_CORRUPT: it is damaged. */
enum status voters_load(struct voters *v, int dir_fd, struct error *ret_error) MUST_CHECK;
/* What is older than what is known (the log is applied once more after a start) changes nothing. */
void voters_note(struct voters *v, uint64_t index, unsigned count);
/* If it is unsaved. ST_NO_SPACE: it stays so, and may be tried again. */
enum status voters_save(struct voters *v, int dir_fd, struct error *ret_error) MUST_CHECK;

#endif
