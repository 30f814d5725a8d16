// SPDX-License-Identifier: GPL-2.0
/*
 * race_settle.c - what cells may hold when an operation ends there; see race_set.h.
 *
 * Just-in-time linearization: before an operation ends, every one under way may act, and states in
 * which it has not acted are dropped.
 */
#include "race_set.h"

bool race_seen(struct race_pend *p, uint32_t cell, pf_value *v, uint32_t *to)
{
	const struct pf_race_run *run;

	*to = UINT32_MAX;
	while (cell < p->run_cell)
		p->run_cell -= p->runs[--p->run].count;
	while (p->run < p->rec->nr_runs && cell >= p->run_cell + p->runs[p->run].count)
		p->run_cell += p->runs[p->run++].count;
	if (p->run == p->rec->nr_runs)
		return false;
	run = &p->runs[p->run];
	*to = p->run_cell + run->count;
	*v = run->kind == PF_RUN_CELLS ? run->value + (cell - p->run_cell) : PF_VALUE_ZERO;
	return run->kind == PF_RUN_CELLS || run->kind == PF_RUN_ZERO;
}

pf_value race_effect(const struct race_model *m, const struct race_pend *p, uint32_t cell)
{
	return p->writes ? pf_value_make(p->rec->op, m->f[p->rec->file].id, cell) : PF_VALUE_ZERO;
}

/* May the write reach the cell at all, as far as sizes go? */
static bool reaches(const struct race_pend *p, uint32_t cell)
{
	return !p->writes || p->rec->verb == PF_RACE_PWRITE || cell < p->size_hi;
}

/* Who acts on a cell, and what each would make of it, or has seen there. */
struct acting {
	uint32_t nr_changes, nr_looks;
	struct act {
		uint32_t bit;
		pf_value v;
	} change[PF_RACE_THREADS_MAX], look[PF_RACE_THREADS_MAX];
};

/* What @p leaves at @lo, if it gets there; *@hi: up to where that is so in the same way. */
static bool leaves(const struct race_model *m, const struct race_pend *p, uint32_t lo,
		   uint32_t *hi, pf_value *v)
{
	*hi = race_before(*hi, p->moved_lo, lo);
	if (p->writes)
		*hi = race_before(*hi, p->size_hi, lo);
	/* It may have been shifted away, and what is here came. */
	*v = lo >= p->moved_lo ? RACE_ANY : race_effect(m, p, lo);
	return reaches(p, lo);
}

/* Who of @threads acts on @lo; *@hi: and on all cells up to there, or on none. */
static uint32_t acting_on(struct race_model *m, uint32_t threads, uint32_t lo, uint32_t *hi)
{
	uint32_t all = 0;

	for (; threads; threads &= threads - 1) {
		const struct race_pend *p = race_first(m, threads);

		if (p->lo <= lo && p->hi > lo) {
			all |= threads & -threads;
			*hi = p->hi < *hi ? p->hi : *hi;
		} else {
			*hi = race_before(*hi, p->lo, lo);
		}
	}
	return all;
}

static uint32_t explained_by_all(const struct race_set *s)
{
	uint32_t mask = UINT32_MAX;

	for (uint32_t i = 0; i < s->nr; i++)
		mask &= s->s[i].mask;
	return mask;
}

/* What those in @all do at @lo. Looks that every state explains need nothing any more. */
static void how_they_act(struct race_model *m, const struct race_set *s, uint32_t all, uint32_t lo,
			 uint32_t *hi, struct acting *a)
{
	uint32_t explained = explained_by_all(s);

	a->nr_changes = a->nr_looks = 0;
	for (; all; all &= all - 1) {
		struct race_pend *p = race_first(m, all);
		struct act act = { .bit = all & -all };
		uint32_t to = *hi;

		if (!p->looks) {
			if (leaves(m, p, lo, hi, &act.v))
				a->change[a->nr_changes++] = act;
		} else if (!(explained & act.bit) && !race_marked(p, &p->explained, lo, hi)) {
			if (race_seen(p, lo, &act.v, &to))
				a->look[a->nr_looks++] = act;
			*hi = to < *hi ? to : *hi;
		}
	}
}

/* Looks change nothing: what explains one is taken as soon as it is there, before it can go. */
static uint32_t see(const struct acting *a, pf_value v, uint32_t mask)
{
	for (uint32_t i = 0; i < a->nr_looks; i++)
		if (a->look[i].v == v || v == RACE_ANY)
			mask |= a->look[i].bit;
	return mask;
}

