// SPDX-License-Identifier: GPL-2.0
/*
 * race_set.c - cells on which operations meet: what they may hold, stretch by stretch.
 *
 * Neighbours that may hold the same (the same operations' data, each cell its own) share one set: a
 * write of 8192 cells that meets another is followed once and not 8192 times. A set is cut in two
 * where an operation begins or ends inside it or a look saw something else from there on, so
 * whatever acts acts on all of its cells alike. Equal neighbours grow together again.
 */
#include <stdlib.h>
#include <string.h>

#include "race_int.h"

#ifdef PF_FUZZ
#define POOL_MIN 4u
#else
#define POOL_MIN 256u
#endif

static struct race_set *set_of(const struct race_model *m, pf_value cell)
{
	return &m->pool[(uint32_t)cell];
}

/* A set for the cells from @lo to @hi, in which nothing else begins, empty. Sets move when one is
 * made. */
static struct race_set *set_new(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	struct race_set *more, *s;
	uint32_t at = m->pool_free;

	if (at != UINT32_MAX) {
		m->pool_free = m->pool[at].next_free;
	} else {
		if (m->pool_nr == m->pool_max) {
			uint32_t max = m->pool_max ? 2 * m->pool_max : POOL_MIN;

			more = realloc(m->pool, max * sizeof(*more));
			if (!more) {
				m->out_of_memory = true;
				race_fill(f, lo, hi, RACE_ANY);
				return NULL;
			}
			m->pool = more;
			m->pool_max = max;
		}
		at = m->pool_nr++;
	}
	f->nr_sets++;
	s = &m->pool[at];
	s->lo = lo;
	s->hi = hi;
	s->nr = 0;
	race_set_apart(f, lo, hi, RACE_MARK << 32 | at);
	return s;
}

uint32_t race_first_contended(const struct race_file *f, uint32_t lo, uint32_t hi)
{
	pf_value v;

	if (!f->nr_sets || lo >= hi)
		return hi;
	for (v = race_at(f, lo); !race_contended(v); v = f->cells[lo]) {
		lo = race_end_of(f, lo, hi);
		if (lo == hi)
			break;
	}
	return lo;
}

/* Its cells are the caller's to fill. */
static void set_free(struct race_model *m, struct race_file *f, struct race_set *s)
{
	f->nr_sets--;
	s->next_free = m->pool_free;
	m->pool_free = (uint32_t)(s - m->pool);
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

/* From @c on, which is inside set @at, another one. */
static void cut(struct race_model *m, struct race_file *f, uint32_t at, uint32_t c)
{
	struct race_set *s, *behind;

	if (m->pool[at].lo == c)
		return;
	behind = set_new(m, f, c, m->pool[at].hi);
	s = &m->pool[at];
	if (behind) {
		behind->nr = s->nr;
		for (uint32_t i = 0; i < s->nr; i++)
			behind->s[i] = (struct race_state){ race_value_on(s->s[i].v, c - s->lo),
							    s->s[i].mask };
	}
	s->hi = c;
}

/* The set at @c ends before it, or at it. */
static void cut_at(struct race_model *m, struct race_file *f, uint32_t c)
{
	pf_value v = c < f->nr_cells && f->nr_sets ? race_at(f, c) : PF_VALUE_ZERO;

	if (race_contended(v))
		cut(m, f, (uint32_t)v, c);
}

pf_value race_one_of(const struct race_model *m, const struct race_file *f, uint32_t c)
{
	pf_value v = race_at(f, c);

	return race_contended(v) ? race_value_on(set_of(m, v)->s[0].v, c - set_of(m, v)->lo) : v;
}

static uint32_t before(uint32_t hi, uint32_t border, uint32_t lo)
{
	return border > lo && border < hi ? border : hi;
}

/*
 * Track of the cells is lost: more may be there than is kept. One state is left, RACE_ANY, and its
 * mask says for whom to wait: until none is under way that may still act on what is not known,
 * nothing can be certain.
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

/* Changes under way that may have been replaced at @c already; *@hi: the same ones up to there. */
static uint32_t replaced(struct race_model *m, const struct race_file *f, uint32_t c, uint32_t *hi)
{
	uint32_t marked = 0;

	for (uint32_t left = f->pending & ~f->looking; left; left &= left - 1) {
		struct race_pend *p = race_first(m, left);

		if (p->mark_words && c < p->lo)
			*hi = before(*hi, p->lo, c);
		else if (race_marked(p, c, hi))
			marked |= left & -left;
	}
	return marked;
}

void race_contend(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	for (uint32_t c = lo, to; c < hi; c = to) {
		pf_value v = race_at(f, c);
		uint32_t marked, acted;
		struct race_set *s;

		to = race_end_of(f, c, hi);
		if (race_contended(v))
			continue;
		marked = acted = replaced(m, f, c, &to);
		s = set_new(m, f, c, to);
		for (; s && set_add(s, v, acted) && acted; acted = (acted - 1) & marked)
			;
		if (acted)
			lose_track(s, marked);
		for (; marked; marked &= marked - 1)
			race_unmark(race_first(m, marked), c, to);
	}
}

void race_either(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi, pf_value v)
{
	for (uint32_t c = lo, to; c < hi; c = to) {
		pf_value was = race_at(f, c), is = race_value_on(v, c - lo);
		struct race_set *s;

		to = race_end_of(f, c, hi);
		s = was == is ? NULL : set_new(m, f, c, to);
		if (s) {
			set_add(s, was, 0);
			set_add(s, is, 0);
		}
	}
}

void race_drop_sets(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	if (lo >= hi || !f->nr_sets)
		return;
	cut_at(m, f, lo);
	cut_at(m, f, hi);
	for (uint32_t c = race_first_contended(f, lo, hi); c < hi;
	     c = race_first_contended(f, c, hi)) {
		struct race_set *s = set_of(m, race_at(f, c));
		uint32_t to = s->hi;

		set_free(m, f, s);
		race_fill(f, c, to, RACE_ANY);
		c = to;
	}
}

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
	*hi = before(*hi, p->moved_lo, lo);
	if (p->writes)
		*hi = before(*hi, p->size_hi, lo);
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
			*hi = before(*hi, p->lo, lo);
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
		} else if (!(explained & act.bit) && !race_marked(p, lo, hi)) {
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
			    !set_add(s, c->v, see(a, c->v, s->s[i].mask | c->bit)))
				return false;
		}
	}
	return true;
}

