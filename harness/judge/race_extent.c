// SPDX-License-Identifier: GPL-2.0
/*
 * race_extent.c - the content of a file as extents: neighbours that were written together.
 *
 * A bit for each cell says where an extent begins, and only there its value and its end are kept;
 * what a cell holds follows from how far it is from the beginning. So an operation costs what there
 * is to tell apart in its range, and not what it has of cells. A second bitmap says which words of
 * the first have any bit, to find the beginning of a long extent without reading all of it.
 */
#include <stdlib.h>
#include <string.h>

#include "race_int.h"

#ifdef PF_FUZZ /* most inputs are small: clearing what they do not use would take longest */
#define ROOM_MIN 64u
#else
#define ROOM_MIN 1024u
#endif

#define BITS 64u

/* In this word of the bitmap extents begin where @bits says. */
static void set_word(struct race_file *f, uint32_t word, uint64_t bits)
{
	f->words[word / BITS] ^= (uint64_t)(!f->begins[word] != !bits) << word % BITS;
	f->begins[word] = bits;
}

static void begin_at(struct race_file *f, uint32_t c)
{
	set_word(f, c / BITS, f->begins[c / BITS] | 1ull << c % BITS);
}

static void end_begin(struct race_file *f, uint32_t c)
{
	set_word(f, c / BITS, f->begins[c / BITS] & ~(1ull << c % BITS));
}

/* No extent begins from @lo on up to @hi, but at @lo if @first. */
static void clear_range(struct race_file *f, uint32_t lo, uint32_t hi, bool first)
{
	uint32_t word = lo / BITS, last = (hi - 1) / BITS;
	uint64_t mask = UINT64_MAX << lo % BITS, begin = (uint64_t)first << lo % BITS;

	for (; word < last; word++) {
		set_word(f, word, (f->begins[word] & ~mask) | begin);
		mask = UINT64_MAX;
		begin = 0;
	}
	mask &= UINT64_MAX >> (BITS - 1 - (hi - 1) % BITS);
	set_word(f, last, (f->begins[last] & ~mask) | begin);
}

/* The first extent begins at cell 0. */
uint32_t race_word_before(const struct race_file *f, uint32_t word)
{
	uint32_t at = word / BITS;
	uint64_t bits = f->words[at] & ((1ull << word % BITS) - 1);

	while (!bits)
		bits = f->words[--at];
	return at * BITS + BITS - 1 - (uint32_t)__builtin_clzll(bits);
}

/* The extent that begins at @lo ends at @c, where one begins that goes on as it did. */
static void cut(struct race_file *f, uint32_t lo, uint32_t c)
{
	struct race_here *here = f->here;

	if (c == lo || c == here[lo].end)
		return;
	here[c].v = race_value_on(here[lo].v, c - lo);
	here[c].end = here[lo].end;
	here[lo].end = c;
	begin_at(f, c);
}

void race_fill(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v)
{
	struct race_here *here = f->here;
	uint32_t before, end = hi;
	bool joins;

	if (lo >= hi)
		return;
	before = race_begin_of(f, lo);
	cut(f, race_begin_of(f, hi - 1), hi);
	if (before < lo)
		here[before].end = lo;
	else if (lo)
		before = race_begin_of(f, lo - 1);
	/* It may go on as it was before, and behind as here. */
	joins = lo && !race_contended(v) && race_value_on(here[before].v, lo - before) == v;
	if (hi < f->nr_cells && !race_contended(v) && here[hi].v == race_value_on(v, hi - lo))
		end = here[hi++].end;
	clear_range(f, lo, hi, !joins);
	if (joins) {
		here[before].end = end;
		return;
	}
	here[lo].v = v;
	here[lo].end = end;
}

void race_fill_new(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v)
{
	struct race_here *here = f->here;
	uint32_t first = race_begin_of(f, lo), last = race_begin_of(f, hi - 1);
	uint32_t end = here[last].end;
	pf_value behind = race_value_on(here[last].v, hi - last);

	here[hi] = (struct race_here){ end == hi ? here[hi].v : behind,
				       end == hi ? here[hi].end : end };
	begin_at(f, hi);
	here[first].end = lo;
	clear_range(f, lo, hi, true);
	here[lo] = (struct race_here){ v, hi };
}

void race_join(struct race_file *f, uint32_t c)
{
	f->here[race_begin_of(f, c - 1)].end = f->here[c].end;
	end_begin(f, c);
}

