/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is heard: raftd/roster.c as it is, with a greeting where one life of a member first speaks to one life of another. Stands in for
 * raftd's connections and its storage thread.
 */
#ifndef TESTS_SIM_GREETING_H
#define TESTS_SIM_GREETING_H

#include <stdbool.h>

#include "common/error.h"

struct sim_member;

/* At its start, with a node; at its end. */
enum status greeting_open(struct sim_member *m, struct error *ret_error) MUST_CHECK;
void greeting_close(struct sim_member *m);
/* What `from` says reaches m: it was greeted, and is welcome. Who is not, and can never be again, is told so. */
bool greeting_is_heard(struct sim_member *m, struct sim_member *from);

#endif
