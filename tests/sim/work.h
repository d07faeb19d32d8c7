/* SPDX-License-Identifier: Apache-2.0 */
/* What a member's storage thread does, on its disk as it is: full, broken, or well. When it does that, member.c decides. */
#ifndef TESTS_SIM_WORK_H
#define TESTS_SIM_WORK_H

#include "tests/sim/member.h"

/* Write what a seal has to, or run a job. */
void work_run(struct sim_member *m, struct member_work *work);
/* The thread dies with the process, somewhere in what it has to do: before so many of its calls that a disk hears of. */
unsigned work_calls(struct sim_member *m);
/* It comes that far, and nobody hears of what it did. */
void work_end(struct sim_member *m);

#endif
