/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a cluster to be let in. */
#include "raftd/join.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "raftd/peer/ask.h"
#include "raftd/peer/frame.h"

#define ANSWER_NS NS_PER_S       /* of one member */
#define PATIENCE_NS (5 * NS_PER_S) /* with all: one that was asked may not have heard of us yet */
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
        return error_set(ret_error, ST_OTHER_INCARNATION,
                         "member %" PRIx64 " has already been bootstrapped, with another data directory: it may have promised what "
                         "is not in this one; remove it and add it anew",
                         found->id);
    *ret_member_id = found->id;
    return ST_OK;
}

/* ---- asking ---- */

static enum status judge_answer(const struct conf *conf, struct slice payload, struct join_answer *ret_answer,
                                struct error *ret_error)
{
    struct members now = {0}, founders = {0};
    struct cluster_answer answer;
    uint64_t member_id = 0;
    enum status st;

    if (frame_kind(payload) == FRAME_REFUSAL) {
        struct slice why = frame_refusal_text(payload);
        return error_set(ret_error, ST_UNREACHABLE, "refused: %.*s", (int)why.len, (const char *)why.data);
    }
    if (frame_decode_cluster(payload, &answer) != ST_OK || members_decode(&founders, answer.founders) != ST_OK ||
        members_decode(&now, answer.members) != ST_OK || !founders.count)
        st = error_set(ret_error, ST_UNREACHABLE, "what it says of its cluster cannot be understood");
    else
        st = join_judge(&conf->initial, conf->member_id, &now, &member_id, ret_error);
    members_fini(&now);
    if (st != ST_OK) {
        members_fini(&founders);
        return st;
    }
    *ret_answer = (struct join_answer){answer.cluster_id, member_id, founders};
    return ST_OK;
}

static enum status ask_one(const struct conf *conf, const char *text, struct join_answer *ret_answer, struct error *ret_error)
{
    struct error error = {0};
    struct slice payload;
    struct buf in = {0};
    struct url url;
    enum status st = url_parse(text, &url, &error);

    if (st == ST_OK)
        st = peer_ask(&url, ANSWER_NS, &in, &payload, &error);
    if (st == ST_OK)
        st = judge_answer(conf, payload, ret_answer, ret_error);
    else
        error_set(ret_error, ST_UNREACHABLE, "%s: %s", text, error.text);
    buf_fini(&in);
    return st;
}

/* A refusal in words says more than that the next one was down. */
static enum status ask_all(const struct conf *conf, struct join_answer *ret_answer, struct error *ret_error)
{
    enum status st = error_set(ret_error, ST_UNREACHABLE, "--initial-cluster: there is nobody else to ask");

    for (unsigned i = 0; i < conf->initial.count; i++) {
        const struct member *m = &conf->initial.list[i];
        for (unsigned k = 0; m->id != conf->member_id && k < m->peer_url_count; k++) {
            struct error error = {0};
            enum status one = ask_one(conf, m->peer_urls[k], ret_answer, &error);
            if (one == ST_OK || one == ST_OTHER_INCARNATION) {
                *ret_error = error;
                return one;
            }
            if (one != ST_UNREACHABLE || st == ST_UNREACHABLE) {
                *ret_error = error;
                st = one;
            }
        }
    }
    return st;
}

enum status join_ask(const struct conf *conf, struct join_answer *ret_answer, struct error *ret_error)
{
    int64_t until_ns = clock_monotonic_ns() + PATIENCE_NS;
    enum status st;

    for (;;) {
        st = ask_all(conf, ret_answer, ret_error);
        if (st == ST_OK || st == ST_OTHER_INCARNATION || clock_monotonic_ns() > until_ns)
            return st;
        log_debug("server", "not let in yet why=\"%s\"", ret_error->text);
        poll(NULL, 0, (int)(PAUSE_NS / NS_PER_MS));
    }
}
