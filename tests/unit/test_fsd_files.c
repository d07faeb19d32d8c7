/* SPDX-License-Identifier: Apache-2.0 */
/* What handles hold of a file, what it reads like, and when it becomes a transaction. */
#include "tests/unit/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fsd/commit.h"
#include "fsd/fh.h"

/* A file with two handles that write. */
struct fixture {
    struct file_table table;
    struct file *file;
    struct fh a, b;
};

static void handle_init(struct fixture *x, struct fh *fh, const char *value)
{
    *fh = (struct fh){.file = x->file, .value = blob_new(slice_of_text(value)), .writable = true};
    TAILQ_INSERT_TAIL(&x->file->handles, fh, link);
}

static void begin(struct fixture *x, const char *value)
{
    *x = (struct fixture){0};
    x->file = file_get(&x->table, slice_of_text("/k"));
    handle_init(x, &x->a, value);
    handle_init(x, &x->b, value);
}

static void end(struct fixture *x)
{
    TAILQ_REMOVE(&x->file->handles, &x->a, link);
    TAILQ_REMOVE(&x->file->handles, &x->b, link);
    blob_unref(x->a.value);
    blob_unref(x->b.value);
    file_unref(&x->table, x->file);
    assert_null(x->table.files);
}

static void write_at(struct fh *fh, uint64_t off, const char *text)
{
    file_hold(fh, off, slice_of_text(text));
}

static void assert_reads(const struct fh *fh, const char *text)
{
    struct buf scratch = {0};
    struct slice s = fh_visible(fh, &scratch);

    if (!slice_equal(s, slice_of_text(text)))
        fail_msg("reads \"%.*s\", not \"%s\"", (int)s.len, s.data, text);
    buf_fini(&scratch);
}

static void all_who_write_see_one_content_in_the_order_of_the_writes(void **state)
{
    struct fixture x;

    (void)state;
    begin(&x, "old value");
    assert_false(file_differs(x.file));
    write_at(&x.a, 0, "AAA");
    write_at(&x.b, 2, "BB");
    write_at(&x.a, OFFSET_END, "!");
    assert_true(file_differs(x.file));
    assert_reads(&x.a, "AABBvalue!");
    assert_reads(&x.b, "AABBvalue!");
    file_drop_last(x.file, 1);
    assert_reads(&x.a, "AABBvalue");
    end(&x);
}

static void a_truncation_reads_as_empty_at_once_and_drops_what_was_held(void **state)
{
    struct fixture x;

    (void)state;
    begin(&x, "old value");
    write_at(&x.a, 0, "AAA");
    file_truncate(&x.b);
    assert_reads(&x.a, "");
    assert_int_equal(x.a.wrote, 0);
    write_at(&x.a, 0, "a");
    assert_reads(&x.b, "a");
    end(&x);
}

static void what_is_on_its_way_is_seen_and_later_writes_come_on_top(void **state)
{
    struct fixture x;
    struct buf writes = {0};

    (void)state;
    begin(&x, "old");
    file_truncate(&x.a);
    write_at(&x.a, 0, "new");
    file_take_held(x.file, &writes);
    x.file->coming = blob_new(slice_of_text("new"));
    assert_reads(&x.b, "new");
    write_at(&x.b, 3, "er");
    assert_reads(&x.a, "newer");
    assert_int_equal(x.a.wrote, FH_FLYING);
    assert_int_equal(x.b.wrote, FH_HELD);
    buf_fini(&writes);
    end(&x);
}

static void whoever_lost_a_write_in_anothers_commit_hears_of_it(void **state)
{
    struct fixture x;
    struct buf writes = {0};

    (void)state;
    begin(&x, "old");
    write_at(&x.a, 0, "A");
    write_at(&x.b, 1, "B");
    file_take_held(x.file, &writes);
    file_settle(x.file, &x.b, EFBIG);
    assert_int_equal(x.a.error, EFBIG);
    assert_int_equal(x.b.error, 0); /* its own call tells */
    assert_true(x.a.failed && x.b.failed);
    assert_int_equal(x.a.wrote | x.b.wrote, 0);
    buf_fini(&writes);
    file_take_held(x.file, &writes);
    file_settle(x.file, &x.b, 0);
    assert_true(x.a.failed && !x.b.failed);
    buf_fini(&writes);
    end(&x);
}

static void a_file_that_is_gone_goes_on_with_what_it_was(void **state)
{
    struct fixture x;

    (void)state;
    begin(&x, "opened");
    x.file->gone = true;
    file_unlink(&x.table, x.file);
    assert_reads(&x.a, "opened");
    x.file->own = blob_new(slice_of_text("own"));
    assert_reads(&x.a, "own");
    write_at(&x.b, 3, "ed");
    assert_reads(&x.a, "owned");
    end(&x);
}

