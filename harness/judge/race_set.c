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

/* A set for the cells from @lo to @hi, empty. Sets move when one is made. */
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
				race_fill(f->cells + lo, hi - lo, RACE_ANY, 0);
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
	race_fill(f->cells + lo, hi - lo, RACE_MARK << 32 | at, 0);
	return s;
}

/* These cells, all of them certain before, are contended now; or none is any more, and all were. */
static void count(struct race_file *f, uint32_t lo, uint32_t hi, bool more)
{
	for (uint32_t c = lo, to; c < hi; c = to) {
		to = (c / RACE_PAGE_CELLS + 1) * RACE_PAGE_CELLS;
		to = to < hi ? to : hi;
		f->busy[c / RACE_PAGE_CELLS] += (uint8_t)(more ? to - c : c - to);
	}
}

uint32_t race_first_contended(const struct race_file *f, uint32_t lo, uint32_t hi)
{
	for (uint32_t to; f->nr_sets && lo < hi; lo = to) {
		to = (lo / RACE_PAGE_CELLS + 1) * RACE_PAGE_CELLS;
		to = to < hi ? to : hi;
		if (!f->busy[lo / RACE_PAGE_CELLS])
			continue;
		lo += race_certain(f->cells + lo, to - lo);
		if (lo < to)
			return lo;
	}
	return hi;
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

/* From @c on, which is inside a set, another one. */
static void cut(struct race_model *m, struct race_file *f, uint32_t c)
{
	uint32_t at = (uint32_t)f->cells[c];
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
	if (c < f->nr_cells && race_contended(f->cells[c]))
		cut(m, f, c);
}

pf_value race_one_of(const struct race_model *m, pf_value cell, uint32_t at)
{
	const struct race_set *s;

	if (!race_contended(cell))
		return cell;
	s = set_of(m, cell);
	return race_value_on(s->s[0].v, at - s->lo);
}

uint32_t race_stretch(const struct race_model *m, const struct race_file *f, uint32_t c, uint32_t hi)
{
	pf_value v = f->cells[c];

	if (race_contended(v))
		return set_of(m, v)->hi < hi ? set_of(m, v)->hi : hi;
	return c + race_same(f->cells + c, hi - c, v, race_steps(v));
}

void race_contend(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	hi = hi < f->nr_cells ? hi : f->nr_cells;
	for (uint32_t c = lo, to; c < hi; c = to) {
		pf_value v = f->cells[c];
		struct race_set *s;

		to = race_stretch(m, f, c, hi);
		if (race_contended(v))
			continue;
		count(f, c, to, true);
		s = set_new(m, f, c, to);
		if (s)
			set_add(s, v, 0);
	}
}

void race_either(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi, pf_value v)
{
	for (uint32_t c = lo, to; c < hi; c = to) {
		pf_value was = f->cells[c], is = race_value_on(v, c - lo);
		struct race_set *s;

		to = race_stretch(m, f, c, hi);
		if (was == is)
			continue;
		count(f, c, to, true);
		s = set_new(m, f, c, to);
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
		struct race_set *s = set_of(m, f->cells[c]);

		count(f, c, s->hi, false);
		race_fill(f->cells + c, s->hi - c, RACE_ANY, 0);
		c = s->hi;
		set_free(m, f, s);
	}
}

/* What @p sees at @cell, and from which cell on it sees something else; false: it does not look there, or
 * sees neither zero nor a cell. Mostly asked for one cell after the other. */
static bool seen_value(struct race_pend *p, uint32_t cell, pf_value *v, uint32_t *to)
{
	const struct pf_race_run *run;

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

/* Looks change nothing: what explains one is taken as soon as it is there, before it can go. */
static void see(struct race_model *m, struct race_state *s, uint32_t cell, uint32_t looks)
{
	uint32_t to;
	pf_value v;

	for (uint32_t left = looks & ~s->mask; left; left &= left - 1) {
		int t = __builtin_ctz(left);

		if (seen_value(&m->p[t], cell, &v, &to) && (s->v == v || s->v == RACE_ANY))
			s->mask |= 1u << t;
	}
}

/* All that may be by now. False when it is too much. */
static bool close_set(struct race_model *m, struct race_set *s, uint32_t changes, uint32_t looks)
{
	for (uint32_t i = 0; i < s->nr; i++) {
		see(m, &s->s[i], s->lo, looks);
		for (uint32_t left = changes & ~s->s[i].mask; left; left &= left - 1) {
			int t = __builtin_ctz(left);
			const struct race_pend *p = &m->p[t];
			struct race_state n = { race_effect(m, p, s->lo), s->s[i].mask | 1u << t };

			if (!reaches(p, s->lo))
				continue;
			if (s->lo >= p->moved_lo)
				n.v = RACE_ANY; /* it may have been shifted away, and what is here
						   came */
			see(m, &n, s->lo, looks);
			if (!set_add(s, n.v, n.mask))
				return false;
		}
	}
	return true;
}

static uint32_t before(uint32_t hi, uint32_t border, uint32_t lo)
{
	return border > lo && border < hi ? border : hi;
}

/* Who acts on @lo, and on all cells up to @to (at most @hi) in the same way. */
static uint32_t acting_from(struct race_model *m, uint32_t file, uint32_t lo, uint32_t hi,
			    uint32_t *looks, uint32_t *to)
{
	uint32_t mask = 0;

	*looks = 0;
	for (uint32_t i = 0; i < m->nr_threads; i++) {
		struct race_pend *p = &m->p[i];

		if (!p->rec || p->moves || p->rec->file != file || p->hi <= lo || p->lo >= hi)
			continue;
		if (p->lo > lo) {
			hi = p->lo;
			continue;
		}
		hi = p->hi < hi ? p->hi : hi;
		mask |= 1u << i;
		if (p->looks) {
			*looks |= 1u << i;
			continue;
		}
		hi = before(hi, p->moved_lo, lo);
		if (p->writes)
			hi = before(hi, p->size_hi, lo);
	}
	*to = hi;
	return mask;
}

/* The looks in @looks that some state has still to explain see the same up to here. */
static uint32_t looks_to(struct race_model *m, const struct race_set *s, uint32_t lo, uint32_t looks,
			 uint32_t hi)
{
	uint32_t explained = UINT32_MAX;

	for (uint32_t i = 0; i < s->nr; i++)
		explained &= s->s[i].mask;
	for (uint32_t left = looks & ~explained; left; left &= left - 1) {
		uint32_t to = hi;
		pf_value v;

		seen_value(&m->p[__builtin_ctz(left)], lo, &v, &to);
		hi = to < hi ? to : hi;
	}
	return hi;
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

/* Certain again when nothing that is left can make a difference. */
static bool unset_if_certain(struct race_model *m, struct race_file *f, struct race_set *s,
			     uint32_t others, uint32_t looks)
{
	if (s->nr != 1 || s->s[0].mask || ((others & ~looks) && (others & (others - 1))))
		return false;
	count(f, s->lo, s->hi, false);
	race_fill(f->cells + s->lo, s->hi - s->lo, s->s[0].v, race_steps(s->s[0].v));
	set_free(m, f, s);
	return true;
}

/* The same as what is before it? Then it is part of that. */
static void grow_together(struct race_model *m, struct race_file *f, struct race_set *s)
{
	struct race_set *b;

	if (!s->lo || !race_contended(f->cells[s->lo - 1]))
		return;
	b = set_of(m, f->cells[s->lo - 1]);
	if (b->nr != s->nr)
		return;
	for (uint32_t i = 0; i < s->nr; i++)
		if (b->s[i].mask != s->s[i].mask ||
		    race_value_on(b->s[i].v, s->lo - b->lo) != s->s[i].v)
			return;
	race_fill(f->cells + s->lo, s->hi - s->lo, f->cells[b->lo], 0);
	b->hi = s->hi;
	set_free(m, f, s);
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

/* Whether it has happened makes no difference any more. */
static void strike(struct race_set *s, uint32_t bit)
{
	uint32_t nr = 0;

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

uint32_t race_settle(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi, bool must,
		     bool *ok)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t bit = 1u << (p - m->p), looks, acting;
	struct race_set *s;

	*ok = true;
	cut(m, f, lo);
	if (m->out_of_memory)
		return hi;
	s = set_of(m, f->cells[lo]);
	acting = acting_from(m, p->rec->file, lo, hi < s->hi ? hi : s->hi, &looks, &hi);
	if (!is_lost(s))
		hi = looks_to(m, s, lo, looks, hi);
	cut_at(m, f, hi);
	if (m->out_of_memory)
		return hi;
	s = set_of(m, f->cells[lo]);
	if (is_lost(s)) {
		s->s[0].mask = (s->s[0].mask | acting) & ~bit;
	} else if (!close_set(m, s, acting & ~looks, looks)) {
		lose_track(s, acting & ~bit);
	} else {
		*ok = !must || insist(s, bit);
		strike(s, bit);
	}
	if (!unset_if_certain(m, f, s, acting & ~bit, looks & ~bit))
		grow_together(m, f, s);
	return hi;
}

void race_forget(struct race_model *m, struct race_pend *p)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t bit = 1u << (p - m->p), hi = p->hi < f->nr_cells ? p->hi : f->nr_cells;

	for (uint32_t c = p->lo, to; f->nr_sets && c < hi && !m->out_of_memory; c = to) {
		struct race_set *s;
		uint32_t nr = 0;
		bool ok;

		to = race_stretch(m, f, c, hi);
		if (!race_contended(f->cells[c]))
			continue;
		if (is_lost(set_of(m, f->cells[c]))) {
			to = race_settle(m, p, c, to, false, &ok);
			continue;
		}
		cut(m, f, c);
		cut_at(m, f, to);
		if (m->out_of_memory)
			return;
		s = set_of(m, f->cells[c]);
		for (uint32_t i = 0; i < s->nr; i++)
			if (!(s->s[i].mask & bit))
				s->s[nr++] = s->s[i];
		if (!nr) /* somebody saw what it did not do: that was its violation, or is another's
			  */
			s->s[nr++] = (struct race_state){ RACE_ANY, 0 };
		s->nr = nr;
	}
}