/* All that may be by now. False when it is too much. */
static bool close_set(struct race_set *s, const struct acting *a)
{
	for (uint32_t i = 0; i < s->nr; i++) {
		s->s[i].mask = see(a, s->s[i].v, s->s[i].mask);
		for (uint32_t k = 0; k < a->nr_changes; k++) {
			const struct act *c = &a->change[k];

			if (!(s->s[i].mask & c->bit) &&
			    !race_set_add(s, c->v, see(a, c->v, s->s[i].mask | c->bit)))
				return false;
		}
	}
	return true;
}

/*
 * The operation has ended: only states stay in which it has happened, if it must have (false when
 * there is none, and all stay); and whether it has makes no difference any more.
 */
static bool strike(struct race_set *s, uint32_t bit, bool must)
{
	uint32_t nr = 0;
	bool any = !must;

	for (uint32_t i = 0; i < s->nr && !any; i++)
		any = s->s[i].mask & bit;
	for (uint32_t i = 0; i < s->nr; i++) {
		struct race_state t = { s->s[i].v, s->s[i].mask & ~bit };
		uint32_t k = 0;

		if (must && any && !(s->s[i].mask & bit))
			continue;
		while (k < nr && (s->s[k].v != t.v || s->s[k].mask != t.mask))
			k++;
		s->s[k] = t;
		nr += k == nr;
	}
	s->nr = nr;
	return any;
}

static uint32_t settle_among(struct race_model *m, struct race_pend *p, uint32_t others,
			     uint32_t at, uint32_t lo, uint32_t hi, bool must, bool *ok)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t bit = race_bit(m, p);
	struct race_set *s;
	struct acting a;

	how_they_act(m, &m->pool[at], others | bit, lo, &hi, &a);
	s = race_set_part(m, f, at, lo, hi);
	if (!s)
		return hi;
	if (close_set(s, &a))
		*ok = strike(s, bit, must);
	else
		race_set_lose(s, others);
	race_set_simplify(m, f, s);
	return hi;
}

static uint32_t any_mask(const struct race_set *s)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < s->nr; i++)
		mask |= s->s[i].mask;
	return mask;
}

/*
 * It need not have happened, and in no state that is followed it has: an observation says nothing
 * then, and a change that nobody is beside leaves one more state. False: it is not that simple.
 */
static bool settle_maybe(struct race_model *m, struct race_pend *p, uint32_t others, uint32_t at,
			 uint32_t lo, uint32_t *hi)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_set *s = race_set_of(m, at);
	uint32_t acted = any_mask(s), end = *hi;
	pf_value v;

	if (race_set_is_lost(s))
		return false;
	if (p->looks)
		return !(acted & race_bit(m, p));
	if (others || acted)
		return false;
	if (!leaves(m, p, lo, &end, &v))
		return true;
	s = race_set_part(m, f, at, lo, end);
	if (s && !race_set_add(s, v, 0))
		race_set_lose(s, 0);
	if (s)
		race_set_simplify(m, f, s);
	*hi = end;
	return true;
}

static uint32_t settle_lost(struct race_model *m, struct race_pend *p, uint32_t others, uint32_t at,
			    uint32_t lo, uint32_t hi)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_set *s = race_set_part(m, f, at, lo, hi);

	if (!s)
		return hi;
	s->s[0].mask = (s->s[0].mask | others) & ~race_bit(m, p);
	race_set_simplify(m, f, s);
	return hi;
}

/* One of @threads may leave @v there, or anything. */
static bool may_leave(const struct acting *a, pf_value v)
{
	for (uint32_t i = 0; i < a->nr_changes; i++)
		if (a->change[i].v == v || a->change[i].v == RACE_ANY)
			return true;
	return false;
}

/*
 * The usual ends. Those beside it, @a, need not be followed to all states that there may be: what
 * they can still do they can do later as well. False: it is not that simple.
 */

bool race_set_seen(struct race_model *m, struct race_file *f, uint32_t at, uint32_t lo,
		   uint32_t hi, pf_value saw)
{
	struct race_set *s = &m->pool[at];
	uint32_t nr = 0;

	for (uint32_t i = 0; i < s->nr; i++)
		nr += s->s[i].v == RACE_ANY || race_value_on(s->s[i].v, lo - s->lo) == saw;
	if (!nr || nr == s->nr)
		return nr;
	s = race_set_part(m, f, at, lo, hi);
	if (!s)
		return true;
	nr = 0;
	for (uint32_t i = 0; i < s->nr; i++)
		if (s->s[i].v == RACE_ANY || s->s[i].v == saw)
			s->s[nr++] = s->s[i];
	s->nr = nr;
	race_set_simplify(m, f, s);
	return true;
}

