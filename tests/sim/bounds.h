/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded memory: what a core and its node hold of what others want of them, counted anew and held against the limits that they were
 * given (raft/raft.h; struct node_bounds). Whatever comes, and however slow the others or the own disk are.
 */
#ifndef TESTS_SIM_BOUNDS_H
#define TESTS_SIM_BOUNDS_H

#include "raft/internal.h"
#include "tests/sim/world.h"

struct sim_member;
struct node_bounds;

/* Often small, so that every boundary is crossed. */
void bounds_draw(struct world *w, struct node_bounds *ret_bounds);

/* Bytes in its log that are not known to be committed. */
size_t bounds_uncommitted(const struct raft *core);
/* `uncommitted`: as many as it had when it was elected, or was handed at once when it had none. */
void bounds_check_core(const struct raft *core, size_t uncommitted);
void bounds_check_member(const struct sim_member *m);
/* When it has just taken a write. */
void bounds_check_taken(const struct sim_member *m);

#endif
