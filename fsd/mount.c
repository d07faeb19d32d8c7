/* SPDX-License-Identifier: Apache-2.0 */
/* Options, the FUSE session on the loop, and the order in which things begin and end. */
#include "fsd/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/mem.h"

#define TIMEOUT_DEFAULT_NS (5 * NS_PER_S)
#define CONNECT_TIMEOUT_NS (2 * NS_PER_S)
#define KEEPALIVE_NS (2 * NS_PER_S)
#define ANSWER_BYTES_MAX (512u << 20)
#define REQUESTS_PER_ROUND 64

/* ---- the command line ---- */

static enum status set_option(struct mount_conf *c, char *word, struct error *ret_error)
{
    char *value = strchr(word, '=');
    char *end = NULL;
    double seconds;

    if (value)
        *value++ = 0;
    if (strcmp(word, "prefix") == 0 && value) {
        c->fs.prefix = value;
    } else if (strcmp(word, "timeout") == 0 && value) {
        seconds = strtod(value, &end);
        if (end == value || *end || seconds <= 0 || seconds > 3600)
            return error_set(ret_error, ST_BAD_ARGUMENT, "-o timeout=%s: not a number of seconds up to 3600", value);
        c->fs.timeout_ns = (int64_t)(seconds * NS_PER_S);
    } else if (strcmp(word, "commit") == 0 && value) {
        if (strcmp(value, "auto") == 0)
            c->fs.commit = COMMIT_AUTO;
        else if (strcmp(value, "write") == 0)
            c->fs.commit = COMMIT_WRITE;
        else if (strcmp(value, "close") == 0)
            c->fs.commit = COMMIT_CLOSE;
        else
            return error_set(ret_error, ST_BAD_ARGUMENT, "-o commit=%s: not auto, write or close", value);
    } else if ((strcmp(word, "uid") == 0 || strcmp(word, "gid") == 0 || strcmp(word, "umask") == 0) && value) {
        unsigned long n = strtoul(value, &end, word[1] == 'm' ? 8 : 10);
        if (end == value || *end)
            return error_set(ret_error, ST_BAD_ARGUMENT, "-o %s=%s: no number", word, value);
        if (word[0] == 'g')
            c->fs.gid = (gid_t)n;
        else if (word[1] == 'i')
            c->fs.uid = (uid_t)n;
        else
            c->fs.umask = (mode_t)n & 0777;
    } else if (strcmp(word, "allow_other") == 0) {
        c->allow_other = true;
    } else if (strcmp(word, "default_permissions") == 0) {
        c->default_permissions = true;
    } else if (strcmp(word, "ro") == 0) {
        c->read_only = true;
    } else if (strcmp(word, "rw") != 0 && strcmp(word, "dev") != 0 && strcmp(word, "suid") != 0 &&
               strcmp(word, "nodev") != 0 && strcmp(word, "nosuid") != 0 && strcmp(word, "_netdev") != 0 &&
               strcmp(word, "defaults") != 0 && strcmp(word, "noauto") != 0) {
        return error_set(ret_error, ST_BAD_ARGUMENT, "unknown option -o %s", word);
    }
    return ST_OK;
}

static enum status set_options(struct mount_conf *c, char *list, struct error *ret_error)
{
    char *save = NULL;
    enum status st = ST_OK;

    for (char *word = strtok_r(list, ",", &save); st == ST_OK && word; word = strtok_r(NULL, ",", &save))
        st = set_option(c, word, ret_error);
    return st;
}

enum status mount_parse(struct mount_conf *c, int argc, char **argv, struct error *ret_error)
{
    const char *words[2] = {NULL, NULL};
    unsigned count = 0;
    enum status st = ST_OK;

