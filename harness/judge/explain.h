/* SPDX-License-Identifier: GPL-2.0 */
/* explain.h - what a contradiction is called, and the least that already contradicts. */
#ifndef PF_JUDGE_EXPLAIN_H
#define PF_JUDGE_EXPLAIN_H

#include "exact.h"

/* Turn the contradictions of @r into kinds and evidence of @j. */
void explain(struct judge *j, const struct x_result *r);

#endif
