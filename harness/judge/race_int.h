/* SPDX-License-Identifier: GPL-2.0 */
/* race_int.h - what race_model.c (cells) and race_move.c (sizes, shifts, clones) share. */
#ifndef PF_JUDGE_RACE_INT_H
#define PF_JUDGE_RACE_INT_H

#include "race_model.h"

static inline bool race_contended(pf_value cell)
{
	return cell >> 32 == RACE_MARK && cell != RACE_ANY;
}

/* Loops over whole ranges (race_range.c). */
bool race_any_contended(const pf_value *cells, uint32_t nr);
/* cells[i] == v + i * step for all? @step is 0 or 1. */
bool race_all_are(const pf_value *cells, uint32_t nr, pf_value v, pf_value step);
void race_fill(pf_value *cells, uint32_t nr, pf_value v, pf_value step);

/* A refusal at the door: the kernel says that it did nothing. */
bool race_refused(const struct pf_race_rec *r);
bool race_room(struct race_model *m, struct race_file *f, uint32_t cells);
void race_drop_set(struct race_model *m, pf_value cell);

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
