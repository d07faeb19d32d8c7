/* SPDX-License-Identifier: Apache-2.0 */
/* Names and keys: total and one to one (the contract of the mount, "Keys and names"). */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "fsd/ns.h"

static const char *name_of(struct buf *b, struct slice component, bool top)
{
    buf_clear(b);
    ns_name_of(component, top, b);
    return buf_text(b);
}

static void each_component_has_the_name_of_the_contract_and_back(void **state)
{
    static const struct {
        const char *component;
        size_t len;
        bool top;
        const char *name;
    } rows[] = {
        {"app", 3, true, "app"},
        {"caf\xc3\xa9 \n", 7, false, "caf\xc3\xa9 \n"},
        {"\xff\xfe", 2, false, "\xff\xfe"},
        {"a\0b", 3, false, "a%00b"},
        {"50%", 3, false, "50%25"},
        {"%value", 6, false, "%25value"},
        {"%41", 3, false, "%2541"},
        {".", 1, false, "%2E"},
        {"..", 2, true, "%2E%2E"},
        {"...", 3, false, "..."},
        {".x", 2, true, ".x"},
        {"", 0, false, "%empty"},
        {".linearizable", 13, true, "%2Elinearizable"},
        {".linearizable", 13, false, ".linearizable"},
        {".leases", 7, true, "%2Eleases"},
        {".revisions", 10, true, "%2Erevisions"},
        {".watch", 6, true, "%2Ewatch"},
        {".status", 7, true, "%2Estatus"},
        {".statusx", 8, true, ".statusx"},
    };
    struct buf name = {0}, component = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum ns_kind kind = NS_LONG;
        assert_string_equal(name_of(&name, slice_of(rows[i].component, rows[i].len), rows[i].top), rows[i].name);
        assert_int_equal(ns_parse(buf_slice(&name), rows[i].top, &kind, &component), ST_OK);
        assert_int_equal(kind, NS_COMPONENT);
        assert_true(slice_equal(buf_slice(&component), slice_of(rows[i].component, rows[i].len)));
    }
    buf_fini(&name);
    buf_fini(&component);
}

static void only_the_canonical_spelling_exists(void **state)
{
    static const char *const names[] = {"%41",  "%2e", "%2E%2e", "a%2Fb", "%",       "%2",         "a%zz",  "%2Ex",  "100%",
                                        "%00x%", "%25%", "%valu", "%empty%", "%emptyx", "%2Elinearizable", "%2E%2E%2E"};
    struct buf component = {0};
    enum ns_kind kind;

    (void)state;
    /* (%2Elinearizable is one in the root only.) */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (ns_parse(slice_of_text(names[i]), false, &kind, &component) != ST_NOT_FOUND)
            fail_msg("%s is taken for a name", names[i]);
    buf_fini(&component);
}

static void the_free_names_stand_for_what_no_component_can(void **state)
{
    struct buf component = {0};
    enum ns_kind kind;

    (void)state;
    assert_int_equal(ns_parse(slice_of_text("%value"), false, &kind, &component), ST_OK);
    assert_int_equal(kind, NS_VALUE);
    assert_int_equal(ns_parse(slice_of_text("%long-00"), false, &kind, &component), ST_OK);
    assert_int_equal(kind, NS_LONG);
    assert_int_equal(ns_parse(slice_of_text(".linearizable"), true, &kind, &component), ST_OK);
    assert_int_equal(kind, NS_VIEW);
    assert_int_equal(ns_parse(slice_of_text(".status"), true, &kind, &component), ST_NOT_FOUND);
    buf_fini(&component);
}

static void a_component_that_is_too_long_for_a_name_has_a_digest(void **state)
{
    char bytes[400];
    struct buf a = {0}, b = {0}, component = {0};
    enum ns_kind kind;

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(strlen(name_of(&a, slice_of(bytes, 255), false)), 255);
    assert_memory_equal(name_of(&a, slice_of(bytes, 256), false), NS_LONG_PREFIX, strlen(NS_LONG_PREFIX));
    assert_true(buf_len(&a) <= NAME_BYTES_MAX);
    assert_string_not_equal(name_of(&b, slice_of(bytes, 257), false), buf_text(&a));
    assert_int_equal(ns_parse(buf_slice(&a), false, &kind, &component), ST_OK);
    assert_int_equal(kind, NS_LONG);
    /* It is the escaped name that counts. */
    memset(bytes, '%', 86);
    assert_memory_equal(name_of(&a, slice_of(bytes, 86), false), NS_LONG_PREFIX, strlen(NS_LONG_PREFIX));
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(ns_parse(slice_of(bytes, 256), false, &kind, &component), ST_NAME_TOO_LONG);
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&component);
}

