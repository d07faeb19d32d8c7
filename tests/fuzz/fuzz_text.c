/* SPDX-License-Identifier: Apache-2.0 */
/* Texts from outside: URLs, gRPC frames, timeouts and messages, names of files. */
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "fsd/ns.h"
#include "net/grpc_text.h"
#include "net/url.h"
#include "tests/fuzz/fuzz.h"

/* What was understood is spelled in one way, and that spelling means the same. */
static void try_url(const char *text)
{
    struct url list[4], u, again;
    struct error error = {0};
    char canonical[512], second[512];
    unsigned count;

    if (url_parse(text, &u, &error) == ST_OK) {
        url_format(&u, canonical, sizeof canonical);
        INVARIANT(url_parse(canonical, &again, &error) == ST_OK);
        url_format(&again, second, sizeof second);
        INVARIANT(strcmp(canonical, second) == 0);
    }
    if (url_parse_list(text, list, 4, &count, &error) == ST_OK)
        INVARIANT(count <= 4);
}

static void try_grpc(struct slice in)
{
    struct slice message;
    struct buf b = {0};
    uint32_t len;
    char text[16];

    if (grpc_frame_next(in, 1000, &message, &len) == ST_OK)
        INVARIANT(message.len == len && len <= 1000 && message.data + len <= in.data + in.len);
    if (grpc_timeout_parse(in) > 0)
        grpc_timeout_format(grpc_timeout_parse(in), text);
    grpc_message_decode(&b, in);
    INVARIANT(buf_len(&b) <= in.len);
    buf_fini(&b);
}

static void try_name(struct slice in, bool top)
{
    struct buf name = {0}, component = {0};
    enum ns_kind kind;

    if (ns_parse(in, top, &kind, &component) == ST_OK && kind == NS_COMPONENT) {
        struct buf copy = {0};
        buf_append_slice(&copy, buf_slice(&component));
        ns_name_of(buf_slice(&copy), top, &name);
        INVARIANT(slice_equal(buf_slice(&name), in)); /* one name a component */
        buf_fini(&copy);
    }
    buf_fini(&name);
    buf_fini(&component);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_alloc(size + 1);

    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    try_url(text);
    free(text);
    try_grpc(slice_of(data, size));
    try_name(slice_of(data, size), false);
    try_name(slice_of(data, size), true);
    return 0;
}
