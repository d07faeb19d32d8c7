/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/publish.h"

#include "common/clock.h"
#include "common/log.h"
#include "proto/state.pb-c.h"

#define RETRY_NS (1000 * NS_PER_MS)

static void again_later(struct publisher *p)
{
    loop_timer_set(p->loop, &p->timer, loop_now_ns(p->loop) + RETRY_NS);
}

static void on_published(void *arg, enum status st, struct slice answer)
{
    struct publisher *p = arg;

    (void)answer;
    if (st == ST_OTHER_INCARNATION)
        p->refused_fn(p->arg, st);
    if (st == ST_OK)
        log_info("server", "published this member's name and client URLs name=%s", p->conf->flags.name);
    else
        again_later(p);
}

static void on_time(void *arg)
{
    struct publisher *p = arg;
    char texts[CONF_URLS_MAX][300], *urls[CONF_URLS_MAX];
    Raftfs__State__Member m;
    struct buf b = {0};
    enum status st;
    size_t len;

    raftfs__state__member__init(&m);
    for (unsigned i = 0; i < p->conf->advertise_client.count; i++) {
        url_format(&p->conf->advertise_client.list[i], texts[i], sizeof texts[i]);
        urls[i] = texts[i];
    }
    m.id = p->member_id;
    m.incarnation = p->incarnation;
    m.name = (char *)(uintptr_t)p->conf->flags.name;
    m.client_urls = urls;
    m.n_client_urls = p->conf->advertise_client.count;
    len = raftfs__state__member__get_packed_size(&m);
    raftfs__state__member__pack(&m, buf_reserve(&b, len));
    buf_commit(&b, len);
    st = node_propose(p->node, COMMAND_MEMBER_PUBLISH, buf_slice(&b), INT64_MAX, on_published, p, NULL);
    buf_fini(&b);
    if (st != ST_OK)
        again_later(p);
    p->work_fn(p->arg);
}

void publisher_start(struct publisher *p)
{
    loop_timer_init(&p->timer, on_time, p);
    loop_timer_set(p->loop, &p->timer, loop_now_ns(p->loop));
}

void publisher_stop(struct publisher *p)
{
    loop_timer_cancel(p->loop, &p->timer);
}
