/* SPDX-License-Identifier: Apache-2.0 */
/* The writer thread and the real disk: tickets, group commit, rolling and recycling while batches
 * arrive. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/mem.h"
#include "raftd/wal/wal.h"
#include "tests/unit/temp_dir.h"

struct place {
    char path[64];
    struct disk *disk;
    pthread_mutex_t lock;
    pthread_cond_t woken;
};

static void on_wake(void *arg)
{
    struct place *p = arg;

    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->woken);
    pthread_mutex_unlock(&p->lock);
}

/* A log that is to fail, in a process of its own: it ends when its owner has ordered something more. */
static _Atomic bool must_fail, has_failed, has_ordered;

static void on_failure(void *arg, const char *text)
{
    (void)arg;
    if (atomic_load(&must_fail)) {
        atomic_store(&has_failed, true);
        while (!atomic_load(&has_ordered))
            sched_yield();
        _exit(0);
    }
    fprintf(stderr, "%s\n", text);
    abort();
}

static int set_up(void **state)
{
    struct place *p = mem_zero(sizeof *p);

    assert_true(temp_dir_make(p->path, sizeof p->path, "wal"));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->woken, NULL);
    assert_int_equal(disk_posix_open(p->path, &p->disk, NULL), ST_OK);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    DIR *dir = opendir(p->path);
    struct dirent *e;

    while ((e = readdir(dir)))
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    assert_int_equal(rmdir(p->path), 0);
    p->disk->ops->free(p->disk);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->woken);
    free(p);
    return 0;
}

static struct wal *open_log(struct place *p, uint64_t segment_bytes)
{
    struct wal_options options = {.disk = p->disk,
                                  .cluster_id = 1,
                                  .member_id = 2,
                                  .segment_bytes = segment_bytes,
                                  .wake_fn = on_wake,
                                  .fail_fn = on_failure,
                                  .arg = p};
    struct error error;
    struct wal *w = NULL;
    bool new;

    if (wal_open(&options, &w, &new, &error) != ST_OK)
        fail_msg("%s", error.text);
    return w;
}

static void wait_for(struct place *p, struct wal *w, uint64_t ticket)
{
    pthread_mutex_lock(&p->lock);
    while (wal_durable(w) < ticket)
        pthread_cond_wait(&p->woken, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static uint64_t append(struct wal *w, raft_index index, uint32_t len)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NORMAL, len);
    uint64_t ticket;

    e->index = index;
    e->term = 1;
    memset(e->data, (int)(index & 255), len);
    ticket = wal_append(w, NULL, &e, 1, true);
    raft_entry_unref(e);
    return ticket;
}

/* Durable, or it never will be. */
static void wait_or_fail(const struct wal *w, uint64_t ticket)
{
    while (wal_durable(w) < ticket && !atomic_load(&has_failed))
        sched_yield();
}

static void check_replay(struct wal *w, raft_index begin, raft_index last, uint32_t len)
{
    struct raft_entry **entries = NULL;
    struct raft_hard_state hard;
    raft_index found;
    raft_term term;
    size_t count;

    wal_get_begin(w, &found, &term);
    assert_int_equal(found, begin);
    assert_int_equal(wal_replay(w, begin, &hard, &entries, &count, NULL), ST_OK);
    assert_int_equal(begin + count, last);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i]->index, begin + i + 1);
        assert_int_equal(entries[i]->len, len);
        assert_int_equal(entries[i]->data[len - 1], (begin + i + 1) & 255);
        raft_entry_unref(entries[i]);
    }
    free(entries);
}

static void fail_and_order_more(struct place *p)
{
    const struct rlimit limit = {64 << 10, 64 << 10}; /* what is written behind it fails */
    struct wal *w = open_log(p, 1 << 20);
    raft_index index = 0;

    atomic_store(&must_fail, true);
    signal(SIGXFSZ, SIG_IGN);
    wal_start(w);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        _exit(1);
    alarm(60);
    while (!atomic_load(&has_failed))
        wait_or_fail(w, append(w, ++index, 1000));
    append(w, ++index, 1000);
    wal_release(w, index, 1);
    atomic_store(&has_ordered, true);
    for (;;)
        pause();
}

