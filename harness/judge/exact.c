// SPDX-License-Identifier: GPL-2.0
/* exact.c - event by event through a history; see exact.h. */
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "../core/clock.h"
#include "world.h"

#define CELL PF_CELL_BYTES
#define LOCS_TOTAL_MAX (4u << 20) /* over all worlds */

enum x_event_kind { X_NOTHING, X_FILE, X_INV, X_RET, X_LOOK_INV, X_LOOK_RET, X_CRASH };

struct x_event {
	enum x_event_kind kind;
	uint32_t n; /* object, operation, index of the look */
};

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

bool x_claims(const struct j_op *op, uint32_t cell)
{
	if (!op->returned || !op->ok)
		return false;
	return !j_is_write(op) || (cell + 1) * (uint64_t)CELL <= op->off_bytes + op->value;
}

/* Violations. */

static bool in_focus(const struct exact *e, int obj, uint32_t cell)
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

/* Contradictions found in one world at one event; only the best world's are reported. */
struct bad_list {
	struct x_violation *v;
	uint32_t nr, max;
	uint64_t cells;
	bool dead; /* the world itself is impossible: what returned had not happened in it */
};

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

static void bad_add(struct exact *e, struct bad_list *b, const struct x_violation *v)
{
	b->cells++;
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

static void report(struct exact *e, const struct bad_list *b)
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

/* Worlds. */

static void world_drop(struct exact *e, uint32_t i)
{
	x_world_free(e, e->w[i]);
	e->w[i] = e->w[--e->nr_worlds];
}

static void worlds_merge_equal(struct exact *e)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		for (uint32_t k = i + 1; k < e->nr_worlds;)
			if (x_world_equal(e, e->w[i], e->w[k]))
				world_drop(e, k);
			else
				k++;
}

static bool sizes_may_change(const struct exact *e, int obj)
{
	for (uint32_t left = e->forkers; left; left &= left - 1) {
		const struct j_op *op = e->pend[__builtin_ctz(left)].op;

		if ((op->prim == J_COPY ? op->obj2 : op->obj) == obj)
			return true;
	}
	return false;
}

/* More worlds than can be kept: one in which whatever differs may be anything. */
static void worlds_join(struct exact *e)
{
	struct x_world *w = e->w[0];

	while (e->nr_worlds > 1) {
		x_world_join(e, w, e->w[1]);
		world_drop(e, 1);
	}
	e->out->relaxed++;
	/* They count as taken; where they may act, nothing is certain until they have ended. */
	w->taken |= e->forkers;
	for (int i = 0; i < e->j->nr_objects; i++) {
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++)
			if (x_may_move(e, i, k))
				x_give_up(e, w, i, k);
		if (sizes_may_change(e, i)) {
			w->o[i].size_bytes = X_SIZE_ANY;
			w->o[i].lost |= e->forkers;
		}
	}
	x_see_sizes(e, w);
}

static bool world_add(struct exact *e, struct x_world *w)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		if (x_world_equal(e, e->w[i], w)) {
			x_world_free(e, w);
			return true;
		}
	if (e->nr_worlds == e->worlds_max) {
		x_world_join(e, e->w[0], w);
		x_world_free(e, w);
		return false;
	}
	e->w[e->nr_worlds++] = w;
	return true;
}

/* Every order in which the forking operations under way may have had their moment by now. */
static void worlds_fork(struct exact *e)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		for (uint32_t left = e->forkers & ~e->w[i]->taken; left; left &= left - 1) {
			struct x_world *w = x_world_copy(e, e->w[i]);

			if (!w)
				return;
			x_apply(e, w, left & -left);
			if (!world_add(e, w)) {
				worlds_join(e);
				return;
			}
		}
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
	return sizes_may_change(e, op->obj);
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

static void ends(struct exact *e, int b)
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

static void wanted(const struct x_world *w, int obj, uint32_t cell, struct x_violation *v)
{
	const struct x_loc *l = &w->loc[obj][cell];

	if (!l->comp)
		add_want(v, l->v);
	for (uint32_t i = 0; l->comp && i < l->comp->nr; i++)
		add_want(v, x_row(l->comp, i)[l->k].v);
}

static void op_cell(struct exact *e, struct x_world *w, const struct j_op *op, int b, uint32_t cell,
		    struct bad_list *bad)
{
	struct x_loc *l = &w->loc[op->obj][cell];
	bool must = x_claims(op, cell) && in_focus(e, op->obj, cell);
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
	wanted(w, op->obj, cell, &v);
	bad_add(e, bad, &v);
}

static void op_cells(struct exact *e, struct x_world *w, const struct j_op *op, int b,
		     struct bad_list *bad)
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

/* One list for every world there is. */
static struct bad_list *bad_lists(struct exact *e)
{
	struct bad_list *bad = calloc(e->nr_worlds, sizeof(*bad));

	e->out->out_of_memory |= !bad;
	return bad;
}

/* Of the worlds as they are after an event keep those without a contradiction; if there are
 * none, the
 * one with the fewest, and report those. Frees @bad. */
