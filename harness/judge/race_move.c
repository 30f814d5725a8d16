// SPDX-License-Identifier: GPL-2.0
/* race_move.c - sizes, shifts and clones of a race; see race_model.h. */
#include <errno.h>
#include <string.h>

#include "../core/fault.h"
#include "race_int.h"

bool race_refused(const struct pf_race_rec *r)
{
	switch (-r->result) {
	case EINVAL:
	case EOPNOTSUPP:
	case EPERM:
	case EBADF:
	case ETXTBSY:
	case ENOSYS:
	case ENOTTY:
		return r->verb == PF_RACE_FAULT;
	default:
		return false;
	}
}

static void span_add(struct race_pend *p, uint8_t file, uint32_t lo, uint32_t hi)
{
	if (p->nr_over == sizeof(p->over) / sizeof(p->over[0])) {
		p->over[0] = (struct race_span){ 0, UINT32_MAX, file };
		p->over[1] = (struct race_span){ 0, UINT32_MAX, p->rec->file };
		p->over[2] = (struct race_span){ 0, UINT32_MAX, p->rec->file2 };
		p->nr_over--; /* room for the next one, which changes nothing */
	}
	p->over[p->nr_over++] = (struct race_span){ lo, hi, file };
}

/* @other acts where move @p reads or writes. */
static void overlapped_by(struct race_pend *p, struct race_pend *other)
{
	uint8_t to = p->target, file = other->target;

	if (other->looks) {
		file = other->rec->file;
		if (file == to && p->lo < other->moved_lo)
			other->moved_lo = p->lo;
		return;
	}
	if (file == p->rec->file || file == to)
		span_add(p, file, other->moves ? 0 : other->lo, other->hi);
	if (file == to && p->lo < other->moved_lo)
		other->moved_lo = p->lo;
}

void race_overlap_move(struct race_pend *a, struct race_pend *b)
{
	if (a->moves)
		overlapped_by(a, b);
	if (b->moves)
		overlapped_by(b, a);
}

void race_note_change(struct race_model *m, const struct race_file *f, uint32_t lo, uint32_t hi)
{
	for (uint32_t left = f->looking; left; left &= left - 1)
		span_add(race_first(m, left), (uint8_t)(f - m->f), lo, hi);
}

bool race_was_changed(const struct race_pend *look, uint32_t cell)
{
	for (uint32_t i = 0; i < look->nr_over; i++)
		if (cell >= look->over[i].lo && cell < look->over[i].hi)
			return true;
	return false;
}

/* Moves. */

/* From @lo on anything may be there. */
static void lose(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	hi = hi < f->limit ? hi : f->limit;
	if (lo >= hi)
		return;
	race_drop_sets(m, f, lo, hi);
	race_fill(f, lo, hi, RACE_ANY);
	race_saw_by(f, lo, hi, 0);
}

static uint32_t plus(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* What others did meanwhile may be where it was done, or where that went. */
static void lose_spans(struct race_model *m, const struct race_pend *p, struct race_file *f)
{
	uint32_t first = p->rec->first_cell, nr = p->rec->nr_cells;

	for (uint32_t i = 0; i < p->nr_over; i++) {
		uint32_t lo = p->over[i].lo, hi = p->over[i].hi;

		if (hi <= p->lo)
			continue;
		lo = lo > p->lo ? lo : p->lo;
		lose(m, f, lo, hi);
		if (p->rec->what == PF_PRIM_INSERT)
			lose(m, f, plus(lo, nr), plus(hi, nr));
		else if (p->rec->what == PF_PRIM_COLLAPSE && hi > first + nr)
			lose(m, f, lo > first + nr ? lo - nr : first,
			     hi == UINT32_MAX ? hi : hi - nr);
	}
}

/* Behind the limit all is zero: nothing there moves. */
static void shift(struct race_model *m, const struct race_pend *p)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t first = p->rec->first_cell, nr = p->rec->nr_cells, end;

	if (f->nr_sizes > RACE_SIZES_MAX && p->rec->what == PF_PRIM_INSERT)
		f->limit = plus(f->limit, nr);
	end = f->limit > first ? f->limit : first;
	if (!race_room(m, f, plus(end, nr)))
		return;
	race_drop_sets(m, f, first, end + nr);
	if (p->rec->what == PF_PRIM_INSERT) {
		if (!race_take(m, f, first, end))
			return;
		race_put(m, f, first + nr, end + nr);
		race_fill(f, first, first + nr, PF_VALUE_ZERO);
	} else {
		if (!race_take(m, f, first + nr, end + nr))
			return;
		race_put(m, f, first, end);
		race_fill(f, end, end + nr, PF_VALUE_ZERO);
	}
	race_saw_by(f, first, end + nr, 0);
}

