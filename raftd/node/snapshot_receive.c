/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: the receiving side. Jobs run in order on the storage thread; what they share with the loop changes hands with them. */
#include "raftd/node/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "mvcc/transfer.h"
#include "raftd/node/internal.h"

/* Elections' worth of ticks without a message: the sender has gone. */
#define SILENCE_ELECTIONS 10

enum receiver_stage {
    RECEIVER_TAKES,    /* chunks */
    RECEIVER_FINISHES, /* all are here: the last segment is written, the new store opened */
    RECEIVER_INSTALLS, /* the swap is ordered: no way back */
};

struct snapshot_receiver {
    raft_id from;
    raft_term term; /* the leader's */
    uint64_t transfer;
    enum receiver_stage stage;
    uint64_t next, stored; /* the chunk that is expected; all before this one are with the import */
    uint32_t crc;
    unsigned silent_ticks;
    unsigned jobs; /* under way */
    bool dead;     /* given up: freed when its last job has ended */
    /* of the END */
    raft_index index;
    raft_term log_term;
    mvcc_rev revision;
    struct buf state;
    struct store_dir dir; /* as it will be */
    /* the storage thread's, while jobs are under way */
    struct mvcc_options options;
    char path[STORE_PATH_BYTES];
    struct mvcc_import *import;
    struct mvcc *store; /* the new one, open */
    TAILQ_ENTRY(snapshot_receiver) link;
};

struct snapshot_job {
    struct node_job job;
    struct snapshot_receiver *receiver;
    struct buf data;   /* a chunk's records */
    struct mvcc *old;  /* a store that was replaced */
    enum status status;
    struct error error;
};

/* ---- jobs ---- */

static struct snapshot_job *job_start(struct node *n, struct snapshot_receiver *r, void (*run_fn)(struct node_job *job),
                                      void (*done_fn)(struct node *n, struct node_job *job))
{
    struct snapshot_job *j = mem_zero(sizeof *j);

    j->job.run_fn = run_fn;
    j->job.done_fn = done_fn;
    j->receiver = r;
    r->jobs++;
    TAILQ_INSERT_TAIL(&n->jobs, &j->job, link);
    return j;
}

static void job_submit(struct node *n, struct snapshot_job *j)
{
    n->options.job_fn(n->options.arg, &j->job);
}

static void job_free(struct node *n, struct snapshot_job *j)
{
    j->receiver->jobs--;
    TAILQ_REMOVE(&n->jobs, &j->job, link);
    buf_fini(&j->data);
    free(j);
}

static void receiver_free(struct node *n, struct snapshot_receiver *r)
{
    TAILQ_REMOVE(&n->receivers, r, link);
    buf_fini(&r->state);
    free(r);
}

void node_on_job_done(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    job->done_fn(n, job);
    job_free(n, j);
    if (r->dead && !r->jobs)
        receiver_free(n, r);
}

/* ---- giving up ---- */

static void run_discard(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    mvcc_import_free(r->import);
    mvcc_close(r->store);
    r->import = NULL;
    r->store = NULL;
    j->status = mvcc_remove(r->path, &j->error); /* else the next one, or the next start, does it */
}

static void done_nothing(struct node *n, struct node_job *job)
{
    (void)n;
    (void)job;
}

static void receiver_discard(struct node *n, struct snapshot_receiver *r, const char *why)
{
    INVARIANT(r->stage != RECEIVER_INSTALLS && !r->dead);
    node_tell_snapshot(n, "given up", r->from, r->index, why);
    r->dead = true;
    n->receiver = NULL;
    job_submit(n, job_start(n, r, run_discard, done_nothing));
}

static void answer(struct node *n, const struct snapshot_message *to, enum snapshot_message_type type, uint64_t sequence)
{
    struct snapshot_message m = {.type = type,
                                 .from = n->options.member_id,
                                 .to = to->from,
                                 .term = to->term,
                                 .transfer = to->transfer,
                                 .sequence = sequence};

    n->options.send_snapshot_fn(n->options.arg, &m);
}

static void receiver_answer(struct node *n, const struct snapshot_receiver *r, enum snapshot_message_type type)
{
    struct snapshot_message m = {.type = type,
                                 .from = n->options.member_id,
                                 .to = r->from,
                                 .term = r->term,
                                 .transfer = r->transfer,
                                 .sequence = r->stored,
                                 .index = r->index,
                                 .log_term = r->log_term};

    n->options.send_snapshot_fn(n->options.arg, &m);
}

