/* SPDX-License-Identifier: GPL-2.0 */
/*
 * history_gen.h - random small histories, coherent because they were really carried out step by
 * step, and
 * then broken in one place or not.
 */
#ifndef PF_TESTS_HISTORY_GEN_H
#define PF_TESTS_HISTORY_GEN_H

#include "brute.h"

/* A history that grows while its truth is known. */
struct maker {
	struct judge *j;
	struct brute b;
	struct brute_state s;
	uint32_t next_op;
	int wanted, pending_max;
	bool crash, crashed;
	pf_value saw[BRUTE_OPS][BRUTE_CELLS]; /* by index of the operation */
	uint16_t has[BRUTE_OPS];
	uint8_t saw_size[BRUTE_OPS];
	bool stuck[BRUTE_OPS]; /* will never return */
};

/* From this seed make @m->j (the caller frees it with judge_free): up to eight operations, two
 * files, four
 * cells and what inserts add. @with_crash: syncs, and a crash at the end with looks after it. */
void gen_make(struct maker *m, uint64_t seed, bool with_crash);
/* One thing is not as it was: a size, a claim, what a look saw. It may still be coherent. */
void gen_break(struct maker *m);
void gen_dump(const struct judge *j);
/* A stream of numbers of its own. */
void gen_seed(uint64_t seed);
/* A number below @n from the stream that gen_make or gen_seed began. */
uint32_t gen_below(uint32_t n);

#endif
