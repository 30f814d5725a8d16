// SPDX-License-Identifier: GPL-2.0
/* model.c - what each cell may hold, event by event; see judge.h for the model. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "model.h"

#define CELL PF_CELL_BYTES

static const struct j_value zero_value;

static bool same(const struct j_value *a, const struct j_value *b)
{
	if (!a->op || !b->op)
		return a->op == b->op;
	return a->op == b->op && a->id == b->id && a->cell == b->cell;
}

__attribute__((format(printf, 2, 3))) static int contradiction(struct judge *j, const char *fmt,
								...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(j->err, sizeof(j->err), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Sets. One that overflows has every value. */

static bool set_any(const struct j_set *set)
{
	return set->nr > SET_MAX;
}

static bool set_has(const struct j_set *set, const struct j_value *v)
{
	if (set_any(set))
		return true;
	for (int i = 0; i < set->nr; i++)
		if (same(&set->v[i], v))
			return true;
	return false;
}

static void set_add(struct j_set *set, const struct j_value *v)
{
	if (set_has(set, v))
		return;
	if (set->nr < SET_MAX)
		set->v[set->nr] = *v;
	set->nr++;
}

static void state_add(struct j_cell *c, const struct j_value *v, uint32_t mask)
{
	for (int i = 0; i < c->nr; i++)
		if (same(&c->s[i].v, v) && c->s[i].mask == mask)
			return;
	if (c->nr == SET_MAX) {
		c->undecided = true;
		return;
	}
	c->s[c->nr++] = (struct j_state){ *v, mask };
}

static void state_set(struct j_cell *c, const struct j_value *v)
{
	c->nr = 0;
	state_add(c, v, 0);
}

/* After any change: what the cell may hold now, it may also keep over a crash. */
static void remember(struct j_object *o, struct j_cell *c)
{
	c->seen = false;
	for (int i = 0; i < c->nr; i++) {
		set_add(&c->durable, &c->s[i].v);
		set_add(&c->ever, &c->s[i].v);
		if (o->syncs_pending)
			set_add(&c->since, &c->s[i].v);
	}
}

static void size_add(struct j_sizes *s, uint64_t bytes, uint32_t mask)
{
	for (int i = 0; i < s->nr; i++)
		if (s->s[i].bytes == bytes && s->s[i].mask == mask)
			return;
	if (s->nr < (int)(sizeof(s->s) / sizeof(s->s[0])))
		s->s[s->nr++] = (struct j_size_state){ bytes, mask };
	else
		s->any = true;
}

static void remember_sizes(struct j_object *o)
{
	for (int i = 0; i < o->sizes.nr; i++) {
		size_add(&o->durable_sizes, o->sizes.s[i].bytes, 0);
		size_add(&o->ever_sizes, o->sizes.s[i].bytes, 0);
		if (o->syncs_pending)
			size_add(&o->since_sizes, o->sizes.s[i].bytes, 0);
	}
}

static void size_bounds(const struct j_object *o, uint64_t *lo, uint64_t *hi)
{
	*lo = UINT64_MAX;
	*hi = 0;
	for (int i = 0; i < o->sizes.nr; i++) {
		uint64_t b = o->sizes.s[i].bytes;

		*lo = b < *lo ? b : *lo;
		*hi = b > *hi ? b : *hi;
	}
}

int j_find_object(const struct judge *j, const char *name)
{
	for (int i = 0; i < j->nr_objects; i++)
		if (!strcmp(j->objects[i].name, name))
			return i;
	return -1;
}

/* Cells that did not exist yet are holes. 0 or -errno. */
static int ensure_cells(struct judge *j, struct j_object *o, uint64_t bytes)
{
	uint64_t nr = (bytes + CELL - 1) / CELL;
	struct j_cell *more;

	if (nr <= o->nr_cells)
		return 0;
	if (nr > J_FILE_CELLS_MAX)
		return contradiction(j, "file %s grows past what can be judged", o->name);
	more = realloc(o->cells, nr * sizeof(*more));
	if (!more)
		return contradiction(j, "out of memory");
	o->cells = more;
	memset(more + o->nr_cells, 0, (nr - o->nr_cells) * sizeof(*more));
	for (uint64_t i = o->nr_cells; i < nr; i++) {
		state_set(&more[i], &zero_value);
		remember(o, &more[i]);
	}
	o->nr_cells = (uint32_t)nr;
	return 0;
}