static void receiver_refuse(struct node *n, struct snapshot_receiver *r, const char *why)
{
    receiver_answer(n, r, SNAPSHOT_REFUSED);
    receiver_discard(n, r, why);
}

/* ---- installing ---- */

static void run_retire(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;

    mvcc_close(j->old);
    j->old = NULL;
    j->status = mvcc_remove(j->receiver->path, &j->error); /* else the next start does it */
}

/* The new store is the current one, on disk: from here on nothing may fail. */
static void take_over(struct node *n, struct snapshot_receiver *r)
{
    struct snapshot_job *j = job_start(n, r, run_retire, done_nothing);

    j->old = n->options.store;
    store_dir_name(n->options.dir, n->options.dir->generation, r->path);
    *n->options.dir = r->dir;
    n->options.store = r->store;
    r->store = NULL;
    INVARIANT(node_decode_state(n, buf_slice(&r->state)) == ST_OK); /* it was tried before */
    wal_release(n->options.wal, r->index, r->log_term);
    INVARIANT(raft_restore(n->raft, r->index, r->log_term, &n->members.conf) == ST_OK);
    n->sealed_index = n->released_index = r->index;
    n->sealed_term = r->log_term;
    n->log_bytes_applied = 0;
    n->starved_seal = NULL; /* of the store that goes, and goes with it */
    node_tell_snapshot(n, "installed", r->from, r->index, NULL);
    n->options.restored_fn(n->options.arg, n->options.store);
    requests_on_applied(n, r->index);
    receiver_answer(n, r, SNAPSHOT_INSTALLED);
    r->dead = true;
    n->receiver = NULL;
    job_submit(n, j);
    n->options.work_fn(n->options.arg);
}

static void run_swap(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;

    j->status = store_dir_write(&j->receiver->dir, &j->error);
}

static void done_swap(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;

    /* On a full disk nothing was swapped; else, which one is the store now? Only the next start can tell. */
    if (j->status == ST_NO_SPACE) {
        j->receiver->stage = RECEIVER_FINISHES;
        receiver_refuse(n, j->receiver, j->error.text);
    } else if (j->status != ST_OK)
        n->options.fail_fn(n->options.arg, j->error.text);
    else
        take_over(n, j->receiver);
}

static void run_finish(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;
    struct mvcc_import_end end = {.applied_index = r->index,
                                  .applied_term = r->log_term,
                                  .revision = r->revision,
                                  .state = buf_slice(&r->state)};

    j->status = r->import ? ST_OK : mvcc_import_new(&r->options, &r->import, &j->error);
    if (j->status == ST_OK)
        j->status = mvcc_import_finish(r->import, &end, &j->error);
    mvcc_import_free(r->import);
    r->import = NULL;
    if (j->status == ST_OK)
        j->status = mvcc_open(&r->options, &r->store, &j->error);
}

static void done_finish(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    if (r->dead)
        return;
    if (j->status != ST_OK) {
        receiver_refuse(n, r, j->error.text);
    } else if (!raft_wants_snapshot(n->raft, r->index, r->log_term)) {
        receiver_refuse(n, r, "the log has it by now");
    } else {
        r->stage = RECEIVER_INSTALLS;
        job_submit(n, job_start(n, r, run_swap, done_swap));
    }
}

/* ---- taking chunks ---- */

static void run_add(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    j->status = r->import ? ST_OK : mvcc_import_new(&r->options, &r->import, &j->error);
    if (j->status == ST_OK)
        j->status = mvcc_import_add(r->import, buf_slice(&j->data), &j->error);
}

