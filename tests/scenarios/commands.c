/* SPDX-License-Identifier: Apache-2.0 */
/* The command language: one table, a function each. README.md has the list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/internal.h"
#include "tests/scenarios/env.h"

#define NODES_MAX 32u

static struct node *node_of(struct env *e, const char *text)
{
    char *end;
    unsigned long id = strtoul(text, &end, 10);

    if (*end || !id || id > e->count) {
        env_error(e, "no node %s", text);
        return NULL;
    }
    return e->nodes[id - 1];
}

/* The node that the at-th plain argument names. */
static struct node *node_arg(struct env *e, const struct command *c, unsigned at)
{
    if (at >= c->arg_count) {
        env_error(e, "%s: which node?", c->name);
        return NULL;
    }
    return node_of(e, c->args[at].key);
}

static const char *value_of(const struct command *c, const char *key, const char *otherwise)
{
    const struct arg *a = command_arg(c, key);

    return a && a->value_count ? a->values[0] : otherwise;
}

static bool is_true(const struct command *c, const char *key)
{
    return !strcmp(value_of(c, key, "false"), "true");
}

static void result(struct env *e, enum status st)
{
    if (st != ST_OK)
        env_error(e, "%s", st == ST_NO_LEADER || st == ST_TOO_MANY_REQUESTS ? "raft proposal dropped" : status_text(st));
}

/* ---- nodes ---- */

static unsigned read_ids(const struct command *c, const char *key, raft_id *ids, unsigned max)
{
    const struct arg *a = command_arg(c, key);
    unsigned count = 0;

    for (unsigned i = 0; a && i < a->value_count && count < max; i++)
        ids[count++] = strtoull(a->values[i], NULL, 10);
    return count;
}

/* Of etcd's options those that this core does not have on purpose. */
static bool refuses_options(struct env *e, const struct command *c)
{
    if (is_true(c, "disable-conf-change-validation")) {
        env_error(e, "disable-conf-change-validation: this core has no such option: with a change proposed before the former one is applied "
                     "two majorities need not overlap");
        return true;
    }
    if (strcmp(value_of(c, "read-only", "safe"), "safe")) {
        env_error(e, "read-only=%s: this core has no such option: clocks drift, and a read that trusts a lease may be stale",
                  value_of(c, "read-only", ""));
        return true;
    }
    return false;
}

static void do_add_nodes(struct env *e, const struct command *c, const char *input)
{
    unsigned long count = c->arg_count ? strtoul(c->args[0].key, NULL, 10) : 0;
    struct checkpoint from = {0};
    struct raft_options o = {
        .election_ticks = 3,
        .heartbeat_ticks = 1,
        .pre_vote = is_true(c, "prevote"),
        .check_quorum = is_true(c, "checkquorum"),
        .step_down_on_removal = is_true(c, "step-down-on-removal"),
        .pull_log = is_true(c, "pull-log"),
        .message_bytes_max = SIZE_MAX / 2,
        .inflight_messages_max = (unsigned)strtoul(value_of(c, "inflight", "256"), NULL, 10),
        .inflight_bytes_max = SIZE_MAX,
        .uncommitted_bytes_max = SIZE_MAX / 2,
        .applying_bytes_max = strtoull(value_of(c, "max-committed-size-per-ready", "0"), NULL, 10),
    };

    (void)input;
    if (!count || e->count + count > NODES_MAX || !o.inflight_messages_max) {
        env_error(e, "add-nodes: how many?");
        return;
    }
    if (refuses_options(e, c))
        return;
    from.conf.voter_count = read_ids(c, "voters", from.conf.voters, RAFT_VOTERS_MAX);
    from.conf.learner_count = read_ids(c, "learners", from.conf.learners, RAFT_LEARNERS_MAX);
    from.index = strtoull(value_of(c, "index", "0"), NULL, 10);
    from.term = from.index ? 1 : 0;
    snprintf(from.data, sizeof from.data, "%s", value_of(c, "content", ""));
    if ((from.conf.voter_count || from.conf.learner_count) && from.index <= 1) {
        env_error(e, "index must be specified as > 1 due to bootstrap");
        return;
    }
    while (count--)
        node_add(e, &o, &from, is_true(c, "async-storage-writes"));
}

static void do_restart(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n)
        node_restart(n);
}

