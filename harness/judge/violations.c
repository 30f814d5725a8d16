// SPDX-License-Identifier: GPL-2.0
/* violations.c - contradictions, gathered world by world. */
#include <stdlib.h>

#include "exact_int.h"

bool x_in_focus(const struct exact *e, int obj, uint32_t cell)
{
	if (!e->opt || !e->opt->nr_focus)
		return true;
	for (uint32_t i = 0; i < e->opt->nr_focus; i++)
		if (e->opt->focus[i].obj == obj && e->opt->focus[i].cell == cell)
			return true;
	return false;
}

static void add_want(struct x_violation *v, pf_value value)
{
	for (int i = 0; i < v->nr_want; i++)
		if (v->want[i] == value)
			return;
	if (v->nr_want < X_WANT_MAX)
		v->want[v->nr_want++] = value;
}

static bool continues(const struct x_violation *last, const struct x_violation *v)
{
	if (last->bad != v->bad || last->look != v->look || last->op != v->op ||
	    last->obj != v->obj || last->first + last->nr != v->first || last->obs != v->obs ||
	    last->nr_want != v->nr_want)
		return false;
	for (int i = 0; i < v->nr_want; i++)
		if (pf_value_op(last->want[i]) != pf_value_op(v->want[i]))
			return false;
	return true;
}

void x_bad_add(struct exact *e, struct x_bad_list *b, const struct x_violation *v)
{
	b->cells += v->bad == X_BAD_SIZE ? 1 : e->j->cells_each;
	if (b->nr && continues(&b->v[b->nr - 1], v)) {
		b->v[b->nr - 1].nr++;
		return;
	}
	if (b->nr == b->max) {
		uint32_t max = b->max ? 2 * b->max : 16;
		struct x_violation *more = realloc(b->v, max * sizeof(*more));

		if (!more) {
			e->out->out_of_memory = true;
			return;
		}
		b->v = more;
		b->max = max;
	}
	b->v[b->nr++] = *v;
}

void x_report(struct exact *e, const struct x_bad_list *b)
{
	struct x_result *r = e->out;

	r->nr_cells += b->cells;
	for (uint32_t i = 0; i < b->nr; i++) {
		if (r->nr == r->max) {
			uint32_t max = r->max ? 2 * r->max : 16;
			struct x_violation *more = realloc(r->v, max * sizeof(*more));

			if (!more) {
				r->out_of_memory = true;
				return;
			}
			r->v = more;
			r->max = max;
		}
		r->v[r->nr++] = b->v[i];
	}
}

void x_wanted(const struct x_world *w, int obj, uint32_t cell, struct x_violation *v)
{
	const struct x_loc *l = &w->loc[obj][cell];

	if (!l->comp)
		add_want(v, l->v);
	for (uint32_t i = 0; l->comp && i < l->comp->nr; i++)
		add_want(v, x_row(l->comp, i)[l->k].v);
}

/* One list for every world there is. */
struct x_bad_list *x_bad_lists(struct exact *e)
{
	struct x_bad_list *bad = calloc(e->nr_worlds, sizeof(*bad));

	e->out->out_of_memory |= !bad;
	return bad;
}

void x_result_free(struct x_result *r)
{
	free(r->v);
	r->v = NULL;
}
