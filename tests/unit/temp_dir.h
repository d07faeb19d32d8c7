/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory for one test: in TMPDIR, else in memory where the system has such a place (these tests make thousands of small files and
 * none of them is about the disk), else in /tmp.
 */
#ifndef TESTS_UNIT_TEMP_DIR_H
#define TESTS_UNIT_TEMP_DIR_H

#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Makes it and fills *ret_path (size bytes), absolute and without links; the caller removes it. False: there was no place, or the path is too long. */
static inline bool temp_dir_make(char *ret_path, size_t size, const char *name)
{
    const char *place = getenv("TMPDIR");
    char real[PATH_MAX];
    int len;

    if (!place || !*place)
        place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    if (!realpath(place, real))
        return false;
    len = snprintf(ret_path, size, "%s/raftfs-%s-XXXXXX", real, name);
    return len > 0 && (size_t)len < size && mkdtemp(ret_path);
}

static inline int temp_dir_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* It and all in it. */
static inline void temp_dir_remove(const char *path)
{
    nftw(path, temp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
