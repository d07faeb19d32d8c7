/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --initial-cluster-state existing: asks the other members of --initial-cluster which cluster this is, and finds itself in it. Before
 * there is a member, and so before there is a loop: it waits.
 */
#ifndef RAFTD_JOIN_H
#define RAFTD_JOIN_H

#include "raftd/conf.h"

struct join_answer {
    uint64_t cluster_id, member_id;
    struct members founders; /* the caller's to free */
};

/* What a member told. */
struct join_heard {
    uint64_t cluster_id;
    struct members founders, now;
};

/*
 * etcd's rules: as many members as in --initial-cluster, and the same peer URLs; ours is the one with the URLs of --name. It must
 * not have been started before. All are asked, and refused is who still is after some seconds: one that lags may know our predecessor at the
 * same URL in our place. If only such a one can be reached we take that one's id, and are told by the others that it was removed.
 */
enum status join_ask(const struct conf *conf, struct join_answer *ret_answer, struct error *ret_error) MUST_CHECK;

/* The rules alone. now: the members as the asked one knows them. */
enum status join_judge(const struct members *told, uint64_t self, const struct members *now, uint64_t *ret_member_id,
                       struct error *ret_error) MUST_CHECK;
/* The same of what several have told (one at least): whose table had the most changes decides; which answer that is. */
enum status join_choose(const struct members *told, uint64_t self, const struct join_heard *heard, unsigned count, unsigned *ret_chosen,
                        uint64_t *ret_member_id, struct error *ret_error) MUST_CHECK;
void join_heard_fini(struct join_heard *h);

#endif
