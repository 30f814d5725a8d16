// SPDX-License-Identifier: GPL-2.0
/* race_model.c - cells of a race; see race_model.h. Sizes and moves are in race_move.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/fault.h"
#include "../core/seq.h" /* views */
#include "race_int.h"

#ifdef PF_FUZZ /* most inputs are small, and clearing what they do not use takes longer than judging */
#define ROOM_MIN 64u
#define POOL_MIN 4u
#else
#define ROOM_MIN 1024u
#define POOL_MIN 256u
#endif

int race_model_init(struct race_model *m, const struct pf_race_header *h)
{
	memset(m, 0, sizeof(*m));
	m->nr_files = h->nr_files;
	m->nr_threads = h->nr_threads;
	m->pool_free = UINT32_MAX;
	for (uint32_t i = 0; i < m->nr_files; i++) {
		struct race_file *f = &m->f[i];

		f->id = h->files[i].id;
		f->nr_sizes = 1;
		f->limit = h->files[i].cells;
		f->size[0] = (struct race_state){ h->files[i].cells, 0 };
		if (!race_room(m, f, h->files[i].cells))
			return -ENOMEM;
		for (uint32_t c = 0; c < h->files[i].cells; c++)
			f->cells[c] = pf_value_make(h->files[i].op, f->id, c);
	}
	return 0;
}

void race_model_exit(struct race_model *m)
{
	for (uint32_t i = 0; i < m->nr_files; i++) {
		free(m->f[i].cells);
		free(m->f[i].seen);
	}
	free(m->pool);
}

bool race_room(struct race_model *m, struct race_file *f, uint32_t cells)
{
	uint32_t nr = f->nr_cells ? f->nr_cells : ROOM_MIN;
	pf_value *more;
	uint8_t *seen;

	if (cells <= f->nr_cells)
		return true;
	while (nr < cells)
		nr *= 2;
	more = realloc(f->cells, nr * sizeof(*more));
	if (more)
		f->cells = more;
	seen = realloc(f->seen, nr);
	if (seen)
		f->seen = seen;
	if (!more || !seen) {
		m->out_of_memory = true;
		return false;
	}
	memset(f->cells + f->nr_cells, 0, (nr - f->nr_cells) * sizeof(*more));
	memset(f->seen + f->nr_cells, 0, nr - f->nr_cells);
	f->nr_cells = nr;
	return true;
}

/* The pool of sets. */

static struct race_set *set_new(struct race_model *m, pf_value *cell)
{
	struct race_set *more;
	uint32_t at = m->pool_free;

	if (at != UINT32_MAX) {
		m->pool_free = m->pool[at].next_free;
	} else {
		if (m->pool_nr == m->pool_max) {
			uint32_t max = m->pool_max ? 2 * m->pool_max : POOL_MIN;

			more = realloc(m->pool, max * sizeof(*more));
			if (!more) {
				m->out_of_memory = true;
				*cell = RACE_ANY;
				return NULL;
			}
			m->pool = more;
			m->pool_max = max;
		}
		at = m->pool_nr++;
	}
	*cell = RACE_MARK << 32 | at;
	m->pool[at].nr = 0;
	return &m->pool[at];
}

static struct race_set *set_of(struct race_model *m, pf_value cell)
{
	return &m->pool[(uint32_t)cell];
}

void race_drop_set(struct race_model *m, pf_value cell)
{
	if (!race_contended(cell))
		return;
	set_of(m, cell)->next_free = m->pool_free;
	m->pool_free = (uint32_t)cell;
}

/* False when there are too many. */
static bool set_add(struct race_set *s, pf_value v, uint32_t mask)
{
	for (uint32_t i = 0; i < s->nr; i++)
		if (s->s[i].v == v && s->s[i].mask == mask)
			return true;
	if (s->nr == RACE_STATES_MAX)
		return false;
	s->s[s->nr++] = (struct race_state){ v, mask };
	return true;
}

/* Beginnings. */

static bool acts_at(const struct race_pend *p, uint32_t file, uint32_t cell)
{
	return p->rec && !p->moves && p->rec->file == file && cell >= p->lo && cell < p->hi;
}

