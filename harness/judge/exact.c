// SPDX-License-Identifier: GPL-2.0
/* exact.c - event by event through a history; see exact.h. */
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "../core/clock.h"
#include "exact_int.h"

#define CELL PF_CELL_BYTES
#define LOCS_TOTAL_MAX (4u << 20) /* over all worlds */

enum x_event_kind { X_NOTHING, X_FILE, X_INV, X_RET, X_LOOK_INV, X_LOOK_RET, X_CRASH };

struct x_event {
	enum x_event_kind kind;
	uint32_t n; /* object, operation, index of the look */
};

bool x_claims(const struct j_op *op, uint32_t cell)
{
	if (!op->returned || !op->ok)
		return false;
	return !j_is_write(op) || (cell + 1) * (uint64_t)CELL <= op->off_bytes + op->value;
}

/* Events. */

static int bit_free(const struct exact *e)
{
	return ~e->pending ? __builtin_ctz(~e->pending) : -1;
}

static bool may_extend(const struct exact *e, const struct j_op *op)
{
	if (op->verb != J_PWRITE)
		return false;
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		if (e->w[i]->o[op->obj].size_bytes < op->off_bytes + op->len_bytes)
			return true;
	return x_sizes_may_change(e, op->obj);
}

/* A size that begins to move may leave a pwrite under way beyond the end. */
static void pwrites_fork(struct exact *e, int obj)
{
	for (uint32_t left = e->changers & ~e->forkers; left; left &= left - 1) {
		int b = __builtin_ctz(left);

		if (e->pend[b].op->verb == J_PWRITE && e->pend[b].op->obj == obj) {
			e->pend[b].forks = true;
			e->forkers |= 1u << b;
		}
	}
}

static bool begins(struct exact *e, const struct x_pend *p)
{
	int b = bit_free(e);

	if (b < 0)
		return false;
	e->pend[b] = *p;
	e->pend[b].used = true;
	e->pending |= 1u << b;
	e->changers |= p->op ? 1u << b : 0;
	e->forkers |= p->forks ? 1u << b : 0;
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		e->w[i]->taken &= ~(1u << b);
		e->w[i]->sized &= ~(1u << b);
		x_see_sizes(e, e->w[i]);
	}
	return true;
}

static bool inv(struct exact *e, const struct j_op *op)
{
	struct x_pend p = { .op = op };

	if (!j_changes_data(op))
		return true;
	p.forks = j_moves(op) || (op->verb == J_FAULT && op->prim == J_RESIZE) ||
		  may_extend(e, op);
	if (p.forks && op->verb != J_PWRITE)
		pwrites_fork(e, op->prim == J_COPY ? op->obj2 : op->obj);
	return begins(e, &p);
}

static int bit_of(const struct exact *e, const void *what)
{
	for (uint32_t left = e->pending; left; left &= left - 1) {
		int b = __builtin_ctz(left);

		if (e->pend[b].op == what || e->pend[b].look == what)
			return b;
	}
	return -1;
}

void x_ends(struct exact *e, int b)
{
	e->pending &= ~(1u << b);
	e->changers &= ~(1u << b);
	e->forkers &= ~(1u << b);
	e->pend[b].used = false;
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		e->w[i]->taken &= ~(1u << b);
		e->w[i]->sized &= ~(1u << b);
		if (e->out->relaxed)
			x_forget_lost(e, e->w[i], 1u << b);
	}
}

static void op_cell(struct exact *e, struct x_world *w, const struct j_op *op, int b, uint32_t cell,
		    struct x_bad_list *bad)
{
	struct x_loc *l = &w->loc[op->obj][cell];
	bool must = x_claims(op, cell) && x_in_focus(e, op->obj, cell);
	struct x_violation v = { .bad = X_BAD_CLAIM, .look = -1, .op = (uint32_t)(op - e->j->ops),
				 .obj = op->obj, .first = cell, .nr = 1 };
	struct x_effect fx[2];

