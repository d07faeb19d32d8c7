/* SPDX-License-Identifier: Apache-2.0 */
/* Reading segments before the loop does. */
#include "raftd/node/read_ahead.h"

#include <stdlib.h>

#include "common/mem.h"
#include "mvcc/transfer.h"
#include "raftd/node/internal.h"
#include "raftd/node/snapshot.h"

struct read_ahead_job {
    struct node_job job;
    struct read_ahead *owner; /* NULL: it has gone */
    mvcc_rev next;
    bool from_disk;
    char path[MVCC_FILE_BYTES];
};

static void run(struct node_job *job)
{
    const struct read_ahead_job *j = (const struct read_ahead_job *)job;

    mvcc_read_ahead(j->path, j->from_disk);
}

static void done(struct node *n, struct node_job *job)
{
    struct read_ahead_job *j = (struct read_ahead_job *)job;
    struct read_ahead *a = j->owner;

    (void)n;
    if (!a)
        return;
    j->owner = NULL;
    a->job = NULL;
    a->next = j->next;
    if (a->done_fn)
        a->done_fn(a->arg);
}

static void job_free(struct node *n, struct node_job *job)
{
    struct read_ahead_job *j = (struct read_ahead_job *)job;

    (void)n;
    if (j->owner)
        j->owner->job = NULL;
    free(j);
}

bool read_ahead_is_there(struct node *n, struct read_ahead *a, mvcc_rev main, mvcc_rev *ret_upto)
{
    const struct mvcc_position at = {.main = main};
    struct read_ahead_job *j;

    if (a->job)
        return false;
    if (main < a->next) {
        *ret_upto = a->next - 1; /* what follows was not read yet */
        return true;
    }
    j = mem_zero(sizeof *j);
    if (!mvcc_export_file(n->options.store, &at, j->path, &j->next)) {
        free(j);
        *ret_upto = INT64_MAX;
        return true;
    }
    j->job = (struct node_job){.run_fn = run, .done_fn = done, .free_fn = job_free};
    j->owner = a;
    j->from_disk = a->from_disk;
    a->job = j;
    node_job_start(n, &j->job);
    return false;
}

enum hash_progress read_ahead_hash(struct node *n, struct read_ahead *a, struct mvcc_hasher *h, enum status *ret_status)
{
    mvcc_rev upto;

    *ret_status = ST_OK;
    if (mvcc_hash_is_done(h))
        return HASH_ENDED;
    if (!read_ahead_is_there(n, a, h->main, &upto))
        return HASH_WAITS;
    *ret_status = mvcc_hash_step(n->options.store, h, upto, HASH_SLICE_RECORDS, HASH_SLICE_BYTES);
    return *ret_status != ST_OK || mvcc_hash_is_done(h) ? HASH_ENDED : HASH_GOES_ON;
}

void read_ahead_fini(struct read_ahead *a)
{
    if (a->job)
        a->job->owner = NULL;
    a->job = NULL;
}
