/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts, messages and frames of gRPC. */
#include "net/grpc_text.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/codec.h"

int64_t grpc_timeout_parse(struct slice text)
{
    int64_t value = 0, unit;

    if (text.len < 2 || text.len > 9)
        return -1;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        value = value * 10 + (text.data[i] - '0');
    }
    switch (text.data[text.len - 1]) {
    case 'H':
        unit = 3600 * NS_PER_S;
        break;
    case 'M':
        unit = 60 * NS_PER_S;
        break;
    case 'S':
        unit = NS_PER_S;
        break;
    case 'm':
        unit = NS_PER_MS;
        break;
    case 'u':
        unit = 1000;
        break;
    case 'n':
        unit = 1;
        break;
    default:
        return -1;
    }
    return value > INT64_MAX / 4 / unit ? INT64_MAX / 4 : value * unit;
}

void grpc_timeout_format(int64_t ns, char ret_text[16])
{
    if (ns < 1)
        ns = 1;
    if (ns <= 99999999)
        snprintf(ret_text, 16, "%dn", (int)ns);
    else if (ns / 1000 <= 99999999)
        snprintf(ret_text, 16, "%du", (int)(ns / 1000));
    else if (ns / NS_PER_MS <= 99999999)
        snprintf(ret_text, 16, "%dm", (int)(ns / NS_PER_MS));
    else
        snprintf(ret_text, 16, "%dS", (int)(ns / NS_PER_S > 99999999 ? 99999999 : ns / NS_PER_S));
}

void grpc_message_encode(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c > 0x7e || c == '%')
            buf_printf(out, "%%%02X", c);
        else
            buf_append_byte(out, c);
    }
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void grpc_message_decode(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        int high = i + 2 < text.len && text.data[i] == '%' ? hex_value(text.data[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text.data[i + 2]) : -1;
        if (low >= 0) {
            buf_append_byte(out, (uint8_t)(high << 4 | low));
            i += 2;
        } else {
            buf_append_byte(out, text.data[i]); /* a server's mistake is shown as it is */
        }
    }
}

enum status grpc_frame_next(struct slice bytes, size_t max, struct slice *ret_message, uint32_t *ret_len)
{
    if (bytes.len < GRPC_FRAME_BYTES)
        return ST_NOT_FOUND;
    *ret_len = get_be32(bytes.data + 1);
    if (bytes.data[0])
        return ST_UNKNOWN_METHOD;
    if (*ret_len > max)
        return ST_MESSAGE_TOO_LARGE;
    if (bytes.len - GRPC_FRAME_BYTES < *ret_len)
        return ST_NOT_FOUND;
    *ret_message = slice_of(bytes.data + GRPC_FRAME_BYTES, *ret_len);
    return ST_OK;
}