	if (op->verb == J_FAULT && op->prim == J_RESIZE && !(w->taken & 1u << b))
		must = false; /* it failed, and in this world nothing came of it */
	if (!l->comp && !l->lost && must && x_touching(e, op->obj, cell) == 1u << b) {
		int nr = x_effects(e, w, 1u << b, op->obj, cell, l->v, fx);

		if (nr == 1 && fx[0].taken) {
			x_assign(e, l, fx[0].v);
			return;
		}
	}
	if (!must) {
		x_close(e, w, op->obj, cell);
		return;
	}
	if (x_settle(e, w, op->obj, cell, 1u << b))
		return;
	x_wanted(w, op->obj, cell, &v);
	x_bad_add(e, bad, &v);
}

static void op_cells(struct exact *e, struct x_world *w, const struct j_op *op, int b,
		     struct x_bad_list *bad)
{
	uint32_t first = (uint32_t)(op->off_bytes / CELL);
	uint32_t nr = (uint32_t)(op->len_bytes / CELL);

	if (op->verb == J_FAULT && op->prim == J_RESIZE) {
		first = (uint32_t)(op->size_bytes / CELL);
		nr = e->j->objects[op->obj].cells_max;
	}
	for (uint32_t i = first; i < first + nr && i < e->j->objects[op->obj].cells_max; i++)
		op_cell(e, w, op, b, i, bad);
	for (uint32_t i = first; i < first + nr && i < e->j->objects[op->obj].cells_max; i++)
		x_forget(w, op->obj, i, 1u << b);
}

void x_copy_failed(struct exact *e, struct x_world *w, const struct j_op *op)
{
	if (w->o[op->obj2].size_bytes <= w->o[op->obj].size_bytes)
		return;
	w->o[op->obj2].size_bytes = X_SIZE_ANY;
	for (uint32_t k = 0; k < e->j->objects[op->obj2].cells_max; k++)
		x_give_up(e, w, op->obj2, k);
}

static void op_settle(struct exact *e, struct x_world *w, int b, struct x_bad_list *bad)
{
	const struct j_op *op = e->pend[b].op;

	if (op->prim == J_COPY && op->verb == J_FAULT && !op->ok)
		x_copy_failed(e, w, op);
	bad->dead = e->pend[b].forks && op->ok && !(w->taken & 1u << b);
	w->unlikely += e->pend[b].forks && !op->ok && (w->taken & 1u << b);
	if (!bad->dead && !j_moves(op))
		op_cells(e, w, op, b, bad);
}

/* An operation or a look is over: whatever may have happened by now has, in some world. */
static bool over(struct exact *e, const void *what,
		 void (*settle)(struct exact *e, struct x_world *w, int b, struct x_bad_list *bad))
{
	struct x_bad_list *bad;
	int b = bit_of(e, what);

	if (b < 0)
		return false;
	if (e->forkers)
		x_worlds_fork(e);
	bad = x_bad_lists(e);
	if (!bad)
		return false;
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		settle(e, e->w[i], b, &bad[i]);
	x_keep_the_best(e, bad);
	x_ends(e, b);
	x_worlds_merge_equal(e);
	return true;
}

static bool look_inv(struct exact *e, const struct j_look *l)
{
	struct x_pend p = { .look = l };

	return begins(e, &p);
}

static void look_ret(struct exact *e, const struct j_look *l)
{
	if (!over(e, l, x_see))
		return;
	e->out->checked_sizes += l->has_size && l->size_bytes < CELL;
	for (uint32_t n = 0; n < l->nr_obs; n++)
		e->out->checked_cells += l->obs[n].nr;
}

static void make_file(struct exact *e, int obj)
{
	const struct j_object *o = &e->j->objects[obj];

	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		struct x_world *w = e->w[i];

		w->o[obj] = (struct x_object){ .made = true, .size_bytes = o->size_bytes };
		for (uint32_t k = 0; k < o->cells_max && (uint64_t)k * CELL < o->size_bytes; k++)
			w->loc[obj][k].v = (k + 1) * (uint64_t)CELL > o->size_bytes ?
						   X_ANY :
						   pf_value_make(o->made_by, o->id, k);
	}
}

/* The order of events. */

static struct x_event *events_of(const struct exact *e)
{
	const struct judge *j = e->j;
	struct x_event *ev = calloc(j->nr_events + 2, sizeof(*ev));

