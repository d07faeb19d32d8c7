/* SPDX-License-Identifier: Apache-2.0 */
/* The B+ tree of keys. */
#include "mvcc/index.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/mem.h"

#define SLOTS 64
#define DEPTH_MAX 16

struct leaf {
    unsigned count;
    uint64_t heads[SLOTS]; /* the first 8 bytes of each key, big-endian: most comparisons end there */
    struct keyindex *keys[SLOTS];
    struct leaf *next, *back;
};

struct inner {
    unsigned count;
    uint64_t heads[SLOTS];
    const struct keyindex *least[SLOTS]; /* a lower bound of what is below; the first one's is not looked at */
    void *child[SLOTS];                  /* inner, or leaf in the lowest layer */
    int64_t alive[SLOTS];
};

struct index {
    void *root;
    unsigned depth; /* inner layers above the leaves */
    struct leaf *first, *last;
    int64_t alive, versions;
    uint64_t bytes;
};

/* The way down to a leaf. */
struct path {
    struct inner *node[DEPTH_MAX];
    unsigned slot[DEPTH_MAX];
    struct leaf *leaf;
};

static uint64_t head_of(struct slice key)
{
    uint8_t bytes[8] = {0};

    if (key.len >= 8)
        return get_be64(key.data);
    if (key.len)
        memcpy(bytes, key.data, key.len);
    return get_be64(bytes);
}

static int compare(uint64_t head, struct slice key, uint64_t other_head, const struct keyindex *other)
{
    if (head != other_head)
        return head < other_head ? -1 : 1;
    return slice_compare(key, keyindex_key(other));
}

struct index *index_new(void)
{
    struct index *x = mem_zero(sizeof *x);

    x->root = x->first = x->last = mem_zero(sizeof(struct leaf));
    x->bytes = sizeof(struct leaf);
    return x;
}

static void free_node(void *node, unsigned depth)
{
    if (depth) {
        struct inner *n = node;
        for (unsigned i = 0; i < n->count; i++)
            free_node(n->child[i], depth - 1);
    } else {
        struct leaf *l = node;
        for (unsigned i = 0; i < l->count; i++) {
            free(l->keys[i]->many);
            free(l->keys[i]);
        }
    }
    free(node);
}

void index_free(struct index *x)
{
    if (!x)
        return;
    free_node(x->root, x->depth);
    free(x);
}

const struct version *keyindex_at(const struct keyindex *k, mvcc_rev rev)
{
    const struct version *v = keyindex_versions(k);
    uint32_t low = 0, high = k->count;

    if (!rev)
        low = k->count;
    else if (high && v[high - 1].main <= rev)
        low = high; /* old revisions are asked for rarely, and then recent ones */
    else
        while (low < high) {
            uint32_t mid = low + (high - low) / 2;
            if (v[mid].main <= rev)
                low = mid + 1;
            else
                high = mid;
        }
    return low && !v[low - 1].tombstone ? &v[low - 1] : NULL;
}

/* ---- finding ---- */

