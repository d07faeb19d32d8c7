/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private store of a user: one raftd with its data under $XDG_DATA_HOME/raftfs (~/.local/share/raftfs; /var/lib/raftfs for root),
 * listening on a Unix socket there. Started if nobody answers, found again if somebody does; it outlives the mount.
 */
#ifndef FSD_EMBEDDED_H
#define FSD_EMBEDDED_H

#include "common/error.h"
#include "net/url.h"

/* The URL of the store, which answers when this returns. ret_pid: of the process that was started, 0 if it was there. */
enum status embedded_start(struct url *ret_url, long *ret_pid, struct error *ret_error) MUST_CHECK;

#endif
