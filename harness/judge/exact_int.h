/* SPDX-License-Identifier: GPL-2.0 */
/* exact_int.h - what the parts of the exact judge have in common; exact.c drives, by events. */
#ifndef PF_JUDGE_EXACT_INT_H
#define PF_JUDGE_EXACT_INT_H

#include "world.h"

/* Contradictions found in one world at one event; only the best world's are reported. */
struct x_bad_list {
	struct x_violation *v;
	uint32_t nr, max;
	uint64_t cells;
	bool dead; /* the world itself is impossible: what returned had not happened in it */
};

/* violations.c */
/* Is a contradiction here of account? */
bool x_in_focus(const struct exact *e, int obj, uint32_t cell);
/* What the cell may hold in @w, for the evidence. */
void x_wanted(const struct x_world *w, int obj, uint32_t cell, struct x_violation *v);
void x_bad_add(struct exact *e, struct x_bad_list *b, const struct x_violation *v);
/* One list for every world there is; NULL: out of memory. */
struct x_bad_list *x_bad_lists(struct exact *e);
/* Into the result. */
void x_report(struct exact *e, const struct x_bad_list *b);

/* worlds.c */
/* False: there was no room, and it was joined to the first world. @w is taken in any case. */
bool x_world_add(struct exact *e, struct x_world *w);
/* More worlds than can be kept: one in which whatever differs may be anything. */
void x_worlds_join(struct exact *e);
/* Every order in which the forking operations under way may have had their moment by now. */
void x_worlds_fork(struct exact *e);
void x_worlds_merge_equal(struct exact *e);
/* May something under way change the size of @obj by a moment of its own? */
bool x_sizes_may_change(const struct exact *e, int obj);
/* After an event: drop what is contradicted, or report the least contradicted. Frees @bad. */
void x_keep_the_best(struct exact *e, struct x_bad_list *bad);

/* seen.c */
/* What look @b saw, in @w. */
void x_see(struct exact *e, struct x_world *w, int b, struct x_bad_list *bad);

/* crash.c */
void x_crash(struct exact *e);

/* exact.c */
/* A clone that failed, or was cut short, may have emptied a longer target before. */
void x_copy_failed(struct exact *e, struct x_world *w, const struct j_op *op);
/* What has bit @b is not under way any more. */
void x_ends(struct exact *e, int b);

#endif
