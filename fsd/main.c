/* SPDX-License-Identifier: Apache-2.0 */
/* raftfs: mount, go to the background once it serves, end when unmounted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "fsd/embedded.h"
#include "fsd/mount.h"

/* The parent waits until the child serves, and says what went wrong if it does not. Returns only in the child. */
static int go_to_background(void)
{
    int ends[2];
    pid_t pid;
    char byte;
    int status = 1;

    if (pipe(ends) < 0)
        return -1;
    pid = fork();
    if (pid < 0)
        return -1;
    if (pid > 0) {
        close(ends[1]);
        if (read(ends[0], &byte, 1) == 1)
            exit(0);
        waitpid(pid, &status, 0); /* it has printed why */
        exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
    }
    close(ends[0]);
    setsid();
    return ends[1];
}

int main(int argc, char **argv)
{
    static struct mount_conf conf;
    struct error error = {0};
    int ready_fd = -1;
    long pid = 0;
    enum status st = mount_parse(&conf, argc, argv, &error);

    if (st == ST_OK && conf.help) {
        mount_print_help();
        return 0;
    }
    if (st == ST_OK && conf.version) {
        printf("raftfs %s\n", PACKAGE_VERSION);
        return 0;
    }
    log_init("raftfs");
    if (!conf.foreground)
        log_set_level(LOG_WARNING); /* the terminal is somebody else's */
    if (st == ST_OK)
        st = mount_check(&conf, &error);
    if (st == ST_OK && !conf.endpoint_count) {
        st = embedded_start(&conf.endpoints[0], &pid, &error);
        conf.endpoint_count = 1;
    }
    if (st == ST_OK && !conf.foreground) {
        ready_fd = go_to_background();
        if (ready_fd < 0)
            st = error_set(&error, ST_IO, "cannot go to the background: %s", strerror(errno));
    }
    if (st == ST_OK)
        st = mount_run(&conf, ready_fd, &error);
    if (st != ST_OK) {
        fprintf(stderr, "raftfs: %s\n", error.text);
        return 1;
    }
    return 0;
}
