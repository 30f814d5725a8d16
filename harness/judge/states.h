/* SPDX-License-Identifier: GPL-2.0 */
/*
 * states.h - what a cell may hold, and cells whose values depend on each other.
 *
 * A cell is certain (one value, nothing under way has touched it) or belongs to a component: one or
 * more cells with the list of all their possible joint states. A state says of each cell its value
 * and which of the operations under way have taken effect on it. Components grow when an operation
 * copies an uncertain cell into another, and fall apart when a cell becomes certain.
 */
#ifndef PF_JUDGE_STATES_H
#define PF_JUDGE_STATES_H

#include <stdbool.h>
#include <stdint.h>

#include "../core/racelog.h"

#define X_ANY UINT64_MAX /* any value: more was possible than is kept */
#ifndef X_STATES_MAX /* the fuzzers make it small */
#define X_STATES_MAX 4096u
#endif

struct x_state {
	pf_value v;
	uint32_t mask; /* operations under way that have taken effect on this cell */
	uint32_t hist; /* hist.c: what it held before; 0 where no crash makes that matter */
};

struct x_at {
	int obj;
	uint32_t cell;
};

struct x_comp {
	uint32_t nr_locs, nr, max;
	struct x_at *at;   /* nr_locs */
	struct x_state *s; /* nr rows of nr_locs */
	/* Of the first `indexed` rows, to find equal ones: open addressing, row + 1, 0: free. */
	uint32_t *table, slots, indexed;
	struct x_comp *twin; /* while a world is copied */
};

struct x_loc {
	pf_value v; /* where comp is NULL */
	uint32_t hist;
	/* More was possible than is kept: X_ANY, until none of these is under way any more, for
	 * each may still act on what is not known. */
	uint32_t lost;
	uint32_t k; /* which column of comp */
	struct x_comp *comp;
};

/* All return NULL or false when memory is short. */
struct x_comp *x_comp_new(uint32_t nr_locs);
struct x_comp *x_comp_copy(const struct x_comp *c);
void x_comp_free(struct x_comp *c);
/* Add a row unless it is there. Returns 1 if it was new, 0 if not, -1 when there are too many or
 * memory is short: the component must then be given up. @row must not point into @c. Rows that were
 * changed in place want x_comp_dedupe() before. */
int x_comp_add(struct x_comp *c, const struct x_state *row);
/* The product of two components, columns of @a first; frees both. NULL (both freed) when it is too
 * large. */
struct x_comp *x_comp_join(struct x_comp *a, struct x_comp *b);
/* Drop equal rows. */
void x_comp_dedupe(struct x_comp *c);

static inline struct x_state *x_row(const struct x_comp *c, uint32_t i)
{
	return c->s + (size_t)i * c->nr_locs;
}

/* Values a cell held before its present one, and when each was replaced. Interned: equal histories
 * have equal numbers. */
struct x_hist;
struct x_hist *x_hist_new(void);
void x_hist_free(struct x_hist *h);
/* @v was replaced at event @at. Returns the new number, 0 when memory is short. */
uint32_t x_hist_push(struct x_hist *h, uint32_t before, pf_value v, uint32_t at);
/* Walk: fill in the newest entry of @n and return the number of the rest. @n > 0. */
uint32_t x_hist_pop(const struct x_hist *h, uint32_t n, pf_value *v, uint32_t *at);

#endif
