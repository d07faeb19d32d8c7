/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call to the disk fails once, and the power goes at every call. A failure ends the log at
 * once and is told in words; what is found afterwards is what was acknowledged, and of the step
 * under way all or nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_wal_fixture.h"

#define SEGMENT_BYTES 1024
#define STEPS         26

/* What may be found after a crash: anything since the last durable step. */
struct allowed {
    struct model models[STEPS + 2];
    size_t count;
};

/* One step of the workload, on a model or on the log. */
static void step(struct fixture *fx, struct model *m, unsigned n)
{
    raft_index next = model_last(m) + 1;
    raft_term term = 1 + n / 9;

    switch (n % 6) {
    case 0:
    case 1:
    case 3:
        if (fx)
            fixture_append(fx, next, 1 + n % 3, term, 20 + 11 * n);
        else
            model_append(m, next, 1 + n % 3, term, 20 + 11 * n);
        break;
    case 2:
        if (fx)
            fixture_append_hard(fx, (struct raft_hard_state){term, n, next - 1}, false);
        else
            m->hard = (struct raft_hard_state){term, n, next - 1};
        break;
    case 4:
        if (fx)
            fixture_append(fx, next - 1, 2, term + 1, 30);
        else
            model_append(m, next - 1, 2, term + 1, 30);
        break;
    default:
        if (fx)
            fixture_release(fx, next - 3);
        else
            model_release(m, next - 3, model_term(m, next - 3));
    }
}

static bool step_is_durable(unsigned n)
{
    return n % 6 != 2;
}

/* Run until the n-th call fails. False: the workload needs fewer calls. */
static bool run_until(struct fixture *fx, unsigned nth, struct allowed *ret_allowed)
{
    volatile unsigned at = 0;

    fixture_init(fx, SEGMENT_BYTES);
    ret_allowed->models[0] = fx->model;
    ret_allowed->count = 1;
    if (fixture_open(fx, TEST_CLUSTER, TEST_MEMBER) != ST_OK)
        fail_msg("%s", fx->error.text);
    fx->catch_failure = true;
    if (setjmp(fx->on_failure)) {
        fx->catch_failure = false;
        assert_non_null(strstr(fx->failure, "wal/"));
        assert_non_null(strstr(fx->failure, "Input/output error"));
        assert_non_null(strstr(fx->failure, "offset"));
        memory_disk_fail_at(fx->disk, 0, 0);
        if (at > 0) { /* a step was under way, it counts in full or not at all */
            struct model next = ret_allowed->models[ret_allowed->count - 1];
            step(NULL, &next, at - 1);
            ret_allowed->models[ret_allowed->count++] = next;
        }
        return true;
    }
    memory_disk_fail_at(fx->disk, nth, EIO);
    wal_start(fx->wal);
    for (unsigned n = 0; n < STEPS; n++) {
        at = n + 1;
        step(fx, &fx->model, n);
        if (step_is_durable(n))
            ret_allowed->count = 0;
        ret_allowed->models[ret_allowed->count++] = fx->model;
    }
    fx->catch_failure = false;
    memory_disk_fail_at(fx->disk, 0, 0);
    return false;
}

/* Takes the disk. It must hold an allowed state, and be as good as any to go on with. */
static void check_after(struct disk *disk, const struct allowed *allowed, unsigned nth)
{
    struct fixture fx = {.disk = disk, .segment_bytes = SEGMENT_BYTES};
    enum status st = fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER);
    bool found = false;

    if (st != ST_OK)
        fail_msg("crash at call %u: %s", nth, fx.error.text);
    fixture_read(&fx, &fx.model);
    for (size_t i = 0; i < allowed->count; i++)
        found |= model_equal(&fx.model, &allowed->models[i]);
    if (!found)
        fail_msg("crash at call %u: %zu entries behind %llu were not allowed", nth, fx.model.count,
                 (unsigned long long)fx.model.begin);
    wal_start(fx.wal);
    for (unsigned i = 0; i < 4; i++)
        fixture_append(&fx, model_last(&fx.model) + 1, 2, 9, 90);
    fixture_release(&fx, model_last(&fx.model) - 1);
    fixture_reopen(&fx);
    fixture_append(&fx, model_last(&fx.model) + 1, 2, 9, 90);
    fixture_reopen(&fx);
    fixture_fini(&fx);
}