/* The writer says so, and then ends the process; what the owner orders between the two is no reason for another end. */
static void what_is_ordered_of_a_log_that_has_failed_is_never_written(void **state)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (!child)
        fail_and_order_more(*state);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void many_batches_share_a_sync_and_tickets_grow_in_order(void **state)
{
    enum { BATCHES = 2000 };
    struct place *p = *state;
    struct wal *w = open_log(p, 1 << 20);
    uint64_t before = 0, now;
    struct wal_stats stats;

    wal_start(w);
    for (raft_index i = 1; i <= BATCHES; i++) {
        assert_int_equal(append(w, i, 100), i);
        now = wal_durable(w);
        assert_true(now >= before && now <= i);
        before = now;
    }
    wait_for(p, w, BATCHES);
    wal_get_stats(w, &stats);
    assert_int_equal(stats.batches, BATCHES);
    assert_true(stats.syncs < BATCHES);
    assert_true(stats.bytes > BATCHES * 100);
    wal_close(w);
    w = open_log(p, 1 << 20);
    check_replay(w, 0, BATCHES, 100);
    wal_close(w);
}

static void segments_roll_and_recycle_under_load(void **state)
{
    enum { BATCHES = 3000, KEEP = 200 };
    struct place *p = *state;
    struct wal *w = open_log(p, 32 << 10);
    struct wal_stats stats;
    uint64_t ticket = 0;

    wal_start(w);
    for (raft_index i = 1; i <= BATCHES; i++) {
        ticket = append(w, i, 300);
        if (i % 100 == 0)
            wait_for(p, w, ticket);
        if (i % 100 == 0 && i > KEEP)
            wal_release(w, i - KEEP, 1);
    }
    wait_for(p, w, ticket);
    ticket = append(w, BATCHES + 1, 300); /* behind the last release */
    wait_for(p, w, ticket);
    wal_get_stats(w, &stats);
    assert_true(stats.segments >= 2 && stats.segments <= 8); /* of some thirty */
    wal_close(w);
    w = open_log(p, 32 << 10);
    check_replay(w, BATCHES - KEEP, BATCHES + 1, 300);
    wal_close(w);
}

static void closing_stores_what_was_queued(void **state)
{
    struct place *p = *state;

    for (raft_index i = 1; i <= 20; i++) {
        struct wal *w = open_log(p, 64 << 10);
        wal_start(w);
        append(w, i, 10);
        wal_close(w);
    }
    struct wal *w = open_log(p, 64 << 10);
    check_replay(w, 0, 20, 10);
    wal_close(w);
}

/* ---- a full disk: the real one, but nothing can be made or grow on it ---- */

static _Atomic bool full;
static const struct disk_ops *real_ops;

static int full_open(struct disk *d, const char *name, int flags, struct disk_file **ret_file)
{
    return full && flags & DISK_CREATE ? -ENOSPC : real_ops->open(d, name, flags, ret_file);
}

static int full_allocate(struct disk_file *f, uint64_t len)
{
    return full ? -ENOSPC : real_ops->allocate(f, len);
}

/* A log of small segments on a disk that is full by now. */
static struct wal *open_full(struct place *p)
{
    static struct disk_ops ops;
    struct wal *w;

    real_ops = p->disk->ops;
    ops = *real_ops;
    ops.open = full_open;
    ops.allocate = full_allocate;
    p->disk->ops = &ops;
    full = false;
    w = open_log(p, 32 << 10);
    wal_start(w);
    full = true;
    return w;
}

/* The log looks at the disk once a second, and tells nobody. */
static bool look_again(struct place *p)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += 5000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_mutex_lock(&p->lock);
    pthread_cond_timedwait(&p->woken, &p->lock, &at);
    pthread_mutex_unlock(&p->lock);
    return true;
}

static struct wal_space wait_until_full(struct place *p, struct wal *w)
{
    struct wal_space space;

    do
        wal_get_space(w, &space);
    while (!space.is_full && look_again(p));
    return space;
}