/* Two operations meet at these cells: from now on they are followed one by one. */
static void contend(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	for (uint32_t c = lo; c < hi; c++) {
		pf_value v = f->cells[c];
		struct race_set *s;

		if (race_contended(v))
			continue;
		s = set_new(m, &f->cells[c]);
		if (s)
			set_add(s, v, 0);
	}
}

static void meet(struct race_model *m, struct race_pend *a, struct race_pend *b)
{
	uint32_t lo = a->lo > b->lo ? a->lo : b->lo, hi = a->hi < b->hi ? a->hi : b->hi;

	if (a->rec->file != b->rec->file || lo >= hi || (a->looks && b->looks))
		return;
	/* Behind the limit there is nothing to zero. */
	if (!a->writes && !b->writes && hi > m->f[a->rec->file].limit)
		hi = m->f[a->rec->file].limit;
	contend(m, &m->f[a->rec->file], lo, hi);
}

static void begin(struct race_model *m, const struct race_event *ev)
{
	struct race_pend *p = &m->p[ev->thread];
	const struct pf_race_rec *r = ev->rec;

	*p = (struct race_pend){ .rec = r, .runs = ev->runs, .lo = r->first_cell,
				 .hi = r->first_cell + r->nr_cells, .run_cell = r->first_cell,
				 .moved_lo = UINT32_MAX };
	if (r->verb == PF_RACE_LOOK) {
		uint32_t cells = 0;

		for (uint32_t i = 0; i < r->nr_runs; i++)
			cells += ev->runs[i].count;
		p->looks = true;
		p->hi = p->lo + cells;
	} else if (r->verb != PF_RACE_FAULT) {
		p->writes = true;
	} else if (r->what == PF_PRIM_ZERO) {
		p->zeroes = true;
	} else if (r->what == PF_PRIM_RESIZE) {
		p->zeroes = p->sizes = true;
		p->hi = UINT32_MAX;
	} else if (r->what == PF_PRIM_COLLAPSE || r->what == PF_PRIM_INSERT ||
		   r->what == PF_PRIM_COPY) {
		p->moves = p->sizes = true;
		p->hi = UINT32_MAX;
		if (r->what == PF_PRIM_COPY)
			p->lo = 0;
	} else {
		p->rec = NULL; /* it changes nothing and sees nothing */
		return;
	}
	if (p->writes && !race_room(m, &m->f[r->file], p->hi))
		return;
	for (uint32_t i = 0; i < m->nr_threads; i++) {
		struct race_pend *q = &m->p[i];

		if (q == p || !q->rec)
			continue;
		if (p->moves || q->moves)
			race_overlap_move(m, p, q);
		else
			meet(m, p, q);
	}
	race_sizes_begin(m, p);
}

/* Ends. */

/* What @p sees at @cell; false: it does not look there, or sees neither zero nor a cell. Mostly
 * asked for one
 * cell after the other. */
static bool seen_value(struct race_pend *p, uint32_t cell, pf_value *v)
{
	if (cell < p->run_cell) {
		p->run = 0;
		p->run_cell = p->rec->first_cell;
	}
	for (; p->run < p->rec->nr_runs; p->run_cell += p->runs[p->run++].count) {
		const struct pf_race_run *run = &p->runs[p->run];

		if (cell >= p->run_cell + run->count)
			continue;
		*v = run->kind == PF_RUN_CELLS ? run->value + (cell - p->run_cell) : PF_VALUE_ZERO;
		return run->kind == PF_RUN_CELLS || run->kind == PF_RUN_ZERO;
	}
	return false;
}

static pf_value effect_of(const struct race_model *m, const struct race_pend *p, uint32_t cell)
{
	return p->writes ? pf_value_make(p->rec->op, m->f[p->rec->file].id, cell) : PF_VALUE_ZERO;
}

/* May the write reach the cell at all, as far as sizes go? */
static bool reaches(const struct race_pend *p, uint32_t cell)
{
	return !p->writes || p->rec->verb == PF_RACE_PWRITE || cell < p->size_hi;
}

/* Looks change nothing: what explains one is taken as soon as it is there, before it can go. */
static void see(struct race_model *m, struct race_state *s, uint32_t cell, uint32_t acting)
{
	pf_value v;

	for (uint32_t left = acting & ~s->mask; left; left &= left - 1) {
		int t = __builtin_ctz(left);
		struct race_pend *p = &m->p[t];

		if (p->looks && seen_value(p, cell, &v) && (s->v == v || s->v == RACE_ANY))
			s->mask |= 1u << t;
	}
}

/* All that may be by now. False when it is too much. */
static bool close_set(struct race_model *m, struct race_set *s, uint32_t cell, uint32_t acting)
{
	for (uint32_t i = 0; i < s->nr; i++) {
		see(m, &s->s[i], cell, acting);
		for (uint32_t left = acting & ~s->s[i].mask; left; left &= left - 1) {
			int t = __builtin_ctz(left);
			const struct race_pend *p = &m->p[t];
			struct race_state n = { effect_of(m, p, cell), s->s[i].mask | 1u << t };

			if (p->looks || !reaches(p, cell))
				continue;
			if (cell >= p->moved_lo)
				n.v = RACE_ANY; /* it may have been shifted away, and what is here
						   came */
			see(m, &n, cell, acting);
			if (!set_add(s, n.v, n.mask))
				return false;
		}
	}
	return true;
}

static uint32_t acting_at(const struct race_model *m, uint32_t file, uint32_t cell)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < m->nr_threads; i++)
		if (acts_at(&m->p[i], file, cell))
			mask |= 1u << i;
	return mask;
}

/* The same for all cells from @lo up to @to, which is at most @hi. */
static uint32_t acting_from(const struct race_model *m, uint32_t file, uint32_t lo, uint32_t hi,
			    uint32_t *to)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < m->nr_threads; i++) {
		const struct race_pend *p = &m->p[i];

		if (!p->rec || p->moves || p->rec->file != file || p->hi <= lo || p->lo >= hi)
			continue;
		if (p->lo > lo) {
			hi = p->lo;
			continue;
		}
		hi = p->hi < hi ? p->hi : hi;
		mask |= 1u << i;
	}
	*to = hi;
	return mask;
}

/*
 * Track of the cell is lost: more may be there than is kept. One state is left, RACE_ANY, and
 * its mask says for
 * whom to wait: until none is under way that may still act on what is not known, nothing can be
 * certain.
 */
static bool is_lost(const struct race_set *s)
{
	return s->nr == 1 && s->s[0].v == RACE_ANY && s->s[0].mask;
}

static void lose_track(struct race_set *s, uint32_t acting)
{
	s->nr = 1;
	s->s[0] = (struct race_state){ RACE_ANY, acting };
}

/* Certain again when nothing that is left can make a difference. */
static void unset_if_certain(struct race_model *m, pf_value *cell, uint32_t others)
{
	const struct race_set *s = set_of(m, *cell);
	bool changes = false;
	pf_value v = s->s[0].v;

	for (uint32_t left = others; left; left &= left - 1)
		changes |= !m->p[__builtin_ctz(left)].looks;
	if (s->nr != 1 || s->s[0].mask || (changes && (others & (others - 1))))
		return;
	race_drop_set(m, *cell);
	*cell = v;
}

/* Only states stay in which the operation has happened; false when there is none, and all stay. */
static bool insist(struct race_set *s, uint32_t bit)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < s->nr; i++)
		nr += (s->s[i].mask & bit) != 0;
	if (!nr)
		return false;
	nr = 0;
	for (uint32_t i = 0; i < s->nr; i++)
		if (s->s[i].mask & bit)
			s->s[nr++] = s->s[i];
	s->nr = nr;
	return true;
}

/* An operation ends at a contended cell. False when it must have happened there and cannot have. */
static bool settle(struct race_model *m, struct race_file *f, uint32_t cell, uint32_t acting,
		   uint32_t bit, bool must)
{
	struct race_set *s = set_of(m, f->cells[cell]);
	uint32_t nr = 0;
	bool ok = true;

	if (is_lost(s)) {
		s->s[0].mask = (s->s[0].mask | acting) & ~bit;
	} else if (!close_set(m, s, cell, acting)) {
		lose_track(s, acting & ~bit);
	} else {
		ok = !must || insist(s, bit);
		for (uint32_t i = 0; i < s->nr; i++) {
			struct race_state t = { s->s[i].v, s->s[i].mask & ~bit };
			uint32_t k = 0;

			while (k < nr && (s->s[k].v != t.v || s->s[k].mask != t.mask))
				k++;
			if (k == nr)
				s->s[nr++] = t;
		}
		s->nr = nr;
	}
	unset_if_certain(m, &f->cells[cell], acting & ~bit);
	return ok;
}

static void tell(struct race_model *m, struct race_violation *v)
{
	if (!v->nr)
		return;
	m->nr_violations++;
	if (m->tell)
		m->tell(m->arg, v);
	v->nr = 0;
}

static void bad_cell(struct race_model *m, struct race_violation *run,
		     const struct race_violation *one)
{
	if (run->nr && run->bad == one->bad && run->cell + run->nr == one->cell &&
	    pf_value_op(run->saw) == pf_value_op(one->saw) &&
	    pf_value_op(run->want) == pf_value_op(one->want)) {
		run->nr++;
		return;
	}
	tell(m, run);
	*run = *one;
}

static pf_value one_of(const struct race_model *m, pf_value cell)
{
	return race_contended(cell) ? m->pool[(uint32_t)cell].s[0].v : cell;
}

/* A write or a zeroing ends at one cell that is contended, moved, or near the end of the file. */
static void end_cell(struct race_model *m, struct race_pend *p, uint32_t bit, uint32_t cell,
		     bool claim, struct race_violation *bad)
{
	uint32_t file = p->rec->file;
	struct race_file *f = &m->f[file];
	bool inside = !p->writes || p->rec->verb == PF_RACE_PWRITE || cell < p->size_lo;
	bool beyond = p->writes && p->rec->verb != PF_RACE_PWRITE && cell >= p->size_hi;

	if (beyond && claim && cell / RACE_PAGE_CELLS * RACE_PAGE_CELLS >= p->size_hi) {
		struct race_violation v = { .bad = RACE_BAD_CLAIM, .rec = p->rec, .file = file,
					    .cell = cell, .nr = 1 };

		bad_cell(m, bad, &v);
	}
	if (race_contended(f->cells[cell])) {
		settle(m, f, cell, acting_at(m, file, cell), bit, claim && inside);
		return;
	}
	if (beyond)
		return;
	f->seen[cell] = 0;
	if (cell >= p->moved_lo) {
		f->cells[cell] = RACE_ANY;
	} else if (claim && inside) {
		f->cells[cell] = effect_of(m, p, cell);
	} else {
		pf_value was = f->cells[cell], v = effect_of(m, p, cell);
		struct race_set *s = was == v ? NULL : set_new(m, &f->cells[cell]);

		if (s) {
			set_add(s, was, 0);
			set_add(s, v, 0);
		}
	}
}

/* It did nothing: where it was thought to act, only states stay in which it did not. */
static void forget(struct race_model *m, const struct race_pend *p, uint32_t bit)
{
	struct race_file *f = &m->f[p->rec->file];

	for (uint32_t c = p->lo; c < p->hi && c < f->nr_cells; c++) {
		struct race_set *s;
		uint32_t nr = 0;

		if (!race_contended(f->cells[c]))
			continue;
		s = set_of(m, f->cells[c]);
		if (is_lost(s)) {
			settle(m, f, c, acting_at(m, p->rec->file, c), bit, false);
			continue;
		}
		for (uint32_t i = 0; i < s->nr; i++)
			if (!(s->s[i].mask & bit))
				s->s[nr++] = s->s[i];
		if (!nr) /* somebody saw what it did not do: that was its violation, or is another's
			  */
			s->s[nr++] = (struct race_state){ RACE_ANY, 0 };
		s->nr = nr;
	}
}

/* Assign a whole stretch; what is contended in it is taken one by one. */
static void end_change(struct race_model *m, struct race_pend *p, uint32_t bit)
{
	const struct pf_race_rec *r = p->rec;
	struct race_file *f = &m->f[r->file];
	bool ok = r->ret_ns != PF_RACE_UNRETURNED && r->result >= 0;
	uint32_t hi = p->hi < f->nr_cells ? p->hi : f->nr_cells;
	uint32_t claimed = !ok ? p->lo : p->writes ? p->lo + (uint32_t)r->result : hi;
	uint32_t easy = claimed;
	struct race_violation bad = { .nr = 0 };
	pf_value v = effect_of(m, p, p->lo);

	if (race_refused(r)) {
		forget(m, p, bit);
		return;
	}
	if (p->writes && r->verb != PF_RACE_PWRITE && easy > p->size_lo)
		easy = p->size_lo > p->lo ? p->size_lo : p->lo;
	if (p->moved_lo < easy)
		easy = p->moved_lo > p->lo ? p->moved_lo : p->lo;
	if (easy > p->lo)
		memset(f->seen + p->lo, 0,
		       (p->writes || easy < f->limit ? easy : f->limit > p->lo ? f->limit : p->lo) -
			       p->lo);
	for (uint32_t c = p->lo, to; c < easy; c = to) {
		uint32_t stop = c < f->limit && f->limit < easy ? f->limit : easy;
		uint32_t acting = acting_from(m, r->file, c, stop, &to);

		if (!race_any_contended(f->cells + c, to - c)) {
			if (p->writes || c < f->limit) /* behind it all is zero */
				race_fill(f->cells + c, to - c,
					  v + (p->writes ? c - p->lo : 0), p->writes);
			continue;
		}
		for (uint32_t i = c; i < to; i++)
			if (race_contended(f->cells[i]))
				settle(m, f, i, acting, bit, true);
			else
				f->cells[i] = p->writes ? v + (i - p->lo) : PF_VALUE_ZERO;
	}
	for (uint32_t c = easy; c < hi; c++)
		end_cell(m, p, bit, c, c < claimed, &bad);
	tell(m, &bad);
}

/* Is something under way that changes the cell, or was while this look looked? */
static bool changing(const struct race_model *m, const struct race_pend *p, uint32_t cell)
{
	if (cell >= p->moved_lo || race_was_changed(p, cell))
		return true;
	for (uint32_t i = 0; i < m->nr_threads; i++)
		if (&m->p[i] != p && !m->p[i].looks && acts_at(&m->p[i], p->rec->file, cell))
			return true;
	return false;
}

/*
 * A direct read that meets a page which a store has just made dirty is told so by EIO (iomap:
 * "Direct
 * I/O collision with buffered writes"): loud, and where one I/O spans pages, for all of them.
 */
static bool file_changing(const struct race_model *m, const struct race_pend *p)
{
	if (p->nr_over || p->moved_lo != UINT32_MAX)
		return true;
	for (uint32_t i = 0; i < m->nr_threads; i++)
		if (m->p[i].rec && !m->p[i].looks && m->p[i].rec->file == p->rec->file)
			return true;
	return false;
}

static void adopt(struct race_model *m, struct race_file *f, uint32_t cell, pf_value v)
{
	race_drop_set(m, f->cells[cell]);
	f->cells[cell] = v;
}

/* One cell that a plain comparison did not explain. */
static void look_cell(struct race_model *m, struct race_pend *p, uint32_t acting, uint32_t cell,
		      pf_value saw, struct race_violation *bad)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t bit = 1u << (p - m->p);
	struct race_violation v = {.bad = RACE_BAD_VALUE,
				   .rec = p->rec,
				   .file = p->rec->file,
				   .cell = cell,
				   .nr = 1,
				   .saw = saw,
				   .want = one_of(m, f->cells[cell]),
				   .seen_view = f->seen[cell]};

	/* A shift or clone overlaps: it may have seen the cell before it or after, so it says
	 * nothing of
	 * what is there now. */
	if (cell >= p->moved_lo) {
		if (race_contended(f->cells[cell]))
			settle(m, f, cell, acting, bit, false);
		m->undecided++;
		return;
	}
	if (f->cells[cell] == RACE_ANY) {
		m->undecided++;
		f->cells[cell] = saw;
		return;
	}
	if (race_contended(f->cells[cell]) ? settle(m, f, cell, acting, bit, true) :
					     f->cells[cell] == saw)
		return;
	bad_cell(m, bad, &v);
	if (!race_contended(f->cells[cell]))
		adopt(m, f, cell, saw);
}

static void look_odd(struct race_model *m, struct race_pend *p, uint32_t cell,
		     const struct pf_race_run *run, struct race_violation *bad)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_violation v = { .bad = RACE_BAD_READ, .rec = p->rec, .file = p->rec->file,
				    .cell = cell, .nr = 1, .saw = run->value,
				    .want = one_of(m, f->cells[cell]), .run_kind = run->kind };
	bool excused = false;

	if (run->kind == PF_RUN_TORN)
		excused = f->cells[cell] == RACE_ANY || changing(m, p, cell) ||
			  race_contended(f->cells[cell]);
	else if (run->kind == PF_RUN_ERROR && run->value == EIO)
		excused = p->rec->what == PF_VIEW_DIRECT && file_changing(m, p);
	else if (run->kind == PF_RUN_ERROR)
		excused = (run->value == EFAULT || !run->value) && cell >= p->size_lo;
	if (race_contended(f->cells[cell]))
		settle(m, f, cell, acting_at(m, p->rec->file, cell), 1u << (p - m->p), false);
	if (excused)
		m->undecided++;
	else
		bad_cell(m, bad, &v);
}

static void end_look(struct race_model *m, struct race_pend *p)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_violation bad = { .nr = 0 };
	uint32_t cell = p->lo, acting = 0, acting_to = 0;

	if (!race_room(m, f, p->hi))
		return;
	for (uint32_t i = 0; i < p->rec->nr_runs; i++) {
		const struct pf_race_run *run = &p->runs[i];
		uint64_t step = run->kind == PF_RUN_CELLS;
		pf_value v = step ? run->value : PF_VALUE_ZERO;

		m->checked += run->count;
		if ((run->kind == PF_RUN_CELLS || run->kind == PF_RUN_ZERO) &&
		    race_all_are(f->cells + cell, run->count, v, step)) {
			memset(f->seen + cell, p->rec->what + 1, run->count);
			cell += run->count;
			continue;
		}
		for (uint32_t k = 0; k < run->count; k++, cell++, v += step) {
			if (cell >= acting_to)
				acting = acting_from(m, p->rec->file, cell, p->hi, &acting_to);
			if (run->kind != PF_RUN_CELLS && run->kind != PF_RUN_ZERO)
				look_odd(m, p, cell, run, &bad);
			else if (f->cells[cell] != v)
				look_cell(m, p, acting, cell, v, &bad);
			else
				f->seen[cell] = p->rec->what + 1;
		}
	}
	tell(m, &bad);
}

static void end(struct race_model *m, const struct race_event *ev)
{
	struct race_pend *p = &m->p[ev->thread];
	uint32_t bit = 1u << ev->thread;
	struct race_violation v = { .bad = RACE_BAD_SIZE, .rec = p->rec, .nr = 1 };

	m->operations++;
	if (!p->rec)
		return;
	v.file = p->rec->file;
	if (p->moves)
		race_end_move(m, p);
	if (!race_sizes_end(m, p, &v.want)) {
		v.saw = p->rec->size_cells;
		tell(m, &v);
	}
	if (p->looks)
		end_look(m, p);
	else if (!p->moves)
		end_change(m, p, bit);
	race_note_change(m, p);
	p->rec = NULL;
}

void race_model_event(struct race_model *m, const struct race_event *ev)
{
	if (ev->begins)
		begin(m, ev);
	else
		end(m, ev);
}
