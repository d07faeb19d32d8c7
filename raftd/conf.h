/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What raftd is told: etcd's flags, environment variables (ETCD_*) and rules for them, and the initial cluster that follows.
 */
#ifndef RAFTD_CONF_H
#define RAFTD_CONF_H

#include "common/error.h"
#include "common/limits.h"
#include "net/url.h"
#include "raftd/node/members.h"

#define CONF_URLS_MAX MEMBER_URLS_MAX
#define CONF_IGNORED_GATES_MAX 8

struct conf_flags {
    const char *name, *data_dir;
    const char *listen_client_urls, *advertise_client_urls;
    const char *listen_peer_urls, *initial_advertise_peer_urls;
    const char *initial_cluster, *initial_cluster_state, *initial_cluster_token;
    const char *feature_gates;
    const char *log_level;
    int64_t heartbeat_ms, election_ms;
    int64_t snapshot_count, snapshot_catchup, memtable_bytes;
    int64_t max_learners;
    int64_t corrupt_check_ns;
    int64_t scrub_ns;
    bool initial_corrupt_check, pre_vote, strict_reconfig_check, force_new_cluster, version, help;
};

struct conf_urls {
    struct url list[CONF_URLS_MAX];
    unsigned count;
};

struct conf {
    char **argv; /* as it was called */
    struct conf_flags flags;
    char data_dir[4096];
    struct conf_urls listen_client, advertise_client, listen_peer, advertise_peer;
    /* By the flags; a data directory that exists knows better, and so does a cluster that is joined. Ids are etcd's. */
    uint64_t cluster_id, member_id;
    struct members initial;
    const char *ignored_gates[CONF_IGNORED_GATES_MAX]; /* names in --feature-gates that change nothing here; NULL between them */
    bool join; /* --initial-cluster-state existing */
};

/* ST_BAD_ARGUMENT with words. conf_fini in any case. */
enum status conf_parse(struct conf *c, int argc, char **argv, char **envp, struct error *ret_error) MUST_CHECK;
/* etcd, of a member that is to be born: its name must be in --initial-cluster with exactly the advertised peer URLs. */
enum status conf_check_self(const struct conf *c, struct error *ret_error) MUST_CHECK;
void conf_fini(struct conf *c);
void conf_print_help(void);

/*
 * etcd's ids: a member's is the first 8 bytes, big-endian, of the SHA-1 of its peer URLs, sorted and concatenated, and
 * the token; a cluster's of its members' ids, sorted, 8 bytes big-endian each.
 */
uint64_t conf_member_id(char *const *peer_urls, unsigned count, const char *token);
uint64_t conf_cluster_id(const struct members *members);

#endif
