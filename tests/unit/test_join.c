/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let into a cluster, and who is remembered. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "raftd/join.h"
#include "raftd/met.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

static char a[] = "http://a:1", b[] = "http://b:1", c[] = "http://c:1", d[] = "http://d:1";

/* One member a URL, with ids from `first` on. */
static struct members cluster_of(uint64_t first, unsigned count, char *urls[])
{
    struct members m = {0};

    for (unsigned i = 0; i < count; i++)
        assert_int_equal(members_add(&m, first + i, "", &urls[i], 1), ST_OK);
    return m;
}

static void a_joiner_is_who_has_its_urls(void **state)
{
    struct members told = cluster_of(10, 3, (char *[]){a, b, c}), now = cluster_of(20, 3, (char *[]){c, a, b});
    struct error error = {0};
    uint64_t id = 0;

    (void)state;
    assert_int_equal(join_judge(&told, 11, &now, &id, &error), ST_OK);
    assert_int_equal(id, 22); /* b's */
    members_find(&now, 22)->incarnation = 5;
    assert_int_equal(join_judge(&told, 11, &now, &id, &error), ST_OTHER_INCARNATION);
    assert_non_null(strstr(error.text, "has already been bootstrapped"));
    members_find(&now, 20)->incarnation = 6;
    members_find(&now, 22)->incarnation = 0;
    assert_int_equal(join_judge(&told, 11, &now, &id, &error), ST_OK); /* the others have, of course */
    members_fini(&told);
    members_fini(&now);
}

static void flags_and_cluster_must_agree(void **state)
{
    struct members told = cluster_of(10, 3, (char *[]){a, b, c}), more = cluster_of(20, 4, (char *[]){a, b, c, d}),
                   other = cluster_of(20, 3, (char *[]){a, b, d}), twice = {0};
    char *both[] = {a, b};
    struct error error = {0};
    uint64_t id = 99;

    (void)state;
    assert_int_equal(join_judge(&told, 10, &more, &id, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "member count is unequal"));
    assert_int_equal(join_judge(&told, 10, &other, &id, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "no match found for existing member (16, [http://d:1])"));
    /* All of a member's URLs count. */
    assert_int_equal(members_add(&twice, 1, "", both, 2), ST_OK);
    members_fini(&other);
    other = cluster_of(20, 1, (char *[]){a});
    assert_int_equal(join_judge(&twice, 1, &other, &id, &error), ST_BAD_ARGUMENT);
    assert_int_equal(id, 99);
    members_fini(&told);
    members_fini(&more);
    members_fini(&other);
    members_fini(&twice);
}

/* ---- who was met ---- */

static char dir[120];
static int dir_fd;

static int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "met"));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(dir_fd >= 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlinkat(dir_fd, "met", 0);
    close(dir_fd);
    return rmdir(dir);
}

static bool only_even_ones_are_dear(void *arg, uint64_t id)
{
    (void)arg;
    return id % 2 == 0;
}

static void who_was_met_is_known_after_a_restart(void **state)
{
    struct met m = {0}, back;
    struct error error = {0};

    (void)state;
    assert_int_equal(met_load(&back, dir_fd, &error), ST_OK);
    assert_int_equal(back.count, 0);
    met_add(&m, 7, 70, only_even_ones_are_dear, NULL);
    met_add(&m, 8, 80, only_even_ones_are_dear, NULL);
    assert_int_equal(met_save(&m, dir_fd, &error), ST_OK);
    assert_int_equal(met_load(&back, dir_fd, &error), ST_OK);
    assert_true(met_find(&back, 7) == 70 && met_find(&back, 8) == 80 && met_find(&back, 9) == 0);
}

static void a_damaged_file_is_refused(void **state)
{
    struct met m = {0}, back;
    struct error error = {0};
    uint8_t byte;
    int fd;

    (void)state;
    met_add(&m, 7, 70, only_even_ones_are_dear, NULL);
    assert_int_equal(met_save(&m, dir_fd, &error), ST_OK);
    fd = openat(dir_fd, "met", O_RDWR);
    for (off_t at = 0; at < 32; at++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(met_load(&back, dir_fd, &error), ST_CORRUPT);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    for (off_t len = 31; len >= 0; len--) {
        assert_int_equal(ftruncate(fd, len), 0);
        assert_int_equal(met_load(&back, dir_fd, &error), ST_CORRUPT);
    }
    close(fd);
}

static void where_there_is_no_room_strangers_go(void **state)
{
    struct met m = {0};

    (void)state;
    for (uint64_t id = 1; id <= PEER_MET_MAX; id++)
        met_add(&m, id, 1, only_even_ones_are_dear, NULL);
    met_add(&m, 1000, 1, only_even_ones_are_dear, NULL);
    assert_int_equal(m.count, PEER_MET_MAX);
    assert_true(!met_find(&m, 1) && met_find(&m, 2) && met_find(&m, 3) && met_find(&m, 1000));
    met_add(&m, 1002, 1, only_even_ones_are_dear, NULL);
    assert_true(met_find(&m, 2) && !met_find(&m, 3) && met_find(&m, 1002));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_joiner_is_who_has_its_urls),
        cmocka_unit_test(flags_and_cluster_must_agree),
        cmocka_unit_test_setup_teardown(who_was_met_is_known_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused, set_up, tear_down),
        cmocka_unit_test(where_there_is_no_room_strangers_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
