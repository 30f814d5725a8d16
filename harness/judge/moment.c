// SPDX-License-Identifier: GPL-2.0
/* moment.c - the moment of a clone, shift or resize: many cells, or a size, change at once. */
#include <string.h>

#include "../core/cell.h"
#include "world.h"

#define CELL PF_CELL_BYTES

/*
 * A pwrite or a clone that extends does so bit by bit: every size on its way may be seen. A clone
 * onto a longer file empties that first, and then extends it.
 */
static bool extending(const struct exact *e, const struct x_world *w, const struct j_look *l)
{
	uint64_t size = w->o[l->obj].size_bytes, from;

	for (uint32_t left = e->forkers; left; left &= left - 1) {
		const struct j_op *op = e->pend[__builtin_ctz(left)].op;

		from = w->o[op->obj].size_bytes;
		if (j_moves(op) && op->prim == J_COPY && op->obj2 == l->obj &&
		    (l->size_bytes > size || size > from) && l->size_bytes <= from)
			return true;
		if (op->verb == J_PWRITE && op->obj == l->obj && l->size_bytes > size &&
		    l->size_bytes > op->off_bytes &&
		    l->size_bytes <= op->off_bytes + op->len_bytes)
			return true;
	}
	return false;
}

void x_see_sizes(const struct exact *e, struct x_world *w)
{
	for (uint32_t left = e->pending & ~w->sized; left; left &= left - 1) {
		const struct j_look *l = e->pend[__builtin_ctz(left)].look;
		uint64_t size;

		if (!l)
			continue;
		size = w->o[l->obj].size_bytes;
		if (!l->has_size || size == X_SIZE_ANY || size == l->size_bytes ||
		    extending(e, w, l))
			w->sized |= left & -left;
	}
}

static void set_size(struct exact *e, struct x_world *w, int obj, uint64_t bytes)
{
	struct x_object *o = &w->o[obj];

	if (o->lost)
		return;
	o->hist = x_replaced(e, o->hist, o->size_bytes, bytes);
	o->size_bytes = bytes;
	x_see_sizes(e, w);
}

/* Where the content of @cell of the target comes from; false: from nowhere, it becomes zero. */
static bool source_of(const struct judge *j, const struct x_world *w, const struct j_op *op,
		      uint32_t cell, uint32_t *from)
{
	uint64_t len = op->len_bytes / CELL, first = op->off_bytes / CELL, at = cell;
	uint64_t size = w->o[op->obj].size_bytes;

	if (op->prim == J_COLLAPSE)
		at += len;
	else if (op->prim == J_INSERT && at < first + len)
		return false;
	else if (op->prim == J_INSERT)
		at -= len;
	*from = (uint32_t)at;
	return at < j->objects[op->obj].cells_max && (size == X_SIZE_ANY || at * CELL < size);
}

/* Put the component of (obj2, cell2) into that of (obj, cell). */
static bool join_locs(struct exact *e, struct x_world *w, int obj, uint32_t cell, int obj2,
		      uint32_t cell2)
{
	struct x_comp *a = x_comp_of(e, w, obj, cell), *b = x_comp_of(e, w, obj2, cell2), *c;
	struct x_at locs[128];
	uint32_t nr = 0;

	if (!a || !b)
		return false;
	if (a == b)
		return true;
	for (uint32_t n = 0; n < a->nr_locs; n++)
		locs[nr++] = a->at[n];
	for (uint32_t n = 0; n < b->nr_locs; n++)
		locs[nr++] = b->at[n];
	c = x_comp_join(a, b);
	for (uint32_t n = 0; n < nr; n++) {
		struct x_loc *l = &w->loc[locs[n].obj][locs[n].cell];

		l->comp = c;
		l->k = n;
		l->v = X_ANY;
	}
	for (uint32_t n = 0; n < nr && !c; n++)
		x_give_up(e, w, locs[n].obj, locs[n].cell);
	return true;
}

/* Cells that depend on each other before the move stand in one component with what they become. A
 * cell that was certain when its turn came may be drawn in by a later one: again, until none is. */
static void join_for_move(struct exact *e, struct x_world *w, const struct j_op *op, int to)
{
	uint32_t src;

	for (bool again = true; again;) {
		again = false;
		for (uint32_t i = 0; i < e->j->objects[to].cells_max; i++) {
			const struct x_loc *l = &w->loc[to][i], *from;

			if (!j_touches(op, to, i) || !source_of(e->j, w, op, i, &src))
				continue;
			from = &w->loc[op->obj][src];
			if (l->comp && from->lost)
				x_give_up(e, w, to, i);
			if (l->comp == from->comp || l->lost)
				continue;
			if (!join_locs(e, w, to, i, op->obj, src))
				return;
			again |= l->comp && l->comp == from->comp;
		}
	}
}

