/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers: those that are in step hear of events as they are published, the others read history. */
#include "mvcc/watch.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <uthash.h>

#include "common/mem.h"

struct watcher {
    struct mvcc_span span;
    uint8_t *bytes; /* of the span */
    void *arg;
    mvcc_rev next;  /* everything before was delivered, or is not wanted */
    bool synced, paused;
    struct key_watchers *point; /* synced and of one key */
    TAILQ_ENTRY(watcher) link;
};
TAILQ_HEAD(watcher_list, watcher);

/* The synced watchers of one key. */
struct key_watchers {
    struct watcher_list list;
    UT_hash_handle hh;
    size_t key_len;
    uint8_t key[];
};

struct watch_hub {
    struct mvcc *store;
    watch_deliver_fn deliver_fn;
    mvcc_rev published;
    struct key_watchers *points;  /* synced, by key */
    struct watcher_list ranges;   /* synced */
    struct watcher_list behind;   /* catching up, or paused */
    struct watcher **fallen;      /* synced ones that paused at the revision being published */
    size_t fallen_count, fallen_cap;
    /* while events are handed out */
    struct watcher *now; /* whose history is read */
    mvcc_rev stop_after; /* a paused watcher gets the rest of this revision; 0: none */
    mvcc_rev upto;
    unsigned left;
};

struct watch_hub *watch_hub_new(struct mvcc *store, watch_deliver_fn deliver_fn)
{
    struct watch_hub *hub = mem_zero(sizeof *hub);

    hub->store = store;
    hub->deliver_fn = deliver_fn;
    hub->published = mvcc_revision(store);
    TAILQ_INIT(&hub->ranges);
    TAILQ_INIT(&hub->behind);
    return hub;
}

static void enter_synced(struct watch_hub *hub, struct watcher *w)
{
    struct key_watchers *p;

    w->synced = true;
    if (!w->span.point) {
        TAILQ_INSERT_TAIL(&hub->ranges, w, link);
        return;
    }
    HASH_FIND(hh, hub->points, w->span.from.data, w->span.from.len, p);
    if (!p) {
        p = mem_zero(sizeof *p + w->span.from.len);
        TAILQ_INIT(&p->list);
        p->key_len = w->span.from.len;
        memcpy(p->key, w->span.from.data, p->key_len);
        HASH_ADD_KEYPTR(hh, hub->points, p->key, p->key_len, p);
    }
    w->point = p;
    TAILQ_INSERT_TAIL(&p->list, w, link);
}

/* Out of the list it stands in. */
static void leave(struct watch_hub *hub, struct watcher *w)
{
    struct key_watchers *p = w->point;

    if (p) {
        TAILQ_REMOVE(&p->list, w, link);
        w->point = NULL;
        if (TAILQ_EMPTY(&p->list)) {
            HASH_DEL(hub->points, p);
            free(p);
        }
    } else if (w->synced) {
        TAILQ_REMOVE(&hub->ranges, w, link);
    } else {
        TAILQ_REMOVE(&hub->behind, w, link);
    }
    w->synced = false;
}

static void fall_behind(struct watch_hub *hub, struct watcher *w)
{
    leave(hub, w);
    TAILQ_INSERT_TAIL(&hub->behind, w, link);
}

void watch_remove(struct watch_hub *hub, struct watcher *w)
{
    leave(hub, w);
    free(w->bytes);
    free(w);
}

void watch_hub_free(struct watch_hub *hub)
{
    struct key_watchers *p, *tmp;

    if (!hub)
        return;
    while (!TAILQ_EMPTY(&hub->ranges))
        watch_remove(hub, TAILQ_FIRST(&hub->ranges));
    while (!TAILQ_EMPTY(&hub->behind))
        watch_remove(hub, TAILQ_FIRST(&hub->behind));
    HASH_ITER(hh, hub->points, p, tmp)
    {
        size_t count = 0;
        struct watcher *w;
        TAILQ_FOREACH(w, &p->list, link)
            count++;
        while (count--) /* the last one takes the row with it */
            watch_remove(hub, TAILQ_FIRST(&p->list));
    }
    free(hub->fallen);
    free(hub);
}

enum status watch_add(struct watch_hub *hub, const struct mvcc_span *span, mvcc_rev start_rev, void *watcher_arg,
                      struct watcher **ret_watcher)
{
    struct watcher *w;

    if (mvcc_span_is_empty(span))
        return ST_BAD_ARGUMENT;
    if (start_rev && start_rev < mvcc_compact_revision(hub->store))
        return ST_COMPACTED;
    w = mem_zero(sizeof *w);
    w->span = *span;
    w->bytes = mem_alloc(span->from.len + span->to.len);
    if (span->from.len)
        memcpy(w->bytes, span->from.data, span->from.len);
    if (span->to.len)
        memcpy(w->bytes + span->from.len, span->to.data, span->to.len);
    w->span.from.data = w->bytes;
    w->span.to.data = w->bytes + span->from.len;
    w->arg = watcher_arg;
    /* What was committed and not published yet is history for it. */
    w->next = start_rev ? start_rev : mvcc_revision(hub->store) + 1;
    if (w->next > hub->published)
        enter_synced(hub, w);
    else
        TAILQ_INSERT_TAIL(&hub->behind, w, link);
    *ret_watcher = w;
    return ST_OK;
}

