// SPDX-License-Identifier: GPL-2.0
/* brute.c - see brute.h. Plain and slow on purpose. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "brute.h"

#define CELL PF_CELL_BYTES
#define MOMENT (1u << 15)

static int by_beginning(const void *a, const void *b)
{
	const struct brute_op *x = a, *y = b;
	uint32_t i = x->op ? x->op->inv_at : x->look->inv_at;
	uint32_t k = y->op ? y->op->inv_at : y->look->inv_at;

	return i < k ? -1 : i > k;
}

int brute_open(struct brute *b, const struct judge *j)
{
	*b = (struct brute){ .j = j, .crashes = j->crash_at != 0 };
	for (uint32_t n = 1; n <= j->last_op; n++) {
		if (!j->ops[n].known)
			continue;
		if (b->nr_ops == BRUTE_OPS)
			return -E2BIG;
		b->ops[b->nr_ops++] = (struct brute_op){ .op = &j->ops[n], .n = n };
	}
	for (uint32_t n = 0; n < j->nr_looks; n++) {
		if (b->nr_ops == BRUTE_OPS)
			return -E2BIG;
		b->ops[b->nr_ops++] = (struct brute_op){ .look = &j->looks[n], .n = n };
	}
	qsort(b->ops, (size_t)b->nr_ops, sizeof(b->ops[0]), by_beginning);
	for (int i = 0; i < j->nr_objects; i++)
		if (i >= BRUTE_FILES || j->objects[i].cells_max > BRUTE_CELLS)
			return -E2BIG;
	return 0;
}

void brute_begin(const struct brute *b, struct brute_state *s)
{
	memset(s, 0, sizeof(*s));
	s->at = 1;
	for (int f = 0; f < b->j->nr_objects; f++) {
		const struct j_object *o = &b->j->objects[f];

		s->size[f] = (uint8_t)(o->size_bytes / CELL);
		for (uint32_t c = 0; c < s->size[f]; c++)
			s->c[f][c] = pf_value_make(o->made_by, o->id, c);
	}
}

/* Only a crash asks what was there before. One value too many and the state is no state: at is
 * 0. */
static void remember(const struct brute *b, struct brute_state *s, int f, uint32_t cell, pf_value v)
{
	struct brute_old old = { .v = v, .file = (uint8_t)f, .cell = (uint8_t)cell, .at = s->at };
	int i = s->nr_old;

	if (!b->crashes || !s->at)
		return;
	if (i == BRUTE_HIST) {
		s->at = 0;
		return;
	}
	for (; i > 0 && (s->old[i - 1].file > f ||
			 (s->old[i - 1].file == f && s->old[i - 1].cell > cell)); i--)
		s->old[i] = s->old[i - 1];
	s->old[i] = old;
	s->nr_old++;
}

static void put(const struct brute *b, struct brute_state *s, int f, uint32_t cell, pf_value v)
{
	if (s->c[f][cell] == v)
		return;
	remember(b, s, f, cell, s->c[f][cell]);
	s->c[f][cell] = v;
}

static void put_size(const struct brute *b, struct brute_state *s, int f, uint32_t cells)
{
	if (s->size[f] == cells)
		return;
	remember(b, s, f, BRUTE_CELLS, s->size[f]);
	s->size[f] = (uint8_t)cells;
}

static bool at_cell(const struct brute *b, struct brute_state *s, int i, uint32_t cell)
{
	const struct j_op *op = b->ops[i].op;
	uint32_t page = cell - cell % b->j->page_cells, size = s->size[op->obj];
	pf_value mine = pf_value_make(b->ops[i].n, b->j->objects[op->obj].id, cell);

	if (j_is_write(op)) {
		if (op->verb == J_PWRITE || cell < size)
			put(b, s, op->obj, cell, mine);
		else if (page >= size)
			return false;
	} else if (op->prim == J_ZERO) {
		put(b, s, op->obj, cell, 0);
	} else { /* resize */
		uint32_t end = (uint32_t)(op->size_bytes / CELL);
		uint32_t page_end = (end + b->j->page_cells - 1) / b->j->page_cells *
				    b->j->page_cells;

		if (!(s->taken[i] & MOMENT)) {
			if (cell >= page_end || !s->c[op->obj][cell])
				return false;
			put(b, s, op->obj, cell, 0);
			return true; /* it may do so again */
		}
		put(b, s, op->obj, cell, 0);
	}
	s->taken[i] |= (uint16_t)(1u << cell);
	return true;
}

