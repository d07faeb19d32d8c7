/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one table of options. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "fsd/mount.h"

#define TIMEOUT_DEFAULT_NS (5 * NS_PER_S)
#define TIMEOUT_SECONDS_MAX 3600
#define UMASK_DEFAULT 022

typedef enum status (*option_set_fn)(struct mount_conf *c, const char *value, struct error *ret_error);

static enum status set_prefix(struct mount_conf *c, const char *value, struct error *ret_error)
{
    (void)ret_error;
    c->fs.prefix = value;
    return ST_OK;
}

static enum status set_timeout(struct mount_conf *c, const char *value, struct error *ret_error)
{
    char *end = NULL;
    double seconds = strtod(value, &end);

    if (end == value || *end || !(seconds > 0) || seconds > TIMEOUT_SECONDS_MAX)
        return error_set(ret_error, ST_BAD_ARGUMENT, "-o timeout=%s: not a number of seconds up to %d", value,
                         TIMEOUT_SECONDS_MAX);
    c->fs.timeout_ns = (int64_t)(seconds * NS_PER_S);
    return ST_OK;
}

static enum status set_commit(struct mount_conf *c, const char *value, struct error *ret_error)
{
    static const char *const names[] = {[COMMIT_AUTO] = "auto", [COMMIT_WRITE] = "write", [COMMIT_CLOSE] = "close"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i]) == 0) {
            c->fs.commit = (enum commit_mode)i;
            return ST_OK;
        }
    return error_set(ret_error, ST_BAD_ARGUMENT, "-o commit=%s: not auto, write or close", value);
}

static enum status parse_number(const char *name, const char *value, int base, unsigned long max, unsigned long *ret_number,
                                struct error *ret_error)
{
    char *end = NULL;
    unsigned long n = strtoul(value, &end, base);

    if (*value < '0' || *value > '9' || *end || n > max)
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         base == 8 ? "-o %s=%s: not an octal number up to %lo" : "-o %s=%s: not a number up to %lu",
                         name, value, max);
    *ret_number = n;
    return ST_OK;
}

static enum status set_uid(struct mount_conf *c, const char *value, struct error *ret_error)
{
    unsigned long n = 0;
    enum status st = parse_number("uid", value, 10, UINT32_MAX - 1, &n, ret_error);

    c->fs.uid = (uid_t)n;
    return st;
}

static enum status set_gid(struct mount_conf *c, const char *value, struct error *ret_error)
{
    unsigned long n = 0;
    enum status st = parse_number("gid", value, 10, UINT32_MAX - 1, &n, ret_error);

    c->fs.gid = (gid_t)n;
    return st;
}

static enum status set_umask(struct mount_conf *c, const char *value, struct error *ret_error)
{
    unsigned long n = 0;
    enum status st = parse_number("umask", value, 8, 0777, &n, ret_error);

    c->fs.umask = (mode_t)n;
    return st;
}

enum option_kind {
    OPTION_VALUE,  /* NAME=VALUE, ours */
    OPTION_KERNEL, /* a word for the kernel */
    OPTION_MOUNT,  /* a word of mount(8) and fstab(5) that says nothing to a file system */
};

static const struct option {
    const char *name;
    const char *value; /* what stands for it in the help */
    enum option_kind kind;
    option_set_fn set;
    const char *help; /* NULL: everybody knows it */
} options[] = {
    {"prefix", "PREFIX", OPTION_VALUE, set_prefix, "the keys below it (default /)"},
    {"timeout", "SECONDS", OPTION_VALUE, set_timeout, "give up waiting for the cluster after that long (default 5)"},
    {"commit", "MODE", OPTION_VALUE, set_commit, "when what is written is committed: auto (default), write, close"},
    {"uid", "N", OPTION_VALUE, set_uid, "owner of everything (default: you)"},
    {"gid", "N", OPTION_VALUE, set_gid, "its group"},
    {"umask", "OCTAL", OPTION_VALUE, set_umask, "mode bits that nothing has (default 022)"},
    {"allow_other", NULL, OPTION_KERNEL, NULL, "let other users in; the kernel checks mode bits"},
    {"default_permissions", NULL, OPTION_KERNEL, NULL, "have the kernel check mode bits"},
    {"ro", NULL, OPTION_KERNEL, NULL, "read only"},
    {"nodev", NULL, OPTION_KERNEL, NULL, NULL},
    {"nosuid", NULL, OPTION_KERNEL, NULL, NULL},
    {"noexec", NULL, OPTION_KERNEL, NULL, NULL},
    {"noatime", NULL, OPTION_KERNEL, NULL, NULL},
    {"rw", NULL, OPTION_MOUNT, NULL, NULL},
    {"dev", NULL, OPTION_MOUNT, NULL, NULL},
    {"suid", NULL, OPTION_MOUNT, NULL, NULL},
    {"exec", NULL, OPTION_MOUNT, NULL, NULL},
    {"atime", NULL, OPTION_MOUNT, NULL, NULL},
    {"relatime", NULL, OPTION_MOUNT, NULL, NULL},
    {"defaults", NULL, OPTION_MOUNT, NULL, NULL},
    {"auto", NULL, OPTION_MOUNT, NULL, NULL},
    {"noauto", NULL, OPTION_MOUNT, NULL, NULL},
    {"nofail", NULL, OPTION_MOUNT, NULL, NULL},
    {"_netdev", NULL, OPTION_MOUNT, NULL, NULL},
};
#define OPTION_COUNT (sizeof options / sizeof *options)

