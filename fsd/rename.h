/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of rename(2) share: one file (ops_rename.c), a whole directory (rename_dir.c). */
#ifndef FSD_RENAME_H
#define FSD_RENAME_H

#include "fsd/fs.h"

/* The source is in the op: its key, the prefix it has as a directory (end), its file. */
struct rename {
    struct ino *from_parent; /* held */
    char *from_name;
    struct buf to, to_end;   /* the key it gets; the prefix that has as a directory, empty for %value */
    struct file *to_file;    /* counted */
    bool from_first;         /* turns are taken in the order of keys */
    struct blob *value, *other; /* what is moved; in exchange for what */
    bool has_own;            /* a directory with a value of its own */
    bool holds;              /* events wait */
};

/* Send op->request, which moves it. */
void rename_send(struct op *op, op_then_fn then);
/* Something changed meanwhile: read what stands at both names, and decide, again. */
void rename_again(struct op *op);
/* A directory whose keys fit into one transaction; else EXDEV, and mv(1) copies. */
void rename_directory(struct op *op);

#endif
