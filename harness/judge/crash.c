// SPDX-License-Identifier: GPL-2.0
/* crash.c - what may be found after a crash: what a cell held since the last sync that covers it */
#include <string.h>

#include "../core/cell.h"
#include "exact_int.h"

#define CELL PF_CELL_BYTES
#define NO_CELL UINT32_MAX /* the size */

/* The last sync that covers the cell and succeeded: what was replaced before it began is gone. */
static uint32_t synced_at(const struct exact *e, int obj, uint32_t cell)
{
	uint32_t at = e->j->objects[obj].made_at;

	for (uint32_t n = 1; n <= e->j->last_op; n++) {
		const struct j_op *op = &e->j->ops[n];

		if (!op->known || op->verb != J_FAULT || !op->ok || op->ret_at > e->now ||
		    (e->opt && e->opt->op_loose && e->opt->op_loose[n]))
			continue;
		if (op->prim == J_SYNC && op->len_bytes && cell != NO_CELL &&
		    (cell * (uint64_t)CELL < op->off_bytes ||
		     (cell + 1) * (uint64_t)CELL > op->off_bytes + op->len_bytes))
			continue; /* O_DSYNC promises what it wrote, and no more */
		if ((op->prim == J_SYNC && op->obj == obj) || op->prim == J_SYNCFS)
			at = op->inv_at > at ? op->inv_at : at;
	}
	return at;
}

/* All that may be found instead of @v: into @out, which has room for @max. More: X_ANY alone. */
static uint32_t durable(const struct exact *e, pf_value v, uint32_t hist, uint32_t since,
			pf_value *out, uint32_t max)
{
	uint32_t nr = 0, at;

	out[nr++] = v;
	while (hist) {
		bool have = false;

		hist = x_hist_pop(e->hist, hist, &v, &at);
		if (at <= since)
			break;
		for (uint32_t i = 0; i < nr; i++)
			have |= out[i] == v;
		if (have)
			continue;
		if (nr == max) {
			out[0] = X_ANY;
			return 1;
		}
		out[nr++] = v;
	}
	return nr;
}

#define DURABLE_MAX 64u

/* Rows of a component after the crash: of each row every choice for each cell. */
static bool crash_rows(struct exact *e, const struct x_comp *c, const uint32_t *since,
		       struct x_comp *out)
{
	pf_value values[64][DURABLE_MAX];
	uint32_t nr[64], pick[64];
	struct x_state row[64];

	for (uint32_t i = 0; i < c->nr; i++) {
		uint32_t n = 0;

		for (uint32_t k = 0; k < c->nr_locs; k++) {
			nr[k] = durable(e, x_row(c, i)[k].v, x_row(c, i)[k].hist, since[k],
					values[k], DURABLE_MAX);
			pick[k] = 0;
		}
		while (n < c->nr_locs) {
			for (uint32_t k = 0; k < c->nr_locs; k++)
				row[k] = (struct x_state){ values[k][pick[k]], 0, 0 };
			if (x_comp_add(out, row) < 0)
				return false;
			for (n = 0; n < c->nr_locs && ++pick[n] == nr[n]; n++)
				pick[n] = 0;
		}
	}
	return true;
}

static void crash_comp(struct exact *e, struct x_world *w, struct x_comp *c)
{
	struct x_comp *n = x_comp_new(c->nr_locs);
	uint32_t since[64];
	bool ok = n;

	for (uint32_t k = 0; k < c->nr_locs; k++)
		since[k] = synced_at(e, c->at[k].obj, c->at[k].cell);
	if (ok)
		memcpy(n->at, c->at, c->nr_locs * sizeof(*n->at));
	ok = ok && crash_rows(e, c, since, n);
	for (uint32_t k = 0; k < c->nr_locs; k++) {
		struct x_loc *l = &w->loc[c->at[k].obj][c->at[k].cell];

		l->comp = ok && n->nr > 1 ? n : NULL;
		l->v = ok && n->nr == 1 ? x_row(n, 0)[k].v : X_ANY;
		l->hist = 0;
	}
	e->out->relaxed += !ok;
	if (!ok || n->nr == 1)
		x_comp_free(n);
	x_comp_free(c);
}

static void crash_cells(struct exact *e, struct x_world *w, int obj)
{
	for (uint32_t i = 0; i < e->j->objects[obj].cells_max; i++) {
		struct x_loc *l = &w->loc[obj][i];
		struct x_comp *c = l->comp || !l->hist ? l->comp : x_close(e, w, obj, i);

		l->lost = 0;
		/* Once: at the first of its cells. */
		for (uint32_t n = 0; c && n < c->nr_locs; n++)
			if (c->at[n].obj < obj || (c->at[n].obj == obj && c->at[n].cell < i))
				c = NULL;
		if (c)
			crash_comp(e, w, c);
	}
}

/* One world for every choice of sizes that may have been kept. */
static bool crash_sizes(struct exact *e, int obj)
{
	uint32_t nr_before = e->nr_worlds, since = synced_at(e, obj, NO_CELL);
	uint64_t sizes[8];

	for (uint32_t i = 0; i < nr_before; i++) {
		struct x_object *o = &e->w[i]->o[obj];
		uint32_t nr = durable(e, o->size_bytes, o->hist, since, sizes, 8);

		o->hist = 0;
		o->size_bytes = nr == 1 ? sizes[0] : o->size_bytes;
		for (uint32_t n = 1; n < nr; n++) {
			struct x_world *w = x_world_copy(e, e->w[i]);

			if (!w)
				return true;
			w->o[obj].size_bytes = sizes[n];
			if (!x_world_add(e, w))
				return false;
		}
	}
	return true;
}

static void cut_short(struct exact *e, struct x_world *w)
{
	for (uint32_t left = e->forkers & ~w->taken; left; left &= left - 1) {
		const struct j_op *op = e->pend[__builtin_ctz(left)].op;

		if (op->verb == J_FAULT && op->prim == J_COPY)
			x_copy_failed(e, w, op);
	}
}

void x_crash(struct exact *e)
{
	x_worlds_fork(e);
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		cut_short(e, e->w[i]);
		for (int k = 0; k < e->j->nr_objects; k++)
			for (uint32_t c = 0; c < e->j->objects[k].cells_max; c++)
				if (x_touching(e, k, c))
					x_close(e, e->w[i], k, c);
		for (int k = 0; k < e->j->nr_objects; k++)
			crash_cells(e, e->w[i], k);
	}
	for (int b = 0; b < J_PENDING_MAX; b++)
		if (e->pending & 1u << b)
			x_ends(e, b);
	for (int k = 0; k < e->j->nr_objects; k++)
		if (!crash_sizes(e, k))
			x_worlds_join(e);
	x_hist_free(e->hist);
	e->hist = NULL;
	x_worlds_merge_equal(e);
}
