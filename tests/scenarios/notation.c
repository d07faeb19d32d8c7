/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, entries and configurations as text. */
#include "tests/scenarios/notation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

static const struct {
    enum raft_message_type type;
    const char *name;
} TYPES[] = {
    {RAFT_MSG_PROPOSE, "MsgProp"},
    {RAFT_MSG_APPEND, "MsgApp"},
    {RAFT_MSG_APPEND_RESPONSE, "MsgAppResp"},
    {RAFT_MSG_VOTE, "MsgVote"},
    {RAFT_MSG_VOTE_RESPONSE, "MsgVoteResp"},
    {RAFT_MSG_SNAPSHOT, "MsgSnap"},
    {RAFT_MSG_HEARTBEAT, "MsgHeartbeat"},
    {RAFT_MSG_HEARTBEAT_RESPONSE, "MsgHeartbeatResp"},
    {RAFT_MSG_TRANSFER_LEADER, "MsgTransferLeader"},
    {RAFT_MSG_TIMEOUT_NOW, "MsgTimeoutNow"},
    {RAFT_MSG_READ_INDEX, "MsgReadIndex"},
    {RAFT_MSG_READ_INDEX_RESPONSE, "MsgReadIndexResp"},
    {RAFT_MSG_PRE_VOTE, "MsgPreVote"},
    {RAFT_MSG_PRE_VOTE_RESPONSE, "MsgPreVoteResp"},
    {RAFT_MSG_PULL, "MsgPull"},
    {RAFT_MSG_PULL_RESPONSE, "MsgPullResp"},
};
#define TYPE_COUNT (sizeof TYPES / sizeof TYPES[0])

static const char *type_name(const struct parcel *p)
{
    static const char *const local[] = {"", "MsgStorageAppend", "MsgStorageAppendResp", "MsgStorageApply",
                                        "MsgStorageApplyResp"};

    if (p->kind != PARCEL_MESSAGE)
        return local[p->kind];
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (TYPES[i].type == p->m.type)
            return TYPES[i].name;
    return "?";
}

int notation_message_type(const char *name)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (!strcmp(TYPES[i].name, name))
            return (int)TYPES[i].type;
    return -1;
}

const char *notation_role(enum raft_role role)
{
    static const char *const names[] = {"StateFollower", "StatePreCandidate", "StateCandidate", "StateLeader"};

    return names[role];
}

static void put_changes(struct buf *out, const struct raft_conf_change *change)
{
    for (unsigned i = 0; i < change->count; i++)
        buf_printf(out, " %c%llu", "vrul"[change->changes[i].type], (unsigned long long)change->changes[i].id);
}

bool notation_read_changes(const char *text, struct raft_conf_change *ret_change)
{
    static const char letters[] = "vrul";

    for (text += strspn(text, " \n"); *text; text += strspn(text, " \n")) {
        const char *letter = strchr(letters, *text);
        char *end;
        struct raft_change change = {RAFT_CHANGE_ADD_VOTER, strtoull(text + 1, &end, 10)};
        if (!letter || !change.id || (*end && !isspace((unsigned char)*end)) || ret_change->count == RAFT_CHANGES_MAX)
            return false;
        change.type = (enum raft_change_type)(letter - letters);
        ret_change->changes[ret_change->count++] = change;
        text = end;
    }
    return true;
}

void notation_entry(struct buf *out, const struct raft_entry *e)
{
    struct raft_conf_change change;

    buf_printf(out, "%llu/%llu ", (unsigned long long)e->term, (unsigned long long)e->index);
    if (e->type == RAFT_ENTRY_NORMAL) {
        buf_append_text(out, "EntryNormal \"");
        for (uint32_t i = 0; i < e->len; i++)
            buf_printf(out, isprint(e->data[i]) ? "%c" : "\\x%02x", e->data[i]);
        buf_append_text(out, "\"");
    } else if (raft_conf_change_decode(e, &change) != ST_OK) {
        buf_append_text(out, "EntryConfChangeV2 (damaged)");
    } else {
        /* We have one kind of change; which of the two a script asked for, it left in the context. */
        bool v1 = slice_equal(change.context, slice_of_text("v1"));
        buf_append_text(out, v1 ? "EntryConfChange" : "EntryConfChangeV2");
        put_changes(out, &change);
    }
}

static void put_ids(struct buf *out, const char *name, const raft_id *ids, unsigned count)
{
    buf_printf(out, "%s:[", name);
    for (unsigned i = 0; i < count; i++)
        buf_printf(out, "%s%llu", i ? " " : "", (unsigned long long)ids[i]);
    buf_append_text(out, "] ");
}