static void done_add(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    if (r->dead)
        return;
    if (j->status != ST_OK) {
        receiver_refuse(n, r, j->error.text);
        return;
    }
    r->stored++;
    receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

static void take_end(struct node *n, struct snapshot_receiver *r, const struct snapshot_message *m)
{
    r->index = m->index;
    r->log_term = m->log_term;
    r->revision = m->revision;
    buf_append_slice(&r->state, m->data);
    if (!m->log_term || m->log_term > m->term || node_check_state(m->data) != ST_OK) {
        receiver_refuse(n, r, "its end makes no sense");
        return;
    }
    r->dir.installed_index = r->index;
    r->dir.installed_term = r->log_term;
    r->stage = RECEIVER_FINISHES;
    job_submit(n, job_start(n, r, run_finish, done_finish));
}

static void receiver_take(struct node *n, struct snapshot_receiver *r, const struct snapshot_message *m)
{
    uint32_t crc = crc32c(r->crc, m->data.data, m->data.len);
    struct snapshot_job *j;

    if (crc != m->crc) {
        receiver_refuse(n, r, "a chunk is damaged");
        return;
    }
    r->crc = crc;
    r->next++;
    if (m->type == SNAPSHOT_END) {
        take_end(n, r, m);
        return;
    }
    r->index = m->index;
    j = job_start(n, r, run_add, done_add);
    buf_append_slice(&j->data, m->data);
    job_submit(n, j);
}

/* The first chunk stands for the core's announcement: terms are compared, and whoever has it already says so. */
static void receiver_begin(struct node *n, const struct snapshot_message *m)
{
    struct raft_message announcement = {.type = RAFT_MSG_SNAPSHOT,
                                        .from = m->from,
                                        .to = m->to,
                                        .term = m->term,
                                        .index = m->index,
                                        .log_term = m->log_term};
    struct snapshot_receiver *r;
    struct raft_status st;

    if (n->receiver && n->receiver->stage != RECEIVER_TAKES)
        return; /* it has all it needs of an older one: good whoever leads now, and soon in place */
    node_step(n, &announcement);
    n->options.work_fn(n->options.arg);
    raft_get_status(n->raft, &st);
    if (st.hard.term != m->term || st.leader != m->from || !raft_wants_snapshot(n->raft, m->index, m->log_term)) {
        answer(n, m, SNAPSHOT_REFUSED, 0);
        return;
    }
    if (n->receiver)
        receiver_discard(n, n->receiver, "another one began");
    r = mem_zero(sizeof *r);
    r->from = m->from;
    r->term = m->term;
    r->transfer = m->transfer;
    r->index = m->index;
    r->dir = *n->options.dir;
    r->dir.generation++;
    store_dir_name(&r->dir, r->dir.generation, r->path);
    r->options = n->options.store_options;
    r->options.dir = r->path;
    TAILQ_INSERT_TAIL(&n->receivers, r, link);
    n->receiver = r;
    node_tell_snapshot(n, "receiving", r->from, r->index, NULL);
    receiver_take(n, r, m);
}

void receiver_on_message(struct node *n, const struct snapshot_message *m)
{
    struct snapshot_receiver *r = n->receiver;
    bool known = r && r->transfer == m->transfer && r->from == m->from && r->term == m->term;

    if (!known && m->sequence == 0) {
        receiver_begin(n, m);
        return;
    }
    if (!known) {
        if (!r || r->stage == RECEIVER_TAKES)
            answer(n, m, SNAPSHOT_REFUSED, 0);
        return;
    }
    r->silent_ticks = 0;
    /* What is early was preceded by something that was lost, or does not keep to the window: it comes again. */
    if (r->stage == RECEIVER_TAKES && m->sequence == r->next && r->next - r->stored < SNAPSHOT_WINDOW)
        receiver_take(n, r, m);
    else
        receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

void receivers_on_tick(struct node *n)
{
    struct snapshot_receiver *r = n->receiver;
    struct raft_status st;

    if (!r)
        return;
    if (r->stage == RECEIVER_TAKES) {
        raft_get_status(n->raft, &st);
        if (st.hard.term != r->term || st.leader != r->from) {
            receiver_discard(n, r, "there is another leader");
            return;
        }
        if (++r->silent_ticks > SILENCE_ELECTIONS * n->options.election_ticks) {
            receiver_discard(n, r, "the sender says nothing");
            return;
        }
    }
    receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

bool snapshot_is_installing(const struct node *n)
{
    return n->receiver && n->receiver->stage == RECEIVER_INSTALLS;
}

void receivers_fini(struct node *n)
{
    while (!TAILQ_EMPTY(&n->jobs)) {
        struct snapshot_job *j = (struct snapshot_job *)TAILQ_FIRST(&n->jobs);
        mvcc_close(j->old);
        job_free(n, j);
    }
    while (!TAILQ_EMPTY(&n->receivers)) {
        struct snapshot_receiver *r = TAILQ_FIRST(&n->receivers);
        mvcc_import_free(r->import);
        mvcc_close(r->store);
        receiver_free(n, r);
    }
}
