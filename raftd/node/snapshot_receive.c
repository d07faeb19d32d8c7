/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: the receiving side. Jobs run in order on the storage thread; what they share with the loop changes hands with them. */
#include "raftd/node/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "common/planted.h"
#include "mvcc/transfer.h"
#include "raftd/node/internal.h"

/* Elections' worth of ticks without a message: the sender has gone. */
#define SILENCE_ELECTIONS 10
/* An election's pause between two: as long a new leader has to apply what its log holds. */
#define OLDER_OFFERS_MAX 4

#define SHORT_OF_SPACE "this member is short of space"

enum receiver_stage {
    RECEIVER_TAKES,    /* chunks */
    RECEIVER_FINISHES, /* all are here: the last segment is written, the new store opened */
    RECEIVER_INSTALLS, /* the swap is ordered: no way back */
};

/*
 * What is on its way to become the store. Belongs to no transfer: each goes on where the one before was cut short. Jobs run in order, so
 * whatever a former transfer still had under way is in it before the next one asks what it holds.
 */
struct snapshot_partial {
    bool exists;       /* on disk, or soon */
    bool is_known;     /* `revision` is of now: no transfer has added anything since */
    bool job_runs;     /* that looks after it while there is no transfer */
    mvcc_rev revision; /* the last whole one that it holds */
    unsigned older_offers; /* one after the other: of leaders that have not applied as much */
    /* the storage thread's, while jobs are under way */
    struct mvcc_options options;
    char path[STORE_PATH_BYTES];
    struct mvcc_import *import; /* NULL: not opened yet */
};

struct snapshot_receiver {
    raft_id from;
    raft_term term; /* the leader's */
    uint64_t transfer;
    enum receiver_stage stage;
    uint64_t next, stored; /* the message that is expected; all before this one are with the import */
    mvcc_rev begin;        /* of the last revision that was there before */
    uint32_t crc;
    unsigned silent_ticks;
    unsigned jobs; /* under way */
    bool dead;     /* given up: freed when its last job has ended */
    bool awaits_voters; /* whole, and installed after node_voters_kept */
    /* of the END */
    raft_index index;
    raft_term log_term;
    mvcc_rev revision; /* until then: of the offer */
    struct buf state;
    struct store_dir dir; /* as it will be */
    struct mvcc *store;   /* the new one, open; the storage thread's while jobs are under way */
    TAILQ_ENTRY(snapshot_receiver) link;
};

struct snapshot_job {
    struct node_job job;
    struct snapshot_partial *partial;
    struct snapshot_receiver *receiver; /* or NULL */
    struct buf data;                    /* a chunk's records; of an offer: who is trusted */
    bool is_anew;                       /* what was there is not trusted, and went */
    mvcc_rev revision;                  /* what the partial store holds */
    bool remove;                        /* the partial store, too */
    struct mvcc *old;                   /* a store that was replaced, at old_path */
    char old_path[STORE_PATH_BYTES];
    enum status status;
    struct error error;
};

/* ---- jobs ---- */

static void receiver_free(struct node *n, struct snapshot_receiver *r)
{
    TAILQ_REMOVE(&n->receivers, r, link);
    mvcc_close(r->store);
    buf_fini(&r->state);
    free(r);
}

static void job_free(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    mvcc_close(j->old);
    buf_fini(&j->data);
    free(j);
    if (r && --r->jobs == 0 && r->dead)
        receiver_free(n, r);
}

static struct snapshot_job *job_new(struct node *n, struct snapshot_receiver *r, void (*run_fn)(struct node_job *job),
                                    void (*done_fn)(struct node *n, struct node_job *job))
{
    struct snapshot_job *j = mem_zero(sizeof *j);

    j->job = (struct node_job){.run_fn = run_fn, .done_fn = done_fn, .free_fn = job_free};
    j->partial = n->partial;
    j->receiver = r;
    if (r)
        r->jobs++;
    return j;
}

static void job_submit(struct node *n, struct snapshot_job *j)
{
    node_job_start(n, &j->job);
}

/* ---- what is there already ---- */

static void partial_init(struct node *n, bool exists)
{
    struct snapshot_partial *p = n->partial;

    *p = (struct snapshot_partial){.exists = exists, .options = n->options.store_options};
    store_dir_name(n->options.dir, n->options.dir->generation + 1, p->path);
    p->options.dir = p->path;
}

static void run_look(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_partial *p = j->partial;

    j->status = p->import ? ST_OK : mvcc_import_open(&p->options, &p->import, &j->error);
    if (j->status == ST_OK)
        j->revision = mvcc_import_rewind(p->import);
}

