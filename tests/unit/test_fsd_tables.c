/* SPDX-License-Identifier: Apache-2.0 */
/* What the mount knows: inodes, the newest revision heard by name, when a revision was, the children of a directory. */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "fsd/children.h"
#include "fsd/emptied.h"
#include "fsd/heard.h"
#include "fsd/ino.h"
#include "fsd/revclock.h"

/* ---- inodes ---- */

static struct slice key(const char *text)
{
    return slice_of_text(text);
}

static void an_inode_lives_as_long_as_somebody_counts_on_it(void **state)
{
    struct ino_table t;
    struct ino *i;
    uint64_t id;

    (void)state;
    ino_table_init(&t, key("/"), 1000);
    assert_int_equal(ino_find(&t, VIEW_PLAIN, INO_DIR, key("/"))->id, INO_ROOT);
    i = ino_get(&t, VIEW_PLAIN, INO_FILE, key("/k"));
    id = i->id;
    ino_hold(i);
    i->lookups = 2;
    assert_ptr_equal(ino_get(&t, VIEW_PLAIN, INO_FILE, key("/k")), i);
    assert_ptr_not_equal(ino_get(&t, VIEW_LINEARIZABLE, INO_FILE, key("/k")), i);
    assert_ptr_not_equal(ino_get(&t, VIEW_PLAIN, INO_DIR, key("/k")), i);
    ino_forget(&t, i, 1);
    ino_release(&t, i);
    assert_ptr_equal(ino_by_id(&t, id), i);
    ino_forget(&t, i, 5); /* more than the kernel ever counted */
    assert_null(ino_by_id(&t, id));
    assert_null(ino_find(&t, VIEW_PLAIN, INO_FILE, key("/k")));
    ino_table_fini(&t);
}

static void a_name_that_leads_elsewhere_leaves_the_old_inode_to_its_handles(void **state)
{
    struct ino_table t;
    struct ino *old, *now, *moved;

    (void)state;
    ino_table_init(&t, key("/"), 1000);
    old = ino_get(&t, VIEW_PLAIN, INO_FILE, key("/k"));
    ino_hold(old);
    ino_unlink(&t, old);
    assert_false(old->linked);
    now = ino_get(&t, VIEW_PLAIN, INO_FILE, key("/k"));
    assert_ptr_not_equal(now, old);
    assert_true(slice_equal(ino_key(old), key("/k")));
    moved = ino_get(&t, VIEW_PLAIN, INO_FILE, key("/m"));
    ino_unlink(&t, now);
    ino_set_key(&t, moved, key("/k"));
    assert_ptr_equal(ino_find(&t, VIEW_PLAIN, INO_FILE, key("/k")), moved);
    assert_null(ino_find(&t, VIEW_PLAIN, INO_FILE, key("/m")));
    ino_release(&t, old);
    ino_table_fini(&t);
}

static void values_beyond_the_bound_are_let_go_least_recently_used_first(void **state)
{
    struct ino_table t;
    struct ino *i[3];
    uint8_t bytes[400] = {0};

    (void)state;
    ino_table_init(&t, key("/"), 1000);
    for (int n = 0; n < 3; n++) {
        char name[3] = {'/', (char)('a' + n), 0};
        struct blob *b = blob_new(slice_of(bytes, sizeof bytes));
        i[n] = ino_get(&t, VIEW_PLAIN, INO_FILE, key(name));
        if (n == 2)
            ino_touch(&t, i[0]);
        ino_set_value(&t, i[n], b);
        blob_unref(b);
    }
    assert_non_null(i[0]->value);
    assert_null(i[1]->value);
    assert_non_null(i[2]->value);
    assert_int_equal(t.value_bytes, 800);
    ino_set_value(&t, i[0], NULL);
    assert_int_equal(t.value_bytes, 400);
    ino_table_fini(&t);
}

