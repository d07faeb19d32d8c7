/* SPDX-License-Identifier: Apache-2.0 */
/* The table of inodes. */
#include "fsd/ino.h"

#include <stdlib.h>
#include <string.h>

#include "common/invariant.h"
#include "common/mem.h"
#include "fsd/heard.h"

void ino_set_key(struct ino_table *t, struct ino *i, struct slice key)
{
    uint8_t *tag = mem_alloc(2 + key.len);

    ino_unlink(t, i);
    tag[0] = (uint8_t)i->view;
    tag[1] = (uint8_t)i->kind;
    if (key.len)
        memcpy(tag + 2, key.data, key.len);
    free(i->tag);
    i->tag = tag;
    i->tag_len = 2 + key.len;
    HASH_ADD_KEYPTR(by_key, t->keys, i->tag, i->tag_len, i);
    i->linked = true;
}

static struct ino *ino_new(struct ino_table *t, enum ino_view view, enum ino_kind kind, struct slice key)
{
    struct ino *i = mem_zero(sizeof *i);

    i->id = t->next_id++;
    i->view = view;
    i->kind = kind;
    HASH_ADD(by_id, t->ids, id, sizeof i->id, i);
    ino_set_key(t, i, key);
    return i;
}

void ino_table_init(struct ino_table *t, struct slice root_key, uint64_t value_bytes_max)
{
    *t = (struct ino_table){.next_id = INO_ROOT, .value_bytes_max = value_bytes_max};
    TAILQ_INIT(&t->lru);
    ino_hold(ino_new(t, VIEW_PLAIN, INO_DIR, root_key));
}

static void leave_lru(struct ino_table *t, struct ino *i)
{
    if (!i->in_lru)
        return;
    TAILQ_REMOVE(&t->lru, i, lru);
    i->in_lru = false;
    t->value_bytes -= i->value->len;
}

void ino_unlink(struct ino_table *t, struct ino *i)
{
    if (!i->linked)
        return;
    HASH_DELETE(by_key, t->keys, i);
    i->linked = false;
}

static void ino_free(struct ino_table *t, struct ino *i)
{
    leave_lru(t, i);
    ino_unlink(t, i);
    HASH_DELETE(by_id, t->ids, i);
    blob_unref(i->value);
    file_unref(&t->files, i->file);
    free(i->tag);
    free(i);
}

void ino_table_fini(struct ino_table *t)
{
    struct ino *i, *next;

    HASH_ITER(by_id, t->ids, i, next)
        ino_free(t, i);
}

struct ino *ino_by_id(struct ino_table *t, uint64_t id)
{
    struct ino *i;

    HASH_FIND(by_id, t->ids, &id, sizeof id, i);
    return i;
}

struct ino *ino_find(struct ino_table *t, enum ino_view view, enum ino_kind kind, struct slice key)
{
    uint8_t small[256], *tag = key.len + 2 <= sizeof small ? small : mem_alloc(key.len + 2);
    struct ino *i;

    tag[0] = (uint8_t)view;
    tag[1] = (uint8_t)kind;
    if (key.len)
        memcpy(tag + 2, key.data, key.len);
    HASH_FIND(by_key, t->keys, tag, key.len + 2, i);
    if (tag != small)
        free(tag);
    return i;
}

struct ino *ino_get(struct ino_table *t, enum ino_view view, enum ino_kind kind, struct slice key)
{
    struct ino *i = ino_find(t, view, kind, key);

    return i ? i : ino_new(t, view, kind, key);
}

static void maybe_free(struct ino_table *t, struct ino *i)
{
    if (!i->lookups && !i->holds)
        ino_free(t, i);
}

void ino_hold(struct ino *i)
{
    i->holds++;
}

void ino_release(struct ino_table *t, struct ino *i)
{
    INVARIANT(i->holds > 0);
    i->holds--;
    maybe_free(t, i);
}

void ino_forget(struct ino_table *t, struct ino *i, uint64_t lookups)
{
    i->lookups -= lookups < i->lookups ? lookups : i->lookups;
    maybe_free(t, i);
}

void ino_set_value(struct ino_table *t, struct ino *i, struct blob *b)
{
    struct ino *oldest;

    blob_ref(b);
    leave_lru(t, i);
    blob_unref(i->value);
    i->value = b;
    if (!b)
        return;
    TAILQ_INSERT_TAIL(&t->lru, i, lru);
    i->in_lru = true;
    t->value_bytes += b->len;
    /* Open handles keep theirs alive; this only forgets. */
    while (t->value_bytes > t->value_bytes_max && (oldest = TAILQ_FIRST(&t->lru)) != i)
        ino_set_value(t, oldest, NULL);
}

void ino_touch(struct ino_table *t, struct ino *i)
{
    if (!i->in_lru)
        return;
    TAILQ_REMOVE(&t->lru, i, lru);
    TAILQ_INSERT_TAIL(&t->lru, i, lru);
}

uint64_t ino_number(enum ino_view view, enum ino_kind kind, struct slice key, int64_t create_rev)
{
    /* Several keys can be created by one revision: the key belongs to it. A directory has no creating revision of its own. */
    uint64_t h = hash_bytes(HASH_BASIS, key.data, key.len);

    h = hash_bytes(h, &create_rev, sizeof create_rev) >> 2;
    h |= (uint64_t)(kind == INO_DIR) << 62;
    return h | (uint64_t)(view == VIEW_LINEARIZABLE) << 63;
}

uint64_t ino_stable_number(const struct ino *i)
{
    if (i->id == INO_ROOT)
        return INO_ROOT;
    return ino_number(i->view, i->kind, ino_key(i), i->kind == INO_FILE ? i->create_rev : 0);
}
