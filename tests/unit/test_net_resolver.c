/* SPDX-License-Identifier: Apache-2.0 */
/* Looking names up beside the loop. What looks them up here answers when the test says so. */
#include "tests/unit/check.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/limits.h"
#include "net/resolver.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool silent;                 /* no name server answers */
static unsigned begun, under_way;   /* lookups */

/* 10.0.0.LENGTH for a name of that length; none for "nowhere". */
static enum status look_up(const struct url *url, struct sockaddr_storage *ret_address, socklen_t *ret_len, struct error *ret_error)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret_address;

    pthread_mutex_lock(&lock);
    begun++;
    under_way++;
    pthread_cond_broadcast(&changed);
    while (silent)
        pthread_cond_wait(&changed, &lock);
    under_way--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (strcmp(url->host, "nowhere") == 0)
        return error_set(ret_error, ST_UNREACHABLE, "%s: no such name", url->host);
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 | (uint32_t)strlen(url->host))};
    *ret_len = sizeof *in;
    return ST_OK;
}

static void set_silent(bool is_silent)
{
    pthread_mutex_lock(&lock);
    silent = is_silent;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static unsigned count_begun(void)
{
    unsigned count;

    pthread_mutex_lock(&lock);
    count = begun;
    pthread_mutex_unlock(&lock);
    return count;
}

struct fixture {
    struct loop *loop;
    struct resolver *resolver;
};

struct asker {
    struct resolver_wait wait;
    unsigned heard;
    uint32_t address;
    uint16_t port;
    char why[300];
};

static void on_found(void *arg, const struct sockaddr_storage *address, socklen_t len, const char *why)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    struct asker *a = arg;

    a->heard++;
    assert_true(!address == !!why);
    snprintf(a->why, sizeof a->why, "%s", address ? "" : why);
    if (!address)
        return;
    assert_int_equal(len, sizeof *in);
    a->address = ntohl(in->sin_addr.s_addr);
    a->port = ntohs(in->sin_port);
}

static void ask(struct fixture *f, struct asker *a, const char *text)
{
    struct error error;
    struct url url;

    a->wait.found_fn = on_found;
    a->wait.arg = a;
    assert_int_equal(url_parse(text, &url, &error), ST_OK);
    resolver_find(f->resolver, &a->wait, &url);
}

static void wait_for(struct fixture *f, struct asker *a, unsigned heard)
{
    for (int i = 0; i < 1000 && a->heard < heard; i++)
        loop_run_once(f->loop, 10);
    assert_int_equal(a->heard, heard);
    assert_null(a->wait.name);
}

static int set_up(void **state)
{
    static struct fixture f;

    f.loop = loop_new();
    f.resolver = resolver_new(f.loop, look_up);
    silent = false;
    begun = 0;
    *state = &f;
    return 0;
}

/* Threads that outlive the resolver end before the program does: what they hold is not lost. */
static int tear_down(void **state)
{
    struct fixture *f = *state;

    resolver_free(f->resolver);
    loop_free(f->loop);
    set_silent(false);
    pthread_mutex_lock(&lock);
    while (under_way)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return 0;
}

static void what_is_no_name_is_known_at_once(void **state)
{
    struct fixture *f = *state;
    struct asker a = {0};

    ask(f, &a, "127.0.0.1:17");
    assert_int_equal(a.heard, 1);
    assert_int_equal(a.address, 0x7f000001);
    assert_int_equal(a.port, 17);
    ask(f, &a, "localhost:18");
    assert_int_equal(a.heard, 2);
    assert_int_equal(a.port, 18);
    assert_int_equal(begun, 0);
}