static void keep_the_best(struct exact *e, struct bad_list *bad)
{
	uint32_t best = 0, nr = e->nr_worlds;

	for (uint32_t i = 1; i < nr; i++)
		if (!bad[i].dead && (bad[best].dead || bad[i].cells < bad[best].cells))
			best = i;
	if (!bad[best].cells) {
		for (uint32_t i = nr; i-- > 0;)
			if (bad[i].dead || bad[i].cells)
				world_drop(e, i);
	} else {
		struct x_world *w = e->w[best];

		report(e, &bad[best]);
		e->w[best] = e->w[0];
		e->w[0] = w;
		while (e->nr_worlds > 1)
			world_drop(e, 1);
	}
	for (uint32_t i = 0; i < nr; i++)
		free(bad[i].v);
	free(bad);
}

/* A clone that failed may have emptied a longer target before. */
static void copy_failed(struct exact *e, const struct j_op *op)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		struct x_world *w = e->w[i];

		if (w->o[op->obj2].size_bytes <= w->o[op->obj].size_bytes)
			continue;
		w->o[op->obj2].size_bytes = X_SIZE_ANY;
		for (uint32_t k = 0; k < e->j->objects[op->obj2].cells_max; k++)
			x_give_up(e, w, op->obj2, k);
	}
}

static void ret(struct exact *e, const struct j_op *op)
{
	struct bad_list *bad;
	int b = bit_of(e, op);

	if (b < 0)
		return;
	if (e->forkers)
		worlds_fork(e);
	bad = bad_lists(e);
	if (!bad)
		return;
	if (op->prim == J_COPY && op->verb == J_FAULT && !op->ok)
		copy_failed(e, op);
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		bad[i].dead = e->pend[b].forks && op->ok && !(e->w[i]->taken & 1u << b);
		if (!bad[i].dead && !j_moves(op))
			op_cells(e, e->w[i], op, b, &bad[i]);
	}
	keep_the_best(e, bad);
	ends(e, b);
	worlds_merge_equal(e);
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
		    const struct j_obs *b, uint32_t cell, struct bad_list *bad)
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
	wanted(w, l->obj, cell, &v);
	bad_add(e, bad, &v);
}

static void see_cell(struct exact *e, struct x_world *w, const struct j_look *l, int b,
		     const struct j_obs *o, uint32_t cell, struct bad_list *bad)
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
	wanted(w, l->obj, cell, &v);
	bad_add(e, bad, &v);
}

static void see_all(struct exact *e, struct x_world *w, const struct j_look *l, int b,
		    struct bad_list *bad)
{
	for (uint32_t n = 0; n < l->nr_obs; n++) {
		const struct j_obs *o = &l->obs[n];

		for (uint32_t i = o->first; i < o->first + o->nr; i++) {
			if (!in_focus(e, l->obj, i))
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
		     struct bad_list *bad)
{
	struct x_violation v = { .bad = X_BAD_SIZE, .look = (int)(l - e->j->looks), .obj = l->obj,
				 .nr = 1 };

	if (w->sized & 1u << b || (e->opt && e->opt->nr_focus))
		return;
	v.want[v.nr_want++] = w->o[l->obj].size_bytes;
	bad_add(e, bad, &v);
}

static bool look_inv(struct exact *e, const struct j_look *l)
{
	struct x_pend p = { .look = l };

	return begins(e, &p);
}

static void look_ret(struct exact *e, const struct j_look *l)
{
	struct bad_list *bad;
	int b = bit_of(e, l);

	if (b < 0)
		return;
	if (e->forkers)
		worlds_fork(e);
	bad = bad_lists(e);
	if (!bad)
		return;
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		see_size(e, e->w[i], l, b, &bad[i]);
		see_all(e, e->w[i], l, b, &bad[i]);
	}
	keep_the_best(e, bad);
	ends(e, b);
	worlds_merge_equal(e);
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

/* Crash. */

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
			if (!world_add(e, w))
				return false;
		}
	}
	return true;
}

static void crash(struct exact *e)
{
	worlds_fork(e);
	for (uint32_t i = 0; i < e->nr_worlds; i++) {
		for (int k = 0; k < e->j->nr_objects; k++)
			for (uint32_t c = 0; c < e->j->objects[k].cells_max; c++)
				if (x_touching(e, k, c))
					x_close(e, e->w[i], k, c);
		for (int k = 0; k < e->j->nr_objects; k++)
			crash_cells(e, e->w[i], k);
	}
	for (int b = 0; b < J_PENDING_MAX; b++)
		if (e->pending & 1u << b)
			ends(e, b);
	for (int k = 0; k < e->j->nr_objects; k++)
		if (!crash_sizes(e, k))
			worlds_join(e);
	x_hist_free(e->hist);
	e->hist = NULL;
	worlds_merge_equal(e);
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
		ret(e, &j->ops[ev->n]);
		return true;
	case X_LOOK_INV:
		return look_inv(e, &j->looks[ev->n]);
	case X_LOOK_RET:
		look_ret(e, &j->looks[ev->n]);
		return true;
	case X_CRASH:
		crash(e);
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

void x_result_free(struct x_result *r)
{
	free(r->v);
	r->v = NULL;
}
