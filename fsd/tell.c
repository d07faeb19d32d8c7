/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the kernel of changes, and telling it again. */
#include "fsd/tell.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "fsd/heard.h"

#define LATELY_NS (300 * NS_PER_MS) /* a process that was answered has run again, as a rule */

struct notice_again {
    TAILQ_ENTRY(notice_again) link;
    int64_t at_ns;
    unsigned slot;
    enum notice_kind kind;
    uint64_t ino;
    size_t len;
    char name[];
};

uint64_t tell_hash(uint64_t ino, struct slice name)
{
    return hash_bytes(hash_bytes(HASH_BASIS, &ino, sizeof ino), name.data, name.len);
}

static unsigned slot_of(uint64_t hash)
{
    return (unsigned)((hash ^ hash >> 32) % TELL_SLOTS);
}

void teller_note(struct teller *t, uint64_t hash)
{
    t->slots[slot_of(hash)].replied_ns = loop_now_ns(t->loop);
}

static uint64_t queue(struct teller *t, enum notice_kind kind, uint64_t ino, struct slice name)
{
    unsigned slot = slot_of(tell_hash(ino, name));
    int64_t now = loop_now_ns(t->loop);
    struct notice_again *n;

    if (!t->slots[slot].again && t->slots[slot].replied_ns && now - t->slots[slot].replied_ns < LATELY_NS) {
        n = mem_alloc(sizeof *n + name.len);
        *n = (struct notice_again){.at_ns = now + LATELY_NS, .slot = slot, .kind = kind, .ino = ino, .len = name.len};
        if (name.len)
            memcpy(n->name, name.data, name.len);
        t->slots[slot].again = true;
        if (TAILQ_EMPTY(&t->waiting))
            loop_timer_set(t->loop, &t->timer, n->at_ns);
        TAILQ_INSERT_TAIL(&t->waiting, n, link);
    }
    return notifier_queue(t->notifier, kind, ino, name);
}

static void on_timer(void *arg)
{
    struct teller *t = arg;
    struct notice_again *n;

    while ((n = TAILQ_FIRST(&t->waiting)) && n->at_ns <= loop_now_ns(t->loop)) {
        struct ino *i = ino_by_id(t->table, n->ino);
        uint64_t number;
        TAILQ_REMOVE(&t->waiting, n, link);
        t->slots[n->slot].again = false;
        number = i ? notifier_queue(t->notifier, n->kind, n->ino, slice_of(n->name, n->len)) : 0;
        if (i && !n->len)
            i->notice = number;
        free(n);
    }
    if (n)
        loop_timer_set(t->loop, &t->timer, n->at_ns);
}

void teller_init(struct teller *t, struct loop *l, struct ino_table *table)
{
    t->loop = l;
    t->table = table;
    TAILQ_INIT(&t->waiting);
    loop_timer_init(&t->timer, on_timer, t);
}

void teller_fini(struct teller *t)
{
    struct notice_again *n;

    loop_timer_cancel(t->loop, &t->timer);
    while ((n = TAILQ_FIRST(&t->waiting))) {
        TAILQ_REMOVE(&t->waiting, n, link);
        free(n);
    }
    notifier_stop(t->notifier);
}

void tell_attr(struct teller *t, struct ino *i)
{
    if (i->lookups)
        i->notice = queue(t, NOTICE_ATTR, i->id, slice_of(NULL, 0));
}

void tell_listing(struct teller *t, struct ino *dir)
{
    dir->listing_kept = false;
    dir->notice = queue(t, NOTICE_LISTING, dir->id, slice_of(NULL, 0));
}

void tell_name(struct teller *t, const struct ino *dir, struct slice name, bool is_dir)
{
    if (t->can_expire)
        queue(t, NOTICE_EXPIRE, dir->id, name);
    else if (!is_dir) /* dropping the name would take his place from him: those have short timeouts instead */
        queue(t, NOTICE_NAME, dir->id, name);
}
