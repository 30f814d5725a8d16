// SPDX-License-Identifier: GPL-2.0
/*
 * race_plain.c - most operations begin and end before anything else happens. Where they meet
 * nobody, or those that they meet need not know of them, nothing has to be remembered of them, and
 * what they do is done at once.
 *
 * This is a shorter way and no other model: what it does not take has changed nothing that the long
 * one would not have changed as well.
 */
#include "race_set.h"

/* The size that a look saw is one that the file may have, and says nothing new. */
static bool size_explains(const struct race_file *f, uint32_t size)
{
	bool seen = false;

	if (!f->sizing)
		return f->nr_sizes == 1 && f->size[0].v == size && f->limit == size;
	for (uint32_t i = 0; i < race_least(f->nr_sizes, RACE_SIZES_MAX); i++)
		seen |= f->size[i].v == size;
	return seen;
}

/* Is it behind no end that the file may have? */
static bool inside(const struct race_file *f, uint32_t hi)
{
	if (f->nr_sizes > RACE_SIZES_MAX || hi > f->nr_cells)
		return false;
	for (uint32_t i = 0; i < f->nr_sizes; i++)
		if (f->size[i].v < hi)
			return false;
	return true;
}

/* Who of @threads acts on, or looks at, a cell from @lo to @hi? What moves cells acts on all from
 * its first one on. */
static uint32_t met_by(struct race_model *m, uint32_t threads, uint32_t lo, uint32_t hi)
{
	uint32_t who = 0;

	for (; threads; threads &= threads - 1) {
		const struct race_pend *q = race_first(m, threads);

		who |= threads & -threads & -(uint32_t)((q->lo < hi) & (q->hi > lo));
	}
	return who;
}

/* Changes that move cells, or the file's end. */
static bool any_sizes(struct race_model *m, uint32_t threads)
{
	bool any = false;

	for (; threads; threads &= threads - 1)
		any |= race_first(m, threads)->sizes;
	return any;
}

/* May anything be there? */
static bool may_be_any(const struct race_set *s)
{
	bool any = false;

	for (uint32_t i = 0; i < s->nr; i++)
		any |= s->s[i].v == RACE_ANY;
	return any;
}

/*
 * A look saw @saw from @lo on, where @is is. It is what a write under way leaves; or no change is,
 * and it is one of what may be there, or that was not known. Returns up to where, @lo: it is none
 * of these.
 */
static uint32_t explain(struct race_model *m, const struct pf_race_rec *look, pf_value is,
			uint32_t lo, uint32_t hi, pf_value saw)
{
	struct race_file *f = &m->f[look->file];
	uint32_t others = met_by(m, f->pending & ~f->looking, lo, hi);

	if (race_contended(is))
		return !others && !may_be_any(race_set_of(m, is)) &&
				       race_set_seen(m, f, (uint32_t)is, lo, hi, saw) ?
			       hi :
			       lo;
	if (is == RACE_ANY && !others) {
		race_fill(f, lo, hi, saw);
		m->undecided += hi - lo;
		return hi;
	}
	if (is == RACE_ANY || any_sizes(m, others))
		return lo;
	return race_acted(m, look, UINT32_MAX, others, lo, hi, saw);
}

/* A look saw nothing but what is there, or explain() knows why, and the size is one that it must
 * be. */
static bool saw_as_is(struct race_model *m, const struct race_event *ev)
{
	const struct pf_race_rec *r = ev->rec;
	struct race_file *f = &m->f[r->file];
	uint32_t lo = r->first_cell, c = lo, at;

	if (!size_explains(f, r->size_cells) || lo >= f->nr_cells)
		return false;
	at = race_begin_of(f, lo);
	for (uint32_t i = 0; i < r->nr_runs; i++) {
		const struct pf_race_run *run = &ev->runs[i];
		pf_value v = run->kind == PF_RUN_CELLS ? run->value : PF_VALUE_ZERO;
		uint32_t from = c, hi = c + run->count, to;

		if (run->kind > PF_RUN_CELLS || hi > f->nr_cells)
			return false;
		for (; c < hi; c = to) {
			pf_value saw = race_value_on(v, c - from);

			at = f->here[at].end > c ? at : c;
			to = race_least(f->here[at].end, hi);
			if (race_value_on(f->here[at].v, c - at) == saw)
				continue;
			to = explain(m, r, f->here[at].v, c, to, saw);
			if (to == c)
				return false;
			at = race_begin_of(f, c);
		}
	}
	m->checked += c - lo;
	race_saw_by(f, lo, c, r->what + 1u);
	return true;
}

/*
 * A write inside the file, which returned well. It meets nobody, or, where all is certain, others
 * under way to whom it need not be known: looks that see what it replaces, or changes that it may
 * have replaced.
 */
static bool wrote_plainly(struct race_model *m, const struct race_event *ev)
{
	const struct pf_race_rec *r = ev->rec;
	struct race_file *f = &m->f[r->file];
	uint32_t lo = r->first_cell, hi = lo + r->nr_cells, met, looks;
	pf_value v = pf_value_make(r->op, f->id, lo);
	bool contended;

	if (!inside(f, hi) || r->result != (int32_t)r->nr_cells || lo >= hi)
		return false;
	met = met_by(m, f->pending, lo, hi);
	looks = met & f->looking;
	if ((looks && met != looks) || any_sizes(m, met))
		return false;
	contended = race_first_contended(f, lo, hi) < hi;
	if (met && contended)
		return false;
	if (looks)
		race_act_alone(m, looks, lo, hi);
	race_saw_by(f, lo, hi, 0);
	if (contended) {
		race_drop_sets(m, f, lo, hi);
		race_fill(f, lo, hi, v);
	} else {
		race_fill_new(f, lo, hi, v);
	}
	if (met & ~looks)
		race_doubt(m, met, true, lo, hi);
	if (f->looking)
		race_note_change(m, f, lo, hi);
	return true;
}

bool race_plain(struct race_model *m, const struct race_event *ev)
{
	if (ev->rec->verb == PF_RACE_LOOK)
		return saw_as_is(m, ev);
	return ev->rec->verb != PF_RACE_FAULT && wrote_plainly(m, ev);
}