static void run_remove(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_partial *p = j->partial;

    mvcc_import_free(p->import);
    p->import = NULL;
    j->status = mvcc_remove(p->path, &j->error); /* else the next one, or the next start, does it */
}

static bool has_id(struct slice ids, raft_id id)
{
    struct reader r = reader_of(ids);

    while (reader_left(&r))
        if (read_le64(&r) == id)
            return true;
    return false;
}

/* Did all of what is there come from members that are trusted? Of what nobody noted that is not known. */
static bool is_trusted(struct slice contributors, struct slice trusted)
{
    struct reader r = reader_of(contributors);

    if (!contributors.len || !snapshot_ids_make_sense(contributors))
        return false;
    while (reader_left(&r))
        if (!has_id(trusted, read_le64(&r)))
            return false;
    return true;
}

/* From now on it contributes. All others are trusted members, so the list does not grow beyond these. */
static void note_sender(struct snapshot_job *j)
{
    struct slice noted = mvcc_import_note(j->partial->import);
    uint8_t id[SNAPSHOT_ID_BYTES];
    struct buf note = {0};

    if (j->revision > 1)
        buf_append_slice(&note, noted);
    put_le64(id, j->receiver->from);
    if (!has_id(buf_slice(&note), j->receiver->from))
        buf_append(&note, id, sizeof id);
    mvcc_import_set_note(j->partial->import, buf_slice(&note));
    buf_fini(&note);
}

/* A transfer begins. It goes on behind what is there, unless somebody had a part in it whom the leader does not trust. */
static void run_open(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;

    run_look(job);
    if (j->status == ST_OK && j->revision > 1 && !PLANTED(partial_of_corrupt_kept) &&
        !is_trusted(mvcc_import_note(j->partial->import), buf_slice(&j->data))) {
        j->is_anew = true;
        run_remove(job);
        if (j->status == ST_OK)
            run_look(job);
    }
    if (j->status == ST_OK)
        note_sender(j);
}

static void done_look(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_partial *p = n->partial;

    p->job_runs = false;
    p->is_known = j->status == ST_OK && !n->receiver;
    p->revision = j->revision;
    p->exists = p->exists && j->status == ST_OK;
}

static void done_removal(struct node *n, struct node_job *job)
{
    (void)job;
    n->partial->job_runs = false;
}

/* Nobody is sending: it waits for the next one, until the store itself holds as much. */
static void partial_on_tick(struct node *n)
{
    struct snapshot_partial *p = n->partial;

    if (!p->exists || p->job_runs)
        return;
    if (!p->is_known) {
        p->job_runs = true;
        job_submit(n, job_new(n, NULL, run_look, done_look));
    } else if (p->revision <= mvcc_revision(n->options.store)) {
        p->job_runs = true;
        p->exists = p->is_known = false;
        job_submit(n, job_new(n, NULL, run_remove, done_removal));
    }
}

/* ---- giving up ---- */

static void run_discard(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    mvcc_close(r->store);
    r->store = NULL;
    if (j->remove)
        run_remove(job);
}

/* With remove: what it left is worth nothing, the next one begins with nothing. */
static void receiver_discard(struct node *n, struct snapshot_receiver *r, bool remove, const char *why)
{
    struct snapshot_job *j = job_new(n, r, run_discard, NULL);

    INVARIANT(r->stage != RECEIVER_INSTALLS && !r->dead);
    node_tell_snapshot(n, "given up", r->from, r->index, why);
    r->dead = true;
    n->receiver = NULL;
    n->partial->is_known = false;
    n->partial->exists = !remove;
    j->remove = remove;
    job_submit(n, j);
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
                                 .revision = r->begin,
                                 .index = r->index,
                                 .log_term = r->log_term};

    n->options.send_snapshot_fn(n->options.arg, &m);
}

static void receiver_refuse(struct node *n, struct snapshot_receiver *r, bool remove, const char *why)
{
    receiver_answer(n, r, SNAPSHOT_REFUSED);
    receiver_discard(n, r, remove, why);
}

/* Without space nothing is wrong with the segments that are there: the next one goes on behind them. */
static void receiver_fail(struct node *n, struct snapshot_receiver *r, const struct snapshot_job *j)
{
    receiver_refuse(n, r, j->status != ST_NO_SPACE, j->error.text);
}

/* ---- installing ---- */

static void run_retire(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;

    mvcc_close(j->old);
    j->old = NULL;
    j->status = mvcc_remove(j->old_path, &j->error); /* else the next start does it */
}

