/* SPDX-License-Identifier: GPL-2.0 */
/*
 * exact.h - is there an order of the operations that explains all that was seen?
 *
 * Just-in-time linearization (Lowe, "Testing for linearizability", 2017), with the state taken
 * apart
 * (Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015): operations
 * that act on each cell at a moment of its own (writes, holes, the zeroing of a truncate) and
 * observations are followed cell by cell; operations that act at one moment on many cells or on a
 * size (clones, shifts, resizes) fork the world. The answer is exact as long as no limit is
 * reached;
 * beyond one, cells take any value (relaxed > 0), which can miss and never invents.
 */
#ifndef PF_JUDGE_EXACT_H
#define PF_JUDGE_EXACT_H

#include "judge.h"

#define X_WANT_MAX 4

enum x_bad {
	X_BAD_VALUE,   /* no order has the look see this */
	X_BAD_SIZE,    /* nor this size */
	X_BAD_CLAIM,   /* an operation claims an effect on bytes that the file did not have */
	X_BAD_READ,    /* an error or a torn cell where nothing excuses it */
};

/* Consecutive cells with the same contradiction. */
struct x_violation {
	enum x_bad bad;
	int look;    /* index into judge.looks, or -1 */
	uint32_t op; /* for X_BAD_CLAIM */
	int obj;
	uint32_t first, nr; /* cells */
	uint32_t obs;	    /* index into the look's obs: what it saw */
	pf_value want[X_WANT_MAX]; /* what the first cell may have held then (or the size, bytes) */
	int nr_want;
};

struct x_result {
	struct x_violation *v; /* owned by the result */
	uint32_t nr, max;
	uint64_t nr_cells; /* that were bad, all told */
	uint64_t checked_cells, checked_sizes, undecided_cells;
	uint64_t relaxed; /* times a limit was reached */
	bool out_of_memory;
};

/* For explain.c: the same history with less of it. */
struct x_options {
	const bool *op_loose;	/* by number: as if it had never returned; NULL: none */
	const bool *look_loose; /* by index: as if it had never been; NULL: none */
	int obj;		/* >= 0: what is claimed or seen is of account only for ... */
	const struct x_focus *focus;
	uint32_t nr_focus;
	uint32_t stop_at; /* first contradiction is enough: 1 */
	uint64_t until_ns; /* pf_now_ns: after that stop, as if nothing were wrong; 0: never */
};

struct x_focus {
	int obj;
	uint32_t cell;
};

/* Judge. @opt may be NULL. Free with x_result_free. @gone, if not NULL, is called at the end for
 * every value that may be in a file then. */
void x_run(const struct judge *j, const struct x_options *opt, struct x_result *out,
	   void (*held)(void *arg, int obj, uint32_t cell, pf_value v), void *arg);
void x_result_free(struct x_result *r);

/* What look @l saw of @cell: its obs, or NULL. */
const struct j_obs *x_seen(const struct j_look *l, uint32_t cell);
/* The value of @cell in a run of SEEN_ZERO or SEEN_CELL. */
pf_value x_seen_value(const struct j_obs *b, uint32_t cell);
/* Does @op claim to have had its effect on all of @cell? Only then must it have happened. */
bool x_claims(const struct j_op *op, uint32_t cell);

#endif
