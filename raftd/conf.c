/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of etcd, and the rules between them. */
#include "raftd/conf.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/mem.h"
#include "common/options.h"
#include "net/digest.h"

#define PEER_DEFAULT "http://localhost:2380"
#define CLIENT_DEFAULT "http://localhost:2379"

/* A number of limits.h as the text that the table takes. */
#define DEFAULT_TEXT(number) #number
#define DEFAULT_OF(number) DEFAULT_TEXT(number)
#define MEMTABLE_DEFAULT 67108864
_Static_assert(MEMTABLE_DEFAULT == MEMTABLE_BYTES, "one default");

#define TEXT(name, field, value, help) {name, OPTION_TEXT, offsetof(struct conf_flags, field), value, 0, 0, help}

/* clang-format off */
static const struct option_row rows[] = {
    TEXT("name", name, "default", "a name for this member, unique in its cluster"),
    TEXT("data-dir", data_dir, "", "where everything is kept (empty: NAME.etcd here)"),
    TEXT("listen-client-urls", listen_client_urls, CLIENT_DEFAULT, "where clients connect: http://IP:PORT or unix:///PATH, with commas"),
    TEXT("advertise-client-urls", advertise_client_urls, CLIENT_DEFAULT, "the same as clients elsewhere see it"),
    TEXT("listen-peer-urls", listen_peer_urls, PEER_DEFAULT, "where other members connect"),
    TEXT("initial-advertise-peer-urls", initial_advertise_peer_urls, PEER_DEFAULT, "the same as other members see it"),
    TEXT("initial-cluster", initial_cluster, "", "NAME=PEER-URL of every member of a new cluster, with commas (empty: only this one)"),
    TEXT("initial-cluster-state", initial_cluster_state, "new", "new: begin a cluster; existing: join one that this member was added to"),
    TEXT("initial-cluster-token", initial_cluster_token, "etcd-cluster", "tells clusters with equal URLs apart"),
    {"heartbeat-interval", OPTION_NUMBER, offsetof(struct conf_flags, heartbeat_ms), "100", 1, 10000, "milliseconds between a leader's heartbeats"},
    {"election-timeout", OPTION_NUMBER, offsetof(struct conf_flags, election_ms), "1000", 5, 50000, "milliseconds without a leader before an election; at least 5 heartbeats"},
    {"pre-vote", OPTION_BOOL, offsetof(struct conf_flags, pre_vote), "true", 0, 0, "ask before an election whether it could be won (always on)"},
    {"strict-reconfig-check", OPTION_BOOL, offsetof(struct conf_flags, strict_reconfig_check), "true", 0, 0, "refuse changes of the members that could cost the quorum"},
    {"force-new-cluster", OPTION_BOOL, offsetof(struct conf_flags, force_new_cluster), "false", 0, 0, "go on as the only member, with this data directory: when the others are lost for good"},
    {"max-learners", OPTION_NUMBER, offsetof(struct conf_flags, max_learners), DEFAULT_OF(LEARNERS_MAX_DEFAULT), 1, 15, "members that do not vote, at most"},
    {"snapshot-count", OPTION_NUMBER, offsetof(struct conf_flags, snapshot_count), DEFAULT_OF(SNAPSHOT_COUNT_DEFAULT), 1, 1000000000, "entries that are kept for members which are behind, beside the catch-up ones"},
    {"snapshot-catchup-entries", OPTION_NUMBER, offsetof(struct conf_flags, snapshot_catchup), DEFAULT_OF(SNAPSHOT_CATCHUP_DEFAULT), 1, 1000000000, "entries that stay when older ones go; a member behind them gets a snapshot"},
    {"memtable-bytes", OPTION_NUMBER, offsetof(struct conf_flags, memtable_bytes), DEFAULT_OF(MEMTABLE_DEFAULT), 65536, 1073741824, "changes that are held in memory before they go into a segment of the store"},
    {"corrupt-check-time", OPTION_DURATION, offsetof(struct conf_flags, corrupt_check_ns), "0s", 0, INT64_MAX / 2, "the leader has members compare what they hold this often (0s: never)"},
    {"experimental-corrupt-check-time", OPTION_DURATION, offsetof(struct conf_flags, corrupt_check_ns), NULL, 0, INT64_MAX / 2, "the name of --corrupt-check-time in older versions of etcd"},
    {"initial-corrupt-check", OPTION_BOOL, offsetof(struct conf_flags, initial_corrupt_check), "false", 0, 0, "compare what is stored with the other members' before serving clients"},
    {"experimental-initial-corrupt-check", OPTION_BOOL, offsetof(struct conf_flags, initial_corrupt_check), NULL, 0, 0, "the name of --initial-corrupt-check in older versions of etcd"},
    {"scrub-time", OPTION_DURATION, offsetof(struct conf_flags, scrub_ns), "24h", 0, INT64_MAX / 2, "the store is read from the disk, to find damage, this often (0s: never)"},
    TEXT("feature-gates", feature_gates, "", "NAME=BOOL of etcd's, with commas; InitialCorruptCheck is the name of --initial-corrupt-check in newer versions, others change nothing"),
    TEXT("log-level", log_level, "info", "error, warn, notice, info or debug"),
    {"version", OPTION_BOOL, offsetof(struct conf_flags, version), "false", 0, 0, "print the version and exit"},
    {"help", OPTION_BOOL, offsetof(struct conf_flags, help), "false", 0, 0, "print this and exit"},
};
/* clang-format on */

