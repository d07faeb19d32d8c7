/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel is told of changes, from the main thread. The kernel takes a reply in when the process that asked runs again:
 * a notice that was sent after a reply can be there before it, and is lost on an inode that does not stand yet, or undone by a name
 * that was just revalidated. So what was replied lately is told once more, a little later.
 */
#ifndef FSD_TELL_H
#define FSD_TELL_H

#include <sys/queue.h>

#include "fsd/ino.h"
#include "fsd/notify.h"
#include "net/loop.h"

#define TELL_SLOTS 4096u /* names and inodes share them by their hash: then one is told again for nothing */

struct teller {
    struct loop *loop;
    struct notifier *notifier;
    struct ino_table *table;
    bool can_expire; /* the kernel can expire a name without dropping what stands on it (Linux 6.2) */
    struct {
        int64_t replied_ns;
        bool again; /* waits to be told again */
    } slots[TELL_SLOTS];
    TAILQ_HEAD(, notice_again) waiting; /* the earliest first */
    struct loop_timer timer;
};

void teller_init(struct teller *t, struct loop *l, struct ino_table *table);
void teller_fini(struct teller *t);

/* What stands for a name in a directory; of an inode: with an empty name. */
uint64_t tell_hash(uint64_t ino, struct slice name);
/* A look-up of this name is being answered; this inode is being made known to the kernel. */
void teller_note(struct teller *t, uint64_t hash);

void tell_attr(struct teller *t, struct ino *i);
void tell_listing(struct teller *t, struct ino *dir);
/* is_dir: a directory may stand on the name, and somebody in it. */
void tell_name(struct teller *t, const struct ino *dir, struct slice name, bool is_dir);

#endif