static void moment(const struct brute *b, struct brute_state *s, int i)
{
	const struct j_op *op = b->ops[i].op;
	uint32_t first = (uint32_t)(op->off_bytes / CELL), len = (uint32_t)(op->len_bytes / CELL);
	int f = op->obj, g = op->obj2;
	uint32_t size = s->size[f];
	pf_value was[BRUTE_CELLS];

	s->taken[i] |= MOMENT;
	if (op->verb == J_PWRITE) {
		if (first + len > size)
			put_size(b, s, f, first + len);
		return;
	}
	for (uint32_t c = 0; c < BRUTE_CELLS; c++)
		was[c] = c < size ? s->c[f][c] : 0;
	switch (op->prim) {
	case J_RESIZE:
		put_size(b, s, f, (uint32_t)(op->size_bytes / CELL));
		break;
	case J_COLLAPSE:
		for (uint32_t c = first; c < BRUTE_CELLS; c++)
			put(b, s, f, c, c + len < BRUTE_CELLS ? was[c + len] : 0);
		if (size > first)
			put_size(b, s, f, size > first + len ? size - len : first);
		break;
	case J_INSERT:
		for (uint32_t c = first; c < BRUTE_CELLS; c++)
			put(b, s, f, c, c < first + len ? 0 : was[c - len]);
		put_size(b, s, f, size + len);
		break;
	default: /* copy */
		for (uint32_t c = 0; c < BRUTE_CELLS; c++)
			put(b, s, g, c, was[c]);
		put_size(b, s, g, size);
		break;
	}
}

static bool has_moment(const struct j_op *op)
{
	return op->verb == J_PWRITE ||
	       (op->verb == J_FAULT && op->prim >= J_RESIZE && op->prim <= J_COPY);
}

static bool acts_at(const struct brute *b, const struct j_op *op, uint32_t cell)
{
	uint64_t off = cell * (uint64_t)CELL;

	if (cell >= b->j->objects[op->obj].cells_max)
		return false;
	if (j_is_write(op) || (op->verb == J_FAULT && op->prim == J_ZERO))
		return off >= op->off_bytes && off < op->off_bytes + op->len_bytes;
	return op->verb == J_FAULT && op->prim == J_RESIZE && off >= op->size_bytes;
}

static const struct j_obs *saw(const struct j_look *l, uint32_t cell, pf_value *v)
{
	for (uint32_t i = 0; i < l->nr_obs; i++)
		if (cell >= l->obs[i].first && cell < l->obs[i].first + l->obs[i].nr) {
			*v = l->obs[i].kind == SEEN_CELL ?
				     l->obs[i].value + (cell - l->obs[i].first) :
				     0;
			return &l->obs[i];
		}
	return NULL;
}

/* A pwrite or a clone that extends shows every size on its way, from zero where it was longer. */
static bool extending(const struct brute *b, const struct brute_state *s, const struct j_look *l)
{
	for (int i = 0; i < b->nr_ops; i++) {
		const struct j_op *op = b->ops[i].op;

		if (op && op->verb == J_FAULT && op->prim == J_COPY && op->obj2 == l->obj &&
		    s->active & 1u << i && l->size_bytes <= s->size[op->obj] * CELL &&
		    (l->size_bytes > s->size[l->obj] * CELL ||
		     s->size[l->obj] > s->size[op->obj]))
			return true;
		if (op && op->verb == J_PWRITE && op->obj == l->obj && s->active & 1u << i &&
		    l->size_bytes > s->size[l->obj] * CELL && l->size_bytes > op->off_bytes &&
		    l->size_bytes <= op->off_bytes + op->len_bytes)
			return true;
	}
	return false;
}

bool brute_step(const struct brute *b, struct brute_state *s, int i, int n, bool blind)
{
	const struct j_look *l = b->ops[i].look;
	const struct j_op *op = b->ops[i].op;
	pf_value v;

	if (!(s->active & 1u << i))
		return false;
	if (l && n == BRUTE_CELLS) {
		if (s->taken[i] & MOMENT ||
		    (!blind && s->size[l->obj] * CELL != l->size_bytes && !extending(b, s, l)))
			return false;
		s->taken[i] |= MOMENT;
		return true;
	}
	if (l) {
		if (s->taken[i] & 1u << n || (!blind && !saw(l, (uint32_t)n, &v)) ||
		    (!blind && s->c[l->obj][n] != v))
			return false;
		s->taken[i] |= (uint16_t)(1u << n);
		return true;
	}
	if (n == BRUTE_CELLS) {
		if (!has_moment(op) || s->taken[i] & MOMENT)
			return false;
		moment(b, s, i);
		return true;
	}
	if (!acts_at(b, op, (uint32_t)n) || s->taken[i] & 1u << n)
		return false;
	return at_cell(b, s, i, (uint32_t)n);
}

/* Everything that is claimed has happened. */
static bool fulfilled(const struct brute *b, const struct brute_state *s, int i)
{
	const struct j_op *op = b->ops[i].op;
	const struct j_look *l = b->ops[i].look;
	pf_value v;

	for (uint32_t c = 0; c < BRUTE_CELLS; c++) {
		bool taken = s->taken[i] & 1u << c;

		if (l && saw(l, c, &v) && !taken)
			return false;
		if (!l && op->ok && acts_at(b, op, c) && !taken &&
		    (!j_is_write(op) || (c + 1) * CELL <= op->off_bytes + op->value))
			return false;
	}
	if (l)
		return s->taken[i] & MOMENT;
	return !op->ok || !has_moment(op) || s->taken[i] & MOMENT;
}

