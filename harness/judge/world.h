/* SPDX-License-Identifier: GPL-2.0 */
/* world.h - one choice of when each clone, shift and resize happened, and all that may be in it. */
#ifndef PF_JUDGE_WORLD_H
#define PF_JUDGE_WORLD_H

#include "exact.h"
#include "states.h"

#define X_SIZE_ANY UINT64_MAX
#ifndef X_WORLDS_MAX /* the fuzzers make it small */
#define X_WORLDS_MAX 1024u
#endif

struct x_object {
	bool made;
	uint64_t size_bytes; /* X_SIZE_ANY */
	uint32_t hist;	     /* of sizes */
	uint32_t lost;	     /* as of cells */
};

struct x_world {
	uint32_t taken; /* operations under way whose moment is over in this world */
	uint32_t sized; /* looks under way whose size is explained */
	uint32_t unlikely; /* operations that failed and had their moment all the same */
	struct x_object o[J_OBJECTS_MAX];
	struct x_loc *loc[J_OBJECTS_MAX]; /* judge.objects[].cells_max each */
};

/* What is under way. */
struct x_pend {
	bool used;
	const struct j_op *op; /* one of the two */
	const struct j_look *look;
	bool forks; /* has a moment of its own: clone, shift, resize, a pwrite that may extend */
};

struct exact {
	const struct judge *j;
	const struct x_options *opt;
	struct x_result *out;
	struct x_hist *hist; /* NULL: no crash will ask */
	struct x_pend pend[J_PENDING_MAX];
	uint32_t pending, changers, forkers; /* masks */
	struct x_world **w;
	uint32_t nr_worlds, worlds_max;
	uint32_t now; /* event */
};

struct x_world *x_world_new(const struct exact *e);
struct x_world *x_world_copy(struct exact *e, const struct x_world *w);
void x_world_free(const struct exact *e, struct x_world *w);
bool x_world_equal(const struct exact *e, const struct x_world *a, const struct x_world *b);
/* Make @w hold all that @w or @from does, cells that differ as X_ANY. */
/* @other is @w, and may have come about with less that is unlikely. */
void x_world_same(struct x_world *w, const struct x_world *other);
void x_world_join(struct exact *e, struct x_world *w, const struct x_world *from);

/* Pending operations that act on or look at this cell by themselves. */
uint32_t x_touching(const struct exact *e, int obj, uint32_t cell);
/* All that what is under way may have made of the cell by now. Its component, NULL when track of
 * it is
 * lost (the cell is X_ANY then). */
struct x_comp *x_close(struct exact *e, struct x_world *w, int obj, uint32_t cell);
/* Keep the states where @bit has been taken at the cell; if there are none, keep all: false. */
bool x_settle(struct exact *e, struct x_world *w, int obj, uint32_t cell, uint32_t bit);
/* The operation is over: its bit is free. Only when all its cells are settled, for until then it is
 * still under way for the others. */
void x_forget(struct x_world *w, int obj, uint32_t cell, uint32_t bit);
/* The same for cells and sizes of which track is lost, wherever they are. */
void x_forget_lost(const struct exact *e, struct x_world *w, uint32_t bit);
/* Operations under way that may yet act on the cell by a moment of their own. */
uint32_t x_may_move(const struct exact *e, int obj, uint32_t cell);
/* A certain cell gets a value. */
void x_assign(struct exact *e, struct x_loc *l, pf_value v);
/* The cell may hold anything from here on, until nothing of what is under way is left. */
void x_give_up(struct exact *e, struct x_world *w, int obj, uint32_t cell);
/* What operation @bit makes of a cell that holds @v in @w: up to two results, each with whether
 * it is
 * the operation's full effect. Returns their number; 0: it has no effect there now. */
struct x_effect {
	pf_value v;
	bool taken;
};
int x_effects(const struct exact *e, const struct x_world *w, uint32_t bit, int obj, uint32_t cell,
	      pf_value v, struct x_effect out[2]);
/* The history of a cell (or size) that held @old and gets @v: @hist and the value it loses, if that
 * is wanted after a crash. */
uint32_t x_replaced(struct exact *e, uint32_t hist, pf_value old, pf_value v);
/* The component of a cell, made if it has none. NULL: track of it is lost. */
struct x_comp *x_comp_of(struct exact *e, struct x_world *w, int obj, uint32_t cell);

/* moment.c */
/* The moment of a forking operation. */
void x_apply(struct exact *e, struct x_world *w, uint32_t bit);
/* Note which looks under way have their size explained now. */
void x_see_sizes(const struct exact *e, struct x_world *w);

#endif
