/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an operation: calls, deadlines, interrupts, one reply. */
#include <errno.h>
#include <stdlib.h>

#include "common/mem.h"
#include "fsd/fs.h"

int fs_errno(enum status st)
{
    return st == ST_KEY_NOT_FOUND ? ESTALE : status_errno(st);
}

static void op_free(struct op *op)
{
    struct fs *fs = op->fs;

    if (op->on_end)
        op->on_end(op);
    if (op->ino)
        ino_release(&fs->table, op->ino);
    if (op->parent)
        ino_release(&fs->table, op->parent);
    buf_fini(&op->request);
    buf_fini(&op->name);
    buf_fini(&op->key);
    buf_fini(&op->key2);
    buf_fini(&op->end);
    buf_fini(&op->data);
    free(op->extra);
    free(op);
    fs->op_count--;
}

void op_end(struct op *op)
{
    op->req = NULL; /* the reply has freed it */
    op_free(op);
}

void op_fail(struct op *op, int error)
{
    fuse_req_t req = op->req;

    op->req = NULL;
    if (req)
        fuse_reply_err(req, error);
    op_free(op);
}

void op_fail_status(struct op *op, enum status st)
{
    op_fail(op, fs_errno(st));
}

/* Ctrl-C: the caller goes on; what was sent may still be done. */
static void on_interrupt(fuse_req_t req, void *arg)
{
    struct op *op = arg;

    (void)req;
    if (!op->rpc)
        return; /* about to be answered */
    grpc_cancel(op->rpc);
    op->rpc = NULL;
    fuse_reply_err(op->req, EINTR);
    op->req = NULL;
    op_free(op);
}

struct op *op_new(struct fs *fs, fuse_req_t req)
{
    struct op *op;

    if (fs->op_count >= OPS_MAX && req) {
        fuse_reply_err(req, EAGAIN);
        return NULL;
    }
    op = mem_zero(sizeof *op);
    op->fs = fs;
    op->req = req;
    op->deadline_ns = loop_now_ns(fs->loop) + fs->options.timeout_ns;
    fs->op_count++;
    return op;
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

static void on_answer(void *arg, enum status st, struct slice message, struct slice text)
{
    struct op *op = arg;
    struct fs *fs = op->fs;

    (void)text;
    op->rpc = NULL;
    /* A read whose connection broke changed nothing: ask whoever answers next. */
    if (st == ST_UNREACHABLE && op->repeatable && loop_now_ns(op->fs->loop) < op->deadline_ns) {
        op_call(op, op->path, true, op->then);
        return;
    }
    op->then(op, st, message); /* ends it, or calls again */
    arena_reset(&fs->arena);
}

void op_call(struct op *op, const char *path, bool repeatable, op_then_fn then)
{
    op->path = path;
    op->repeatable = repeatable;
    op->then = then;
    op->rpc = grpc_unary(op->fs->channel, path, buf_slice(&op->request), op->deadline_ns, on_answer, op);
    /* If the interrupt came before, this calls on_interrupt at once. */
    if (op->req)
        fuse_req_interrupt_func(op->req, on_interrupt, op);
}
