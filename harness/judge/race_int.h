/* SPDX-License-Identifier: GPL-2.0 */
/* race_int.h - what the files of the judge of races share. */
#ifndef PF_JUDGE_RACE_INT_H
#define PF_JUDGE_RACE_INT_H

#include "race_model.h"

static inline uint32_t race_least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* @hi, or @border where that is before it and behind @lo. */
static inline uint32_t race_before(uint32_t hi, uint32_t border, uint32_t lo)
{
	return border > lo && border < hi ? border : hi;
}

static inline bool race_contended(pf_value cell)
{
	return cell - (RACE_MARK << 32) < UINT32_MAX; /* not RACE_ANY */
}

/* Of an operation: neither 0 nor RACE_MARK. */
static inline bool race_is_written(pf_value v)
{
	return (v >> 32) - 1 < RACE_MARK - 1;
}

/* Neighbours that were written together have each its own home cell; or all have the same. */
static inline pf_value race_value_on(pf_value v, uint32_t cells)
{
	return v + (cells & -(uint32_t)race_is_written(v)); /* no branch */
}

static inline pf_value race_value_before(pf_value v)
{
	return race_is_written(v) ? v - 1 : v;
}

/* Extents (race_extent.c). @c is below f->nr_cells, @hi at most that. */
bool race_make_room(struct race_model *m, struct race_file *f, uint32_t cells);

static inline bool race_room(struct race_model *m, struct race_file *f, uint32_t cells)
{
	return cells <= f->nr_cells || race_make_room(m, f, cells);
}

/* The last word before @word in which an extent begins. */
uint32_t race_word_before(const struct race_file *f, uint32_t word);

/* Where the extent begins that @c is in. */
static inline uint32_t race_begin_of(const struct race_file *f, uint32_t c)
{
	uint32_t word = c / 64;
	uint64_t bits = f->begins[word] & UINT64_MAX >> (63 - c % 64);

	if (__builtin_expect(!bits, 0)) {
		word = race_word_before(f, word);
		bits = f->begins[word];
	}
	return word * 64 + 63 - (uint32_t)__builtin_clzll(bits);
}

/* Where it ends, at most @hi. There f->here has what is in the next one. */
static inline uint32_t race_end_of(const struct race_file *f, uint32_t c, uint32_t hi)
{
	return race_least(f->here[race_begin_of(f, c)].end, hi);
}

/* What is there: a value, RACE_ANY, or what race_contended() knows. */
static inline pf_value race_at(const struct race_file *f, uint32_t c)
{
	uint32_t lo = race_begin_of(f, c);

	return race_value_on(f->here[lo].v, c - lo);
}

/* @v, v + 1 ... from @lo on. What is contended behind @hi begins there. */
void race_fill(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v);
/* The same where nothing is contended and the neighbours cannot hold what goes on as @v: that of an
 * operation that has left nothing yet. */
void race_fill_new(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v);
/* The extent that begins at @c is the one before it. */
void race_join(struct race_file *f, uint32_t c);
/* The same as race_fill where no extent begins in between: @v is contended. */
void race_split_off(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v);
/* The same where they are one extent. @v is not contended. */
void race_replace(struct race_file *f, uint32_t lo, uint32_t hi, pf_value v);
/* Take a copy of what is in a range, and put it where @lo is. False without memory. */
bool race_take(struct race_model *m, const struct race_file *f, uint32_t lo, uint32_t hi);
void race_put(const struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi);

/* Who saw the cells as they are: a view + 1, or 0, nobody. */
void race_saw_by(struct race_file *f, uint32_t lo, uint32_t hi, uint32_t who);

static inline uint8_t race_who_saw(const struct race_file *f, uint32_t c)
{
	const struct race_saw *w = &f->saw[c / 64];

	return (uint8_t)((w->low >> c % 64 & 1) | (w->high >> c % 64 & 1) << 1);
}

/* A refusal at the door: the kernel says that it did nothing. */
bool race_refused(const struct pf_race_rec *r);

/* The thread of an operation, as a bit. */
static inline uint32_t race_bit(const struct race_model *m, const struct race_pend *p)
{
	return 1u << (p - m->p);
}

/* The least thread of a mask that is not empty. */
static inline struct race_pend *race_first(struct race_model *m, uint32_t threads)
{
	return &m->p[__builtin_ctz(threads)];
}

/* Marks of an operation under way (race_marks.c). Ranges are inside its own. */
void race_mark(struct race_model *m, const struct race_pend *p, struct race_marks *w, uint32_t lo,
	       uint32_t hi);
/* Those of @done and of @doubtful there; of @done the looks are explained. */
void race_mark_all(struct race_model *m, const struct race_file *f, uint32_t done,
		   uint32_t doubtful, uint32_t lo, uint32_t hi);
void race_unmark(const struct race_pend *p, struct race_marks *w, uint32_t lo, uint32_t hi);
bool race_marked_here(const struct race_pend *p, const struct race_marks *w, uint32_t cell,
		      uint32_t *hi);