/* The new store is the current one, on disk: from here on nothing may fail. */
static void take_over(struct node *n, struct snapshot_receiver *r)
{
    struct snapshot_job *j = job_new(n, r, run_retire, NULL);

    j->old = n->options.store;
    store_dir_name(n->options.dir, n->options.dir->generation, j->old_path);
    *n->options.dir = r->dir;
    partial_init(n, false);
    n->options.store = r->store;
    r->store = NULL;
    INVARIANT(PLANTED(snapshot_without_state) || node_decode_state(n, buf_slice(&r->state)) == ST_OK); /* it was tried before */
    wal_release(n->options.wal, r->index, r->log_term);
    INVARIANT(raft_restore(n->raft, r->index, r->log_term, &n->members.conf) == ST_OK);
    raft_put_off_applying(n->raft, n->awaits_voters);
    n->awaits_record = false; /* of the store that goes */
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
        receiver_fail(n, j->receiver, j);
    } else if (j->status != ST_OK)
        n->options.fail_fn(n->options.arg, j->error.text);
    else
        take_over(n, j->receiver);
}

static void run_finish(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;
    struct snapshot_partial *p = j->partial;
    struct mvcc_import_end end = {.applied_index = r->index,
                                  .applied_term = r->log_term,
                                  .revision = r->revision,
                                  .state = buf_slice(&r->state)};

    j->status = mvcc_import_finish(p->import, &end, &j->error);
    mvcc_import_free(p->import);
    p->import = NULL;
    if (j->status == ST_OK)
        j->status = mvcc_open(&p->options, &r->store, &j->error);
}

/* What it says of the voters is kept before it is in force. Meanwhile the log may have come as far. */
static void install(struct node *n, struct snapshot_receiver *r)
{
    if (!raft_wants_snapshot(n->raft, r->index, r->log_term)) {
        receiver_refuse(n, r, true, "the log has it by now");
        return;
    }
    r->awaits_voters = !node_tell_voters_of(n, r->index, buf_slice(&r->state));
    if (r->awaits_voters)
        return;
    r->stage = RECEIVER_INSTALLS;
    job_submit(n, job_new(n, r, run_swap, done_swap));
}

void receiver_on_voters_kept(struct node *n)
{
    if (n->receiver && n->receiver->awaits_voters)
        install(n, n->receiver);
}

static void done_finish(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    if (r->dead)
        return;
    if (j->status != ST_OK)
        receiver_fail(n, r, j);
    else
        install(n, r);
}

/* ---- taking chunks ---- */

static void run_add(struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;

    if (PLANTED(snapshot_current_early) && store_dir_write(&j->receiver->dir, &j->error) != ST_OK)
        return;
    j->status = mvcc_import_add(j->partial->import, buf_slice(&j->data), &j->error);
}

