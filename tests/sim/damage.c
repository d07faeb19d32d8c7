/* SPDX-License-Identifier: Apache-2.0 */
/* Where damage falls, and that the log's is found. */
#include "tests/sim/damage.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "raft/internal.h"
#include "raftd/node/internal.h"
#include "raftd/wal/promise.h"
#include "raftd/wal/reader.h"
#include "tests/sim/history.h"
#include "tests/sim/member.h"

#define FILES_MAX 256
#define LOST_PROMISE_NAME "promise.lost"
#define PLACES_MAX 10 /* looked at, for one that matters */

/* ---- what it is ---- */

static void spoil(struct world *w, struct damage_patch *p)
{
    memcpy(p->after, p->before, p->len);
    switch (rng_below(&w->rng, 3)) {
    case 0: /* a lost sector */
        memset(p->after, 0, p->len);
        break;
    case 1: /* garbage */
        for (size_t i = 0; i < p->len; i++)
            p->after[i] = (uint8_t)rng_next(&w->rng);
        break;
    default:
        p->after[0] ^= (uint8_t)(1u << rng_below(&w->rng, 8));
        break;
    }
}

/* Some of so many bytes: a byte, a few, or a sector. */
static void draw_place(struct world *w, size_t size, struct damage_patch *p)
{
    static const size_t lens[] = {1, 1, 40, DAMAGE_BYTES_MAX};

    p->len = lens[rng_below(&w->rng, sizeof lens / sizeof *lens)];
    p->offset = rng_below(&w->rng, size);
    if (p->len == DAMAGE_BYTES_MAX)
        p->offset -= p->offset % DAMAGE_BYTES_MAX;
    if (p->len > size - p->offset)
        p->len = size - p->offset;
}

/* ---- the log ---- */

/* What the log says, as a number; 0: it is damaged. *ret_*: of the last segment, what no later record proves. */
static uint32_t read_log(struct sim_member *m, struct disk *d, char *ret_last, uint64_t *ret_from, uint64_t *ret_to)
{
    struct wal_state s = {0};
    struct error error;
    uint32_t crc = 1;
    uint64_t numbers[5];
    struct record rec;

    *ret_from = *ret_to = 0;
    *ret_last = 0;
    if (wal_read(d, SIM_CLUSTER_ID, m->number + 1, &s, &error) != ST_OK)
        return 0;
    for (size_t i = 0; i < s.entry_count; i++)
        crc = crc32c(crc + (uint32_t)s.entries[i]->term, s.entries[i]->data, s.entries[i]->len);
    memcpy(numbers, (uint64_t[]){s.begin_index, s.begin_term, s.hard.term, s.hard.vote, s.hard.commit}, sizeof numbers);
    crc = crc32c(crc, numbers, sizeof numbers);
    if (s.segment_count) {
        const struct wal_segment *seg = &s.segments[s.segment_count - 1];
        size_t len;
        const uint8_t *bytes = memory_disk_bytes(d, seg->name, &len);
        snprintf(ret_last, SEGMENT_NAME_BYTES, "%s", seg->name);
        *ret_from = *ret_to = seg->end;
        for (uint64_t at = SEGMENT_HEADER_BYTES; at < seg->end; at += rec.size) {
            SIM_CHECK(wal_record_at(slice_of(bytes, len), seg->header.identity, at, &rec) == ST_OK, "a record of a whole log");
            *ret_from = rec.group;
        }
    }
    wal_state_fini(&s);
    return crc ? crc : 1;
}

static bool draw_log_file(struct sim_member *m, struct damage_patch *p)
{
    struct world *w = m->shared->world;
    const char *name = PROMISE_NAME;
    unsigned count = 0;

    if (world_chance(w, 900)) {
        while (memory_disk_name(m->disk, ".wal", count))
            count++;
        name = count ? memory_disk_name(m->disk, ".wal", (unsigned)rng_below(&w->rng, count)) : NULL;
    }
    if (!name || strncmp(name, "damaged-", 8) == 0)
        return false;
    p->in_log = true;
    snprintf(p->name, sizeof p->name, "%s", name);
    return true;
}