    *c = (struct mount_conf){.fs = {.prefix = "/", .timeout_ns = TIMEOUT_DEFAULT_NS, .uid = getuid(), .gid = getgid()}};
    for (int i = 1; st == ST_OK && i < argc; i++) {
        if (strcmp(argv[i], "-f") == 0)
            c->foreground = true;
        else if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            c->help = true;
        else if (strcmp(argv[i], "-V") == 0 || strcmp(argv[i], "--version") == 0)
            c->version = true;
        else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            st = set_options(c, argv[++i], ret_error);
        else if (strncmp(argv[i], "-o", 2) == 0 && argv[i][2])
            st = set_options(c, argv[i] + 2, ret_error);
        else if (argv[i][0] == '-' && argv[i][1])
            st = error_set(ret_error, ST_BAD_ARGUMENT, "unknown option %s", argv[i]);
        else if (count == 2)
            st = error_set(ret_error, ST_BAD_ARGUMENT, "one SOURCE and one DIR, not also \"%s\"", argv[i]);
        else
            words[count++] = argv[i];
    }
    if (st != ST_OK || c->help || c->version)
        return st;
    if (!count)
        return error_set(ret_error, ST_BAD_ARGUMENT, "no directory to mount on (raftfs --help tells more)");
    c->dir = words[count - 1];
    if (count == 1)
        return ST_OK;
    snprintf(c->source, sizeof c->source, "%s", words[0]);
    return url_parse_list(words[0], c->endpoints, ENDPOINTS_MAX, &c->endpoint_count, ret_error);
}

void mount_print_help(void)
{
    printf("usage: raftfs [-f] [-o OPTION,...] [SOURCE] DIR\n"
           "Mount a replicated key-value store that speaks the etcd v3 API.\n\n"
           "SOURCE is one or more endpoints, with commas: http://HOST:PORT or unix:///PATH.\n"
           "Without it a private store of your own is started, or found again, and mounted.\n\n"
           "  -f                     stay in the foreground\n"
           "  -o prefix=PREFIX       the keys below it (default /)\n"
           "  -o timeout=SECONDS     give up waiting for the cluster after that long (default 5)\n"
           "  -o commit=auto|write|close\n"
           "                         when what is written is committed (default auto)\n"
           "  -o allow_other         let other users in\n"
           "  -o default_permissions have the kernel check mode bits\n"
           "  -o uid=N,gid=N,umask=M owner and mode of everything\n"
           "  -o ro                  read only\n"
           "  -V, --version          print the version\n");
}

/* ---- the session ---- */

static void fs_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->max_background = 64;
    if (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) {
        /* We say when pages go: a changed time alone does not mean that they did. */
        conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
        conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
    }
    conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
}

static void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    (void)ino;
    (void)parent;
    (void)name;
    fuse_reply_err(req, EPERM);
}

static void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target;
    (void)parent;
    (void)name;
    fuse_reply_err(req, EPERM);
}

static void fs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    fuse_reply_err(req, 0); /* names are committed when the call that made them returns */
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
    (void)arg;
    if (connected)
        log_info("mount", "connected to the store endpoint=%u", endpoint);
    else
        log_warning("mount", "the store cannot be reached, proceeding with what is cached next=%u", endpoint);
}

static enum status open_session(struct fs *fs, struct mount_conf *c, struct error *ret_error)
{
    char options[1024], *argv[] = {(char *)(uintptr_t) "raftfs", (char *)(uintptr_t) "-o", options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);

    snprintf(options, sizeof options, "fsname=%s,subtype=raftfs%s%s%s", *c->source ? "raftfs" : "embedded",
             c->allow_other ? ",allow_other" : "", c->default_permissions || c->allow_other ? ",default_permissions" : "",
             c->read_only ? ",ro" : "");
    fs->session = fuse_session_new(&args, &operations, sizeof operations, fs);
    fuse_opt_free_args(&args);
    if (!fs->session)
        return error_set(ret_error, ST_IO, "cannot make a FUSE session");
    if (fuse_session_mount(fs->session, c->dir) != 0)
        return error_set(ret_error, ST_IO, "%s: cannot be mounted on (is it a directory, and is /dev/fuse there?)", c->dir);
    fcntl(fuse_session_fd(fs->session), F_SETFL, O_NONBLOCK);
    fs->fuse_watch = loop_watch_new(fs->loop, fuse_session_fd(fs->session), on_fuse, fs);
    loop_watch_want(fs->fuse_watch, LOOP_READ);
    return ST_OK;
}