/* The last child whose least key is <= key. */
static unsigned inner_slot(const struct inner *n, uint64_t head, struct slice key)
{
    unsigned low = 1, high = n->count;

    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (compare(head, key, n->heads[mid], n->least[mid]) < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return low - 1;
}

/* The first key >= key; *ret_equal if it is that one. */
static unsigned leaf_slot(const struct leaf *l, uint64_t head, struct slice key, bool *ret_equal)
{
    unsigned low = 0, high = l->count;

    *ret_equal = false;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        int c = compare(head, key, l->heads[mid], l->keys[mid]);
        if (c == 0) {
            *ret_equal = true;
            return mid;
        }
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static void descend(const struct index *x, uint64_t head, struct slice key, struct path *ret_path)
{
    void *node = x->root;

    for (unsigned d = 0; d < x->depth; d++) {
        ret_path->node[d] = node;
        ret_path->slot[d] = inner_slot(node, head, key);
        node = ret_path->node[d]->child[ret_path->slot[d]];
    }
    ret_path->leaf = node;
}

const struct keyindex *index_find(const struct index *x, struct slice key)
{
    uint64_t head = head_of(key);
    struct path p;
    unsigned at;
    bool equal;

    descend(x, head, key, &p);
    at = leaf_slot(p.leaf, head, key, &equal);
    return equal ? p.leaf->keys[at] : NULL;
}

struct cursor index_seek(const struct index *x, struct slice key)
{
    uint64_t head = head_of(key);
    struct cursor c;
    struct path p;
    bool equal;

    descend(x, head, key, &p);
    c = (struct cursor){p.leaf, leaf_slot(p.leaf, head, key, &equal)};
    if (c.at == c.leaf->count)
        c = (struct cursor){c.leaf->next, 0};
    return c;
}

struct cursor index_end(const struct index *x)
{
    (void)x;
    return (struct cursor){NULL, 0};
}

const struct keyindex *cursor_key(const struct cursor *c)
{
    return c->leaf && c->at < c->leaf->count ? c->leaf->keys[c->at] : NULL;
}

void cursor_next(struct cursor *c)
{
    if (++c->at >= c->leaf->count)
        *c = (struct cursor){c->leaf->next, 0};
}

bool cursor_back(const struct index *x, struct cursor *c)
{
    if (c->leaf && c->at > 0) {
        c->at--;
        return true;
    }
    c->leaf = c->leaf ? c->leaf->back : x->last;
    if (!c->leaf || !c->leaf->count)
        return false;
    c->at = c->leaf->count - 1;
    return true;
}

/* ---- adding ---- */

static void *array_open(void *array, unsigned count, unsigned at, size_t size)
{
    char *a = array;

    memmove(a + (at + 1) * size, a + at * size, (count - at) * size);
    return a + at * size;
}

static int64_t leaf_alive(const struct leaf *l)
{
    int64_t n = 0;

    for (unsigned i = 0; i < l->count; i++)
        n += keyindex_is_alive(l->keys[i]);
    return n;
}

static int64_t inner_alive(const struct inner *n)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < n->count; i++)
        sum += n->alive[i];
    return sum;
}

/* The upper half moves to a new leaf behind. Keys that only grow (logs, sequences) leave full leaves: split at the end. */
static struct leaf *split_leaf(struct index *x, struct leaf *l, unsigned insert_at)
{
    struct leaf *up = mem_zero(sizeof *up);
    unsigned keep = insert_at == SLOTS && !l->next ? SLOTS - 1 : SLOTS / 2;

    up->count = SLOTS - keep;
    memcpy(up->heads, l->heads + keep, up->count * sizeof *l->heads);
    memcpy(up->keys, l->keys + keep, up->count * sizeof *l->keys);
    l->count = keep;
    up->next = l->next;
    up->back = l;
    if (l->next)
        l->next->back = up;
    else
        x->last = up;
    l->next = up;
    x->bytes += sizeof *up;
    return up;
}

static struct inner *split_inner(struct index *x, struct inner *n)
{
    struct inner *up = mem_zero(sizeof *up);
    unsigned keep = SLOTS / 2;

    up->count = SLOTS - keep;
    memcpy(up->heads, n->heads + keep, up->count * sizeof *n->heads);
    memcpy(up->least, n->least + keep, up->count * sizeof *n->least);
    memcpy(up->child, n->child + keep, up->count * sizeof *n->child);
    memcpy(up->alive, n->alive + keep, up->count * sizeof *n->alive);
    n->count = keep;
    x->bytes += sizeof *up;
    return up;
}

static void inner_insert(struct inner *n, unsigned at, void *child, const struct keyindex *least, int64_t alive)
{
    *(uint64_t *)array_open(n->heads, n->count, at, sizeof *n->heads) = head_of(keyindex_key(least));
    *(const struct keyindex **)array_open(n->least, n->count, at, sizeof *n->least) = least;
    *(void **)array_open(n->child, n->count, at, sizeof *n->child) = child;
    *(int64_t *)array_open(n->alive, n->count, at, sizeof *n->alive) = alive;
    n->count++;
}

static void grow_root(struct index *x, void *up, const struct keyindex *least, int64_t alive, int64_t up_alive)
{
    struct inner *root = mem_zero(sizeof *root);

    INVARIANT(x->depth + 1 < DEPTH_MAX);
    root->count = 1;
    root->child[0] = x->root;
    root->alive[0] = alive;
    root->least[0] = least; /* not looked at */
    inner_insert(root, 1, up, least, up_alive);
    x->root = root;
    x->depth++;
    x->bytes += sizeof *root;
}

