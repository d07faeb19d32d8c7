/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, a queue in and a queue out. */
#include "raftd/storage_thread.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/invariant.h"
#include "common/mem.h"

STAILQ_HEAD(job_list, storage_job);

struct storage_thread {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct job_list todo, done;
    bool stopping;
    struct loop_wake *wake;
};

static void *thread_main(void *arg)
{
    struct storage_thread *t = arg;

    pthread_mutex_lock(&t->lock);
    while (!t->stopping) {
        struct storage_job *job = STAILQ_FIRST(&t->todo);
        if (!job) {
            pthread_cond_wait(&t->arrived, &t->lock);
            continue;
        }
        STAILQ_REMOVE_HEAD(&t->todo, link);
        pthread_mutex_unlock(&t->lock);
        job->run_fn(job);
        pthread_mutex_lock(&t->lock);
        STAILQ_INSERT_TAIL(&t->done, job, link);
        loop_wake_send(t->wake);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void on_wake(void *arg)
{
    struct storage_thread *t = arg;
    struct job_list done = STAILQ_HEAD_INITIALIZER(done);
    struct storage_job *job;

    pthread_mutex_lock(&t->lock);
    STAILQ_CONCAT(&done, &t->done);
    pthread_mutex_unlock(&t->lock);
    while ((job = STAILQ_FIRST(&done))) {
        STAILQ_REMOVE_HEAD(&done, link);
        job->done_fn(job);
    }
}

struct storage_thread *storage_thread_start(struct loop *l)
{
    struct storage_thread *t = mem_zero(sizeof *t);

    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->arrived, NULL);
    STAILQ_INIT(&t->todo);
    STAILQ_INIT(&t->done);
    t->wake = loop_wake_new(l, on_wake, t);
    INVARIANT(pthread_create(&t->thread, NULL, thread_main, t) == 0);
    return t;
}

void storage_thread_submit(struct storage_thread *t, struct storage_job *job)
{
    pthread_mutex_lock(&t->lock);
    STAILQ_INSERT_TAIL(&t->todo, job, link);
    pthread_cond_signal(&t->arrived);
    pthread_mutex_unlock(&t->lock);
}

static void free_jobs(struct job_list *jobs)
{
    struct storage_job *job;

    while ((job = STAILQ_FIRST(jobs))) {
        STAILQ_REMOVE_HEAD(jobs, link);
        free(job);
    }
}

void storage_thread_stop(struct storage_thread *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->arrived);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    free_jobs(&t->todo);
    free_jobs(&t->done);
    loop_wake_free(t->wake);
    pthread_cond_destroy(&t->arrived);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
