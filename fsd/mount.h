/* SPDX-License-Identifier: Apache-2.0 */
/* What raftfs is told on its command line, and a mount from beginning to end. */
#ifndef FSD_MOUNT_H
#define FSD_MOUNT_H

#include "fsd/fs.h"

#define ENDPOINTS_MAX 16u

struct mount_conf {
    struct fs_options fs;
    struct url endpoints[ENDPOINTS_MAX];
    unsigned endpoint_count; /* 0: the embedded store */
    const char *source;      /* as it was given; NULL: embedded */
    const char *dir;
    bool foreground, help, version;
    char kernel_options[256]; /* what is the kernel's to keep: each with a comma before it */
};

/* options.c: argv as of mount(8), too: [-f] [-o OPTION,...] [SOURCE] DIR. Keeps pointers into argv, and cuts its words. */
enum status mount_parse(struct mount_conf *c, int argc, char **argv, struct error *ret_error) MUST_CHECK;
void mount_print_help(void);

/* mount.c: is there a directory to mount on? */
enum status mount_check(const struct mount_conf *c, struct error *ret_error) MUST_CHECK;
/*
 * Mounts, and returns when it was unmounted. ready_fd: one byte is written there when it serves, and the terminal is
 * left: lines go to the system's log from then on, if there is one; -1: nobody waits.
 */
enum status mount_run(struct mount_conf *c, int ready_fd, struct error *ret_error) MUST_CHECK;

#endif
