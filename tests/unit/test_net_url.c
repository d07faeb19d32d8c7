/* SPDX-License-Identifier: Apache-2.0 */
/* URLs and digests: text and bytes in, no sockets. */
#include "tests/unit/check.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "net/digest.h"
#include "net/url.h"

static void every_spelling_of_an_address_has_one_canonical_form(void **state)
{
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        {"http://127.0.0.1:2379", "http://127.0.0.1:2379"},
        {"http://127.0.0.1:2379/", "http://127.0.0.1:2379"},
        {"127.0.0.1:2379", "http://127.0.0.1:2379"},
        {"localhost:0", "http://localhost:0"},
        {"node-1.example.org:65535", "http://node-1.example.org:65535"},
        {"https://h:1", "https://h:1"},
        {"http://[::1]:2379", "http://[::1]:2379"},
        {"[fe80::1%eth0]:80", "http://[fe80::1%eth0]:80"},
        {"http://h:00080", "http://h:80"},
        {"unix:///run/raftd.sock", "unix:///run/raftd.sock"},
        {"unix://relative.sock", "unix://relative.sock"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct url url;
        struct error error;
        char text[400];
        assert_int_equal(url_parse(rows[i].text, &url, &error), ST_OK);
        url_format(&url, text, sizeof text);
        assert_string_equal(text, rows[i].canonical);
    }
}

static void what_is_no_address_is_refused_with_a_reason(void **state)
{
    static const char *const rows[] = {
        "",           "http://",          "h",           "http://h",         ":2379",         "http://:2379",
        "http://h:",  "http://h:x",       "http://h:-1", "http://h:+1",      "http://h: 1",   "http://h:65536",
        "http://h:1/v3", "http://h:1 ",   "ftp://h:1",   "http://u@h:1",     "http://a/b:1",  "http://::1:2379",
        "http://[::1]", "http://[::1",    "http://[::1]2379", "http://[]:1", "http://h:000080", "http://h:99999999999",
        "unix://",
    };
    char path[200], long_host[400];
    struct url url = {.port = 7};
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(url_parse(rows[i], &url, &error), ST_BAD_ARGUMENT);
        assert_true(error.text[0] != 0);
    }
    snprintf(path, sizeof path, "unix://%0108d", 0);
    assert_int_equal(url_parse(path, &url, &error), ST_BAD_ARGUMENT);
    path[7 + 107] = 0;
    assert_int_equal(url_parse(path, &url, &error), ST_OK);
    snprintf(long_host, sizeof long_host, "http://%0256d:1", 0);
    url.port = 7;
    assert_int_equal(url_parse(long_host, &url, &error), ST_BAD_ARGUMENT);
    assert_int_equal(url.port, 7); /* untouched on failure */
}

static void a_list_has_no_empty_places_and_an_end(void **state)
{
    struct url urls[2];
    struct error error;
    unsigned count = 99;

    (void)state;
    assert_int_equal(url_parse_list("", urls, 2, &count, &error), ST_OK);
    assert_int_equal(count, 0);
    assert_int_equal(url_parse_list("a:1,https://b:2", urls, 2, &count, &error), ST_OK);
    assert_int_equal(count, 2);
    assert_string_equal(urls[1].host, "b");
    assert_true(urls[1].tls && !urls[0].tls);
    assert_int_equal(url_parse_list("a:1,b:2,c:3", urls, 2, &count, &error), ST_LIMIT);
    assert_int_equal(url_parse_list("a:1,", urls, 2, &count, &error), ST_BAD_ARGUMENT);
    assert_int_equal(url_parse_list("a:1,,b:2", urls, 2, &count, &error), ST_BAD_ARGUMENT);
    assert_int_equal(url_parse_list(",", urls, 2, &count, &error), ST_BAD_ARGUMENT);
}

static void resolving_gives_the_address_that_the_text_says(void **state)
{
    struct sockaddr_storage address;
    struct error error;
    struct url url;
    socklen_t len;

    (void)state;
    assert_int_equal(url_parse("localhost:2379", &url, &error), ST_OK);
    assert_int_equal(url_address(&url, &address, &len, &error), ST_OK);
    assert_int_equal(address.ss_family, AF_INET);
    assert_int_equal(((struct sockaddr_in *)&address)->sin_port, htons(2379));
    assert_int_equal(url_parse("[::1]:2380", &url, &error), ST_OK);
    assert_int_equal(url_resolve(&url, &address, &len, &error), ST_OK);
    assert_int_equal(address.ss_family, AF_INET6);
    assert_int_equal(url_parse("unix:///x", &url, &error), ST_OK);
    assert_int_equal(url_address(&url, &address, &len, &error), ST_OK);
    assert_string_equal(((struct sockaddr_un *)&address)->sun_path, "/x");
}

static void a_name_is_no_address_to_listen_on(void **state)
{
    struct sockaddr_storage address;
    struct error error;
    struct url url;
    socklen_t len;

    (void)state;
    assert_int_equal(url_parse("example.org:2379", &url, &error), ST_OK);
    assert_int_equal(url_address(&url, &address, &len, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "must be an IP address"));
}

static void digests_are_those_of_the_standards(void **state)
{
    /* FIPS 180-2, appendix A.1 and B.1: "abc". */
    static const uint8_t sha1[20] = {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e,
                                     0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    static const uint8_t sha256_head[8] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    uint8_t digest[32];

    (void)state;
    digest_sha1(slice_of_text("abc"), digest);
    assert_memory_equal(digest, sha1, sizeof sha1);
    digest_sha256(slice_of_text("abc"), digest);
    assert_memory_equal(digest, sha256_head, sizeof sha256_head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_of_an_address_has_one_canonical_form),
        cmocka_unit_test(what_is_no_address_is_refused_with_a_reason),
        cmocka_unit_test(a_list_has_no_empty_places_and_an_end),
        cmocka_unit_test(resolving_gives_the_address_that_the_text_says),
        cmocka_unit_test(a_name_is_no_address_to_listen_on),
        cmocka_unit_test(digests_are_those_of_the_standards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
