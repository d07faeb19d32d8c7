/* SPDX-License-Identifier: Apache-2.0 */
/* Seals and jobs. */
#include "tests/sim/work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/storage_thread.h"
#include "tests/sim/history.h"
#include "tests/sim/write_errors.h"

void work_run(struct sim_member *m, struct member_work *work)
{
    int error = m->is_full ? ENOSPC : work->io ? 0 : m->store_error;

    if (work->ran)
        return;
    work->ran = true;
    if (error)
        write_errors_begin(1 + (unsigned)rng_below(&m->shared->world->rng, 20), error);
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

/* A seal was written; or its segment did not get its name, with some luck. */
static void end_seal(struct sim_member *m, struct member_work *work)
{
    struct error error = {0};
    char dir[STORE_PATH_BYTES], from[STORE_PATH_BYTES + 40], to[STORE_PATH_BYTES + 40];
    uint64_t index, term;
    struct mvcc_stats stats;
    unsigned long long sequence;

    work_run(m, work);
    if (work->status != ST_OK)
        return;
    mvcc_get_stats(m->store, &stats);
    sequence = stats.segments + 1;
    SIM_CHECK(mvcc_seal_end(m->store, work->seal, &index, &term, &error) == ST_OK, "member %u: %s", m->number, error.text);
    if (!world_chance(m->shared->world, 500))
        return;
    store_dir_name(&m->files.store_dir, m->files.store_dir.generation, dir);
    snprintf(from, sizeof from, "%s/%016llx.tdb", dir, sequence);
    snprintf(to, sizeof to, "%s/%016llx.tdb.tmp", dir, sequence);
    SIM_CHECK(rename(from, to) == 0, "%s: %s", from, strerror(errno));
}

void work_end(struct sim_member *m)
{
    unsigned done = m->work_count ? (unsigned)rng_below(&m->shared->world->rng, m->work_count + 1) : 0;

    for (unsigned i = 0; i < m->work_count; i++) {
        if (m->work[i].seal)
            end_seal(m, &m->work[i]);
        else if (i < done)
            work_run(m, &m->work[i]);
        free(m->work[i].io);
    }
    m->work_count = 0;
}
