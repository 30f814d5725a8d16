// SPDX-License-Identifier: GPL-2.0
/* world.c - see world.h. */
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "world.h"

#define CELL PF_CELL_BYTES

static void no_memory(struct exact *e)
{
	e->out->out_of_memory = true;
}

struct x_world *x_world_new(const struct exact *e)
{
	struct x_world *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	for (int i = 0; i < e->j->nr_objects; i++) {
		w->loc[i] = calloc(e->j->objects[i].cells_max + 1, sizeof(struct x_loc));
		if (!w->loc[i]) {
			x_world_free(e, w);
			return NULL;
		}
	}
	return w;
}

void x_world_free(const struct exact *e, struct x_world *w)
{
	if (!w)
		return;
	for (int i = 0; i < e->j->nr_objects; i++) {
		for (uint32_t k = 0; w->loc[i] && k < e->j->objects[i].cells_max; k++) {
			struct x_comp *c = w->loc[i][k].comp;

			if (!c)
				continue;
			for (uint32_t n = 0; n < c->nr_locs; n++)
				w->loc[c->at[n].obj][c->at[n].cell].comp = NULL;
			x_comp_free(c);
		}
	}
	for (int i = 0; i < e->j->nr_objects; i++)
		free(w->loc[i]);
	free(w);
}

static bool copy_comps(const struct exact *e, const struct x_world *from, struct x_world *n)
{
	bool ok = true;

	for (int i = 0; i < e->j->nr_objects; i++)
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++) {
			struct x_comp *c = from->loc[i][k].comp;

			if (c && !c->twin)
				c->twin = ok ? x_comp_copy(c) : NULL;
			ok = ok && (!c || c->twin);
			n->loc[i][k].comp = c ? c->twin : NULL;
		}
	for (int i = 0; i < e->j->nr_objects; i++)
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++)
			if (from->loc[i][k].comp)
				from->loc[i][k].comp->twin = NULL;
	return ok;
}

struct x_world *x_world_copy(struct exact *e, const struct x_world *w)
{
	struct x_world *n = x_world_new(e);

	if (!n) {
		no_memory(e);
		return NULL;
	}
	n->taken = w->taken;
	n->sized = w->sized;
	n->unlikely = w->unlikely;
	memcpy(n->o, w->o, sizeof(n->o));
	for (int i = 0; i < e->j->nr_objects; i++)
		memcpy(n->loc[i], w->loc[i], e->j->objects[i].cells_max * sizeof(struct x_loc));
	if (copy_comps(e, w, n))
		return n;
	no_memory(e);
	x_world_free(e, n);
	return NULL;
}

static bool same_comp(const struct x_comp *a, const struct x_comp *b)
{
	return a->nr_locs == b->nr_locs && a->nr == b->nr &&
	       !memcmp(a->at, b->at, a->nr_locs * sizeof(*a->at)) &&
	       !memcmp(a->s, b->s, (size_t)a->nr * a->nr_locs * sizeof(*a->s));
}

static bool same_loc(const struct x_loc *a, const struct x_loc *b)
{
	if (!a->comp || !b->comp)
		return !a->comp && !b->comp && a->v == b->v && a->hist == b->hist &&
		       a->lost == b->lost;
	return a->k == b->k && same_comp(a->comp, b->comp);
}

bool x_world_equal(const struct exact *e, const struct x_world *a, const struct x_world *b)
{
	if (a->taken != b->taken || a->sized != b->sized)
		return false;
	for (int i = 0; i < e->j->nr_objects; i++) {
		if (a->o[i].made != b->o[i].made || a->o[i].size_bytes != b->o[i].size_bytes ||
		    a->o[i].hist != b->o[i].hist || a->o[i].lost != b->o[i].lost)
			return false;
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++)
			if (!same_loc(&a->loc[i][k], &b->loc[i][k]))
				return false;
	}
	return true;
}

void x_world_same(struct x_world *w, const struct x_world *other)
{
	if (other->unlikely < w->unlikely)
		w->unlikely = other->unlikely;
}

