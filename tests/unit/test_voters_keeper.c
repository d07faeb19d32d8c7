/* SPDX-License-Identifier: Apache-2.0 */
/* When the number of voters is on disk, and who waits for that. */
#include "raftd/voters_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/sim/write_errors.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

static char dir[64];
static struct voters voters;
static struct voters_keeper keeper;
static struct storage_job *job; /* what the storage thread has to do */
static unsigned kept;
static int64_t now_ns;

void storage_thread_submit(struct storage_thread *t, struct storage_job *submitted)
{
    (void)t;
    assert_null(job); /* one at a time */
    job = submitted;
}

static void kept_fn(void *arg)
{
    (void)arg;
    assert_false(voters.has_fallen);
    kept++;
}

static void fail_fn(void *arg, const char *text)
{
    (void)arg;
    fail_msg("%s", text);
}

static void done(void)
{
    struct storage_job *j = job;

    assert_non_null(j);
    job = NULL;
    j->done_fn(j);
}

static void written(void)
{
    assert_non_null(job);
    job->run_fn(job);
    done();
}

static void find_no_space(void)
{
    assert_non_null(job);
    write_errors_begin(1, ENOSPC);
    job->run_fn(job);
    write_errors_end();
    done();
}

static struct voters on_disk(void)
{
    struct voters v = {0};
    struct error error;

    assert_int_equal(voters_load(&v, keeper.dir_fd, &error), ST_OK);
    return v;
}

static int set_up(void **state)
{
    struct error error;

    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "voters"));
    voters = (struct voters){.index = 5, .count = 3, .is_unsaved = true};
    job = NULL;
    kept = 0;
    now_ns = NS_PER_S;
    keeper = (struct voters_keeper){.voters = &voters,
                                    .dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                    .kept_fn = kept_fn,
                                    .fail_fn = fail_fn};
    assert_true(keeper.dir_fd >= 0);
    assert_int_equal(voters_save(&voters, keeper.dir_fd, &error), ST_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(job);
    close(keeper.dir_fd);
    temp_dir_remove(dir);
    return 0;
}

static void only_a_lower_number_waits(void **state)
{
    (void)state;
    assert_true(voters_keeper_note(&keeper, 6, 3)); /* a learner came */
    assert_null(job);
    assert_true(voters_keeper_note(&keeper, 7, 4));
    written();
    assert_int_equal(on_disk().count, 4);
    assert_false(voters_keeper_note(&keeper, 8, 3));
    assert_false(voters_keeper_note(&keeper, 8, 3)); /* asked again */
    kept = 0;
    written();
    assert_int_equal(kept, 1);
    assert_true(on_disk().count == 3 && on_disk().index == 8);
    assert_true(voters_keeper_note(&keeper, 8, 3));
    assert_true(voters_keeper_note(&keeper, 7, 4)); /* the log is applied once more */
    assert_null(job);
    voters_keeper_on_tick(&keeper, now_ns);
    assert_null(job);
    assert_int_equal(on_disk().count, 3);
}

static void a_lower_number_during_a_write_is_written_after_it(void **state)
{
    (void)state;
    assert_true(voters_keeper_note(&keeper, 6, 4));
    job->run_fn(job);
    assert_false(voters_keeper_note(&keeper, 7, 3)); /* as many as before: and the file says four */
    done();
    assert_int_equal(kept, 0);
    assert_false(voters_keeper_note(&keeper, 7, 3));
    written();
    assert_int_equal(kept, 1);
    assert_true(on_disk().count == 3 && on_disk().index == 7);
    assert_true(voters_keeper_note(&keeper, 7, 3));
}

/* What is on its way says two already, of an older entry: a replay from there would make it three again. */
static void the_entry_counts_as_much_as_the_number(void **state)
{
    (void)state;
    assert_false(voters_keeper_note(&keeper, 6, 2));
    assert_false(voters_keeper_note(&keeper, 7, 3)); /* both of a snapshot that came meanwhile */
    assert_false(voters_keeper_note(&keeper, 8, 2));
    written();
    assert_int_equal(kept, 0);
    written();
    assert_int_equal(kept, 1);
    assert_true(on_disk().count == 2 && on_disk().index == 8);
}

static void without_space_it_is_tried_again(void **state)
{
    (void)state;
    assert_false(voters_keeper_note(&keeper, 6, 2));
    find_no_space();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kept, 0);
        assert_false(voters_keeper_note(&keeper, 6, 2));
        assert_null(job);
        voters_keeper_on_tick(&keeper, now_ns);
        assert_null(job);
        now_ns += NS_PER_S;
        voters_keeper_on_tick(&keeper, now_ns);
        if (i < 2)
            find_no_space();
        assert_true(on_disk().count == 3 && on_disk().index == 5);
    }
    written();
    assert_int_equal(kept, 1);
    assert_true(on_disk().count == 2 && on_disk().index == 6);
}

static void the_end_waits_for_nobody(void **state)
{
    (void)state;
    assert_false(voters_keeper_note(&keeper, 6, 2));
    free(job); /* the thread ended before it */
    job = NULL;
    voters_keeper_stop(&keeper);
    assert_int_equal(on_disk().count, 2);
    voters_note(&voters, 7, 1);
    write_errors_begin(1, ENOSPC);
    voters_keeper_stop(&keeper);
    write_errors_end();
    assert_int_equal(on_disk().count, 2);
    voters_keeper_stop(&(struct voters_keeper){0}); /* it never began */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_a_lower_number_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lower_number_during_a_write_is_written_after_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_entry_counts_as_much_as_the_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_space_it_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_waits_for_nobody, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