	if (!ev)
		return NULL;
	for (int i = 0; i < j->nr_objects; i++)
		ev[j->objects[i].made_at] = (struct x_event){ X_FILE, (uint32_t)i };
	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (!op->known)
			continue;
		ev[op->inv_at] = (struct x_event){ X_INV, n };
		if (op->returned && !(e->opt && e->opt->op_loose && e->opt->op_loose[n]))
			ev[op->ret_at] = (struct x_event){ X_RET, n };
	}
	for (uint32_t i = 0; i < j->nr_looks; i++) {
		const struct j_look *l = &j->looks[i];

		if (!l->judged || (e->opt && e->opt->look_loose && e->opt->look_loose[i]))
			continue;
		ev[l->inv_at] = (struct x_event){ X_LOOK_INV, i };
		if (l->ret_at)
			ev[l->ret_at] = (struct x_event){ X_LOOK_RET, i };
	}
	if (j->crash_at)
		ev[j->crash_at] = (struct x_event){ X_CRASH, 0 };
	return ev;
}

static bool one_event(struct exact *e, const struct x_event *ev)
{
	const struct judge *j = e->j;

	switch (ev->kind) {
	case X_FILE:
		make_file(e, (int)ev->n);
		return true;
	case X_INV:
		return inv(e, &j->ops[ev->n]);
	case X_RET:
		over(e, &j->ops[ev->n], op_settle);
		return true;
	case X_LOOK_INV:
		return look_inv(e, &j->looks[ev->n]);
	case X_LOOK_RET:
		look_ret(e, &j->looks[ev->n]);
		return true;
	case X_CRASH:
		x_crash(e);
		return true;
	case X_NOTHING:
		return true;
	}
	return true;
}

static void tell_held(struct exact *e, void (*held)(void *arg, int obj, uint32_t cell, pf_value v),
		      void *arg)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		for (int o = 0; o < e->j->nr_objects; o++)
			for (uint32_t k = 0; k < e->j->objects[o].cells_max; k++) {
				const struct x_loc *l = &e->w[i]->loc[o][k];

				if ((uint64_t)k * CELL >= e->w[i]->o[o].size_bytes)
					break;
				if (!l->comp)
					held(arg, o, k, l->v);
				for (uint32_t n = 0; l->comp && n < l->comp->nr; n++)
					held(arg, o, k, x_row(l->comp, n)[l->k].v);
			}
}

static bool setup(struct exact *e)
{
	uint64_t locs = 1;

	for (int i = 0; i < e->j->nr_objects; i++)
		locs += e->j->objects[i].cells_max;
	e->worlds_max = (uint32_t)(LOCS_TOTAL_MAX / locs);
	e->worlds_max = e->worlds_max > X_WORLDS_MAX ? X_WORLDS_MAX :
			e->worlds_max < 2	      ? 2 :
							e->worlds_max;
	e->w = calloc(X_WORLDS_MAX, sizeof(struct x_world *));
	if (!e->w)
		return false;
	e->w[0] = x_world_new(e);
	e->nr_worlds = e->w[0] ? 1 : 0;
	if (e->j->crash_at)
		e->hist = x_hist_new();
	return e->nr_worlds && (!e->j->crash_at || e->hist);
}

void x_run(const struct judge *j, const struct x_options *opt, struct x_result *out,
	   void (*held)(void *arg, int obj, uint32_t cell, pf_value v), void *arg)
{
	struct exact e = { .j = j, .opt = opt, .out = out };
	struct x_event *ev = events_of(&e);

	*out = (struct x_result){ 0 };
	if (!ev || !setup(&e)) {
		out->out_of_memory = true;
		goto out;
	}
	for (e.now = 1; e.now <= j->nr_events && !out->out_of_memory; e.now++) {
		if (!one_event(&e, &ev[e.now])) {
			out->out_of_memory = true; /* more at once than can be followed */
			break;
		}
		if (opt && ((opt->stop_at && out->nr >= opt->stop_at) ||
			    (opt->until_ns && pf_now_ns() > opt->until_ns)))
			break;
	}
	if (held && !out->out_of_memory)
		tell_held(&e, held, arg);
out:
	for (uint32_t i = 0; i < e.nr_worlds; i++)
		x_world_free(&e, e.w[i]);
	free(e.w);
	free(ev);
	x_hist_free(e.hist);
}

