/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount: the kernel on one side, a store that speaks the etcd v3 API on the other, and between them the table of inodes. One
 * thread and one loop, but for the thread that tells the kernel what it may no longer cache (notify.h).
 *
 * An operation (struct op) is one request of the kernel on its way: it decodes, calls the store, perhaps several times,
 * and replies once. Every op has a deadline and can be interrupted. Two that work on one key's name or content wait for each other.
 */
#ifndef FSD_FS_H
#define FSD_FS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "common/buf.h"
#include "common/error.h"
#include "fsd/children.h"
#include "fsd/commit.h"
#include "fsd/emptied.h"
#include "fsd/heard.h"
#include "fsd/ino.h"
#include "fsd/ns.h"
#include "fsd/request.h"
#include "fsd/revclock.h"
#include "fsd/tell.h"
#include "net/grpc_client.h"
#include "net/loop.h"
#include "proto/arena.h"
#include "proto/rpc.pb-c.h"

/* How long the kernel may keep what the watch keeps true. */
#define CACHE_S 3600.0
#define VALUE_CACHE_BYTES_MAX (64u << 20)
#define OPS_MAX 4096u /* requests of the kernel under way; beyond: EAGAIN */

struct fs_options {
    const char *prefix;
    int64_t timeout_ns;
    enum commit_mode commit;
    uid_t uid;
    gid_t gid;
    mode_t umask;
};

struct fs {
    struct fs_options options;
    struct loop *loop;
    struct fuse_session *session;
    struct loop_watch *fuse_watch;
    struct grpc_channel *channel;
    struct teller teller;
    struct ino_table table;
    struct buf root; /* the prefix: ends with '/', or empty */
    struct arena arena;
    int64_t mounted_ns;  /* stands for times that nobody knows */
    struct op_list ops;
    struct fh_list readers; /* open handles that do not write */
    unsigned op_count;
    struct op_list runnable; /* got what they waited for */
    struct loop_task run;
    int64_t seen_rev;    /* the newest revision any answer or event came from: reads here never go behind it */
    char endpoint[320];  /* that is used or tried */
    struct {
        int error;       /* 0: none, or told already */
        int32_t pid;
        uint64_t name; /* its hash, with the directory */
        int64_t at_ns;
    } last_lookup;       /* that failed */
    struct emptied emptied;
    struct {
        int error;
        int64_t at_ns;
        unsigned untold;
    } last_failure;
    /* watch.c */
    struct grpc_request *watch;
    bool watching;       /* the watch is known to stand */
    int64_t watch_rev;   /* everything up to it has been heard */
    unsigned watch_holds; /* events wait for renames under way */
    struct buf watch_waiting; /* 8 length, message, ... */
    struct loop_task watch_catch_up;
    struct loop_timer watch_retry;
    struct heard heard;
    struct revclock revclock;
};

struct publication;
struct rename;
typedef void (*op_then_fn)(struct op *op, enum status st, struct slice answer);
typedef void (*op_go_fn)(struct op *op);

struct op {
    struct fs *fs;
    fuse_req_t req;      /* NULL: nobody waits for it */
    const char *what;    /* the call, for the log */
    int64_t deadline_ns;
    int64_t floor_rev;   /* what was seen when it began: a plain answer from before that is asked for again */
    struct grpc_request *rpc;
    const char *path;
    struct buf request;
    bool repeatable;     /* a read: asked again when the connection breaks */
    op_then_fn then;
    op_go_fn go;         /* when its turn has come */
    void (*on_end)(struct op *op); /* before it is freed, in any case; may be NULL */
    void (*on_fail)(struct op *op, int error); /* before a failure is replied; may be NULL */
    struct loop_timer timer; /* a pause before repeating; the deadline of one that waits its turn */
    struct loop_timer grace; /* interrupted: how long an answer may still come */
    int64_t pause_ns;
    bool pauses;         /* then: go */
    bool runs;           /* in fs->runnable */
    struct file *waits;  /* for its turn at this file */
    struct file *locked[2];
    TAILQ_ENTRY(op) link, turn;
    /* what operations need on their way */
    struct ino *ino, *parent; /* held; may be NULL */
    struct file *file;   /* counted; may be NULL */
    struct fh *fh;
    struct fuse_file_info fi;
    struct buf name, key, end, key2;
    uint64_t number;
    uint64_t name_hash;  /* of a look-up; tell.h */
    int64_t rev;
    int flags;
    size_t size;
    off_t offset;
    unsigned attempts;
    bool linearizable;
    bool wants_handle;   /* a create */
    op_go_fn named;      /* op_take_name */
    void (*found)(struct op *op, struct ino *i);
    struct listing *listing;
    bool owns_listing;
    void (*listed)(struct op *op, int error);
    struct publication *publication; /* publish.c */
    struct rename *rename;           /* ops_rename.c */
};