static void a_key_leads_to_one_file_until_it_is_unlinked_or_renamed(void **state)
{
    struct file_table t = {0};
    struct file *f = file_get(&t, slice_of_text("/k")), *other;

    (void)state;
    assert_ptr_equal(file_get(&t, slice_of_text("/k")), f);
    file_unref(&t, f);
    file_set_key(&t, f, slice_of_text("/moved"));
    assert_null(file_find(&t, slice_of_text("/k")));
    assert_ptr_equal(file_find(&t, slice_of_text("/moved")), f);
    file_unlink(&t, f);
    other = file_get(&t, slice_of_text("/moved"));
    assert_ptr_not_equal(other, f);
    file_unref(&t, f);
    assert_ptr_equal(file_find(&t, slice_of_text("/moved")), other);
    file_unref(&t, other);
    assert_null(t.files);
}

/* ---- the policy ---- */

static void the_policy_is_the_contracts(void **state)
{
    static const struct {
        enum commit_mode mode;
        enum commit_moment at;
        bool wrote, truncates, pending, append, sync, failed;
        uint64_t end;
        bool due;
    } rows[] = {
        /* mode, moment, wrote, truncates, pending, append, sync, failed, where the write ended */
        {COMMIT_AUTO, AT_WRITE, 1, 0, 0, 0, 0, 0, 2, true},
        {COMMIT_AUTO, AT_WRITE, 1, 1, 0, 0, 0, 0, 4095, true},
        {COMMIT_AUTO, AT_WRITE, 1, 1, 0, 0, 0, 0, 4096, false},
        {COMMIT_AUTO, AT_WRITE, 1, 1, 0, 0, 0, 0, 8192, false},
        {COMMIT_AUTO, AT_WRITE, 1, 0, 0, 1, 0, 0, 4096, true},
        {COMMIT_AUTO, AT_WRITE, 1, 0, 0, 0, 1, 0, 4096, true},
        {COMMIT_AUTO, AT_WRITE, 1, 0, 0, 0, 0, 0, REQUEST_BYTES_MAX, false},
        {COMMIT_AUTO, AT_WRITE, 1, 0, 0, 0, 0, 0, REQUEST_BYTES_MAX + 4096, true},
        {COMMIT_WRITE, AT_WRITE, 1, 0, 0, 0, 0, 0, 4096, true},
        {COMMIT_CLOSE, AT_WRITE, 1, 0, 0, 0, 0, 0, 2, false},
        {COMMIT_CLOSE, AT_WRITE, 1, 0, 0, 1, 0, 0, 2, true},
        /* a flush comes before the data, too: it is no end of a truncation or a creation */
        {COMMIT_AUTO, AT_FLUSH, 1, 0, 0, 0, 0, 0, 0, true},
        {COMMIT_AUTO, AT_FLUSH, 0, 1, 0, 0, 0, 0, 0, false},
        {COMMIT_AUTO, AT_FLUSH, 0, 0, 1, 0, 0, 0, 0, false},
        {COMMIT_AUTO, AT_FSYNC, 0, 1, 0, 0, 0, 0, 0, true},
        {COMMIT_AUTO, AT_FSYNC, 0, 0, 1, 0, 0, 0, 0, true},
        {COMMIT_AUTO, AT_FSYNC, 0, 0, 0, 0, 0, 0, 0, false},
        {COMMIT_CLOSE, AT_RELEASE, 1, 0, 0, 0, 0, 0, 0, true},
        {COMMIT_AUTO, AT_RELEASE, 0, 1, 0, 0, 0, 0, 0, true},
        {COMMIT_AUTO, AT_RELEASE, 0, 0, 1, 0, 0, 0, 0, true},
        {COMMIT_AUTO, AT_RELEASE, 0, 0, 0, 0, 0, 0, 0, false},
        /* the data was refused: the old value stands */
        {COMMIT_AUTO, AT_RELEASE, 0, 1, 0, 0, 0, 1, 0, false},
        {COMMIT_AUTO, AT_RELEASE, 0, 0, 1, 0, 0, 1, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file f = {.truncate = rows[i].truncates, .pending = rows[i].pending};
        struct fh fh = {.file = &f,
                        .truncates = rows[i].truncates,
                        .append = rows[i].append,
                        .sync = rows[i].sync,
                        .failed = rows[i].failed,
                        .wrote = rows[i].wrote ? FH_HELD : 0};
        if (commit_is_due(rows[i].mode, rows[i].at, &fh, rows[i].end) != rows[i].due)
            fail_msg("row %zu is %s", i, rows[i].due ? "not due" : "due");
    }
}

static void a_truncation_that_somebody_else_committed_is_kept(void **state)
{
    struct file f = {0};
    struct fh fh = {.file = &f, .truncates = true};

    (void)state;
    assert_false(commit_is_due(COMMIT_AUTO, AT_RELEASE, &fh, 0));
}

static void a_truncation_is_committed_by_who_opened_with_it(void **state)
{
    struct fixture x;

    (void)state;
    begin(&x, "old value");
    file_truncate(&x.a);
    assert_true(commit_is_due(COMMIT_AUTO, AT_RELEASE, &x.a, 0));
    file_truncated(x.file);
    assert_false(commit_is_due(COMMIT_AUTO, AT_RELEASE, &x.a, 0));
    file_truncate(&x.b);
    assert_false(commit_is_due(COMMIT_AUTO, AT_RELEASE, &x.a, 0));
    assert_true(commit_is_due(COMMIT_AUTO, AT_RELEASE, &x.b, 0));
    end(&x);
}

/* ---- values ---- */

static void assert_value(const struct commit_change *change, const char *base, struct slice writes, struct slice value)
{
    struct buf v = {0};

    assert_true(commit_new_value(change, slice_of_text(base), writes, &v));
    assert_true(slice_equal(buf_slice(&v), value));
    buf_fini(&v);
}

static void a_change_replaces_merges_appends_and_resizes(void **state)
{
    struct fixture x;
    struct slice writes;

    (void)state;
    begin(&x, "");
    write_at(&x.a, 2, "XY");
    writes = buf_slice(&x.file->held);
    assert_value(&(struct commit_change){0}, "abcdef", writes, slice_of_text("abXYef"));
    assert_value(&(struct commit_change){0}, "a", writes, slice_of("a\0XY", 4));
    assert_value(&(struct commit_change){.replace = true}, "abcdef", writes, slice_of("\0\0XY", 4));
    assert_value(&(struct commit_change){.resize = true, .size = 3}, "abcdef", writes, slice_of_text("abX"));
    assert_value(&(struct commit_change){.resize = true, .size = 6}, "ab", writes, slice_of("abXY\0\0", 6));
    assert_value(&(struct commit_change){.resize = true}, "ab", slice_of(NULL, 0), slice_of_text(""));
    write_at(&x.a, OFFSET_END, "end");
    assert_value(&(struct commit_change){0}, "abcdef", buf_slice(&x.file->held), slice_of_text("abXYefend"));
    end(&x);
}

static void a_value_beyond_the_bound_is_refused(void **state)
{
    struct fixture x;
    struct buf v = {0};

    (void)state;
    begin(&x, "");
    write_at(&x.a, VALUE_BYTES_MAX - 1, "ab");
    assert_false(commit_new_value(&(struct commit_change){0}, slice_of_text(""), buf_slice(&x.file->held), &v));
    file_drop_last(x.file, 2);
    write_at(&x.a, UINT64_MAX - 1, "ab");
    assert_false(commit_new_value(&(struct commit_change){0}, slice_of_text(""), buf_slice(&x.file->held), &v));
    assert_false(commit_new_value(&(struct commit_change){.resize = true, .size = VALUE_BYTES_MAX + 1}, slice_of_text(""),
                                  slice_of(NULL, 0), &v));
    buf_fini(&v);
    end(&x);
}

/* What a handle reads before a commit is what the commit makes, and both are what an array would be. */
static void what_is_read_is_what_is_committed(void **state)
{
    unsigned seed = 3;

    (void)state;
    for (int n = 0; n < 2000; n++) {
        struct fixture x;
        struct buf value = {0}, scratch = {0};
        char model[64] = "base";
        size_t len = 4;
        begin(&x, "base");
        for (int k = rand_r(&seed) % 6; k > 0; k--) {
            struct fh *fh = rand_r(&seed) % 2 ? &x.a : &x.b;
            size_t off = (size_t)rand_r(&seed) % 12;
            char letter[2] = {(char)('A' + rand_r(&seed) % 26), 0};
            if (rand_r(&seed) % 8 == 0) {
                file_truncate(fh);
                memset(model, 0, sizeof model);
                len = 0;
                continue;
            }
            if (rand_r(&seed) % 3 == 0)
                off = len;
            write_at(fh, off == len ? OFFSET_END : off, letter);
            model[off] = letter[0];
            len = off + 1 > len ? off + 1 : len;
        }
        assert_true(slice_equal(fh_visible(&x.b, &scratch), slice_of(model, len)));
        assert_true(commit_new_value(&(struct commit_change){.replace = x.file->truncate}, blob_slice(x.a.value),
                                     buf_slice(&x.file->held), &value));
        assert_true(slice_equal(buf_slice(&value), slice_of(model, len)));
        buf_fini(&value);
        buf_fini(&scratch);
        end(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_who_write_see_one_content_in_the_order_of_the_writes),
        cmocka_unit_test(a_truncation_reads_as_empty_at_once_and_drops_what_was_held),
        cmocka_unit_test(what_is_on_its_way_is_seen_and_later_writes_come_on_top),
        cmocka_unit_test(whoever_lost_a_write_in_anothers_commit_hears_of_it),
        cmocka_unit_test(a_file_that_is_gone_goes_on_with_what_it_was),
        cmocka_unit_test(a_key_leads_to_one_file_until_it_is_unlinked_or_renamed),
        cmocka_unit_test(the_policy_is_the_contracts),
        cmocka_unit_test(a_truncation_that_somebody_else_committed_is_kept),
        cmocka_unit_test(a_truncation_is_committed_by_who_opened_with_it),
        cmocka_unit_test(a_change_replaces_merges_appends_and_resizes),
        cmocka_unit_test(a_value_beyond_the_bound_is_refused),
        cmocka_unit_test(what_is_read_is_what_is_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