void x_world_join(struct exact *e, struct x_world *w, const struct x_world *from)
{
	w->taken |= from->taken;
	w->sized |= from->sized;
	x_world_same(w, from);
	for (int i = 0; i < e->j->nr_objects; i++) {
		if (w->o[i].size_bytes != from->o[i].size_bytes ||
		    w->o[i].hist != from->o[i].hist || w->o[i].lost != from->o[i].lost) {
			w->o[i].size_bytes = X_SIZE_ANY;
			w->o[i].lost |= from->o[i].lost | e->forkers;
		}
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++)
			if (!same_loc(&w->loc[i][k], &from->loc[i][k]))
				x_give_up(e, w, i, k);
	}
}

static bool pend_touches(const struct x_pend *p, int obj, uint32_t cell)
{
	const struct j_obs *b;

	if (p->op)
		return !j_moves(p->op) && j_touches(p->op, obj, cell);
	if (p->look->obj != obj)
		return false;
	b = x_seen(p->look, cell);
	return b && (b->kind == SEEN_ZERO || b->kind == SEEN_CELL);
}

uint32_t x_touching(const struct exact *e, int obj, uint32_t cell)
{
	uint32_t mask = 0;

	for (uint32_t left = e->pending; left; left &= left - 1) {
		int b = __builtin_ctz(left);

		if (pend_touches(&e->pend[b], obj, cell))
			mask |= 1u << b;
	}
	return mask;
}

uint32_t x_replaced(struct exact *e, uint32_t hist, pf_value old, pf_value v)
{
	uint32_t n;

	if (!e->hist || old == v)
		return hist;
	n = x_hist_push(e->hist, hist, old, e->now);
	if (!n)
		no_memory(e);
	return n;
}

void x_assign(struct exact *e, struct x_loc *l, pf_value v)
{
	l->hist = x_replaced(e, l->hist, l->v, v);
	l->v = v;
}

uint32_t x_may_move(const struct exact *e, int obj, uint32_t cell)
{
	uint32_t mask = 0;

	for (uint32_t left = e->forkers; left; left &= left - 1) {
		const struct j_op *op = e->pend[__builtin_ctz(left)].op;

		if (op->verb != J_PWRITE && j_touches(op, obj, cell))
			mask |= left & -left;
	}
	return mask;
}

void x_give_up(struct exact *e, struct x_world *w, int obj, uint32_t cell)
{
	struct x_comp *c = w->loc[obj][cell].comp;
	struct x_at one = { obj, cell };
	const struct x_at *at = c ? c->at : &one;

	e->out->relaxed++;
	for (uint32_t n = 0; n < (c ? c->nr_locs : 1); n++) {
		struct x_loc *l = &w->loc[at[n].obj][at[n].cell];

		*l = (struct x_loc){ .v = X_ANY };
		l->lost = x_touching(e, at[n].obj, at[n].cell) |
			  x_may_move(e, at[n].obj, at[n].cell);
	}
	x_comp_free(c);
}

struct x_comp *x_comp_of(struct exact *e, struct x_world *w, int obj, uint32_t cell)
{
	struct x_loc *l = &w->loc[obj][cell];
	struct x_comp *c = l->comp;

	if (c)
		return c;
	c = x_comp_new(1);
	if (!c) {
		no_memory(e);
		return NULL;
	}
	c->at[0] = (struct x_at){ obj, cell };
	c->s[0] = (struct x_state){ l->v, 0, l->hist };
	c->nr = 1;
	l->comp = c;
	l->k = 0;
	return c;
}

