/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who wants to hear of which keys, and from which revision on: the bookkeeping of watches, without a
 * stream or a socket. A watcher is synced (it has everything up to the published revision and gets new events as they
 * are published) or catching up from history, in slices bounded by the caller; a watcher whose owner cannot take
 * more is paused and catches up from history later, so that a slow reader costs no memory and nobody else's time.
 *
 * Order: per watcher ascending (main, sub), without a gap or a repetition; a revision is delivered whole, also to one that
 * pauses in its middle.
 */
#ifndef MVCC_WATCH_H
#define MVCC_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/mvcc.h"

struct watch_hub;
struct watcher;

/*
 * An event for a watcher; `watcher_arg` is what it was added with. Return false: no room, pause this watcher after this
 * revision (the event itself was taken).
 */
/* May not add or remove watchers. */
typedef bool (*watch_deliver_fn)(void *watcher_arg, const struct mvcc_event *event);

struct watch_hub *watch_hub_new(struct mvcc *store, watch_deliver_fn deliver_fn);
void watch_hub_free(struct watch_hub *hub); /* and all its watchers */

/*
 * A watcher of span (bytes are copied) from start_rev on; 0: from the next change. A start beyond the current revision waits for it.
 * ST_COMPACTED if history before start is gone; ST_BAD_ARGUMENT for an empty span.
 */
enum status watch_add(struct watch_hub *hub, const struct mvcc_span *span, mvcc_rev start_rev, void *watcher_arg,
                      struct watcher **ret_watcher) MUST_CHECK;
void watch_remove(struct watch_hub *hub, struct watcher *w);

/* After mvcc_end moved the revision: deliver the new events to synced watchers. Cost: events x (1 + watchers of ranges) + deliveries. */
enum status watch_publish(struct watch_hub *hub) MUST_CHECK;

/* Deliver history to those that are behind, about max_events in all. *ret_more: somebody not paused is still behind. */
enum status watch_catch_up(struct watch_hub *hub, unsigned max_events, bool *ret_more) MUST_CHECK;

/* The owner can take events again. */
void watch_resume(struct watch_hub *hub, struct watcher *w);

/*
 * A snapshot replaced the store by one that is ahead: same history, more of it. Nobody is called; what is new for a watcher it gets
 * from watch_catch_up, behind what it has: never back in time, nothing twice, nothing lost (etcd 15271).
 */
void watch_restore(struct watch_hub *hub, struct mvcc *store);

/* Everything up to this revision was delivered to it. */
mvcc_rev watch_position(const struct watch_hub *hub, const struct watcher *w);
bool watch_is_synced(const struct watcher *w);

#endif
