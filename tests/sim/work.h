/* SPDX-License-Identifier: Apache-2.0 */
/* What a member's storage thread does, on its disk as it is: full, broken, or well. When it does that, member.c decides. */
#ifndef TESTS_SIM_WORK_H
#define TESTS_SIM_WORK_H

#include "tests/sim/member.h"

/* Write what a seal has to, or run a job; once. */
void work_run(struct sim_member *m, struct member_work *work);
/* The thread dies with the process: somewhere in what it has to do, jobs it did not come to are not done. */
void work_end(struct sim_member *m);

#endif
