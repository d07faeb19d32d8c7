/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected to whom, and what is said at the door. */
#include "raftd/peer/peers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/mem.h"
#include "net/socket.h"
#include "raftd/peer/frame.h"
#include "raftd/peer/link.h"

#define REDIAL_FIRST_NS (50 * NS_PER_MS)
#define REDIAL_MAX_NS (1000 * NS_PER_MS)
#define DIAL_TIMEOUT_NS (1000 * NS_PER_MS)
#define PEER_URLS_MAX 8

_Static_assert(PEER_GUESTS_MAX > RAFT_VOTERS_MAX, "when all members have greeted, there is room for one who has not");

/* A member we dial. */
struct peer {
    struct peers *peers;
    uint64_t id;
    struct url urls[PEER_URLS_MAX];
    unsigned url_count, next_url;
    struct link_socket link;
    bool greeted;    /* the other side has answered our greeting: it takes messages */
    bool told_down;  /* logged, until it is up again */
    struct loop_timer timer; /* the next attempt, or the end of this one */
    int64_t redial_ns;
};

/* A connection that somebody dialled to us. */
struct guest {
    struct peers *peers;
    uint64_t id; /* 0 until it greeted */
    struct link_socket link;
    char from[80];
    bool dead; /* freed by the timer, outside its own callbacks */
    struct loop_timer timer;
    TAILQ_ENTRY(guest) list_link;
};

struct peers {
    struct peers_options options;
    struct peer *list[RAFT_VOTERS_MAX];
    unsigned count;
    TAILQ_HEAD(, guest) guests; /* oldest first */
    unsigned guest_count;
};

static struct peer *peers_find(struct peers *p, uint64_t id)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->list[i]->id == id)
            return p->list[i];
    return NULL;
}

/* ---- dialling ---------------------------------------------------------------------------------- */

static void peer_redial_later(struct peer *peer)
{
    loop_timer_set(peer->peers->options.loop, &peer->timer,
                   loop_now_ns(peer->peers->options.loop) + peer->redial_ns);
    peer->redial_ns = peer->redial_ns * 2 < REDIAL_MAX_NS ? peer->redial_ns * 2 : REDIAL_MAX_NS;
}

static void peer_on_closed(void *arg, const char *why)
{
    struct peer *peer = arg;

    if (!peer->told_down)
        log_warning("peer", "member cannot be reached, proceeding peer=%" PRIx64 " why=\"%s\"", peer->id, why);
    peer->told_down = true;
    peer->greeted = false;
    peer->next_url = (peer->next_url + 1) % peer->url_count;
    peer_redial_later(peer);
    peer->peers->options.unreachable_fn(peer->peers->options.arg, peer->id);
}

static bool peer_on_frame(void *arg, struct slice payload)
{
    struct peer *peer = arg;
    const struct peers_options *o = &peer->peers->options;
    struct greeting g;

    if (frame_kind(payload) == FRAME_REFUSAL) {
        struct slice why = frame_refusal_text(payload);
        log_error("peer", "member refuses to talk to us peer=%" PRIx64 " why=\"%.*s\"", peer->id, (int)why.len,
                  (const char *)why.data);
        peer->redial_ns = REDIAL_MAX_NS;
        return false;
    }
    if (frame_decode_greeting(payload, &g) != ST_OK || g.cluster_id != o->cluster_id || g.from != peer->id)
        return false;
    peer->greeted = true;
    peer->redial_ns = REDIAL_FIRST_NS;
    loop_timer_cancel(o->loop, &peer->timer);
    if (peer->told_down)
        log_info("peer", "member is reached peer=%" PRIx64, peer->id);
    peer->told_down = false;
    return true;
}

static void peer_on_open(void *arg)
{
    struct peer *peer = arg;
    const struct peers_options *o = &peer->peers->options;
    struct greeting g = {PEER_PROTOCOL_VERSION, o->cluster_id, o->member_id, peer->id};

    frame_append_greeting(&peer->link.out, &g);
    link_flush_later(&peer->link);
}

static void peer_dial(struct peer *peer)
{
    const struct peers_options *o = &peer->peers->options;
    struct error error;
    int fd;

    if (socket_connect_start(&peer->urls[peer->next_url], &fd, &error) != ST_OK) {
        peer_on_closed(peer, error.text);
        return;
    }
    peer->link = (struct link_socket){.frame_fn = peer_on_frame,
                                      .open_fn = peer_on_open,
                                      .closed_fn = peer_on_closed,
                                      .frame_bytes_max = PEER_GREETING_BYTES_MAX,
                                      .arg = peer};
    link_start(&peer->link, o->loop, fd, true, o->dead_ns);
    loop_timer_set(o->loop, &peer->timer, loop_now_ns(o->loop) + DIAL_TIMEOUT_NS);
}