/* op.c */
struct op *op_new(struct fs *fs, fuse_req_t req, const char *what); /* NULL: too many, req was answered */
/* Send op->request; the answer goes to then. */
void op_call(struct op *op, const char *path, bool repeatable, op_then_fn then);
void op_fail(struct op *op, int error); /* reply and free */
void op_fail_status(struct op *op, enum status st);
void op_end(struct op *op); /* replied: free */
void op_abort_all(struct fs *fs); /* those the kernel waited for: the mount ends */
void op_set_ino(struct op *op, struct ino *i);
void op_set_parent(struct op *op, struct ino *i);
void op_set_file(struct op *op, struct file *f);
/* go(op) when no other op works on this file, now or later; the turn ends with the op. At most two files, in the same order. */
void op_take_turn(struct op *op, struct file *f, op_go_fn go);
void op_drop_turns(struct op *op);
/* go(op) after a while. False: that is after its deadline. */
bool op_pause(struct op *op, op_go_fn go);
void op_drop_listing(struct op *op);
void op_run_tasks(void *arg);
int fs_errno(enum status st);
/* Decode an answer into the mount's arena; NULL: it was an error, or is damaged (*st says so). */
Etcdserverpb__RangeResponse *op_range_answer(struct op *op, enum status *st, struct slice answer);
Etcdserverpb__TxnResponse *op_txn_answer(struct op *op, enum status *st, struct slice answer);
/* The first kv that the n-th operation of a branch, a range, gave; NULL if none. */
const Mvccpb__KeyValue *txn_kv(const Etcdserverpb__TxnResponse *r, size_t n);
/* Note the answer's revision in op->rev. True: it is from before what was read here already; ask again, linearizably. */
bool op_is_behind(struct op *op, enum ino_view view, const Etcdserverpb__ResponseHeader *h);

/* The store is at this revision. */
void fs_note_revision(struct fs *fs, const Etcdserverpb__ResponseHeader *h);

static inline int32_t op_pid(const struct op *op)
{
    return op->req ? (int32_t)fuse_req_ctx(op->req)->pid : 0;
}

/* state.c: what answers and events say about files */
/* May what an answer from revision rev says about this name (of a key, or a directory's prefix) be kept? */
bool state_is_fresh(const struct fs *fs, enum ino_view view, struct slice name, int64_t rev);
/*
 * Note a file's state from an answer. Returns the inode that stands for the key: another one if i had to be retired. The caller
 * holds i and is to hold what it gets.
 */
struct ino *state_take(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, bool with_value, int64_t rev);
/* A commit of ours went through. from: the inode it was made through; the kernel knows of that one already; or NULL. */
void state_committed(struct fs *fs, struct slice key, const Mvccpb__KeyValue *kv, struct blob *value, const struct ino *from);
/* Readers that share pages with others keep what they have: done before anything changes a file. */
void state_retire_readers(struct fs *fs, struct ino *i);
/* The key, or the directory, was removed by us. */
void state_removed(struct fs *fs, struct slice key);
void state_directory_removed(struct fs *fs, struct slice prefix);
/* An answer says that neither the key nor the directory (if any) is there. */
void state_absent(struct fs *fs, enum ino_view view, struct slice key, struct slice prefix, int64_t rev);
/* What handles hold of a file changed: the kernel is to ask for its size; through an inode, it asks for that one by itself. */
void state_content_changed(struct fs *fs, struct slice key);
void state_twin_changed(struct fs *fs, const struct ino *i);
/* What handles have done to it; NULL: nothing. No reference. */
struct file *state_file(const struct fs *fs, const struct ino *i);
/* Does this mount see another content of it than the store has? Then that one. scratch: room for it. */
bool state_differs(const struct fs *fs, const struct ino *i, struct buf *scratch, struct slice *ret_content);
/* The last handle that wrote is gone. */
void state_leave_file(struct fs *fs, struct file *f);
/* How long the kernel may keep its attributes. */
double state_attr_timeout(const struct fs *fs, const struct ino *i);
void state_on_event(struct fs *fs, const Mvccpb__Event *e);
/* A name comes or goes: the kernel is to look it, and the listing it is in, up again. key: of a file or a directory. */
void state_name_changed(struct fs *fs, struct slice key);
/* A key came or went: its name, and those of the directories above that it may bring or take with it. */
void state_key_changed(struct fs *fs, struct slice key, int64_t rev);
/* Forget everything that is cached, here and in the kernel. */
void state_drop_all(struct fs *fs);
/* Does the kernel know everything that was said of this inode? */
bool state_is_told(const struct fs *fs, const struct ino *i);

