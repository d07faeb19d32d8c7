/* SPDX-License-Identifier: Apache-2.0 */
/* libevent for readiness, a heap for timers, two queues for the end of the round. */
#include "net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/invariant.h"
#include "common/mem.h"

/* Tasks that queue themselves for ever must not keep the loop from its sockets. */
#define TASKS_PER_ROUND_MAX 100000u

TAILQ_HEAD(task_list, loop_task);

struct loop {
    struct event_base *base;
    struct event *alarm;   /* ends the wait at alarm_ns, or earlier than needed */
    int64_t alarm_ns;      /* INT64_MAX: not set */
    uint8_t *scratch;
    struct task_list tasks[2];
    struct loop_timer **heap; /* heap[1..heap_count] */
    size_t heap_count, heap_cap;
    int64_t now_ns, stall_ns;
    bool stopping, in_round;
};

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;

    (void)fd;
    (void)what;
    l->alarm_ns = INT64_MAX;
}

struct loop *loop_new(void)
{
    struct loop *l = mem_zero(sizeof *l);
    struct event_config *config = event_config_new();

    INVARIANT(config != NULL);
    /* One thread: nothing of libevent's to lock. No precise timers: they cost a timerfd_settime(2) a round, and a
     * millisecond is fine enough for all that waits here. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    l->base = event_base_new_with_config(config);
    event_config_free(config);
    INVARIANT(l->base != NULL);
    l->alarm = evtimer_new(l->base, on_alarm, l);
    INVARIANT(l->alarm != NULL);
    l->alarm_ns = INT64_MAX;
    l->scratch = mem_alloc(LOOP_SCRATCH_BYTES);
    TAILQ_INIT(&l->tasks[LOOP_WORK]);
    TAILQ_INIT(&l->tasks[LOOP_FLUSH]);
    l->now_ns = clock_monotonic_ns();
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    event_free(l->alarm);
    event_base_free(l->base);
    free(l->heap);
    free(l->scratch);
    free(l);
}

int64_t loop_now_ns(const struct loop *l)
{
    return l->now_ns;
}

uint8_t *loop_scratch(struct loop *l)
{
    return l->scratch;
}

int64_t loop_take_stall_ns(struct loop *l)
{
    int64_t stall = l->stall_ns;

    l->stall_ns = 0;
    return stall;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

/* ---- timers: a binary heap, the nearest at 1 ---- */

static void heap_place(struct loop *l, struct loop_timer *t, size_t at)
{
    l->heap[at] = t;
    t->heap_slot = at;
}

static void heap_up(struct loop *l, struct loop_timer *t, size_t at)
{
    for (; at > 1 && l->heap[at / 2]->at_ns > t->at_ns; at /= 2)
        heap_place(l, l->heap[at / 2], at);
    heap_place(l, t, at);
}

static void heap_down(struct loop *l, struct loop_timer *t, size_t at)
{
    size_t child;

    while ((child = at * 2) <= l->heap_count) {
        if (child < l->heap_count && l->heap[child + 1]->at_ns < l->heap[child]->at_ns)
            child++;
        if (l->heap[child]->at_ns >= t->at_ns)
            break;
        heap_place(l, l->heap[child], at);
        at = child;
    }
    heap_place(l, t, at);
}

void loop_timer_init(struct loop_timer *t, void (*fire_fn)(void *arg), void *arg)
{
    *t = (struct loop_timer){.fire_fn = fire_fn, .arg = arg};
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
    size_t at = t->heap_slot;
    struct loop_timer *last;

    if (!at)
        return;
    t->heap_slot = 0;
    last = l->heap[l->heap_count--];
    if (last == t)
        return;
    if (at > 1 && l->heap[at / 2]->at_ns > last->at_ns)
        heap_up(l, last, at);
    else
        heap_down(l, last, at);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at_ns)
{
    loop_timer_cancel(l, t);
    l->heap = mem_grow(l->heap, &l->heap_cap, l->heap_count + 2, sizeof(struct loop_timer *));
    t->at_ns = at_ns;
    l->heap_count++;
    heap_up(l, t, l->heap_count);
}

static void fire_timers(struct loop *l)
{
    while (l->heap_count && l->heap[1]->at_ns <= l->now_ns) {
        struct loop_timer *t = l->heap[1];
        loop_timer_cancel(l, t);
        t->fire_fn(t->arg);
    }
}

/* ---- tasks ---- */

void loop_task_init(struct loop_task *t, enum loop_phase phase, void (*run_fn)(void *arg), void *arg)
{
    *t = (struct loop_task){.run_fn = run_fn, .arg = arg, .phase = phase};
}

void loop_task_queue(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    TAILQ_INSERT_TAIL(&l->tasks[t->phase], t, link);
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
    if (!t->queued)
        return;
    t->queued = false;
    TAILQ_REMOVE(&l->tasks[t->phase], t, link);
}

static bool tasks_wait(const struct loop *l)
{
    return !TAILQ_EMPTY(&l->tasks[LOOP_WORK]) || !TAILQ_EMPTY(&l->tasks[LOOP_FLUSH]);
}

static void run_tasks(struct loop *l)
{
    for (unsigned i = 0; i < TASKS_PER_ROUND_MAX && tasks_wait(l); i++) {
        struct loop_task *t = TAILQ_FIRST(&l->tasks[LOOP_WORK]);
        if (!t)
            t = TAILQ_FIRST(&l->tasks[LOOP_FLUSH]);
        loop_task_cancel(l, t);
        t->run_fn(t->arg);
    }
}

/* ---- the round ---- */

/* The wait is over: the clock stands from here to the end of the round. */
static void round_began(struct loop *l)
{
    if (l->in_round)
        return;
    l->in_round = true;
    l->now_ns = clock_monotonic_ns();
}

/* When must the wait end? INT64_MAX: when something happens. */
static int64_t wait_end(const struct loop *l, int max_wait_ms)
{
    int64_t end = INT64_MAX;

    if (max_wait_ms == 0 || tasks_wait(l))
        return 0;
    if (l->heap_count)
        end = l->heap[1]->at_ns;
    if (max_wait_ms > 0) {
        int64_t bound = clock_monotonic_ns() + max_wait_ms * NS_PER_MS;
        end = bound < end ? bound : end;
    }
    return end;
}

/*
 * An alarm that is set already and comes earlier may stay: a round for nothing now and then is cheaper than moving it in
 * every round, as the nearest timer is moved by almost every request. False: it is time already.
 */
static bool set_alarm(struct loop *l, int64_t end_ns)
{
    struct timeval tv;
    int64_t wait;

    if (end_ns >= l->alarm_ns)
        return true;
    wait = end_ns - clock_monotonic_ns();
    if (wait <= 0)
        return false;
    wait += 999; /* rather a microsecond late than a round too early */
    tv = (struct timeval){.tv_sec = wait / NS_PER_S, .tv_usec = wait % NS_PER_S / 1000};
    INVARIANT(evtimer_add(l->alarm, &tv) == 0);
    l->alarm_ns = end_ns;
    return true;
}

void loop_run_once(struct loop *l, int max_wait_ms)
{
    int64_t end = wait_end(l, max_wait_ms), ended;

    l->in_round = false;
    if (set_alarm(l, end))
        event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
    else /* with NONBLOCK alone libevent would go on for as long as descriptors are ready, and tasks would wait */
        event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    round_began(l); /* if no descriptor was ready */
    fire_timers(l);
    run_tasks(l);
    ended = clock_monotonic_ns();
    if (ended - l->now_ns > l->stall_ns)
        l->stall_ns = ended - l->now_ns;
}

void loop_run(struct loop *l)
{
    l->stopping = false;
    while (!l->stopping)
        loop_run_once(l, -1);
}

/* ---- descriptors ---- */

/* Two events a descriptor: turning writing on and off leaves reading alone, one epoll_ctl(2) each. */
struct loop_watch {
    struct loop *loop;
    struct event *read, *write;
    int wanted;
    void (*ready_fn)(void *arg, int events);
    void *arg;
};

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *w = arg;

