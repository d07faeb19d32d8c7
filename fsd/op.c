/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an operation: calls, repetitions, deadlines, interrupts, turns, one reply. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "fsd/fs.h"

#define PAUSE_FIRST_NS (10 * NS_PER_MS)
#define PAUSE_MAX_NS (320 * NS_PER_MS)
/*
 * A signal need not be meant as the end of the call: shells get SIGCHLD, Go programs SIGURG all the time. A store that is well
 * answers within the grace and nobody notices; Ctrl-C is not slower for it than a person is.
 */
#define GRACE_NS (100 * NS_PER_MS)
#define KEY_SHOWN_BYTES 200
#define FAILURES_APART_NS NS_PER_S

int fs_errno(enum status st)
{
    return st == ST_KEY_NOT_FOUND ? ESTALE : status_errno(st);
}

/* ---- beginning and end ---- */

static void on_timer(void *arg);
static void on_grace_over(void *arg);

struct op *op_new(struct fs *fs, fuse_req_t req, const char *what)
{
    struct op *op;

    if (fs->op_count >= OPS_MAX && req) {
        fuse_reply_err(req, EAGAIN);
        return NULL;
    }
    op = mem_zero(sizeof *op);
    op->fs = fs;
    op->req = req;
    op->what = what;
    op->deadline_ns = loop_now_ns(fs->loop) + fs->options.timeout_ns;
    op->floor_rev = fs->seen_rev;
    loop_timer_init(&op->timer, on_timer, op);
    loop_timer_init(&op->grace, on_grace_over, op);
    TAILQ_INSERT_TAIL(&fs->ops, op, link);
    fs->op_count++;
    return op;
}

/* Whoever waits for this file is next. */
static void end_turn(struct fs *fs, struct op *op, struct file *f)
{
    struct op *next = TAILQ_FIRST(&f->waiters);

    INVARIANT(f->busy == op);
    f->busy = next;
    if (next) {
        TAILQ_REMOVE(&f->waiters, next, turn);
        TAILQ_INSERT_TAIL(&fs->runnable, next, turn);
        next->runs = true;
        next->waits = NULL;
        next->locked[next->locked[0] != NULL] = f;
        file_ref(f);
        loop_timer_cancel(fs->loop, &next->timer);
        loop_task_queue(fs->loop, &fs->run);
    }
    file_unref(&fs->table.files, f);
}

static void leave_queues(struct op *op)
{
    struct fs *fs = op->fs;

    if (op->rpc)
        grpc_cancel(op->rpc);
    op->rpc = NULL;
    if (op->runs)
        TAILQ_REMOVE(&fs->runnable, op, turn);
    if (op->waits)
        TAILQ_REMOVE(&op->waits->waiters, op, turn);
    op->runs = false;
    op->waits = NULL;
    loop_timer_cancel(fs->loop, &op->timer);
    loop_timer_cancel(fs->loop, &op->grace);
}

void op_drop_turns(struct op *op)
{
    for (int k = 1; k >= 0; k--) {
        if (op->locked[k])
            end_turn(op->fs, op, op->locked[k]);
        op->locked[k] = NULL;
    }
}

void op_drop_listing(struct op *op)
{
    if (op->owns_listing) {
        listing_fini(op->listing);
        free(op->listing);
    }
    op->owns_listing = false;
    op->listing = NULL;
}

static void op_free(struct op *op)
{
    struct fs *fs = op->fs;

    leave_queues(op);
    if (op->publication)
        publish_end(op);
    if (op->on_end)
        op->on_end(op);
    op_drop_turns(op);
    op_drop_listing(op);
    file_unref(&fs->table.files, op->file);
    if (op->ino)
        ino_release(&fs->table, op->ino);
    if (op->parent)
        ino_release(&fs->table, op->parent);
    buf_fini(&op->request);
    buf_fini(&op->name);
    buf_fini(&op->key);
    buf_fini(&op->key2);
    buf_fini(&op->end);
    TAILQ_REMOVE(&fs->ops, op, link);
    fs->op_count--;
    free(op);
}

void op_end(struct op *op)
{
    op->req = NULL; /* the reply has freed it */
    op_free(op);
}

void op_fail(struct op *op, int error)
{
    fuse_req_t req = op->req;

    if (req && op->on_fail)
        op->on_fail(op, error);
    op->req = NULL;
    if (req)
        fuse_reply_err(req, error);
    op_free(op);
}