/* Every row of a component after the move, read from the row before. */
static void move_comp(struct exact *e, struct x_world *w, struct x_comp *c, const struct j_op *op,
		      int to)
{
	struct x_state old[64];
	uint32_t src;

	for (uint32_t i = 0; i < c->nr; i++) {
		struct x_state *row = x_row(c, i);

		memcpy(old, row, c->nr_locs * sizeof(*old));
		for (uint32_t n = 0; n < c->nr_locs; n++) {
			pf_value v = PF_VALUE_ZERO;

			if (c->at[n].obj != to || !j_touches(op, to, c->at[n].cell))
				continue;
			if (source_of(e->j, w, op, c->at[n].cell, &src)) {
				/* Given up since they were joined, or in the same component. */
				const struct x_loc *l = &w->loc[op->obj][src];

				v = l->comp == c ? old[l->k].v : X_ANY;
			}
			row[n].v = v;
			row[n].hist = x_replaced(e, old[n].hist, old[n].v, v);
		}
	}
	x_comp_dedupe(c);
}

/* Certain cells, in an order in which none is read after it was written. */
static void move_certain(struct exact *e, struct x_world *w, const struct j_op *op, int to,
			 uint32_t i)
{
	struct x_loc *l = &w->loc[to][i];
	uint32_t src;

	if (l->comp || l->lost || !j_touches(op, to, i))
		return;
	x_assign(e, l, source_of(e->j, w, op, i, &src) ? w->loc[op->obj][src].v : PF_VALUE_ZERO);
}

/* What is under way, but for @except, must have had its chance before the cells move on. */
static void close_object(struct exact *e, struct x_world *w, int obj, uint32_t except)
{
	bool alone = !(e->pending & ~except);

	for (uint32_t i = 0; i < e->j->objects[obj].cells_max; i++)
		if (w->loc[obj][i].comp || (!alone && (x_touching(e, obj, i) & ~except)))
			x_close(e, w, obj, i);
}

static void apply_move(struct exact *e, struct x_world *w, const struct j_op *op)
{
	int to = op->prim == J_COPY ? op->obj2 : op->obj;
	uint32_t nr = e->j->objects[to].cells_max;

	join_for_move(e, w, op, to);
	/* Components first: they read certain cells nowhere, all their sources are joined in. */
	for (uint32_t i = 0; i < nr; i++) {
		struct x_comp *c = w->loc[to][i].comp;

		/* Once: at the first of its cells in the target. */
		for (uint32_t n = 0; c && n < c->nr_locs; n++)
			if (c->at[n].obj == to && c->at[n].cell < i)
				c = NULL;
		if (c)
			move_comp(e, w, c, op, to);
	}
	for (uint32_t i = 0; i < nr; i++)
		move_certain(e, w, op, to, op->prim == J_INSERT ? nr - 1 - i : i);
}

static uint64_t size_after(const struct j_op *op, uint64_t bytes)
{
	uint64_t end = op->off_bytes + op->len_bytes;

	if (op->verb == J_PWRITE)
		return bytes == X_SIZE_ANY || bytes >= end ? bytes : end;
	if (op->prim == J_RESIZE)
		return op->size_bytes;
	if (bytes == X_SIZE_ANY || op->prim == J_COPY)
		return bytes;
	if (op->prim == J_INSERT)
		return bytes + op->len_bytes;
	if (bytes <= op->off_bytes) /* nothing of it is in the file; the kernel refuses that */
		return bytes;
	return bytes - op->off_bytes > op->len_bytes ? bytes - op->len_bytes : op->off_bytes;
}

void x_apply(struct exact *e, struct x_world *w, uint32_t bit)
{
	const struct j_op *op = e->pend[__builtin_ctz(bit)].op;
	int to = op->prim == J_COPY ? op->obj2 : op->obj;
	uint64_t bytes = size_after(op, w->o[op->obj].size_bytes);

	close_object(e, w, op->obj, bit);
	if (to != op->obj)
		close_object(e, w, to, bit);
	if (j_moves(op))
		apply_move(e, w, op);
	w->taken |= bit;
	set_size(e, w, to, bytes);
}
