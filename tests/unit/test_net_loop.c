/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: timers against a naive model, the order of tasks, descriptors, signals and wakes. */
#include "tests/unit/check.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rng.h"
#include "net/loop.h"

/* ---- timers ---- */

#define TIMERS 500

struct model_timer {
    struct loop_timer timer;
    struct model *model;
    bool set; /* as the model sees it */
    int64_t at_ns;
};

struct model {
    struct loop *loop;
    struct model_timer timers[TIMERS];
    int64_t last_ns;
    unsigned fired;
};

static void model_fire(void *arg)
{
    struct model_timer *t = arg;

    assert_true(t->set);
    assert_true(t->at_ns <= loop_now_ns(t->model->loop));
    assert_true(t->at_ns >= t->model->last_ns); /* in the order of their times */
    t->model->last_ns = t->at_ns;
    t->set = false;
    t->model->fired++;
}

static void the_heap_fires_what_a_list_would(void **state)
{
    static struct model m;
    struct rng rng = {.state = 42};

    (void)state;
    m.loop = loop_new();
    for (int i = 0; i < TIMERS; i++) {
        m.timers[i].model = &m;
        loop_timer_init(&m.timers[i].timer, model_fire, &m.timers[i]);
    }
    for (int round = 0; round < 200; round++) {
        int64_t now;
        for (int i = 0; i < 100; i++) {
            struct model_timer *t = &m.timers[rng_below(&rng, TIMERS)];
            t->set = rng_below(&rng, 3) != 0;
            t->at_ns = loop_now_ns(m.loop) + (int64_t)rng_below(&rng, 2000000);
            if (t->set)
                loop_timer_set(m.loop, &t->timer, t->at_ns);
            else
                loop_timer_cancel(m.loop, &t->timer);
        }
        m.last_ns = 0;
        loop_run_once(m.loop, 0);
        now = loop_now_ns(m.loop);
        for (int i = 0; i < TIMERS; i++) {
            assert_int_equal(m.timers[i].set, m.timers[i].timer.heap_slot != 0);
            assert_true(!m.timers[i].set || m.timers[i].at_ns > now);
        }
    }
    assert_true(m.fired > 100);
    for (int i = 0; i < TIMERS; i++)
        loop_timer_cancel(m.loop, &m.timers[i].timer);
    loop_free(m.loop);
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static void a_wait_ends_with_the_nearest_timer(void **state)
{
    struct loop *l = loop_new();
    struct loop_timer near, far;
    int64_t start = clock_monotonic_ns();
    int fired = 0, never = 0;

    (void)state;
    loop_timer_init(&near, count, &fired);
    loop_timer_init(&far, count, &never);
    loop_timer_set(l, &far, start + 3600 * NS_PER_S);
    loop_run_once(l, 1); /* the alarm now stands for this one */
    loop_timer_set(l, &near, clock_monotonic_ns() + 3 * NS_PER_MS);
    while (!fired)
        loop_run_once(l, -1);
    assert_true(clock_monotonic_ns() - near.at_ns < NS_PER_S);
    assert_true(clock_monotonic_ns() >= near.at_ns);
    assert_int_equal(never, 0);
    loop_timer_cancel(l, &far);
    loop_free(l);
}

/* ---- tasks ---- */

static char order[64];

struct lettered {
    struct loop_task task;
    struct loop *loop;
    char letter;
    struct loop_task *then; /* queued by running */
};

static void write_letter(void *arg)
{
    struct lettered *t = arg;

    strncat(order, &t->letter, 1);
    if (t->then)
        loop_task_queue(t->loop, t->then);
}

static void work_runs_before_flush_and_what_it_queues_in_the_same_round(void **state)
{
    struct loop *l = loop_new();
    struct lettered a = {.loop = l, .letter = 'a'}, b = a, f = a, g = a;

    (void)state;
    b.letter = 'b';
    f.letter = 'f';
    g.letter = 'g';
    loop_task_init(&a.task, LOOP_WORK, write_letter, &a);
    loop_task_init(&b.task, LOOP_WORK, write_letter, &b);
    loop_task_init(&f.task, LOOP_FLUSH, write_letter, &f);
    loop_task_init(&g.task, LOOP_FLUSH, write_letter, &g);
    a.then = &b.task; /* work of work comes before any flush */
    f.then = &a.task; /* work of a flush comes before the next flush */
    *order = 0;
    loop_task_queue(l, &f.task);
    loop_task_queue(l, &g.task);
    loop_task_queue(l, &a.task);
    loop_task_queue(l, &a.task);
    loop_run_once(l, 0);
    assert_string_equal(order, "abfabg");
    loop_task_queue(l, &g.task);
    loop_task_cancel(l, &g.task);
    loop_run_once(l, 0);
    assert_string_equal(order, "abfabg");
    loop_free(l);
}

struct forever {
    struct loop *loop;
    struct loop_task task;
    bool over;
};

static void again(void *arg)
{
    struct forever *f = arg;

    if (!f->over)
        loop_task_queue(f->loop, &f->task);
}

static void set_over(void *arg, int events)
{
    struct forever *f = arg;

    assert_int_equal(events, LOOP_READ);
    f->over = true;
}

static void a_task_that_never_ends_does_not_starve_descriptors(void **state)
{
    struct forever f = {.loop = loop_new()};
    struct loop_watch *w;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    w = loop_watch_new(f.loop, fds[0], set_over, &f);
    loop_watch_want(w, LOOP_READ);
    loop_task_init(&f.task, LOOP_WORK, again, &f);
    loop_task_queue(f.loop, &f.task);
    assert_int_equal(write(fds[1], "x", 1), 1);
    for (int i = 0; i < 3 && !f.over; i++)
        loop_run_once(f.loop, -1);
    assert_true(f.over);
    loop_watch_free(w);
    close(fds[0]);
    close(fds[1]);
    loop_free(f.loop);
}

/* ---- descriptors, signals, threads ---- */

struct seen {
    struct loop_watch *watch;
    int events;
    bool free_it;
};

static void see(void *arg, int events)
{
    struct seen *s = arg;

    s->events |= events;
    if (s->free_it) {
        loop_watch_free(s->watch);
        s->watch = NULL;
    }
}

static void a_watch_tells_what_is_wanted_and_nothing_else(void **state)
{
    struct loop *l = loop_new();
    struct seen s = {0};
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    s.watch = loop_watch_new(l, fds[0], see, &s);
    loop_run_once(l, 0);
    assert_int_equal(s.events, 0);
    loop_watch_want(s.watch, LOOP_WRITE);
    loop_run_once(l, 0);
    assert_int_equal(s.events, LOOP_WRITE);
    s.events = 0;
    loop_watch_want(s.watch, LOOP_READ);
    loop_run_once(l, 0);
    assert_int_equal(s.events, LOOP_READ);
    loop_watch_want(s.watch, LOOP_READ | LOOP_WRITE);
    loop_run_once(l, 0);
    assert_int_equal(s.events, LOOP_READ | LOOP_WRITE);
    s.events = 0;
    loop_watch_want(s.watch, 0);
    loop_run_once(l, 0);
    assert_int_equal(s.events, 0);
    /* Freed by the first of two that are due: the second must not come. */
    s.free_it = true;
    loop_watch_want(s.watch, LOOP_READ | LOOP_WRITE);
    loop_run_once(l, 0);
    assert_null(s.watch);
    assert_true(s.events == LOOP_READ || s.events == LOOP_WRITE);
    close(fds[0]);
    close(fds[1]);
    loop_free(l);
}

static void a_signal_is_heard_on_the_loop(void **state)
{
    struct loop *l = loop_new();
    int heard = 0;
    struct loop_signal *s = loop_signal_new(l, SIGUSR1, count, &heard);

    (void)state;
    raise(SIGUSR1);
    assert_int_equal(heard, 0);
    for (int i = 0; i < 10 && !heard; i++)
        loop_run_once(l, 1000);
    assert_int_equal(heard, 1);
    loop_signal_free(s);
    loop_free(l);
}

static void *send_wakes(void *arg)
{
    for (int i = 0; i < 100; i++)
        loop_wake_send(arg);
    return NULL;
}

static void many_wakes_of_a_thread_are_one_call(void **state)
{
    struct loop *l = loop_new();
    int woken = 0;
    struct loop_wake *w = loop_wake_new(l, count, &woken);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, send_wakes, w), 0);
    pthread_join(thread, NULL);
    loop_run_once(l, 1000);
    loop_run_once(l, 0);
    assert_int_equal(woken, 1);
    loop_wake_free(w);
    loop_free(l);
}

