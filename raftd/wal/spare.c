/* SPDX-License-Identifier: Apache-2.0 */
/* Making and recycling segment files. */
#include "raftd/wal/spare.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "raftd/wal/reader.h"

#define SPARE_NAME       "spare"
#define SPARE_TMP_NAME   "spare.tmp"
#define SPARE_STEP_BYTES (256u << 10)

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
    bool stopping;
    struct disk_file *file; /* being made; the thread's own */
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

/* One step nearer to a spare. */
static void make_step(struct spare *s)
{
    static const uint8_t zeroes[SPARE_STEP_BYTES];
    const struct disk_ops *ops = s->options.disk->ops;
    uint64_t left;
    size_t step;

    if (!s->file) {
        must(s, SPARE_TMP_NAME, "create", 0,
             ops->open(s->options.disk, SPARE_TMP_NAME, DISK_CREATE, &s->file));
        s->done = 0;
    }
    left = s->options.bytes - s->done;
    step = left < sizeof zeroes ? (size_t)left : sizeof zeroes;
    must(s, SPARE_TMP_NAME, "write", s->done, ops->write(s->file, s->done, zeroes, step));
    must(s, SPARE_TMP_NAME, "sync", s->done, ops->sync(s->file));
    s->done += step;
    if (s->done < s->options.bytes)
        return;
    ops->close(s->file);
    s->file = NULL;
    set_ready(s, SPARE_TMP_NAME);
}

static void *spare_main(void *arg)
{
    struct spare *s = arg;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        if (s->drop_count) {
            struct drop d = s->drops[0];
            s->drop_count--;
            memmove(s->drops, s->drops + 1, s->drop_count * sizeof d);
            pthread_mutex_unlock(&s->lock);
            do_drop(s, &d);
            pthread_mutex_lock(&s->lock);
        } else if (s->stopping) {
            break;
        } else if (!s->ready) {
            pthread_mutex_unlock(&s->lock);
            make_step(s);
            pthread_mutex_lock(&s->lock);
        } else {
            pthread_cond_wait(&s->changed, &s->lock);
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
    int error;

    *ret_spare = s;
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
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
    pthread_cond_signal(&s->changed);
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
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void wal_spare_stop(struct spare *s)
{
    if (!s)
        return;
    if (!s->options.synchronous) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        pthread_cond_signal(&s->changed);
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
