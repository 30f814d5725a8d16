// SPDX-License-Identifier: GPL-2.0
/*
 * explain.c - see explain.h.
 *
 * A kind is a name for a person; that there is a contradiction does not hang on it. The least
 * set is
 * found by leaving out: an operation that is let loose (it may have happened at any time, or
 * not) and
 * a look that is forgotten can only make more orders possible, so whatever still contradicts
 * without
 * them contradicts.
 */
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "../core/clock.h"
#include "explain.h"

#define CELL PF_CELL_BYTES
#define FOCUS_MAX 32
#define LEAST_CELLS_MAX 65536u /* in all files: more takes too long to leave out one by one */
#define LEAST_TIMES 3	       /* kinds of which the least set is shown */
#define LEAST_NS 3000000000ull /* for all of them: then what is left stays in */

typedef unsigned long long ull;

/* Cells that move @op connects with @at, either way. Returns how many are in @out. */
static int connected(const struct j_op *op, struct x_focus at, bool forward, struct x_focus out[2])
{
	uint32_t first = (uint32_t)(op->off_bytes / CELL), len = (uint32_t)(op->len_bytes / CELL);
	int from = op->obj, to = op->prim == J_COPY ? op->obj2 : op->obj;
	bool down = (op->prim == J_COLLAPSE) == forward; /* towards the beginning */

	if (at.obj != (forward ? from : to))
		return 0;
	out[0] = (struct x_focus){ forward ? to : from, at.cell };
	if (op->prim == J_COPY || at.cell < first)
		return 1;
	if (!down)
		out[0].cell = at.cell + len;
	else if (at.cell >= first + len)
		out[0].cell = at.cell - len;
	else
		return 0;
	return 1;
}

static bool focus_add(struct x_focus *f, int *nr, struct x_focus at)
{
	for (int i = 0; i < *nr; i++)
		if (f[i].obj == at.obj && f[i].cell == at.cell)
			return false;
	if (*nr == FOCUS_MAX)
		return false;
	f[(*nr)++] = at;
	return true;
}

/* Could the value have come to this cell by the moves of the history? */
static bool reachable(const struct judge *j, pf_value v, int obj, uint32_t cell)
{
	struct x_focus f[FOCUS_MAX], next[2];
	uint32_t writer = pf_value_op(v), since = 0;
	int nr = 0, home = -1;

	for (int i = 0; i < j->nr_objects; i++)
		if (j->objects[i].id == pf_value_file(v))
			home = i;
	if (home < 0)
		return false;
	if (writer < J_OPS_MAX && j->ops[writer].known) {
		if (!j_is_write(&j->ops[writer]) ||
		    !j_touches(&j->ops[writer], home, pf_value_cell(v)))
			return false;
		since = j->ops[writer].inv_at;
	} else if (writer != j->objects[home].made_by) {
		return false;
	}
	focus_add(f, &nr, (struct x_focus){ home, pf_value_cell(v) });
	for (bool more = true; more;) {
		more = false;
		for (uint32_t n = 1; n <= j->last_op; n++) {
			const struct j_op *op = &j->ops[n];

			if (!op->known || !j_moves(op) || (op->returned && op->ret_at < since))
				continue;
			for (int i = 0; i < nr; i++)
				if (connected(op, f[i], true, next))
					more |= focus_add(f, &nr, next[0]);
		}
	}
	return !focus_add(f, &nr, (struct x_focus){ obj, cell });
}

static bool returned_before(const struct j_op *op, uint32_t at)
{
	return op->returned && op->ret_at < at;
}

/* The look before this one that saw the cell in another state of affairs? NULL if something may
 * have
 * changed it since, or nobody looked. */
static const struct j_look *seen_before(const struct judge *j, const struct j_look *l,
					uint32_t cell)
{
	const struct j_look *best = NULL;

	for (uint32_t i = 0; i < j->nr_looks; i++) {
		const struct j_look *k = &j->looks[i];

		if (k->judged && k->obj == l->obj && k->ret_at && k->ret_at < l->inv_at &&
		    x_seen(k, cell) && (!best || k->inv_at > best->inv_at))
			best = k;
	}
	for (uint32_t n = 1; best && n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (op->known && j_touches(op, l->obj, cell) && op->inv_at < l->ret_at &&
		    !returned_before(op, best->inv_at))
			return NULL;
	}
	return best;
}

static bool wants(const struct x_violation *v, pf_value value)
{
	for (int i = 0; i < v->nr_want; i++)
		if (v->want[i] == value)
			return true;
	return false;
}

static bool wants_only_zero(const struct x_violation *v)
{
	return v->nr_want == 1 && v->want[0] == PF_VALUE_ZERO;
}

