/* SPDX-License-Identifier: Apache-2.0 */
/* Components to names and back. */
#include "fsd/ns.h"

#include <string.h>

#include "common/limits.h"
#include "net/digest.h"

#define DIGEST_BYTES 16

static const char *const views[] = {".linearizable", ".leases", ".revisions", ".watch", ".status"};
#define VIEW_COUNT (sizeof views / sizeof *views)

static bool is_text(struct slice s, const char *text)
{
    return slice_equal(s, slice_of_text(text));
}

static bool is_view(struct slice s)
{
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (is_text(s, views[i]))
            return true;
    return false;
}

static void append_escaped(struct buf *out, uint8_t byte)
{
    buf_printf(out, "%%%02X", byte);
}

void ns_name_of(struct slice component, bool top, struct buf *ret_name)
{
    size_t begun = buf_len(ret_name);
    bool dots = is_text(component, ".") || is_text(component, "..");
    bool first_escaped = top && is_view(component);
    uint8_t digest[32];

    if (!component.len) {
        buf_append_text(ret_name, "%empty");
        return;
    }
    for (size_t i = 0; i < component.len; i++) {
        uint8_t b = component.data[i];
        if (b == 0 || b == '%' || dots || (i == 0 && first_escaped))
            append_escaped(ret_name, b);
        else
            buf_append_byte(ret_name, b);
    }
    if (buf_len(ret_name) - begun <= NAME_BYTES_MAX)
        return;
    ret_name->end = ret_name->start + begun;
    digest_sha256(component, digest);
    buf_append_text(ret_name, NS_LONG_PREFIX);
    for (int i = 0; i < DIGEST_BYTES; i++)
        buf_printf(ret_name, "%02x", digest[i]);
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; /* lower case is never written, so it is no spelling */
}

/* Undo the escapes; false for a '%' that is no escape. */
static bool unescape(struct slice name, struct buf *out)
{
    for (size_t i = 0; i < name.len; i++) {
        int high, low;
        if (name.data[i] != '%') {
            buf_append_byte(out, name.data[i]);
            continue;
        }
        high = i + 2 < name.len ? hex_value(name.data[i + 1]) : -1;
        low = high >= 0 ? hex_value(name.data[i + 2]) : -1;
        if (low < 0)
            return false;
        buf_append_byte(out, (uint8_t)(high << 4 | low));
        i += 2;
    }
    return true;
}

enum status ns_parse(struct slice name, bool top, enum ns_kind *ret_kind, struct buf *ret_component)
{
    struct buf again = {0};
    bool canonical;

    buf_clear(ret_component);
    *ret_kind = NS_COMPONENT;
    if (name.len > NAME_BYTES_MAX)
        return ST_NAME_TOO_LONG;
    if (is_text(name, "%empty"))
        return ST_OK;
    if (is_text(name, "%value")) {
        *ret_kind = NS_VALUE;
        return ST_OK;
    }
    if (slice_has_prefix(name, slice_of_text(NS_LONG_PREFIX))) {
        *ret_kind = NS_LONG;
        return ST_OK;
    }
    if (top && is_view(name)) {
        *ret_kind = NS_VIEW;
        return is_text(name, views[0]) ? ST_OK : ST_NOT_FOUND;
    }
    if (!unescape(name, ret_component))
        return ST_NOT_FOUND;
    /* Only the spelling that ns_name_of writes counts: %41 is no second name for A. */
    ns_name_of(buf_slice(ret_component), top, &again);
    canonical = slice_equal(buf_slice(&again), name);
    buf_fini(&again);
    return canonical && buf_len(ret_component) ? ST_OK : ST_NOT_FOUND;
}

void ns_prefix_end(struct slice prefix, struct buf *ret_end)
{
    size_t len = prefix.len;

    buf_clear(ret_end);
    while (len && prefix.data[len - 1] == 0xff)
        len--;
    if (!len) {
        buf_append_byte(ret_end, 0);
        return;
    }
    buf_append(ret_end, prefix.data, len);
    ret_end->data[ret_end->end - 1]++;
}

struct slice ns_parent(struct slice key, struct slice root)
{
    size_t len = key.len ? key.len - 1 : 0;

    while (len > root.len && key.data[len - 1] != '/')
        len--;
    return slice_of(key.data, len > root.len ? len : root.len);
}
