/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let into a cluster, and who is remembered. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"
#include "raftd/join.h"
#include "raftd/met.h"
#include "raftd/peer/frame.h"
#include "tests/unit/check.h"
#include "tests/unit/temp_dir.h"

static char a[] = "http://a:1", b[] = "http://b:1", c[] = "http://c:1", d[] = "http://d:1";

/* One member a URL, with ids from `first` on. */
static struct members cluster_of(uint64_t first, unsigned count, char *urls[])
{
    struct members m = {0};

    for (unsigned i = 0; i < count; i++)
        assert_int_equal(members_add(&m, first + i, "", &urls[i], 1), ST_OK);
    return m;
}

static void a_joiner_is_who_has_its_urls(void **state)
{
    struct members told = cluster_of(10, 3, (char *[]){a, b, c}), now = cluster_of(20, 3, (char *[]){c, a, b});
    struct error error = {0};
    uint64_t id = 0;

    (void)state;
    assert_int_equal(join_judge(&told, 11, &now, &id, &error), ST_OK);
    assert_int_equal(id, 22); /* b's */
    members_find(&now, 22)->incarnation = 5;
    assert_int_equal(join_judge(&told, 11, &now, &id, &error), ST_OTHER_INCARNATION);
    assert_non_null(strstr(error.text, "has already been bootstrapped"));
    members_find(&now, 20)->incarnation = 6;
    members_find(&now, 22)->incarnation = 0;
    assert_int_equal(join_judge(&told, 11, &now, &id, &error), ST_OK); /* the others have, of course */
    members_fini(&told);
    members_fini(&now);
}

static void flags_and_cluster_must_agree(void **state)
{
    struct members told = cluster_of(10, 3, (char *[]){a, b, c}), more = cluster_of(20, 4, (char *[]){a, b, c, d}),
                   other = cluster_of(20, 3, (char *[]){a, b, d}), twice = {0};
    char *both[] = {a, b};
    struct error error = {0};
    uint64_t id = 99;

    (void)state;
    assert_int_equal(join_judge(&told, 10, &more, &id, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "member count is unequal"));
    assert_int_equal(join_judge(&told, 10, &other, &id, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "no match found for existing member (16, [http://d:1])"));
    /* All of a member's URLs count. */
    assert_int_equal(members_add(&twice, 1, "", both, 2), ST_OK);
    members_fini(&other);
    other = cluster_of(20, 1, (char *[]){a});
    assert_int_equal(join_judge(&twice, 1, &other, &id, &error), ST_BAD_ARGUMENT);
    assert_int_equal(id, 99);
    members_fini(&told);
    members_fini(&more);
    members_fini(&other);
    members_fini(&twice);
}

/* ---- what several say ---- */

/* a, b and a third with this id at c. */
static struct join_heard heard_with(uint64_t id, uint64_t incarnation)
{
    struct join_heard h = {.cluster_id = 7, .founders = cluster_of(20, 2, (char *[]){a, b}), .now = cluster_of(20, 2, (char *[]){a, b})};
    char *url = c;

    assert_int_equal(members_add(&h.now, id, "", &url, 1), ST_OK);
    members_find(&h.now, id)->incarnation = incarnation;
    return h;
}

static void replace(struct join_heard *h, uint64_t id, uint64_t by)
{
    struct raft_conf conf = h->now.conf;
    char *url = c;

    for (unsigned i = 0; i < conf.voter_count; i++)
        if (conf.voters[i] == id)
            conf.voters[i] = conf.voters[--conf.voter_count];
    members_remove(&h->now, id, &conf);
    assert_int_equal(members_add(&h->now, by, "", &url, 1), ST_OK);
}

static enum status choose(const struct join_heard *heard, unsigned count, unsigned *ret_chosen, uint64_t *ret_id, struct error *ret_error)
{
    struct members told = cluster_of(10, 3, (char *[]){a, b, c});
    enum status st = join_choose(&told, 12, heard, count, ret_chosen, ret_id, ret_error);

    members_fini(&told);
    return st;
}

