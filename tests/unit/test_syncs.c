/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a store when the power goes, or the process is killed, before any call; by the book of what a disk would hold: unsynced.h. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "mvcc/store_dir.h"
#include "mvcc/transfer.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"
#include "tests/unit/unsynced.h"

#define PAIRS 30
#define SEEDS 12 /* of each moment */

/* ---- what is asserted ---- */

static char root[200];
static struct unsynced *book;
static struct mvcc *store;
static struct error failure;

/* All that is there would be there. Returns how many names that are. */
static unsigned check_durable(const char *dir)
{
    DIR *list = opendir(dir);
    char path[STORE_PATH_BYTES + 300];
    unsigned count = 0;
    struct dirent *e;

    assert_non_null(list);
    while ((e = readdir(list))) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (!unsynced_has_name(book, path))
            fail_msg("%s: the name is not durable", path);
        if (e->d_type != DT_DIR && !unsynced_has_bytes(book, path))
            fail_msg("%s: not durable", path);
        count++;
    }
    closedir(list);
    return count;
}

static void path_of(const char *name, char *out)
{
    snprintf(out, STORE_PATH_BYTES, "%s/%s", root, name);
}

static struct mvcc_options options_for(const char *dir)
{
    return (struct mvcc_options){.dir = dir, .memtable_bytes = 1 << 16, .seal_entries = UINT64_MAX};
}

static void begin(void)
{
    assert_true(temp_dir_make(root, sizeof root, "syncs"));
    book = unsynced_new(root);
}

static void end(void)
{
    mvcc_close(store);
    store = NULL;
    unsynced_free(book);
    book = NULL;
    temp_dir_remove(root);
}

static int set_up(void **state)
{
    (void)state;
    begin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (book)
        end();
    return 0;
}

static void write_some(void)
{
    static uint8_t value[1000];

    for (unsigned i = 0; i < PAIRS; i++) {
        mvcc_begin(store, mvcc_applied_index(store) + 1, 3, 1);
        assert_int_equal(mvcc_put(store, slice_of(&i, sizeof i), slice_of(value, sizeof value), 0), ST_OK);
        mvcc_end(store);
    }
}

static void seal(void)
{
    struct mvcc_seal *seal = mvcc_seal_begin(store, slice_of_text("state"));
    uint64_t index, term;

    assert_non_null(seal);
    assert_int_equal(mvcc_seal_write(seal, &failure), ST_OK);
    assert_int_equal(mvcc_seal_end(store, seal, &index, &term, &failure), ST_OK);
}

static void open_first(struct store_dir *d)
{
    char path[STORE_PATH_BYTES];
    struct mvcc_options o = options_for(path);

    assert_int_equal(store_dir_open(d, root, false, &failure), ST_OK);
    path_of("store", path);
    assert_true(unsynced_has_name(book, path));
    assert_int_equal(mvcc_open(&o, &store, &failure), ST_OK);
}

static void a_sealed_segment_is_durable(void **state)
{
    char path[STORE_PATH_BYTES];
    struct store_dir d;

    (void)state;
    open_first(&d);
    path_of("store", path);
    for (unsigned i = 1; i <= 3; i++) {
        write_some();
        seal();
        assert_int_equal(check_durable(path), 2 * i);
    }
}

/* Every record, in slices, and the end. */
static void copy_to(const char *dir)
{
    struct mvcc_options o = options_for(dir);
    struct mvcc_position at = mvcc_export_begin(store);
    struct mvcc_import_end end = {.applied_index = mvcc_applied_index(store), .applied_term = 3, .revision = mvcc_revision(store),
                                  .state = slice_of_text("state")};
    struct mvcc_import *m;
    struct buf b = {0};

    assert_int_equal(mvcc_import_open(&o, &m, &failure), ST_OK);
    while (at.main <= end.revision) {
        buf_clear(&b);
        assert_int_equal(mvcc_export(store, &at, end.revision, 4096, 100, &b), ST_OK);
        assert_int_equal(mvcc_import_add(m, buf_slice(&b), &failure), ST_OK);
    }
    assert_int_equal(mvcc_import_finish(m, &end, &failure), ST_OK);
    mvcc_import_free(m);
    buf_fini(&b);
}