/* More than there is room for; returns the last ticket. Room and reserve take less than `most` entries. */
static uint64_t fill_beyond(struct place *p, struct wal *w, raft_index most)
{
    uint64_t ticket = 0;

    for (raft_index i = 1; i <= most; i++)
        ticket = append(w, i, 1000);
    wait_for(p, w, 30); /* one segment's worth was there before */
    wait_until_full(p, w);
    assert_true(wal_durable(w) < most);
    return ticket;
}

static void on_a_full_disk_the_log_waits_and_loses_nothing(void **state)
{
    struct place *p = *state;
    struct wal *w = open_full(p);
    uint64_t last = fill_beyond(p, w, 200);
    struct wal_space space;

    wal_get_space(w, &space);
    assert_true(space.is_full && space.room_bytes == 0);
    full = false;
    wait_for(p, w, last);
    do
        wal_get_space(w, &space);
    while ((space.is_full || space.room_bytes < 30000) && look_again(p)); /* there is a reserve again */
    wal_close(w);
    w = open_log(p, 32 << 10);
    check_replay(w, 0, 200, 1000);
    wal_close(w);
}

static void what_fits_into_the_room_is_stored_on_a_full_disk(void **state)
{
    struct place *p = *state;
    struct wal *w = open_full(p);
    struct wal_space space;
    raft_index last = 0;

    wal_get_space(w, &space);
    while (space.room_bytes > 2000) {
        wait_for(p, w, append(w, ++last, 1000));
        wal_get_space(w, &space);
    }
    wal_close(w);
}

static void closing_on_a_full_disk_keeps_what_was_acknowledged(void **state)
{
    struct place *p = *state;
    struct wal *w = open_full(p);
    struct raft_entry **entries = NULL;
    struct raft_hard_state hard;
    uint64_t durable;
    size_t count;

    fill_beyond(p, w, 200);
    durable = wal_durable(w);
    wal_close(w);
    w = open_log(p, 32 << 10);
    assert_int_equal(wal_replay(w, 0, &hard, &entries, &count, NULL), ST_OK);
    assert_true(count >= durable && count < 200);
    for (size_t i = 0; i < count; i++)
        raft_entry_unref(entries[i]);
    free(entries);
    wal_start(w); /* a start needs no space */
    wal_close(w);
}

static void a_directory_that_others_can_enter_is_refused(void **state)
{
    struct place *p = *state;
    struct error error;
    struct disk *d;
    char path[80];

    assert_int_equal(chmod(p->path, 0750), 0);
    assert_int_equal(disk_posix_open(p->path, &d, &error), ST_BAD_ARGUMENT);
    assert_int_equal(chmod(p->path, 0700), 0);
    snprintf(path, sizeof path, "%s.link", p->path);
    assert_int_equal(symlink(p->path, path), 0);
    assert_int_equal(disk_posix_open(path, &d, &error), ST_BAD_ARGUMENT);
    assert_int_equal(unlink(path), 0);
}

static void a_file_that_is_a_link_or_open_to_others_is_refused(void **state)
{
    struct place *p = *state;
    struct disk_file *f = NULL;
    char path[80];

    assert_int_equal(p->disk->ops->open(p->disk, "a", DISK_CREATE | DISK_EXCLUSIVE, &f), 0);
    p->disk->ops->close(f);
    snprintf(path, sizeof path, "%s/b", p->path);
    assert_int_equal(symlink("a", path), 0);
    assert_true(p->disk->ops->open(p->disk, "b", 0, &f) < 0);
    snprintf(path, sizeof path, "%s/a", p->path);
    assert_int_equal(chmod(path, 0640), 0);
    assert_true(p->disk->ops->open(p->disk, "a", 0, &f) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_ordered_of_a_log_that_has_failed_is_never_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_batches_share_a_sync_and_tickets_grow_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(segments_roll_and_recycle_under_load, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_stores_what_was_queued, set_up, tear_down),
        cmocka_unit_test_setup_teardown(on_a_full_disk_the_log_waits_and_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fits_into_the_room_is_stored_on_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_on_a_full_disk_keeps_what_was_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_directory_that_others_can_enter_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_a_link_or_open_to_others_is_refused, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