static void do_campaign(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n)
        raft_campaign(n->raft);
}

static void tick(struct env *e, const struct command *c, unsigned times)
{
    struct node *n = node_arg(e, c, 0);

    for (; n && times; times--)
        raft_tick(n->raft);
}

static void do_tick_election(struct env *e, const struct command *c, const char *input)
{
    (void)input;
    tick(e, c, 3);
}

static void do_tick_heartbeat(struct env *e, const struct command *c, const char *input)
{
    (void)input;
    tick(e, c, 1);
}

static void do_set_timeout(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n)
        n->raft->election_timeout = (unsigned)strtoul(value_of(c, "timeout", "3"), NULL, 10);
}

static void do_transfer(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_of(e, value_of(c, "from", "0"));

    (void)input;
    if (n)
        result(e, raft_transfer_leader(n->raft, strtoull(value_of(c, "to", "0"), NULL, 10)));
}

static void do_forget_leader(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n)
        raft_forget_leader(n->raft);
}

static void do_step_down(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n)
        raft_step_down(n->raft);
}

static void do_set_unfit(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n)
        raft_set_fitness(n->raft, c->arg_count > 1 && !strcmp(c->args[1].key, "true") ? RAFT_UNFIT : RAFT_FIT);
}

static void do_report_snapshot(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0), *other = node_arg(e, c, 1);

    (void)input;
    if (n && other)
        raft_snapshot_sent(n->raft, other->options.id, c->arg_count > 2 ? strtoull(c->args[2].key, NULL, 10) : 0);
}

static void do_unreachable(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0), *other = node_arg(e, c, 1);

    (void)input;
    if (n && other)
        raft_unreachable(n->raft, other->options.id);
}

/* ---- proposals and reads ---- */

static void do_propose(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);
    const char *data = c->arg_count > 1 ? c->args[1].key : "";
    struct raft_entry *entry;

    (void)input;
    if (!n)
        return;
    entry = raft_entry_new(RAFT_ENTRY_NORMAL, (uint32_t)strlen(data));
    memcpy(entry->data, data, entry->len);
    result(e, raft_propose(n->raft, &entry, 1));
    raft_entry_unref(entry);
}

static void do_propose_conf_change(struct env *e, const struct command *c, const char *input)
{
    static const char *const transitions[] = {"auto", "implicit", "explicit"};
    struct node *n = node_arg(e, c, 0);
    struct raft_conf_change change = {0};
    struct raft_entry *entry;
    unsigned transition = 0;
    bool v1 = is_true(c, "v1");

    while (transition < 3 && strcmp(transitions[transition], value_of(c, "transition", "auto")))
        transition++;
    if (!n || transition == 3 || !notation_read_changes(input, &change)) {
        env_error(e, "propose-conf-change: what is that?");
        return;
    }
    if (v1 && (change.count != 1 || transition)) {
        env_error(e, "v1 conf change can only have one operation and no transition");
        return;
    }
    change.transition = (enum raft_transition)transition;
    change.context = slice_of_text(v1 ? "v1" : "");
    entry = raft_conf_change_encode(&change);
    result(e, raft_propose(n->raft, &entry, 1));
    raft_entry_unref(entry);
}

static void do_read_index(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    if (n && raft_read_index(n->raft, c->arg_count > 1 ? strtoull(c->args[1].key, NULL, 10) : 0) != ST_OK)
        env_error(e, "read dropped");
}

/* ---- messages ---- */

static bool is_local(const struct parcel *p)
{
    return p->kind != PARCEL_MESSAGE;
}

static bool is_for(const struct parcel *p, raft_id id, int type, bool drop)
{
    return p->m.to == id && !(drop && is_local(p)) && (type < 0 || (!is_local(p) && (int)p->m.type == type));
}

static size_t deliver(struct env *e, raft_id id, int type, bool drop)
{
    struct parcels due = {0};

    for (size_t i = 0; i < e->messages.count;)
        if (is_for(&e->messages.items[i], id, type, drop))
            parcels_push(&due, parcels_take(&e->messages, i));
        else
            i++;
    for (size_t i = 0; i < due.count; i++) {
        struct buf text;
        buf_init(&text);
        notation_parcel(&text, &due.items[i], 0);
        env_out(e, "%s%s", drop ? "dropped: " : "", buf_text(&text));
        buf_fini(&text);
        if (!drop)
            node_receive(e->nodes[id - 1], &due.items[i]);
        parcel_fini(&due.items[i]);
    }
    free(due.items);
    return due.count;
}