static void take_two_ms(void *arg)
{
    int64_t end = clock_monotonic_ns() + 2 * NS_PER_MS;

    (void)arg;
    while (clock_monotonic_ns() < end)
        continue;
}

static void a_stall_is_measured_and_waiting_is_none(void **state)
{
    struct loop *l = loop_new();
    struct loop_task t;

    (void)state;
    loop_task_init(&t, LOOP_WORK, take_two_ms, NULL);
    loop_task_queue(l, &t);
    loop_run_once(l, 0);
    assert_true(loop_take_stall_ns(l) >= 2 * NS_PER_MS);
    assert_int_equal(loop_take_stall_ns(l), 0);
    loop_run_once(l, 20);
    assert_true(loop_take_stall_ns(l) < 20 * NS_PER_MS);
    loop_free(l);
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void a_loop_runs_until_it_is_stopped(void **state)
{
    struct loop *l = loop_new();
    struct loop_timer t;

    (void)state;
    loop_timer_init(&t, stop, l);
    loop_timer_set(l, &t, loop_now_ns(l) + NS_PER_MS);
    loop_run(l);
    assert_int_equal(t.heap_slot, 0);
    loop_free(l);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_fires_what_a_list_would),
        cmocka_unit_test(a_wait_ends_with_the_nearest_timer),
        cmocka_unit_test(work_runs_before_flush_and_what_it_queues_in_the_same_round),
        cmocka_unit_test(a_task_that_never_ends_does_not_starve_descriptors),
        cmocka_unit_test(a_watch_tells_what_is_wanted_and_nothing_else),
        cmocka_unit_test(a_signal_is_heard_on_the_loop),
        cmocka_unit_test(many_wakes_of_a_thread_are_one_call),
        cmocka_unit_test(a_stall_is_measured_and_waiting_is_none),
        cmocka_unit_test(a_loop_runs_until_it_is_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
