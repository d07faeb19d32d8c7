/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to standard error that never block, and a ring of the last ones for a post-mortem. */
#include "common/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RING_LINES 1000
#define LINE_BYTES_MAX 512

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};

static struct {
    pthread_mutex_t lock;
    enum log_level level;
    char program[32];
    unsigned long dropped;
    unsigned next; /* ring slot of the next line */
    char ring[RING_LINES][LINE_BYTES_MAX];
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO};

void log_set_level(enum log_level level)
{
    sink.level = level;
}

int log_level_from_text(const char *text, enum log_level *ret_level)
{
    for (int i = 0; i <= LOG_DEBUG; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    if (strcmp(text, "warn") == 0) {
        *ret_level = LOG_WARNING;
        return 0;
    }
    return -1;
}

/* Write if the reader takes it now: a full pipe costs a line, never a stall (a log reader that hangs has
 * hung servers). */
static void log_out(const char *line, size_t len)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT) || write(STDERR_FILENO, line, len) < 0)
        sink.dropped++;
}

static void log_on_broken(const char *text)
{
    /* Only the ring's lines that were above the level are news, but all of them are context. */
    for (unsigned i = 0; i < RING_LINES; i++) {
        const char *line = sink.ring[(sink.next + i) % RING_LINES];
        if (*line)
            log_out(line, strlen(line));
    }
    log_out(sink.program, strlen(sink.program));
    log_out(": ", 2);
    log_out(text, strlen(text));
    log_out("\n", 1);
}

void log_init(const char *program)
{
    snprintf(sink.program, sizeof sink.program, "%s", program);
    invariant_reporter = log_on_broken;
}

void log_write(enum log_level level, const char *room, const char *format, ...)
{
    char line[LINE_BYTES_MAX];
    struct timespec now;
    struct tm tm;
    va_list args;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = (int)strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += snprintf(line + n, sizeof line - (size_t)n, ".%03ldZ %s %s %s: ", now.tv_nsec / 1000000,
                  sink.program, level_names[level], room);
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    if ((size_t)n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    line[n] = 0;

    pthread_mutex_lock(&sink.lock);
    memcpy(sink.ring[sink.next], line, (size_t)n + 1);
    sink.next = (sink.next + 1) % RING_LINES;
    if (level <= sink.level) {
        log_out(line, (size_t)n);
        if (sink.dropped && level <= LOG_INFO) {
            char note[80];
            unsigned long count = sink.dropped;
            int len = snprintf(note, sizeof note, "%s warning log: lines were dropped count=%lu\n",
                               sink.program, count);
            log_out(note, (size_t)len);
            if (sink.dropped == count)
                sink.dropped = 0;
        }
    }
    pthread_mutex_unlock(&sink.lock);
}
