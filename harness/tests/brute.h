/* SPDX-License-Identifier: GPL-2.0 */
/*
 * brute.h - the model of harness/judge/README.md, tried out in every possible order.
 *
 * An oracle for the judge: it shares the history in memory with it and nothing else. Small
 * histories
 * only: BRUTE_CELLS cells a file, BRUTE_OPS operations and looks in all, sizes in whole cells.
 */
#ifndef PF_TESTS_BRUTE_H
#define PF_TESTS_BRUTE_H

#include "../judge/judge.h"

#define BRUTE_FILES 2
#define BRUTE_CELLS 8
#define BRUTE_OPS 16
#define BRUTE_HIST 14

/* A value that a cell, or at cell BRUTE_CELLS a size, held before. */
struct brute_old {
	pf_value v;
	uint8_t file, cell, at; /* when it was replaced: before this event */
	uint8_t zero[5];
};

struct brute_state {
	uint8_t at;	/* next event */
	uint8_t nr_old; /* sorted by file and cell, and then by time */
	uint16_t active; /* operations that have begun and not ended */
	uint8_t size[BRUTE_FILES], zero[2]; /* cells */
	uint16_t taken[BRUTE_OPS]; /* steps: bit c: at cell c; bit 15: the moment, or the size seen
				    */
	pf_value c[BRUTE_FILES][BRUTE_CELLS];
	struct brute_old old[BRUTE_HIST];
};

struct brute_op {
	const struct j_op *op;	   /* one of the two */
	const struct j_look *look;
	uint32_t n; /* number, or index of the look */
};

struct brute {
	const struct judge *j;
	struct brute_op ops[BRUTE_OPS];
	int nr_ops; /* in the order of their beginning */
	bool crashes;
};

/* 0, or -E2BIG when the history is too large. */
int brute_open(struct brute *b, const struct judge *j);
/* The state before the first event. */
void brute_begin(const struct brute *b, struct brute_state *s);
/* The @n-th possible next step of operation @i (0..): true with @s changed, false when there is no
 * such step. Looks take a step for each cell and one for the size, if what they saw is there; with
 * @blind they take it whatever is there. */
bool brute_step(const struct brute *b, struct brute_state *s, int i, int n, bool blind);
/* The event since which nothing of file @f that was replaced can come back: the last sync that
 * returned
 * well began then. */
uint32_t brute_synced(const struct brute *b, int f);
/* Is there an order that explains all? Explores every one. -1: given up after @states_max. */
int brute_coherent(const struct brute *b, uint64_t states_max);

#endif
