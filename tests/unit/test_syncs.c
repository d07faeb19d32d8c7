/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a store when the power goes: the calls that say so are this program's own, and keep a book of what a disk would hold. Stricter
 * than most file systems: a new name may be stored before what the file holds, a file before its name, and names in any order.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "mvcc/store_dir.h"
#include "mvcc/transfer.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

#define BOOK_MAX 400
#define PAIRS 30

/* ---- the book ---- */

static struct synced_file {
    ino_t inode;
    uint32_t crc; /* of its bytes then */
} files[BOOK_MAX];
static struct synced_name {
    ino_t dir, inode;
    char name[64];
} names[BOOK_MAX];
static unsigned file_count, name_count;

static ino_t inode_at(int dir, const char *path)
{
    struct stat st;

    assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_ino;
}

static uint32_t crc_at(int dir, const char *path)
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    uint8_t bytes[4096];
    uint32_t crc = 0;
    ssize_t n;

    assert_true(fd >= 0);
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        crc = crc32c(crc, bytes, (size_t)n);
    assert_int_equal(n, 0);
    close(fd);
    return crc;
}

static bool is_synced(int dir, const char *path)
{
    ino_t inode = inode_at(dir, path);
    bool synced = false;

    for (unsigned i = 0; i < file_count; i++) /* the last one counts */
        if (files[i].inode == inode)
            synced = files[i].crc == crc_at(dir, path);
    return synced;
}

static bool name_is_synced(const char *dir, const char *name)
{
    ino_t dir_inode = inode_at(AT_FDCWD, dir);
    char path[STORE_PATH_BYTES + 64];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (unsigned i = 0; i < name_count; i++)
        if (names[i].dir == dir_inode && strcmp(names[i].name, name) == 0)
            return names[i].inode == inode_at(AT_FDCWD, path);
    return false;
}

static void note_dir(int fd, ino_t dir)
{
    DIR *list = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unsigned kept = 0;
    struct dirent *e;

    assert_non_null(list);
    for (unsigned i = 0; i < name_count; i++)
        if (names[i].dir != dir)
            names[kept++] = names[i];
    name_count = kept;
    while ((e = readdir(list))) {
        assert_true(name_count < BOOK_MAX);
        names[name_count] = (struct synced_name){.dir = dir, .inode = e->d_ino};
        snprintf(names[name_count].name, sizeof names->name, "%.63s", e->d_name);
        name_count++;
    }
    closedir(list);
}

/* ---- the calls ---- */

int fsync(int fd)
{
    char path[40];
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    if (S_ISDIR(st.st_mode)) {
        note_dir(fd, st.st_ino);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert_true(file_count < BOOK_MAX);
    files[file_count++] = (struct synced_file){st.st_ino, crc_at(AT_FDCWD, path)};
    return 0;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    if (!is_synced(from_dir, from))
        fail_msg("%s gets its name before its bytes are durable", to);
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- what is asserted ---- */

static char root[64];
static struct mvcc *store;
static struct error failure;

/* All that is there would be there. Returns how many names that are. */
static unsigned check_durable(const char *dir)
{
    DIR *list = opendir(dir);
    unsigned count = 0;
    struct dirent *e;

    assert_non_null(list);
    while ((e = readdir(list))) {
        if (e->d_name[0] == '.')
            continue;
        if (!name_is_synced(dir, e->d_name))
            fail_msg("%s/%s: the name is not durable", dir, e->d_name);
        if (e->d_type != DT_DIR && !is_synced(dirfd(list), e->d_name))
            fail_msg("%s/%s: not durable", dir, e->d_name);
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

static int set_up(void **state)
{
    (void)state;
    file_count = name_count = 0;
    assert_true(temp_dir_make(root, sizeof root, "syncs"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mvcc_close(store);
    store = NULL;
    temp_dir_remove(root);
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
    assert_true(name_is_synced(root, "store"));
    path_of("store", path);
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

/* A process that ended between the two may have left names that only its kernel knows. */
static void what_a_start_finds_is_durable_when_it_is_used(void **state)
{
    char path[STORE_PATH_BYTES];
    struct mvcc_options o = options_for(path);
    struct store_dir d;

    (void)state;
    open_first(&d);
    write_some();
    seal();
    mvcc_close(store);
    store = NULL;
    name_count = 0;
    assert_int_equal(store_dir_open(&d, root, false, &failure), ST_OK);
    path_of("store", path);
    assert_int_equal(mvcc_open(&o, &store, &failure), ST_OK);
    assert_int_equal(check_durable(path), 2);
    assert_int_equal(check_durable(root), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sealed_segment_is_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_is_durable_before_it_is_the_store_and_that_is_before_the_old_one_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_start_finds_is_durable_when_it_is_used, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