static void done_add(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    if (r->dead)
        return;
    if (j->status != ST_OK) {
        receiver_fail(n, r, j);
        return;
    }
    r->stored++;
    receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

/*
 * A new leader soon applies what its log holds, and goes on behind what is here. One that needs this very member for that never does, and
 * the cluster would wait for ever.
 */
static bool is_ahead_for_good(struct node *n, const struct snapshot_receiver *r)
{
    struct snapshot_partial *p = n->partial;

    p->older_offers = r->begin > r->revision ? p->older_offers + 1 : 0;
    return p->older_offers >= OLDER_OFFERS_MAX;
}

static void done_open(struct node *n, struct node_job *job)
{
    struct snapshot_job *j = (struct snapshot_job *)job;
    struct snapshot_receiver *r = j->receiver;

    if (r->dead)
        return;
    if (j->status != ST_OK) {
        receiver_fail(n, r, j);
        return;
    }
    r->begin = j->revision;
    if (j->is_anew)
        node_tell_snapshot(n, "begun anew", r->from, r->index, "the leader does not trust all from whom a part of it came");
    if (is_ahead_for_good(n, r)) {
        n->partial->older_offers = 0;
        receiver_refuse(n, r, true, "it has not applied what was received of another");
        return;
    }
    r->stored = 1;
    receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

static void take_end(struct node *n, struct snapshot_receiver *r, const struct snapshot_message *m)
{
    r->index = m->index;
    r->log_term = m->log_term;
    r->revision = m->revision;
    buf_append_slice(&r->state, m->data);
    if (!m->log_term || m->log_term > m->term || m->index > RAFT_NUMBER_MAX || node_check_state(m->data) != ST_OK) {
        receiver_refuse(n, r, false, "its end makes no sense");
        return;
    }
    r->dir.installed_index = r->index;
    r->dir.installed_term = r->log_term;
    r->stage = RECEIVER_FINISHES;
    job_submit(n, job_new(n, r, run_finish, done_finish));
}

static void receiver_take(struct node *n, struct snapshot_receiver *r, const struct snapshot_message *m)
{
    uint32_t crc = crc32c(r->crc, m->data.data, m->data.len);
    struct snapshot_job *j;

    if (crc != m->crc) {
        receiver_refuse(n, r, false, "a chunk is damaged");
        return;
    }
    r->crc = crc;
    r->next++;
    if (m->type == SNAPSHOT_END) {
        take_end(n, r, m);
        return;
    }
    r->index = m->index;
    j = job_new(n, r, run_add, done_add);
    buf_append_slice(&j->data, m->data);
    job_submit(n, j);
}

/* The offer stands for the core's announcement: terms are compared, and whoever has it already says so. */
static void receiver_begin(struct node *n, const struct snapshot_message *m)
{
    struct raft_message announcement = {.type = RAFT_MSG_SNAPSHOT,
                                        .from = m->from,
                                        .to = m->to,
                                        .term = m->term,
                                        .index = m->index,
                                        .log_term = m->log_term};
    struct snapshot_receiver *r;
    struct snapshot_job *j;
    struct raft_status st;

    if (n->receiver && n->receiver->stage != RECEIVER_TAKES)
        return; /* it has all it needs of an older one: good whoever leads now, and soon in place */
    if (!snapshot_ids_make_sense(m->data) || m->crc != crc32c(0, m->data.data, m->data.len)) {
        node_tell_snapshot(n, "refused", m->from, m->index, "its offer makes no sense");
        answer(n, m, SNAPSHOT_REFUSED, 0);
        return;
    }
    node_step(n, &announcement);
    n->options.work_fn(n->options.arg);
    raft_get_status(n->raft, &st);
    if (st.hard.term != m->term || st.leader != m->from || !raft_wants_snapshot(n->raft, m->index, m->log_term)) {
        answer(n, m, SNAPSHOT_REFUSED, 0);
        return;
    }
    if (n->is_short) {
        node_tell_snapshot(n, "refused", m->from, m->index, SHORT_OF_SPACE);
        answer(n, m, SNAPSHOT_REFUSED, 0);
        return;
    }
    if (n->receiver)
        receiver_discard(n, n->receiver, false, "another one began");
    r = mem_zero(sizeof *r);
    r->from = m->from;
    r->term = m->term;
    r->transfer = m->transfer;
    r->index = m->index;
    r->revision = m->revision;
    r->crc = m->crc;
    r->dir = *n->options.dir;
    r->dir.generation++;
    r->next = 1;
    TAILQ_INSERT_TAIL(&n->receivers, r, link);
    n->receiver = r;
    n->partial->exists = true;
    n->partial->is_known = false;
    node_tell_snapshot(n, "receiving", r->from, r->index, NULL);
    j = job_new(n, r, run_open, done_open);
    buf_append_slice(&j->data, m->data);
    job_submit(n, j);
}

void receiver_on_message(struct node *n, const struct snapshot_message *m)
{
    struct snapshot_receiver *r = n->receiver;
    bool known = r && r->transfer == m->transfer && r->from == m->from && r->term == m->term;

    if (!known && m->type == SNAPSHOT_OFFER) {
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
    if (r->stage == RECEIVER_TAKES && r->stored && m->type != SNAPSHOT_OFFER && m->sequence == r->next &&
        r->next - r->stored < SNAPSHOT_WINDOW)
        receiver_take(n, r, m);
    else
        receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

void receivers_on_tick(struct node *n)
{
    struct snapshot_receiver *r = n->receiver;
    struct raft_status st;

    if (!r) {
        partial_on_tick(n);
        return;
    }
    if (r->stage == RECEIVER_TAKES) {
        raft_get_status(n->raft, &st);
        if (st.hard.term != r->term || st.leader != r->from) {
            receiver_discard(n, r, false, "there is another leader");
            return;
        }
        if (n->is_short) { /* what is left is the log's */
            receiver_refuse(n, r, false, SHORT_OF_SPACE);
            return;
        }
        if (++r->silent_ticks > SILENCE_ELECTIONS * n->options.election_ticks) {
            receiver_discard(n, r, false, "the sender says nothing");
            return;
        }
    }
    receiver_answer(n, r, SNAPSHOT_RECEIVED);
}

bool snapshot_is_installing(const struct node *n)
{
    return n->receiver && n->receiver->stage == RECEIVER_INSTALLS;
}

void receivers_init(struct node *n)
{
    n->partial = mem_zero(sizeof *n->partial);
    partial_init(n, n->options.dir->partial);
}

void receivers_fini(struct node *n)
{
    while (!TAILQ_EMPTY(&n->receivers))
        receiver_free(n, TAILQ_FIRST(&n->receivers));
    mvcc_import_free(n->partial->import);
    free(n->partial);
}