/* The keys of the mount: from *ret_key to ret_end. Keys led by NUL are outside of every mount. */
void fs_root_range(const struct fs *fs, struct slice *ret_key, struct buf *ret_end);

/* watch.c */
void watch_start(struct fs *fs);
void watch_stop(struct fs *fs);
/* Events wait until as many releases: what is being moved is not to be taken for removed by somebody else. */
void watch_hold(struct fs *fs);
void watch_release(struct fs *fs);

/* resolve.c: names in directories */
/* A new op on a directory, op->parent; NULL: it was answered. */
struct op *op_in_directory(fuse_req_t req, fuse_ino_t id, const char *what);
/*
 * The key of a child of parent (op->key), and the prefix it would have as a directory (op->end; empty for %value); then go. Answers
 * the request if there can be no such name.
 */
void op_resolve(struct op *op, struct ino *parent, const char *name, op_go_fn go);
/* go when no other op works on op->key; op->file is what it stands for. */
void op_take_name(struct op *op, op_go_fn go);
/* May what op->rev says about op->key and op->end be kept? */
bool op_is_fresh(const struct op *op);
double fs_entry_timeout(const struct fs *fs, const struct ino *i);
/* Look op->key up (file or directory) and call found(op, ino or NULL); ino is held by the op. */
void op_find_child(struct op *op, void (*found)(struct op *op, struct ino *i));
/* An answer makes an inode known to the kernel. */
void fs_count_lookup(struct fs *fs, struct ino *i);
void op_reply_entry(struct op *op, struct ino *i, bool keep);
/* Is op->key a directory's marker, and so the key of %empty in that directory? */
bool op_is_marker(const struct op *op);
/*
 * Adds to op->request: no file stands at op->key. Where it is a marker, a transaction that failed is tried once more, with
 * op->attempts 1.
 */
void op_if_no_file(struct op *op);
struct file *op_pending(struct op *op); /* the child, if it was made here and is not in the store; no reference */
/* The inode of a pending child. */
struct ino *op_pending_ino(struct op *op, struct file *f);
void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
bool fs_is_top(const struct fs *fs, const struct ino *dir);

/* ops_make.c, ops_remove.c, ops_rename.c (and rename_dir.c) */
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
               unsigned int flags);

/* ops_file.c: data */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi);
void fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* Answer an open, or a create, of op->ino with a handle. just_read: its state is an answer to this very op. */
void op_open(struct op *op, bool just_read);
/* The mount ends: commit what handles still hold, then close them. */
void fs_commit_rest(struct fs *fs);
void fs_close_handles(struct fs *fs);
/* Handles of a file that was removed or replaced by this mount go on with what it was. */
void fs_file_gone(struct fs *fs, struct file *f);

/* publish.c: from what was written to the store */
/*
 * Commit what is held of op->file, its truncation, its creation, whatever is due; done(op, error). op->fh: on whose behalf, may be
 * NULL; op->ino: through which inode, may be NULL if there are handles.
 */
void publish(struct op *op, void (*done)(struct op *op, int error));
/* After that, give it a new size. */
void publish_resize(struct op *op, uint64_t size, void (*done)(struct op *op, int error));
void publish_end(struct op *op); /* op.c: an op ends in the middle of it */

/* ops_attr.c */
void state_fill_attr(struct fs *fs, const struct ino *i, struct stat *ret_attr);
void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void fs_statfs(fuse_req_t req, fuse_ino_t ino);
void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);

/* list.c: the children of op->parent, at one revision, into l; done(op, error). Uses the op's key, end, number. */
void listing_fetch(struct op *op, struct listing *l, void (*done)(struct op *op, int error));

/* ops_dir.c */
void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

static inline struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