static int take_file(struct judge *j, const struct j_event *ev)
{
	struct j_object *o = &j->objects[j->nr_objects];

	if (j->nr_objects == J_OBJECTS_MAX || j_find_object(j, ev->name) >= 0)
		return contradiction(j, "file %s is there already, or one too many", ev->name);
	*o = (struct j_object){ .id = ev->id };
	strcpy(o->name, ev->name);
	strcpy(o->path_name, ev->name);
	j->nr_objects++;
	if (ensure_cells(j, o, ev->size_bytes))
		return -EINVAL;
	size_add(&o->sizes, ev->size_bytes, 0);
	/* It was created and synced: nothing of before can come back. */
	o->durable_sizes.nr = 0;
	remember_sizes(o);
	for (uint32_t i = 0; i < o->nr_cells; i++) {
		struct j_value v = { ev->written ? ev->op : 0, ev->written ? ev->id : 0,
				     ev->written ? i : 0 };

		o->cells[i].durable.nr = o->cells[i].ever.nr = 0;
		state_set(&o->cells[i], &v);
		remember(o, &o->cells[i]);
	}
	return 0;
}

static bool is_write(const struct j_op *op)
{
	return op->verb == J_WRITE || op->verb == J_STORE || op->verb == J_PWRITE;
}

static bool changes_data(const struct j_op *op)
{
	if (is_write(op))
		return true;
	return op->verb == J_FAULT && op->prim >= J_ZERO && op->prim <= J_COPY;
}

/* Does the new value of a cell come from another cell? */
static bool moves_data(const struct j_op *op)
{
	return op->verb == J_FAULT &&
	       (op->prim == J_COLLAPSE || op->prim == J_INSERT || op->prim == J_COPY);
}

bool j_touches(const struct j_op *op, int obj, uint64_t cell)
{
	uint64_t off = cell * CELL;

	if (op->verb == J_FAULT && op->prim == J_COPY)
		return op->obj2 == obj;
	if (op->obj != obj || !changes_data(op))
		return false;
	if (is_write(op) || op->prim == J_ZERO)
		return off >= op->off_bytes && off < op->off_bytes + op->len_bytes;
	if (op->prim == J_RESIZE)
		return off >= op->size_bytes;
	return off >= op->off_bytes; /* collapse, insert */
}

/* The cell that @cell takes its content from under a moving op; NULL: it becomes zero. */
static struct j_cell *source_of(struct judge *j, const struct j_op *op, uint64_t cell)
{
	struct j_object *o = &j->objects[op->obj];
	uint64_t len = op->len_bytes / CELL, first = op->off_bytes / CELL;

	if (op->prim == J_COLLAPSE)
		cell += len;
	else if (op->prim == J_INSERT && cell < first + len)
		return NULL;
	else if (op->prim == J_INSERT)
		cell -= len;
	return cell < o->nr_cells ? &o->cells[cell] : NULL;
}

static struct j_object *target_of(struct judge *j, const struct j_op *op)
{
	return &j->objects[op->verb == J_FAULT && op->prim == J_COPY ? op->obj2 : op->obj];
}

/* The size a file has after @op, were it @bytes before (of the source for a copy). */
static uint64_t size_after(const struct j_op *op, uint64_t bytes)
{
	switch (op->prim) {
	case J_RESIZE:
		return op->size_bytes;
	case J_COLLAPSE:
		return bytes > op->len_bytes ? bytes - op->len_bytes : 0;
	case J_INSERT:
		return bytes + op->len_bytes;
	default:
		return bytes;
	}
}

static bool changes_size(const struct j_op *op)
{
	return op->verb == J_FAULT && op->prim >= J_RESIZE && op->prim <= J_COPY;
}

/* Let pending @op take effect in every state in which it has not yet. */
static bool close_cell(struct judge *j, const struct j_op *op, struct j_cell *c, uint64_t at,
		       uint32_t bit)
{
	int before = c->nr, nr = c->nr;
	struct j_cell *src = moves_data(op) ? source_of(j, op, at) : NULL;
	struct j_value v = zero_value;
	const struct j_set *was;

	if (is_write(op))
		v = (struct j_value){ (uint32_t)(op - j->ops), target_of(j, op)->id, (uint32_t)at };
	for (int i = 0; i < nr; i++) {
		uint32_t mask = c->s[i].mask;

		if (mask & bit)
			continue;
		if (!src) {
			state_add(c, &v, mask | bit);
			continue;
		}
		was = &op->before[src - j->objects[op->obj].cells];
		if (src->undecided || set_any(was))
			c->undecided = true;
		for (int k = 0; !c->undecided && k < was->nr; k++)
			state_add(c, &was->v[k], mask | bit);
	}
	return c->nr != before;
}

