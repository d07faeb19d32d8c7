/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: between components of keys and names of directory entries, both ways, total and one to one (the contract: doc of the
 * mount, "Keys and names"). Pure. A directory is known by its prefix, which ends with '/' (or is empty at the very top):
 *
 *     the child c of directory D  is the file with key D c  or the directory with prefix D c/
 *     D's own marker is the key D with an empty value; with a value that key is the file `%empty` in D
 *     the value of a key that is also a directory D is the file `%value` in D: key D without its '/'
 */
#ifndef FSD_NS_H
#define FSD_NS_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/status.h"

/* What stands before a component's digest when its escaped name would be too long. */
#define NS_LONG_PREFIX "%long-"

/* The name of a component. top: it stands in the mount's root, where views have their names. */
void ns_name_of(struct slice component, bool top, struct buf *ret_name);

enum ns_kind {
    NS_COMPONENT, /* an ordinary one (or %empty): ret_component */
    NS_VALUE,     /* %value */
    NS_LONG,      /* %long-DIGEST: the directory must be listed to know which */
    NS_VIEW,      /* .linearizable in the root */
};
/* ST_NOT_FOUND: not the canonical spelling of anything; ST_NAME_TOO_LONG: longer than any name. */
enum status ns_parse(struct slice name, bool top, enum ns_kind *ret_kind, struct buf *ret_component) MUST_CHECK;

/* The end of all keys that begin with prefix, as etcd writes it: empty prefix or all 0xff: one NUL byte. */
void ns_prefix_end(struct slice prefix, struct buf *ret_end);

/* The prefix of the directory a key stands in: up to and including the last '/' before its last byte. Never shorter than root. */
struct slice ns_parent(struct slice key, struct slice root);

#endif