/* Search. */

struct visited {
	struct brute_state *s;
	uint64_t nr, max;
	uint32_t *table;
	uint64_t slots;
};

static uint64_t hash_of(const struct brute_state *s)
{
	const uint64_t *w = (const uint64_t *)s;
	uint64_t h = 0;

	for (size_t i = 0; i < sizeof(*s) / 8; i++) {
		h ^= w[i];
		h *= 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	return h;
}

_Static_assert(sizeof(struct brute_state) % 8 == 0, "hashed by words");

/* 1: new, 0: known, -1: too many. */
static int visit(struct visited *v, const struct brute_state *s)
{
	uint64_t at = hash_of(s) % v->slots;

	for (; v->table[at]; at = (at + 1) % v->slots)
		if (!memcmp(&v->s[v->table[at] - 1], s, sizeof(*s)))
			return 0;
	if (v->nr == v->max)
		return -1;
	v->s[v->nr++] = *s;
	v->table[at] = (uint32_t)v->nr;
	return 1;
}

uint32_t brute_synced(const struct brute *b, int f)
{
	uint32_t at = b->j->objects[f].made_at;

	for (int i = 0; i < b->nr_ops; i++) {
		const struct j_op *op = b->ops[i].op;

		if (op && op->verb == J_FAULT && op->returned && op->ok &&
		    ((op->prim == J_SYNC && op->obj == f) || op->prim == J_SYNCFS) &&
		    op->inv_at > at)
			at = op->inv_at;
	}
	return at;
}

static int search(const struct brute *b, struct visited *v, struct brute_state *s);

/* Every choice of what is found after the crash, from place @p on. */
static int crash_from(const struct brute *b, struct visited *v, const struct brute_state *s, int p)
{
	int f = p / (BRUTE_CELLS + 1), c = p % (BRUTE_CELLS + 1), rc;
	struct brute_state n = *s;
	uint32_t since;

	if (f == b->j->nr_objects) {
		memset(n.old, 0, sizeof(n.old));
		n.nr_old = 0;
		return search(b, v, &n);
	}
	since = brute_synced(b, f);
	rc = crash_from(b, v, s, p + 1);
	for (int i = 0; i < s->nr_old && !rc; i++) {
		const struct brute_old *o = &s->old[i];

		if (o->file != f || o->cell != c || o->at <= since)
			continue;
		n = *s;
		if (c == BRUTE_CELLS)
			n.size[f] = (uint8_t)o->v;
		else
			n.c[f][c] = o->v;
		rc = crash_from(b, v, &n, p + 1);
	}
	return rc;
}

static int event(const struct brute *b, struct visited *v, const struct brute_state *from)
{
	struct brute_state s = *from;

	if (b->crashes && s.at == b->j->crash_at) {
		s.at++;
		s.active = 0;
		memset(s.taken, 0, sizeof(s.taken));
		return crash_from(b, v, &s, 0);
	}
	for (int i = 0; i < b->nr_ops; i++) {
		const struct j_op *op = b->ops[i].op;
		const struct j_look *l = b->ops[i].look;

		if ((op ? op->inv_at : l->inv_at) == s.at)
			s.active |= (uint16_t)(1u << i);
		if ((op ? op->returned && op->ret_at == s.at : l->ret_at == s.at)) {
			if (!fulfilled(b, &s, i))
				return 0;
			s.active &= (uint16_t)~(1u << i);
			s.taken[i] = 0;
		}
	}
	s.at++;
	return search(b, v, &s);
}

/* 1: explained from here, 0: not, -1: given up. */
static int search(const struct brute *b, struct visited *v, struct brute_state *s)
{
	int rc = s->at ? visit(v, s) : -1;

	if (rc <= 0)
		return rc;
	if (s->at > b->j->nr_events)
		return 1;
	rc = event(b, v, s);
	for (int i = 0; i < b->nr_ops && !rc; i++)
		for (int n = 0; n <= BRUTE_CELLS && !rc; n++) {
			struct brute_state next = *s;

			if (brute_step(b, &next, i, n, false))
				rc = search(b, v, &next);
		}
	return rc;
}

int brute_coherent(const struct brute *b, uint64_t states_max)
{
	static struct visited v;
	struct brute_state s;

	if (!v.s) {
		v.max = states_max;
		v.slots = 2 * states_max + 1;
		v.s = calloc(v.max, sizeof(*v.s));
		v.table = calloc(v.slots, sizeof(*v.table));
	}
	for (uint64_t i = 0; i < v.nr; i++) { /* cheaper than clearing all of it */
		uint64_t at = hash_of(&v.s[i]) % v.slots;

		for (; v.table[at]; at = (at + 1) % v.slots)
			v.table[at] = 0;
	}
	v.nr = 0;
	brute_begin(b, &s);
	return search(b, &v, &s);
}