static bool close_sizes(struct judge *j, const struct j_op *op, uint32_t bit)
{
	struct j_object *o = target_of(j, op);
	const struct j_sizes *from = &j->objects[op->obj].sizes;
	int before = o->sizes.nr;

	for (int i = 0; i < before; i++)
		if (!(o->sizes.s[i].mask & bit)) {
			if (op->prim != J_COPY) {
				size_add(&o->sizes, size_after(op, o->sizes.s[i].bytes),
					 o->sizes.s[i].mask | bit);
				continue;
			}
			for (int k = 0; k < from->nr; k++)
				size_add(&o->sizes, from->s[k].bytes, o->sizes.s[i].mask | bit);
		}
	return o->sizes.nr != before;
}

static int room_for(struct judge *j, const struct j_op *op)
{
	struct j_object *from = &j->objects[op->obj], *to = target_of(j, op);
	uint64_t lo, hi;

	size_bounds(from, &lo, &hi);
	if (op->verb == J_FAULT && op->prim == J_RESIZE && op->size_bytes > hi)
		hi = op->size_bytes;
	if (op->verb == J_FAULT && op->prim == J_INSERT)
		hi += op->len_bytes;
	return ensure_cells(j, to, hi);
}

/* What the source of a pending move may have held since it began, had it not happened yet. */
static int keep_before(struct judge *j, struct j_op *op, uint32_t bit)
{
	const struct j_object *o = &j->objects[op->obj];
	bool self = target_of(j, op) == o;

	if (op->nr_before < o->nr_cells) {
		struct j_set *more = realloc(op->before, sizeof(*more) * o->nr_cells);

		if (!more)
			return contradiction(j, "out of memory");
		memset(more + op->nr_before, 0, sizeof(*more) * (o->nr_cells - op->nr_before));
		op->before = more;
		op->nr_before = o->nr_cells;
	}
	for (uint32_t i = 0; i < o->nr_cells; i++)
		for (int k = 0; k < o->cells[i].nr; k++)
			if (!self || !(o->cells[i].s[k].mask & bit))
				set_add(&op->before[i], &o->cells[i].s[k].v);
	return 0;
}

/* All that may have happened by now: pending operations, in any order, taken or not. */
static void close_all(struct judge *j)
{
	bool changed = true;

	for (int round = 0; changed && round < J_PENDING_MAX; round++) {
		changed = false;
		for (int b = 0; b < J_PENDING_MAX; b++) {
			struct j_op *op = &j->ops[j->pending[b]];
			struct j_object *o;
			uint64_t hi, lo;

			if (!j->pending[b] || !changes_data(op))
				continue;
			if (moves_data(op) && !op->overlapped)
				continue; /* nobody has looked */
			o = target_of(j, op);
			if (moves_data(op) && (keep_before(j, op, 1u << b) || room_for(j, op)))
				return;
			if (changes_size(op))
				changed |= close_sizes(j, op, 1u << b);
			size_bounds(o, &lo, &hi);
			for (uint64_t i = 0; i < o->nr_cells; i++) {
				if (!j_touches(op, (int)(o - j->objects), i))
					continue;
				if (is_write(op) && i * CELL >= hi)
					continue; /* no such byte in the file */
				if (close_cell(j, op, &o->cells[i], i, 1u << b)) {
					remember(o, &o->cells[i]);
					changed = true;
				}
			}
			remember_sizes(o);
		}
	}
	for (int b = 0; b < J_PENDING_MAX; b++) {
		struct j_op *op = &j->ops[j->pending[b]];
		uint64_t lo, hi;

		if (!j->pending[b] || !is_write(op))
			continue;
		size_bounds(&j->objects[op->obj], &lo, &hi);
		op->size_lo = lo < op->size_lo ? lo : op->size_lo;
		op->size_hi = hi > op->size_hi ? hi : op->size_hi;
	}
}

/* A move that was thought to be alone, and is looked at or synced while it is under way. */
static void expose_moves(struct judge *j)
{
	bool any = false;

	for (int b = 0; b < J_PENDING_MAX; b++) {
		struct j_op *op = &j->ops[j->pending[b]];

		if (!j->pending[b] || op->overlapped || !moves_data(op))
			continue;
		op->overlapped = any = true;
	}
	if (any)
		close_all(j);
}

static int nr_pending(const struct judge *j)
{
	int nr = 0;

	for (int b = 0; b < J_PENDING_MAX; b++)
		nr += j->pending[b] != 0;
	return nr;
}

/* What must have happened (@must) keeps only the states where it did; then its bit is free. */
static void settle_cell(struct j_object *o, struct j_cell *c, uint32_t bit, bool must)
{
	int nr = 0;

	for (int i = 0; i < c->nr; i++) {
		struct j_state s = c->s[i];

		if (must && !(s.mask & bit))
			continue;
		s.mask &= ~bit;
		for (int k = 0; k < nr; k++)
			if (same(&c->s[k].v, &s.v) && c->s[k].mask == s.mask)
				goto next;
		c->s[nr++] = s;
next:;
	}
	c->nr = (uint8_t)nr;
	remember(o, c);
}

