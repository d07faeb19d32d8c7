/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One member of a run: its disk, its log, its store and its node, and how they die and come back. Its log is on a disk in memory, all else
 * in real files; when the power goes, both lose what was not synced. A process that is only killed loses nothing.
 */
#ifndef TESTS_SIM_MEMBER_H
#define TESTS_SIM_MEMBER_H

#include <setjmp.h>

#include "raftd/node/node.h"
#include "raftd/storage.h"
#include "raftd/voters_keeper.h"
#include "tests/sim/damage.h"
#include "tests/sim/rules.h"
#include "tests/sim/world.h"
#include "tests/unit/memory_disk.h"
#include "tests/unit/unsynced.h"

struct member_world; /* what members of one run share */

#define MEMBER_WORK_MAX 32
#define SIM_CLUSTER_ID 0xc1
#define SIM_SEGMENT_BYTES 8192 /* of most logs */

/* A seal to write, a job of the node, or one of the roster. */
struct member_work {
    struct mvcc_seal *seal;
    struct node_job *job;
    struct storage_job *io;
    enum status status; /* of a seal */
    struct error error;
};

struct sim_member {
    struct member_world *shared;
    unsigned number; /* its id is number + 1 */
    bool up;
    uint64_t life; /* events of an earlier life mean nothing */
    char dir[200];              /* its data directory */
    struct unsynced *unsynced;  /* what a power cut takes from there */
    struct data_dir data;
    struct disk *disk;          /* of its log */
    struct storage files;       /* as they were opened; later: */
    struct mvcc *store;
    struct node *node;
    struct roster *roster;
    struct voters_keeper voters;
    uint64_t heard_life[WORLD_NODES_MAX]; /* of the others: that was greeted, and was welcome */
    bool met_by[WORLD_NODES_MAX];         /* who heard it in any life, and knows its data directory yet */
    bool is_wiped; /* all its data went; what it promised is forgotten, and it does not know that */
    uint64_t wiped_in; /* the last life that knew; what it said may be on its way yet */
    bool has_heard; /* of another, in any life */
    bool is_alone;  /* its starts are with --force-new-cluster, until that is durable */
    bool is_gone;  /* it ended for good */
    struct member_work work[MEMBER_WORK_MAX]; /* of the storage thread, in order */
    unsigned work_count;
    int64_t paused_until_ns, disk_stalled_until_ns, storage_stalled_until_ns;
    int64_t clock_base_ns, wall_offset_ns;
    unsigned clock_percent; /* its monotonic clock against the world's */
    bool log_step_due;
    bool cuts_writing; /* the power goes in the middle of the next step of its log */
    uint64_t snapshot_count, snapshot_catchup; /* each has its own: who leads next may hold more of the log, or less */
    uint64_t tick; /* of its timer: an older one was replaced */
    bool dying;    /* the log may fail now */
    jmp_buf on_failure;
    jmp_buf on_end; /* it ends itself */
    bool is_full;    /* its disk */
    unsigned read_error_at; /* while it starts, the n-th call to the log's disk and all after it fail; 0: none */
    int store_error; /* of what it writes to its store next; the process ends by that */
    struct damage damage;
    bool log_is_new; /* of this life: the one before was given up */
    raft_term lost_before; /* this start */
    /* of this life, for the rules */
    raft_index checkpoint; /* of its store, durable */
    mvcc_rev checked_revision;
    uint64_t stalled_at; /* what its log had done by the last tick... */
    unsigned stalled_ticks; /* ...and for so many before */
};

/* What all members must agree on. */
struct member_world {
    struct world *world;
    unsigned count;    /* of all that run */
    unsigned founders; /* of those, the first ones found the cluster; the others may become members */
    struct sim_member members[WORLD_NODES_MAX];
    struct members initial;
    int64_t tick_ns;
    int64_t corrupt_check_ns; /* 0: members do not compare what they hold */
    int64_t scrub_ns;         /* 0: nor do they read it again */
    uint64_t memtable_bytes, seal_entries;
    size_t window_bytes_max, snapshot_chunk_bytes;
    uint64_t space_low_bytes;
    size_t message_bytes_max;
    unsigned inflight_messages_max;
    struct node_bounds bounds;
    unsigned slow_disk; /* syncs of a thousand that take long */
    unsigned late_news; /* of a thousand steps of a log that its node hears of later */
    uint64_t segment_bytes; /* of the log */
    int64_t power_off_ns;   /* how long it is away that lost it in the middle of a step, at most */
    void (*ran_fn)(void *arg, struct sim_member *m); /* after it ran; NULL: nobody looks */
    void *ran_arg;
    void (*alone_fn)(void *arg, mvcc_rev rev); /* a member goes on alone, with its store at that revision */
    void *alone_arg;
    bool trace;
    unsigned seals, crashes, snapshots, damages, healed_logs, healed_stores, put_off, refused_starts, full_disks, full_seals, log_waits;
    unsigned store_errors, wipes, dismissed, alones;
    struct rules rules;
};

void member_world_init(struct member_world *s, struct world *w, unsigned founders, unsigned others, const char *dir);
void member_world_fini(struct member_world *s);

void member_start(struct sim_member *m);
enum member_end { MEMBER_KILLED, MEMBER_POWER_CUT, MEMBER_POWER_CUT_WRITING, MEMBER_SYNC_FAILS, MEMBER_ENDS };
void member_crash(struct sim_member *m, enum member_end how);
/* All it has is gone, and it does not know: it comes back as a founder would begin. It must be down. */
void member_wipe(struct sim_member *m);
void member_add_work(struct sim_member *m, struct member_work work);
void member_set_full(struct sim_member *m, bool full);
/* It stalls no longer, and what waited for it is written. */
void member_disk_goes_on(struct sim_member *m);
/* After anything was done to its node. */
void member_run(struct sim_member *m);
/* In the cluster, as who applied most of those that are up knows it. */
bool member_is_in(const struct sim_member *m);
/* The one that applied most, of those that are up; NULL: none is. */
const struct sim_member *member_newest(const struct member_world *s);
/* Its own monotonic clock. */
int64_t member_now(const struct sim_member *m);

void sim_trace(const struct member_world *s, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