/* A node below was split: its new upper part goes into the layer above, which may split in turn. */
static void insert_above(struct index *x, struct path *p, void *up, const struct keyindex *least, int64_t alive,
                         int64_t up_alive)
{
    for (unsigned d = x->depth; d > 0; d--) {
        struct inner *n = p->node[d - 1], *more;
        unsigned slot = p->slot[d - 1];
        n->alive[slot] = alive;
        if (n->count < SLOTS) {
            inner_insert(n, slot + 1, up, least, up_alive);
            return;
        }
        more = split_inner(x, n);
        if (slot + 1 > n->count)
            inner_insert(more, slot + 1 - n->count, up, least, up_alive);
        else
            inner_insert(n, slot + 1, up, least, up_alive);
        up = more;
        least = more->least[0];
        alive = inner_alive(n);
        up_alive = inner_alive(more);
    }
    grow_root(x, up, least, alive, up_alive);
}

static struct keyindex *insert_key(struct index *x, struct path *p, unsigned at, uint64_t head, struct slice key)
{
    struct keyindex *k = mem_alloc(sizeof *k + key.len);
    struct leaf *l = p->leaf;

    *k = (struct keyindex){.key_len = (uint32_t)key.len};
    memcpy(k->key, key.data, key.len);
    x->bytes += sizeof *k + key.len;
    if (l->count == SLOTS) {
        struct leaf *up = split_leaf(x, l, at);
        insert_above(x, p, up, up->keys[0], leaf_alive(l), leaf_alive(up));
        if (at > l->count) {
            at -= l->count;
            l = up;
        }
        descend(x, head, key, p); /* the way down has changed */
        INVARIANT(p->leaf == l);
    }
    *(uint64_t *)array_open(l->heads, l->count, at, sizeof *l->heads) = head;
    *(struct keyindex **)array_open(l->keys, l->count, at, sizeof *l->keys) = k;
    l->count++;
    return k;
}

static void add_alive(struct index *x, struct path *p, int64_t change)
{
    for (unsigned d = 0; d < x->depth; d++)
        p->node[d]->alive[p->slot[d]] += change;
    x->alive += change;
}

static void keyindex_add(struct index *x, struct keyindex *k, struct version v)
{
    if (k->count == 0) {
        k->one = v;
    } else {
        if (k->count == 1 && !k->many) {
            k->cap = 2;
            k->many = mem_alloc(k->cap * sizeof *k->many);
            k->many[0] = k->one;
            x->bytes += k->cap * sizeof *k->many;
        } else if (k->count == k->cap) {
            uint32_t more = k->cap < 8 ? k->cap : k->cap / 2;
            k->cap += more;
            k->many = mem_resize(k->many, k->cap * sizeof *k->many);
            x->bytes += more * sizeof *k->many;
        }
        k->many[k->count] = v;
    }
    k->count++;
    x->versions++;
}

void index_add(struct index *x, struct slice key, int64_t main, uint32_t sub, bool tombstone)
{
    uint64_t head = head_of(key);
    struct version v = {.main = main, .sub = sub, .tombstone = tombstone};
    struct keyindex *k;
    struct path p;
    bool equal, was_alive;
    unsigned at;

    descend(x, head, key, &p);
    at = leaf_slot(p.leaf, head, key, &equal);
    k = equal ? p.leaf->keys[at] : insert_key(x, &p, at, head, key);
    was_alive = keyindex_is_alive(k);
    INVARIANT(was_alive || !tombstone);
    v.first = was_alive ? keyindex_versions(k)[k->count - 1].first : k->count;
    keyindex_add(x, k, v);
    if (was_alive == tombstone)
        add_alive(x, &p, tombstone ? -1 : 1);
}

/* ---- counting ---- */

int64_t index_rank(const struct index *x, struct slice key)
{
    uint64_t head = head_of(key);
    int64_t rank = 0;
    struct path p;
    unsigned at;
    bool equal;

    descend(x, head, key, &p);
    for (unsigned d = 0; d < x->depth; d++)
        for (unsigned i = 0; i < p.slot[d]; i++)
            rank += p.node[d]->alive[i];
    at = leaf_slot(p.leaf, head, key, &equal);
    for (unsigned i = 0; i < at; i++)
        rank += keyindex_is_alive(p.leaf->keys[i]);
    return rank;
}

int64_t index_alive(const struct index *x)
{
    return x->alive;
}

int64_t index_versions(const struct index *x)
{
    return x->versions;
}

uint64_t index_bytes(const struct index *x)
{
    return x->bytes;
}
