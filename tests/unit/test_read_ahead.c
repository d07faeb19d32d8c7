/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over the store: what is not in memory is read on the storage thread before the loop does. */
#include "raftd/node/read_ahead.h"

#include "tests/unit/one_node.h"

#define SEGMENT_LAST 4 /* revision; the store's last is one more */

static int64_t now;
static unsigned done_calls;

static void on_done(void *arg, enum status st, struct slice bytes)
{
    (void)arg;
    (void)bytes;
    assert_int_equal(st, ST_OK);
}

static void on_read(void *arg)
{
    assert_ptr_equal(arg, &done_calls);
    done_calls++;
}

static void pass(int64_t ms)
{
    for (int64_t end = now + ms * MS; now < end;) {
        now += 10 * MS;
        node_tick(node, now);
        node_run(node);
    }
}

static void put(void)
{
    assert_int_equal(node_propose(node, COMMAND_PUT, slice_of("\x0a\x01k\x12\x01v", 6), INT64_MAX, on_done, NULL, NULL), ST_OK);
    pass(20);
}

/* A segment with revisions 2 to SEGMENT_LAST, and one more in memory. */
static void open_with_segment(void)
{
    struct error error;

    now = 0;
    done_calls = 0;
    open_node(1, 4, false);
    for (int i = 0; !seals; i++) {
        assert_true(i < 10);
        put();
    }
    assert_int_equal(mvcc_seal_write(seal, &error), ST_OK);
    node_on_seal_written(node, seal, ST_OK, &error);
    assert_int_equal(mvcc_revision(store), SEGMENT_LAST);
    put();
}

static void run_job(void)
{
    struct node_job *j = job;

    assert_non_null(j);
    job = NULL;
    j->run_fn(j);
    node_on_job_done(node, j);
}

static void a_segment_is_read_once_before_it_is_walked_over(void **state)
{
    struct read_ahead a = {.done_fn = on_read, .arg = &done_calls};
    mvcc_rev upto = 0;

    (void)state;
    open_with_segment();
    assert_false(read_ahead_is_there(node, &a, 2, &upto));
    assert_int_equal(jobs, 1);
    assert_false(read_ahead_is_there(node, &a, 2, &upto)); /* nor is it asked for twice */
    assert_int_equal(jobs, 1);
    assert_int_equal(done_calls, 0);
    run_job();
    assert_int_equal(done_calls, 1);
    for (mvcc_rev main = 2; main <= SEGMENT_LAST; main++) {
        upto = 0;
        assert_true(read_ahead_is_there(node, &a, main, &upto));
        assert_int_equal(upto, SEGMENT_LAST);
    }
    assert_true(read_ahead_is_there(node, &a, SEGMENT_LAST + 1, &upto)); /* from memory */
    assert_true(upto > SEGMENT_LAST);
    assert_int_equal(jobs, 1);
    close_node();
}

static void a_walk_that_ended_hears_of_nothing(void **state)
{
    struct read_ahead a = {.done_fn = on_read, .arg = &done_calls}, b = a;
    mvcc_rev upto;

    (void)state;
    open_with_segment();
    assert_false(read_ahead_is_there(node, &a, 2, &upto));
    read_ahead_fini(&a);
    run_job();
    assert_int_equal(done_calls, 0);
    assert_false(read_ahead_is_there(node, &b, 2, &upto));
    close_node(); /* and the other way round */
    job = NULL;
    assert_null(b.job);
    read_ahead_fini(&b);
}

static void a_hash_stops_where_it_is_told_to(void **state)
{
    struct mvcc_hasher h;
    uint32_t whole;

    (void)state;
    open_with_segment();
    assert_int_equal(mvcc_hash(store, 0, &whole), ST_OK);
    assert_int_equal(mvcc_hash_begin(store, 0, &h), ST_OK);
    assert_int_equal(mvcc_hash_step(store, &h, SEGMENT_LAST, UINT32_MAX, SIZE_MAX), ST_OK);
    assert_int_equal(h.main, SEGMENT_LAST + 1);
    assert_false(mvcc_hash_is_done(&h));
    assert_int_equal(mvcc_hash_step(store, &h, INT64_MAX, UINT32_MAX, SIZE_MAX), ST_OK);
    assert_true(mvcc_hash_is_done(&h));
    assert_int_equal(h.crc, whole);
    close_node();
}

static void a_member_that_is_asked_for_its_hash_reads_ahead(void **state)
{
    struct raft_message ask = {.type = RAFT_MSG_HASH, .from = 1, .to = 1, .index = SEGMENT_LAST + 1, .context = 77};

    (void)state;
    open_with_segment();
    for (unsigned times = 1; times <= 2; times++) { /* what was read once may be gone when it is asked again */
        ask.context++;
        node_step(node, &ask);
        pass(200);
        assert_int_equal(jobs, times);
        run_job();
        pass(100);
        assert_null(job);
    }
    close_node();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_segment_is_read_once_before_it_is_walked_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_walk_that_ended_hears_of_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hash_stops_where_it_is_told_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_is_asked_for_its_hash_reads_ahead, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