static void deliver(struct watch_hub *hub, struct watcher *w, const struct mvcc_event *e)
{
    if (e->kv.mod_rev < w->next)
        return; /* it asked for later ones */
    if (hub->deliver_fn(w->arg, e) || w->paused)
        return;
    w->paused = true;
    if (w->synced) {
        hub->fallen = mem_grow(hub->fallen, &hub->fallen_cap, hub->fallen_count + 1, sizeof *hub->fallen);
        hub->fallen[hub->fallen_count++] = w;
    }
}

/* ---- published as it happens ---- */

static bool on_published(const struct mvcc_event *e, void *arg)
{
    struct watch_hub *hub = arg;
    struct key_watchers *p;
    struct watcher *w;

    HASH_FIND(hh, hub->points, e->kv.key.data, e->kv.key.len, p);
    if (p)
        TAILQ_FOREACH(w, &p->list, link)
            deliver(hub, w, e);
    TAILQ_FOREACH(w, &hub->ranges, link)
        if (mvcc_span_contains(&w->span, e->kv.key))
            deliver(hub, w, e);
    return true;
}

/* Whoever could not take more reads the rest from history, later. */
static void part_from_fallen(struct watch_hub *hub)
{
    while (hub->fallen_count) {
        struct watcher *w = hub->fallen[--hub->fallen_count];
        w->next = hub->published + 1;
        fall_behind(hub, w);
    }
}

enum status watch_publish(struct watch_hub *hub)
{
    mvcc_rev now = mvcc_revision(hub->store);

    /* Revision by revision: a watcher that pauses misses none and repeats none. */
    while (hub->published < now) {
        enum status st = mvcc_history(hub->store, hub->published + 1, hub->published + 1, on_published, hub);
        if (st != ST_OK)
            return st;
        hub->published++;
        part_from_fallen(hub);
    }
    return ST_OK;
}

/* ---- another store ---- */

static void fall_behind_all(struct watch_hub *hub, struct watcher_list *list)
{
    struct watcher *w, *next;

    for (w = TAILQ_FIRST(list); w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->next <= hub->published)
            w->next = hub->published + 1;
        if (w->next <= mvcc_revision(hub->store))
            fall_behind(hub, w); /* the last one of a key frees its list */
    }
}

void watch_restore(struct watch_hub *hub, struct mvcc *store)
{
    struct key_watchers *p, *tmp;

    INVARIANT(mvcc_revision(store) >= mvcc_revision(hub->store));
    hub->store = store;
    fall_behind_all(hub, &hub->ranges);
    HASH_ITER(hh, hub->points, p, tmp)
    {
        fall_behind_all(hub, &p->list);
    }
    hub->published = mvcc_revision(store);
}

/* ---- catching up ---- */

static bool on_history(const struct mvcc_event *e, void *arg)
{
    struct watch_hub *hub = arg;
    struct watcher *w = hub->now;

    /* A revision is given whole. */
    if (hub->stop_after && e->kv.mod_rev > hub->stop_after)
        return false;
    if (hub->left)
        hub->left--;
    if (mvcc_span_contains(&w->span, e->kv.key))
        deliver(hub, w, e);
    hub->upto = e->kv.mod_rev;
    if ((w->paused || !hub->left) && !hub->stop_after)
        hub->stop_after = e->kv.mod_rev;
    return true;
}

static enum status catch_up_one(struct watch_hub *hub, struct watcher *w)
{
    enum status st;

    hub->now = w;
    hub->stop_after = 0;
    hub->upto = hub->published;
    st = mvcc_history(hub->store, w->next, hub->published, on_history, hub);
    if (st != ST_OK)
        return st;
    w->next = (hub->stop_after ? hub->stop_after : hub->published) + 1;
    if (w->next > hub->published && !w->paused) {
        TAILQ_REMOVE(&hub->behind, w, link);
        enter_synced(hub, w);
    }
    return ST_OK;
}

enum status watch_catch_up(struct watch_hub *hub, unsigned max_events, bool *ret_more)
{
    struct watcher *w = TAILQ_FIRST(&hub->behind), *next;
    enum status st;

    hub->left = max_events;
    *ret_more = false;
    for (; w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->paused)
            continue;
        if (!hub->left) {
            *ret_more = true;
            return ST_OK;
        }
        st = catch_up_one(hub, w);
        if (st != ST_OK)
            return st;
        if (!w->synced && !w->paused) {
            /* The next slice begins with somebody else. */
            TAILQ_REMOVE(&hub->behind, w, link);
            TAILQ_INSERT_TAIL(&hub->behind, w, link);
            *ret_more = true;
            return ST_OK;
        }
    }
    return ST_OK;
}

void watch_resume(struct watch_hub *hub, struct watcher *w)
{
    (void)hub;
    w->paused = false;
}

mvcc_rev watch_position(const struct watch_hub *hub, const struct watcher *w)
{
    return w->synced ? hub->published : w->next - 1;
}

bool watch_is_synced(const struct watcher *w)
{
    return w->synced;
}
