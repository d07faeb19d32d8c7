/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the C library's functions, for this program and the libraries that it is linked with. */
#include "tests/sim/write_errors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned fail_in; /* 0: none fails */
static int fail_error;
static bool has_failed;

void write_errors_begin(unsigned n, int error)
{
    fail_in = n;
    fail_error = error;
    has_failed = false;
}

void write_errors_end(void)
{
    fail_in = 0;
}

/* How much of it is written; 0: it fails. */
static size_t allowed(size_t len)
{
    bool first = !has_failed;

    if (!fail_in || --fail_in)
        return len;
    fail_in = 1;
    has_failed = true;
    errno = fail_error;
    return first ? len / 2 : 0;
}

ssize_t write(int fd, const void *data, size_t len)
{
    size_t n = len ? allowed(len) : 0;

    return n || !len ? syscall(SYS_write, fd, data, n) : -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    size_t n = len ? allowed(len) : 0;

    return n || !len ? syscall(SYS_pwrite64, fd, data, n, offset) : -1;
}

int ftruncate(int fd, off_t len)
{
    return allowed(1) ? (int)syscall(SYS_ftruncate, fd, len) : -1;
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
    if (!allowed(1))
        return fail_error;
    return syscall(SYS_fallocate, fd, 0, offset, len) < 0 ? errno : 0;
}