static void settle_sizes(struct j_object *o, uint32_t bit, bool must)
{
	struct j_sizes old = o->sizes;

	o->sizes = (struct j_sizes){ .any = old.any };
	for (int i = 0; i < old.nr; i++)
		if (!must || (old.s[i].mask & bit))
			size_add(&o->sizes, old.s[i].bytes, old.s[i].mask & ~bit);
	remember_sizes(o);
}

/* A write that returned: the bytes it claims must be there, unless the file ended before them. */
static void settle_write(struct judge *j, struct j_op *op, uint32_t bit)
{
	struct j_object *o = &j->objects[op->obj];
	uint64_t claimed = op->ok ? op->value : 0, beyond = 0;
	uint64_t first = op->off_bytes / CELL, end = first + op->len_bytes / CELL;

	for (uint64_t i = first; i < end; i++) {
		bool claim = (i + 1) * CELL <= op->off_bytes + claimed;

		if (claim && i * CELL >= op->size_hi)
			beyond++;
		else if (i < o->nr_cells)
			settle_cell(o, &o->cells[i], bit, claim && (i + 1) * CELL <= op->size_lo);
	}
	if (beyond)
		judge_violation(j, "lost-write",
				"op %u %s: success for %llu bytes that file %s did not have",
				(uint32_t)(op - j->ops), j->channel,
				(unsigned long long)(beyond * CELL), o->name);
}

/* A move that was alone takes each cell's states along; nothing is approximated. */
static void apply_move(struct judge *j, const struct j_op *op)
{
	struct j_object *from = &j->objects[op->obj], *to = target_of(j, op);
	struct j_cell *old = calloc(from->nr_cells + 1, sizeof(*old));
	uint32_t nr_old = from->nr_cells;

	if (!old) {
		contradiction(j, "out of memory");
		return;
	}
	if (nr_old)
		memcpy(old, from->cells, sizeof(*old) * nr_old);
	for (uint64_t i = 0; i < to->nr_cells; i++) {
		struct j_cell *src = source_of(j, op, i), *c = &to->cells[i];

		if (!j_touches(op, (int)(to - j->objects), i))
			continue;
		if (!src) {
			state_set(c, &zero_value);
		} else {
			const struct j_cell *was = &old[src - from->cells];

			c->nr = was->nr;
			c->undecided = c->undecided || was->undecided;
			memcpy(c->s, was->s, sizeof(c->s));
		}
		remember(to, c);
	}
	free(old);
	if (op->prim == J_COPY)
		to->sizes = from->sizes;
	else
		for (int i = 0; i < to->sizes.nr; i++)
			to->sizes.s[i].bytes = size_after(op, to->sizes.s[i].bytes);
	remember_sizes(to);
}

static void begin_sync(struct judge *j, const struct j_op *op)
{
	expose_moves(j);
	for (int i = 0; i < j->nr_objects; i++) {
		struct j_object *o = &j->objects[i];

		if (op->prim == J_SYNC && op->obj != i)
			continue;
		if (o->syncs_pending++)
			continue;
		o->since_sizes = (struct j_sizes){ .any = o->sizes.any };
		remember_sizes(o);
		for (uint32_t k = 0; k < o->nr_cells; k++) {
			bool seen = o->cells[k].seen;

			o->cells[k].since.nr = 0;
			remember(o, &o->cells[k]);
			o->cells[k].seen = seen;
		}
	}
}

static void end_sync(struct judge *j, const struct j_op *op)
{
	for (int i = 0; i < j->nr_objects; i++) {
		struct j_object *o = &j->objects[i];

		if ((op->prim == J_SYNC && op->obj != i) || !o->syncs_pending)
			continue;
		o->syncs_pending--;
		if (!op->ok)
			continue;
		o->durable_sizes = o->since_sizes;
		if (op->prim == J_SYNCFS) /* fdatasync and msync promise nothing of names */
			o->path_uncertain = false;
		for (uint32_t k = 0; k < o->nr_cells; k++)
			o->cells[k].durable = o->cells[k].since;
	}
}

static void name_in_doubt(struct judge *j, const struct j_op *op, int by)
{
	if (op->prim != J_UNLINK && op->prim != J_RENAME)
		return;
	j->objects[op->obj].path_maybe += by;
	j->names_in_doubt += by;
	if (op->obj2 >= 0)
		j->objects[op->obj2].path_maybe += by;
}

static void apply_name(struct judge *j, const struct j_op *op)
{
	struct j_object *o = &j->objects[op->obj];

	o->path_uncertain = true;
	if (op->prim == J_RENAME) {
		strcpy(o->path_name, j->objects[op->obj2].path_name);
		j->objects[op->obj2].path_uncertain = true;
		j->objects[op->obj2].path_name[0] = '\0';
	} else {
		o->path_name[0] = '\0';
	}
}

