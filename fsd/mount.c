/* SPDX-License-Identifier: Apache-2.0 */
/* The FUSE session on the loop, and the order in which things begin and end. */
#include "fsd/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define CONNECT_TIMEOUT_NS (2 * NS_PER_S)
#define KEEPALIVE_NS (2 * NS_PER_S)
#define ANSWER_BYTES_MAX (512u << 20)
#define REQUESTS_PER_ROUND 64
#define BACKGROUND_MAX 64
#define SYSTEM_LOG "/dev/log"
#define EXPIRE_MINOR 38 /* of the FUSE protocol: Linux 6.2 */

struct mount {
    struct fs fs;
    const struct mount_conf *conf;
};

/* ---- the session ---- */

static void fs_init(void *userdata, struct fuse_conn_info *conn)
{
    struct fs *fs = userdata;

    conn->max_background = BACKGROUND_MAX;
    fs->teller.can_expire = conn->proto_minor >= EXPIRE_MINOR;
    if (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) {
        /* We say when pages go: a changed time alone does not mean that they did. */
        conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
        conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
    }
    conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
}

/* Locks would be this node's alone: refused rather than pretended. */
static void fs_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
    (void)ino;
    (void)fi;
    (void)lock;
    fuse_reply_err(req, ENOTSUP);
}

static void fs_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
    (void)ino;
    (void)fi;
    (void)sleep;
    fuse_reply_err(req, lock->l_type == F_UNLCK ? 0 : ENOTSUP);
}

static void fs_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, op & LOCK_UN ? 0 : ENOTSUP);
}

static const struct fuse_lowlevel_ops operations = {
    .init = fs_init,
    .lookup = fs_lookup,
    .forget = fs_forget,
    .forget_multi = fs_forget_multi,
    .getattr = fs_getattr,
    .setattr = fs_setattr,
    .mknod = fs_mknod,
    .mkdir = fs_mkdir,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .symlink = fs_symlink,
    .link = fs_link,
    .rename = fs_rename,
    .open = fs_open,
    .create = fs_create,
    .read = fs_read,
    .write = fs_write,
    .flush = fs_flush,
    .fsync = fs_fsync,
    .release = fs_release,
    .opendir = fs_opendir,
    .readdir = fs_readdir,
    .readdirplus = fs_readdirplus,
    .releasedir = fs_releasedir,
    .fsyncdir = fs_fsyncdir,
    .statfs = fs_statfs,
    .getlk = fs_getlk,
    .setlk = fs_setlk,
    .flock = fs_flock,
};

static void on_fuse(void *arg, int events)
{
    struct fs *fs = arg;
    static struct fuse_buf request; /* libfuse allocates it once */

    (void)events;
    for (int i = 0; i < REQUESTS_PER_ROUND && !fuse_session_exited(fs->session); i++) {
        int n = fuse_session_receive_buf(fs->session, &request);
        if (n == -EINTR)
            continue;
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            fuse_session_exit(fs->session); /* unmounted, or aborted */
            break;
        }
        fuse_session_process_buf(fs->session, &request);
    }
    if (fuse_session_exited(fs->session))
        loop_stop(fs->loop);
}

static void on_signal(void *arg)
{
    struct fs *fs = arg;

    fuse_session_exit(fs->session);
    loop_stop(fs->loop);
}

static void on_state(void *arg, bool connected, unsigned endpoint)
{
    struct mount *m = arg;
    struct fs *fs = &m->fs;

    url_format(&m->conf->endpoints[endpoint], fs->endpoint, sizeof fs->endpoint);
    if (connected)
        log_info("mount", "connected to the store endpoint=%s", fs->endpoint);
    else
        log_warning("mount", "the store cannot be reached, proceeding with what is cached next=%s", fs->endpoint);
}

/* As /proc/mounts shows it: the source as it was given; a comma would end the option. */
static void append_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == ',' || *text == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)*text);
    }
}

/* libfuse prints what goes wrong; it belongs into the one line that we say. */
static char fuse_words[160];

static void on_fuse_words(enum fuse_log_level level, const char *format, va_list args) PRINTF_LIKE(2, 0);
static void on_fuse_words(enum fuse_log_level level, const char *format, va_list args)
{
    size_t len;

    (void)level;
    vsnprintf(fuse_words, sizeof fuse_words, format, args);
    len = strlen(fuse_words);
    if (len && fuse_words[len - 1] == '\n')
        fuse_words[len - 1] = 0;
}

enum status mount_check(const struct mount_conf *c, struct error *ret_error)
{
    struct stat st;

    if (stat(c->dir, &st) < 0)
        return error_set(ret_error, ST_IO, "%s: %s", c->dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(ret_error, ST_BAD_ARGUMENT, "%s: not a directory", c->dir);
    return ST_OK;
}

static enum status open_session(struct fs *fs, const struct mount_conf *c, struct error *ret_error)
{
    struct buf options = {0};
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

