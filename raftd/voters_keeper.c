/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/voters_keeper.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define RETRY_NS NS_PER_S

struct save_job {
    struct storage_job job;
    struct voters_keeper *keeper;
    struct voters voters; /* as they were */
    int dir_fd;
    enum status status;
    struct error error;
};

static void save_run(struct storage_job *job)
{
    struct save_job *j = (struct save_job *)job;

    j->status = voters_save(&j->voters, j->dir_fd, &j->error);
}

static void save_done(struct storage_job *job)
{
    struct save_job *j = (struct save_job *)job;
    struct voters_keeper *k = j->keeper;

    k->saving = false;
    if (j->status == ST_NO_SPACE)
        loop_timer_set(k->loop, &k->again, loop_now_ns(k->loop) + RETRY_NS);
    else if (j->status != ST_OK)
        k->fail_fn(k->arg, j->error.text);
    else if (k->voters->count == j->voters.count)
        k->voters->is_unsaved = false;
    else
        voters_keeper_save(k);
    free(j);
}

void voters_keeper_save(struct voters_keeper *k)
{
    struct save_job *j;

    if (k->saving || !k->voters->is_unsaved)
        return;
    k->saving = true;
    j = mem_zero(sizeof *j);
    j->job.run_fn = save_run;
    j->job.done_fn = save_done;
    j->keeper = k;
    j->voters = *k->voters;
    j->dir_fd = k->dir_fd;
    storage_thread_submit(k->storage, &j->job);
}

static void on_again(void *arg)
{
    voters_keeper_save(arg);
}

void voters_keeper_start(struct voters_keeper *k)
{
    k->saving = false;
    loop_timer_init(&k->again, on_again, k);
    voters_keeper_save(k);
}

void voters_keeper_stop(struct voters_keeper *k)
{
    struct error error;

    if (!k->loop)
        return; /* it never began */
    loop_timer_cancel(k->loop, &k->again);
    if (voters_save(k->voters, k->dir_fd, &error) != ST_OK)
        log_warning("server", "%s; the next start counts the voters of before", error.text);
}