static const struct option_table table = {rows, sizeof rows / sizeof *rows, "ETCD"};

void conf_print_help(void)
{
    printf("usage: raftd [OPTION VALUE]...\n"
           "A member of a raftfs cluster: a replicated store that speaks the etcd v3 API.\n"
           "Every option can also be given in the environment: --data-dir as ETCD_DATA_DIR.\n\n");
    options_print_help(&table);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

uint64_t conf_member_id(char *const *peer_urls, unsigned count, const char *token)
{
    char **sorted = mem_copy(peer_urls, count * sizeof *sorted);
    struct buf b = {0};
    uint8_t digest[20];

    qsort(sorted, count, sizeof *sorted, compare_texts);
    for (unsigned i = 0; i < count; i++)
        buf_append_text(&b, sorted[i]);
    buf_append_text(&b, token);
    digest_sha1(buf_slice(&b), digest);
    buf_fini(&b);
    free(sorted);
    return get_be64(digest);
}

uint64_t conf_cluster_id(const struct members *members)
{
    uint8_t ids[MEMBERS_MAX * 8], digest[20], *p = ids;

    for (unsigned i = 0; i < members->count; i++)
        p = put_be64(p, members->list[i].id);
    digest_sha1(slice_of(ids, (size_t)(p - ids)), digest);
    return get_be64(digest);
}

/* What a URL is for, as far as it can be judged before it is used. */
enum url_use { URL_TOLD, URL_DIALLED, URL_LISTENED };

static enum status check_url(const char *flag, const struct url *url, enum url_use use, struct error *ret_error)
{
    struct sockaddr_storage address;
    struct error inner = {0};
    char text[300];
    socklen_t len;

    url_format(url, text, sizeof text);
    if (url->tls && use != URL_TOLD)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--%s: %s: https needs TLS, which this build does not have", flag,
                         text);
    if (use == URL_LISTENED && url_address(url, &address, &len, &inner) != ST_OK)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--%s: %s", flag, inner.text);
    return ST_OK;
}

static enum status parse_urls(const char *flag, const char *text, enum url_use use, struct conf_urls *ret_urls,
                              struct error *ret_error)
{
    struct error inner = {0};
    enum status st = ST_OK;

    if (url_parse_list(text, ret_urls->list, CONF_URLS_MAX, &ret_urls->count, &inner) != ST_OK)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--%s: %s", flag, inner.text);
    if (!ret_urls->count)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--%s: no URL", flag);
    for (unsigned i = 0; st == ST_OK && i < ret_urls->count; i++)
        st = check_url(flag, &ret_urls->list[i], use, ret_error);
    return st;
}

/* One NAME=URL of --initial-cluster; several of one name are one member with several URLs. */
struct initial_url {
    const char *name;
    char *url; /* canonical */
    bool used;
};

static enum status parse_initial(const char *text, struct initial_url *ret_list, unsigned max,
                                 unsigned *ret_count, char *scratch, struct error *ret_error)
{
    char *save = NULL;
    unsigned n = 0;

    for (char *word = strtok_r(scratch, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(word, '=');
        struct error inner = {0};
        struct url url;
        char canonical[512];
        if (!equals || equals == word)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: \"%s\" is not NAME=URL", word);
        if (n == max)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: more than %u URLs", max);
        *equals = 0;
        if (url_parse(equals + 1, &url, &inner) != ST_OK)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: %s: %s", word, inner.text);
        if (url.tls)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: %s: %s: https needs TLS, which this build "
                             "does not have", word, equals + 1);
        url_format(&url, canonical, sizeof canonical);
        ret_list[n++] = (struct initial_url){.name = word, .url = mem_text(canonical)};
        *ret_count = n;
    }
    return n ? ST_OK : error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: \"%s\" names no member", text);
}