/* Has anything made the file longer than to the cell between @since and @at? */
static bool grown(const struct judge *j, int obj, uint32_t cell, uint32_t since, uint32_t at)
{
	uint64_t off = (uint64_t)cell * CELL;

	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];
		bool resizes = op->verb == J_FAULT && op->prim == J_RESIZE;

		if (op->known && op->obj == obj && op->inv_at > since && returned_before(op, at) &&
		    ((resizes && op->size_bytes > off) ||
		     (op->verb == J_PWRITE && op->off_bytes + op->len_bytes > off)))
			return true;
	}
	return false;
}

/* May the file have ended before the cell at @at? */
static bool ends_before(const struct judge *j, int obj, uint32_t cell, uint32_t at)
{
	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (op->known && op->verb == J_FAULT && op->inv_at < at &&
		    (op->prim == J_RESIZE || op->prim == J_COLLAPSE) && j_touches(op, obj, cell) &&
		    (!op->returned || !grown(j, obj, cell, op->ret_at, at)))
			return true;
	}
	return (uint64_t)cell * CELL >= j->objects[obj].size_bytes && !grown(j, obj, cell, 0, at);
}

/* Is the cell to be zero because the file ended before it? */
static bool zero_for_the_end(const struct judge *j, const struct x_violation *v, pf_value saw,
			     uint32_t at)
{
	const struct j_op *last = NULL;

	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (op->known && j_touches(op, v->obj, v->first) && x_claims(op, v->first) &&
		    returned_before(op, at) && (!last || op->ret_at > last->ret_at))
			last = op;
	}
	if (!last)
		return false;
	if (last->verb == J_FAULT)
		return last->prim == J_RESIZE || last->prim == J_COLLAPSE;
	/* Or it was written behind the end: the file was not long enough yet when it came back. */
	return (uint32_t)(last - j->ops) == pf_value_op(saw) &&
	       ends_before(j, v->obj, v->first, last->ret_at);
}

/* What was seen was written after all that had to be there: it should not have come here at all. */
static bool newer(const struct judge *j, const struct x_violation *v, pf_value saw)
{
	uint32_t n = pf_value_op(saw);

	if (!saw || n >= J_OPS_MAX || !j->ops[n].known)
		return false;
	for (int i = 0; i < v->nr_want; i++) {
		uint32_t w = pf_value_op(v->want[i]);

		if (!w || (w < J_OPS_MAX && j->ops[w].known && j->ops[w].inv_at > j->ops[n].inv_at))
			return false;
	}
	return true;
}

static const char *kind_of_value(const struct judge *j, const struct x_violation *v)
{
	const struct j_look *l = &j->looks[v->look];
	pf_value saw = x_seen_value(&l->obs[v->obs], v->first);
	const struct j_look *before = seen_before(j, l, v->first);
	const struct j_obs *then = before ? x_seen(before, v->first) : NULL;

	if (saw && !reachable(j, saw, v->obj, v->first))
		return pf_value_file(saw) == j->objects[v->obj].id ? "misplaced" : "foreign";
	if (l->after_mount && j->crash_at)
		return "not-durable";
	if (saw && wants_only_zero(v) && zero_for_the_end(j, v, saw, l->inv_at))
		return "past-eof";
	if (then && (then->kind == SEEN_ZERO || then->kind == SEEN_CELL) &&
	    wants(v, x_seen_value(then, v->first)))
		return strcmp(before->view, l->view) != 0 ? "view-split" : "stale";
	if (newer(j, v, saw))
		return "view-split";
	return wants_only_zero(v) ? "stale" : "lost-write";
}

static const char *kind_of(const struct judge *j, const struct x_violation *v)
{
	const struct j_obs *b;

	if (v->bad == X_BAD_SIZE)
		return "wrong-size";
	if (v->bad == X_BAD_CLAIM)
		return "lost-write";
	if (v->bad == X_BAD_VALUE)
		return kind_of_value(j, v);
	b = &j->looks[v->look].obs[v->obs];
	if (b->kind == SEEN_FOREIGN)
		return "foreign";
	if (b->kind == SEEN_TORN)
		return "torn";
	return strstr(b->text, "EIO") ? "checksum" : "unreadable";
}

/* For a person. */

static void value_text(const struct judge *j, pf_value v, int obj, uint32_t cell, char *out,
		       size_t bytes)
{
	const char *name = "?";

	for (int i = 0; i < j->nr_objects; i++)
		if (j->objects[i].id == pf_value_file(v))
			name = j->objects[i].name;
	if (!v)
		snprintf(out, bytes, "zero");
	else if (v == UINT64_MAX)
		snprintf(out, bytes, "anything");
	else if (pf_value_file(v) == j->objects[obj].id && pf_value_cell(v) == cell)
		snprintf(out, bytes, "op %u", pf_value_op(v));
	else
		snprintf(out, bytes, "op %u of %s at %llu", pf_value_op(v), name,
			 (ull)pf_value_cell(v) * CELL);
}