static enum status add_kernel_option(struct mount_conf *c, const char *name, struct error *ret_error)
{
    size_t len = strlen(c->kernel_options);
    /* Others are let in only past mode bits: nobody else checks them. */
    const char *more = strcmp(name, "allow_other") == 0 ? ",default_permissions" : "";
    int n = snprintf(c->kernel_options + len, sizeof c->kernel_options - len, ",%s%s", name, more);

    if (n < 0 || (size_t)n >= sizeof c->kernel_options - len)
        return error_set(ret_error, ST_BAD_ARGUMENT, "too many options");
    return ST_OK;
}

static enum status set_option(struct mount_conf *c, char *word, struct error *ret_error)
{
    char *value = strchr(word, '=');

    if (value)
        *value++ = 0;
    if (strncmp(word, "x-", 2) == 0)
        return ST_OK; /* fstab(5): for others */
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (strcmp(word, o->name) != 0)
            continue;
        if ((o->kind == OPTION_VALUE) != (value != NULL))
            return error_set(ret_error, ST_BAD_ARGUMENT, value ? "-o %s takes no value" : "-o %s needs a value", word);
        if (o->kind == OPTION_KERNEL)
            return add_kernel_option(c, word, ret_error);
        return o->set ? o->set(c, value, ret_error) : ST_OK;
    }
    return error_set(ret_error, ST_BAD_ARGUMENT, "unknown option -o %s", word);
}

static enum status set_options(struct mount_conf *c, char *list, struct error *ret_error)
{
    char *save = NULL;
    enum status st = ST_OK;

    for (char *word = strtok_r(list, ",", &save); st == ST_OK && word; word = strtok_r(NULL, ",", &save))
        st = set_option(c, word, ret_error);
    return st;
}

static enum status take_word(struct mount_conf *c, const char *word, struct error *ret_error)
{
    if (word[0] == '-' && word[1])
        return error_set(ret_error, ST_BAD_ARGUMENT, "unknown option %s", word);
    if (c->source)
        return error_set(ret_error, ST_BAD_ARGUMENT, "one SOURCE and one DIR, not also \"%s\"", word);
    c->source = c->dir;
    c->dir = word;
    return ST_OK;
}

enum status mount_parse(struct mount_conf *c, int argc, char **argv, struct error *ret_error)
{
    enum status st = ST_OK;

    *c = (struct mount_conf){.fs = {.prefix = "/",
                                    .timeout_ns = TIMEOUT_DEFAULT_NS,
                                    .uid = getuid(),
                                    .gid = getgid(),
                                    .umask = UMASK_DEFAULT}};
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
        else
            st = take_word(c, argv[i], ret_error);
    }
    if (st != ST_OK || c->help || c->version)
        return st;
    if (!c->dir)
        return error_set(ret_error, ST_BAD_ARGUMENT, "no directory to mount on (raftfs --help tells more)");
    if (!c->source)
        return ST_OK;
    return url_parse_list(c->source, c->endpoints, ENDPOINTS_MAX, &c->endpoint_count, ret_error);
}

void mount_print_help(void)
{
    printf("usage: raftfs [-f] [-o OPTION,...] [SOURCE] DIR\n"
           "Mount a replicated key-value store that speaks the etcd v3 API.\n\n"
           "SOURCE is one or more endpoints, with commas: http://HOST:PORT or unix:///PATH.\n"
           "Without it a private store of your own is started, or found again, and mounted.\n\n"
           "  -f                      stay in the foreground\n"
           "  -V, --version           print the version\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        char word[40];
        snprintf(word, sizeof word, "%s%s%s", o->name, o->value ? "=" : "", o->value ? o->value : "");
        if (o->help)
            printf("  -o %-20s %s\n", word, o->help);
    }
}