static void copy(struct race_model *m, const struct race_pend *p)
{
	struct race_file *from = &m->f[p->rec->file], *to = &m->f[p->rec->file2];
	uint32_t end = from->limit > to->limit ? from->limit : to->limit;

	if (!end || !race_room(m, from, end) || !race_room(m, to, end))
		return;
	race_drop_sets(m, to, 0, end);
	if (!race_take(m, from, 0, end))
		return;
	race_put(m, to, 0, end);
	race_saw_by(to, 0, end, 0);
}

void race_end_move(struct race_model *m, struct race_pend *p)
{
	struct race_file *to = &m->f[p->target];

	if (race_refused(p->rec))
		return;
	if (p->rec->result < 0) { /* it may have happened, or half of it */
		lose(m, to, p->lo, UINT32_MAX);
		return;
	}
	if (p->rec->what == PF_PRIM_COPY)
		copy(m, p);
	else
		shift(m, p);
	lose_spans(m, p, to);
}

/* Sizes. */

static bool size_add(struct race_file *f, pf_value size, uint32_t mask)
{
	if (size > f->limit)
		f->limit = size < PF_RACE_CELLS_MAX ? (uint32_t)size : PF_RACE_CELLS_MAX;
	if (f->nr_sizes > RACE_SIZES_MAX)
		return false;
	for (uint32_t i = 0; i < f->nr_sizes; i++)
		if (f->size[i].v == size && f->size[i].mask == mask)
			return false;
	if (f->nr_sizes < RACE_SIZES_MAX)
		f->size[f->nr_sizes] = (struct race_state){ size, mask };
	f->nr_sizes++;
	return true;
}

static pf_value size_after(const struct race_pend *p, pf_value size)
{
	const struct pf_race_rec *r = p->rec;

	if (p->writes) {
		uint32_t end = r->result >= 0 ? p->lo + (uint32_t)r->result : p->hi;

		return size > end ? size : end;
	}
	if (r->what == PF_PRIM_RESIZE)
		return r->first_cell;
	if (r->what == PF_PRIM_INSERT)
		return size + r->nr_cells;
	if (size <= r->first_cell)
		return size;
	return size - r->first_cell > r->nr_cells ? size - r->nr_cells : r->first_cell;
}

/* Where any size is possible the limit still holds. An insert sees to it when it moves. */
static void grow_limit(struct race_file *f, const struct race_file *from, const struct race_pend *p)
{
	uint64_t size = p->moves ? from->limit : size_after(p, f->limit);

	size = size < PF_RACE_CELLS_MAX ? size : PF_RACE_CELLS_MAX;
	f->limit = size > f->limit ? (uint32_t)size : f->limit;
}

static bool grow_sizes(struct race_model *m, const struct race_pend *p, uint32_t bit,
		       uint64_t bound)
{
	struct race_file *f = &m->f[p->target];
	const struct race_file *from = &m->f[p->rec->file];
	uint32_t nr = f->nr_sizes;
	bool more = false;

	if (nr > RACE_SIZES_MAX) {
		grow_limit(f, from, p);
		return false;
	}
	for (uint32_t i = 0; i < nr; i++) {
		struct race_state s = f->size[i];

		if (p->moves && p->rec->what == PF_PRIM_COPY) {
			/* A longer target is emptied first. */
			more |= size_add(f, 0, s.mask);
			if (from->nr_sizes > RACE_SIZES_MAX) {
				f->nr_sizes = RACE_SIZES_MAX + 1;
				f->limit = from->limit > f->limit ? from->limit : f->limit;
				return true;
			}
			for (uint32_t k = 0; k < from->nr_sizes && !(s.mask & bit); k++)
				more |= size_add(f, from->size[k].v, s.mask | bit);
		} else if (!(s.mask & bit) && size_after(p, s.v) <= bound) {
			more |= size_add(f, size_after(p, s.v), s.mask | bit);
		}
	}
	return more;
}