/* A write into a file of @size: is this cell in it, or at least in its last page? */
static int write_effects(const struct exact *e, const struct j_op *op, uint64_t size,
			 uint32_t cell, pf_value v, struct x_effect out[2])
{
	uint64_t off = cell * (uint64_t)CELL;
	uint64_t page = (cell - cell % e->j->page_cells) * (uint64_t)CELL;
	const struct j_object *o = &e->j->objects[op->obj];
	struct x_effect done = {
		pf_value_make((uint32_t)(op - e->j->ops), o->id, cell), true
	};
	int nr = 0;

	if (size == X_SIZE_ANY || op->verb == J_PWRITE || off < size) {
		/* The cell that the end of the file goes through is not all in it. */
		if (size != X_SIZE_ANY && op->verb != J_PWRITE && off + CELL > size)
			done.v = X_ANY;
		out[nr++] = done;
	}
	/* Beyond the end, in the last page: it goes nowhere, and nobody is told (mmap(2)). */
	if (size == X_SIZE_ANY || (off >= size && page < size && op->verb != J_PWRITE))
		out[nr++] = (struct x_effect){ v, true };
	return nr;
}

/*
 * A resize lets go of the cells behind the new end after its moment. The rest of the last page
 * may be
 * zeroed before it as well.
 */
static int resize_effects(const struct exact *e, const struct x_world *w, uint32_t bit,
			  const struct j_op *op, uint32_t cell, pf_value v, struct x_effect out[2])
{
	uint64_t off = cell * (uint64_t)CELL, page_bytes = e->j->page_cells * (uint64_t)CELL;
	pf_value zero = off < op->size_bytes && v ? X_ANY : PF_VALUE_ZERO;

	out[0] = (struct x_effect){ zero, w->taken & bit };
	if (!out[0].taken && off >= (op->size_bytes + page_bytes - 1) / page_bytes * page_bytes)
		return 0;
	return 1;
}

int x_effects(const struct exact *e, const struct x_world *w, uint32_t bit, int obj, uint32_t cell,
	      pf_value v, struct x_effect out[2])
{
	const struct j_op *op = e->pend[__builtin_ctz(bit)].op;

	if (!op)
		return 0;
	if (j_is_write(op))
		return write_effects(e, op, w->o[obj].size_bytes, cell, v, out);
	if (op->prim == J_RESIZE)
		return resize_effects(e, w, bit, op, cell, v, out);
	out[0] = (struct x_effect){ PF_VALUE_ZERO, true };
	return 1;
}

/* Looks change nothing: what explains one is taken as soon as it is there. */
static void see(const struct exact *e, const struct x_comp *c, struct x_state *row,
		const uint32_t *touching)
{
	for (uint32_t n = 0; n < c->nr_locs; n++)
		for (uint32_t left = touching[n] & ~row[n].mask; left; left &= left - 1) {
			int b = __builtin_ctz(left);
			const struct j_look *l = e->pend[b].look;
			const struct j_obs *o;

			if (!l)
				continue;
			o = x_seen(l, c->at[n].cell);
			if (row[n].v == X_ANY || row[n].v == x_seen_value(o, c->at[n].cell))
				row[n].mask |= 1u << b;
		}
}

/* All successors of row @i by one step. False when there are too many. */
static bool expand(struct exact *e, struct x_world *w, struct x_comp *c, uint32_t i,
		   const uint32_t *touching)
{
	struct x_state row[64];
	struct x_effect fx[2];

	for (uint32_t n = 0; n < c->nr_locs; n++)
		for (uint32_t left = touching[n] & ~x_row(c, i)[n].mask; left; left &= left - 1) {
			uint32_t bit = left & -left;
			struct x_state old = x_row(c, i)[n];
			int nr = x_effects(e, w, bit, c->at[n].obj, c->at[n].cell, old.v, fx);

			for (int f = 0; f < nr; f++) {
				memcpy(row, x_row(c, i), c->nr_locs * sizeof(*row));
				row[n].v = fx[f].v;
				row[n].mask = old.mask | (fx[f].taken ? bit : 0);
				row[n].hist = x_replaced(e, old.hist, old.v, fx[f].v);
				see(e, c, row, touching);
				if (x_comp_add(c, row) < 0)
					return false;
			}
		}
	return true;
}

