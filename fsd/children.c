/* SPDX-License-Identifier: Apache-2.0 */
/* From keys to children. */
#include "fsd/children.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "fsd/ns.h"

void listing_fini(struct listing *l)
{
    buf_fini(&l->bytes);
    free(l->children);
    *l = (struct listing){0};
}

void listing_clear(struct listing *l)
{
    buf_clear(&l->bytes);
    l->count = 0;
    l->has_sizes = l->has_marker = false;
}

static struct child *add_child(struct listing *l, bool top, struct slice component, bool value)
{
    struct child *c;

    l->children = mem_grow(l->children, &l->cap, l->count + 1, sizeof *l->children);
    c = &l->children[l->count++];
    *c = (struct child){.value = value, .component_at = buf_len(&l->bytes), .component_len = component.len};
    buf_append_slice(&l->bytes, component);
    c->name_at = buf_len(&l->bytes);
    if (value)
        buf_append_text(&l->bytes, "%value");
    else
        ns_name_of(component, top, &l->bytes);
    buf_append_byte(&l->bytes, 0);
    return c;
}

static void add_file(struct listing *l, bool top, struct slice component, bool value, const Mvccpb__KeyValue *kv)
{
    struct child *c = add_child(l, top, component, value);

    c->kv = *kv;
    c->kv.value_size = kv_size(kv);
    c->kv.key.data = c->kv.value.data = NULL;
    c->kv.key.len = c->kv.value.len = 0;
}

struct slice listing_take(struct listing *l, bool top, struct slice prefix, const Mvccpb__KeyValue *kv)
{
    struct slice key = slice_of(kv->key.data, kv->key.len), component;
    const uint8_t *slash;

    if (!slice_has_prefix(key, prefix))
        return slice_of(NULL, 0); /* nobody asked for it */
    component = slice_of(key.data + prefix.len, key.len - prefix.len);
    slash = component.len ? memchr(component.data, '/', component.len) : NULL;
    if (slash) {
        component.len = (size_t)(slash - component.data);
        add_child(l, top, component, false)->dir = true;
        return slice_of(key.data, prefix.len + component.len);
    }
    /* With a value, the prefix itself is the file %empty; without, it is the directory's own marker. */
    if (component.len || kv_size(kv))
        add_file(l, top, component, false, kv);
    else
        l->has_marker = true;
    return slice_of(NULL, 0);
}

void listing_take_value(struct listing *l, const Mvccpb__KeyValue *kv)
{
    add_file(l, false, slice_of_text("%value"), true, kv);
}

void listing_take_pending(struct listing *l, bool top, struct slice component)
{
    add_child(l, top, component, false)->pending = true;
}

static int compare_children(const void *a, const void *b, void *arg)
{
    const struct child *x = a, *y = b;
    const struct listing *l = arg;
    int c = slice_compare(child_component(l, x), child_component(l, y));

    if (c)
        return c;
    if (x->value != y->value)
        return (int)x->value - (int)y->value;
    if (x->dir != y->dir)
        return (int)y->dir - (int)x->dir;
    return (int)x->pending - (int)y->pending;
}

void listing_finish(struct listing *l)
{
    size_t kept = 0;

    if (l->count)
        qsort_r(l->children, l->count, sizeof *l->children, compare_children, l);
    for (size_t i = 0; i < l->count; i++) {
        const struct child *last = kept ? &l->children[kept - 1] : NULL, *c = &l->children[i];
        if (last && last->value == c->value && slice_equal(child_component(l, last), child_component(l, c)))
            continue;
        l->children[kept++] = *c;
    }
    l->count = kept;
}
