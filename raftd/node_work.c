/* SPDX-License-Identifier: Apache-2.0 */
/* Seals and jobs as work of the storage thread. */
#include "raftd/node_work.h"

#include <stdlib.h>

#include "common/mem.h"

struct seal_job {
    struct storage_job job;
    struct node_work *work;
    struct mvcc_seal *seal;
    enum status status;
    struct error error;
};

static void seal_run(struct storage_job *job)
{
    struct seal_job *j = (struct seal_job *)job;

    j->status = mvcc_seal_write(j->seal, &j->error);
}

static void seal_done(struct storage_job *job)
{
    struct seal_job *j = (struct seal_job *)job;

    node_on_seal_written(j->work->node, j->seal, j->status, &j->error);
    j->work->done_fn(j->work->arg);
    free(j);
}

void node_work_seal(struct node_work *w, struct mvcc_seal *seal)
{
    struct seal_job *j = mem_zero(sizeof *j);

    j->job.run_fn = seal_run;
    j->job.done_fn = seal_done;
    j->work = w;
    j->seal = seal;
    storage_thread_submit(w->storage, &j->job);
}

struct node_job_work {
    struct storage_job job;
    struct node_work *work;
    struct node_job *node_job;
};

static void job_run(struct storage_job *job)
{
    struct node_job_work *j = (struct node_job_work *)job;

    j->node_job->run_fn(j->node_job);
}

static void job_done(struct storage_job *job)
{
    struct node_job_work *j = (struct node_job_work *)job;

    node_on_job_done(j->work->node, j->node_job);
    j->work->done_fn(j->work->arg);
    free(j);
}

void node_work_job(struct node_work *w, struct node_job *node_job)
{
    struct node_job_work *j = mem_zero(sizeof *j);

    j->job.run_fn = job_run;
    j->job.done_fn = job_done;
    j->work = w;
    j->node_job = node_job;
    storage_thread_submit(w->storage, &j->job);
}