/* All URLs of the name at list[at] become one member. */
static enum status add_initial_member(struct conf *c, struct initial_url *list, unsigned count, unsigned at,
                                      bool *ret_is_self, struct error *ret_error)
{
    char *urls[CONF_URLS_MAX];
    unsigned n = 0;
    uint64_t id;
    enum status st;

    for (unsigned i = at; i < count; i++) {
        if (list[i].used || strcmp(list[i].name, list[at].name) != 0)
            continue;
        if (n == CONF_URLS_MAX)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: too many URLs for %s", list[at].name);
        urls[n++] = list[i].url;
        list[i].used = i != at;
    }
    id = conf_member_id(urls, n, c->flags.initial_cluster_token);
    st = members_add(&c->initial, id, list[at].name, urls, n);
    if (st != ST_OK)
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         st == ST_LIMIT ? "--initial-cluster: more than %u members" :
                                          "--initial-cluster: two members have the same URLs (at most %u members)",
                         RAFT_VOTERS_MAX);
    *ret_is_self = strcmp(list[at].name, c->flags.name) == 0;
    if (*ret_is_self)
        c->member_id = id;
    return ST_OK;
}

enum status conf_check_self(const struct conf *c, struct error *ret_error)
{
    const struct member *self = members_look_up(&c->initial, c->member_id);
    unsigned equal = 0;

    for (unsigned i = 0; self && i < self->peer_url_count; i++)
        for (unsigned k = 0; k < c->advertise_peer.count; k++) {
            char canonical[512];
            url_format(&c->advertise_peer.list[k], canonical, sizeof canonical);
            equal += strcmp(canonical, self->peer_urls[i]) == 0;
        }
    if (!self || equal != self->peer_url_count || equal != c->advertise_peer.count)
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "--initial-cluster: the peer URLs of %s there and in --initial-advertise-peer-urls differ",
                         c->flags.name);
    return ST_OK;
}

static enum status parse_cluster(struct conf *c, struct error *ret_error)
{
    struct initial_url list[RAFT_VOTERS_MAX * CONF_URLS_MAX] = {0};
    unsigned count = 0, self = 0;
    struct buf text = {0};
    enum status st;

    buf_append_text(&text, c->flags.initial_cluster);
    for (unsigned i = 0; !*c->flags.initial_cluster && i < c->advertise_peer.count; i++) {
        char url[300];
        url_format(&c->advertise_peer.list[i], url, sizeof url);
        buf_printf(&text, "%s%s=%s", i ? "," : "", c->flags.name, url);
    }
    buf_append_byte(&text, 0);
    st = parse_initial(c->flags.initial_cluster, list, RAFT_VOTERS_MAX * CONF_URLS_MAX, &count, (char *)text.data,
                       ret_error);
    for (unsigned i = 0; st == ST_OK && i < count; i++) {
        bool is_self = false;
        if (!list[i].used)
            st = add_initial_member(c, list, count, i, &is_self, ret_error);
        self += is_self;
    }
    if (st == ST_OK && !self)
        st = error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster: there is no member named %s (--name)",
                       c->flags.name);
    c->cluster_id = conf_cluster_id(&c->initial);
    for (unsigned i = 0; i < count; i++)
        free(list[i].url);
    buf_fini(&text);
    return st;
}

static enum status check_rules(const struct conf *c, int argc, char **argv, struct error *ret_error)
{
    const struct conf_flags *f = &c->flags;