struct x_comp *x_close(struct exact *e, struct x_world *w, int obj, uint32_t cell)
{
	struct x_comp *c = w->loc[obj][cell].lost ? NULL : x_comp_of(e, w, obj, cell);
	uint32_t touching[64] = {0};

	if (!c)
		return NULL;
	for (uint32_t n = 0; n < c->nr_locs; n++)
		touching[n] = x_touching(e, c->at[n].obj, c->at[n].cell);
	for (uint32_t i = 0; i < c->nr; i++)
		see(e, c, x_row(c, i), touching);
	x_comp_dedupe(c);
	for (uint32_t i = 0; i < c->nr; i++)
		if (!expand(e, w, c, i, touching)) {
			x_give_up(e, w, obj, cell);
			return NULL;
		}
	return c;
}

/* Cells of a component that are the same in every state, and untouched, stand alone again. */
static void fall_apart(struct x_world *w, struct x_comp *c)
{
	uint32_t kept = 0, columns[64];

	for (uint32_t n = 0; n < c->nr_locs; n++) {
		struct x_loc *l = &w->loc[c->at[n].obj][c->at[n].cell];
		bool one = !x_row(c, 0)[n].mask;

		for (uint32_t i = 1; i < c->nr && one; i++)
			one = !memcmp(&x_row(c, i)[n], &x_row(c, 0)[n], sizeof(struct x_state));
		if (!one) {
			columns[kept++] = n;
			continue;
		}
		l->comp = NULL;
		l->v = x_row(c, 0)[n].v;
		l->hist = x_row(c, 0)[n].hist;
	}
	if (!kept) {
		x_comp_free(c);
		return;
	}
	if (kept == c->nr_locs)
		return;
	for (uint32_t i = 0; i < c->nr; i++)
		for (uint32_t k = 0; k < kept; k++)
			c->s[(size_t)i * kept + k] = c->s[(size_t)i * c->nr_locs + columns[k]];
	for (uint32_t k = 0; k < kept; k++) {
		c->at[k] = c->at[columns[k]];
		w->loc[c->at[k].obj][c->at[k].cell].k = k;
	}
	c->nr_locs = kept;
	x_comp_dedupe(c);
}

bool x_settle(struct exact *e, struct x_world *w, int obj, uint32_t cell, uint32_t bit)
{
	struct x_loc *l = &w->loc[obj][cell];
	struct x_comp *c = x_close(e, w, obj, cell);
	uint32_t nr = 0;

	if (!c)
		return true; /* it has happened, or has not: nobody knows */
	for (uint32_t i = 0; i < c->nr; i++)
		nr += (x_row(c, i)[l->k].mask & bit) != 0;
	if (!nr)
		return false;
	nr = 0;
	for (uint32_t i = 0; i < c->nr; i++)
		if (x_row(c, i)[l->k].mask & bit)
			memmove(x_row(c, nr++), x_row(c, i), c->nr_locs * sizeof(struct x_state));
	c->nr = nr;
	return true;
}

void x_forget(struct x_world *w, int obj, uint32_t cell, uint32_t bit)
{
	struct x_loc *l = &w->loc[obj][cell];
	struct x_comp *c = l->comp;

	if (!c)
		return;
	for (uint32_t i = 0; i < c->nr; i++)
		x_row(c, i)[l->k].mask &= ~bit;
	x_comp_dedupe(c);
	fall_apart(w, c);
}

/* Whoever is under way when another ends has met what is not known as well. */
void x_forget_lost(const struct exact *e, struct x_world *w, uint32_t bit)
{
	for (int i = 0; i < e->j->nr_objects; i++) {
		if (w->o[i].lost)
			w->o[i].lost = (w->o[i].lost | e->forkers) & ~bit;
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++) {
			struct x_loc *l = &w->loc[i][k];

			if (l->lost)
				l->lost = (l->lost | x_touching(e, i, k) | x_may_move(e, i, k)) &
					  ~bit;
		}
	}
}
