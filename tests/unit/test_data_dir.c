/* SPDX-License-Identifier: Apache-2.0 */
/* What stands of a member's directory when the power goes; by the book of what a disk would hold: unsynced.h. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftd/data_dir.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"
#include "tests/unit/unsynced.h"

static char root[200];
static struct unsynced *book;
static struct error failure;

static int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(root, sizeof root, "data-dir"));
    book = unsynced_new(root);
    return chdir(root);
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    unsynced_free(book);
    temp_dir_remove(root);
    return 0;
}

/* As a first start does. */
static void be_born(const char *path)
{
    char text[] = "http://a:1", *url[] = {text};
    struct members members = {0};
    struct data_dir d;

    assert_int_equal(members_add(&members, 1, "", url, 1), ST_OK);
    if (data_dir_open(&d, path, 1, &failure) != ST_OK)
        fail_msg("%s", failure.text);
    assert_true(d.is_new);
    assert_int_equal(data_dir_begin(&d, 7, 1, &members, &failure), ST_OK);
    members_fini(&members);
    data_dir_close(&d);
}

static void assert_durable(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", root, name);
    if (!unsynced_has_name(book, path))
        fail_msg("%s: the name is not durable", path);
}

static void assert_all_durable(void)
{
    assert_durable("data");
    assert_durable("data/member");
    assert_durable("data/member/identity");
}

static void a_member_that_was_born_is_durable_from_its_directory_s_name_on(void **state)
{
    static const char *const relative[] = {"data", "data/", "data///"};
    char path[300];

    for (size_t i = 0; i < 2 * (sizeof relative / sizeof *relative); i++) {
        snprintf(path, sizeof path, "%s%s%s", i % 2 ? root : "", i % 2 ? "/" : "", relative[i / 2]);
        assert_false(unsynced_has_name(book, "data")); /* in the book */
        be_born(path);
        assert_all_durable();
        tear_down(state);
        set_up(state);
    }
}

/* The process that made it was killed at once: nobody synced its name. */
static void so_is_one_that_was_born_where_a_directory_was(void **state)
{
    (void)state;
    assert_int_equal(mkdir("data", 0700), 0);
    assert_false(unsynced_has_name(book, "data"));
    be_born("data");
    assert_all_durable();
}

/* Before any call: there is nobody, or a member. */
static void a_power_cut_while_it_is_born_leaves_it_or_nobody(void **state)
{
    struct data_dir d;
    bool is_over = true;

    for (unsigned calls = 0; is_over; calls++)
        for (uint64_t seed = 0; seed < 12; seed++) {
            unsynced_end(book, true, seed, calls);
            be_born("data");
            is_over = unsynced_is_over(book);
            unsynced_settle(book);
            assert_int_equal(data_dir_open(&d, "data", 1, &failure), ST_OK);
            assert_true(d.is_new ? is_over : d.member_id == 1);
            data_dir_close(&d);
            tear_down(state);
            set_up(state);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_member_that_was_born_is_durable_from_its_directory_s_name_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_is_one_that_was_born_where_a_directory_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_power_cut_while_it_is_born_leaves_it_or_nobody, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