static struct j_object *object_seen(struct judge *j, const struct j_event *ev)
{
	bool by_path = j->remounted;

	for (int i = 0; i < j->nr_objects; i++)
		if (!strcmp(by_path ? j->objects[i].path_name : j->objects[i].name, ev->name))
			return &j->objects[i];
	return NULL;
}

/* A view may not exist (EINVAL, ENODATA); but no file is gone after an orderly mount. */
static void look_failed(struct judge *j, const struct j_event *ev)
{
	const struct j_object *o = j->looked_at[ev->op % J_LOOKS_MAX];

	if (ev->ok || !o || (o->path_maybe && j->remounted) || (j->crashed && o->path_uncertain))
		return;
	if (!strcmp(ev->errno_name, "ENOENT") ? j->remounted && !j->crashed :
						!strcmp(ev->errno_name, "EIO"))
		judge_violation(j, "unreadable", "look %u: %s of %s", ev->op, ev->errno_name,
				o->name);
}

static int take_inv(struct judge *j, const struct j_event *ev)
{
	struct j_op *op;
	int bit = 0;

	if (!ev->op || (ev->op >= J_OPS_MAX && ev->verb != J_LOOK))
		return contradiction(j, "operation number %u", ev->op);
	if (ev->verb == J_LOOK) { /* judged when it is seen */
		j->look_events[ev->op % J_LOOKS_MAX] = j->events;
		j->looked_at[ev->op % J_LOOKS_MAX] = object_seen(j, ev);
		return 0;
	}
	op = &j->ops[ev->op];
	if (op->known)
		return contradiction(j, "operation %u begins twice", ev->op);
	*op = (struct j_op){
		.known = true,
		.verb = ev->verb,
		.prim = ev->verb == J_FAULT ? ev->prim : J_NONE,
		.off_bytes = ev->off_bytes,
		.len_bytes = ev->len_bytes,
		.size_bytes = ev->size_bytes,
		.inv_ns = ev->t_ns,
		.obj = j_find_object(j, ev->name),
		.obj2 = ev->name2 ? j_find_object(j, ev->name2) : -1,
		.bit = -1,
		.size_lo = UINT64_MAX,
	};
	if (ev->fault)
		snprintf(op->fault, sizeof(op->fault), "%s", ev->fault);
	if (op->obj < 0 || (ev->name2 && op->obj2 < 0) ||
	    ((op->prim == J_COPY || op->prim == J_RENAME) && op->obj2 < 0))
		return contradiction(j, "operation %u: no such file", ev->op);
	j->last_op = ev->op > j->last_op ? ev->op : j->last_op;
	j->events++;
	name_in_doubt(j, op, 1);
	if (ev->verb == J_FAULT && (ev->prim == J_SYNC || ev->prim == J_SYNCFS))
		begin_sync(j, op);
	if (!changes_data(op))
		return 0;
	while (bit < J_PENDING_MAX && j->pending[bit])
		bit++;
	if (bit == J_PENDING_MAX)
		return contradiction(j, "more than %d operations at once", J_PENDING_MAX);
	op->overlapped = nr_pending(j) > 0;
	for (int b = 0; b < J_PENDING_MAX; b++)
		j->ops[j->pending[b]].overlapped = true;
	op->bit = bit;
	j->pending[bit] = ev->op;
	if (room_for(j, op))
		return -EINVAL;
	/* A move that may yet turn out to be alone waits for its return. */
	if (op->overlapped || !moves_data(op))
		close_all(j);
	return 0;
}

static void settle(struct judge *j, struct j_op *op)
{
	uint32_t bit = 1u << op->bit;
	struct j_object *o = target_of(j, op);

	if (moves_data(op) && !op->overlapped && op->ok) {
		j->pending[op->bit] = 0;
		op->bit = -1;
		apply_move(j, op);
		return;
	}
	op->overlapped = true; /* a move that failed may have happened all the same */
	close_all(j);
	if (is_write(op)) {
		settle_write(j, op, bit);
	} else {
		for (uint64_t i = 0; i < o->nr_cells; i++)
			if (j_touches(op, (int)(o - j->objects), i))
				settle_cell(o, &o->cells[i], bit, op->ok);
		if (changes_size(op))
			settle_sizes(o, bit, op->ok);
	}
	j->pending[op->bit] = 0;
	op->bit = -1;
	free(op->before);
	op->before = NULL;
	op->nr_before = 0;
	close_all(j);
}

