/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small texts of gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): timeouts, status
 * messages, message frames. Pure.
 */
#ifndef NET_GRPC_TEXT_H
#define NET_GRPC_TEXT_H

#include "common/buf.h"
#include "common/status.h"

#define GRPC_FRAME_BYTES 5 /* 1 compressed, 4 length big-endian */

/* "100m" -> nanoseconds; -1 if it is no timeout. */
int64_t grpc_timeout_parse(struct slice text);
/* For an interval > 0; at most 8 digits and a unit. */
void grpc_timeout_format(int64_t ns, char ret_text[16]);

/* Percent-encoding of grpc-message: everything but printable ASCII, and '%'. */
void grpc_message_encode(struct buf *out, const char *text);
void grpc_message_decode(struct buf *out, struct slice text);

/*
 * The first message frame in the bytes. ST_OK: *ret_message (inside bytes), the frame's length is GRPC_FRAME_BYTES more. ST_NOT_FOUND:
 * more bytes are needed. ST_MESSAGE_TOO_LARGE, *ret_len tells how large; ST_UNKNOWN_METHOD: compressed, which nobody offered.
 */
enum status grpc_frame_next(struct slice bytes, size_t max, struct slice *ret_message, uint32_t *ret_len) MUST_CHECK;

#endif