static void want_text(const struct judge *j, const struct x_violation *v, char *out, size_t bytes)
{
	char text[64];
	size_t used = 0;

	*out = '\0';
	for (int i = 0; i < v->nr_want && used + 80 < bytes; i++) {
		value_text(j, v->want[i], v->obj, v->first, text, sizeof(text));
		used += (size_t)snprintf(out + used, bytes - used, "%s%s", i ? " or " : "", text);
	}
}

static void saw_text(const struct judge *j, const struct x_violation *v, char *out, size_t bytes)
{
	const struct j_obs *b = &j->looks[v->look].obs[v->obs];

	if (b->kind == SEEN_ZERO || b->kind == SEEN_CELL)
		value_text(j, x_seen_value(b, v->first), v->obj, v->first, out, bytes);
	else
		snprintf(out, bytes, "%.80s", b->text);
}

static void say(struct judge *j, const struct x_violation *v)
{
	const char *kind = kind_of(j, v);
	const struct j_look *l;
	char want[340], saw[100];

	if (v->bad == X_BAD_CLAIM) {
		judge_violation(j, kind,
				"op %u %s: success for %llu bytes that file %s did not have", v->op,
				j->ops[v->op].verb == J_WRITE ? j->channel : "write",
				(ull)v->nr * CELL, j->objects[v->obj].name);
		return;
	}
	l = &j->looks[v->look];
	if (v->bad == X_BAD_SIZE) {
		judge_violation(j, kind, "look %u %s of %s: %llu bytes long, must be %llu", l->op,
				l->view, j->objects[v->obj].name, (ull)l->size_bytes,
				(ull)v->want[0]);
		return;
	}
	want_text(j, v, want, sizeof(want));
	saw_text(j, v, saw, sizeof(saw));
	judge_violation(j, kind, "look %u %s of %s [%llu, +%llu): must be %s, saw %s", l->op,
			l->view, j->objects[v->obj].name, (ull)v->first * CELL, (ull)v->nr * CELL,
			want, saw);
}

/* The least. */

static int focus_of(const struct judge *j, const struct x_violation *v, struct x_focus *f)
{
	struct x_focus next[2];
	int nr = 0;

	focus_add(f, &nr, (struct x_focus){ v->obj, v->first });
	for (int i = 0; i < nr; i++)
		for (uint32_t n = 1; n <= j->last_op; n++) {
			const struct j_op *op = &j->ops[n];

			if (!op->known || !j_moves(op))
				continue;
			if (connected(op, f[i], true, next) &&
			    next[0].cell < j->objects[next[0].obj].cells_max)
				focus_add(f, &nr, next[0]);
			if (connected(op, f[i], false, next) &&
			    next[0].cell < j->objects[next[0].obj].cells_max)
				focus_add(f, &nr, next[0]);
		}
	return nr;
}

static bool still_contradicts(const struct judge *j, const struct x_options *opt)
{
	struct x_result r;
	bool yes;

	if (pf_now_ns() > opt->until_ns)
		return false;
	x_run(j, opt, &r, NULL, NULL);
	yes = r.nr && !r.out_of_memory;
	x_result_free(&r);
	return yes;
}

static bool sync_op(const struct j_op *op)
{
	return op->verb == J_FAULT && (op->prim == J_SYNC || op->prim == J_SYNCFS);
}

static bool acts_on(const struct j_op *op, const struct x_focus *f, int nr)
{
	if (sync_op(op))
		return true;
	for (int i = 0; i < nr; i++) {
		if (j_touches(op, f[i].obj, f[i].cell))
			return true;
		if (op->verb == J_FAULT && op->prim >= J_RESIZE && op->prim <= J_COPY &&
		    (op->obj == f[i].obj || op->obj2 == f[i].obj))
			return true;
	}
	return false;
}

static void op_text(const struct judge *j, uint32_t n, char *out, size_t bytes)
{
	static const char *const verbs[] = {"pin", "unpin", "write", "store", "pwrite", "look", ""};
	const struct j_op *op = &j->ops[n];
	const char *verb = op->verb == J_FAULT ? op->fault : verbs[op->verb];
	char range[80] = "", end[80];

	if (op->obj2 >= 0)
		snprintf(range, sizeof(range), " to %s", j->objects[op->obj2].name);
	else if (op->verb == J_FAULT && op->prim == J_RESIZE)
		snprintf(range, sizeof(range), " to %llu", (ull)op->size_bytes);
	else if (op->len_bytes)
		snprintf(range, sizeof(range), " [%llu, +%llu)", (ull)op->off_bytes,
			 (ull)op->len_bytes);
	if (!op->returned)
		snprintf(end, sizeof(end), "and never returned");
	else if (op->ok)
		snprintf(end, sizeof(end), "to %llu ns, ok", (ull)op->ret_ns);
	else
		snprintf(end, sizeof(end), "to %llu ns, %s", (ull)op->ret_ns, op->errno_name);
	snprintf(out, bytes, "op %u %s %s%s, from %llu %s", n, verb, j->objects[op->obj].name,
		 range, (ull)op->inv_ns, end);
}