static void every_failing_call_ends_the_log_in_words(void **state)
{
    struct allowed allowed;
    struct fixture fx;
    unsigned nth = 1;

    (void)state;
    for (;; nth++) {
        bool failed = run_until(&fx, nth, &allowed);
        unsigned changes = memory_disk_changes(fx.disk);
        if (failed) {
            fixture_close(&fx);
            assert_int_equal(memory_disk_changes(fx.disk), changes); /* not one more try */
            check_after(memory_disk_after_kill(fx.disk), &allowed, nth);
        }
        fixture_fini(&fx);
        if (!failed)
            break;
    }
    assert_true(nth > 100);
}

static void a_power_cut_at_every_call_keeps_what_was_acknowledged(void **state)
{
    struct rng rng = {.state = 11};
    struct allowed allowed;
    struct fixture fx;
    bool failed = true;

    (void)state;
    for (unsigned nth = 1; failed; nth++) {
        failed = run_until(&fx, nth, &allowed);
        for (unsigned cut = 0; cut < 12; cut++)
            check_after(memory_disk_after_power_cut(fx.disk, &rng), &allowed, nth);
        fixture_fini(&fx);
    }
}

/* Start an opened log; its n-th call fails. */
static void start_until(struct fixture *fx, unsigned nth)
{
    memory_disk_fail_at(fx->disk, nth, EIO);
    fx->catch_failure = true;
    if (setjmp(fx->on_failure) == 0)
        wal_start(fx->wal);
    fx->catch_failure = false;
    memory_disk_fail_at(fx->disk, 0, 0);
}

/* The recovery itself is cut short, again and again; it must arrive in the end. */
static void a_power_cut_at_every_call_of_the_recovery_is_survived(void **state)
{
    struct rng rng = {.state = 12};
    struct allowed allowed;
    struct fixture fx;
    bool failed = true;

    (void)state;
    for (unsigned nth = 1; failed; nth += 5) {
        failed = run_until(&fx, nth, &allowed);
        for (unsigned call = 1; call < 12; call++) {
            struct fixture next = {.disk = memory_disk_after_power_cut(fx.disk, &rng),
                                   .segment_bytes = SEGMENT_BYTES};
            assert_int_equal(fixture_open(&next, TEST_CLUSTER, TEST_MEMBER), ST_OK);
            start_until(&next, call);
            check_after(memory_disk_after_power_cut(next.disk, &rng), &allowed, nth);
            fixture_fini(&next);
        }
        fixture_fini(&fx);
    }
}

/*
 * What was only in the page cache when the process was killed is read by the next one and counts as
 * stored from then on: it must be made durable before anything is promised on it.
 */
static void what_was_recovered_is_durable_once_started(void **state)
{
    struct fixture fx;

    (void)state;
    fixture_init(&fx, SEGMENT_BYTES);
    fixture_start(&fx);
    fixture_append_hard(&fx, (struct raft_hard_state){4, 2, 0}, false);
    fx.catch_failure = true;
    if (setjmp(fx.on_failure) == 0) { /* the process ends here; the disk and its cache go on */
        memory_disk_fail_at(fx.disk, 1, EIO);
        wal_append(fx.wal, NULL, NULL, 0, true);
        fail_msg("the sync did not fail");
    }
    fx.catch_failure = false;
    memory_disk_fail_at(fx.disk, 0, 0);
    assert_true(memory_disk_unsynced(fx.disk) > 0);
    fixture_reopen(&fx); /* finds the vote */
    fixture_change_disk(&fx, memory_disk_after_prefix(fx.disk, 0));
    fixture_reopen(&fx);
    assert_int_equal(fx.model.hard.vote, 2);
    fixture_fini(&fx);
}

static void a_disk_that_cannot_be_read_refuses_to_open(void **state)
{
    struct allowed allowed;
    struct fixture fx;

    (void)state;
    run_until(&fx, 0, &allowed);
    fixture_close(&fx);
    for (unsigned n = 1; n <= 5; n++) {
        memory_disk_fail_at(fx.disk, n, EIO);
        assert_int_equal(fixture_open(&fx, TEST_CLUSTER, TEST_MEMBER), ST_IO);
        assert_non_null(strstr(fx.error.text, "Input/output error"));
    }
    memory_disk_fail_at(fx.disk, 0, 0);
    fixture_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_call_ends_the_log_in_words),
        cmocka_unit_test(a_power_cut_at_every_call_keeps_what_was_acknowledged),
        cmocka_unit_test(a_power_cut_at_every_call_of_the_recovery_is_survived),
        cmocka_unit_test(what_was_recovered_is_durable_once_started),
        cmocka_unit_test(a_disk_that_cannot_be_read_refuses_to_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
