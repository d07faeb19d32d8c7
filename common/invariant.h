/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broken invariant ends the process, in release builds too: the write-ahead log is the recovery path,
 * and going on would risk what is stored. Never for what comes from outside: bytes of clients, peers,
 * disks and flags get a status.
 */
#ifndef COMMON_INVARIANT_H
#define COMMON_INVARIANT_H

#define INVARIANT(claim)                                                                           \
    ((claim) ? (void)0 : invariant_broken(#claim, __FILE__, __LINE__, __func__))

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first) __attribute__((format(printf, format_at, first)))

/* Where a broken claim is reported before the abort; log.c sets it so that the last lines are kept. */
extern void (*invariant_reporter)(const char *text);

__attribute__((noreturn)) void invariant_broken(const char *claim, const char *file, int line,
                                                const char *function);

#endif
