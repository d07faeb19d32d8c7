/* SPDX-License-Identifier: Apache-2.0 */
/* Who may speak, by what the members' table says and by who was met. */
#include "raftd/roster.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "raftd/met.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

static struct members members;
static char dir[64];
static int dir_fd;
static struct roster *roster;
static struct storage_job *job; /* what the storage thread has to do */

/* ---- what the roster calls ---- */

const struct members *node_members(const struct node *n)
{
    (void)n;
    return &members;
}

void peers_put(struct peers *p, uint64_t member_id, const struct url *urls, unsigned url_count)
{
    (void)p;
    (void)member_id;
    (void)urls;
    (void)url_count;
}

void peers_keep(struct peers *p, const uint64_t *member_ids, unsigned count)
{
    (void)p;
    (void)member_ids;
    (void)count;
}

void peers_judge_again(struct peers *p)
{
    (void)p;
}

void storage_thread_submit(struct storage_thread *t, struct storage_job *submitted)
{
    (void)t;
    assert_null(job);
    job = submitted;
}

static void fail_fn(void *arg, const char *text)
{
    (void)arg;
    fail_msg("%s", text);
}

static void end_fn(void *arg, int exit_status, int64_t delay_ns, const char *why)
{
    (void)arg;
    (void)exit_status;
    (void)delay_ns;
    fail_msg("%s", why);
}

/* ---- */

static void start(void)
{
    struct roster_options o = {.dir_fd = dir_fd, .member_id = 1, .incarnation = 10, .end_fn = end_fn, .fail_fn = fail_fn};
    struct error error;

    assert_int_equal(roster_open(&o, &roster, &error), ST_OK);
}

/* The table of members is as the last checkpoint has it; what came after is in the log, and not applied yet. */
static void restart(void)
{
    roster_free(roster);
    start();
}

static void let_storage_work(void)
{
    struct storage_job *j = job;

    assert_non_null(j);
    job = NULL;
    j->run_fn(j);
    j->done_fn(j);
}

static int set_up(void **state)
{
    char text[] = "http://a:1", *url[] = {text};

    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "roster"));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    members = (struct members){0};
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(members_add(&members, i, "", url, 1), ST_OK);
    start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    roster_free(roster);
    free(job);
    job = NULL;
    members_fini(&members);
    close(dir_fd);
    temp_dir_remove(dir);
    return 0;
}

static void who_is_new_is_heard_once_that_is_durable(void **state)
{
    (void)state;
    assert_int_equal(roster_judge(roster, 2, 77), PEER_LATER);
    assert_int_equal(roster_judge(roster, 2, 77), PEER_LATER);
    let_storage_work();
    assert_int_equal(roster_judge(roster, 2, 77), PEER_WELCOME);
    assert_int_equal(roster_judge(roster, 2, 78), PEER_OTHER_INCARNATION);
    restart();
    assert_int_equal(roster_judge(roster, 2, 77), PEER_WELCOME);
    assert_int_equal(roster_judge(roster, 2, 78), PEER_OTHER_INCARNATION);
}

static void a_record_counts_more_than_a_meeting(void **state)
{
    (void)state;
    assert_int_equal(roster_judge(roster, 2, 78), PEER_LATER);
    let_storage_work();
    members.list[1].incarnation = 77;
    assert_int_equal(roster_judge(roster, 2, 77), PEER_WELCOME);
    assert_int_equal(roster_judge(roster, 2, 78), PEER_OTHER_INCARNATION);
}

static void who_was_known_by_a_record_is_known_before_the_record_is_applied_again(void **state)
{
    (void)state;
    members.list[1].incarnation = 77;
    assert_int_equal(roster_judge(roster, 2, 77), PEER_WELCOME);
    let_storage_work();
    members.list[1].incarnation = 0;
    restart();
    assert_int_equal(roster_judge(roster, 2, 78), PEER_OTHER_INCARNATION);
    assert_int_equal(roster_judge(roster, 2, 77), PEER_WELCOME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_new_is_heard_once_that_is_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_counts_more_than_a_meeting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_was_known_by_a_record_is_known_before_the_record_is_applied_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