static void a_name_is_found_beside_the_loop(void **state)
{
    struct fixture *f = *state;
    struct asker a = {0}, b = {0};

    ask(f, &a, "host.example:2380");
    assert_non_null(a.wait.name);
    wait_for(f, &a, 1);
    assert_int_equal(a.address, 0x0a00000c);
    assert_int_equal(a.port, 2380);
    ask(f, &b, "nowhere:1");
    wait_for(f, &b, 1);
    assert_string_equal(b.why, "nowhere: no such name");
    ask(f, &a, "host.example:2380"); /* nothing is remembered */
    wait_for(f, &a, 2);
    assert_int_equal(count_begun(), 3);
}

/* While no name server answers the loop goes on, and one thread is enough for all who want a name. */
static void a_lookup_that_hangs_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    struct asker a = {0}, same = {0}, other = {0};

    set_silent(true);
    ask(f, &a, "host:1");
    for (unsigned i = 0; i < 100; i++) {
        ask(f, &same, "host:2"); /* it gives up, and tries again */
        loop_run_once(f->loop, 0);
    }
    ask(f, &other, "127.0.0.1:3");
    assert_int_equal(other.heard, 1);
    assert_int_equal(a.heard + same.heard, 0);
    set_silent(false);
    wait_for(f, &a, 1);
    wait_for(f, &same, 1);
    assert_int_equal(count_begun(), 1);
    assert_int_equal(a.port, 1);
    assert_int_equal(same.port, 2);
    assert_int_equal(same.address, a.address);
}

static void who_has_cancelled_hears_nothing(void **state)
{
    struct fixture *f = *state;
    struct asker a = {0}, b = {0};

    set_silent(true);
    ask(f, &a, "host:1");
    ask(f, &b, "host:1");
    resolver_cancel(&a.wait);
    resolver_cancel(&a.wait);
    set_silent(false);
    wait_for(f, &b, 1);
    assert_int_equal(a.heard, 0);
}

static void names_under_way_have_a_limit(void **state)
{
    struct fixture *f = *state;
    struct asker askers[RESOLVER_NAMES_MAX + 1];
    char text[40];

    memset(askers, 0, sizeof askers);
    set_silent(true);
    for (unsigned i = 0; i <= RESOLVER_NAMES_MAX; i++) {
        snprintf(text, sizeof text, "host-%u:1", i);
        ask(f, &askers[i], text);
    }
    assert_int_equal(askers[RESOLVER_NAMES_MAX].heard, 1);
    assert_non_null(strstr(askers[RESOLVER_NAMES_MAX].why, "names are being looked up already"));
    set_silent(false);
    for (unsigned i = 0; i < RESOLVER_NAMES_MAX; i++)
        wait_for(f, &askers[i], 1);
    ask(f, &askers[RESOLVER_NAMES_MAX], text);
    wait_for(f, &askers[RESOLVER_NAMES_MAX], 2);
}

static void on_found_cancel_other(void *arg, const struct sockaddr_storage *address, socklen_t len, const char *why)
{
    (void)address;
    (void)len;
    (void)why;
    resolver_cancel(&((struct asker *)arg)->wait);
}

static void one_who_hears_may_cancel_another(void **state)
{
    struct fixture *f = *state;
    struct asker first = {0}, second = {0}, third = {0};

    set_silent(true);
    ask(f, &first, "host:1");
    ask(f, &second, "host:1");
    ask(f, &third, "host:1");
    first.wait.found_fn = on_found_cancel_other;
    first.wait.arg = &second;
    set_silent(false);
    wait_for(f, &third, 1);
    assert_int_equal(second.heard, 0);
}

/* tear_down frees the resolver before that thread has its answer. */
static void a_resolver_may_go_while_a_lookup_is_under_way(void **state)
{
    struct fixture *f = *state;
    static struct asker a;

    set_silent(true);
    ask(f, &a, "host:1");
    assert_non_null(a.wait.name);
    pthread_mutex_lock(&lock);
    while (!begun)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_no_name_is_known_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_found_beside_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lookup_that_hangs_holds_nobody_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_cancelled_hears_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_under_way_have_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_who_hears_may_cancel_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_resolver_may_go_while_a_lookup_is_under_way, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
