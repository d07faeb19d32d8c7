/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of a process: one thread, readiness of descriptors, monotonic timers, and two queues of work for the
 * end of a round. A round: wait once, run what is ready, then all LOOP_WORK tasks (what piled up is decided in one
 * go, e.g. a batch of proposals), then all LOOP_FLUSH tasks (what piled up is written with one call a connection).
 * Tasks queued while tasks run are run in the same round. Nothing that blocks may be called on the loop.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *l);
/* Until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One round; waits at most max_wait_ms (-1: no bound). For tests and for programs that have a loop of their own. */
void loop_run_once(struct loop *l, int max_wait_ms);

/* The monotonic clock as of this round's beginning. */
int64_t loop_now_ns(const struct loop *l);
/* The longest time one round took since the last call, without waiting: the loop's longest stall. */
int64_t loop_take_stall_ns(struct loop *l);
/* Room of LOOP_SCRATCH_BYTES that everybody on the loop may write to; what is there is gone when the callback returns. */
#define LOOP_SCRATCH_BYTES (256u * 1024u)
uint8_t *loop_scratch(struct loop *l);

/* ---- work at the end of the round ---- */

enum loop_phase { LOOP_WORK, LOOP_FLUSH };

/* Embedded in its owner. Queueing one that is queued already does nothing. */
struct loop_task {
    void (*run_fn)(void *arg);
    void *arg;
    bool queued;
    enum loop_phase phase;
    TAILQ_ENTRY(loop_task) link;
};
void loop_task_init(struct loop_task *t, enum loop_phase phase, void (*run_fn)(void *arg), void *arg);
void loop_task_queue(struct loop *l, struct loop_task *t);
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* ---- timers ---- */

/* Embedded; millions are fine (a heap). Times are loop_now_ns's. Setting one that is set moves it. */
struct loop_timer {
    void (*fire_fn)(void *arg);
    void *arg;
    int64_t at_ns;
    size_t heap_slot; /* 0: not set */
};
void loop_timer_init(struct loop_timer *t, void (*fire_fn)(void *arg), void *arg);
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at_ns);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

/* ---- descriptors, signals, other threads ---- */

enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
/* ready_fn gets which of LOOP_* is ready, one at a time. The descriptor stays the caller's. */
struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*ready_fn)(void *arg, int events), void *arg);
void loop_watch_want(struct loop_watch *w, int events); /* 0: neither; costs nothing when unchanged */
void loop_watch_free(struct loop_watch *w);

struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int number, void (*fire_fn)(void *arg), void *arg);
void loop_signal_free(struct loop_signal *s);

/* Wake the loop from any thread (an eventfd): wake_fn runs on the loop, once for any number of wakes before it. */
struct loop_wake;
struct loop_wake *loop_wake_new(struct loop *l, void (*wake_fn)(void *arg), void *arg);
void loop_wake_send(struct loop_wake *w); /* any thread */
void loop_wake_free(struct loop_wake *w);

#endif