static int take_ret(struct judge *j, const struct j_event *ev)
{
	struct j_op *op = &j->ops[ev->op < J_OPS_MAX ? ev->op : 0];

	if (!op->known) {
		look_failed(j, ev);
		return 0;
	}
	if (op->returned)
		return contradiction(j, "operation %u returns twice", ev->op);
	op->returned = true;
	op->ok = ev->ok;
	op->value = ev->value;
	op->ret_ns = ev->t_ns;
	snprintf(op->errno_name, sizeof(op->errno_name), "%s", ev->ok ? "" : ev->errno_name);
	snprintf(op->detail, sizeof(op->detail), "%s", ev->text);
	j->events++;
	if (op->bit >= 0) {
		settle(j, op);
		j->last_change_events = j->events;
	}
	if (op->verb != J_FAULT)
		return 0;
	if (op->prim == J_SYNC || op->prim == J_SYNCFS)
		end_sync(j, op);
	if (op->ok && (op->prim == J_UNLINK || op->prim == J_RENAME)) {
		name_in_doubt(j, op, -1);
		apply_name(j, op);
	}
	if (op->ok && op->prim == J_CRASH)
		j->crashed = true;
	return 0;
}

/* After a crash the cells hold what may have been durable, each for itself. */
static void take_crash(struct judge *j)
{
	expose_moves(j);
	for (int b = 0; b < J_PENDING_MAX; b++)
		j->ops[j->pending[b]].bit = -1;
	memset(j->pending, 0, sizeof(j->pending));
	j->crashed = true;
	for (int i = 0; i < j->nr_objects; i++) {
		struct j_object *o = &j->objects[i];

		o->sizes = o->durable_sizes;
		for (uint32_t k = 0; k < o->nr_cells; k++) {
			struct j_cell *c = &o->cells[k];

			c->nr = 0;
			c->undecided = c->undecided || set_any(&c->durable);
			for (int v = 0; !c->undecided && v < c->durable.nr; v++)
				state_add(c, &c->durable.v[v], 0);
			c->seen = false;
		}
	}
}

/* Observations. */

static void value_text(const struct j_value *v, char *out, size_t bytes)
{
	if (!v->op)
		snprintf(out, bytes, "zero");
	else
		snprintf(out, bytes, "op %u", v->op);
}

static const char *violation_kind(const struct judge *j, const struct j_cell *c,
				  const struct j_seen *seen, const struct j_value *v, bool after)
{
	switch (seen->kind) {
	case SEEN_FOREIGN:
		return "foreign";
	case SEEN_TORN:
		return "torn";
	case SEEN_ERROR:
		return strstr(seen->text, "EIO") ? "checksum" : "unreadable";
	default:
		break;
	}
	if (after && j->crashed)
		return set_has(&c->ever, v) ? "not-durable" : "misplaced";
	if (!set_has(&c->ever, v) && v->op)
		return "misplaced";
	if (c->seen)
		return "view-split";
	for (int i = 0; i < c->nr; i++)
		if (c->s[i].v.op && is_write(&j->ops[c->s[i].v.op]))
			return "lost-write";
	return "stale";
}

struct bad_run {
	const char *kind;
	uint64_t first, nr;
	char want[80], saw[80];
};

static void bad_run_end(struct judge *j, struct bad_run *b, const struct j_event *ev)
{
	if (b->nr)
		judge_violation(j, b->kind, "look %u %s of %s [%llu, +%llu): must be %s, saw %s",
				ev->op, ev->view, ev->name, (unsigned long long)(b->first * CELL),
				(unsigned long long)(b->nr * CELL), b->want, b->saw);
	b->nr = 0;
}

static void want_text(const struct j_cell *c, char *out, size_t bytes)
{
	size_t used = 0;
	char text[24];

	for (int i = 0; i < c->nr && used + 30 < bytes; i++) {
		bool again = false;

		for (int k = 0; k < i; k++)
			again |= same(&c->s[k].v, &c->s[i].v);
		if (again)
			continue;
		value_text(&c->s[i].v, text, sizeof(text));
		used += (size_t)snprintf(out + used, bytes - used, "%s%s", used ? " or " : "",
					 text);
	}
}

/* Keep the states that explain @v. False if none does. */
static bool narrow(struct j_cell *c, const struct j_value *v)
{
	int nr = 0;

	for (int i = 0; i < c->nr; i++)
		if (same(&c->s[i].v, v))
			c->s[nr++] = c->s[i];
	if (!nr)
		return false;
	c->nr = (uint8_t)nr;
	c->seen = true;
	return true;
}

/* Is an operation under way that changes this cell? */
static bool being_changed(const struct judge *j, const struct j_object *o, uint64_t at)
{
	for (int b = 0; b < J_PENDING_MAX; b++)
		if (j->pending[b] && j_touches(&j->ops[j->pending[b]], (int)(o - j->objects), at))
			return true;
	return false;
}

