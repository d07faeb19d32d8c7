/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected to whom, and what is said at the door. */
#include "raftd/peer/peers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/mem.h"
#include "net/resolver.h"
#include "net/socket.h"
#include "raftd/peer/frame.h"
#include "raftd/peer/link.h"

#define REDIAL_FIRST_NS (50 * NS_PER_MS)
#define REDIAL_MAX_NS (1000 * NS_PER_MS)
#define DIAL_TIMEOUT_NS (1000 * NS_PER_MS)
#define REMOVED_TEXT "the member has been permanently removed from the cluster" /* etcd's */
#define PEERS_MAX (MEMBERS_MAX + PEER_STRANGERS_MAX)

/* Who joins, or begins again without a store, knows the founders only: all others may be strangers, and any of them the leader. */
_Static_assert(PEER_STRANGERS_MAX >= MEMBERS_MAX - 1, "whoever leads is heard");
_Static_assert(PEER_MET_MAX >= PEERS_MAX, "nobody has to be forgotten for those who are connected");
_Static_assert(PEER_GUESTS_MAX > PEERS_MAX, "when all members have greeted, there is room for one who has not");

/* A member we dial. */
struct peer {
    struct peers *peers;
    uint64_t id;
    bool stranger;   /* no member that we know: it goes with its guest */
    struct url urls[MEMBER_URLS_MAX];
    unsigned url_count, next_url;
    struct resolver_wait address; /* of the URL that is tried */
    struct link_socket link;
    bool greeted;    /* the other side has answered our greeting: it takes messages */
    int64_t greeted_ns;
    bool told_down;  /* logged, until it is up again */
    struct loop_timer timer; /* the next attempt, or the end of this one */
    int64_t redial_ns;
};

/* A connection that somebody dialled to us. */
struct guest {
    struct peers *peers;
    uint64_t id; /* 0 until it greeted */
    uint64_t incarnation;
    struct greeting *waits; /* what it said, until it can be judged; or NULL */
    struct link_socket link;
    char from[80];
    bool dead; /* freed by the timer, outside its own callbacks */
    struct loop_timer timer;
    TAILQ_ENTRY(guest) list_link;
};

struct peers {
    struct peers_options options;
    struct resolver *resolver;
    struct url urls[MEMBER_URLS_MAX];
    struct peer *list[PEERS_MAX];
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
    peer->next_url++;
    peer_redial_later(peer);
    peer->peers->options.unreachable_fn(peer->peers->options.arg, peer->id);
}

static bool peer_on_frame(void *arg, struct slice payload)
{
    struct peer *peer = arg;
    const struct peers_options *o = &peer->peers->options;
    enum dismissal_reason reason;
    struct slice words;
    struct greeting g;
    char text[200];

    if (frame_kind(payload) == FRAME_REFUSAL) {
        struct slice why = frame_refusal_text(payload);
        log_error("peer", "member refuses to talk to us peer=%" PRIx64 " why=\"%.*s\"", peer->id, (int)why.len,
                  (const char *)why.data);
        peer->redial_ns = REDIAL_MAX_NS;
        return false;
    }
    if (frame_decode_dismissal(payload, &reason, &words) == ST_OK) {
        snprintf(text, sizeof text, "%.*s", (int)words.len, (const char *)words.data);
        log_error("peer", "member dismisses us peer=%" PRIx64 " why=\"%s\"", peer->id, text);
        peer->redial_ns = REDIAL_MAX_NS;
        o->dismissed_fn(o->arg, reason, text);
        return false;
    }
    if (peer->greeted || frame_decode_greeting(payload, &g) != ST_OK || g.version != PEER_PROTOCOL_VERSION ||
        g.cluster_id != o->cluster_id || g.from != peer->id)
        return false;
    if (o->judge_fn(o->arg, peer->id, g.incarnation) == PEER_OTHER_INCARNATION) {
        log_error("peer", "member has another data directory than before peer=%" PRIx64, peer->id);
        peer->redial_ns = REDIAL_MAX_NS;
        return false;
    }
    peer->greeted = true;
    peer->greeted_ns = loop_now_ns(o->loop);
    peer->redial_ns = REDIAL_FIRST_NS;
    loop_timer_cancel(o->loop, &peer->timer);
    if (peer->told_down)
        log_info("peer", "member is reached peer=%" PRIx64, peer->id);
    peer->told_down = false;
    return true;
}