/* Time for an attempt, or the attempt took too long. */
static void peer_on_timer(void *arg)
{
    struct peer *peer = arg;

    if (peer->link.fd < 0) {
        peer_dial(peer);
        return;
    }
    link_close(&peer->link);
    peer_on_closed(peer, "no answer");
}

void peers_add(struct peers *p, uint64_t member_id, const struct url *urls, unsigned url_count)
{
    struct peer *peer = mem_zero(sizeof *peer);

    INVARIANT(p->count < RAFT_VOTERS_MAX && url_count > 0);
    peer->peers = p;
    peer->id = member_id;
    peer->url_count = url_count < PEER_URLS_MAX ? url_count : PEER_URLS_MAX;
    for (unsigned i = 0; i < peer->url_count; i++)
        peer->urls[i] = urls[i];
    peer->link.fd = -1;
    peer->redial_ns = REDIAL_FIRST_NS;
    loop_timer_init(&peer->timer, peer_on_timer, peer);
    loop_timer_set(p->options.loop, &peer->timer, loop_now_ns(p->options.loop));
    p->list[p->count++] = peer;
}

/* The peer that can take a frame now, or NULL. */
static struct peer *peers_writable(struct peers *p, raft_id to)
{
    struct peer *peer = peers_find(p, to);

    if (!peer || !peer->greeted)
        return NULL;
    if (buf_len(&peer->link.out) > PEER_QUEUE_BYTES_MAX) {
        p->options.unreachable_fn(p->options.arg, peer->id);
        return NULL;
    }
    link_flush_later(&peer->link);
    return peer;
}

void peers_send(struct peers *p, const struct raft_message *m)
{
    struct peer *peer = peers_writable(p, m->to);

    if (peer)
        frame_append_message(&peer->link.out, m);
}

void peers_send_snapshot(struct peers *p, const struct snapshot_message *m)
{
    struct peer *peer = peers_writable(p, m->to);

    if (peer)
        frame_append_snapshot(&peer->link.out, m);
}

/* ---- being dialled ------------------------------------------------------------------------------- */

/* Out of its own callbacks: the timer is how a guest leaves. */
static void guest_leave_later(struct guest *guest)
{
    guest->dead = true;
    loop_timer_set(guest->peers->options.loop, &guest->timer, loop_now_ns(guest->peers->options.loop));
}

static void guest_free(struct guest *guest)
{
    loop_timer_cancel(guest->peers->options.loop, &guest->timer);
    link_close(&guest->link);
    TAILQ_REMOVE(&guest->peers->guests, guest, list_link);
    guest->peers->guest_count--;
    free(guest);
}

static void guest_on_timer(void *arg)
{
    struct guest *guest = arg;

    if (!guest->dead)
        log_warning("peer", "no greeting, closing from=%s", guest->from);
    guest_free(guest);
}

static void guest_on_closed(void *arg, const char *why)
{
    struct guest *guest = arg;

    log_debug("peer", "connection ended peer=%" PRIx64 " from=%s why=\"%s\"", guest->id, guest->from, why);
    guest_leave_later(guest);
}

/* NULL if this is one of us, else why not. */
static const char *guest_judge(struct guest *guest, const struct greeting *g)
{
    const struct peers_options *o = &guest->peers->options;

    if (g->version != PEER_PROTOCOL_VERSION)
        return "another version of the peer protocol is spoken here";
    if (g->cluster_id != o->cluster_id)
        return "this is another cluster";
    if (g->to != o->member_id)
        return "another member lives here";
    if (g->from == o->member_id)
        return "you claim to be me: two members must not share a data directory or a name";
    if (!peers_find(guest->peers, g->from))
        return "you are no member of this cluster";
    return NULL;
}

/* The first one, oldest first, of that member; with id 0 one that has not greeted. */
static struct guest *guest_find(struct peers *p, uint64_t id)
{
    struct guest *guest;

    TAILQ_FOREACH(guest, &p->guests, list_link)
    {
        if (guest->id == id)
            return guest;
    }
    return NULL;
}

