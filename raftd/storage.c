/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about damage. */
#include "raftd/storage.h"

#include <inttypes.h>

#include "common/planted.h"

bool storage_can_heal(const struct storage *s)
{
    return !s->alone && s->dir->voters.count >= HEALING_MEMBERS_MIN;
}

/*
 * A data directory that had no number of its own learns it from the store; and one that could not keep the newest. Members that cannot be
 * read are damage of the store: found here, before it could be taken for the log's.
 */
static enum status learn_voters(struct storage *s, const char *path, struct error *ret_error)
{
    struct mvcc_checkpoint checkpoint;
    struct members members = {0};
    enum status st = ST_OK;

    mvcc_get_checkpoint(s->store, &checkpoint);
    if (checkpoint.state.len) {
        st = members_decode(&members, checkpoint.state);
        if (st == ST_OK && members.count)
            voters_note(&s->dir->voters, checkpoint.applied_index, members_voters(&members.conf));
        else
            st = error_set(ret_error, ST_CORRUPT, "%s: the members in the newest segment cannot be read", path);
    }
    members_fini(&members);
    return st;
}

static enum status open_store(struct storage *s, struct error *ret_error)
{
    char path[STORE_PATH_BYTES];
    struct mvcc_options options = s->store_options;
    enum status st = store_dir_open(&s->store_dir, s->dir->member_path, options.no_sync, ret_error);

    /* It may hold more than this member knows to be committed, and what is decreed takes the place of that. */
    if (st == ST_OK && s->alone)
        st = store_dir_forget_partial(&s->store_dir, ret_error);
    store_dir_name(&s->store_dir, s->store_dir.generation, path);
    options.dir = path;
    if (st == ST_OK)
        st = mvcc_open(&options, &s->store, ret_error);
    if (st == ST_OK)
        st = learn_voters(s, path, ret_error);
    if (st != ST_OK) {
        mvcc_close(s->store);
        s->store = NULL;
    }
    return st;
}

/* A log that is missing is as damaged as one can be: a member that forgot its votes could vote again in the same term (Raft 5.2). */
static enum status open_log(struct storage *s, const struct mvcc_checkpoint *checkpoint, struct error *ret_error)
{
    bool is_new = false;
    enum status st = wal_open(&s->wal_options, &s->wal, &is_new, ret_error);

    if (st == ST_OK && is_new && checkpoint->applied_index)
        st = error_set(ret_error, ST_CORRUPT, "%s: the log is missing, but the store holds entries up to %" PRIu64,
                       s->dir->wal_path, checkpoint->applied_index);
    else if (st == ST_OK && is_new && s->dir->has_log)
        st = error_set(ret_error, ST_CORRUPT, "%s: the log is missing, and with it what this member voted and stored",
                       s->dir->wal_path);
    return st;
}

/* In the words of `why`: a new log, or ST_CORRUPT and the same words. */
static enum status renew_log(struct storage *s, const struct error *why, struct error *ret_error)
{
    struct mvcc_checkpoint checkpoint;
    struct error cause = *why;
    enum status st;

    wal_close(s->wal);
    s->wal = NULL;
    if (!storage_can_heal(s))
        return error_set(ret_error, ST_CORRUPT, "%s", cause.text);
    mvcc_get_checkpoint(s->store, &checkpoint);
    st = wal_open_anew(&s->wal_options, checkpoint.applied_index, checkpoint.applied_term, &s->wal, ret_error);
    if (st == ST_OK)
        s->tell_fn(s->arg, LOG_ERROR, "the log is damaged, set aside; no votes until the leader has sent what it held", cause.text);
    return st;
}

/*
 * With the store goes the log, though it may be whole: what was acknowledged by installing a snapshot was in the store alone until the log
 * began anew behind it. The log first: a crash between the two leaves a damaged store, and this begins again.
 */
static enum status renew_both(struct storage *s, const struct error *why, struct error *ret_error)
{
    const struct mvcc_checkpoint empty = {0};
    enum status st = ST_OK;