/* ---- first contact: a mount of a store that nobody answers for is refused ---- */

struct probe {
    bool done;
    enum status status;
    char text[160];
};

static void on_probe(void *arg, enum status st, struct slice message, struct slice text)
{
    struct probe *p = arg;

    (void)message;
    p->done = true;
    p->status = st;
    snprintf(p->text, sizeof p->text, "%.*s", (int)text.len, (const char *)text.data);
}

static enum status probe_store(struct fs *fs, struct error *ret_error)
{
    struct range_args a = {.key = slice_of_text("/"), .serializable = true, .keys_only = true};
    struct buf request = {0};
    struct probe probe = {0};

    request_range(&request, &a);
    grpc_unary(fs->channel, PATH_RANGE, buf_slice(&request), loop_now_ns(fs->loop) + fs->options.timeout_ns, on_probe,
               &probe);
    buf_fini(&request);
    while (!probe.done)
        loop_run_once(fs->loop, -1);
    if (probe.status == ST_OK)
        return ST_OK;
    return error_set(ret_error, probe.status, "the store does not answer: %s",
                     *probe.text ? probe.text : status_text(probe.status));
}

static void set_root(struct fs *fs)
{
    buf_append_text(&fs->root, fs->options.prefix);
    if (buf_len(&fs->root) && fs->root.data[fs->root.end - 1] != '/')
        buf_append_byte(&fs->root, '/');
}

/* It serves: tell whoever waits, and hold on to nothing of his, or a shell that reads our output would wait for ever. */
static void leave_terminal(int ready_fd)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (write(ready_fd, "", 1) != 1)
        log_warning("mount", "nobody waits for this mount, proceeding");
    for (int i = 0; fd >= 0 && i <= STDERR_FILENO; i++)
        dup2(fd, i);
    close(fd);
    close(ready_fd);
}

enum status mount_run(struct mount_conf *c, int ready_fd, struct error *ret_error)
{
    struct fs fs = {.options = c->fs};
    struct grpc_channel_options channel = {.endpoints = c->endpoints,
                                           .endpoint_count = c->endpoint_count,
                                           .message_bytes_max = ANSWER_BYTES_MAX,
                                           .connect_timeout_ns = CONNECT_TIMEOUT_NS,
                                           .keepalive_ns = KEEPALIVE_NS,
                                           .on_state = on_state};
    struct loop_signal *term, *interrupt;
    enum status st;

    signal(SIGPIPE, SIG_IGN);
    fs.loop = channel.loop = loop_new();
    clock_gettime(CLOCK_REALTIME, &fs.mounted_at);
    arena_init(&fs.arena);
    set_root(&fs);
    ino_table_init(&fs.table, buf_slice(&fs.root), VALUE_CACHE_BYTES_MAX);
    fs.channel = grpc_channel_new(&channel);
    term = loop_signal_new(fs.loop, SIGTERM, on_signal, &fs);
    interrupt = loop_signal_new(fs.loop, SIGINT, on_signal, &fs);
    st = probe_store(&fs, ret_error);
    if (st == ST_OK)
        st = open_session(&fs, c, ret_error);
    if (st == ST_OK) {
        fs.notifier = notifier_start(fs.session);
        watch_start(&fs);
        if (ready_fd >= 0)
            leave_terminal(ready_fd);
        loop_run(fs.loop);
    }
    watch_stop(&fs);
    /* Whoever still waits is answered before the session goes. */
    grpc_channel_free(fs.channel);
    if (fs.session) {
        loop_watch_free(fs.fuse_watch);
        fuse_session_unmount(fs.session);
        notifier_stop(fs.notifier);
        fuse_session_destroy(fs.session);
    }
    ino_table_fini(&fs.table);
    arena_fini(&fs.arena);
    buf_fini(&fs.root);
    loop_signal_free(term);
    loop_signal_free(interrupt);
    loop_free(fs.loop);
    return st;
}