void race_split_off(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v)
{
	cut(f, race_begin_of(f, lo), lo);
	cut(f, lo, hi);
	f->here[lo].v = v;
}

void race_replace(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v)
{
	f->here[lo].v = v;
	if (hi < f->nr_cells && f->here[hi].v == race_value_on(v, hi - lo))
		race_join(f, hi);
	if (lo && race_at(f, lo - 1) == race_value_before(v))
		race_join(f, lo);
}

bool race_make_room(struct race_model *m, struct race_file *f, uint32_t cells)
{
	uint32_t was = f->nr_cells, nr = was ? was : ROOM_MIN;
	uint32_t had = was ? was / BITS + 1 : 0, has, words, more_words;
	void *more[5];

	while (nr < cells)
		nr *= 2;
	/* One extent may begin behind the last cell. */
	has = nr / BITS + 1;
	words = (had + BITS - 1) / BITS;
	more_words = (has + BITS - 1) / BITS;
	more[0] = realloc(f->here, (nr + 1) * sizeof(*f->here));
	f->here = more[0] ? more[0] : f->here;
	more[1] = realloc(f->saw, nr / BITS * sizeof(*f->saw));
	f->saw = more[1] ? more[1] : f->saw;
	more[2] = realloc(f->begins, has * sizeof(*f->begins));
	f->begins = more[2] ? more[2] : f->begins;
	more[3] = realloc(f->words, more_words * sizeof(*f->words));
	f->words = more[3] ? more[3] : f->words;
	more[4] = realloc(f->sets, has * sizeof(*f->sets));
	f->sets = more[4] ? more[4] : f->sets;
	if (!more[0] || !more[1] || !more[2] || !more[3] || !more[4]) {
		m->out_of_memory = true;
		return false;
	}
	memset(f->saw + was / BITS, 0, (nr - was) / BITS * sizeof(*f->saw));
	memset(f->begins + had, 0, (has - had) * sizeof(*f->begins));
	memset(f->sets + had, 0, (has - had) * sizeof(*f->sets));
	memset(f->words + words, 0, (more_words - words) * sizeof(*f->words));
	f->nr_cells = nr;
	f->here[was].v = PF_VALUE_ZERO;
	f->here[was].end = nr;
	begin_at(f, was);
	return true;
}

static inline void set_saw(struct race_saw *w, uint64_t mask, uint64_t low, uint64_t high)
{
	w->low = (w->low & ~mask) | (low & mask);
	w->high = (w->high & ~mask) | (high & mask);
}

void race_saw_by(struct race_file *f, uint32_t lo, uint32_t hi, uint32_t who)
{
	uint64_t low = -(uint64_t)(who & 1), high = -(uint64_t)(who >> 1 & 1);
	uint64_t mask = UINT64_MAX << lo % BITS, end = UINT64_MAX >> (BITS - 1 - (hi - 1) % BITS);
	struct race_saw *w = f->saw + lo / BITS, *last;

	if (lo >= hi)
		return;
	for (last = f->saw + (hi - 1) / BITS; w < last; w++) {
		set_saw(w, mask, low, high);
		mask = UINT64_MAX;
	}
	set_saw(last, mask & end, low, high);
}

/* Extents on their way elsewhere. */

bool race_take(struct race_model *m, const struct race_file *f, uint32_t lo, uint32_t hi)
{
	m->nr_taken = 0;
	for (uint32_t c = lo; c < hi; c = race_end_of(f, c, hi)) {
		pf_value v = race_at(f, c);

		if (m->nr_taken == m->taken_max) {
			uint32_t max = m->taken_max ? 2 * m->taken_max : ROOM_MIN;
			struct race_extent *more = realloc(m->taken, max * sizeof(*more));

			if (!more) {
				m->out_of_memory = true;
				return false;
			}
			m->taken = more;
			m->taken_max = max;
		}
		/* A set does not travel: what it holds is not known where it comes. */
		m->taken[m->nr_taken++] =
			(struct race_extent){ c - lo, race_contended(v) ? RACE_ANY : v };
	}
	return true;
}

void race_put(const struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi)
{
	for (uint32_t i = 0; i < m->nr_taken; i++)
		race_fill(f, lo + m->taken[i].at,
			  i + 1 < m->nr_taken ? lo + m->taken[i + 1].at : hi, m->taken[i].v);
}
