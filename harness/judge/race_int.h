/* SPDX-License-Identifier: GPL-2.0 */
/* race_int.h - what race_model.c (cells) and race_move.c (sizes, shifts, clones) share. */
#ifndef PF_JUDGE_RACE_INT_H
#define PF_JUDGE_RACE_INT_H

#include "race_model.h"

static inline bool race_contended(pf_value cell)
{
	return cell >> 32 == RACE_MARK && cell != RACE_ANY;
}

/* What neighbours have when they were written together: each its own home cell; or all the same. */
static inline bool race_steps(pf_value v)
{
	return v && v != RACE_ANY;
}

static inline pf_value race_value_on(pf_value v, uint32_t cells)
{
	return race_steps(v) ? v + cells : v;
}

/* Loops over whole ranges (race_range.c). */
/* How many cells from the first on are not contended. */
uint32_t race_certain(const pf_value *cells, uint32_t nr);
/* ... are v, v + 1, v + 2 ..., or without @steps all v. */
uint32_t race_same(const pf_value *cells, uint32_t nr, pf_value v, bool steps);
void race_fill(pf_value *cells, uint32_t nr, pf_value v, bool steps);

/* A refusal at the door: the kernel says that it did nothing. */
bool race_refused(const struct pf_race_rec *r);
bool race_room(struct race_model *m, struct race_file *f, uint32_t cells);

/* Contended cells (race_set.c). */
/* The first one from @lo on, @hi if there is none before it. @hi: at most f->nr_cells. */
uint32_t race_first_contended(const struct race_file *f, uint32_t lo, uint32_t hi);
/* Two operations meet at these cells: from now on what they may hold is followed. */
void race_contend(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi);
/* These cells, which are certain, hold what they held, or @v, v + 1 ... */
void race_either(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi, pf_value v);
/* Where the stretch of cells that hold the same ends, which begins with @c; at most @hi. */
uint32_t race_stretch(const struct race_model *m, const struct race_file *f, uint32_t c,
		      uint32_t hi);
/* What is contended becomes RACE_ANY. */
void race_drop_sets(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi);
/*
 * Operation @p ends at contended cell @lo and those after it for which the same is true, at most up
 * to @hi. Returns up to where. @ok is false when it must have happened there and cannot have.
 */
uint32_t race_settle(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi, bool must,
		     bool *ok);
/* It did nothing: where it was thought to act, only states stay in which it did not. */
void race_forget(struct race_model *m, struct race_pend *p);
/* What the operation leaves there. */
pf_value race_effect(const struct race_model *m, const struct race_pend *p, uint32_t cell);
/* What @cell, the content of cell number @at, holds or may hold. */
pf_value race_one_of(const struct race_model *m, pf_value cell, uint32_t at);

/* Two operations overlap in time and at least one is a shift or clone. */
void race_overlap_move(struct race_model *m, struct race_pend *a, struct race_pend *b);
void race_end_move(struct race_model *m, struct race_pend *p);

/* The size register. _end: false when the operation or the look contradicts it; @want: what it
 * had to
 * be. */
void race_sizes_begin(struct race_model *m, struct race_pend *p);
bool race_sizes_end(struct race_model *m, struct race_pend *p, pf_value *want);

/* Looks remember where something changed beneath them. */
void race_note_change(struct race_model *m, const struct race_pend *p);
bool race_was_changed(const struct race_pend *look, uint32_t cell);

#endif
