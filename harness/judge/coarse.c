// SPDX-License-Identifier: GPL-2.0
/* coarse.c - see coarse.h. */
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "coarse.h"
#include "states.h"

#define CELL PF_CELL_BYTES

/* The greatest that divides both; 0 is divided by all. */
static uint64_t common(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static uint64_t common_of_op(uint64_t unit, const struct j_op *op)
{
	unit = common(unit, op->off_bytes);
	unit = common(unit, op->len_bytes);
	unit = common(unit, op->size_bytes);
	return j_is_write(op) ? common(unit, op->value) : unit;
}

static uint64_t common_of_look(uint64_t unit, const struct j_look *l)
{
	if (l->has_size)
		unit = common(unit, l->size_bytes);
	for (uint32_t i = 0; i < l->nr_obs && unit > CELL; i++) {
		const struct j_obs *b = &l->obs[i];

		unit = common(unit, (uint64_t)b->first * CELL);
		unit = common(unit, (uint64_t)b->nr * CELL);
		if (b->kind == SEEN_CELL)
			unit = common(unit, (uint64_t)pf_value_cell(b->value) * CELL);
	}
	return unit;
}

uint32_t x_unit(const struct judge *j)
{
	uint64_t unit = (uint64_t)j->page_cells * CELL;

	for (int i = 0; i < j->nr_objects; i++) {
		unit = common(unit, j->objects[i].size_bytes);
		unit = common(unit, (uint64_t)j->objects[i].cells_max * CELL);
	}
	for (uint32_t n = 1; n <= j->last_op && unit > CELL; n++)
		if (j->ops[n].known)
			unit = common_of_op(unit, &j->ops[n]);
	for (uint32_t i = 0; i < j->nr_looks && unit > CELL; i++)
		if (j->looks[i].judged)
			unit = common_of_look(unit, &j->looks[i]);
	return unit % CELL ? 1 : (uint32_t)(unit / CELL);
}

static void looks_free(struct j_look *looks, uint32_t nr)
{
	for (uint32_t i = 0; looks && i < nr; i++)
		free(looks[i].obs);
	free(looks);
}

static bool coarse_look(struct j_look *l, uint32_t unit)
{
	struct j_obs *obs = malloc((l->nr_obs + 1) * sizeof(*obs));

	l->size_bytes /= unit;
	if (obs && l->nr_obs)
		memcpy(obs, l->obs, l->nr_obs * sizeof(*obs));
	l->obs = obs;
	for (uint32_t i = 0; obs && i < l->nr_obs; i++) {
		struct j_obs *b = &obs[i];

		b->first /= unit;
		b->nr /= unit;
		if (b->kind == SEEN_CELL)
			b->value = pf_value_make(pf_value_op(b->value), pf_value_file(b->value),
						 pf_value_cell(b->value) / unit);
	}
	return obs;
}

/* What x_run() reads of a history, each @unit cells as one. NULL: out of memory. */
static struct judge *coarse_judge(const struct judge *j, uint32_t unit)
{
	struct judge *c = calloc(1, sizeof(*c));
	bool ok = c && (c->looks = calloc(j->nr_looks + 1, sizeof(*c->looks)));

	if (!ok) {
		free(c);
		return NULL;
	}
	c->page_cells = j->page_cells / unit;
	c->cells_each = unit;
	c->last_op = j->last_op;
	c->nr_looks = j->nr_looks;
	c->nr_objects = j->nr_objects;
	c->nr_events = j->nr_events;
	c->crash_at = j->crash_at;
	memcpy(c->ops, j->ops, (j->last_op + 1) * sizeof(c->ops[0]));
	memcpy(c->objects, j->objects, sizeof(c->objects));
	for (uint32_t n = 1; n <= c->last_op; n++) {
		c->ops[n].off_bytes /= unit;
		c->ops[n].len_bytes /= unit;
		c->ops[n].size_bytes /= unit;
		c->ops[n].value /= unit;
	}
	for (int i = 0; i < c->nr_objects; i++) {
		c->objects[i].size_bytes /= unit;
		c->objects[i].cells_max /= unit;
	}
	for (uint32_t i = 0; i < j->nr_looks; i++) {
		c->looks[i] = j->looks[i];
		ok = coarse_look(&c->looks[i], unit) && ok;
	}
	if (ok)
		return c;
	looks_free(c->looks, c->nr_looks);
	free(c);
	return NULL;
}

static pf_value fine_value(pf_value v, uint32_t unit, uint32_t nth)
{
	return v == X_ANY ? v :
				  pf_value_make(pf_value_op(v), pf_value_file(v),
						pf_value_cell(v) * unit + nth);
}

static void fine_violation(struct x_violation *v, uint32_t unit)
{
	bool size = v->bad == X_BAD_SIZE;

	v->first *= unit;
	v->nr *= size ? 1 : unit;
	for (int i = 0; i < v->nr_want; i++)
		if (!size)
			v->want[i] = fine_value(v->want[i], unit, 0);
		else if (v->want[i] != X_ANY)
			v->want[i] *= unit;
}

struct relay {
	void (*held)(void *arg, int obj, uint32_t cell, pf_value v);
	void *arg;
	uint32_t unit;
};

static void pass_on(void *arg, int obj, uint32_t cell, pf_value v)
{
	const struct relay *r = arg;

	for (uint32_t i = 0; i < r->unit; i++)
		r->held(r->arg, obj, cell * r->unit + i, fine_value(v, r->unit, i));
}

void x_run_coarse(const struct judge *j, struct x_result *out,
		  void (*held)(void *arg, int obj, uint32_t cell, pf_value v), void *arg)
{
	struct relay relay = { held, arg, x_unit(j) };
	struct judge *c = relay.unit > 1 ? coarse_judge(j, relay.unit) : NULL;

	if (!c) {
		x_run(j, NULL, out, held, arg);
		return;
	}
	x_run(c, NULL, out, held ? pass_on : NULL, &relay);
	for (uint32_t i = 0; i < out->nr; i++)
		fine_violation(&out->v[i], relay.unit);
	out->checked_cells *= relay.unit;
	out->undecided_cells *= relay.unit;
	looks_free(c->looks, c->nr_looks);
	free(c);
}
