/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that a FUSE server can be: one flat directory of files in memory, one thread, libfuse's own loop. What it costs is what the
 * kernel and libfuse cost, so a mount that does something is measured against it (tests/bench/mount.py).
 *
 *     minfuse -f DIRECTORY
 *
 * Inode 1 is the directory; file i has inode i + 2 and keeps its slot for good, so that inodes are never reused.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TIMEOUT_SECONDS 1.0
#define NAME_BYTES_MAX 255
#define FILE_BYTES_MAX (1 << 24)

struct file {
    char *name; /* NULL: unlinked */
    char *data;
    size_t size;
};

static struct file *files;
static size_t file_count;

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct file *file_of(fuse_ino_t ino)
{
    return ino >= 2 && ino - 2 < file_count ? &files[ino - 2] : NULL;
}

static fuse_ino_t ino_by_name(const char *name)
{
    for (size_t i = 0; i < file_count; i++)
        if (files[i].name && strcmp(files[i].name, name) == 0)
            return i + 2;
    return 0;
}

static struct stat attributes(fuse_ino_t ino)
{
    const struct file *f = file_of(ino);
    struct stat st = {.st_ino = ino, .st_nlink = 1, .st_mode = S_IFDIR | 0755};

    if (f) {
        st.st_mode = S_IFREG | 0644;
        st.st_size = (off_t)f->size;
    }
    return st;
}

static struct fuse_entry_param entry(fuse_ino_t ino)
{
    return (struct fuse_entry_param){
        .ino = ino, .attr = attributes(ino), .attr_timeout = TIMEOUT_SECONDS, .entry_timeout = TIMEOUT_SECONDS};
}

static void resize(struct file *f, size_t size)
{
    f->data = must(realloc(f->data, size + 1));
    if (size > f->size)
        memset(f->data + f->size, 0, size - f->size);
    f->size = size;
}

static void min_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    fuse_ino_t ino = parent == FUSE_ROOT_ID ? ino_by_name(name) : 0;
    struct fuse_entry_param e;

    if (!ino) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    e = entry(ino);
    fuse_reply_entry(req, &e);
}

static void min_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st = attributes(ino);

    (void)fi;
    fuse_reply_attr(req, &st, TIMEOUT_SECONDS);
}

static void min_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    struct file *f = file_of(ino);

    if (to_set & FUSE_SET_ATTR_SIZE) {
        if (!f || attr->st_size < 0 || attr->st_size > FILE_BYTES_MAX) {
            fuse_reply_err(req, f ? EFBIG : EISDIR);
            return;
        }
        resize(f, (size_t)attr->st_size);
    }
    min_getattr(req, ino, fi);
}

static void min_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct fuse_entry_param e;

    (void)mode;
    if (parent != FUSE_ROOT_ID || strlen(name) > NAME_BYTES_MAX) {
        fuse_reply_err(req, parent == FUSE_ROOT_ID ? ENAMETOOLONG : ENOTDIR);
        return;
    }
    files = must(realloc(files, (file_count + 1) * sizeof *files));
    files[file_count] = (struct file){.name = must(strdup(name))};
    e = entry(++file_count + 1);
    fuse_reply_create(req, &e, fi);
}

static void min_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct file *f = parent == FUSE_ROOT_ID ? file_of(ino_by_name(name)) : NULL;

    if (f) {
        free(f->name);
        f->name = NULL; /* the data stays for who has it open */
    }
    fuse_reply_err(req, f ? 0 : ENOENT);
}

static void min_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (file_of(ino))
        fuse_reply_open(req, fi);
    else
        fuse_reply_err(req, EISDIR);
}

static void min_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    const struct file *f = file_of(ino);
    size_t left = f && (size_t)off < f->size ? f->size - (size_t)off : 0;

    (void)fi;
    fuse_reply_buf(req, left ? f->data + off : NULL, size < left ? size : left);
}

static void min_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
                      struct fuse_file_info *fi)
{
    struct file *f = file_of(ino);

    (void)fi;
    if (!f || off < 0 || off > FILE_BYTES_MAX || size > FILE_BYTES_MAX - (size_t)off) {
        fuse_reply_err(req, f ? EFBIG : EISDIR);
        return;
    }
    if ((size_t)off + size > f->size)
        resize(f, (size_t)off + size);
    memcpy(f->data + off, data, size);
    fuse_reply_write(req, size);
}

/* An entry's offset is its slot + 1, which no change of other files moves. */
static void min_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    char *page = must(malloc(size));
    size_t used = 0;

    (void)fi;
    for (size_t i = (size_t)off; ino == FUSE_ROOT_ID && i < file_count; i++) {
        struct stat st = attributes(i + 2);
        size_t length;
        if (!files[i].name)
            continue;
        length = fuse_add_direntry(req, page + used, size - used, files[i].name, &st, (off_t)i + 1);
        if (length > size - used)
            break;
        used += length;
    }
    fuse_reply_buf(req, page, used);
    free(page);
}

static const struct fuse_lowlevel_ops ops = {
    .lookup = min_lookup,
    .getattr = min_getattr,
    .setattr = min_setattr,
    .create = min_create,
    .unlink = min_unlink,
    .open = min_open,
    .read = min_read,
    .write = min_write,
    .readdir = min_readdir,
};

int main(int argc, char **argv)
{
    struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
    struct fuse_cmdline_opts opts = {0};
    struct fuse_session *session = NULL;
    int result = 1;

    if (fuse_parse_cmdline(&args, &opts) != 0 || !opts.mountpoint) {
        fprintf(stderr, "usage: minfuse -f [-o OPTIONS] DIRECTORY\n");
        goto out;
    }
    session = fuse_session_new(&args, &ops, sizeof ops, NULL);
    if (!session || fuse_set_signal_handlers(session) != 0)
        goto out;
    if (fuse_session_mount(session, opts.mountpoint) == 0) {
        fuse_daemonize(opts.foreground);
        result = fuse_session_loop(session) != 0;
        fuse_session_unmount(session);
    }
    fuse_remove_signal_handlers(session);
out:
    if (session)
        fuse_session_destroy(session);
    free(opts.mountpoint);
    fuse_opt_free_args(&args);
    return result;
}
