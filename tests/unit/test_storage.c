/* SPDX-License-Identifier: Apache-2.0 */
/* What a start does about damage, by how many voters there are. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftd/storage.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

struct fixture {
    char path[64];
    struct disk *disk;
    struct data_dir dir;
    struct storage files;
    struct error error;
};

static void fixture_close(struct fixture *f)
{
    wal_close(f->files.wal);
    mvcc_close(f->files.store);
    if (f->disk)
        f->disk->ops->free(f->disk);
    f->disk = NULL;
    data_dir_close(&f->dir);
    f->files = (struct storage){0};
}

static void tell_fn(void *arg, enum log_level level, const char *what, const char *why)
{
    (void)arg;
    (void)level;
    (void)what;
    (void)why;
}

static void fixture_open_dir(struct fixture *f)
{
    assert_int_equal(data_dir_open(&f->dir, f->path, 1, &f->error), ST_OK);
    assert_int_equal(disk_posix_open(f->dir.wal_path, &f->disk, &f->error), ST_OK);
    f->files = (struct storage){.dir = &f->dir,
                                .store_options = {.memtable_bytes = 1 << 20, .seal_entries = 1000, .no_sync = true},
                                .wal_options = {.disk = f->disk, .cluster_id = 7, .member_id = 1, .segment_bytes = WAL_SEGMENT_BYTES},
                                .tell_fn = tell_fn};
}

/* A member that was born with so many founders, and ended. */
static void fixture_init(struct fixture *f, unsigned founders)
{
    char text[] = "http://a:1", *url[] = {text};
    struct members members = {0};

    *f = (struct fixture){0};
    assert_true(temp_dir_make(f->path, sizeof f->path, "storage"));
    for (unsigned i = 1; i <= founders; i++)
        assert_int_equal(members_add(&members, i, "", url, 1), ST_OK);
    fixture_open_dir(f);
    assert_int_equal(data_dir_begin(&f->dir, 7, 1, &members, &f->error), ST_OK);
    members_fini(&members);
    assert_int_equal(storage_open(&f->files, &f->error), ST_OK);
}

static void fixture_fini(struct fixture *f)
{
    char command[128];

    fixture_close(f);
    snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
}

static void reopen_dir(struct fixture *f)
{
    fixture_close(f);
    fixture_open_dir(f);
}

static void note_voters(struct fixture *f, uint64_t index, unsigned count)
{
    voters_note(&f->dir.voters, index, count);
    assert_int_equal(voters_save(&f->dir.voters, f->dir.member_fd, &f->error), ST_OK);
}

/* ---- the number ---- */

static void the_newest_number_is_kept(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 3);
    assert_int_equal(f.dir.voters.count, 3);
    note_voters(&f, 10, 4);
    note_voters(&f, 20, 2);
    reopen_dir(&f);
    assert_int_equal(f.dir.voters.count, 2);
    note_voters(&f, 10, 4); /* the log is applied again */
    reopen_dir(&f);
    assert_int_equal(f.dir.voters.count, 2);
    note_voters(&f, 21, 3);
    reopen_dir(&f);
    assert_int_equal(f.dir.voters.count, 3);
    fixture_fini(&f);
}

static void a_number_that_cannot_be_kept_counts_and_is_kept_later(void **state)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct fixture f;

    (void)state;
    fixture_init(&f, 3);
    voters_note(&f.dir.voters, 5, 1);
    assert_int_not_equal(voters_save(&f.dir.voters, fd, &f.error), ST_OK);
    assert_false(storage_can_heal(&f.files));
    voters_note(&f.dir.voters, 6, 1);
    assert_int_equal(voters_save(&f.dir.voters, f.dir.member_fd, &f.error), ST_OK);
    reopen_dir(&f);
    assert_int_equal(f.dir.voters.count, 1);
    close(fd);
    fixture_fini(&f);
}