/* Bytes that the rules are about, in an order that repeats from the seed. */
static struct slice draw(uint8_t *bytes, size_t max, unsigned *seed)
{
    static const uint8_t alphabet[] = {0, '%', '.', '2', '5', 'E', 'e', '0', 'v', 'l', 'a', 0xff, '\n', ' '};
    size_t len = (size_t)rand_r(seed) % (max + 1);

    for (size_t i = 0; i < len; i++)
        bytes[i] = alphabet[(size_t)rand_r(seed) % sizeof alphabet];
    return slice_of(bytes, len);
}

static void any_component_goes_there_and_back(void **state)
{
    unsigned seed = 1;
    struct buf name = {0}, component = {0};

    (void)state;
    for (int n = 0; n < 20000; n++) {
        uint8_t bytes[100];
        bool top = n % 2;
        struct slice drawn = draw(bytes, n % 100 ? 6 : sizeof bytes, &seed);
        enum ns_kind kind;
        const char *text = name_of(&name, drawn, top);
        if (strlen(text) != buf_len(&name) || strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
            fail_msg("no name: %s (component %d of seed 1)", text, n);
        if (slice_has_prefix(buf_slice(&name), slice_of_text(NS_LONG_PREFIX)))
            continue;
        assert_int_equal(ns_parse(buf_slice(&name), top, &kind, &component), ST_OK);
        assert_int_equal(kind, NS_COMPONENT);
        if (!slice_equal(buf_slice(&component), drawn))
            fail_msg("%s is another component (component %d of seed 1)", text, n);
    }
    buf_fini(&name);
    buf_fini(&component);
}

static void any_name_that_is_one_goes_there_and_back(void **state)
{
    unsigned seed = 2;
    int taken = 0;
    struct buf name = {0}, component = {0};

    (void)state;
    for (int n = 0; n < 50000; n++) {
        uint8_t bytes[8];
        struct slice drawn = draw(bytes, sizeof bytes, &seed);
        enum ns_kind kind;
        if (memchr(bytes, 0, drawn.len) || ns_parse(drawn, n % 2, &kind, &component) != ST_OK || kind != NS_COMPONENT)
            continue;
        taken++;
        name_of(&name, buf_slice(&component), n % 2);
        if (!slice_equal(buf_slice(&name), drawn))
            fail_msg("two names for one component: %.*s and %s", (int)drawn.len, bytes, buf_text(&name));
    }
    assert_true(taken > 1000);
    buf_fini(&name);
    buf_fini(&component);
}

static void the_end_of_a_prefix_is_the_first_key_behind_it(void **state)
{
    struct buf end = {0};

    (void)state;
    ns_prefix_end(slice_of_text("/app/"), &end);
    assert_true(slice_equal(buf_slice(&end), slice_of_text("/app0")));
    ns_prefix_end(slice_of("a\xff\xff", 3), &end);
    assert_true(slice_equal(buf_slice(&end), slice_of_text("b")));
    ns_prefix_end(slice_of("\xff", 1), &end);
    assert_true(slice_equal(buf_slice(&end), slice_of("", 1)));
    ns_prefix_end(slice_of(NULL, 0), &end);
    assert_true(slice_equal(buf_slice(&end), slice_of("", 1)));
    buf_fini(&end);
}

static void a_key_stands_in_the_directory_before_its_last_component(void **state)
{
    static const struct {
        const char *key, *root, *parent;
    } rows[] = {
        {"/app/db", "/", "/app/"}, {"/app/db/", "/", "/app/"}, {"/app", "/", "/"},   {"/app/", "/app/", "/app/"},
        {"/a//b", "/", "/a//"},    {"/a//", "/", "/a/"},       {"k", "", ""},        {"/k", "", "/"},
        {"/app/x", "/app/", "/app/"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice parent = ns_parent(slice_of_text(rows[i].key), slice_of_text(rows[i].root));
        if (!slice_equal(parent, slice_of_text(rows[i].parent)))
            fail_msg("%s stands in %.*s", rows[i].key, (int)parent.len, parent.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_component_has_the_name_of_the_contract_and_back),
        cmocka_unit_test(only_the_canonical_spelling_exists),
        cmocka_unit_test(the_free_names_stand_for_what_no_component_can),
        cmocka_unit_test(a_component_that_is_too_long_for_a_name_has_a_digest),
        cmocka_unit_test(any_component_goes_there_and_back),
        cmocka_unit_test(any_name_that_is_one_goes_there_and_back),
        cmocka_unit_test(the_end_of_a_prefix_is_the_first_key_behind_it),
        cmocka_unit_test(a_key_stands_in_the_directory_before_its_last_component),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