    if (s->dir->has_log)
        st = wal_open_anew(&s->wal_options, 0, 0, &s->wal, ret_error);
    if (st == ST_OK)
        st = store_dir_set_aside(&s->store_dir, s->dir->member_path, s->store_options.no_sync, ret_error);
    if (st == ST_OK)
        s->tell_fn(s->arg, LOG_ERROR,
                   s->dir->has_log ? "the store is damaged, set aside with the log; no votes until the leader has sent what they held"
                                   : "the store is damaged, set aside; nothing was promised yet",
                   why->text);
    if (st == ST_OK)
        st = data_dir_forget_damage(s->dir, ret_error);
    if (st == ST_OK)
        st = open_store(s, ret_error);
    return st == ST_OK && !s->wal ? open_log(s, &empty, ret_error) : st;
}

/* What the mark says. */
static enum status damage_noted(const struct data_dir *dir, struct error *ret_error)
{
    struct error found;

    data_dir_get_damage(dir, &found);
    return error_set(ret_error, ST_CORRUPT, "a record was found damaged when it was read: %s", found.text);
}

/*
 * Nobody can give the record back to a member that goes on alone, and all others are whole: reads of that one fail, as on any lone member.
 * Not to be asked about at the next start, which is no forced one.
 */
static enum status live_with_damage(struct storage *s, struct error *ret_error)
{
    struct error found;

    if (!s->dir->has_damage)
        return ST_OK;
    data_dir_get_damage(s->dir, &found);
    s->tell_fn(s->arg, LOG_WARNING, "a record of the store is damaged, and nobody has it: reads of it fail, proceeding", found.text);
    return data_dir_forget_damage(s->dir, ret_error);
}

enum status storage_open(struct storage *s, struct error *ret_error)
{
    struct mvcc_checkpoint checkpoint;
    struct error cause = {0};
    enum status st = ST_OK;

    if (s->dir->has_damage && !s->alone && !PLANTED(damage_not_noted))
        st = damage_noted(s->dir, &cause);
    if (st == ST_OK)
        st = open_store(s, &cause);
    if (st == ST_CORRUPT && storage_can_heal(s))
        return renew_both(s, &cause, ret_error);
    if (st == ST_OK) {
        mvcc_get_checkpoint(s->store, &checkpoint);
        st = open_log(s, &checkpoint, &cause);
        if (st == ST_CORRUPT)
            return renew_log(s, &cause, ret_error);
    }
    if (st == ST_OK && s->alone)
        st = live_with_damage(s, &cause);
    return st == ST_OK ? ST_OK : error_set(ret_error, st, "%s", cause.text);
}

/* What is decreed to be applied first leaves one voter. That is in force at once, before anybody is heard. */
static enum status keep_alone(struct storage *s, const struct node *node, struct error *ret_error)
{
    struct raft_status st;

    node_get_raft_status(node, &st);
    voters_note(&s->dir->voters, st.last, 1);
    return voters_save(&s->dir->voters, s->dir->member_fd, ret_error);
}

enum status storage_open_node(struct storage *s, struct node_options *o, struct node **ret_node, struct error *ret_error)
{
    struct node *node = NULL;
    struct error why = {0};
    enum status st;

    o->store = s->store;
    o->dir = &s->store_dir;
    o->wal = s->wal;
    st = node_new(o, &node, &why);
    if (st == ST_CORRUPT) { /* of the log: what the store says of the members was read before */
        st = renew_log(s, &why, ret_error);
        o->wal = s->wal;
        if (st != ST_OK)
            return st;
        st = node_new(o, &node, &why);
    }
    /* Not before the log is there: a birth that is cut short begins again. And before anything is promised. */
    if (st == ST_OK)
        st = data_dir_log_begun(s->dir, &why);
    if (st == ST_OK && s->alone)
        st = keep_alone(s, node, &why);
    if (st != ST_OK) {
        node_free(node);
        return error_set(ret_error, st, "%s", why.text);
    }
    *ret_node = node;
    return ST_OK;
}

enum status storage_on_damage(struct storage *s, const struct mvcc *store, struct error *ret_error)
{
    enum status st;
    struct error what;

    if (!storage_can_heal(s))
        return ST_OK;
    mvcc_get_damage(store, &what);
    st = data_dir_note_damage(s->dir, what.text, ret_error);
    return st == ST_OK ? error_set(ret_error, ST_CORRUPT, "%s", what.text) : st;
}