static void who_knows_of_the_most_changes_decides(void **state)
{
    for (uint64_t incarnation = 0; incarnation < 2; incarnation++) /* the predecessor never started, or did */
        for (unsigned late = 0; late < 2; late++) {
            struct join_heard heard[2] = {heard_with(30, incarnation), heard_with(30, incarnation)};
            struct error error = {0};
            unsigned chosen = 9;
            uint64_t id = 0;
            (void)state;
            replace(&heard[!late], 30, 31);
            if (choose(heard, 2, &chosen, &id, &error) != ST_OK)
                fail_msg("%s", error.text);
            assert_int_equal(id, 31);
            assert_int_equal(chosen, !late);
            replace(&heard[late], 30, 31);
            assert_int_equal(choose(heard, 2, &chosen, &id, &error), ST_OK);
            replace(&heard[late], 31, 32);
            assert_int_equal(choose(heard, 2, &chosen, &id, &error), ST_OK);
            assert_int_equal(id, 32);
            join_heard_fini(&heard[0]);
            join_heard_fini(&heard[1]);
        }
}

static void whoever_met_it_is_believed(void **state)
{
    struct join_heard heard[2] = {heard_with(30, 0), heard_with(30, 5)};
    struct error error = {0};
    unsigned chosen;
    uint64_t id;

    (void)state;
    assert_int_equal(choose(heard, 2, &chosen, &id, &error), ST_OTHER_INCARNATION);
    assert_non_null(strstr(error.text, "member 1e has already been bootstrapped"));
    heard[1].cluster_id++;
    assert_int_equal(choose(heard, 2, &chosen, &id, &error), ST_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "members of two clusters"));
    join_heard_fini(&heard[0]);
    join_heard_fini(&heard[1]);
}

/* ---- asking ---- */

/* Answers each question with the next of these; the last one again and again. */
struct answerer {
    const struct join_heard *answers;
    unsigned count, asked;
    int fd;
    char url[60];
    pthread_t thread;
};

static void answer(int fd, const struct join_heard *h)
{
    struct cluster_answer what = {.cluster_id = h->cluster_id};
    struct buf out = {0}, founders = {0}, now = {0};
    char question[100];

    assert_true(read(fd, question, sizeof question) > 0);
    members_encode(&h->founders, &founders);
    members_encode(&h->now, &now);
    what.founders = buf_slice(&founders);
    what.members = buf_slice(&now);
    frame_append_cluster(&out, &what);
    assert_int_equal(write(fd, out.data, buf_len(&out)), buf_len(&out));
    buf_fini(&out);
    buf_fini(&founders);
    buf_fini(&now);
}

static void *answer_all(void *arg)
{
    struct answerer *w = arg;
    int fd;

    while ((fd = accept(w->fd, NULL, NULL)) >= 0) {
        answer(fd, &w->answers[w->asked < w->count ? w->asked : w->count - 1]);
        w->asked++;
        close(fd);
    }
    return NULL;
}

