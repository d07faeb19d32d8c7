/* SPDX-License-Identifier: Apache-2.0 */
/* Which directory is the store: after every crash just one is, and what cannot be known is refused, not guessed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mvcc/transfer.h"
#include "mvcc/store_dir.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

static char root[64];
static struct store_dir d;
static struct error failure;

static int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(root, sizeof root, "stores"));
    return 0;
}

static void path_of(const char *name, char *out)
{
    snprintf(out, STORE_PATH_BYTES, "%s/%s", root, name);
}

/* A store directory with a file in it. */
static void make(const char *name)
{
    char path[STORE_PATH_BYTES];
    int fd;

    path_of(name, path);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/0000000000000001.tdb");
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool is_there(const char *name)
{
    char path[STORE_PATH_BYTES];

    path_of(name, path);
    return access(path, F_OK) == 0;
}

static int tear_down(void **state)
{
    static const char *const directories[] = {"store", "store.1", "store.2", "storeroom"};
    static const char *const files[] = {"current", "current.tmp"};
    char path[STORE_PATH_BYTES];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        path_of(directories[i], path);
        assert_int_equal(mvcc_remove(path, &failure), ST_OK);
    }
    for (unsigned i = 0; i < 2; i++) {
        path_of(files[i], path);
        unlink(path);
    }
    assert_int_equal(rmdir(root), 0);
    return 0;
}

static enum status reopen(void)
{
    return store_dir_open(&d, root, true, &failure);
}

static void a_new_member_begins_with_generation_0(void **state)
{
    (void)state;
    assert_int_equal(reopen(), ST_OK);
    assert_int_equal(d.generation, 0);
    assert_int_equal(d.installed_index, 0);
    assert_false(d.partial);
    assert_true(is_there("store"));
    assert_false(is_there("current"));
}

static void what_is_being_received_is_kept_and_nothing_else(void **state)
{
    (void)state;
    make("store");
    make("store.1");
    make("store.2");
    make("storeroom"); /* whatever that is, it is not ours */
    assert_int_equal(reopen(), ST_OK);
    assert_int_equal(d.generation, 0);
    assert_true(is_there("store/0000000000000001.tdb"));
    assert_true(is_there("store.1/0000000000000001.tdb"));
    assert_true(d.partial);
    assert_false(is_there("store.2"));
    assert_true(is_there("storeroom"));
}

static void what_is_being_received_is_forgotten_on_demand(void **state)
{
    (void)state;
    make("store");
    make("store.1");
    assert_int_equal(reopen(), ST_OK);
    assert_int_equal(store_dir_forget_partial(&d, &failure), ST_OK);
    assert_false(d.partial);
    assert_false(is_there("store.1"));
    assert_true(is_there("store/0000000000000001.tdb"));
    assert_int_equal(store_dir_forget_partial(&d, &failure), ST_OK); /* there is none */
    assert_int_equal(reopen(), ST_OK);
    assert_false(d.partial);
}

static void what_was_replaced_is_removed(void **state)
{
    struct store_dir next;

    (void)state;
    assert_int_equal(reopen(), ST_OK);
    make("store.1");
    next = d;
    next.generation = 1;
    next.installed_index = 77;
    next.installed_term = 5;
    assert_int_equal(store_dir_write(&next, &failure), ST_OK);
    assert_true(is_there("store")); /* the crash comes here */
    assert_int_equal(reopen(), ST_OK);
    assert_int_equal(d.generation, 1);
    assert_int_equal(d.installed_index, 77);
    assert_int_equal(d.installed_term, 5);
    assert_false(is_there("store"));
    assert_true(is_there("store.1/0000000000000001.tdb"));
    /* And once more. */
    make("store.2");
    next.generation = 2;
    assert_int_equal(store_dir_write(&next, &failure), ST_OK);
    assert_int_equal(reopen(), ST_OK);
    assert_int_equal(d.generation, 2);
    assert_false(is_there("store.1"));
}

static void a_missing_or_damaged_word_is_refused_and_nothing_is_removed(void **state)
{
    struct store_dir next;
    char path[STORE_PATH_BYTES];

    (void)state;
    assert_int_equal(reopen(), ST_OK);
    make("store.1");
    next = d;
    next.generation = 1;
    next.installed_index = 77;
    assert_int_equal(store_dir_write(&next, &failure), ST_OK);
    path_of("current", path);
    for (off_t at = 0; at < 40; at++) {
        int fd = open(path, O_RDWR);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 16;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(reopen(), ST_CORRUPT);
        byte ^= 16;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_true(is_there("store") && is_there("store.1"));
    assert_int_equal(reopen(), ST_OK);
    assert_false(is_there("store"));
    unlink(path);
    assert_int_equal(reopen(), ST_CORRUPT);
    assert_true(is_there("store.1"));
    /* It is named, but gone. */
    next.generation = 2;
    assert_int_equal(store_dir_write(&next, &failure), ST_OK);
    assert_int_equal(reopen(), ST_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_member_begins_with_generation_0, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_being_received_is_kept_and_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_being_received_is_forgotten_on_demand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_replaced_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_or_damaged_word_is_refused_and_nothing_is_removed, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
