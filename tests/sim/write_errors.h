/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to real files that fail, for the stores, which are real files also here: those of a full disk, and of one that is broken. The
 * first that fails leaves half of what it had to write, as real ones do.
 */
#ifndef TESTS_SIM_WRITE_ERRORS_H
#define TESTS_SIM_WRITE_ERRORS_H

/* Of this process's writes, and what makes a file longer, the n-th (1: the next) and all after it fail with that errno. */
void write_errors_begin(unsigned n, int error);
void write_errors_end(void);

#endif
