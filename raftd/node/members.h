/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in the cluster, as every replica knows it: identity, names and URLs, who votes, and who never comes back. Changed by applied
 * entries only (membership.h says how), stored in every segment. Ids are etcd's: a member's from its peer URLs and the cluster
 * token, or the time when it was added; the cluster's from its first members.
 */
#ifndef RAFTD_NODE_MEMBERS_H
#define RAFTD_NODE_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "raft/raft.h"

struct member {
    uint64_t id;
    char *name; /* "" until it published itself */
    char **peer_urls;
    unsigned peer_url_count;
    char **client_urls;
    unsigned client_url_count;
    bool no_space; /* etcd's alarm NOSPACE */
    bool corrupt;  /* etcd's alarm CORRUPT: what it holds differs from what the others do */
    uint64_t incarnation; /* of its data directory; 0 until it published itself */
};

/* A zeroed one is empty. */
struct members {
    struct member list[MEMBERS_MAX]; /* ascending id */
    unsigned count;
    struct raft_conf conf; /* every one of the list votes or learns */
    uint64_t *removed;     /* ascending */
    unsigned removed_count;
    size_t removed_cap;
    bool corrupt; /* the alarm CORRUPT, and nobody knows whose */
};

/* Numbers as in etcd's AlarmType. */
enum alarm_type { ALARM_NO_SPACE = 1, ALARM_CORRUPT = 2 };

struct alarm {
    uint64_t id; /* 0: CORRUPT, and nobody knows whose */
    enum alarm_type type;
};
#define ALARMS_MAX (2 * MEMBERS_MAX + 1)

void members_fini(struct members *m);
/* A voter. Copies the texts. ST_LIMIT beyond RAFT_VOTERS_MAX, ST_BAD_ARGUMENT if the id is there, or 0. */
enum status members_add(struct members *m, uint64_t id, const char *name, char *const *peer_urls,
                        unsigned peer_url_count) MUST_CHECK;
/* A member that conf, which takes the place of the one there, knows. */
void members_insert(struct members *m, uint64_t id, const char *name, char *const *peer_urls, unsigned peer_url_count,
                    const struct raft_conf *conf);
/* It never comes back. There is room for it (MEMBERS_REMOVED_MAX). */
void members_remove(struct members *m, uint64_t id, const struct raft_conf *conf);
struct member *members_find(struct members *m, uint64_t id);
const struct member *members_look_up(const struct members *m, uint64_t id);
bool members_is_removed(const struct members *m, uint64_t id);
/* It votes not, or not any more once a joint configuration is left. */
bool members_is_learner(const struct members *m, uint64_t id);
void member_set_client_urls(struct member *m, char *const *urls, unsigned count);
void member_set_peer_urls(struct member *m, char *const *urls, unsigned count);
void member_set_name(struct member *m, const char *name);

/* Those that are on, of a type or (0) of any; there is room for ALARMS_MAX. How many. */
unsigned members_alarms(const struct members *m, unsigned type, struct alarm *ret_list);
/* The place of an alarm; NULL: there can be none of that. */
bool *members_alarm(struct members *m, uint64_t id, unsigned type);
/* Is anybody's data in doubt? */
bool members_is_corrupt(const struct members *m);
/* Not a voter that the alarm CORRUPT names, unless it names all of them. */
bool members_may_lead(const struct members *m, uint64_t id);

/* Voters; of a joint configuration, of the smaller half. */
unsigned members_voters(const struct raft_conf *conf);
/* Is it true of a quorum of the voters; of a joint configuration, of both halves? */
bool members_is_quorum(const struct raft_conf *conf, bool (*is_true_fn)(const void *arg, uint64_t id), const void *arg);
/* Of those for peers. */
bool member_has_url(const struct member *m, const char *url);
/* What a member says of itself is not too long. */
bool member_texts_fit(const char *name, char *const *urls, size_t count);

/* Into an empty one. */
void members_copy(struct members *to, const struct members *from);
/* As raftfs.state.NodeState; never more than SNAPSHOT_STATE_BYTES_MAX. */
void members_encode(const struct members *m, struct buf *out);
/* Into an empty one. ST_CORRUPT: undecodable, or no cluster that could be. */
enum status members_decode(struct members *m, struct slice state) MUST_CHECK;

#endif
