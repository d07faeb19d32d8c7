/* SPDX-License-Identifier: Apache-2.0 */
/* Seals and jobs. */
#include "tests/sim/work.h"

#include <errno.h>
#include <stdlib.h>

#include "raftd/storage_thread.h"
#include "tests/sim/history.h"
#include "tests/sim/write_errors.h"

#define CALLS_OF_WORK 9 /* a little more than a seal makes */

void work_run(struct sim_member *m, struct member_work *work)
{
    int error = m->is_full ? ENOSPC : work->io ? 0 : m->store_error;

    if (error)
        write_errors_begin(1 + (unsigned)rng_below(&m->shared->world->rng, work->io ? 2 : 20), error); /* a small file is one write */
    if (work->job)
        work->job->run_fn(work->job);
    else if (work->io)
        work->io->run_fn(work->io);
    else
        work->status = mvcc_seal_write(work->seal, &work->error);
    write_errors_end();
    SIM_CHECK(work->status == ST_OK || (work->status == ST_NO_SPACE && m->is_full) || (work->status == ST_IO && m->store_error),
              "member %u: %s", m->number, work->error.text);
    m->shared->full_seals += work->status == ST_NO_SPACE;
}

unsigned work_calls(struct sim_member *m)
{
    return (unsigned)rng_below(&m->shared->world->rng, CALLS_OF_WORK * m->work_count + 1);
}

/* The work that it dies in runs to its end, and what comes after that is undone: unsynced_settle. */
void work_end(struct sim_member *m)
{
    for (unsigned i = 0; i < m->work_count; i++) {
        if (!unsynced_is_over(m->unsynced))
            work_run(m, &m->work[i]);
        free(m->work[i].io);
    }
    m->work_count = 0;
}