/* A look that must have seen what is there before those beside it, and has not been explained. */
static bool settle_look(struct race_model *m, struct race_pend *p, const struct acting *a,
			uint32_t at, uint32_t lo, uint32_t *hi)
{
	uint32_t to;
	pf_value saw;

	if (!race_seen(p, lo, &saw, &to) || may_leave(a, saw))
		return false;
	to = race_least(to, *hi);
	if (!race_set_seen(m, &m->f[p->rec->file], at, lo, to, saw))
		return false;
	*hi = to;
	return true;
}

/*
 * A change replaces all that may be there: it is certain, with marks on those beside it. Of the
 * looks among them some state has to have explained all that any has.
 */
static bool settle_change(struct race_model *m, struct race_pend *p, const struct acting *a,
			  uint32_t at, uint32_t lo, uint32_t *hi)
{
	struct race_file *f = &m->f[p->rec->file];
	const struct race_set *s = &m->pool[at];
	uint32_t seen[RACE_STATES_MAX], looks = 0, doubtful = 0, done = explained_by_all(s);
	bool one = false;

	if (lo >= p->moved_lo || !reaches(p, lo))
		return false;
	for (uint32_t i = 0; i < s->nr; i++) {
		seen[i] = see(a, race_value_on(s->s[i].v, lo - s->lo), s->s[i].mask);
		looks |= seen[i] & f->looking;
	}
	for (uint32_t i = 0; i < s->nr; i++)
		one |= (seen[i] & ~(done & ~f->looking)) == looks;
	for (uint32_t i = 0; i < a->nr_looks; i++)
		one &= looks & a->look[i].bit || !may_leave(a, a->look[i].v);
	if (!one)
		return false;
	*hi = p->writes ? race_before(*hi, p->size_hi, lo) : *hi;
	*hi = race_before(*hi, p->moved_lo, lo);
	race_set_drop(m, f, at, lo, *hi);
	race_fill(f, lo, *hi, race_effect(m, p, lo));
	for (uint32_t i = 0; i < a->nr_changes; i++)
		if (p->writes || a->change[i].v)
			doubtful |= a->change[i].bit;
	race_mark_all(m, f, done | looks, doubtful & ~done, lo, *hi);
	return true;
}

static bool settle_simply(struct race_model *m, struct race_pend *p, uint32_t others, uint32_t at,
			  uint32_t lo, uint32_t *hi)
{
	const struct race_set *s = &m->pool[at];
	uint32_t end = *hi;
	struct acting a;

	if (race_set_is_lost(s) || any_mask(s) & race_bit(m, p))
		return false;
	how_they_act(m, s, others, lo, &end, &a);
	if (!(p->looks ? settle_look(m, p, &a, at, lo, &end) :
			 settle_change(m, p, &a, at, lo, &end)))
		return false;
	*hi = end;
	return true;
}

uint32_t race_settle(struct race_model *m, struct race_pend *p, pf_value is, uint32_t lo,
		     uint32_t hi, bool must, bool *ok)
{
	uint32_t at = (uint32_t)is, others, end;

	*ok = true;
	end = hi < m->pool[at].hi ? hi : m->pool[at].hi;
	others = acting_on(m, p->meets, lo, &end);
	if (must ? settle_simply(m, p, others, at, lo, &end) :
		   settle_maybe(m, p, others, at, lo, &end))
		return end;
	if (race_set_is_lost(&m->pool[at]))
		return settle_lost(m, p, others, at, lo, end);
	return settle_among(m, p, others, at, lo, end, must, ok);
}

void race_forget(struct race_model *m, struct race_pend *p)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t bit = race_bit(m, p), hi = p->hi < f->nr_cells ? p->hi : f->nr_cells;

	for (uint32_t c = p->lo, to; f->nr_sets && c < hi && !m->out_of_memory; c = to) {
		pf_value v = race_at(f, c);
		struct race_set *s;
		uint32_t nr = 0;
		bool ok;

		to = race_end_of(f, c, hi);
		if (!race_contended(v))
			continue;
		if (race_set_is_lost(race_set_of(m, v))) {
			to = race_settle(m, p, v, c, to, false, &ok);
			continue;
		}
		s = race_set_part(m, f, (uint32_t)v, c, to);
		if (!s)
			return;
		for (uint32_t i = 0; i < s->nr; i++)
			if (!(s->s[i].mask & bit))
				s->s[nr++] = s->s[i];
		if (!nr) /* somebody saw what it did not do: a violation, there or elsewhere */
			s->s[nr++] = (struct race_state){ RACE_ANY, 0 };
		s->nr = nr;
	}
}
