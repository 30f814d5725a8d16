// SPDX-License-Identifier: GPL-2.0
/*
 * race_marks.c - what is known of an operation under way at cells that are certain.
 *
 * A look is marked where it may have seen what another operation then replaced: nothing that comes
 * can contradict it there. A change is marked where it may have been replaced by one that ended
 * after it began: it need not act any more. So a set of states is needed only where an observation
 * has to tell apart what operations that met have done.
 */
#include <stdlib.h>
#include <string.h>

#include "race_int.h"

#define BITS 64u

/* Marks up to word @nr, those that are new clear. */
static bool room(struct race_model *m, struct race_pend *p, uint32_t nr)
{
	uint64_t *more;

	if (nr > p->marks_max) {
		uint32_t max = 2 * nr;

		more = realloc(p->marks, max * sizeof(*more));
		if (!more) {
			m->out_of_memory = true;
			return false;
		}
		p->marks = more;
		p->marks_max = max;
	}
	memset(p->marks + p->mark_words, 0, (nr - p->mark_words) * sizeof(*p->marks));
	p->mark_words = nr;
	return true;
}

void race_mark(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi)
{
	uint32_t word, last;
	uint64_t begin, end;

	if (lo >= hi)
		return;
	lo -= p->lo;
	hi -= p->lo + 1;
	word = lo / BITS;
	last = hi / BITS;
	begin = UINT64_MAX << lo % BITS;
	end = UINT64_MAX >> (BITS - 1 - hi % BITS);
	if (last >= p->mark_words && !room(m, p, last + 1))
		return;
	if (word == last) {
		p->marks[word] |= begin & end;
		return;
	}
	p->marks[word] |= begin;
	while (++word < last)
		p->marks[word] = UINT64_MAX;
	p->marks[last] |= end;
}

void race_unmark(struct race_pend *p, uint32_t lo, uint32_t hi)
{
	for (uint32_t at = lo - p->lo; at < hi - p->lo && at / BITS < p->mark_words; at++)
		p->marks[at / BITS] &= ~(1ull << at % BITS);
}

bool race_marked_here(const struct race_pend *p, uint32_t cell, uint32_t *hi)
{
	uint32_t at = cell - p->lo, word = at / BITS;
	uint64_t flip, bits;
	bool marked;

	if (word >= p->mark_words)
		return false;
	marked = p->marks[word] >> at % BITS & 1;
	flip = marked ? UINT64_MAX : 0;
	bits = (p->marks[word] ^ flip) & UINT64_MAX << at % BITS;
	while (!bits) {
		if (++word == p->mark_words) {
			if (marked && p->lo + word * BITS < *hi)
				*hi = p->lo + word * BITS;
			return marked;
		}
		bits = p->marks[word] ^ flip;
	}
	at = p->lo + word * BITS + (uint32_t)__builtin_ctzll(bits);
	*hi = at < *hi ? at : *hi;
	return marked;
}