    if (f->election_ms < 5 * f->heartbeat_ms)
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "--election-timeout: %lld is less than 5 times --heartbeat-interval (%lld)",
                         (long long)f->election_ms, (long long)f->heartbeat_ms);
    if (options_given(&table, argc, argv, "listen-client-urls") &&
        !options_given(&table, argc, argv, "advertise-client-urls"))
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "--advertise-client-urls is needed when --listen-client-urls is set");
    if (strcmp(f->initial_cluster_state, "new") != 0 && strcmp(f->initial_cluster_state, "existing") != 0)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--initial-cluster-state: \"%s\" is neither new nor existing",
                         f->initial_cluster_state);
    if (!f->pre_vote)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--pre-vote: it cannot be switched off");
    if (!*f->name || strpbrk(f->name, ",=/"))
        return error_set(ret_error, ST_BAD_ARGUMENT, "--name: \"%s\" is empty or holds one of , = /", f->name);
    if (strlen(f->name) > MEMBER_NAME_BYTES_MAX)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--name: %zu bytes, more than %u", strlen(f->name), MEMBER_NAME_BYTES_MAX);
    for (const char *p = f->name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f) /* it stands in log lines, and one line is one event */
            return error_set(ret_error, ST_BAD_ARGUMENT, "--name: holds a control character at byte %d", (int)(p - f->name));
    return ST_OK;
}

/* etcd's NAME=BOOL,NAME=BOOL: of each name that it knows the last. Most mean nothing here, which is no reason not to start. */
static enum status parse_gates(struct conf *c, struct error *ret_error)
{
    static const char *const ignored[] = {"StopGRPCServiceOnDefrag", "CompactHashCheck", "TxnModeWriteWithSharedBuffer", "LeaseCheckpoint",
                                          "LeaseCheckpointPersist", "SetMemberLocalAddr", "FastLeaseKeepAlive", "PriorityRequest"};
    const unsigned count = sizeof ignored / sizeof *ignored;

    _Static_assert(sizeof ignored / sizeof *ignored <= CONF_IGNORED_GATES_MAX, "room for all of them");
    for (const char *word = c->flags.feature_gates; *word; word += strcspn(word, ","), word += *word == ',') {
        size_t len = strcspn(word, ","), name_len = strcspn(word, "=,");
        struct slice name = slice_of(word, name_len);
        bool is_ours = slice_equal(name, slice_of_text("InitialCorruptCheck")), value;
        unsigned i = 0;
        while (i < count && !slice_equal(name, slice_of_text(ignored[i])))
            i++;
        if (i == count && !is_ours)
            return error_set(ret_error, ST_BAD_ARGUMENT, "--feature-gates: etcd has no gate \"%.*s\"", (int)name_len, word);
        if (name_len == len || !options_parse_bool(slice_of(word + name_len + 1, len - name_len - 1), &value))
            return error_set(ret_error, ST_BAD_ARGUMENT, "--feature-gates: \"%.*s\" is neither =true nor =false", (int)len, word);
        if (is_ours)
            c->flags.initial_corrupt_check = value;
        else
            c->ignored_gates[i] = ignored[i];
    }
    return ST_OK;
}

enum status conf_parse(struct conf *c, int argc, char **argv, char **envp, struct error *ret_error)
{
    struct conf_flags *f = &c->flags;
    enum status st;
    int n;

    *c = (struct conf){.argv = argv};
    st = options_parse(&table, f, argc, argv, envp, NULL, NULL, ret_error);
    if (st != ST_OK || f->help || f->version)
        return st;
    st = check_rules(c, argc, argv, ret_error);
    if (st == ST_OK)
        st = parse_gates(c, ret_error);
    c->join = strcmp(f->initial_cluster_state, "existing") == 0;
    if (st == ST_OK)
        st = parse_urls("listen-client-urls", f->listen_client_urls, URL_LISTENED, &c->listen_client, ret_error);
    if (st == ST_OK)
        st = parse_urls("advertise-client-urls", f->advertise_client_urls, URL_TOLD, &c->advertise_client, ret_error);
    if (st == ST_OK)
        st = parse_urls("listen-peer-urls", f->listen_peer_urls, URL_LISTENED, &c->listen_peer, ret_error);
    if (st == ST_OK)
        st = parse_urls("initial-advertise-peer-urls", f->initial_advertise_peer_urls, URL_DIALLED, &c->advertise_peer,
                        ret_error);
    if (st == ST_OK)
        st = parse_cluster(c, ret_error);
    if (st != ST_OK)
        return st;
    n = *f->data_dir ? snprintf(c->data_dir, sizeof c->data_dir, "%s", f->data_dir) :
                       snprintf(c->data_dir, sizeof c->data_dir, "%s.etcd", f->name);
    if (n < 0 || (size_t)n >= sizeof c->data_dir - 64)
        return error_set(ret_error, ST_BAD_ARGUMENT, "--data-dir: too long");
    return ST_OK;
}

void conf_fini(struct conf *c)
{
    members_fini(&c->initial);
}
