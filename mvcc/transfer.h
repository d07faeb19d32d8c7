/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store as a stream of its records, for a member that is too far behind for the log. History is append-only, so records up to a
 * revision are the same whatever is written meanwhile: the sender reads them in slices, in order of (main, sub), and nothing is
 * frozen, copied or held for it. The receiver writes them into segments of a directory of its own, through the same code as
 * sealing; the last one carries what makes it a checkpoint. The directory is then a store like any other: mvcc_open.
 *
 * An import that was cut short goes on behind the last whole revision that it holds, whoever sends what follows: in memory while the
 * process lives, behind its last segment after that. Its segments are small at first and double, up to the size of sealed ones: an
 * import that is cut again and again gets on all the same, one that is not ends with few files. Each of them carries what the owner noted
 * (whose records these are), so that what is known of the records is as durable as they are.
 *
 * mvcc_export belongs to the store's thread. An import belongs to whoever calls it, on any thread, one call at a time, and (TDB)
 * on the thread that seals.
 */
#ifndef MVCC_TRANSFER_H
#define MVCC_TRANSFER_H

#include "common/buf.h"
#include "mvcc/mvcc.h"

/* The next record to read; mvcc_export_begin is before all of them. */
struct mvcc_position {
    mvcc_rev main;
    int64_t sub;
};

struct mvcc_position mvcc_export_begin(const struct mvcc *s);

/*
 * Append whole records (mvcc/record.h, sealed) from *at on, up to revision upto inclusive: until they are bytes_max or more, or
 * records_max. *at moves behind them; at->main > upto says that this was all. ST_COMPACTED: they are gone; ST_CORRUPT, ST_IO.
 */
enum status mvcc_export(struct mvcc *s, struct mvcc_position *at, mvcc_rev upto, size_t bytes_max, unsigned records_max,
                        struct buf *out) MUST_CHECK;

/*
 * The records at `at` come from this file (MVCC_FILE_BYTES of name), up to main revision *ret_next exclusive; false: from memory.
 * Whoever has read it once, on any thread, spares mvcc_export the wait for the disk.
 */
bool mvcc_export_file(const struct mvcc *s, const struct mvcc_position *at, char *ret_path, mvcc_rev *ret_next);
/* Read it and forget it: what cannot be read is told to whoever needs it. from_disk: what the page cache has of it is dropped before. Any thread. */
void mvcc_read_ahead(const char *path, bool from_disk);

struct mvcc_import;

/* What the newest segment will say. */
struct mvcc_import_end {
    uint64_t applied_index, applied_term;
    mvcc_rev revision; /* of the last record; 1: there is none */
    struct slice state; /* the owner's small state */
};

/*
 * options as for mvcc_open. Goes on behind the segments that a former import left in the directory; the directory is made if it is
 * not there, and emptied if what is there does not hang together. ST_IO, ST_BAD_ARGUMENT.
 */
enum status mvcc_import_open(const struct mvcc_options *options, struct mvcc_import **ret_import,
                             struct error *ret_error) MUST_CHECK;
/* Another stream goes on here: forget what is not a whole revision. Returns the last one that is; 1: there is none. */
mvcc_rev mvcc_import_rewind(struct mvcc_import *m);
/* What was noted of the records that are there; empty: nothing is known. Valid until something else is noted. */
struct slice mvcc_import_note(const struct mvcc_import *m);
/* It is true of all that is there, and of what is added from now on: it goes into every segment that is written but the last. */
void mvcc_import_set_note(struct mvcc_import *m, struct slice note);
/*
 * Whole records in order, without a gap. Writes a segment when there is enough for one. ST_CORRUPT: they are none; ST_NO_SPACE: all that
 * was taken is still there, to be gone on with after mvcc_import_rewind; ST_IO.
 */
enum status mvcc_import_add(struct mvcc_import *m, struct slice records, struct error *ret_error) MUST_CHECK;
/* The last segment, of no records if something was noted: all is durable then. ST_CORRUPT: the records do not end at that revision; ST_NO_SPACE; ST_IO. */
enum status mvcc_import_finish(struct mvcc_import *m, const struct mvcc_import_end *end, struct error *ret_error) MUST_CHECK;
/* Frees the memory; what was written stays. NULL is fine. */
void mvcc_import_free(struct mvcc_import *m);

/* Remove a store that nobody has open, or what is left of one; a directory that is not there is fine. ST_IO. */
enum status mvcc_remove(const char *dir, struct error *ret_error) MUST_CHECK;

#endif
