/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a cluster to be let in. */
#include "raftd/join.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/mem.h"
#include "raftd/peer/ask.h"
#include "raftd/peer/frame.h"

#define ANSWER_NS NS_PER_S       /* of one member */
#define PATIENCE_NS (5 * NS_PER_S) /* with all: those that answer may not have heard of us yet */
#define PAUSE_NS (100 * NS_PER_MS)

/* ---- the rules ---- */

static bool has_same_urls(const struct member *a, const struct member *b)
{
    if (a->peer_url_count != b->peer_url_count)
        return false;
    for (unsigned i = 0; i < a->peer_url_count; i++)
        if (!member_has_url(b, a->peer_urls[i]))
            return false;
    return true;
}

static enum status refuse_other_incarnation(uint64_t id, struct error *ret_error)
{
    return error_set(ret_error, ST_OTHER_INCARNATION,
                     "member %" PRIx64 " has already been bootstrapped, with another data directory: it may have promised what "
                     "is not in this one; remove it and add it anew",
                     id);
}

enum status join_judge(const struct members *told, uint64_t self, const struct members *now, uint64_t *ret_member_id,
                       struct error *ret_error)
{
    const struct member *found = NULL;

    if (told->count != now->count)
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "--initial-cluster: member count is unequal: %u there, %u in the cluster (member add comes first)",
                         told->count, now->count);
    for (unsigned i = 0; i < now->count; i++) {
        const struct member *m = &now->list[i], *match = NULL;
        for (unsigned k = 0; k < told->count && !match; k++)
            match = has_same_urls(m, &told->list[k]) ? &told->list[k] : NULL;
        if (!match)
            return error_set(ret_error, ST_BAD_ARGUMENT,
                             "--initial-cluster: PeerURLs: no match found for existing member (%" PRIx64 ", [%s%s])", m->id,
                             m->peer_url_count ? m->peer_urls[0] : "", m->peer_url_count > 1 ? " ..." : "");
        if (match->id == self)
            found = m;
    }
    if (!found) /* two members with the same URLs there */
        return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: this member is none of the cluster's");
    if (found->incarnation)
        return refuse_other_incarnation(found->id, ret_error);
    *ret_member_id = found->id;
    return ST_OK;
}

/* How often members were added or removed, but for the number of founders: grows with the log. */
static uint64_t changes_of(const struct members *m)
{
    return m->count + 2 * (uint64_t)m->removed_count;
}

void join_heard_fini(struct join_heard *h)
{
    members_fini(&h->founders);
    members_fini(&h->now);
}

enum status join_choose(const struct members *told, uint64_t self, const struct join_heard *heard, unsigned count, unsigned *ret_chosen,
                        uint64_t *ret_member_id, struct error *ret_error)
{
    enum status st = ST_BAD_ARGUMENT;
    uint64_t most = 0;

    for (unsigned i = 0; i < count; i++) {
        if (heard[i].cluster_id != heard[0].cluster_id)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: members of two clusters: %" PRIx64 ", %" PRIx64,
                             heard[0].cluster_id, heard[i].cluster_id);
        most = changes_of(&heard[i].now) > most ? changes_of(&heard[i].now) : most;
    }
    for (unsigned i = 0; i < count && st != ST_OK; i++) {
        if (changes_of(&heard[i].now) != most)
            continue;
        st = join_judge(told, self, &heard[i].now, ret_member_id, ret_error);
        *ret_chosen = i;
        if (st == ST_OTHER_INCARNATION)
            return st;
    }
    /* Who was met once is no newcomer, whoever says so. */
    for (unsigned i = 0; i < count && st == ST_OK; i++) {
        const struct member *m = members_look_up(&heard[i].now, *ret_member_id);
        if (m && m->incarnation)
            st = refuse_other_incarnation(m->id, ret_error);
    }
    return st;
}

/* ---- asking ---- */

static enum status read_answer(struct slice payload, struct join_heard *ret_heard, struct error *ret_error)
{
    struct cluster_answer answer;

    *ret_heard = (struct join_heard){0};
    if (frame_kind(payload) == FRAME_REFUSAL) {
        struct slice why = frame_refusal_text(payload);
        return error_set(ret_error, ST_UNREACHABLE, "refused: %.*s", (int)why.len, (const char *)why.data);
    }
    if (frame_decode_cluster(payload, &answer) == ST_OK && members_decode(&ret_heard->founders, answer.founders) == ST_OK &&
        members_decode(&ret_heard->now, answer.members) == ST_OK && ret_heard->founders.count) {
        ret_heard->cluster_id = answer.cluster_id;
        return ST_OK;
    }
    join_heard_fini(ret_heard);
    return error_set(ret_error, ST_UNREACHABLE, "what it says of its cluster cannot be understood");
}

static enum status ask_one(const char *text, struct join_heard *ret_heard, struct error *ret_error)
{
    struct error error = {0};
    struct slice payload;
    struct buf in = {0};
    struct url url;
    enum status st = url_parse(text, &url, &error);

    if (st == ST_OK)
        st = peer_ask(&url, ANSWER_NS, &in, &payload, &error);
    if (st == ST_OK)
        st = read_answer(payload, ret_heard, &error);
    if (st != ST_OK)
        error_set(ret_error, ST_UNREACHABLE, "%s: %s", text, error.text);
    buf_fini(&in);
    return st == ST_OK ? ST_OK : ST_UNREACHABLE;
}

/* At the first of its URLs that answers. */
static enum status ask_member(const struct member *m, struct join_heard *ret_heard, struct error *ret_error)
{
    enum status st = ST_UNREACHABLE;

    for (unsigned k = 0; k < m->peer_url_count && st != ST_OK; k++)
        st = ask_one(m->peer_urls[k], ret_heard, ret_error);
    return st;
}

/* heard: has room for all. */
static enum status ask_all(const struct conf *conf, struct join_heard *heard, struct join_answer *ret_answer, struct error *ret_error)
{
    enum status st = error_set(ret_error, ST_UNREACHABLE, "--initial-cluster: there is nobody else to ask");
    unsigned count = 0, chosen = 0;
    uint64_t member_id = 0;

    for (unsigned i = 0; i < conf->initial.count; i++)
        if (conf->initial.list[i].id != conf->member_id && ask_member(&conf->initial.list[i], &heard[count], ret_error) == ST_OK)
            count++;
    if (count)
        st = join_choose(&conf->initial, conf->member_id, heard, count, &chosen, &member_id, ret_error);
    if (st == ST_OK) {
        *ret_answer = (struct join_answer){heard[chosen].cluster_id, member_id, heard[chosen].founders};
        heard[chosen].founders = (struct members){0};
    }
    for (unsigned i = 0; i < count; i++)
        join_heard_fini(&heard[i]);
    return st;
}

enum status join_ask(const struct conf *conf, struct join_answer *ret_answer, struct error *ret_error)
{
    struct join_heard *heard = mem_zero(MEMBERS_MAX * sizeof *heard);
    enum status st = ask_all(conf, heard, ret_answer, ret_error);
    int64_t until_ns = clock_monotonic_ns() + PATIENCE_NS; /* from here: the silence of others can have taken longer than that */

    for (; st != ST_OK && clock_monotonic_ns() <= until_ns; st = ask_all(conf, heard, ret_answer, ret_error)) {
        log_debug("server", "not let in yet why=\"%s\"", ret_error->text);
        poll(NULL, 0, (int)(PAUSE_NS / NS_PER_MS));
    }
    free(heard);
    return st;
}