void op_fail_status(struct op *op, enum status st)
{
    op_fail(op, fs_errno(st));
}

void op_abort_all(struct fs *fs)
{
    struct op *op, *next;

    for (op = TAILQ_FIRST(&fs->ops); op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->req)
            op_fail(op, EINTR);
    }
}

void op_set_ino(struct op *op, struct ino *i)
{
    if (i)
        ino_hold(i);
    if (op->ino)
        ino_release(&op->fs->table, op->ino);
    op->ino = i;
}

void op_set_parent(struct op *op, struct ino *i)
{
    ino_hold(i);
    if (op->parent)
        ino_release(&op->fs->table, op->parent);
    op->parent = i;
}

void op_set_file(struct op *op, struct file *f)
{
    if (f)
        file_ref(f);
    file_unref(&op->fs->table.files, op->file);
    op->file = f;
}

/* ---- failures in the log ---- */

/* Each once, with the key, the endpoint and the server's own words; a storm of one kind is counted. */
static void log_failure(struct op *op, enum status st, struct slice text)
{
    struct fs *fs = op->fs;
    struct slice key = buf_len(&op->key) ? buf_slice(&op->key) : op->ino ? ino_key(op->ino) : slice_of(NULL, 0);
    struct buf shown = {0};
    int64_t now = loop_now_ns(fs->loop);

    if (fs->last_failure.error == (int)st && now - fs->last_failure.at_ns < FAILURES_APART_NS) {
        fs->last_failure.untold++;
        return;
    }
    for (size_t i = 0; i < key.len && i < KEY_SHOWN_BYTES; i++) {
        if (key.data[i] > ' ' && key.data[i] < 127 && key.data[i] != '%')
            buf_append_byte(&shown, key.data[i]);
        else
            buf_printf(&shown, "%%%02X", key.data[i]);
    }
    log_warning("mount", "%s failed: %s key=%s endpoint=%s server=\"%.*s\" untold=%u", op->what, status_text(st),
                buf_text(&shown), fs->endpoint, (int)text.len, text.data ? (const char *)text.data : "",
                fs->last_failure.untold);
    buf_fini(&shown);
    fs->last_failure.error = (int)st;
    fs->last_failure.at_ns = now;
    fs->last_failure.untold = 0;
}

/* ---- calls ---- */

static void repeat_later(struct op *op)
{
    struct loop *l = op->fs->loop;

    op->pause_ns = op->pause_ns ? op->pause_ns * 2 : PAUSE_FIRST_NS;
    if (op->pause_ns > PAUSE_MAX_NS)
        op->pause_ns = PAUSE_MAX_NS;
    loop_timer_set(l, &op->timer, loop_now_ns(l) + op->pause_ns);
}

/* Would the same question a little later get an answer, and may it be asked twice? */
static bool is_worth_repeating(const struct op *op, enum status st)
{
    int64_t now = loop_now_ns(op->fs->loop), pause = op->pause_ns ? op->pause_ns * 2 : PAUSE_FIRST_NS;

    if (now + pause >= op->deadline_ns)
        return false;
    switch (st) {
    case ST_TOO_MANY_REQUESTS: /* refused before anything was done */
        return true;
    case ST_UNREACHABLE:
    case ST_NO_LEADER:
    case ST_LEADER_CHANGED:
    case ST_STOPPED:
    case ST_NOT_FOR_LEARNER:
        return op->repeatable;
    default:
        return false;
    }
}

static void on_answer(void *arg, enum status st, struct slice message, struct slice text)
{
    struct op *op = arg;
    struct fs *fs = op->fs;

    op->rpc = NULL;
    if (is_worth_repeating(op, st)) {
        repeat_later(op);
        return;
    }
    /* The connection broke after it was sent: the store may have done it, so the caller must not read "never arrived". */
    if (st == ST_UNREACHABLE && !op->repeatable && loop_now_ns(fs->loop) < op->deadline_ns)
        st = ST_TIMEOUT_CONNECTION;
    if (st != ST_OK && st != ST_CANCELED)
        log_failure(op, st, text);
    op->then(op, st, message); /* ends it, or calls again */
    arena_reset(&fs->arena);
}