/* Sizes travel with clones from file to file, but each insert under way lengthens once. */
static uint64_t longest(const struct race_model *m)
{
	uint64_t max = 0, inserts = 0;

	for (uint32_t i = 0; i < m->nr_files; i++)
		for (uint32_t k = 0; k < m->f[i].nr_sizes && k < RACE_SIZES_MAX; k++)
			max = m->f[i].size[k].v > max ? m->f[i].size[k].v : max;
	for (uint32_t i = 0; i < m->nr_threads; i++) {
		const struct race_pend *p = &m->p[i];

		if (!p->rec || !p->sizes)
			continue;
		if (p->moves && p->rec->what == PF_PRIM_INSERT)
			inserts += p->rec->nr_cells;
		else if (!p->moves && size_after(p, 0) > max)
			max = size_after(p, 0);
	}
	return max + inserts;
}

/* Every order of what is under way; and who is under way learns what sizes there may be. */
static void close_sizes(struct race_model *m)
{
	uint64_t bound = longest(m);

	for (bool more = true; more;) {
		more = false;
		for (uint32_t i = 0; i < m->nr_threads; i++)
			if (m->p[i].rec && m->p[i].sizes)
				more |= grow_sizes(m, &m->p[i], 1u << i, bound);
	}
}

/* Is @size on the way of a clone of @from onto @to, from one of the sizes they may have? */
static bool clone_passes(const struct race_file *from, const struct race_file *to, uint32_t size)
{
	bool above = false, below = from->nr_sizes > RACE_SIZES_MAX;

	for (uint32_t i = 0; i < to->nr_sizes; i++)
		above |= size > to->size[i].v;
	for (uint32_t i = 0; i < from->nr_sizes && !below; i++)
		below = size <= from->size[i].v;
	return above && below;
}

/* A pwrite or a clone that extends does so bit by bit: every size on its way is seen. */
static bool extending(const struct race_model *m, const struct race_pend *look)
{
	for (uint32_t i = 0; i < m->nr_threads; i++) {
		const struct race_pend *q = &m->p[i];

		if (q->rec && q->moves && q->rec->what == PF_PRIM_COPY &&
		    q->target == look->rec->file &&
		    clone_passes(&m->f[q->rec->file], &m->f[look->rec->file],
				 look->rec->size_cells))
			return true;
		if (q->rec && q->sizes && q->writes && q->rec->file == look->rec->file &&
		    look->rec->size_cells > q->lo && look->rec->size_cells <= q->hi)
			return true;
	}
	return false;
}

static void learn_sizes(const struct race_model *m, struct race_pend *p)
{
	const struct race_file *f = &m->f[p->rec->file];

	if (f->nr_sizes > RACE_SIZES_MAX) {
		p->size_lo = 0;
		p->size_hi = UINT32_MAX;
		p->size_seen = true;
		return;
	}
	for (uint32_t i = 0; i < f->nr_sizes; i++) {
		uint32_t s = f->size[i].v > UINT32_MAX ? UINT32_MAX : (uint32_t)f->size[i].v;

		p->size_lo = s < p->size_lo ? s : p->size_lo;
		p->size_hi = s > p->size_hi ? s : p->size_hi;
		p->size_seen |= s == p->rec->size_cells;
	}
	p->size_seen = p->size_seen || (p->looks && extending(m, p));
}

static void all_learn(struct race_model *m)
{
	close_sizes(m);
	for (uint32_t i = 0; i < m->nr_threads; i++)
		if (m->p[i].rec)
			learn_sizes(m, &m->p[i]);
}