static void a_damaged_number_is_refused(void **state)
{
    struct fixture f;
    int fd;

    (void)state;
    fixture_init(&f, 3);
    note_voters(&f, 10, 1);
    fd = openat(f.dir.member_fd, "voters", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\3", 1, 24), 1);
    close(fd);
    fixture_close(&f);
    assert_int_equal(data_dir_open(&f.dir, f.path, 1, &f.error), ST_CORRUPT);
    assert_non_null(strstr(f.error.text, "member/voters: damaged"));
    fixture_fini(&f);
}

static void of_a_joint_configuration_the_smaller_half_counts(void **state)
{
    struct raft_conf conf = {.voter_count = 3};

    (void)state;
    assert_int_equal(members_voters(&conf), 3);
    conf.outgoing_count = 1;
    assert_int_equal(members_voters(&conf), 1);
    conf.outgoing_count = 5;
    assert_int_equal(members_voters(&conf), 3);
}

/* ---- what it decides ---- */

static void one_founder_that_has_others_now_heals(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    assert_false(storage_can_heal(&f.files));
    note_voters(&f, 10, 3);
    assert_true(storage_can_heal(&f.files));
    assert_int_equal(data_dir_note_damage(&f.dir, "revision 8", &f.error), ST_OK);
    reopen_dir(&f);
    assert_int_equal(storage_open(&f.files, &f.error), ST_OK);
    assert_false(f.dir.has_damage);
    fixture_fini(&f);
}

static void nothing_fn(void *arg)
{
    (void)arg;
}

static void fail_fn(void *arg, const char *text)
{
    (void)arg;
    fail_msg("%s", text);
}

/* What was acknowledged by installing a snapshot may have been in the store alone, and the log looks whole without it. */
static void with_the_store_go_the_promises_of_the_log(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 3);
    reopen_dir(&f);
    f.files.wal_options.synchronous = true;
    f.files.wal_options.wake_fn = nothing_fn;
    f.files.wal_options.fail_fn = fail_fn;
    assert_int_equal(storage_open(&f.files, &f.error), ST_OK);
    wal_start(f.files.wal);
    wal_append(f.files.wal, &(struct raft_hard_state){4, 1, 0}, NULL, 0, true);
    assert_int_equal(data_dir_log_begun(&f.dir, &f.error), ST_OK);
    assert_int_equal(data_dir_note_damage(&f.dir, "revision 8", &f.error), ST_OK);
    for (unsigned i = 0; i < 2; i++) { /* for ever */
        reopen_dir(&f);
        assert_int_equal(storage_open(&f.files, &f.error), ST_OK);
        assert_int_equal(f.files.store_dir.generation, 1);
        assert_int_equal(wal_lost_term(f.files.wal), 4);
        wal_start(f.files.wal);
    }
    fixture_fini(&f);
}

static void one_that_is_left_of_three_refuses_and_says_what(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 3);
    assert_int_equal(data_dir_note_damage(&f.dir, "revision 8,\nchange 0, in x.tdb", &f.error), ST_OK);
    note_voters(&f, 10, 2);
    reopen_dir(&f);
    assert_int_equal(storage_open(&f.files, &f.error), ST_CORRUPT);
    assert_non_null(strstr(f.error.text, "revision 8, change 0, in x.tdb"));
    assert_true(f.dir.has_damage);
    fixture_fini(&f);
}

static void who_is_forced_to_go_on_alone_lives_with_a_bad_record(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 3);
    assert_int_equal(data_dir_note_damage(&f.dir, "revision 8", &f.error), ST_OK);
    reopen_dir(&f);
    f.files.alone = true;
    assert_int_equal(storage_open(&f.files, &f.error), ST_OK);
    assert_int_equal(f.files.store_dir.generation, 0); /* not an empty one in its place */
    reopen_dir(&f);
    assert_false(f.dir.has_damage);
    fixture_fini(&f);
}

/* What is decreed is in force with the first round: that it is alone is on disk before. */
static void who_goes_on_alone_has_that_on_disk_before(void **state)
{
    struct node_options o = {.cluster_id = 7, .member_id = 1, .tick_ns = 1, .election_ticks = 10, .inflight_messages_max = 1, .bounds = NODE_BOUNDS, .force_new_cluster = true};
    struct node *node = NULL;
    struct raft_status st;
    struct fixture f;

    (void)state;
    fixture_init(&f, 3);
    reopen_dir(&f);
    o.initial = &f.dir.initial;
    f.files.alone = true;
    f.files.wal_options.synchronous = true;
    f.files.wal_options.wake_fn = nothing_fn;
    f.files.wal_options.fail_fn = fail_fn;
    assert_int_equal(storage_open(&f.files, &f.error), ST_OK);
    assert_int_equal(storage_open_node(&f.files, &o, &node, &f.error), ST_OK);
    node_get_raft_status(node, &st);
    node_free(node);
    reopen_dir(&f);
    assert_int_equal(f.dir.voters.count, 1);
    assert_true(f.dir.voters.index == st.last && st.last >= 2); /* two were removed */
    fixture_fini(&f);
}