/* Certain again: one value, in all that may be, and those under way can be marked instead. */
static bool unset_if_certain(struct race_model *m, struct race_file *f, struct race_set *s)
{
	uint32_t lo = s->lo, hi = s->hi, any = 0, all = UINT32_MAX, changes;
	pf_value v = s->s[0].v;

	for (uint32_t i = 0; i < s->nr; i++) {
		if (s->s[i].v != v)
			return false;
		any |= s->s[i].mask;
		all &= s->s[i].mask;
	}
	/* Each of them may or may not have acted, whatever the others have? */
	changes = any & ~f->looking;
	if ((any ^ all) & f->looking || (v == RACE_ANY && any) ||
	    s->nr != (changes ? 1u << __builtin_popcount(changes) : 1))
		return false;
	set_free(m, f, s);
	race_replace(f, lo, hi, v);
	for (; any; any &= any - 1)
		race_mark(m, race_first(m, any), lo, hi);
	return true;
}

/* The same as what is before it? Then it is part of that. */
static void grow_together(struct race_model *m, struct race_file *f, struct race_set *s)
{
	struct race_set *b;
	pf_value v = s->lo ? race_at(f, s->lo - 1) : PF_VALUE_ZERO;

	if (!race_contended(v))
		return;
	b = set_of(m, v);
	if (b->nr != s->nr)
		return;
	for (uint32_t i = 0; i < s->nr; i++)
		if (b->s[i].mask != s->s[i].mask ||
		    race_value_on(b->s[i].v, s->lo - b->lo) != s->s[i].v)
			return;
	race_join(f, s->lo);
	b->hi = s->hi;
	set_free(m, f, s);
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

/* The same when nobody else acts there. */
static bool strike_alone(struct race_set *s, const struct race_pend *p, uint32_t bit, bool acts,
			 pf_value v, bool must)
{
	bool left_out = false, any = false;
	uint32_t nr = s->nr;

	for (uint32_t i = 0; i < nr; i++) {
		bool done = (s->s[i].mask & bit) ||
			    (p->looks && acts && (s->s[i].v == v || s->s[i].v == RACE_ANY));

		s->s[i].mask = done ? s->s[i].mask | bit : s->s[i].mask;
		any |= done;
		left_out |= !done;
	}
	if (p->looks || !acts || !left_out)
		return strike(s, bit, must);
	if (must && !any) {
		s->nr = 1;
		s->s[0] = (struct race_state){ v, 0 };
		return true;
	}
	if (!set_add(s, v, bit))
		lose_track(s, 0);
	else
		strike(s, bit, must);
	return true;
}

/* Set @at ends at @hi. NULL without memory. */
static struct race_set *ends_at(struct race_model *m, struct race_file *f, uint32_t at, uint32_t hi)
{
	if (hi < m->pool[at].hi)
		cut(m, f, at, hi);
	return m->out_of_memory ? NULL : &m->pool[at];
}

static uint32_t settle_alone(struct race_model *m, struct race_pend *p, uint32_t at, uint32_t hi,
			     bool must, bool *ok)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_set *s = &m->pool[at];
	uint32_t bit = race_bit(m, p), to = hi;
	bool acts = false;
	pf_value v = 0;

	if (!p->looks)
		acts = leaves(m, p, s->lo, &to, &v);
	else if (!(explained_by_all(s) & bit))
		acts = race_seen(p, s->lo, &v, &to);
	hi = to < hi ? to : hi;
	s = ends_at(m, f, at, hi);
	if (!s)
		return hi;
	*ok = strike_alone(s, p, bit, acts, v, must);
	if (!unset_if_certain(m, f, s))
		grow_together(m, f, s);
	return hi;
}

