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

static void free_marks(struct race_pend *p)
{
	free(p->explained.bits);
	free(p->done.bits);
	free(p->doubtful.bits);
}

void race_model_exit(struct race_model *m)
{
	for (uint32_t i = 0; i < m->nr_files; i++) {
		free(m->f[i].here);
		free(m->f[i].saw);
		free(m->f[i].begins);
		free(m->f[i].words);
		free(m->f[i].sets);
	}
	for (uint32_t i = 0; i < PF_RACE_THREADS_MAX; i++)
		free_marks(&m->p[i]);
	free(m->pool);
	free(m->taken);
}

/* Beginnings. */

/* What does it do, and where? False: it changes nothing and sees nothing. */
static bool describe(struct race_pend *p, const struct race_event *ev)
{
	const struct pf_race_rec *r = ev->rec;

	memset(p, 0, offsetof(struct race_pend, over));
	p->explained.words = p->done.words = p->doubtful.words = 0;
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
		} else if (race_overlap(p, q, &lo, &hi)) {
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

void race_tell(struct race_model *m, struct race_violation *v)
{
	if (!v->nr)
		return;
	m->nr_violations++;
	if (m->tell)
		m->tell(m->arg, v);
	v->nr = 0;
}

void race_bad_cell(struct race_model *m, struct race_violation *run,
		   const struct race_violation *one)
{
	if (run->nr && run->bad == one->bad && run->cell + run->nr == one->cell &&
	    pf_value_op(run->saw) == pf_value_op(one->saw) &&
	    pf_value_op(run->want) == pf_value_op(one->want)) {
		run->nr += one->nr;
		return;
	}
	race_tell(m, run);
	*run = *one;
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
	uint32_t others = p->meets & ~f->looking;
	bool moved = lo >= p->moved_lo, ok = false;

	if (race_marked(p, &p->explained, lo, &hi))
		return race_contended(is) ? race_settle(m, p, is, lo, hi, false, &ok) :
					    race_end_of(f, lo, hi);
	hi = moved ? hi : race_before(hi, p->moved_lo, lo);
	/* It saw something else than what was there before those that are under way. */
	if (!race_contended(is) && others) {
		uint32_t end = race_end_of(f, lo, hi);
		uint32_t to = lo;

		if (!moved && is != RACE_ANY)
			to = race_acted(m, p->rec, ~race_bit(m, p), others, lo, end, saw);
		if (to > lo)
			return to;
		race_contend_with(m, p, others, lo, end);
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

		race_bad_cell(m, bad, &v);
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
	race_settle_all(m, p, cell, cell + 1, false);
	if (excused)
		m->undecided++;
	else
		race_bad_cell(m, bad, &v);
}

/* What is there, from *@as_is on, is what it saw; and what it sees at @run, from @lo to @hi? */
static void look_run(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi,
		     const struct pf_race_run *run, uint32_t *as_is, struct race_violation *bad)
{
	struct race_file *f = &m->f[p->rec->file];
	pf_value v = run->kind == PF_RUN_CELLS ? run->value : PF_VALUE_ZERO;

	if (run->kind != PF_RUN_CELLS && run->kind != PF_RUN_ZERO) {
		race_saw_by(f, *as_is, lo, p->rec->what + 1u);
		for (uint32_t c = lo; c < hi; c++)
			look_odd(m, p, c, run, bad);
		*as_is = hi;
		return;
	}
	for (uint32_t c = lo, to; c < hi && !m->out_of_memory; c = to) {
		pf_value saw = race_value_on(v, c - lo);

		if (race_at(f, c) != saw) {
			race_saw_by(f, *as_is, c, p->rec->what + 1u);
			*as_is = to = look_stretch(m, p, c, hi, saw, bad);
			continue;
		}
		to = race_end_of(f, c, hi);
	}
}

static void end_look(struct race_model *m, struct race_pend *p)
{
	struct race_violation bad = { .nr = 0 };
	uint32_t cell = p->lo, as_is = cell;

	if (!race_room(m, &m->f[p->rec->file], p->hi))
		return;
	for (uint32_t i = 0; i < p->rec->nr_runs; i++) {
		m->checked += p->runs[i].count;
		look_run(m, p, cell, cell + p->runs[i].count, &p->runs[i], &as_is,
			 &bad);
		cell += p->runs[i].count;
	}
	race_saw_by(&m->f[p->rec->file], as_is, cell, p->rec->what + 1u);
	race_tell(m, &bad);
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

	race_tell(m, &v);
}

static void end(struct race_model *m, struct race_pend *p)
{
	const struct race_file *f = &m->f[p->rec->file];
	pf_value size = f->size[0].v;

	if (p->looks) {
		if (!race_sizes_seen(m, p))
			bad_size(m, p, size);
		end_look(m, p);
	} else {
		if (p->moves)
			race_end_move(m, p);
		else if (!race_refused(p->rec))
			race_act_seen(m, p, UINT32_MAX, p->lo, race_least(p->hi, f->nr_cells));
		if (p->sizes)
			race_sizes_end(m, p);
		if (!p->moves)
			race_end_change(m, p);
		race_note_change(m, &m->f[p->target], p->lo, p->hi);
	}
	leave(m, p);
}

/* Out of the way of those that are plain. */
static __attribute__((noinline)) void follow(struct race_model *m, const struct race_event *ev)
{
	struct race_pend *p = &m->p[ev->thread];

	if (ev->begins && describe(p, ev))
		begin(m, p, ev->ends);
	m->operations += ev->ends;
	if (ev->ends && p->rec && !m->out_of_memory)
		end(m, p);
}

void race_model_event(struct race_model *m, const struct race_event *ev)
{
	if (ev->begins && ev->ends && race_plain(m, ev))
		m->operations++;
	else
		follow(m, ev);
}