/* What is damaged is found, or was of no consequence. */
static void check_found(struct sim_member *m, const struct damage_patch *p, uint32_t before)
{
    char last[SEGMENT_NAME_BYTES];
    uint64_t from, to;
    uint32_t now = read_log(m, m->disk, last, &from, &to);

    SIM_CHECK(!now || !before || now == before, "damage: member %u takes its log for whole, and %zu bytes at %llu of %s are not",
              m->number, p->len, (unsigned long long)p->offset, p->name);
    m->damage.log_is_broken = !now;
}

static bool damage_log(struct sim_member *m, struct damage_patch *p)
{
    struct disk *durable = memory_disk_durable(m->disk);
    char last[SEGMENT_NAME_BYTES];
    const uint8_t *bytes;
    uint64_t from, to;
    uint32_t before = read_log(m, durable, last, &from, &to);
    bool is_told = true;
    size_t size;

    durable->ops->free(durable);
    if (!draw_log_file(m, p))
        return false;
    bytes = memory_disk_bytes(m->disk, p->name, &size);
    if (!bytes || !size)
        return false;
    draw_place(m->shared->world, size, p);
    if (strcmp(p->name, last) == 0)
        is_told = p->offset + p->len <= from || (!m->up && p->offset >= to);
    /* Where it was damaged before, nothing is known of the end. */
    if (!is_told || (!before && strcmp(p->name, PROMISE_NAME) != 0))
        return false;
    memcpy(p->before, bytes + p->offset, p->len);
    spoil(m->shared->world, p);
    memory_disk_damage(m->disk, p->name, p->offset, p->after, p->len);
    m->damage.log = true;
    if (strcmp(p->name, PROMISE_NAME) == 0)
        m->damage.needs_operator = true;
    else if (!m->up)
        check_found(m, p, before);
    return true;
}

static void rename_promise(struct sim_member *m, const char *from, const char *to)
{
    const struct disk_ops *ops = m->disk->ops;

    SIM_CHECK(ops->rename(m->disk, from, to) == 0 && ops->sync_dir(m->disk) == 0, "member %u has no file %s", m->number, from);
}

/* The name is gone, of what the log beside it is held against. */
static bool lose_promise(struct sim_member *m, struct damage_patch *p)
{
    struct wal_state s = {0};
    struct error error;
    bool begun;

    if (m->up || m->damage.promise_is_lost || wal_read(m->disk, SIM_CLUSTER_ID, m->number + 1, &s, &error) != ST_OK)
        return false;
    begun = s.hard.term || s.begin_index;
    wal_state_fini(&s);
    if (!begun)
        return false;
    rename_promise(m, PROMISE_NAME, LOST_PROMISE_NAME);
    p->in_log = p->is_lost = true;
    snprintf(p->name, sizeof p->name, "%s", PROMISE_NAME);
    m->damage.log = m->damage.needs_operator = m->damage.promise_is_lost = true;
    return true;
}

/* ---- files ---- */

static struct files {
    char *names[FILES_MAX];
    unsigned count;
    bool of_stores;
} found; /* nftw(3) has no argument to hand on */

static bool is_of_store(const char *path)
{
    return strstr(path, "/member/store") || strstr(path, "/member/current");
}

static int take_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)ftw;
    if (flag == FTW_F && st->st_size && !strstr(path, "/damaged") && found.count < FILES_MAX && is_of_store(path) == found.of_stores)
        found.names[found.count++] = mem_copy(path, strlen(path) + 1);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool draw_file(struct sim_member *m, struct damage_patch *p, size_t *ret_size)
{
    struct stat st;

    found.count = 0;
    found.of_stores = world_chance(m->shared->world, 930);
    nftw(m->data.member_path, take_file, 16, FTW_PHYS);
    if (!found.count)
        return false;
    qsort(found.names, found.count, sizeof *found.names, compare_names);
    snprintf(p->name, sizeof p->name, "%s", found.names[rng_below(&m->shared->world->rng, found.count)]);
    while (found.count)
        free(found.names[--found.count]);
    if (stat(p->name, &st) < 0)
        return false;
    *ret_size = (size_t)st.st_size;
    return true;
}

/* It is the disk's bytes that change: synced. */
static bool transfer(const struct damage_patch *p, bool write, uint8_t *data)
{
    int fd = open(p->name, O_RDWR | O_CLOEXEC);
    ssize_t n = -1;

    if (fd >= 0)
        n = write ? pwrite(fd, data, p->len, (off_t)p->offset) : pread(fd, data, p->len, (off_t)p->offset);
    if (n >= 0 && write && fsync(fd) < 0)
        n = -1;
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)p->len;
}