/* Is it marked at @cell? *@hi: at most up to where that is so. */
static inline bool race_marked(const struct race_pend *p, const struct race_marks *w, uint32_t cell,
			       uint32_t *hi)
{
	return w->words && race_marked_here(p, w, cell, hi);
}

/* Contended cells (race_set.c). */
/* The first one from @lo on, @hi if there is none before it. @hi: at most f->nr_cells. */
uint32_t race_first_contended(const struct race_file *f, uint32_t lo, uint32_t hi);
/* What look @p sees at @cell; false: neither zero nor a cell, or nothing. *@to: from where on it
 * sees something else. Mostly asked for one cell after the other. */
bool race_seen(struct race_pend *p, uint32_t cell, pf_value *v, uint32_t *to);
/* Operations meet at these cells: from now on what they may hold is followed. */
void race_contend(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi);
/* These cells, which are certain, hold what they held, or @v, v + 1 ... */
void race_either(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi, pf_value v);
/* What is contended is no more: the caller says what is there. */
void race_drop_sets(struct race_model *m, struct race_file *f, uint32_t lo, uint32_t hi);
/*
 * Operation @p ends at contended cell @lo, which holds @is, and those after it for which the same
 * is true, at most up to @hi. Returns up to where. @ok is false when it must have happened there
 * and cannot have.
 */
uint32_t race_settle(struct race_model *m, struct race_pend *p, pf_value is, uint32_t lo,
		     uint32_t hi, bool must, bool *ok);
/* It did nothing: where it was thought to act, only states stay in which it did not. */
void race_forget(struct race_model *m, struct race_pend *p);
/* What the operation leaves there. */
pf_value race_effect(const struct race_model *m, const struct race_pend *p, uint32_t cell);
/* What the cell holds or may hold. */
pf_value race_one_of(const struct race_model *m, const struct race_file *f, uint32_t c);

/* Do they act on, or look at, the same cells? */
static inline bool race_overlap(const struct race_pend *a, const struct race_pend *b, uint32_t *lo,
		    uint32_t *hi)
{
	*lo = a->lo > b->lo ? a->lo : b->lo;
	*hi = a->hi < b->hi ? a->hi : b->hi;
	return a->rec->file == b->rec->file && *lo < *hi;
}

/* An operation that begins and ends alone (race_plain.c). False: it is not as simple as that. */
bool race_plain(struct race_model *m, const struct race_event *ev);

/* How changes act and end (race_change.c). */
/* What cells from @from to @to hold on which both @p and one of @others act is followed. */
void race_contend_with(struct race_model *m, const struct race_pend *p, uint32_t others,
		       uint32_t from, uint32_t to);
/* It ends at what is contended from @lo on; returns up to where that was. */
uint32_t race_settle_all(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi,
			 bool must);
/* Change @p acts from @lo to @hi; of @looks those under way may have seen what it finds there. */
void race_act_seen(struct race_model *m, struct race_pend *p, uint32_t looks, uint32_t lo,
		   uint32_t hi);
/* The same of a change that meets no other change, but these looks. */
void race_act_alone(struct race_model *m, uint32_t looks, uint32_t lo, uint32_t hi);
/* From @lo to @hi what @others leave may have been replaced, by a write or by zeros. */
void race_doubt(struct race_model *m, uint32_t others, bool writes, uint32_t lo, uint32_t hi);
/*
 * @look, which ends, saw @saw from @lo on, which is not what is there. If a write under way, one of
 * @others, leaves that, it has acted: the same as if it ended there, beneath @looks. Returns up to
 * where, @lo if there is none.
 */
uint32_t race_acted(struct race_model *m, const struct pf_race_rec *look, uint32_t looks,
		    uint32_t others, uint32_t lo, uint32_t hi, pf_value saw);
void race_end_change(struct race_model *m, struct race_pend *p);
/* One more contradiction, or one with @run, which is told when it ends. */
void race_bad_cell(struct race_model *m, struct race_violation *run,
		   const struct race_violation *one);
void race_tell(struct race_model *m, struct race_violation *v);

/* Two operations overlap in time and at least one is a shift or clone. */
void race_overlap_move(struct race_pend *a, struct race_pend *b);
void race_end_move(struct race_model *m, struct race_pend *p);

/* The size register: an operation begins, one that changes sizes ends, a look ends (false when no
 * order explains the size that it saw). */
void race_sizes_begin(struct race_model *m, struct race_pend *p);
void race_sizes_end(struct race_model *m, struct race_pend *p);
bool race_sizes_seen(struct race_model *m, struct race_pend *p);

/* Looks remember where something changed beneath them. */
void race_note_change(struct race_model *m, const struct race_file *f, uint32_t lo, uint32_t hi);
bool race_was_changed(const struct race_pend *look, uint32_t cell);

#endif
