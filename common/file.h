/* SPDX-License-Identifier: Apache-2.0 */
/* What the C library leaves to its callers. */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

/* write(2) may take part of it, or be interrupted: it goes on with the rest. False: an error, in errno; part of it may be written. */
bool file_write_all(int fd, const void *data, size_t len);
/* readdir(3) without . and .., which tells the end of a directory from one that cannot be read: NULL, and errno is 0, or says why. */
struct dirent *file_next(DIR *dir);

#endif