void notation_conf(struct buf *out, const struct raft_conf *c)
{
    put_ids(out, "Voters", c->voters, c->voter_count);
    put_ids(out, "VotersOutgoing", c->outgoing, c->outgoing_count);
    put_ids(out, "Learners", c->learners, c->learner_count);
    put_ids(out, "LearnersNext", c->learners_next, c->learner_next_count);
    buf_printf(out, "AutoLeave:%s", c->auto_leave ? "true" : "false");
}

static void put_target(struct buf *out, raft_id id)
{
    if (id == APPEND_THREAD || id == APPLY_THREAD)
        buf_append_text(out, id == APPEND_THREAD ? "AppendThread" : "ApplyThread");
    else
        buf_printf(out, "%llx", (unsigned long long)id);
}

static void put_entries(struct buf *out, const struct raft_message *m, unsigned indent)
{
    if (!m->entry_count)
        return;
    buf_append_text(out, " Entries:[");
    for (size_t i = 0; i < m->entry_count; i++) {
        if (m->entry_count > 1)
            buf_printf(out, "\n%*s", (int)indent + 2, "");
        notation_entry(out, m->entries[i]);
    }
    if (m->entry_count > 1)
        buf_printf(out, "\n%*s", (int)indent, "");
    buf_append_text(out, "]");
}

/* The term that stands before the index: an answer that refuses an append has its hint's there. */
static raft_term log_term_of(const struct parcel *p)
{
    return p->m.type == RAFT_MSG_APPEND_RESPONSE && p->kind == PARCEL_MESSAGE && p->m.reject ? p->m.hint_term :
                                                                                             p->m.log_term;
}

void notation_parcel(struct buf *out, const struct parcel *p, unsigned indent)
{
    const struct raft_message *m = &p->m;
    bool snapshot = p->kind == PARCEL_MESSAGE && m->type == RAFT_MSG_SNAPSHOT;
    bool read = p->kind == PARCEL_MESSAGE &&
                (m->type == RAFT_MSG_READ_INDEX || m->type == RAFT_MSG_READ_INDEX_RESPONSE);

    buf_printf(out, "%*s", (int)indent, "");
    put_target(out, m->from);
    buf_append_text(out, "->");
    put_target(out, m->to);
    buf_printf(out, " %s Term:%llu Log:%llu/%llu", type_name(p), (unsigned long long)m->term,
               (unsigned long long)(snapshot ? 0 : log_term_of(p)), (unsigned long long)(snapshot ? 0 : m->index));
    if (m->reject)
        buf_printf(out, " Rejected (Hint: %llu)", (unsigned long long)m->hint_index);
    if (m->commit)
        buf_printf(out, " Commit:%llu", (unsigned long long)m->commit);
    if (p->kind == PARCEL_APPEND && p->has_hard) {
        buf_printf(out, " Commit:%llu", (unsigned long long)p->hard.commit);
        if (p->hard.vote)
            buf_printf(out, " Vote:%llu", (unsigned long long)p->hard.vote);
    }
    if (read)
        buf_printf(out, " Entries:[0/0 EntryNormal \"%llu\"]", (unsigned long long)m->context);
    put_entries(out, m, indent);
    if (snapshot) {
        buf_printf(out, "\n%*sSnapshot: Index:%llu Term:%llu ConfState:", (int)indent + 2, "",
                   (unsigned long long)p->snapshot.index, (unsigned long long)p->snapshot.term);
        notation_conf(out, &p->snapshot.conf);
    }
    if (!p->answer_count)
        return;
    buf_append_text(out, " Responses:[");
    for (size_t i = 0; i < p->answer_count; i++) {
        buf_append_text(out, "\n");
        notation_parcel(out, &p->answers[i], indent + 2);
    }
    buf_printf(out, "\n%*s]", (int)indent, "");
}

struct parcel parcel_of(const struct raft_message *m)
{
    struct parcel p = {.kind = PARCEL_MESSAGE, .m = *m};

    p.m.entries = m->entry_count ? mem_copy(m->entries, m->entry_count * sizeof *m->entries) : NULL;
    for (size_t i = 0; i < m->entry_count; i++) {
        struct raft_entry *e = m->entries[i];
        if (m->type != RAFT_MSG_PROPOSE) {
            raft_entry_ref(e);
            continue;
        }
        p.m.entries[i] = raft_entry_new((enum raft_entry_type)e->type, e->len);
        memcpy(p.m.entries[i]->data, e->data, e->len);
    }
    return p;
}

void parcel_fini(struct parcel *p)
{
    for (size_t i = 0; i < p->m.entry_count; i++)
        raft_entry_unref(p->m.entries[i]);
    free(p->m.entries);
    for (size_t i = 0; i < p->answer_count; i++)
        parcel_fini(&p->answers[i]);
    free(p->answers);
}
