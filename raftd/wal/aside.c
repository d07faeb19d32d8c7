/* SPDX-License-Identifier: Apache-2.0 */
/* Out of the way, but not gone. */
#include "raftd/wal/aside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "raftd/wal/reader.h"

#define PREFIX       "damaged-"
#define PREFIX_BYTES 25 /* with the term and another dash */
#define ASIDE_BYTES  80

struct names {
    char (*list)[ASIDE_BYTES];
    size_t count, cap;
};

static void take(struct names *n, const char *name)
{
    n->list = mem_grow(n->list, &n->cap, n->count + 1, sizeof *n->list);
    snprintf(n->list[n->count++], ASIDE_BYTES, "%s", name);
}

static void take_segment(const char *name, void *arg)
{
    if (wal_is_segment_name(name))
        take(arg, name);
}

static void take_aside(const char *name, void *arg)
{
    if (strncmp(name, PREFIX, strlen(PREFIX)) == 0 && strlen(name) > PREFIX_BYTES && wal_is_segment_name(name + PREFIX_BYTES))
        take(arg, name);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int list_sorted(struct disk *disk, void (*name_fn)(const char *name, void *arg), struct names *ret_names)
{
    int error = disk->ops->list(disk, name_fn, ret_names);

    if (ret_names->count)
        qsort(ret_names->list, ret_names->count, sizeof *ret_names->list, compare);
    return error;
}

/* All but the newest ASIDE_LOGS_MAX - 1: one more is coming. Terms in names are in order. */
static int remove_oldest(struct disk *disk)
{
    struct names n = {0};
    unsigned kept = 0;
    int error = list_sorted(disk, take_aside, &n);

    for (size_t i = n.count; !error && i-- > 0;) {
        if (i + 1 == n.count || strncmp(n.list[i], n.list[i + 1], PREFIX_BYTES) != 0)
            kept++;
        if (kept >= ASIDE_LOGS_MAX)
            error = disk->ops->unlink(disk, n.list[i]);
    }
    free(n.list);
    return error;
}

enum status wal_set_aside(struct disk *disk, raft_term term, struct error *ret_error)
{
    struct names n = {0};
    int error = list_sorted(disk, take_segment, &n);

    if (!error && n.count)
        error = remove_oldest(disk);
    for (size_t i = 0; !error && i < n.count; i++) {
        char to[ASIDE_BYTES];
        snprintf(to, sizeof to, PREFIX "%016" PRIx64 "-%.40s", term, n.list[i]);
        error = disk->ops->rename(disk, n.list[i], to);
    }
    if (!error)
        error = disk->ops->sync_dir(disk);
    free(n.list);
    return error ? error_set(ret_error, ST_IO, "wal: a damaged log cannot be set aside: %s", strerror(-error)) : ST_OK;
}