static bool holds(const struct j_cell *c, const struct j_value *v)
{
	for (int i = 0; i < c->nr; i++)
		if (same(&c->s[i].v, v))
			return true;
	return false;
}

static bool no_such_byte(const struct j_seen *seen)
{
	return seen->kind == SEEN_ERROR && (!strcmp(seen->text, "eEFAULT") || !strcmp(seen->text, "eEOF"));
}

/* Did something begin or end while it looked? Then it may have seen any earlier moment. */
static bool crowded(const struct judge *j, const struct j_event *ev)
{
	return j->look_events[ev->op % J_LOOKS_MAX] != j->events;
}

static void see_cell(struct judge *j, struct j_object *o, uint64_t at, const struct j_seen *seen,
		     const struct j_event *ev, bool after, struct bad_run *b)
{
	struct j_cell *c = &o->cells[at];
	struct j_value v = { seen->kind == SEEN_CELL ? seen->op : 0,
			     seen->id ? seen->id : o->id,
			     seen->id ? seen->cell : (uint32_t)at };
	bool unsettled = crowded(j, ev) || being_changed(j, o, at);
	char want[80], saw[80];
	const char *kind;

	j->checked_cells++;
	if (seen->kind == SEEN_ZERO || seen->kind == SEEN_CELL) {
		if (c->undecided) {
			j->undecided_cells++;
			return;
		}
		/* What a crowded look saw may be gone: it says nothing about what is there now. */
		if (crowded(j, ev) ? set_has(&c->ever, &v) : narrow(c, &v)) {
			bad_run_end(j, b, ev);
			j->undecided_cells += crowded(j, ev) && !holds(c, &v);
			return;
		}
	} else if (unsettled && (seen->kind == SEEN_TORN || no_such_byte(seen))) {
		/* No copy of 64 bytes is atomic: who looks while it is made may see half of it. Nor is
		 * the size taken together with the cells: they may be gone when it comes to them. */
		j->undecided_cells++;
		return;
	}
	kind = violation_kind(j, c, seen, &v, after);
	want_text(c, want, sizeof(want));
	if (seen->kind == SEEN_CELL && seen->id)
		snprintf(saw, sizeof(saw), "op %u of file %u", seen->op, seen->id);
	else if (seen->kind == SEEN_CELL)
		value_text(&v, saw, sizeof(saw));
	else
		snprintf(saw, sizeof(saw), "%.70s", seen->kind == SEEN_ZERO ? "zero" : seen->text);
	if (b->nr && (b->kind != kind || b->first + b->nr != at || strcmp(b->want, want) != 0 ||
		      (seen->kind == SEEN_CELL && strcmp(b->saw, saw) != 0)))
		bad_run_end(j, b, ev);
	if (!b->nr) {
		b->kind = kind;
		b->first = at;
		strcpy(b->want, want);
		strcpy(b->saw, saw);
	}
	b->nr++;
}

static bool size_has(const struct j_sizes *s, uint64_t bytes)
{
	for (int i = 0; i < s->nr; i++)
		if (s->s[i].bytes == bytes)
			return true;
	return s->any;
}

static void see_size(struct judge *j, struct j_object *o, const struct j_event *ev)
{
	j->checked_sizes += ev->size_bytes < CELL; /* of an empty file there is nothing more */
	if (size_has(&o->sizes, ev->size_bytes) ||
	    (crowded(j, ev) && size_has(&o->ever_sizes, ev->size_bytes)))
		return;
	judge_violation(j, "wrong-size", "look %u %s of %s: %llu bytes long, must be %llu", ev->op,
			ev->view, ev->name, (unsigned long long)ev->size_bytes,
			(unsigned long long)(o->sizes.nr ? o->sizes.s[0].bytes : 0));
}

static int take_see(struct judge *j, const struct j_event *ev)
{
	struct j_object *o = object_seen(j, ev);
	uint64_t at = ev->off_bytes / CELL;
	struct bad_run b = { .nr = 0 };

	if (!o)
		return j->crashed || j->names_in_doubt ?
			       0 :
			       contradiction(j, "look at %s: no such file", ev->name);
	if ((o->path_uncertain && j->crashed) || (o->path_maybe && j->remounted))
		return 0;
	expose_moves(j);
	if (ev->len_bytes || ev->size_bytes < CELL)
		j->looked_at_events = j->events;
	see_size(j, o, ev);
	for (int i = 0; i < ev->nr_seen; i++) {
		struct j_seen seen = ev->seen[i];

		/* A run of cells in their places, or of moved cells, goes on with the next home. */
		for (uint64_t k = 0; k < seen.count; k++, at++, seen.cell++) {
			if (at >= o->nr_cells)
				break; /* the size is wrong, and that has been said */
			see_cell(j, o, at, &seen, ev, j->remounted, &b);
		}
	}
	bad_run_end(j, &b, ev);
	if (nr_pending(j)) {
		bool alone = !crowded(j, ev);

		/* What was pending may happen between this look and the next; and other looks under
		 * way may have read before what this one has shown. */
		close_all(j);
		j->events++;
		if (alone)
			j->look_events[ev->op % J_LOOKS_MAX] = j->events;
	}
	return 0;
}