static void a_snapshot_is_durable_before_it_is_the_store_and_that_is_before_the_old_one_goes(void **state)
{
    struct store_dir first, next;
    char path[STORE_PATH_BYTES];

    (void)state;
    open_first(&first);
    write_some();
    path_of("store.1", path);
    copy_to(path);
    assert_true(check_durable(path) >= 4); /* some segments */
    next = first;
    next.generation++;
    next.installed_index = mvcc_applied_index(store);
    next.installed_term = 3;
    assert_int_equal(store_dir_write(&next, &failure), ST_OK);
    assert_int_equal(check_durable(root), 3); /* current, and the old store is there still */
}

/* ---- an end before any call ---- */

static void open_again(void)
{
    char path[STORE_PATH_BYTES];
    struct mvcc_options o = options_for(path);
    struct store_dir d;
    uint32_t hash;

    mvcc_close(store);
    store = NULL;
    unsynced_settle(book);
    if (store_dir_open(&d, root, false, &failure) != ST_OK)
        fail_msg("%s", failure.text);
    store_dir_name(&d, d.generation, path);
    if (mvcc_open(&o, &store, &failure) != ST_OK)
        fail_msg("%s", failure.text);
    assert_int_equal(mvcc_hash(store, 0, &hash), ST_OK); /* reads all of it */
}

/* What comes before is durable, what was to come is there or not. False: it was done before so many calls. */
static bool seal_and_end(bool loses, uint64_t seed, unsigned calls)
{
    mvcc_rev before, after;
    struct store_dir d;
    bool is_over;

    open_first(&d);
    write_some();
    seal();
    before = mvcc_revision(store);
    write_some();
    after = mvcc_revision(store);
    unsynced_end(book, loses, seed, calls);
    seal();
    is_over = unsynced_is_over(book);
    open_again();
    assert_true(mvcc_revision(store) == after || (is_over && mvcc_revision(store) == before));
    return is_over;
}

static void a_power_cut_in_a_seal_takes_the_new_segment_or_nothing(void **state)
{
    unsigned calls = 0;
    bool is_over = true;

    (void)state;
    end();
    for (; is_over; calls++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            begin();
            is_over = seal_and_end(true, seed, calls);
            end();
        }
    assert_int_equal(calls, 7 + 2); /* two files are made and synced, two names, and the directory */
}

/* A process that ended before the last sync may leave names that only its kernel knows. */
static void what_a_start_finds_is_durable_when_it_is_used(void **state)
{
    char path[STORE_PATH_BYTES];
    bool is_over = true;

    (void)state;
    end();
    for (unsigned calls = 0; is_over; calls++) {
        begin();
        is_over = seal_and_end(false, 0, calls);
        path_of("store", path);
        assert_true(check_durable(path) >= 2);
        assert_int_equal(check_durable(root), 1);
        end();
    }
}

/* As a member does when it installs one: raftd/node/snapshot_receive.c. */
static bool install_and_end(uint64_t seed, unsigned calls)
{
    char old_path[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
    struct store_dir d;
    mvcc_rev revision;
    bool is_over;

    open_first(&d);
    write_some();
    seal();
    revision = mvcc_revision(store);
    path_of("store", old_path);
    path_of("store.1", path);
    unsynced_end(book, true, seed, calls);
    copy_to(path);
    d.generation++;
    d.installed_index = mvcc_applied_index(store);
    d.installed_term = 3;
    assert_int_equal(store_dir_write(&d, &failure), ST_OK);
    assert_int_equal(mvcc_remove(old_path, &failure), ST_OK);
    is_over = unsynced_is_over(book);
    open_again();
    assert_int_equal(mvcc_revision(store), revision);
    return is_over;
}

static void a_power_cut_in_an_install_leaves_the_old_store_or_the_new_one(void **state)
{
    bool is_over = true;

    (void)state;
    end();
    for (unsigned calls = 0; is_over; calls++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            begin();
            is_over = install_and_end(seed, calls);
            end();
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sealed_segment_is_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_is_durable_before_it_is_the_store_and_that_is_before_the_old_one_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_power_cut_in_a_seal_takes_the_new_segment_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_start_finds_is_durable_when_it_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_power_cut_in_an_install_leaves_the_old_store_or_the_new_one, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
