/* SPDX-License-Identifier: Apache-2.0 */
/* Making and recycling segment files. */
#include "raftd/wal/spare.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "raftd/wal/reader.h"

#define SPARE_NAME       "spare"
#define SPARE_TMP_NAME   "spare.tmp"
#define SPARE_STEP_BYTES (256u << 10)
#define LOOK_NS          NS_PER_S /* at the free space, and for a full disk to have some again */
#define AWAIT_NS         (200 * NS_PER_MS)

struct drop {
    char name[SEGMENT_NAME_BYTES];
    bool recyclable;
};

struct spare {
    struct spare_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct drop *drops;
    size_t drop_count, drop_cap;
    bool ready; /* a file SPARE_NAME is there */
    bool full;     /* the last attempt to make one found no space */
    bool given_up;
    bool stopping;
    uint64_t free_bytes;
    int64_t look_at_ns;     /* the thread's own, as what follows */
    struct disk_file *file; /* being made */
    uint64_t done;
};

static void must(struct spare *s, const char *name, const char *what, uint64_t offset, int error)
{
    if (error)
        s->options.fail_fn(s->options.arg, name, what, offset, error);
}

static void set_ready(struct spare *s, const char *from)
{
    const struct disk_ops *ops = s->options.disk->ops;
    int error = ops->rename(s->options.disk, from, SPARE_NAME);

    must(s, from, "rename", 0, error);
    /* Durable before its content changes: the old name must not come back with the new content. */
    error = ops->sync_dir(s->options.disk);
    must(s, from, "sync of the directory", 0, error);
    pthread_mutex_lock(&s->lock);
    s->ready = true;
    s->full = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void do_drop(struct spare *s, const struct drop *d)
{
    const struct disk_ops *ops = s->options.disk->ops;
    bool recycle;

    pthread_mutex_lock(&s->lock);
    recycle = d->recyclable && !s->ready;
    pthread_mutex_unlock(&s->lock);
    if (recycle) {
        set_ready(s, d->name);
        return;
    }
    must(s, d->name, "unlink", 0, ops->unlink(s->options.disk, d->name));
    must(s, d->name, "sync of the directory", 0, ops->sync_dir(s->options.disk));
}

/* Space that only half of a spare found is needed by others. Nothing of it counts yet, so nothing is in doubt. */
static void leave_unmade(struct spare *s)
{
    const struct disk_ops *ops = s->options.disk->ops;

    if (s->file) {
        ops->close(s->file);
        s->file = NULL;
        must(s, SPARE_TMP_NAME, "unlink", 0, ops->unlink(s->options.disk, SPARE_TMP_NAME));
    }
    pthread_mutex_lock(&s->lock);
    s->full = true;
    pthread_mutex_unlock(&s->lock);
}

/* An error that is no more than a full disk; any other ends the process. */
static bool found_full(struct spare *s, const char *what, int error)
{
    if (disk_is_full(error)) {
        leave_unmade(s);
        return true;
    }
    must(s, SPARE_TMP_NAME, what, s->done, error);
    return false;
}

/* One step nearer to a spare. All of it is allocated first: so a full disk is found before anything is written. */
static void make_step(struct spare *s)
{
    static const uint8_t zeroes[SPARE_STEP_BYTES];
    const struct disk_ops *ops = s->options.disk->ops;
    uint64_t left;
    size_t step;

    if (!s->file) {
        s->done = 0;
        if (found_full(s, "create", ops->open(s->options.disk, SPARE_TMP_NAME, DISK_CREATE, &s->file)) ||
            found_full(s, "allocate", ops->allocate(s->file, s->options.bytes)))
            return;
    }
    left = s->options.bytes - s->done;
    step = left < sizeof zeroes ? (size_t)left : sizeof zeroes;
    if (found_full(s, "write", ops->write(s->file, s->done, zeroes, step)) ||
        found_full(s, "sync", ops->sync(s->file)))
        return;
    s->done += step;
    if (s->done < s->options.bytes)
        return;
    ops->close(s->file);
    s->file = NULL;
    set_ready(s, SPARE_TMP_NAME);
}

void wal_spare_make(struct spare *s)
{
    if (s->ready)
        return;
    do
        make_step(s);
    while (s->file);
}

/* A look at the disk that fails changes nothing: who writes to it will find out. */
static void look(struct spare *s)
{
    uint64_t free_bytes = 0;
    int error = s->options.disk->ops->space(s->options.disk, &free_bytes);

    pthread_mutex_lock(&s->lock);
    if (!error)
        s->free_bytes = free_bytes;
    pthread_mutex_unlock(&s->lock);
}

static void wait_ns(struct spare *s, int64_t ns)
{
    int64_t until = clock_monotonic_ns() + ns;
    struct timespec at = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};

    pthread_cond_timedwait(&s->changed, &s->lock, &at);
}

