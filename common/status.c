/* SPDX-License-Identifier: Apache-2.0 */
/* The table of results, read in both directions. */
#include "common/status.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    enum grpc_code code;
    int number;
    const char *text;
} rows[ST_COUNT] = {
#define STATUS_ROW(name, code, number, text) {#name, code, number, text},
    STATUS_MAP(STATUS_ROW)
#undef STATUS_ROW
};

const char *status_text(enum status st)
{
    return rows[st].text;
}

enum grpc_code status_grpc_code(enum status st)
{
    return rows[st].code;
}

int status_errno(enum status st)
{
    return rows[st].number;
}

const char *status_name(enum status st)
{
    return rows[st].name;
}

/* What a bare code stands for when its text is nobody's we know. */
static enum status status_of_code(int code)
{
    switch (code) {
    case GRPC_OK:
        return ST_OK;
    case GRPC_CANCELED:
        return ST_CANCELED;
    case GRPC_INVALID_ARGUMENT:
        return ST_BAD_ARGUMENT;
    case GRPC_DEADLINE_EXCEEDED:
        return ST_DEADLINE;
    case GRPC_NOT_FOUND:
        return ST_NOT_FOUND;
    case GRPC_PERMISSION_DENIED:
        return ST_PERMISSION_DENIED;
    case GRPC_RESOURCE_EXHAUSTED:
        return ST_LIMIT;
    case GRPC_UNIMPLEMENTED:
        return ST_UNKNOWN_METHOD;
    case GRPC_UNAVAILABLE:
        return ST_UNREACHABLE;
    case GRPC_DATA_LOSS:
        return ST_CORRUPT;
    case GRPC_UNAUTHENTICATED:
        return ST_BAD_AUTH_TOKEN;
    default:
        return ST_UNKNOWN_ERROR;
    }
}

enum status status_of_grpc(int code, const char *text, size_t text_len)
{
    if (code == GRPC_OK)
        return ST_OK;
    for (int i = ST_OK + 1; i < ST_COUNT; i++)
        if (strlen(rows[i].text) == text_len && memcmp(rows[i].text, text, text_len) == 0)
            return (enum status)i;
    /* "grpc: received message larger than max (N vs. M)" */
    if (code == GRPC_RESOURCE_EXHAUSTED && text_len > 38 &&
        memcmp(text, rows[ST_MESSAGE_TOO_LARGE].text, 38) == 0)
        return ST_MESSAGE_TOO_LARGE;
    return status_of_code(code);
}