/* Room that TDB has made, and not used. */
static bool is_nothing(uint8_t byte)
{
    return byte == 0 || byte == 'B';
}

static bool damage_file(struct sim_member *m, struct damage_patch *p)
{
    size_t size;

    if (!draw_file(m, p, &size))
        return false;
    for (unsigned i = 0; i < PLACES_MAX && (i == 0 || is_nothing(p->before[0])); i++) {
        draw_place(m->shared->world, size, p);
        if (!transfer(p, false, p->before))
            return false;
    }
    spoil(m->shared->world, p);
    SIM_CHECK(transfer(p, true, p->after), "%s cannot be written", p->name);
    if (!is_of_store(p->name))
        m->damage.needs_operator = true;
    return true;
}

/* ---- a member ---- */

bool damage_member(struct sim_member *m)
{
    struct damage *d = &m->damage;
    struct damage_patch *p = &d->patches[d->count];

    if (d->count == DAMAGE_PATCHES_MAX)
        return false;
    *p = (struct damage_patch){0};
    if (world_chance(m->shared->world, 30) ? !lose_promise(m, p) : world_chance(m->shared->world, 500) ? !damage_log(m, p) : !damage_file(m, p))
        return false;
    d->count++;
    d->is_open = true;
    d->life = m->life;
    d->committed = m->shared->rules.core.last;
    m->shared->damages++;
    sim_trace(m->shared, "%u %s: %zu bytes at %llu of %s are damaged", m->number, m->up ? "is up" : "is down", p->len,
              (unsigned long long)p->offset, p->in_log ? p->name : strstr(p->name, "/member/"));
    return true;
}

static void undo(struct sim_member *m, struct damage_patch *p)
{
    uint8_t now[DAMAGE_BYTES_MAX];
    uint8_t *bytes = now;
    size_t size = p->offset + p->len;

    if (p->is_lost) {
        rename_promise(m, LOST_PROMISE_NAME, PROMISE_NAME);
    } else if (p->in_log) {
        bytes = memory_disk_bytes(m->disk, p->name, &size);
        if (bytes && size >= p->offset + p->len && memcmp(bytes + p->offset, p->after, p->len) == 0)
            memory_disk_damage(m->disk, p->name, p->offset, p->before, p->len);
    } else if (transfer(p, false, now) && memcmp(now, p->after, p->len) == 0) {
        SIM_CHECK(transfer(p, true, p->before), "%s cannot be written", p->name);
    }
}

void damage_undo(struct sim_member *m)
{
    struct damage *d = &m->damage;

    sim_trace(m->shared, "%u gets back what was damaged", m->number);
    while (d->count)
        undo(m, &d->patches[--d->count]);
    d->needs_operator = d->log = d->log_is_broken = d->promise_is_lost = false;
}

raft_term damage_lost_term(const struct sim_member *m)
{
    struct promise p;
    struct error error;

    return wal_promise_read(m->disk, SIM_CLUSTER_ID, m->number + 1, &p, &error) == ST_OK ? p.lost_term : 0;
}

void damage_forget_log(struct sim_member *m)
{
    struct damage *d = &m->damage;
    unsigned kept = 0;

    for (unsigned i = 0; i < d->count; i++)
        if (!d->patches[i].in_log)
            d->patches[kept++] = d->patches[i];
    d->count = kept;
    d->log = d->log_is_broken = false;
}

bool damage_is_open(const struct sim_member *m)
{
    return m->damage.is_open;
}

/* Also if the power went now: what it has again may not be on its disk yet. */
static bool is_recovering(const struct sim_member *m)
{
    const struct raft *core = m->node->raft;

    return raft_is_recovering(core) || (core->options.lost_term && raft_log_term(&core->log, core->log.stored) <= core->options.lost_term);
}

void damage_look(struct sim_member *m)
{
    const struct damage *d = &m->damage;
    uint32_t hash;

    if (!d->is_open || !m->up || m->life == d->life || mvcc_is_damaged(m->store))
        return;
    if (member_is_in(m) && (is_recovering(m) || mvcc_applied_index(m->store) < d->committed))
        return;
    if (mvcc_hash(m->store, 0, &hash) != ST_OK)
        return; /* it knows now, and acts on it with its next tick */
    m->damage = (struct damage){0};
    sim_trace(m->shared, "%u is whole again", m->number);
}
