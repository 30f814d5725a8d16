/* SPDX-License-Identifier: GPL-2.0 */
/*
 * coarse.h - the exact judge with one cell for many.
 *
 * Where all that a history says begins and ends at multiples of, say, a page, nothing can tell the
 * cells of a page from each other: the same operations act on each, the same looks saw of each what
 * was written to it, and what moves, moves by pages. So what is possible for one of them is
 * possible for all, and one is followed: the answer is the same, and is had in a part of the time.
 */
#ifndef PF_JUDGE_COARSE_H
#define PF_JUDGE_COARSE_H

#include "exact.h"

/* How many cells always go together, from 1 to a page's. After j_make_room(). */
uint32_t x_unit(const struct judge *j);

/* As x_run() without options, to the same result but for how often a limit was reached. */
void x_run_coarse(const struct judge *j, struct x_result *out,
		  void (*held)(void *arg, int obj, uint32_t cell, pf_value v), void *arg);

#endif
