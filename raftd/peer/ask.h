/* SPDX-License-Identifier: Apache-2.0 */
/* One question to one member, by a process that is none yet and has no loop: it waits. */
#ifndef RAFTD_PEER_ASK_H
#define RAFTD_PEER_ASK_H

#include "common/buf.h"
#include "common/error.h"
#include "net/url.h"

/* The payload of the frame that answers is in *in, the caller's to free. ST_UNREACHABLE: there was none within wait_ns. */
enum status peer_ask(const struct url *url, int64_t wait_ns, struct buf *in, struct slice *ret_payload,
                     struct error *ret_error) MUST_CHECK;

#endif
