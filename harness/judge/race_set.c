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

#include "race_set.h"

#ifdef PF_FUZZ
#define POOL_MIN 4u
#else
#define POOL_MIN 256u
#endif

static void flip_begin(struct race_file *f, uint32_t c)
{
	f->sets[c / 64] ^= 1ull << c % 64;
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
	flip_begin(f, lo);
	race_split_off(f, lo, hi, RACE_MARK << 32 | at);
	return s;
}

uint32_t race_first_contended(const struct race_file *f, uint32_t lo, uint32_t hi)
{
	uint64_t mask = UINT64_MAX << lo % 64;

	if (!f->nr_sets || lo >= hi)
		return hi;
	if (race_contended(race_at(f, lo)))
		return lo;
	for (uint32_t word = lo / 64; word <= (hi - 1) / 64; word++) {
		uint64_t begin = f->sets[word] & mask;

		if (begin)
			return race_least(hi, word * 64 + (uint32_t)__builtin_ctzll(begin));
		mask = UINT64_MAX;
	}
	return hi;
}

/* Its cells are the caller's to fill. */
static void set_free(struct race_model *m, struct race_file *f, struct race_set *s)
{
	f->nr_sets--;
	flip_begin(f, s->lo);
	s->next_free = m->pool_free;
	m->pool_free = (uint32_t)(s - m->pool);
}

/* From @c on, which is inside set @at, another one. Sets move. */
static void set_cut(struct race_model *m, struct race_file *f, uint32_t at, uint32_t c)
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

void race_set_drop(struct race_model *m, struct race_file *f, uint32_t at, uint32_t lo, uint32_t hi)
{
	struct race_set *s = &m->pool[at];

	if (s->lo < lo) {
		if (hi < s->hi)
			set_cut(m, f, at, hi);
		m->pool[at].hi = lo;
	} else if (hi < s->hi) {
		for (uint32_t i = 0; i < s->nr; i++)
			s->s[i].v = race_value_on(s->s[i].v, hi - lo);
		flip_begin(f, s->lo);
		s->lo = hi;
		flip_begin(f, hi);
	} else {
		set_free(m, f, s);
	}
}

pf_value race_one_of(const struct race_model *m, const struct race_file *f, uint32_t c)
{
	pf_value v = race_at(f, c);
	const struct race_set *s;

	if (!race_contended(v))
		return v;
	s = race_set_of(m, v);
	return race_value_on(s->s[0].v, c - s->lo);
}

/* Changes under way that have acted at @c, and that may have been replaced there; *@hi: the same
 * ones up to there. They are not marked any more. */
static void marked(struct race_model *m, const struct race_file *f, uint32_t c, uint32_t *hi,
		   uint32_t *done, uint32_t *doubtful)
{
	*done = *doubtful = 0;
	for (uint32_t left = f->pending & ~f->looking; left; left &= left - 1) {
		const struct race_pend *p = race_first(m, left);
		uint32_t bit = left & -left;

		if (!p->done.words && !p->doubtful.words)
			continue;
		*hi = race_before(*hi, p->lo, c);
		if (c < p->lo)
			continue;
		if (race_marked(p, &p->done, c, hi))
			*done |= bit;
		else if (race_marked(p, &p->doubtful, c, hi))
			*doubtful |= bit;
	}
	for (uint32_t left = *done | *doubtful; left; left &= left - 1) {
		struct race_pend *p = race_first(m, left);

		race_unmark(p, &p->done, c, *hi);
		race_unmark(p, &p->doubtful, c, *hi);
	}
}

void race_contend(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	for (uint32_t c = lo, to; c < hi; c = to) {
		pf_value v = race_at(f, c);
		uint32_t done, doubtful, acted;
		struct race_set *s;

		to = race_end_of(f, c, hi);
		if (race_contended(v))
			continue;
		marked(m, f, c, &to, &done, &doubtful);
		s = set_new(m, f, c, to);
		acted = doubtful;
		while (s && race_set_add(s, v, done | acted) && acted)
			acted = (acted - 1) & doubtful;
		if (acted)
			race_set_lose(s, done | doubtful);
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
			race_set_add(s, was, 0);
			race_set_add(s, is, 0);
		}
	}
}

void race_drop_sets(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	for (uint32_t c = race_first_contended(f, lo, hi), to; c < hi;
	     c = race_first_contended(f, to, hi)) {
		uint32_t at = (uint32_t)race_at(f, c);

		to = race_least(m->pool[at].hi, hi);
		race_set_drop(m, f, at, c, to);
	}
}

/* Certain again: one value, in all that may be, and those under way can be marked instead. */
static bool unset_if_certain(struct race_model *m, struct race_file *f, struct race_set *s)
{
	uint32_t lo = s->lo, hi = s->hi, any = 0, all = UINT32_MAX, doubtful;
	pf_value v = s->s[0].v;

	for (uint32_t i = 0; i < s->nr; i++) {
		if (s->s[i].v != v)
			return false;
		any |= s->s[i].mask;
		all &= s->s[i].mask;
	}
	/* Each may or may not have acted, whatever the others have? */
	doubtful = any & ~all;
	if (doubtful & f->looking || (v == RACE_ANY && any) ||
	    s->nr != (doubtful ? 1u << __builtin_popcount(doubtful) : 1))
		return false;
	set_free(m, f, s);
	race_replace(f, lo, hi, v);
	race_mark_all(m, f, all & any, doubtful, lo, hi);
	return true;
}

/* The same as what is before it? Then it is part of that. */
static void grow_together(struct race_model *m, struct race_file *f, struct race_set *s)
{
	struct race_set *b;
	pf_value v = s->lo ? race_at(f, s->lo - 1) : PF_VALUE_ZERO;

	if (!race_contended(v))
		return;
	b = race_set_of(m, v);
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

void race_set_simplify(struct race_model *m, struct race_file *f, struct race_set *s)
{
	if (!unset_if_certain(m, f, s))
		grow_together(m, f, s);
}

struct race_set *race_set_part(struct race_model *m, struct race_file *f, uint32_t at, uint32_t lo,
			       uint32_t hi)
{
	set_cut(m, f, at, lo);
	if (m->out_of_memory)
		return NULL;
	at = (uint32_t)f->here[lo].v;
	if (hi < m->pool[at].hi)
		set_cut(m, f, at, hi);
	return m->out_of_memory ? NULL : &m->pool[at];
}
