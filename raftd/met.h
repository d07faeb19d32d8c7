/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which data directories were met under which member ids: what this member was told in greetings, kept on disk, so that whoever comes
 * back with an empty directory under an id of old is known for it. Until the member has published itself: from then on the table of
 * members says it, on every replica.
 *
 *     DIR/member/met    8 magic "RFTMET\0\0", 4 format, 4 CRC-32C of what follows, then 8 member id, 8 incarnation each; little-endian
 */
#ifndef RAFTD_MET_H
#define RAFTD_MET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/limits.h"

struct met {
    struct {
        uint64_t id, incarnation;
    } rows[PEER_MET_MAX]; /* oldest first */
    unsigned count;
};

/* 0: never met. */
uint64_t met_find(const struct met *m, uint64_t id);
/* It was not met before. If there is no room, the oldest that is_dear_fn does not hold dear goes. */
void met_add(struct met *m, uint64_t id, uint64_t incarnation, bool (*is_dear_fn)(void *arg, uint64_t id), void *arg);

/* From and into the directory of that descriptor. A file that is not there is empty. */
enum status met_load(struct met *m, int dir_fd, struct error *ret_error) MUST_CHECK;
/* ST_NO_SPACE: what is there stays. */
enum status met_save(const struct met *m, int dir_fd, struct error *ret_error) MUST_CHECK;

#endif