static int note_op(struct judge *j, const struct j_event *ev)
{
	struct j_op *op = &j->ops[ev->op < J_OPS_MAX ? ev->op : 0];

	if (ev->kind == EV_EFFECT) {
		op->effect = *ev->word;
		op->effect_best_effort = ev->best_effort;
		snprintf(op->evidence, sizeof(op->evidence), "%s", ev->text);
	} else if (ev->kind == EV_PINNED) {
		op->pinned = *ev->word;
		snprintf(op->evidence, sizeof(op->evidence), "%s", ev->text);
	} else if (ev->kind == EV_BLOCKED) {
		op->blocked_ns = ev->t_ns;
		snprintf(op->blocked_in, sizeof(op->blocked_in), "%s", ev->text);
	}
	return 0;
}

int judge_event(struct judge *j, const struct j_event *ev)
{
	switch (ev->kind) {
	case EV_CASE:
		j->case_nr = ev->case_nr;
		j->run = ev->run;
		j->class = ev->class;
		snprintf(j->channel, sizeof(j->channel), "%s", ev->channel);
		snprintf(j->title, sizeof(j->title), "%s", ev->title);
		return 0;
	case EV_FILE:
		return take_file(j, ev);
	case EV_INV:
		return take_inv(j, ev);
	case EV_RET:
		return take_ret(j, ev);
	case EV_SEE:
		return take_see(j, ev);
	case EV_BLOCKED:
	case EV_EFFECT:
	case EV_PINNED:
		return note_op(j, ev);
	case EV_HUNG:
		j->hung = true;
		snprintf(j->hung_where, sizeof(j->hung_where), "op %u in %s", ev->op, ev->text);
		return 0;
	case EV_REMOUNT:
		j->remounted = true;
		return 0;
	case EV_CRASHED:
		j->remounted = true;
		take_crash(j);
		return 0;
	case EV_END:
		j->ended = true;
		return 0;
	case EV_NOTE:
		return 0;
	}
	return 0;
}

struct judge *judge_new(void)
{
	struct judge *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->objects = calloc(J_OBJECTS_MAX, sizeof(*j->objects));
	if (!j->objects) {
		free(j);
		return NULL;
	}
	return j;
}

void judge_free(struct judge *j)
{
	for (int i = 0; j && i < j->nr_objects; i++)
		free(j->objects[i].cells);
	for (uint32_t i = 0; j && i <= j->last_op; i++)
		free(j->ops[i].before);
	if (j)
		free(j->objects);
	free(j);
}

/*
 * What became of each successful channel write: its cells may have moved, so they are looked for in
 * the whole file. What somebody overwrote after it returned is not missed.
 */
static void settle_account(struct judge *j, struct j_op *w)
{
	struct j_object *o = &j->objects[w->obj];
	uint32_t nr = (uint32_t)(w - j->ops);
	uint64_t first = w->off_bytes / CELL, cells = w->len_bytes / CELL;
	bool *found = calloc(cells ? cells : 1, sizeof(*found));
	uint64_t lo, hi;

	if (!found)
		return;
	size_bounds(o, &lo, &hi);
	for (uint32_t i = 0; i < o->nr_cells && i * CELL < hi; i++)
		for (int s = 0; s < o->cells[i].nr; s++) {
			const struct j_value *v = &o->cells[i].s[s].v;

			if (v->op == nr && v->cell >= first && v->cell < first + cells)
				found[v->cell - first] = true;
		}
	for (uint64_t i = 0; i < cells; i++) {
		bool overwritten = false;

		for (uint32_t k = 1; k <= j->last_op && !overwritten; k++)
			overwritten = k != nr && j->ops[k].known &&
				      j->ops[k].inv_ns > w->ret_ns &&
				      j_touches(&j->ops[k], w->obj, first + i);
		w->cells_wanted += !overwritten;
		w->cells_gone += !overwritten && !found[i];
	}
	free(found);
}

void judge_finish(struct judge *j)
{
	for (uint32_t i = 1; i <= j->last_op; i++)
		if (j->ops[i].known && j->ops[i].verb == J_WRITE && j->ops[i].ok)
			settle_account(j, &j->ops[i]);
}