static uint32_t settle_among(struct race_model *m, struct race_pend *p, uint32_t others,
			     uint32_t at, uint32_t hi, bool must, bool *ok)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_set *s = &m->pool[at];
	uint32_t bit = race_bit(m, p);
	struct acting a;

	how_they_act(m, s, others | bit, s->lo, &hi, &a);
	s = ends_at(m, f, at, hi);
	if (!s)
		return hi;
	if (close_set(s, &a))
		*ok = strike(s, bit, must);
	else
		lose_track(s, others);
	if (!unset_if_certain(m, f, s))
		grow_together(m, f, s);
	return hi;
}

static uint32_t settle_lost(struct race_model *m, struct race_pend *p, uint32_t others, uint32_t at,
			    uint32_t hi)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_set *s = ends_at(m, f, at, hi);

	if (!s)
		return hi;
	s->s[0].mask = (s->s[0].mask | others) & ~race_bit(m, p);
	if (!unset_if_certain(m, f, s))
		grow_together(m, f, s);
	return hi;
}

/* @p is the only one that acts there, must have acted, and nobody has seen that it did: what may be
 * there is gone. */
static bool replaces_all(const struct race_set *s, const struct race_pend *p, uint32_t bit,
			 uint32_t lo)
{
	uint32_t mask = 0;

	if (p->looks || lo >= p->moved_lo || !reaches(p, lo))
		return false;
	for (uint32_t i = 0; i < s->nr; i++)
		mask |= s->s[i].mask;
	return !(mask & bit) && !is_lost(s);
}

/* From @lo to @hi set @at is no more: there is what @p leaves. */
static void replace_set(struct race_model *m, struct race_pend *p, uint32_t at, uint32_t lo,
			uint32_t hi)
{
	struct race_file *f = &m->f[p->rec->file];
	struct race_set *s = &m->pool[at];

	if (s->lo < lo) {
		if (hi < s->hi)
			cut(m, f, at, hi);
		m->pool[at].hi = lo;
	} else if (hi < s->hi) {
		for (uint32_t i = 0; i < s->nr; i++)
			s->s[i].v = race_value_on(s->s[i].v, hi - lo);
		s->lo = hi;
	} else {
		set_free(m, f, s);
	}
	race_fill(f, lo, hi, race_effect(m, p, lo));
}

uint32_t race_settle(struct race_model *m, struct race_pend *p, pf_value is, uint32_t lo,
		     uint32_t hi, bool must, bool *ok)
{
	uint32_t at = (uint32_t)is, others, end;

	*ok = true;
	end = hi < m->pool[at].hi ? hi : m->pool[at].hi;
	others = acting_on(m, p->meets, lo, &end);
	if (must && !others && replaces_all(&m->pool[at], p, race_bit(m, p), lo)) {
		end = p->writes ? before(end, p->size_hi, lo) : end;
		end = before(end, p->moved_lo, lo);
		replace_set(m, p, at, lo, end);
		return end;
	}
	if (m->pool[at].lo != lo) {
		cut(m, &m->f[p->rec->file], at, lo);
		at = (uint32_t)m->f[p->rec->file].cells[lo];
	}
	if (m->out_of_memory)
		return hi;
	if (is_lost(&m->pool[at]))
		return settle_lost(m, p, others, at, end);
	return others ? settle_among(m, p, others, at, end, must, ok) :
			settle_alone(m, p, at, end, must, ok);
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
		if (is_lost(set_of(m, v))) {
			to = race_settle(m, p, v, c, to, false, &ok);
			continue;
		}
		cut_at(m, f, c);
		cut_at(m, f, to);
		if (m->out_of_memory)
			return;
		s = set_of(m, race_at(f, c));
		for (uint32_t i = 0; i < s->nr; i++)
			if (!(s->s[i].mask & bit))
				s->s[nr++] = s->s[i];
		if (!nr) /* somebody saw what it did not do: that was its violation, or is another's
			  */
			s->s[nr++] = (struct race_state){ RACE_ANY, 0 };
		s->nr = nr;
	}
}
