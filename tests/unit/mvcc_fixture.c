/* SPDX-License-Identifier: Apache-2.0 */
/* Directories, files and stores of the tests of mvcc. */
#include "tests/unit/mvcc_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/unit/temp_dir.h"

char dir[160], copy[160];
static char base[120];

/* ---- files ---- */

void empty_dir(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    char name[500];

    while (d && (e = readdir(d))) {
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        unlink(name);
    }
    if (d)
        closedir(d);
}

uint8_t *file_read(const char *path, size_t *ret_len)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    uint8_t *data;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    data = mem_alloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return data;
}

void file_write(const char *path, const uint8_t *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

const char *name_of(const char *in, unsigned sequence, const char *suffix)
{
    static char path[4][400];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, 400, "%s/%016x%s", in, sequence, suffix);
    return p;
}

void copy_file(const char *from, const char *to, size_t len_max)
{
    size_t len;
    uint8_t *data = file_read(from, &len);

    file_write(to, data, len < len_max ? len : len_max);
    free(data);
}

/* ---- stores ---- */

enum status try_open(const char *path, struct mvcc **ret_store, struct error *ret_error)
{
    struct mvcc_options o = {.dir = path, .memtable_bytes = 1000, .seal_entries = 20, .no_sync = true};

    return mvcc_open(&o, ret_store, ret_error);
}

struct mvcc *open_store(const char *path)
{
    struct error error = {0};
    struct mvcc *s = NULL;

    if (try_open(path, &s, &error) != ST_OK)
        fail_msg("%s", error.text);
    return s;
}

void seal_all(struct mvcc *s, const char *state)
{
    struct mvcc_seal *seal = mvcc_seal_begin(s, slice_of_text(state));
    struct error error = {0};
    uint64_t index, term;

    assert_non_null(seal);
    assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
    assert_int_equal(mvcc_seal_end(s, seal, &index, &term, &error), ST_OK);
    assert_int_equal(index, mvcc_applied_index(s));
}

int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(base, sizeof base, "mvcc"));
    snprintf(dir, sizeof dir, "%s/store", base);
    snprintf(copy, sizeof copy, "%s/copy", base);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(copy, 0700), 0);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    empty_dir(dir);
    empty_dir(copy);
    rmdir(dir);
    rmdir(copy);
    return rmdir(base);
}
