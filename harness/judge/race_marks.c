// SPDX-License-Identifier: GPL-2.0
/*
 * race_marks.c - what is known of an operation under way at cells that are certain.
 *
 * A look has been explained where it saw what another operation then replaced, or what is marked
 * as done: nothing that comes can contradict it there. A change is done where somebody has seen
 * what it leaves; and it is doubtful where another one ended after it began: it may have been
 * replaced, and need not act any more. So a set of states is needed only where an observation has
 * to tell apart what operations that met have done.
 */
#include <stdlib.h>
#include <string.h>

#include "race_int.h"

#define BITS 64u

/* Up to word @nr, those that are new clear. */
static bool room(struct race_model *m, struct race_marks *w, uint32_t nr)
{
	if (nr > w->max) {
		uint64_t *more = realloc(w->bits, 2 * nr * sizeof(*more));

		if (!more) {
			m->out_of_memory = true;
			return false;
		}
		w->bits = more;
		w->max = 2 * nr;
	}
	memset(w->bits + w->words, 0, (nr - w->words) * sizeof(*w->bits));
	w->words = nr;
	return true;
}

/* The cells from @lo to @hi in this word of the bitmap. */
static uint64_t cells_in(uint32_t word, uint32_t lo, uint32_t hi)
{
	uint64_t cells = UINT64_MAX;

	if (word == lo / BITS)
		cells &= UINT64_MAX << lo % BITS;
	if (word == (hi - 1) / BITS)
		cells &= UINT64_MAX >> (BITS - 1 - (hi - 1) % BITS);
	return cells;
}

void race_mark(struct race_model *m, const struct race_pend *p, struct race_marks *w, uint32_t lo,
	       uint32_t hi)
{
	if (lo >= hi)
		return;
	lo -= p->lo;
	hi -= p->lo;
	if ((hi - 1) / BITS >= w->words && !room(m, w, (hi - 1) / BITS + 1))
		return;
	for (uint32_t word = lo / BITS; word <= (hi - 1) / BITS; word++)
		w->bits[word] |= cells_in(word, lo, hi);
}

void race_mark_all(struct race_model *m, const struct race_file *f, uint32_t done,
		   uint32_t doubtful, uint32_t lo, uint32_t hi)
{
	for (uint32_t left = done | doubtful; left; left &= left - 1) {
		struct race_pend *p = race_first(m, left);
		uint32_t bit = left & -left;
		struct race_marks *w = bit & doubtful	  ? &p->doubtful :
				       bit & f->looking ? &p->explained :
							  &p->done;

		race_mark(m, p, w, lo, hi);
	}
}

void race_unmark(const struct race_pend *p, struct race_marks *w, uint32_t lo, uint32_t hi)
{
	lo -= p->lo;
	hi -= p->lo;
	for (uint32_t word = lo / BITS; word <= (hi - 1) / BITS && word < w->words; word++)
		w->bits[word] &= ~cells_in(word, lo, hi);
}

bool race_marked_here(const struct race_pend *p, const struct race_marks *w, uint32_t cell,
		      uint32_t *hi)
{
	uint32_t at = cell - p->lo, word = at / BITS, end = *hi - p->lo;
	uint64_t flip, bits;
	bool marked;

	if (word >= w->words)
		return false;
	marked = w->bits[word] >> at % BITS & 1;
	flip = marked ? UINT64_MAX : 0;
	bits = (w->bits[word] ^ flip) & UINT64_MAX << at % BITS;
	while (!bits) {
		if (++word * BITS >= end)
			return marked;
		if (word == w->words) {
			*hi = marked ? p->lo + word * BITS : *hi;
			return marked;
		}
		bits = w->bits[word] ^ flip;
	}
	*hi = race_least(p->lo + word * BITS + (uint32_t)__builtin_ctzll(bits), *hi);
	return marked;
}
