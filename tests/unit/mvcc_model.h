/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store as simple as it can be, to hold the real one against: every change that ever was, in one array, looked
 * through from the front. And the log of entries, so that a real one that was reopened can be brought up to date.
 */
#ifndef TESTS_UNIT_MVCC_MODEL_H
#define TESTS_UNIT_MVCC_MODEL_H

#include "common/rng.h"
#include "mvcc/mvcc.h"

#define MODEL_KEYS 48
#define MODEL_OPS_MAX 6

struct model_change {
    mvcc_rev main;
    int64_t sub;
    unsigned key; /* ascending as the keys are */
    bool tombstone;
    uint32_t value; /* what its bytes are made from */
    int64_t lease, version;
    mvcc_rev create_rev;
    int64_t create_time_ns, time_ns;
};

struct model_op {
    bool is_delete;
    unsigned key;         /* put */
    uint32_t value;
    int64_t lease;
    unsigned from, to;    /* delete: keys from..to-1 */
};

/* A log entry. */
struct model_entry {
    int64_t time_ns;
    unsigned count;
    struct model_op ops[MODEL_OPS_MAX];
};

struct model {
    struct model_change *changes;
    size_t count, cap;
    struct model_entry *log; /* entry i has index i + 1 */
    size_t log_count, log_cap;
    mvcc_rev revision;
    int64_t last_time_ns;
};

void model_init(struct model *m);
void model_fini(struct model *m);

struct slice model_key(unsigned key);
struct slice model_value(uint32_t value, uint8_t room[64]);

/* Draw an entry, append it to the log, apply it to the model. */
void model_draw(struct model *m, struct rng *rng);
/* Apply to the store what the log has and it has not, up to an entry. */
void model_feed_to(const struct model *m, struct mvcc *s, uint64_t index);
/* All of it. */
void model_feed(const struct model *m, struct mvcc *s);
/* The change that shows at rev; NULL: the key is not there. */
const struct model_change *model_at(const struct model *m, unsigned key, mvcc_rev rev);

/* A point, a range, an open end, and what is none. */
struct mvcc_span model_draw_span(struct rng *rng);
/* Everything the store answers, against the model; random questions. */
void model_compare(const struct model *m, struct mvcc *s, struct rng *rng, unsigned questions);
/* The whole history, or that the store says it is damaged. */
enum status model_compare_history(const struct model *m, struct mvcc *s, mvcc_rev from, mvcc_rev to);
void model_check_kv(const struct model_change *c, const struct mvcc_kv *kv, bool values);

#endif