static void do_deliver(struct env *e, const struct command *c, const char *input)
{
    const char *name = value_of(c, "type", NULL);
    int type = name ? notation_message_type(name) : -1;
    raft_id dropped[NODES_MAX];
    unsigned drop_count = read_ids(c, "drop", dropped, NODES_MAX);
    size_t done = 0;

    (void)input;
    if (name && type < 0) {
        env_error(e, "unknown message type %s", name);
        return;
    }
    for (unsigned i = 0; i < c->arg_count; i++) {
        struct node *n;
        if (!c->args[i].value_count && (n = node_of(e, c->args[i].key)))
            done += deliver(e, n->options.id, type, false);
    }
    for (unsigned i = 0; i < drop_count; i++)
        done += deliver(e, dropped[i], type, true);
    if (!done)
        env_out(e, "no messages");
}

static void do_send_snapshot(struct env *e, const struct command *c, const char *input)
{
    struct node *from = node_arg(e, c, 0), *to = node_arg(e, c, 1);
    struct raft_message m = {.type = RAFT_MSG_SNAPSHOT};
    struct raft_status st;
    struct parcel p;
    struct buf text;

    (void)input;
    if (!from || !to)
        return;
    raft_get_status(from->raft, &st);
    m.from = st.id;
    m.to = to->options.id;
    m.term = st.hard.term;
    p = parcel_of(&m);
    p.snapshot = from->history[from->history_count - 1];
    p.m.index = p.snapshot.index;
    p.m.log_term = p.snapshot.term;
    buf_init(&text);
    notation_parcel(&text, &p, 0);
    env_out(e, "%s", buf_text(&text));
    buf_fini(&text);
    parcels_push(&e->messages, p);
}

/* ---- rounds ---- */

static unsigned named_nodes(struct env *e, const struct command *c, struct node **list)
{
    unsigned count = 0;

    for (unsigned i = 0; i < c->arg_count; i++)
        if (!c->args[i].value_count && (list[count] = node_of(e, c->args[i].key)))
            count++;
    return count;
}

static void process(struct env *e, const struct command *c, const char *doing, void (*fn)(struct node *n))
{
    struct node *list[ARGS_MAX];
    unsigned count = named_nodes(e, c, list);

    for (unsigned i = 0; i < count; i++) {
        if (count > 1) {
            env_out(e, "> %llu %s", (unsigned long long)list[i]->options.id, doing);
            e->indent += 2;
        }
        fn(list[i]);
        e->indent = 0;
    }
}

static void do_process_ready(struct env *e, const struct command *c, const char *input)
{
    (void)input;
    process(e, c, "handling Ready", node_process_ready);
}

static void do_process_append(struct env *e, const struct command *c, const char *input)
{
    (void)input;
    process(e, c, "processing append thread", node_process_append);
}

static void do_process_apply(struct env *e, const struct command *c, const char *input)
{
    (void)input;
    process(e, c, "processing apply thread", node_process_apply);
}

static bool has_messages(const struct env *e, raft_id id)
{
    for (size_t i = 0; i < e->messages.count; i++)
        if (is_for(&e->messages.items[i], id, -1, false))
            return true;
    return false;
}

static void under(struct env *e, const struct node *n, const char *doing)
{
    env_out(e, "> %llu %s", (unsigned long long)n->options.id, doing);
    e->indent = 2;
}

/* One round of all of them. False: nothing is left to do. */
static bool round_of(struct env *e, struct node **list, unsigned count)
{
    bool busy = false;

    for (unsigned i = 0; i < count; i++)
        if (node_has_ready(list[i])) {
            under(e, list[i], "handling Ready");
            node_process_ready(list[i]);
            e->indent = 0;
            busy = true;
        }
    for (unsigned i = 0; i < count; i++)
        if (has_messages(e, list[i]->options.id)) {
            under(e, list[i], "receiving messages");
            deliver(e, list[i]->options.id, -1, false);
            e->indent = 0;
            busy = true;
        }
    for (unsigned i = 0; i < count; i++)
        if (list[i]->append_work.count) {
            under(e, list[i], "processing append thread");
            while (list[i]->append_work.count)
                node_process_append(list[i]);
            e->indent = 0;
            busy = true;
        }
    for (unsigned i = 0; i < count; i++)
        if (list[i]->apply_work.count) {
            under(e, list[i], "processing apply thread");
            while (list[i]->apply_work.count)
                node_process_apply(list[i]);
            e->indent = 0;
            busy = true;
        }
    return busy;
}