static void *spare_main(void *arg)
{
    struct spare *s = arg;
    bool due;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        due = clock_monotonic_ns() >= s->look_at_ns;
        if (due) {
            s->look_at_ns = clock_monotonic_ns() + LOOK_NS;
            pthread_mutex_unlock(&s->lock);
            look(s);
            pthread_mutex_lock(&s->lock);
        }
        if (s->drop_count) {
            struct drop d = s->drops[0];
            s->drop_count--;
            memmove(s->drops, s->drops + 1, s->drop_count * sizeof d);
            pthread_mutex_unlock(&s->lock);
            do_drop(s, &d);
            pthread_mutex_lock(&s->lock);
        } else if (s->stopping) {
            break;
        } else if (!s->ready && (due || s->file || !s->full)) {
            pthread_mutex_unlock(&s->lock);
            make_step(s);
            pthread_mutex_lock(&s->lock);
        } else {
            wait_ns(s, s->look_at_ns - clock_monotonic_ns());
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void forget(struct spare *s, const char *name)
{
    int error = s->options.disk->ops->unlink(s->options.disk, name);

    if (error != -ENOENT)
        must(s, name, "unlink", 0, error);
}

void wal_spare_start(const struct spare_options *options, struct spare **ret_spare)
{
    const struct disk_ops *ops = options->disk->ops;
    struct spare *s = mem_zero(sizeof *s);
    struct disk_file *f = NULL;
    uint64_t size = 0;
    pthread_condattr_t attr;
    int error;

    *ret_spare = s;
    s->options = *options;
    s->free_bytes = UINT64_MAX;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    look(s);
    forget(s, SPARE_TMP_NAME);
    /* A spare of an earlier process is as good as one of ours if it has the size: only that counts.
     */
    error = ops->open(options->disk, SPARE_NAME, 0, &f);
    if (error != -ENOENT) {
        must(s, SPARE_NAME, "open", 0, error);
        must(s, SPARE_NAME, "size", 0, ops->size(f, &size));
        ops->close(f);
        s->ready = size == options->bytes;
        if (!s->ready)
            forget(s, SPARE_NAME);
    }
    if (!options->synchronous) {
        error = pthread_create(&s->thread, NULL, spare_main, s);
        must(s, SPARE_NAME, "thread", 0, -error);
    }
}

bool wal_spare_take(struct spare *s, const char *name)
{
    bool ready;
    int error = 0;

    pthread_mutex_lock(&s->lock);
    ready = s->ready;
    if (ready) {
        error = s->options.disk->ops->rename(s->options.disk, SPARE_NAME, name);
        s->ready = false;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    must(s, SPARE_NAME, "rename", 0, error);
    return ready;
}

void wal_spare_drop(struct spare *s, const char *name, bool recyclable)
{
    struct drop d = {.recyclable = recyclable};

    snprintf(d.name, sizeof d.name, "%s", name);
    if (s->options.synchronous) {
        do_drop(s, &d);
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->drops = mem_grow(s->drops, &s->drop_cap, s->drop_count + 1, sizeof d);
    s->drops[s->drop_count++] = d;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void wal_spare_get_space(struct spare *s, uint64_t *ret_free, bool *ret_ready, bool *ret_full)
{
    if (s->options.synchronous)
        look(s);
    pthread_mutex_lock(&s->lock);
    *ret_free = s->free_bytes;
    *ret_ready = s->ready;
    *ret_full = !s->ready && (s->full || s->free_bytes < s->options.bytes);
    pthread_mutex_unlock(&s->lock);
}

bool wal_spare_await(struct spare *s)
{
    bool go_on;

    pthread_mutex_lock(&s->lock);
    s->full = !s->ready;
    if (!s->ready && !s->given_up)
        wait_ns(s, AWAIT_NS);
    go_on = !s->given_up;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

void wal_spare_give_up(struct spare *s)
{
    pthread_mutex_lock(&s->lock);
    s->given_up = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void wal_spare_stop(struct spare *s)
{
    if (!s)
        return;
    if (!s->options.synchronous) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    if (s->file)
        s->options.disk->ops->close(s->file);
    free(s->drops);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}