static void answerer_start(struct answerer *w, const struct join_heard *answers, unsigned count)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    *w = (struct answerer){.answers = answers, .count = count, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(w->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(w->fd, 8), 0);
    assert_int_equal(getsockname(w->fd, (struct sockaddr *)&at, &len), 0);
    snprintf(w->url, sizeof w->url, "http://127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&w->thread, NULL, answer_all, w), 0);
}

static void answerer_stop(struct answerer *w)
{
    shutdown(w->fd, SHUT_RDWR);
    pthread_join(w->thread, NULL);
    close(w->fd);
}

/* The URLs by which they are found are those of their own tables. */
static void move_to(struct join_heard *h, struct answerer *first, struct answerer *second)
{
    char *urls[] = {first->url, second->url};

    for (unsigned i = 0; i < 2; i++)
        member_set_peer_urls(members_find(&h->now, 20 + i), &urls[i], 1);
}

static void one_that_lags_ends_no_start(void **state)
{
    struct join_heard old = heard_with(30, 5), new = heard_with(30, 5), learns[2];
    struct answerer lags, knows;
    struct conf *conf = mem_zero(sizeof *conf);
    struct join_answer got = {0};
    struct error error = {0};

    (void)state;
    replace(&new, 30, 31);
    for (unsigned both = 0; both < 2; both++) {
        answerer_start(&lags, learns, 2);
        answerer_start(&knows, both ? &new : &old, 1); /* else it has not applied it either, and the first one does in the end */
        move_to(&old, &lags, &knows);
        move_to(&new, &lags, &knows);
        learns[0] = old;
        learns[1] = both ? old : new;
        conf->member_id = 12;
        conf->initial = cluster_of(10, 3, (char *[]){lags.url, knows.url, c});
        if (join_ask(conf, &got, &error) != ST_OK)
            fail_msg("%s", error.text);
        assert_true(got.member_id == 31 && got.cluster_id == 7);
        assert_int_equal(got.founders.count, 2);
        answerer_stop(&lags);
        answerer_stop(&knows);
        assert_int_equal(lags.asked, both ? 1 : 2);
        members_fini(&got.founders);
        members_fini(&conf->initial);
    }
    free(conf);
    join_heard_fini(&old);
    join_heard_fini(&new);
}

/* ---- who was met ---- */

static char dir[120];
static int dir_fd;

static int set_up(void **state)
{
    (void)state;
    assert_true(temp_dir_make(dir, sizeof dir, "met"));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(dir_fd >= 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlinkat(dir_fd, "met", 0);
    close(dir_fd);
    return rmdir(dir);
}

static bool only_even_ones_are_dear(void *arg, uint64_t id)
{
    (void)arg;
    return id % 2 == 0;
}

static void who_was_met_is_known_after_a_restart(void **state)
{
    struct met m = {0}, back;
    struct error error = {0};

    (void)state;
    assert_int_equal(met_load(&back, dir_fd, &error), ST_OK);
    assert_int_equal(back.count, 0);
    met_add(&m, 7, 70, only_even_ones_are_dear, NULL);
    met_add(&m, 8, 80, only_even_ones_are_dear, NULL);
    assert_int_equal(met_save(&m, dir_fd, &error), ST_OK);
    assert_int_equal(met_load(&back, dir_fd, &error), ST_OK);
    assert_true(met_find(&back, 7) == 70 && met_find(&back, 8) == 80 && met_find(&back, 9) == 0);
}

static void a_damaged_file_is_refused(void **state)
{
    struct met m = {0}, back;
    struct error error = {0};
    uint8_t byte;
    int fd;

    (void)state;
    met_add(&m, 7, 70, only_even_ones_are_dear, NULL);
    assert_int_equal(met_save(&m, dir_fd, &error), ST_OK);
    fd = openat(dir_fd, "met", O_RDWR);
    for (off_t at = 0; at < 32; at++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(met_load(&back, dir_fd, &error), ST_CORRUPT);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    for (off_t len = 31; len >= 0; len--) {
        assert_int_equal(ftruncate(fd, len), 0);
        assert_int_equal(met_load(&back, dir_fd, &error), ST_CORRUPT);
    }
    close(fd);
}

static void where_there_is_no_room_strangers_go(void **state)
{
    struct met m = {0};

    (void)state;
    for (uint64_t id = 1; id <= PEER_MET_MAX; id++)
        met_add(&m, id, 1, only_even_ones_are_dear, NULL);
    met_add(&m, 1000, 1, only_even_ones_are_dear, NULL);
    assert_int_equal(m.count, PEER_MET_MAX);
    assert_true(!met_find(&m, 1) && met_find(&m, 2) && met_find(&m, 3) && met_find(&m, 1000));
    met_add(&m, 1002, 1, only_even_ones_are_dear, NULL);
    assert_true(met_find(&m, 2) && !met_find(&m, 3) && met_find(&m, 1002));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_joiner_is_who_has_its_urls),
        cmocka_unit_test(flags_and_cluster_must_agree),
        cmocka_unit_test(who_knows_of_the_most_changes_decides),
        cmocka_unit_test(whoever_met_it_is_believed),
        cmocka_unit_test(one_that_lags_ends_no_start),
        cmocka_unit_test_setup_teardown(who_was_met_is_known_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused, set_up, tear_down),
        cmocka_unit_test(where_there_is_no_room_strangers_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