static int level_of(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "fatal", "none"};

    for (int i = 0; i <= LEVEL_NONE; i++)
        if (!strcasecmp(names[i], name))
            return i;
    return -1;
}

static void do_log_level(struct env *e, const struct command *c, const char *input)
{
    int level = c->arg_count ? level_of(c->args[0].key) : -1;

    (void)input;
    if (level < 0)
        env_error(e, "log levels are debug, info, warn, error, fatal, none");
    else
        e->level = (enum level)level;
}

#define ROUNDS_MAX 1000u

static void do_stabilize(struct env *e, const struct command *c, const char *input)
{
    struct node *list[NODES_MAX + ARGS_MAX];
    raft_id dropped[NODES_MAX];
    unsigned drop_count = read_ids(c, "drop", dropped, NODES_MAX), rounds = 0;
    unsigned count = named_nodes(e, c, list);
    int level = level_of(value_of(c, "log-level", "")), before = (int)e->level;

    (void)input;
    if (!count)
        for (; count < e->count; count++)
            list[count] = e->nodes[count];
    if (level >= 0)
        e->level = (enum level)level;
    do
        for (unsigned i = 0; i < drop_count; i++)
            deliver(e, dropped[i], -1, true);
    while (round_of(e, list, count) && ++rounds < ROUNDS_MAX);
    if (rounds == ROUNDS_MAX)
        env_error(e, "stabilize: it does not come to rest");
    e->level = (enum level)before;
}

/* ---- what is the case ---- */

static void do_raft_log(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);
    struct buf text;

    (void)input;
    if (!n)
        return;
    if (!n->log_count) {
        env_out(e, "log is empty: first index=%llu, last index=%llu", (unsigned long long)n->compacted + 1,
                (unsigned long long)n->compacted);
        return;
    }
    buf_init(&text);
    for (size_t i = 0; i < n->log_count; i++) {
        notation_entry(&text, n->log[i]);
        buf_append_text(&text, "\n");
    }
    env_out(e, "%s", buf_text(&text));
    buf_fini(&text);
}

static void do_compact(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);
    raft_index index = c->arg_count > 1 ? strtoull(c->args[1].key, NULL, 10) : 0;
    struct raft_status st;

    if (!n)
        return;
    raft_get_status(n->raft, &st);
    if (index <= n->compacted || index > st.applied) {
        env_error(e, "compact: not there");
        return;
    }
    node_compact(n, index);
    do_raft_log(e, c, input);
}

static void do_raft_state(struct env *e, const struct command *c, const char *input)
{
    (void)c;
    (void)input;
    for (size_t i = 0; i < e->count; i++) {
        struct raft_status st;
        raft_get_status(e->nodes[i]->raft, &st);
        env_out(e, "%llu: %s (%s) Term:%llu Lead:%llu", (unsigned long long)st.id, notation_role(st.role),
                raft_conf_is_voter(raft_get_conf(e->nodes[i]->raft), st.id) ? "Voter" : "Non-Voter",
                (unsigned long long)st.hard.term, (unsigned long long)st.leader);
    }
}