static void a_number_is_the_same_on_every_mount_and_another_for_what_is_made_anew(void **state)
{
    uint64_t n = ino_number(VIEW_PLAIN, INO_FILE, key("/k"), 7);

    (void)state;
    assert_int_equal(n, ino_number(VIEW_PLAIN, INO_FILE, key("/k"), 7));
    assert_int_not_equal(n, ino_number(VIEW_PLAIN, INO_FILE, key("/k"), 8));
    assert_int_not_equal(n, ino_number(VIEW_PLAIN, INO_FILE, key("/l"), 7));
    assert_int_not_equal(n, ino_number(VIEW_LINEARIZABLE, INO_FILE, key("/k"), 7));
    assert_int_not_equal(ino_number(VIEW_PLAIN, INO_DIR, key("/k"), 0), ino_number(VIEW_PLAIN, INO_FILE, key("/k"), 0));
}

/* ---- what was heard ---- */

static void an_answer_from_before_what_was_heard_is_not_kept(void **state)
{
    static struct heard h;

    (void)state;
    heard_reset(&h, 10);
    assert_false(heard_allows(&h, key("/k"), 9)); /* nothing is known of what happened up to then */
    assert_true(heard_allows(&h, key("/k"), 10));
    heard_note(&h, key("/k"), 15);
    assert_false(heard_allows(&h, key("/k"), 14));
    assert_true(heard_allows(&h, key("/k"), 15));
    heard_note(&h, key("/k"), 12); /* out of order: the newest counts */
    assert_false(heard_allows(&h, key("/k"), 14));
    heard_reset(&h, 20);
    assert_true(heard_allows(&h, key("/k"), 20));
}

static void names_that_share_a_slot_never_hide_an_event(void **state)
{
    static struct heard h;
    char name[16];

    (void)state;
    heard_reset(&h, 1);
    for (int n = 0; n < 20000; n++) {
        snprintf(name, sizeof name, "/k%d", n);
        heard_note(&h, key(name), 2 + n);
    }
    for (int n = 0; n < 20000; n++) {
        snprintf(name, sizeof name, "/k%d", n);
        assert_false(heard_allows(&h, key(name), 1 + n));
    }
}

static void a_revision_was_when_it_or_a_later_one_was_first_heard_of(void **state)
{
    static struct revclock c;

    (void)state;
    assert_int_equal(revclock_when(&c, 5), 0);
    revclock_note(&c, 10, 1000);
    revclock_note(&c, 10, 2000); /* heard of already */
    revclock_note(&c, 8, 3000);
    revclock_note(&c, 20, 4000);
    assert_int_equal(revclock_when(&c, 1), 1000);
    assert_int_equal(revclock_when(&c, 10), 1000);
    assert_int_equal(revclock_when(&c, 11), 4000);
    assert_int_equal(revclock_when(&c, 99), 4000);
    revclock_note(&c, 30, 3500); /* the wall clock was set back */
    assert_int_equal(revclock_when(&c, 30), 4000);
}

static void times_never_go_back_however_many_revisions_there_were(void **state)
{
    static struct revclock c;
    int64_t last = 0;

    (void)state;
    for (int64_t rev = 1; rev <= 10000; rev++)
        revclock_note(&c, rev, rev * 10);
    assert_true(c.count <= REVCLOCK_SAMPLES);
    for (int64_t rev = 1; rev <= 10000; rev++) {
        int64_t ns = revclock_when(&c, rev);
        assert_true(ns >= last && ns >= rev * 10);
        last = ns;
    }
    assert_int_equal(last, 100000);
}

/* ---- emptied directories ---- */

static void a_directory_is_there_a_moment_longer_for_who_emptied_it(void **state)
{
    static struct emptied e;

    (void)state;
    assert_false(emptied_by(&e, key("/d/"), 0, 5)); /* nobody is not somebody */
    emptied_note(&e, key("/d/"), 7, 100);
    assert_true(emptied_by(&e, key("/d/"), 7, 100 + EMPTIED_NS - 1));
    assert_false(emptied_by(&e, key("/d/"), 7, 100 + EMPTIED_NS));
    assert_false(emptied_by(&e, key("/d/"), 8, 100));
    assert_false(emptied_by(&e, key("/e/"), 7, 100));
    emptied_forget(&e, key("/e/"));
    assert_true(emptied_by(&e, key("/d/"), 7, 100));
    emptied_forget(&e, key("/d/"));
    assert_false(emptied_by(&e, key("/d/"), 7, 100));
}