static void send_request(struct op *op)
{
    op->rpc = grpc_unary(op->fs->channel, op->path, buf_slice(&op->request), op->deadline_ns, on_answer, op);
}

bool op_pause(struct op *op, op_go_fn go)
{
    op->go = go;
    op->pauses = true;
    repeat_later(op);
    return op->timer.at_ns < op->deadline_ns;
}

/* Pauses end here; whoever still waits for its turn has waited long enough. */
static void on_timer(void *arg)
{
    struct op *op = arg;

    if (op->waits) {
        op_fail(op, ETIMEDOUT);
    } else if (op->pauses) {
        op->pauses = false;
        op->go(op);
    } else {
        send_request(op);
    }
}

static void on_grace_over(void *arg)
{
    op_fail(arg, EINTR); /* what was sent may still be done */
}

static void on_interrupt(fuse_req_t req, void *arg)
{
    struct op *op = arg;

    (void)req;
    if (!op->grace.heap_slot)
        loop_timer_set(op->fs->loop, &op->grace, loop_now_ns(op->fs->loop) + GRACE_NS);
}

void op_call(struct op *op, const char *path, bool repeatable, op_then_fn then)
{
    op->path = path;
    op->repeatable = repeatable;
    op->then = then;
    send_request(op);
    if (op->req)
        fuse_req_interrupt_func(op->req, on_interrupt, op);
}

/* ---- turns ---- */

void op_take_turn(struct op *op, struct file *f, op_go_fn go)
{
    if (f->busy == op) {
        go(op);
        return;
    }
    if (!f->busy) {
        f->busy = op;
        file_ref(f);
        op->locked[op->locked[0] != NULL] = f;
        go(op);
        return;
    }
    op->go = go;
    op->waits = f;
    TAILQ_INSERT_TAIL(&f->waiters, op, turn);
    loop_timer_set(op->fs->loop, &op->timer, op->deadline_ns);
    if (op->req)
        fuse_req_interrupt_func(op->req, on_interrupt, op);
}

void op_run_tasks(void *arg)
{
    struct fs *fs = arg;
    struct op *op;

    while ((op = TAILQ_FIRST(&fs->runnable))) {
        TAILQ_REMOVE(&fs->runnable, op, turn);
        op->runs = false;
        op->go(op);
    }
}

/* ---- answers ---- */

void fs_note_revision(struct fs *fs, const Etcdserverpb__ResponseHeader *h)
{
    if (!h || h->revision <= fs->seen_rev)
        return;
    fs->seen_rev = h->revision;
    revclock_note(&fs->revclock, h->revision, clock_wall_ns());
}

Etcdserverpb__RangeResponse *op_range_answer(struct op *op, enum status *st, struct slice answer)
{
    Etcdserverpb__RangeResponse *r = NULL;

    if (*st == ST_OK)
        r = etcdserverpb__range_response__unpack(&op->fs->arena.allocator, answer.len, answer.data);
    if (*st == ST_OK && !r) {
        *st = ST_BAD_MESSAGE;
        log_failure(op, *st, slice_of_text("an answer to Range that cannot be decoded"));
    }
    return r;
}

Etcdserverpb__TxnResponse *op_txn_answer(struct op *op, enum status *st, struct slice answer)
{
    Etcdserverpb__TxnResponse *r = NULL;

    if (*st == ST_OK)
        r = etcdserverpb__txn_response__unpack(&op->fs->arena.allocator, answer.len, answer.data);
    if (*st == ST_OK && !r) {
        *st = ST_BAD_MESSAGE;
        log_failure(op, *st, slice_of_text("an answer to Txn that cannot be decoded"));
    }
    return r;
}

const Mvccpb__KeyValue *txn_kv(const Etcdserverpb__TxnResponse *r, size_t n)
{
    const Etcdserverpb__ResponseOp *o = n < r->n_responses ? r->responses[n] : NULL;

    if (!o || o->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE || !o->response_range->n_kvs)
        return NULL;
    return o->response_range->kvs[0];
}

bool op_is_behind(struct op *op, enum ino_view view, const Etcdserverpb__ResponseHeader *h)
{
    op->rev = h ? h->revision : 0;
    if (view == VIEW_PLAIN && op->rev < op->floor_rev && !op->linearizable) {
        op->linearizable = true;
        return true;
    }
    fs_note_revision(op->fs, h);
    return false;
}