/* Whoever dials us is there: no need to sit out the pause before the next attempt to reach it. */
static void dial_back(struct peers *p, uint64_t id)
{
    struct peer *peer = peers_find(p, id);

    if (peer->link.fd >= 0)
        return;
    peer->redial_ns = REDIAL_FIRST_NS;
    loop_timer_set(p->options.loop, &peer->timer, loop_now_ns(p->options.loop));
}

static bool guest_greet(struct guest *guest, struct slice payload)
{
    const struct peers_options *o = &guest->peers->options;
    struct greeting g, answer;
    struct guest *older;
    const char *why;

    if (frame_decode_greeting(payload, &g) != ST_OK) {
        log_warning("peer", "no member's greeting, closing from=%s", guest->from);
        return false;
    }
    why = guest_judge(guest, &g);
    if (why) {
        log_warning("peer", "refused peer=%" PRIx64 " cluster=%" PRIx64 " from=%s why=\"%s\"", g.from, g.cluster_id,
                    guest->from, why);
        frame_append_refusal(&guest->link.out, why);
        link_flush_later(&guest->link);
        guest->dead = true;
        return true; /* the timer closes once the words are out */
    }
    older = guest_find(guest->peers, g.from);
    if (older) {
        log_debug("peer", "replaced by a newer connection peer=%" PRIx64 " from=%s", older->id, older->from);
        guest_free(older);
    }
    guest->id = g.from;
    guest->link.frame_bytes_max = PEER_FRAME_BYTES_MAX;
    answer = (struct greeting){PEER_PROTOCOL_VERSION, o->cluster_id, o->member_id, g.from};
    frame_append_greeting(&guest->link.out, &answer);
    link_flush_later(&guest->link);
    loop_timer_cancel(o->loop, &guest->timer);
    dial_back(guest->peers, g.from);
    return true;
}

/* Nobody speaks for another, nor to another: what claims to is dropped. False: the frame is damaged. */
static bool guest_take(struct guest *guest, struct slice payload)
{
    const struct peers_options *o = &guest->peers->options;
    struct snapshot_message snapshot;
    struct raft_message m;

    if (frame_kind(payload) == FRAME_SNAPSHOT) {
        if (frame_decode_snapshot(payload, &snapshot) != ST_OK)
            return false;
        if (snapshot.from == guest->id && snapshot.to == o->member_id)
            o->snapshot_fn(o->arg, &snapshot);
        return true;
    }
    if (frame_decode_message(payload, &m) != ST_OK)
        return false;
    if (m.from == guest->id && m.to == o->member_id)
        o->message_fn(o->arg, &m);
    frame_free_message(&m);
    return true;
}

static bool guest_on_frame(void *arg, struct slice payload)
{
    struct guest *guest = arg;

    if (guest->dead)
        return true;
    if (!guest->id)
        return guest_greet(guest, payload);
    if (guest_take(guest, payload))
        return true;
    log_error("peer", "a frame that is no message, closing peer=%" PRIx64 " from=%s", guest->id, guest->from);
    return false;
}

void peers_accept(struct peers *p, int fd)
{
    struct guest *guest = mem_zero(sizeof *guest);

    if (p->guest_count >= PEER_GUESTS_MAX)
        guest_free(guest_find(p, 0)); /* members are fewer, and they greet at once */
    guest->peers = p;
    guest->link.fd = -1;
    TAILQ_INSERT_TAIL(&p->guests, guest, list_link);
    p->guest_count++;
    socket_peer_text(fd, guest->from, sizeof guest->from);
    loop_timer_init(&guest->timer, guest_on_timer, guest);
    loop_timer_set(p->options.loop, &guest->timer, loop_now_ns(p->options.loop) + DIAL_TIMEOUT_NS);
    guest->link = (struct link_socket){.frame_fn = guest_on_frame,
                                       .closed_fn = guest_on_closed,
                                       .frame_bytes_max = PEER_GREETING_BYTES_MAX,
                                       .arg = guest};
    link_start(&guest->link, p->options.loop, fd, false, p->options.dead_ns);
}

/* ---- life ------------------------------------------------------------------------------------------ */

struct peers *peers_new(const struct peers_options *options)
{
    struct peers *p = mem_zero(sizeof *p);

    p->options = *options;
    TAILQ_INIT(&p->guests);
    return p;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    while (!TAILQ_EMPTY(&p->guests))
        guest_free(TAILQ_FIRST(&p->guests));
    for (unsigned i = 0; i < p->count; i++) {
        loop_timer_cancel(p->options.loop, &p->list[i]->timer);
        link_close(&p->list[i]->link);
        free(p->list[i]);
    }
    free(p);
}