/* ---- children ---- */

static struct slice take(struct listing *l, const char *prefix, const char *text, const char *value)
{
    Mvccpb__KeyValue kv = {.create_revision = 3};

    kv.key.data = (uint8_t *)(uintptr_t)text;
    kv.key.len = strlen(text);
    kv.value.data = (uint8_t *)(uintptr_t)value;
    kv.value.len = strlen(value);
    return listing_take(l, strcmp(prefix, "/") == 0, key(prefix), &kv);
}

static void assert_names(const struct listing *l, const char *names)
{
    struct buf text = {0};

    for (size_t i = 0; i < l->count; i++)
        buf_printf(&text, "%s%s ", child_name(l, &l->children[i]), l->children[i].dir ? "/" : "");
    assert_string_equal(buf_text(&text), names);
    buf_fini(&text);
}

static void a_directory_lists_each_name_once_in_order(void **state)
{
    struct listing l = {0};
    struct slice dir;

    (void)state;
    assert_int_equal(take(&l, "/d/", "/d/", "").len, 0); /* its marker is no child */
    dir = take(&l, "/d/", "/d/b/x", "1");
    assert_true(slice_equal(dir, key("/d/b")));
    take(&l, "/d/", "/d/b", "2"); /* a key that is a directory, too */
    take(&l, "/d/", "/d/a", "3");
    take(&l, "/d/", "/d//y", "4");
    take(&l, "/d/", "/d/50%", "5");
    take(&l, "/d/", "/elsewhere", "6"); /* what nobody asked for */
    listing_take_pending(&l, false, key("a"));
    listing_take_pending(&l, false, key("new"));
    listing_take_value(&l, &(Mvccpb__KeyValue){.mod_revision = 9});
    listing_finish(&l);
    assert_names(&l, "%empty/ %value 50%25 a b/ new ");
    assert_false(l.children[3].pending); /* the store knows it by now */
    assert_true(l.children[5].pending);
    assert_int_equal(l.children[3].kv.create_revision, 3);
    assert_int_equal(kv_size(&l.children[3].kv), 1);
    listing_clear(&l);
    listing_finish(&l);
    assert_int_equal(l.count, 0);
    listing_fini(&l);
}

static void a_marker_with_a_value_is_a_file_and_views_are_escaped_at_the_top(void **state)
{
    struct listing l = {0};

    (void)state;
    take(&l, "/d/", "/d/", "value");
    take(&l, "/d/", "/d/.watch", "1");
    listing_finish(&l);
    assert_names(&l, "%empty .watch ");
    listing_clear(&l);
    take(&l, "/", "/.watch", "1");
    take(&l, "/", "/./x", "1");
    listing_finish(&l);
    assert_names(&l, "%2E/ %2Ewatch ");
    listing_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inode_lives_as_long_as_somebody_counts_on_it),
        cmocka_unit_test(a_name_that_leads_elsewhere_leaves_the_old_inode_to_its_handles),
        cmocka_unit_test(values_beyond_the_bound_are_let_go_least_recently_used_first),
        cmocka_unit_test(a_number_is_the_same_on_every_mount_and_another_for_what_is_made_anew),
        cmocka_unit_test(an_answer_from_before_what_was_heard_is_not_kept),
        cmocka_unit_test(names_that_share_a_slot_never_hide_an_event),
        cmocka_unit_test(a_revision_was_when_it_or_a_later_one_was_first_heard_of),
        cmocka_unit_test(times_never_go_back_however_many_revisions_there_were),
        cmocka_unit_test(a_directory_is_there_a_moment_longer_for_who_emptied_it),
        cmocka_unit_test(a_directory_lists_each_name_once_in_order),
        cmocka_unit_test(a_marker_with_a_value_is_a_file_and_views_are_escaped_at_the_top),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