    buf_append_text(&options, "subtype=raftfs,fsname=");
    append_escaped(&options, c->source ? c->source : "embedded");
    buf_append_text(&options, c->kernel_options);
    fuse_set_log_func(on_fuse_words);
    fuse_opt_add_arg(&args, "raftfs");
    fuse_opt_add_arg(&args, "-o");
    fuse_opt_add_arg(&args, buf_text(&options));
    buf_fini(&options);
    fs->session = fuse_session_new(&args, &operations, sizeof operations, fs);
    fuse_opt_free_args(&args);
    if (!fs->session)
        return error_set(ret_error, ST_IO, "%s: cannot make a FUSE session: %s", c->dir, fuse_words);
    if (fuse_session_mount(fs->session, c->dir) != 0)
        return error_set(ret_error, ST_IO, "%s: cannot be mounted on: %s", c->dir,
                         *fuse_words ? fuse_words : "fusermount3 said why");
    fcntl(fuse_session_fd(fs->session), F_SETFL, O_NONBLOCK);
    fs->fuse_watch = loop_watch_new(fs->loop, fuse_session_fd(fs->session), on_fuse, fs);
    loop_watch_want(fs->fuse_watch, LOOP_READ);
    return ST_OK;
}

/* ---- first contact: a mount of a store that nobody answers for is refused ---- */

struct probe {
    struct fs *fs;
    bool done;
    enum status status;
    char text[160];
};

static void on_probe(void *arg, enum status st, struct slice message, struct slice text)
{
    struct probe *p = arg;
    struct fs *fs = p->fs;
    Etcdserverpb__RangeResponse *r = NULL;

    if (st == ST_OK)
        r = etcdserverpb__range_response__unpack(&fs->arena.allocator, message.len, message.data);
    if (r)
        fs_note_revision(fs, r->header);
    p->done = true;
    p->status = st == ST_OK && !r ? ST_BAD_MESSAGE : st;
    snprintf(p->text, sizeof p->text, "%.*s", (int)text.len, text.len ? (const char *)text.data : "");
    arena_reset(&fs->arena);
}

static enum status probe_store(struct fs *fs, struct error *ret_error)
{
    struct range_args a = {.key = slice_of_text("/"), .serializable = true, .keys_only = true};
    struct buf request = {0};
    struct probe probe = {.fs = fs};

    request_range(&request, &a);
    grpc_unary(fs->channel, PATH_RANGE, buf_slice(&request), loop_now_ns(fs->loop) + fs->options.timeout_ns, on_probe,
               &probe);
    buf_fini(&request);
    while (!probe.done)
        loop_run_once(fs->loop, -1);
    if (probe.status == ST_OK)
        return ST_OK;
    return error_set(ret_error, probe.status, "%s: the store does not answer: %s", fs->endpoint,
                     *probe.text ? probe.text : status_text(probe.status));
}

static void set_root(struct fs *fs)
{
    buf_append_text(&fs->root, fs->options.prefix);
    if (buf_len(&fs->root) && fs->root.data[fs->root.end - 1] != '/')
        buf_append_byte(&fs->root, '/');
}

/* The system's log takes a line a datagram, and never makes us wait. */
static int open_system_log(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SYSTEM_LOG};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* It serves: tell whoever waits, and hold on to nothing of his, or a shell that reads our output would wait for ever. */
static void leave_terminal(int ready_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), log = open_system_log();

    if (write(ready_fd, "", 1) != 1)
        log_warning("mount", "nobody waits for this mount, proceeding");
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(fd == STDERR_FILENO && log >= 0 ? log : null, fd);
    if (null >= 0)
        close(null);
    if (log >= 0)
        close(log);
    close(ready_fd);
}

static void fs_begin(struct fs *fs, const struct mount_conf *c)
{
    fs->options = c->fs;
    fs->loop = loop_new();
    fs->mounted_ns = clock_wall_ns();
    TAILQ_INIT(&fs->ops);
    TAILQ_INIT(&fs->runnable);
    TAILQ_INIT(&fs->readers);
    loop_task_init(&fs->run, LOOP_WORK, op_run_tasks, fs);
    arena_init(&fs->arena);
    set_root(fs);
    ino_table_init(&fs->table, buf_slice(&fs->root), VALUE_CACHE_BYTES_MAX);
    teller_init(&fs->teller, fs->loop, &fs->table);
}

static void fs_end(struct fs *fs)
{
    ino_table_fini(&fs->table);
    arena_fini(&fs->arena);
    buf_fini(&fs->root);
    loop_free(fs->loop);
}

/* Nobody asks any more. What handles still hold is committed; whoever waits is answered before the session goes. */
static void close_session(struct fs *fs)
{
    loop_watch_free(fs->fuse_watch);
    op_abort_all(fs);
    fs_commit_rest(fs);
    fs_close_handles(fs);
    fuse_session_unmount(fs->session);
    teller_fini(&fs->teller);
    fuse_session_destroy(fs->session);
}

enum status mount_run(struct mount_conf *c, int ready_fd, struct error *ret_error)
{
    struct mount m = {.conf = c};
    struct fs *fs = &m.fs;
    struct grpc_channel_options channel = {.endpoints = c->endpoints,
                                           .endpoint_count = c->endpoint_count,
                                           .message_bytes_max = ANSWER_BYTES_MAX,
                                           .connect_timeout_ns = CONNECT_TIMEOUT_NS,
                                           .keepalive_ns = KEEPALIVE_NS,
                                           .on_state = on_state,
                                           .arg = &m};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct loop_signal *signals[sizeof numbers / sizeof *numbers];
    enum status st;

    signal(SIGPIPE, SIG_IGN);
    fs_begin(fs, c);
    channel.loop = fs->loop;
    url_format(&c->endpoints[0], fs->endpoint, sizeof fs->endpoint);
    fs->channel = grpc_channel_new(&channel);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) /* unmount: a mount without its daemon helps nobody */
        signals[i] = loop_signal_new(fs->loop, numbers[i], on_signal, fs);
    st = probe_store(fs, ret_error);
    if (st == ST_OK)
        st = open_session(fs, c, ret_error);
    if (st == ST_OK) {
        fs->teller.notifier = notifier_start(notify_kernel, fs->session);
        watch_start(fs);
        if (ready_fd >= 0)
            leave_terminal(ready_fd);
        loop_run(fs->loop);
        watch_stop(fs);
        close_session(fs);
    } else if (fs->session) {
        fuse_session_destroy(fs->session);
    }
    grpc_channel_free(fs->channel);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        loop_signal_free(signals[i]);
    fs_end(fs);
    return st;
}
