/* SPDX-License-Identifier: GPL-2.0 */
/* race_set.h - sets of states: race_set.c makes and ends them, race_settle.c fills them. */
#ifndef PF_JUDGE_RACE_SET_H
#define PF_JUDGE_RACE_SET_H

#include "race_int.h"

static inline struct race_set *race_set_of(const struct race_model *m, pf_value cell)
{
	return &m->pool[(uint32_t)cell];
}

/* False when there are too many. */
static inline bool race_set_add(struct race_set *s, pf_value v, uint32_t mask)
{
	for (uint32_t i = 0; i < s->nr; i++)
		if (s->s[i].v == v && s->s[i].mask == mask)
			return true;
	if (s->nr == RACE_STATES_MAX)
		return false;
	s->s[s->nr++] = (struct race_state){ v, mask };
	return true;
}

/*
 * Track of the cells is lost: more may be there than is kept. One state is left, RACE_ANY, and its
 * mask says for whom to wait: until none is under way that may still act on what is not known,
 * nothing can be certain.
 */
static inline bool race_set_is_lost(const struct race_set *s)
{
	return s->nr == 1 && s->s[0].v == RACE_ANY && s->s[0].mask;
}

static inline void race_set_lose(struct race_set *s, uint32_t acting)
{
	s->nr = 1;
	s->s[0] = (struct race_state){ RACE_ANY, acting };
}

/* The cells from @lo to @hi of set @at have one of their own. NULL without memory. */
struct race_set *race_set_part(struct race_model *m, struct race_file *f, uint32_t at, uint32_t lo,
			       uint32_t hi);
/* From @lo to @hi set @at is no more: the caller says what is there. */
void race_set_drop(struct race_model *m, struct race_file *f, uint32_t at, uint32_t lo,
		   uint32_t hi);
/* A look saw @saw from @lo to @hi, inside set @at: that is what was there. False: it cannot be. */
bool race_set_seen(struct race_model *m, struct race_file *f, uint32_t at, uint32_t lo,
		   uint32_t hi, pf_value saw);
/* What is in it has changed: it may be certain again, or the same as what is before it. */
void race_set_simplify(struct race_model *m, struct race_file *f, struct race_set *s);

#endif
