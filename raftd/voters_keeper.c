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

static void save_done(struct storage_job *job);

static void save(struct voters_keeper *k)
{
    struct save_job *j = mem_zero(sizeof *j);

    k->saving = true;
    j->job.run_fn = save_run;
    j->job.done_fn = save_done;
    j->keeper = k;
    j->voters = *k->voters;
    j->dir_fd = k->dir_fd;
    storage_thread_submit(k->storage, &j->job);
}

static void on_saved(struct voters_keeper *k, const struct voters *saved)
{
    if (k->lacks_space)
        log_notice("server", "there is space for the number of voters again");
    k->lacks_space = false;
    if (saved->index != k->voters->index || saved->count != k->voters->count) {
        save(k); /* it is another one by now */
        return;
    }
    *k->voters = *saved;
    k->kept_fn(k->arg);
}

/* Before the next tick it is not tried again. */
static void on_no_space(struct voters_keeper *k, const char *text)
{
    if (!k->lacks_space)
        log_warning("server", "%s; a change of the members may have to wait for it, trying again", text);
    k->lacks_space = true;
    k->again_ns = 0;
}

static void save_done(struct storage_job *job)
{
    struct save_job *j = (struct save_job *)job;
    struct voters_keeper *k = j->keeper;

    k->saving = false;
    if (j->status == ST_NO_SPACE)
        on_no_space(k, j->error.text);
    else if (j->status != ST_OK)
        k->fail_fn(k->arg, j->error.text);
    else
        on_saved(k, &j->voters);
    free(j);
}

bool voters_keeper_note(struct voters_keeper *k, uint64_t index, unsigned count)
{
    voters_note(k->voters, index, count);
    if (k->voters->is_unsaved && !k->saving && !k->lacks_space)
        save(k);
    return !k->voters->has_fallen;
}

void voters_keeper_on_tick(struct voters_keeper *k, int64_t now_ns)
{
    if (k->saving || !k->voters->is_unsaved)
        return;
    if (k->lacks_space && !k->again_ns)
        k->again_ns = now_ns + RETRY_NS;
    if (!k->lacks_space || k->again_ns <= now_ns)
        save(k);
}

void voters_keeper_stop(struct voters_keeper *k)
{
    struct error error;

    if (k->voters && voters_save(k->voters, k->dir_fd, &error) != ST_OK)
        log_warning("server", "%s; the next start counts the voters of before", error.text);
}