    (void)fd;
    round_began(w->loop);
    w->ready_fn(w->arg, what & EV_READ ? LOOP_READ : LOOP_WRITE);
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*ready_fn)(void *arg, int events), void *arg)
{
    struct loop_watch *w = mem_zero(sizeof *w);

    w->loop = l;
    w->ready_fn = ready_fn;
    w->arg = arg;
    w->read = event_new(l->base, fd, EV_PERSIST | EV_READ, on_ready, w);
    w->write = event_new(l->base, fd, EV_PERSIST | EV_WRITE, on_ready, w);
    INVARIANT(w->read && w->write);
    return w;
}

void loop_watch_want(struct loop_watch *w, int events)
{
    int changed = events ^ w->wanted;

    w->wanted = events;
    if (changed & LOOP_READ)
        INVARIANT((events & LOOP_READ ? event_add(w->read, NULL) : event_del(w->read)) == 0);
    if (changed & LOOP_WRITE)
        INVARIANT((events & LOOP_WRITE ? event_add(w->write, NULL) : event_del(w->write)) == 0);
}

void loop_watch_free(struct loop_watch *w)
{
    if (!w)
        return;
    event_free(w->read);
    event_free(w->write);
    free(w);
}

/* ---- signals ---- */

struct loop_signal {
    struct event *event;
    void (*fire_fn)(void *arg);
    void *arg;
};

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct loop_signal *s = arg;

    (void)number;
    (void)what;
    s->fire_fn(s->arg);
}

struct loop_signal *loop_signal_new(struct loop *l, int number, void (*fire_fn)(void *arg), void *arg)
{
    struct loop_signal *s = mem_zero(sizeof *s);

    s->fire_fn = fire_fn;
    s->arg = arg;
    s->event = evsignal_new(l->base, number, on_signal, s);
    INVARIANT(s->event && evsignal_add(s->event, NULL) == 0);
    return s;
}

void loop_signal_free(struct loop_signal *s)
{
    if (!s)
        return;
    event_free(s->event);
    free(s);
}

/* ---- other threads ---- */

struct loop_wake {
    int fd;
    struct loop_watch *watch;
    void (*wake_fn)(void *arg);
    void *arg;
};

static void on_wake(void *arg, int events)
{
    struct loop_wake *w = arg;
    uint64_t count;

    (void)events;
    if (read(w->fd, &count, sizeof count) == sizeof count)
        w->wake_fn(w->arg);
}

struct loop_wake *loop_wake_new(struct loop *l, void (*wake_fn)(void *arg), void *arg)
{
    struct loop_wake *w = mem_zero(sizeof *w);

    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    INVARIANT(w->fd >= 0);
    w->wake_fn = wake_fn;
    w->arg = arg;
    w->watch = loop_watch_new(l, w->fd, on_wake, w);
    loop_watch_want(w->watch, LOOP_READ);
    return w;
}

void loop_wake_send(struct loop_wake *w)
{
    uint64_t one = 1;

    /* EAGAIN: the counter is full, so the loop is woken already. */
    while (write(w->fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

void loop_wake_free(struct loop_wake *w)
{
    if (!w)
        return;
    loop_watch_free(w->watch);
    close(w->fd);
    free(w);
}
