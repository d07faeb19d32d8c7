/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/node/divergence.h"

static bool comparable(const struct hash_row *a, const struct hash_row *b)
{
    return a->known && b->known && a->compact_rev == b->compact_rev;
}

struct likeness {
    const struct hash_row *rows, *like;
    unsigned count;
};

static bool is_alike(const void *arg, uint64_t id)
{
    const struct likeness *l = arg;

    for (unsigned i = 0; i < l->count; i++)
        if (l->rows[i].id == id)
            return comparable(&l->rows[i], l->like) && l->rows[i].hash == l->like->hash;
    return false;
}

static bool is_quorum(const struct raft_conf *c, const struct hash_row *rows, unsigned count, const struct hash_row *like)
{
    return members_is_quorum(c, is_alike, &(struct likeness){rows, like, count});
}

static bool any_differ(const struct hash_row *rows, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < i; k++)
            if (comparable(&rows[i], &rows[k]) && rows[i].hash != rows[k].hash)
                return true;
    return false;
}

static unsigned comparable_with(const struct hash_row *rows, unsigned count, const struct hash_row *like)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += comparable(&rows[i], like);
    return sum;
}

static const struct hash_row *of_most(const struct hash_row *rows, unsigned count)
{
    const struct hash_row *best = NULL;

    for (unsigned i = 0; i < count; i++)
        if (rows[i].known && (!best || comparable_with(rows, count, &rows[i]) > comparable_with(rows, count, best)))
            best = &rows[i];
    return best;
}

static void sort_by_hash(const struct hash_row *rows, unsigned count, const struct hash_row *right, struct divergence *d)
{
    for (unsigned i = 0; i < count; i++) {
        if (!comparable(&rows[i], right))
            continue;
        if (rows[i].hash == right->hash)
            d->alike[d->alike_count++] = rows[i].id;
        else
            d->wrong[d->wrong_count++] = rows[i].id;
    }
}

void divergence_find(const struct hash_row *rows, unsigned count, const struct raft_conf *conf, struct divergence *ret_divergence)
{
    const struct hash_row *right = NULL, *like;

    *ret_divergence = (struct divergence){0};
    for (unsigned i = 0; i < count && !right; i++)
        if (is_quorum(conf, rows, count, &rows[i]))
            right = &rows[i];
    ret_divergence->agreed = right != NULL;
    ret_divergence->doubtful = !right && any_differ(rows, count);
    if (right)
        sort_by_hash(rows, count, right, ret_divergence);
    like = right ? right : of_most(rows, count);
    if (like) {
        ret_divergence->compared = comparable_with(rows, count, like);
        ret_divergence->compact_rev = like->compact_rev;
    }
}
