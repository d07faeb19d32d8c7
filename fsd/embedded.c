/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the private store. */
#include "fsd/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 100 /* of 50 ms */

static enum status data_home(char *ret_path, size_t cap, struct error *ret_error)
{
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n;

    if (xdg && *xdg == '/')
        n = snprintf(ret_path, cap, "%s/raftfs", xdg);
    else if (geteuid() == 0)
        n = snprintf(ret_path, cap, "/var/lib/raftfs");
    else if (home && *home == '/')
        n = snprintf(ret_path, cap, "%s/.local/share/raftfs", home);
    else
        return error_set(ret_error, ST_BAD_ARGUMENT, "neither XDG_DATA_HOME nor HOME says where to keep a store");
    if (n < 0 || (size_t)n >= cap - 32)
        return error_set(ret_error, ST_BAD_ARGUMENT, "%s: too long for a Unix socket in it", ret_path);
    return ST_OK;
}

static enum status make_dirs(char *path, struct error *ret_error)
{
    for (char *p = path + 1;; p++) {
        char c = *p;
        if (c != '/' && c)
            continue;
        *p = 0;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return error_set(ret_error, ST_IO, "%s: %s", path, strerror(errno));
        *p = c;
        if (!c)
            return ST_OK;
    }
}

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ok = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* $RAFTFS_RAFTD; else beside ourselves, as installed and as built; else wherever PATH finds it. */
static void find_raftd(char *ret_path, size_t cap)
{
    const char *set = getenv("RAFTFS_RAFTD");
    char self[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *dir;

    if (set) {
        snprintf(ret_path, cap, "%s", set);
        return;
    }
    self[n > 0 ? n : 0] = 0;
    dir = dirname(self);
    snprintf(ret_path, cap, "%s/raftd", dir);
    if (access(ret_path, X_OK) == 0 && !strstr(ret_path, "/fsd/"))
        return;
    snprintf(ret_path, cap, "%s/../raftd/raftd", dir);
    if (access(ret_path, X_OK) != 0)
        snprintf(ret_path, cap, "raftd");
}

static void run_raftd(const char *program, const char *home, const char *client, const char *peer)
{
    char data[PATH_MAX + 16], log[PATH_MAX + 16], cluster[PATH_MAX + 64];
    int fd;

    snprintf(data, sizeof data, "%s/data", home);
    snprintf(log, sizeof log, "%s/raftd.log", home);
    snprintf(cluster, sizeof cluster, "embedded=%s", peer);
    setsid();
    fd = open("/dev/null", O_RDWR);
    if (fd >= 0) {
        dup2(fd, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
    }
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    for (fd = 3; fd < 256; fd++)
        close(fd);
    execlp(program, "raftd", "--name", "embedded", "--data-dir", data, "--listen-client-urls", client,
           "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
           "--initial-cluster", cluster, (char *)NULL);
    dprintf(STDERR_FILENO, "raftfs: %s: %s\n", program, strerror(errno));
    _exit(127);
}

enum status embedded_start(struct url *ret_url, long *ret_pid, struct error *ret_error)
{
    char home[PATH_MAX], program[PATH_MAX], client[PATH_MAX + 32], peer[PATH_MAX + 32];
    const struct timespec pause = {.tv_nsec = 50000000};
    enum status st = data_home(home, 80, ret_error);
    pid_t pid;

    if (st == ST_OK)
        st = make_dirs(home, ret_error);
    snprintf(client, sizeof client, "unix://%s/client.sock", home);
    snprintf(peer, sizeof peer, "unix://%s/peer.sock", home);
    if (st == ST_OK)
        st = url_parse(client, ret_url, ret_error);
    *ret_pid = 0;
    if (st != ST_OK || answers(ret_url->path))
        return st;
    find_raftd(program, sizeof program);
    pid = fork();
    if (pid < 0)
        return error_set(ret_error, ST_IO, "fork: %s", strerror(errno));
    if (pid == 0)
        run_raftd(program, home, client, peer);
    for (int i = 0; i < START_TRIES; i++) {
        int status;
        if (answers(ret_url->path)) {
            *ret_pid = pid;
            return ST_OK;
        }
        if (waitpid(pid, &status, WNOHANG) == pid)
            break;
        nanosleep(&pause, NULL);
    }
    return error_set(ret_error, ST_UNREACHABLE, "the private store did not start; %s/raftd.log says why", home);
}