static void look_text(const struct judge *j, const struct j_look *l, const struct x_focus *f,
		      int nr, char *out, size_t bytes)
{
	char saw[100] = "nothing of it";
	uint32_t cell = 0;

	for (int i = 0; i < nr; i++) {
		const struct j_obs *b = f[i].obj == l->obj ? x_seen(l, f[i].cell) : NULL;

		if (!b)
			continue;
		cell = f[i].cell;
		if (b->text)
			snprintf(saw, sizeof(saw), "%.80s", b->text);
		else
			value_text(j, x_seen_value(b, cell), l->obj, cell, saw, sizeof(saw));
		break;
	}
	snprintf(out, bytes, "look %u %s of %s, from %llu to %llu ns: at %llu %s", l->op, l->view,
		 j->objects[l->obj].name, (ull)l->inv_ns, (ull)l->ret_ns, (ull)cell * CELL, saw);
}

/* What is left, on one time line. */
static void say_least(struct judge *j, const bool *op_in, const bool *look_in,
		      const struct x_focus *f, int nr)
{
	char text[360];

	for (uint32_t at = 1; at <= j->nr_events; at++) {
		for (uint32_t n = 1; n <= j->last_op; n++)
			if (op_in[n] && j->ops[n].inv_at == at) {
				op_text(j, n, text, sizeof(text));
				judge_evidence(j, "  because %s", text);
			}
		for (uint32_t i = 0; i < j->nr_looks; i++)
			if (look_in[i] && j->looks[i].inv_at == at) {
				look_text(j, &j->looks[i], f, nr, text, sizeof(text));
				judge_evidence(j, "  because %s", text);
			}
	}
}

static void least(struct judge *j, const struct x_violation *v, uint64_t until_ns)
{
	struct x_focus f[FOCUS_MAX];
	int nr = focus_of(j, v, f);
	bool *op_loose = calloc(J_OPS_MAX, 1), *look_loose = calloc(j->nr_looks + 1, 1);
	bool *op_in = calloc(J_OPS_MAX, 1), *look_in = calloc(j->nr_looks + 1, 1);
	struct x_options opt = { .op_loose = op_loose, .look_loose = look_loose, .obj = -1,
				 .focus = f, .nr_focus = (uint32_t)nr, .stop_at = 1,
				  .until_ns = until_ns };

	if (!op_loose || !look_loose || !op_in || !look_in || !still_contradicts(j, &opt))
		goto out; /* by sizes alone, or by cells that nothing connects */
	for (uint32_t i = 0; i < j->nr_looks; i++) {
		if (!j->looks[i].judged || (int)i == v->look)
			continue;
		look_loose[i] = true;
		look_in[i] = !still_contradicts(j, &opt);
		look_loose[i] = !look_in[i];
	}
	for (uint32_t n = 1; n <= j->last_op; n++) {
		if (!j->ops[n].known || !acts_on(&j->ops[n], f, nr))
			continue;
		op_loose[n] = true;
		op_in[n] = !still_contradicts(j, &opt);
		op_loose[n] = !op_in[n];
	}
	if (v->look >= 0)
		look_in[v->look] = true;
	if (pf_now_ns() > until_ns)
		judge_evidence(j, "  (there was no time to leave out what is not needed)");
	say_least(j, op_in, look_in, f, nr);
out:
	free(op_loose);
	free(look_loose);
	free(op_in);
	free(look_in);
}

void explain(struct judge *j, const struct x_result *r)
{
	uint64_t cells = 0, until_ns = pf_now_ns() + LEAST_NS;
	const char *told[LEAST_TIMES];
	int nr_told = 0;

	for (int i = 0; i < j->nr_objects; i++)
		cells += j->objects[i].cells_max;
	for (uint32_t i = 0; i < r->nr; i++) {
		const char *kind = kind_of(j, &r->v[i]);
		bool again = j->brief || cells > LEAST_CELLS_MAX || nr_told == LEAST_TIMES;

		say(j, &r->v[i]);
		for (int k = 0; k < nr_told; k++)
			again |= !strcmp(told[k], kind);
		if (again)
			continue;
		told[nr_told++] = kind;
		least(j, &r->v[i], until_ns);
	}
}
