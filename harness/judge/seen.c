// SPDX-License-Identifier: GPL-2.0
/* seen.c - does what a look saw contradict a world, and what excuses it? */
#include <string.h>

#include "../core/cell.h"
#include "exact_int.h"

#define CELL PF_CELL_BYTES

const struct j_obs *x_seen(const struct j_look *l, uint32_t cell)
{
	uint32_t lo = 0, hi = l->nr_obs;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (l->obs[mid].first + l->obs[mid].nr <= cell)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < l->nr_obs && l->obs[lo].first <= cell ? &l->obs[lo] : NULL;
}

pf_value x_seen_value(const struct j_obs *b, uint32_t cell)
{
	return b->kind == SEEN_CELL ? b->value + (cell - b->first) : PF_VALUE_ZERO;
}

/* May a look that overlaps this have seen half of the cell, or not found the byte? */
static bool overlaps(const struct j_look *l, const struct j_op *op)
{
	return op->inv_at < l->ret_at && (!op->returned || op->ret_at > l->inv_at);
}

/* Did something later surely make the cell whole again? */
static bool made_whole(const struct judge *j, int obj, uint32_t cell, uint32_t since,
		       uint32_t until)
{
	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (op->known && op->inv_at > since && op->returned && op->ret_at < until &&
		    j_touches(op, obj, cell) && x_claims(op, cell))
			return true;
	}
	return false;
}

/*
 * No copy of 64 bytes is atomic: who looks while it is made may see half of it; and a write that
 * failed, stopped short or never returned may have left half of it.
 */
static bool torn_excused(const struct judge *j, const struct j_look *l, uint32_t cell)
{
	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (!op->known || !j_touches(op, l->obj, cell) || op->inv_at > l->ret_at)
			continue;
		if (overlaps(l, op) || !op->returned)
			return true;
		if (!x_claims(op, cell) &&
		    !made_whole(j, l->obj, cell, op->ret_at, l->inv_at))
			return true;
	}
	return false;
}

/*
 * A direct read that meets a page which a store has just made dirty is told so by EIO (iomap:
 * "Direct
 * I/O collision with buffered writes"): loud, and where one I/O spans pages, for all of them.
 */
static bool collision_excused(const struct judge *j, const struct j_look *l, const struct j_obs *b)
{
	if (strcmp(b->text, "eEIO") != 0 || strcmp(l->view, "direct") != 0)
		return false;
	for (uint32_t n = 1; n <= j->last_op; n++)
		if (j->ops[n].known && j_changes_data(&j->ops[n]) && overlaps(l, &j->ops[n]) &&
		    (j->ops[n].obj == l->obj || j->ops[n].obj2 == l->obj))
			return true;
	return false;
}

static bool changes_size(const struct j_op *op, int obj)
{
	if (op->verb == J_PWRITE)
		return op->obj == obj;
	if (op->verb != J_FAULT || op->prim < J_RESIZE || op->prim > J_COPY)
		return false;
	return (op->prim == J_COPY ? op->obj2 : op->obj) == obj;
}

/* The size is not taken together with the cells: they may be gone when a look comes to them. */
static bool no_byte_excused(const struct judge *j, const struct j_look *l, const struct j_obs *b)
{
	if (strcmp(b->text, "eEFAULT") != 0 && strcmp(b->text, "eEOF") != 0)
		return false;
	for (uint32_t n = 1; n <= j->last_op; n++)
		if (j->ops[n].known && changes_size(&j->ops[n], l->obj) &&
		    overlaps(l, &j->ops[n]))
			return true;
	return false;
}

static bool uncertain_after_crash(const struct x_world *w, int obj, uint32_t cell)
{
	return w->loc[obj][cell].comp || w->loc[obj][cell].v == X_ANY;
}

/* What is neither zero nor a cell. */
static void see_odd(struct exact *e, struct x_world *w, const struct j_look *l,
		    const struct j_obs *b, uint32_t cell, struct x_bad_list *bad)
{
	struct x_violation v = { .bad = X_BAD_READ, .look = (int)(l - e->j->looks),
				 .obj = l->obj, .first = cell, .nr = 1,
				 .obs = (uint32_t)(b - l->obs) };

	if (b->kind == SEEN_TORN &&
	    (w->loc[l->obj][cell].v == X_ANY || torn_excused(e->j, l, cell) ||
	     (l->after_mount && e->j->crash_at && uncertain_after_crash(w, l->obj, cell))))
		return;
	if (b->kind == SEEN_ERROR &&
	    (no_byte_excused(e->j, l, b) || collision_excused(e->j, l, b)))
		return;
	x_wanted(w, l->obj, cell, &v);
	x_bad_add(e, bad, &v);
}

static void see_cell(struct exact *e, struct x_world *w, const struct j_look *l, int b,
		     const struct j_obs *o, uint32_t cell, struct x_bad_list *bad)
{
	struct x_loc *loc = &w->loc[l->obj][cell];
	struct x_violation v = { .bad = X_BAD_VALUE, .look = (int)(l - e->j->looks),
				 .obj = l->obj, .first = cell, .nr = 1,
				 .obs = (uint32_t)(o - l->obs) };

	if (!loc->comp && (!e->changers || x_touching(e, l->obj, cell) == 1u << b)) {
		pf_value saw = x_seen_value(o, cell);

		if (loc->v == saw)
			return;
		if (loc->v == X_ANY) {
			e->out->undecided_cells += w == e->w[0];
			if (!loc->lost)
				x_assign(e, loc, saw);
			return;
		}
	} else if (x_settle(e, w, l->obj, cell, 1u << b)) {
		e->out->undecided_cells += loc->lost && w == e->w[0];
		return;
	}
	x_wanted(w, l->obj, cell, &v);
	x_bad_add(e, bad, &v);
}

static void see_all(struct exact *e, struct x_world *w, const struct j_look *l, int b,
		    struct x_bad_list *bad)
{
	for (uint32_t n = 0; n < l->nr_obs; n++) {
		const struct j_obs *o = &l->obs[n];

		for (uint32_t i = o->first; i < o->first + o->nr; i++) {
			if (!x_in_focus(e, l->obj, i))
				continue;
			if (o->kind == SEEN_ZERO || o->kind == SEEN_CELL)
				see_cell(e, w, l, b, o, i, bad);
			else
				see_odd(e, w, l, o, i, bad);
		}
	}
	for (uint32_t n = 0; n < l->nr_obs; n++)
		for (uint32_t i = 0; i < l->obs[n].nr; i++)
			x_forget(w, l->obj, l->obs[n].first + i, 1u << b);
}

static void see_size(struct exact *e, struct x_world *w, const struct j_look *l, int b,
		     struct x_bad_list *bad)
{
	struct x_violation v = { .bad = X_BAD_SIZE, .look = (int)(l - e->j->looks), .obj = l->obj,
				 .nr = 1 };

	if (w->sized & 1u << b || (e->opt && e->opt->nr_focus))
		return;
	v.want[v.nr_want++] = w->o[l->obj].size_bytes;
	x_bad_add(e, bad, &v);
}

void x_see(struct exact *e, struct x_world *w, int b, struct x_bad_list *bad)
{
	see_size(e, w, e->pend[b].look, b, bad);
	see_all(e, w, e->pend[b].look, b, bad);
}