static struct greeting greeting_to(const struct peers *p, uint64_t id)
{
    const struct peers_options *o = &p->options;
    struct greeting g = {.version = PEER_PROTOCOL_VERSION,
                         .cluster_id = o->cluster_id,
                         .from = o->member_id,
                         .to = id,
                         .incarnation = o->incarnation,
                         .url_count = o->url_count};

    for (unsigned i = 0; i < o->url_count; i++)
        url_format(&o->urls[i], g.urls[i], sizeof g.urls[i]);
    return g;
}

static void peer_on_open(void *arg)
{
    struct peer *peer = arg;
    struct greeting g = greeting_to(peer->peers, peer->id);

    frame_append_greeting(&peer->link.out, &g);
    link_flush_later(&peer->link);
}

static const struct url *peer_url(const struct peer *peer)
{
    return &peer->urls[peer->next_url % peer->url_count];
}

static void peer_on_address(void *arg, const struct sockaddr_storage *address, socklen_t len, const char *why)
{
    struct peer *peer = arg;
    const struct peers_options *o = &peer->peers->options;
    struct error error;
    int fd;

    loop_timer_cancel(o->loop, &peer->timer);
    if (!address || socket_connect_start(peer_url(peer), address, len, &fd, &error) != ST_OK) {
        peer_on_closed(peer, address ? error.text : why);
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

static void peer_dial(struct peer *peer)
{
    struct loop *loop = peer->peers->options.loop;

    if (!peer->url_count)
        return; /* until it dials us, or gets one */
    loop_timer_set(loop, &peer->timer, loop_now_ns(loop) + DIAL_TIMEOUT_NS);
    resolver_find(peer->peers->resolver, &peer->address, peer_url(peer));
}

/* The attempt, or the connection. */
static void peer_give_up(struct peer *peer)
{
    resolver_cancel(&peer->address);
    link_close(&peer->link);
}

/* Time for an attempt, or the attempt took too long. */
static void peer_on_timer(void *arg)
{
    struct peer *peer = arg;

    if (peer->link.fd < 0 && !peer->address.name) {
        peer_dial(peer);
        return;
    }
    peer_give_up(peer);
    peer_on_closed(peer, "no answer");
}

static bool urls_are_equal(const struct url *a, const struct url *b)
{
    return a->tls == b->tls && a->is_unix == b->is_unix && a->port == b->port && strcmp(a->host, b->host) == 0 &&
           strcmp(a->path, b->path) == 0;
}

/* From now on it is dialled there. */
static void peer_set_urls(struct peer *peer, const struct url *urls, unsigned url_count)
{
    unsigned count = url_count < MEMBER_URLS_MAX ? url_count : MEMBER_URLS_MAX, same = 0;

    while (same < count && same < peer->url_count && urls_are_equal(&peer->urls[same], &urls[same]))
        same++;
    if (same == count && same == peer->url_count)
        return;
    if (count)
        memcpy(peer->urls, urls, count * sizeof *urls);
    peer->url_count = count;
    peer->next_url = 0;
    /* What is connected to the old one may be somebody else there by now. */
    peer_give_up(peer);
    peer->greeted = false;
    peer->redial_ns = REDIAL_FIRST_NS;
    loop_timer_set(peer->peers->options.loop, &peer->timer, loop_now_ns(peer->peers->options.loop));
}

static struct peer *peer_new(struct peers *p, uint64_t id)
{
    struct peer *peer = mem_zero(sizeof *peer);

    INVARIANT(p->count < PEERS_MAX);
    peer->peers = p;
    peer->id = id;
    peer->link.fd = -1;
    peer->address = (struct resolver_wait){.found_fn = peer_on_address, .arg = peer};
    peer->redial_ns = REDIAL_FIRST_NS;
    loop_timer_init(&peer->timer, peer_on_timer, peer);
    p->list[p->count++] = peer;
    return peer;
}

/* Not from its own callbacks. */
static void peer_free(struct peer *peer)
{
    struct peers *p = peer->peers;
    unsigned at = 0;

    while (p->list[at] != peer)
        at++;
    p->list[at] = p->list[--p->count];
    loop_timer_cancel(p->options.loop, &peer->timer);
    peer_give_up(peer);
    free(peer);
}

void peers_put(struct peers *p, uint64_t member_id, const struct url *urls, unsigned url_count)
{
    struct peer *peer = peers_find(p, member_id);

    if (!peer)
        peer = peer_new(p, member_id);
    peer->stranger = false;
    peer_set_urls(peer, urls, url_count);
}

int64_t peers_connected_since(const struct peers *p, uint64_t member_id)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->list[i]->id == member_id && p->list[i]->greeted)
            return p->list[i]->greeted_ns;
    return INT64_MAX;
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
    struct peers *p = guest->peers;
    struct peer *peer = guest->id ? peers_find(p, guest->id) : NULL;

    loop_timer_cancel(p->options.loop, &guest->timer);
    link_close(&guest->link);
    TAILQ_REMOVE(&p->guests, guest, list_link);
    p->guest_count--;
    free(guest->waits);
    free(guest);
    if (peer && peer->stranger)
        peer_free(peer);
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

static unsigned count_strangers(const struct peers *p)
{
    unsigned count = 0;

    for (unsigned i = 0; i < p->count; i++)
        count += p->list[i]->stranger;
    return count;
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
    /* It dials again, and gets in when one of them goes or is known. */
    if (!peers_find(guest->peers, g->from) && count_strangers(guest->peers) >= PEER_STRANGERS_MAX)
        return "too many members that are not known here yet";
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

/* Our own table may be the older one: whoever is of this cluster may be a member that we have yet to hear of. */
static void meet_stranger(struct peers *p, const struct greeting *g)
{
    struct url urls[MEMBER_URLS_MAX];
    unsigned count = 0;
    struct error error;
    struct peer *peer;

    if (peers_find(p, g->from))
        return;
    for (unsigned i = 0; i < g->url_count; i++)
        if (url_parse(g->urls[i], &urls[count], &error) == ST_OK)
            count++;
    log_notice("peer", "a member that is not known here yet, proceeding peer=%" PRIx64, g->from);
    peer = peer_new(p, g->from);
    peer->stranger = true;
    peer_set_urls(peer, urls, count);
}

static void guest_welcome(struct guest *guest, const struct greeting *g)
{
    struct peers *p = guest->peers;
    struct greeting answer = greeting_to(p, g->from);
    struct guest *older = guest_find(p, g->from);

    if (older) {
        log_debug("peer", "replaced by a newer connection peer=%" PRIx64 " from=%s", older->id, older->from);
        guest_free(older);
    }
    meet_stranger(p, g);
    guest->id = g->from;
    guest->incarnation = g->incarnation;
    guest->link.frame_bytes_max = PEER_FRAME_BYTES_MAX;
    frame_append_greeting(&guest->link.out, &answer);
    link_flush_later(&guest->link);
    loop_timer_cancel(p->options.loop, &guest->timer);
    dial_back(p, g->from);
}

/* The timer closes once the words are out. */
static void guest_tell(struct guest *guest)
{
    link_flush_later(&guest->link);
    guest->dead = true;
}

static void guest_dismiss(struct guest *guest, const struct greeting *g, enum dismissal_reason reason)
{
    const char *why = reason == DISMISSAL_REMOVED ? REMOVED_TEXT : status_text(ST_OTHER_INCARNATION);

    log_warning("peer", "dismissed peer=%" PRIx64 " from=%s why=\"%s\"", g->from, guest->from, why);
    frame_append_dismissal(&guest->link.out, reason, why);
    guest_tell(guest);
}

static void guest_refuse(struct guest *guest, const struct greeting *g, const char *why)
{
    log_warning("peer", "refused peer=%" PRIx64 " cluster=%" PRIx64 " from=%s why=\"%s\"", g->from, g->cluster_id, guest->from, why);
    frame_append_refusal(&guest->link.out, why);
    guest_tell(guest);
}

/* When it greets, and again when it has waited: others may have come in meanwhile. */
static void guest_judge_member(struct guest *guest, const struct greeting *g)
{
    const struct peers_options *o = &guest->peers->options;
    const char *why = guest_judge(guest, g);

    if (why) {
        guest_refuse(guest, g, why);
        return;
    }
    switch (o->judge_fn(o->arg, g->from, g->incarnation)) {
    case PEER_WELCOME:
        guest_welcome(guest, g);
        break;
    case PEER_LATER:
        if (!guest->waits)
            guest->waits = mem_copy(g, sizeof *g);
        return;
    case PEER_REMOVED:
        guest_dismiss(guest, g, DISMISSAL_REMOVED);
        break;
    case PEER_OTHER_INCARNATION:
        guest_dismiss(guest, g, DISMISSAL_INCARNATION);
        break;
    }
}

static void guest_answer_question(struct guest *guest)
{
    const struct peers_options *o = &guest->peers->options;
    struct buf founders = {0}, members = {0};
    struct cluster_answer answer = {.cluster_id = o->cluster_id};

    o->cluster_fn(o->arg, &founders, &members);
    answer.founders = buf_slice(&founders);
    answer.members = buf_slice(&members);
    frame_append_cluster(&guest->link.out, &answer);
    buf_fini(&founders);
    buf_fini(&members);
    guest_tell(guest);
}

static bool guest_greet(struct guest *guest, struct slice payload)
{
    struct greeting g;

    if (frame_is_question(payload)) {
        guest_answer_question(guest);
        return true;
    }
    if (guest->waits || frame_decode_greeting(payload, &g) != ST_OK) {
        log_warning("peer", "no member's greeting, closing from=%s", guest->from);
        return false;
    }
    guest_judge_member(guest, &g);
    return true;
}

/* One that waits and can be judged by now; false: there is none. What it displaces may stand anywhere in the list. */
static bool judge_one_that_waits(struct peers *p)
{
    struct guest *guest;

    TAILQ_FOREACH(guest, &p->guests, list_link)
    {
        struct greeting *g = guest->waits;
        if (!g || guest->dead || p->options.judge_fn(p->options.arg, g->from, g->incarnation) == PEER_LATER)
            continue;
        guest->waits = NULL;
        guest_judge_member(guest, g);
        free(g);
        return true;
    }
    return false;
}

void peers_judge_again(struct peers *p)
{
    struct guest *guest;

    while (judge_one_that_waits(p))
        ;
    TAILQ_FOREACH(guest, &p->guests, list_link)
    {
        enum peer_verdict verdict;
        if (guest->dead || !guest->id)
            continue;
        verdict = p->options.judge_fn(p->options.arg, guest->id, guest->incarnation);
        if (verdict == PEER_REMOVED || verdict == PEER_OTHER_INCARNATION)
            guest_leave_later(guest); /* it dials again, and is told why */
    }
}

void peers_keep(struct peers *p, const uint64_t *member_ids, unsigned count)
{
    for (unsigned i = p->count; i-- > 0;) {
        struct peer *peer = p->list[i];
        bool kept = peer->stranger;
        for (unsigned k = 0; k < count; k++)
            kept = kept || member_ids[k] == peer->id;
        if (!kept)
            peer_free(peer);
    }
    peers_judge_again(p);
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
    for (unsigned i = 0; i < options->url_count; i++)
        p->urls[i] = options->urls[i];
    p->options.urls = p->urls;
    p->resolver = resolver_new(options->loop, url_resolve);
    TAILQ_INIT(&p->guests);
    return p;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    while (!TAILQ_EMPTY(&p->guests))
        guest_free(TAILQ_FIRST(&p->guests));
    while (p->count)
        peer_free(p->list[0]);
    resolver_free(p->resolver);
    free(p);
}