static void put_progress(struct env *e, const struct node *n, raft_id id)
{
    static const char *const states[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
    const struct progress *p = &n->raft->progress[raft_slot(n->raft, id)];
    bool self = id == n->options.id, learner = !raft_conf_is_voter(&n->raft->conf, id);
    bool full = raft_progress_is_full(p, &n->raft->options);
    raft_index match = self ? n->raft->log.stored : p->match;
    struct buf text;

    buf_init(&text);
    buf_printf(&text, "%llu: %s match=%llu next=%llu%s", (unsigned long long)id, states[self ? RAFT_REPLICATE : p->state],
               (unsigned long long)match, (unsigned long long)(self ? match + 1 : p->next), learner ? " learner" : "");
    if (!self && (p->paused || p->state == RAFT_SNAPSHOT || (p->state == RAFT_REPLICATE && full)))
        buf_append_text(&text, " paused");
    if (!self && p->state == RAFT_SNAPSHOT)
        buf_printf(&text, " pendingSnap=%llu", (unsigned long long)n->raft->log.snapshot_index);
    if (!self && !p->active)
        buf_append_text(&text, " inactive");
    if (!self && p->inflight_count)
        buf_printf(&text, " inflight=%u%s", p->inflight_count, full ? "[full]" : "");
    env_out(e, "%s", buf_text(&text));
    buf_fini(&text);
}

static void do_status(struct env *e, const struct command *c, const char *input)
{
    struct node *n = node_arg(e, c, 0);

    (void)input;
    for (unsigned i = 0; n && n->raft->role == RAFT_LEADER && i < n->raft->members.count; i++)
        put_progress(e, n, n->raft->members.ids[i]);
}

static const struct {
    const char *name;
    void (*fn)(struct env *e, const struct command *c, const char *input);
    const char *keys; /* that may have a value, with a blank around each */
} COMMANDS[] = {
    {"add-nodes", do_add_nodes,
     " voters learners index content inflight prevote checkquorum step-down-on-removal async-storage-writes pull-log read-only"
     " max-committed-size-per-ready disable-conf-change-validation "},
    {"campaign", do_campaign, ""},
    {"compact", do_compact, ""},
    {"deliver-msgs", do_deliver, " drop type "},
    {"forget-leader", do_forget_leader, ""},
    {"log-level", do_log_level, ""},
    {"process-append-thread", do_process_append, ""},
    {"process-apply-thread", do_process_apply, ""},
    {"process-ready", do_process_ready, ""},
    {"propose", do_propose, ""},
    {"propose-conf-change", do_propose_conf_change, " v1 transition "},
    {"raft-log", do_raft_log, ""},
    {"raft-state", do_raft_state, ""},
    {"read-index", do_read_index, ""},
    {"report-snapshot", do_report_snapshot, ""},
    {"report-unreachable", do_unreachable, ""},
    {"restart", do_restart, ""},
    {"send-snapshot", do_send_snapshot, ""},
    {"set-randomized-election-timeout", do_set_timeout, " timeout "},
    {"set-unfit", do_set_unfit, ""},
    {"stabilize", do_stabilize, " drop log-level "},
    {"status", do_status, ""},
    {"step-down", do_step_down, ""},
    {"tick-election", do_tick_election, ""},
    {"tick-heartbeat", do_tick_heartbeat, ""},
    {"transfer-leadership", do_transfer, " from to "},
};

/* A value that nobody reads would be a rule that is not tested. */
static bool knows_keys(struct env *e, const struct command *c, const char *keys)
{
    char padded[80];

    for (unsigned i = 0; i < c->arg_count; i++) {
        snprintf(padded, sizeof padded, " %s ", c->args[i].key);
        if (c->args[i].value_count && !strstr(keys, padded)) {
            env_error(e, "%s: unknown argument %s", c->name, c->args[i].key);
            return false;
        }
    }
    return true;
}

static void one_command(struct env *e, const char *line, const char *input)
{
    struct command c;
    size_t i = 0, count = sizeof COMMANDS / sizeof COMMANDS[0];

    if (!command_parse(line, &c)) {
        env_error(e, "cannot read this command");
    } else {
        while (i < count && strcmp(COMMANDS[i].name, c.name))
            i++;
        if (i == count)
            env_error(e, "unknown command");
        else if (knows_keys(e, &c, COMMANDS[i].keys))
            COMMANDS[i].fn(e, &c, input);
    }
    command_fini(&c);
}

/* The lines below are a change's text, or further commands. */
void env_command(struct env *e, const char *line, const char *input)
{
    bool change = !strncmp(line, "propose-conf-change", 19);

    buf_clear(&e->out);
    one_command(e, line, change ? input : "");
    while (!change && *input) {
        char *next = strndup(input, strcspn(input, "\n"));
        one_command(e, next, "");
        free(next);
        input += strcspn(input, "\n");
        input += *input == '\n';
    }
    if (!buf_len(&e->out))
        buf_append_text(&e->out, "ok\n");
}