void race_sizes_begin(struct race_model *m, struct race_pend *p)
{
	struct race_file *f = &m->f[p->target];
	uint32_t bit = race_bit(m, p);

	p->size_seen = !p->looks || p->rec->size_cells == PF_RACE_NO_SIZE;
	if (f->nr_sizes == 1 && f->size[0].v <= PF_RACE_CELLS_MAX && !f->sizing) {
		p->size_lo = p->size_hi = (uint32_t)f->size[0].v;
		p->size_seen |= p->size_lo == p->rec->size_cells;
	} else {
		p->size_lo = UINT32_MAX;
		p->size_hi = 0;
		learn_sizes(m, p);
	}
	if (p->writes && p->rec->verb == PF_RACE_PWRITE && p->hi > p->size_lo)
		p->sizes = true;
	p->alone = !f->sizing;
	if (!p->sizes)
		return;
	f->sizing |= bit;
	for (uint32_t left = f->pending; left; left &= left - 1) {
		struct race_pend *q = race_first(m, left);

		if (q->target != p->target)
			continue;
		q->alone = false;
		/* A pwrite under way that was inside may now be behind the end, and extend. */
		if (q->rec->verb != PF_RACE_PWRITE)
			continue;
		q->sizes = true;
		f->sizing |= race_bit(m, q);
		p->alone = false;
	}
	all_learn(m);
}

/* What is certain from @lo on is zero, and what is not but where @look looks. */
static void zero_behind(struct race_file *f, uint32_t lo, const struct race_pend *look)
{
	uint32_t hi = f->limit < f->nr_cells ? f->limit : f->nr_cells;

	for (uint32_t c = lo, to; c < hi; c = to) {
		pf_value v = race_at(f, c);

		to = race_end_of(f, c, hi);
		if (!v || race_contended(v))
			continue;
		if (v != RACE_ANY || !look || c >= look->hi || to <= look->lo) {
			race_fill(f, c, to, PF_VALUE_ZERO);
			continue;
		}
		if (c < look->lo)
			race_fill(f, c, look->lo, PF_VALUE_ZERO);
		if (to > look->hi)
			race_fill(f, look->hi, to, PF_VALUE_ZERO);
	}
}

/*
 * The size is known again: what was lost track of behind it is zero when the file grows. But what
 * @look (or NULL) itself sees behind the end, in the last page, may be what a write left there
 * while the file was longer: that is for the look to say.
 */
static void size_is(struct race_file *f, pf_value size, const struct race_pend *look)
{
	if (f->nr_sizes == 1 && f->size[0].v == size && f->limit == size)
		return;
	f->nr_sizes = 1;
	f->size[0] = (struct race_state){ size, 0 };
	zero_behind(f, (uint32_t)size, look);
	f->limit = (uint32_t)size;
}

bool race_sizes_seen(struct race_model *m, struct race_pend *p)
{
	if (p->alone && p->size_seen && p->rec->size_cells != PF_RACE_NO_SIZE)
		size_is(&m->f[p->target], p->rec->size_cells, p);
	return p->size_seen;
}

void race_sizes_end(struct race_model *m, struct race_pend *p)
{
	struct race_file *f = &m->f[p->target];
	uint32_t bit = race_bit(m, p), nr = 0;
	bool must = p->rec->result >= 0;

	close_sizes(m);
	if (f->nr_sizes > RACE_SIZES_MAX) {
		/* Too many: certain again by a size that depends on nothing. */
		if (must && p->zeroes && p->alone)
			size_is(f, p->rec->first_cell, NULL);
		return;
	}
	if (race_refused(p->rec)) {
		for (uint32_t i = 0; i < f->nr_sizes; i++)
			if (!(f->size[i].mask & bit))
				f->size[nr++] = f->size[i];
		f->nr_sizes = nr;
		return;
	}
	for (uint32_t i = 0; i < f->nr_sizes; i++) {
		struct race_state s = f->size[i];
		uint32_t k = 0;

		if (must && !(s.mask & bit))
			continue;
		s.mask &= ~bit;
		while (k < nr && (f->size[k].v != s.v || f->size[k].mask != s.mask))
			k++;
		if (k == nr)
			f->size[nr++] = s;
	}
	f->nr_sizes = nr;
	p->sizes = false;
	all_learn(m);
}
