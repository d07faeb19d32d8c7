/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a program: one line an event, `LEVEL room: words key=value ...` on standard error, and the
 * last lines in a ring that is written when an invariant breaks. Owners log, libraries return. Never a
 * value or a secret; keys only at debug. Writing never blocks: what a stuck reader does not take is dropped
 * and counted, and the count is logged when it reads again.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/invariant.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

/* Lines above this level are not written (default LOG_INFO). */
void log_set_level(enum log_level level);
/* Start: remember lines and report broken invariants. Program name is put in front of every line. */
void log_init(const char *program);
/* 0 and *ret_level for "error", "warn", "warning", "notice", "info", "debug"; -1 for other words. */
int log_level_from_text(const char *text, enum log_level *ret_level);

void log_write(enum log_level level, const char *room, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(room, ...) log_write(LOG_ERROR, room, __VA_ARGS__)
#define log_warning(room, ...) log_write(LOG_WARNING, room, __VA_ARGS__)
#define log_notice(room, ...) log_write(LOG_NOTICE, room, __VA_ARGS__)
#define log_info(room, ...) log_write(LOG_INFO, room, __VA_ARGS__)
#define log_debug(room, ...) log_write(LOG_DEBUG, room, __VA_ARGS__)

#endif