/* A checkpoint with this state, as a member leaves it. */
static void seal(struct fixture *f, uint64_t index, struct slice node_state)
{
    struct mvcc_seal *seal;
    uint64_t at, term;

    mvcc_begin(f->files.store, index, 1, 0);
    mvcc_end(f->files.store);
    seal = mvcc_seal_begin(f->files.store, node_state);
    assert_non_null(seal);
    assert_int_equal(mvcc_seal_write(seal, &f->error), ST_OK);
    assert_int_equal(mvcc_seal_end(f->files.store, seal, &at, &term, &f->error), ST_OK);
}

static void a_directory_without_a_number_learns_it_from_the_store(void **state)
{
    char text[] = "http://a:1", *url[] = {text};
    struct members members = {0};
    struct buf b = {0};
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(members_add(&members, i, "", url, 1), ST_OK);
    members_encode(&members, &b);
    seal(&f, 1, buf_slice(&b));
    reopen_dir(&f);
    assert_int_equal(f.dir.voters.count, 1);
    assert_int_equal(storage_open(&f.files, &f.error), ST_CORRUPT); /* there never was a log, and no promise */
    assert_int_equal(f.dir.voters.count, 3);
    assert_true(f.dir.voters.is_unsaved);
    buf_fini(&b);
    members_fini(&members);
    fixture_fini(&f);
}

static unsigned count_entries(const char *path, const char *prefix)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    unsigned count = 0;

    assert_non_null(dir);
    while ((e = readdir(dir)))
        count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return count;
}

static void a_log_that_does_not_reach_the_store_is_refused_where_nobody_else_is(void **state)
{
    char text[] = "http://a:1", *url[] = {text};
    struct members members = {0};
    struct node_options o = {.cluster_id = 7, .member_id = 1, .tick_ns = 1, .election_ticks = 10};
    struct node *node = NULL;
    struct buf b = {0};
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    assert_int_equal(members_add(&members, 1, "", url, 1), ST_OK);
    members_encode(&members, &b);
    seal(&f, 1, buf_slice(&b));
    assert_int_equal(storage_open_node(&f.files, &o, &node, &f.error), ST_CORRUPT);
    assert_non_null(strstr(f.error.text, "log: does not hold entry 1"));
    assert_null(node);
    assert_false(f.dir.has_log);
    assert_int_equal(count_entries(f.dir.wal_path, "damaged-"), 0);
    buf_fini(&b);
    members_fini(&members);
    fixture_fini(&f);
}

static void members_that_cannot_be_read_are_damage_of_the_store(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    seal(&f, 1, slice_of("\377\377nonsense", 10));
    reopen_dir(&f);
    assert_int_equal(storage_open(&f.files, &f.error), ST_CORRUPT);
    assert_non_null(strstr(f.error.text, "the members in the newest segment"));
    assert_int_equal(count_entries(f.dir.member_path, "damaged-store."), 0);
    note_voters(&f, 1, 3);
    reopen_dir(&f);
    assert_int_equal(storage_open(&f.files, &f.error), ST_OK);
    assert_int_equal(mvcc_applied_index(f.files.store), 0);
    assert_int_equal(count_entries(f.dir.member_path, "damaged-store."), 1);
    assert_int_equal(count_entries(f.dir.wal_path, "damaged-"), 0);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_number_is_kept),
        cmocka_unit_test(a_number_that_cannot_be_kept_counts_and_is_kept_later),
        cmocka_unit_test(a_damaged_number_is_refused),
        cmocka_unit_test(of_a_joint_configuration_the_smaller_half_counts),
        cmocka_unit_test(one_founder_that_has_others_now_heals),
        cmocka_unit_test(with_the_store_go_the_promises_of_the_log),
        cmocka_unit_test(one_that_is_left_of_three_refuses_and_says_what),
        cmocka_unit_test(a_log_that_does_not_reach_the_store_is_refused_where_nobody_else_is),
        cmocka_unit_test(who_is_forced_to_go_on_alone_lives_with_a_bad_record),
        cmocka_unit_test(members_that_cannot_be_read_are_damage_of_the_store),
        cmocka_unit_test(who_goes_on_alone_has_that_on_disk_before),
        cmocka_unit_test(a_directory_without_a_number_learns_it_from_the_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
