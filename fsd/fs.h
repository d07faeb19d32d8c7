/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount: the kernel on one side, a store that speaks the etcd v3 API on the other, and between them the table of inodes. One
 * thread and one loop, but for the thread that tells the kernel what it may no longer cache (notify.h).
 *
 * An operation (struct op) is one request of the kernel on its way: it decodes, calls the store, perhaps several times,
 * and replies once. Every op has a deadline and can be interrupted.
 */
#ifndef FSD_FS_H
#define FSD_FS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "common/buf.h"
#include "common/error.h"
#include "fsd/ino.h"
#include "fsd/notify.h"
#include "fsd/ns.h"
#include "fsd/request.h"
#include "net/grpc_client.h"
#include "net/loop.h"
#include "proto/arena.h"
#include "proto/rpc.pb-c.h"

/* How long the kernel may keep what the watch keeps true. */
#define CACHE_S 3600.0
#define VALUE_CACHE_BYTES_MAX (64u << 20)
#define OPS_MAX 4096u /* requests of the kernel under way; beyond: EAGAIN */

enum commit_mode { COMMIT_AUTO, COMMIT_WRITE, COMMIT_CLOSE };

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
    struct notifier *notifier;
    struct ino_table table;
    struct buf root; /* the prefix: ends with '/', or empty */
    struct arena arena;
    struct timespec mounted_at; /* stands for times that nobody knows */
    unsigned op_count;
    int64_t seen_rev;  /* the newest revision any answer came from: reads here never go behind it */
    /* watch.c */
    struct grpc_request *watch;
    bool watching;     /* the watch is known to stand */
    int64_t watch_rev; /* everything up to it has been heard */
    struct loop_timer watch_retry;
};

struct fh {
    struct ino *ino;
    struct blob *value;  /* what reads give: one revision */
    int64_t rev;
    bool readable, writable, append, sync;
    bool cached;         /* counted in ino->cached_readers */
    bool truncate;       /* opened with O_TRUNC, not committed yet */
    struct buf held;     /* writes that wait: 8 offset, 8 length, data, ... */
    uint64_t held_end;   /* the furthest byte they reach */
};

struct op;
typedef void (*op_then_fn)(struct op *op, enum status st, struct slice answer);

struct op {
    struct fs *fs;
    fuse_req_t req; /* NULL: nobody waits for it */
    int64_t deadline_ns;
    struct grpc_request *rpc;
    const char *path;
    struct buf request;
    bool repeatable;   /* a read: asked again when the connection breaks */
    op_then_fn then;
    void (*on_end)(struct op *op); /* before it is freed, in any case; may be NULL */
    /* what operations need on their way */
    struct ino *ino, *parent; /* held; may be NULL */
    struct fh *fh;
    struct fuse_file_info fi;
    struct buf name, key, end, key2;
    struct buf data;
    uint64_t number;
    int64_t rev;
    int flags;
    size_t size;
    off_t offset;
    unsigned attempts;
    bool linearizable;
    void *extra; /* freed with free() */
};

/* op.c */
struct op *op_new(struct fs *fs, fuse_req_t req); /* NULL: too many, req was answered */
/* Send op->request; the answer goes to then. */
void op_call(struct op *op, const char *path, bool repeatable, op_then_fn then);
void op_fail(struct op *op, int error); /* reply and free */
void op_fail_status(struct op *op, enum status st);
void op_end(struct op *op); /* replied: free */
void op_set_ino(struct op *op, struct ino *i);
void op_set_parent(struct op *op, struct ino *i);
int fs_errno(enum status st);

/* state.c: what answers and events say about files */
/* An answer from the store at header revision rev: may what it says be kept? */
bool state_is_fresh(struct fs *fs, const struct ino *i, int64_t rev);
/* Note a file's state from an answer. value: the kv carries it. False: the inode already knows newer. */
void state_take(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, bool with_value, int64_t rev);
/* A commit of ours went through. */
void state_committed(struct fs *fs, struct ino *i, const Mvccpb__KeyValue *kv, struct blob *value);
void state_on_event(struct fs *fs, const Mvccpb__Event *e);
/* Forget everything that is cached, here and in the kernel. */
void state_drop_all(struct fs *fs);
void state_fill_attr(struct fs *fs, const struct ino *i, struct stat *ret_attr);
uint64_t kv_size(const Mvccpb__KeyValue *kv);
/* The header's revision; remembers the newest. */
int64_t state_see(struct fs *fs, const Etcdserverpb__ResponseHeader *h);

/* watch.c */
void watch_start(struct fs *fs);
void watch_stop(struct fs *fs);

/* ops_name.c: look-ups and names */
void op_reply_entry(struct op *op, struct ino *i, bool keep);
void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
               unsigned int flags);
void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
/* The key of a child of parent, with its directory's name; answers the request on an error and returns false. */
bool op_child(struct op *op, struct ino *parent, const char *name);
/* Look op->key up (file or directory) and call found(op, ino or NULL); ino is held by the op. */
void op_find_child(struct op *op, void (*found)(struct op *op, struct ino *i));

/* ops_file.c: data */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi);
void fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
struct fh *fh_open(struct fs *fs, struct ino *i, struct fuse_file_info *fi);
void fh_close(struct fs *fs, struct fh *fh);
void op_reply_create(struct op *op, struct ino *i);

/* commit.c: from handles to the store */
/* Commit what fh holds (and, if alone, its truncation or creation); done(op, error). */
void commit_handle(struct op *op, void (*done)(struct op *op, int error));
/* Give a file a new size. */
void commit_resize(struct op *op, uint64_t size, void (*done)(struct op *op, int error));

/* ops_attr.c */
void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void fs_statfs(fuse_req_t req, fuse_ino_t ino);
void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);

/* ops_dir.c */
void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif
