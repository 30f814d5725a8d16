// SPDX-License-Identifier: GPL-2.0
/* race_model.c - cells of a race; see race_model.h. Sizes and moves are in race_move.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/fault.h"
#include "../core/seq.h" /* views */
#include "race_int.h"

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
		if (!race_room(m, f, h->files[i].cells ? h->files[i].cells : 1))
			return -ENOMEM;
		race_fill(f, 0, h->files[i].cells, pf_value_make(h->files[i].op, f->id, 0));
	}
	return 0;
}

void race_model_exit(struct race_model *m)
{
	for (uint32_t i = 0; i < m->nr_files; i++) {
		free(m->f[i].cells);
		free(m->f[i].saw);
		free(m->f[i].begins);
		free(m->f[i].words);
	}
	for (uint32_t i = 0; i < PF_RACE_THREADS_MAX; i++)
		free(m->p[i].marks);
	free(m->pool);
	free(m->taken);
}

/* Beginnings. */

/* Do they act on, or look at, the same cells? */
static bool overlap(const struct race_pend *a, const struct race_pend *b, uint32_t *lo,
		    uint32_t *hi)
{
	*lo = a->lo > b->lo ? a->lo : b->lo;
	*hi = a->hi < b->hi ? a->hi : b->hi;
	return a->rec->file == b->rec->file && *lo < *hi;
}

/* Between @from and @to what the cells hold on which both act is followed. */
static void contend(struct race_model *m, const struct race_pend *a, const struct race_pend *b,
		    uint32_t from, uint32_t to)
{
	struct race_file *f = &m->f[a->rec->file];
	uint32_t lo, hi;

	if (!overlap(a, b, &lo, &hi))
		return;
	lo = lo > from ? lo : from;
	hi = hi < to ? hi : to;
	/* Behind the limit there is nothing to zero. */
	if (!a->writes && !b->writes && hi > f->limit)
		hi = f->limit;
	race_contend(m, f, lo, hi);
}

static void contend_with(struct race_model *m, const struct race_pend *p, uint32_t others,
			 uint32_t from, uint32_t to)
{
	for (; others; others &= others - 1)
		contend(m, p, race_first(m, others), from, to);
}

/* What does it do, and where? False: it changes nothing and sees nothing. */
static bool describe(struct race_pend *p, const struct race_event *ev)
{
	const struct pf_race_rec *r = ev->rec;

	memset(p, 0, offsetof(struct race_pend, over));
	p->rec = r;
	p->runs = ev->runs;
	p->lo = p->run_cell = r->first_cell;
	p->hi = r->first_cell + r->nr_cells;
	p->moved_lo = UINT32_MAX;
	p->target = r->file;
	if (r->verb == PF_RACE_LOOK) {
		p->looks = true;
		p->hi = p->lo;
		for (uint32_t i = 0; i < r->nr_runs; i++)
			p->hi += ev->runs[i].count;
	} else if (r->verb != PF_RACE_FAULT) {
		p->writes = true;
	} else if (r->what == PF_PRIM_ZERO) {
		p->zeroes = true;
	} else if (r->what == PF_PRIM_RESIZE) {
		p->zeroes = p->sizes = true;
		p->hi = UINT32_MAX;
	} else if (r->what == PF_PRIM_COLLAPSE || r->what == PF_PRIM_INSERT) {
		p->moves = p->sizes = true;
		p->hi = UINT32_MAX;
	} else if (r->what == PF_PRIM_COPY) {
		p->moves = p->sizes = true;
		p->hi = UINT32_MAX;
		p->lo = 0;
		p->target = r->file2;
	} else {
		p->rec = NULL;
	}
	return p->rec;
}

/* @p begins. @alone: and ends, before any other does. */
static void begin(struct race_model *m, struct race_pend *p, bool alone)
{
	struct race_file *from = &m->f[p->rec->file], *f = &m->f[p->target];
	uint32_t bit = race_bit(m, p);

	if (p->writes && !race_room(m, f, p->hi))
		return;
	for (uint32_t left = from->pending | f->pending; left; left &= left - 1) {
		struct race_pend *q = race_first(m, left);
		uint32_t lo, hi;

		if (p->moves || q->moves) {
			race_overlap_move(p, q);
		} else if (overlap(p, q, &lo, &hi)) {
			p->meets |= race_bit(m, q);
			q->meets |= bit;
		}
	}
	race_sizes_begin(m, p);
	if (alone && !p->sizes)
		return; /* nobody will ask for it */
	from->pending |= bit;
	f->pending |= bit;
	f->looking |= p->looks ? bit : 0;
}

/* Ends. */

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
		run->nr += one->nr;
		return;
	}
	tell(m, run);
	*run = *one;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t before(uint32_t hi, uint32_t border, uint32_t lo)
{
	return border > lo && border < hi ? border : hi;
}

static uint32_t settle_all(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi,
			   bool must)
{
	const struct race_file *f = &m->f[p->rec->file];
	bool ok;

	while (lo < hi) {
		pf_value is = race_at(f, lo);

		if (!race_contended(is))
			break;
		lo = race_settle(m, p, is, lo, hi, must, &ok);
	}
	return lo;
}

/* A write or a zeroing ends at cells that are moved, not claimed, or near the end of the file: in
 * one way at all of them. */
static void end_odd(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi, bool claim,
		    struct race_violation *bad)
{
	uint32_t file = p->rec->file;
	struct race_file *f = &m->f[file];
	bool inside = !p->writes || p->rec->verb == PF_RACE_PWRITE || lo < p->size_lo;
	bool beyond = p->writes && p->rec->verb != PF_RACE_PWRITE && lo >= p->size_hi;

	if (beyond && claim && lo / RACE_PAGE_CELLS * RACE_PAGE_CELLS >= p->size_hi) {
		struct race_violation v = { .bad = RACE_BAD_CLAIM, .rec = p->rec, .file = file,
					    .cell = lo, .nr = hi - lo };

		bad_cell(m, bad, &v);
	}
	for (uint32_t c = lo, to; c < hi; c = to) {
		if (race_contended(race_at(f, c))) {
			to = settle_all(m, p, c, hi, claim && inside);
			continue;
		}
		to = race_first_contended(f, c, hi);
		if (beyond)
			continue;
		race_set_saw(f, c, to, 0);
		if (c >= p->moved_lo)
			race_fill(f, c, to, RACE_ANY);
		else if (claim && inside)
			race_fill(f, c, to, race_effect(m, p, c));
		else
			race_either(m, f, c, to, race_effect(m, p, c));
	}
}

/* It ends in one way from @lo on up to here. */
static uint32_t alike(const struct race_pend *p, uint32_t lo, uint32_t hi, uint32_t claimed)
{
	uint32_t page = p->size_hi > UINT32_MAX - RACE_PAGE_CELLS ? UINT32_MAX :
			(p->size_hi + RACE_PAGE_CELLS - 1) / RACE_PAGE_CELLS * RACE_PAGE_CELLS;

	hi = before(hi, claimed, lo);
	hi = before(hi, p->moved_lo, lo);
	hi = before(hi, p->size_lo, lo);
	hi = before(hi, p->size_hi, lo);
	return before(hi, page, lo);
}

/* At these cells other changes need not act any more. */
static void replaces(struct race_model *m, const struct race_pend *p, uint32_t others, uint32_t lo,
		     uint32_t hi)
{
	for (; others; others &= others - 1) {
		struct race_pend *q = race_first(m, others);

		if (p->writes || q->writes)
			race_mark(m, q, lo > q->lo ? lo : q->lo, least(hi, q->hi));
	}
}

/* Cells that are certain: it acts there, or has been replaced. */
static void assign(struct race_model *m, struct race_pend *p, uint32_t others, uint32_t lo,
		   uint32_t hi)
{
	struct race_file *f = &m->f[p->rec->file];

	for (uint32_t c = lo, to; c < hi; c = to) {
		to = hi;
		if (race_marked(p, c, &to)) {
			race_either(m, f, c, to, race_effect(m, p, c));
			continue;
		}
		replaces(m, p, others, c, to);
		race_fill(f, c, to, race_effect(m, p, c));
	}
}

/* Assign a whole stretch; what is contended in it is settled. */
static void end_plain(struct race_model *m, struct race_pend *p, uint32_t easy)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t others = p->meets & ~f->looking;
	/* Behind the limit all is zero. */
	uint32_t known = p->writes || easy < f->limit ? easy : f->limit > p->lo ? f->limit : p->lo;

	race_set_saw(f, p->lo, known, 0);
	/* It has been replaced, or replaces, and so have others. */
	for (uint32_t c = p->lo, to; others && p->mark_words && c < easy; c = to) {
		to = easy;
		if (race_marked(p, c, &to))
			contend_with(m, p, others, c, to);
	}
	for (uint32_t c = p->lo; c < easy;) {
		uint32_t to = race_first_contended(f, c, easy);

		assign(m, p, others, c, to);
		c = settle_all(m, p, to, easy, true);
	}
}

/* One of @others may have put there what was seen at cells from @lo to @hi, @saw at the first. */
static void contend_seen(struct race_model *m, struct race_file *f, uint32_t others, uint32_t lo,
			 uint32_t hi, pf_value saw)
{
	for (; others; others &= others - 1) {
		const struct race_pend *q = race_first(m, others);
		uint32_t a = lo > q->lo ? lo : q->lo, b = least(hi, q->hi);

		if (a < b && (b > q->moved_lo ||
			      race_effect(m, q, a) == race_value_on(saw, a - lo)))
			race_contend(m, f, a, b);
	}
}

/*
 * A change ends: @look, which is under way, may have seen what it finds there. Or, if it saw what
 * another change leaves, that had acted before this one: only states can tell.
 */
static void end_beneath(struct race_model *m, struct race_pend *p, struct race_pend *look)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t others = p->meets & ~f->looking, lo, hi;
	pf_value saw;

	overlap(p, look, &lo, &hi);
	hi = least(hi, f->nr_cells);
	for (uint32_t c = lo, to, run; c < hi; c = to) {
		pf_value is = race_at(f, c);
		bool sees = race_seen(look, c, &saw, &run);

		to = least(race_end_of(f, c, hi), run);
		if (!sees || race_contended(is) || race_marked(look, c, &to))
			continue;
		if (is == saw || is == RACE_ANY)
			race_mark(m, look, c, to);
		else if (others && saw != race_effect(m, p, c))
			contend_seen(m, f, others, c, to, saw);
		m->undecided += is == RACE_ANY ? to - c : 0;
	}
}

static void end_seen(struct race_model *m, struct race_pend *p)
{
	for (uint32_t looks = p->meets & m->f[p->rec->file].looking; looks; looks &= looks - 1)
		end_beneath(m, p, race_first(m, looks));
}

static void end_change(struct race_model *m, struct race_pend *p)
{
	const struct pf_race_rec *r = p->rec;
	struct race_file *f = &m->f[r->file];
	bool ok = r->ret_ns != PF_RACE_UNRETURNED && r->result >= 0;
	uint32_t hi = least(p->hi, f->nr_cells);
	uint32_t claimed = !ok ? p->lo : p->writes ? p->lo + (uint32_t)r->result : hi;
	uint32_t easy = claimed;
	struct race_violation bad = { .nr = 0 };

	if (race_refused(r)) {
		race_forget(m, p);
		return;
	}
	if (p->writes && r->verb != PF_RACE_PWRITE && easy > p->size_lo)
		easy = p->size_lo > p->lo ? p->size_lo : p->lo;
	if (p->moved_lo < easy)
		easy = p->moved_lo > p->lo ? p->moved_lo : p->lo;
	if (easy > p->lo)
		end_plain(m, p, easy);
	contend_with(m, p, p->meets & ~f->looking, easy, hi);
	for (uint32_t c = easy, to; c < hi; c = to) {
		to = alike(p, c, hi, claimed);
		end_odd(m, p, c, to, c < claimed, &bad);
	}
	tell(m, &bad);
}

/* Is something under way that changes the cell, or was while this look looked? */
static bool changing(struct race_model *m, const struct race_pend *p, uint32_t cell)
{
	if (cell >= p->moved_lo || race_was_changed(p, cell))
		return true;
	for (uint32_t left = p->meets; left; left &= left - 1) {
		const struct race_pend *q = race_first(m, left);

		if (!q->looks && cell >= q->lo && cell < q->hi)
			return true;
	}
	return false;
}

/*
 * A direct read that meets a page which a store has just made dirty is told so by EIO (iomap:
 * "Direct I/O collision with buffered writes"): loud, and where one I/O spans pages, for all of
 * them.
 */
static bool file_changing(const struct race_model *m, const struct race_pend *p)
{
	if (p->nr_over || p->moved_lo != UINT32_MAX)
		return true;
	return m->f[p->rec->file].pending & ~m->f[p->rec->file].looking;
}

/* Cells from @lo on that hold the same, and of which the plain comparison did not explain the
 * first. Returns where the explanation ends; @saw is the first's. */
static uint32_t look_stretch(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi,
			     pf_value saw, struct race_violation *bad)
{
	struct race_file *f = &m->f[p->rec->file];
	pf_value is = race_at(f, lo);
	bool moved = lo >= p->moved_lo, ok = false;

	if (race_marked(p, lo, &hi))
		return race_contended(is) ? race_settle(m, p, is, lo, hi, false, &ok) :
					    race_end_of(f, lo, hi);
	hi = moved ? hi : before(hi, p->moved_lo, lo);
	/* It saw something else than what was there before those that are under way. */
	if (!race_contended(is) && p->meets & ~f->looking) {
		contend_with(m, p, p->meets & ~f->looking, lo, race_end_of(f, lo, hi));
		is = race_at(f, lo);
	}
	if (race_contended(is))
		hi = race_settle(m, p, is, lo, hi, !moved, &ok);
	else
		hi = race_end_of(f, lo, hi);
	/* A shift or clone overlaps: it may have seen the cell before it or after, so it says
	 * nothing of what is there now. */
	if (moved || is == RACE_ANY)
		m->undecided += hi - lo;
	if (moved)
		return hi;
	if (ok)
		return hi;
	if (is != RACE_ANY) {
		struct race_violation v = {.bad = RACE_BAD_VALUE,
					   .rec = p->rec,
					   .file = p->rec->file,
					   .cell = lo,
					   .nr = hi - lo,
					   .saw = saw,
					   /* Where nothing explains it all that may be stays. */
					   .want = race_one_of(m, f, lo),
					   .seen_view = race_who_saw(f, lo)};

		bad_cell(m, bad, &v);
	}
	/* What was seen counts from here on, so that one loss is told once. Not so zeros through a
	 * mapping: they may be a page that lingers there, and whether the data is lost is for the
	 * next look to say. */
	if (!race_contended(race_at(f, lo)) &&
	    (saw || p->rec->what != PF_VIEW_MMAP || is == RACE_ANY))
		race_fill(f, lo, hi, saw);
	return hi;
}

static void look_odd(struct race_model *m, struct race_pend *p, uint32_t cell,
		     const struct pf_race_run *run, struct race_violation *bad)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_violation v = { .bad = RACE_BAD_READ, .rec = p->rec, .file = p->rec->file,
				    .cell = cell, .nr = 1, .saw = run->value,
				    .want = race_one_of(m, f, cell),
				    .run_kind = run->kind };
	bool excused = false;

	if (run->kind == PF_RUN_TORN)
		excused = race_at(f, cell) == RACE_ANY || changing(m, p, cell) ||
			  race_contended(race_at(f, cell));
	else if (run->kind == PF_RUN_ERROR && run->value == EIO)
		excused = p->rec->what == PF_VIEW_DIRECT && file_changing(m, p);
	else if (run->kind == PF_RUN_ERROR)
		excused = (run->value == EFAULT || !run->value) && cell >= p->size_lo;
	settle_all(m, p, cell, cell + 1, false);
	if (excused)
		m->undecided++;
	else
		bad_cell(m, bad, &v);
}

static void look_run(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi,
		     const struct pf_race_run *run, struct race_violation *bad)
{
	struct race_file *f = &m->f[p->rec->file];
	pf_value v = run->kind == PF_RUN_CELLS ? run->value : PF_VALUE_ZERO;

	if (run->kind != PF_RUN_CELLS && run->kind != PF_RUN_ZERO) {
		for (uint32_t c = lo; c < hi; c++)
			look_odd(m, p, c, run, bad);
		return;
	}
	for (uint32_t c = lo, to; c < hi && !m->out_of_memory; c = to) {
		pf_value saw = race_value_on(v, c - lo);

		if (race_at(f, c) != saw) {
			to = look_stretch(m, p, c, hi, saw, bad);
			continue;
		}
		to = race_end_of(f, c, hi);
		race_set_saw(f, c, to, p->rec->what + 1u);
	}
}

static void end_look(struct race_model *m, struct race_pend *p)
{
	struct race_violation bad = { .nr = 0 };
	uint32_t cell = p->lo;

	if (!race_room(m, &m->f[p->rec->file], p->hi))
		return;
	for (uint32_t i = 0; i < p->rec->nr_runs; i++) {
		m->checked += p->runs[i].count;
		look_run(m, p, cell, cell + p->runs[i].count, &p->runs[i], &bad);
		cell += p->runs[i].count;
	}
	tell(m, &bad);
}

static void leave(struct race_model *m, struct race_pend *p)
{
	struct race_file *f = &m->f[p->rec->file], *to = &m->f[p->target];
	uint32_t others = ~race_bit(m, p);

	for (uint32_t left = p->meets; left; left &= left - 1)
		race_first(m, left)->meets &= others;
	f->pending &= others;
	f->looking &= others;
	to->pending &= others;
	to->sizing &= others;
	p->rec = NULL;
}

static void bad_size(struct race_model *m, const struct race_pend *p, pf_value want)
{
	struct race_violation v = { .bad = RACE_BAD_SIZE, .rec = p->rec, .file = p->rec->file,
				    .nr = 1, .want = want, .saw = p->rec->size_cells };

	tell(m, &v);
}

static void end(struct race_model *m, struct race_pend *p)
{
	pf_value size = m->f[p->rec->file].size[0].v;

	if (p->looks) {
		if (!race_sizes_seen(m, p))
			bad_size(m, p, size);
		end_look(m, p);
	} else {
		if (p->moves)
			race_end_move(m, p);
		else if (!race_refused(p->rec))
			end_seen(m, p); /* by the sizes there were */
		if (p->sizes)
			race_sizes_end(m, p);
		if (!p->moves)
			end_change(m, p);
		race_note_change(m, p);
	}
	leave(m, p);
}

void race_model_event(struct race_model *m, const struct race_event *ev)
{
	struct race_pend *p = &m->p[ev->thread];

	if (ev->begins && describe(p, ev))
		begin(m, p, ev->ends);
	m->operations += ev->ends;
	if (ev->ends && p->rec && !m->out_of_memory)
		end(m, p);
}
