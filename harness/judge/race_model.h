/* SPDX-License-Identifier: GPL-2.0 */
/*
 * race_model.h - the registers of a race, event by event, in memory that does not grow with time.
 *
 * A cell is certain (its value), contended (a set of values, each with the operations under way
 * that have taken effect in it; neighbours that may hold the same share it), or lost track of
 * (RACE_ANY: any value, until something settles it). An operation is settled in one pass when it
 * ends; where others under way met it, marks say what they may have seen, or that they may have
 * been replaced. Cells of which that does not tell all are followed by just-in-time linearization.
 * All of it is exact but for clones and shifts that something overlaps: they lose track of the
 * cells where it does. README.md has the reasons.
 */
#ifndef PF_JUDGE_RACE_MODEL_H
#define PF_JUDGE_RACE_MODEL_H

#include "race_read.h"

#define RACE_ANY UINT64_MAX
#define RACE_MARK 0xffffffffull /* op of a value that is an index into the pool instead */
#define RACE_STATES_MAX 64
#define RACE_PAGE_CELLS 64u
#define RACE_SIZES_MAX 40

struct race_state {
	pf_value v;
	uint32_t mask; /* threads whose operation under way has taken effect in it */
};

/* Of the cells from lo to hi; values are the first one's. */
struct race_set {
	uint32_t nr, lo, hi, next_free;
	struct race_state s[RACE_STATES_MAX];
};

struct race_file {
	uint32_t id;
	uint32_t nr_cells; /* allocated; those behind are zero */
	uint32_t nr_sets;  /* without any nothing is contended */
	/* Where an extent begins: of its first cell, and where it ends. */
	struct race_here {
		pf_value v;
		uint32_t end;
	} *here;
	uint64_t *begins;  /* a bit for each cell */
	uint64_t *words;   /* a bit for each word of those that is not 0 */
	uint64_t *sets;	   /* a bit for each cell: an extent begins that is contended */
	/* For 64 cells, two bits each: view + 1 that last saw the cell as it is; 0: nobody. */
	struct race_saw {
		uint64_t low, high;
	} *saw;
	/* Threads whose operation under way acts on it; the looks among them; and those that may
	 * change its size. A clone acts on its target. */
	uint32_t pending, looking, sizing;
	uint32_t limit; /* it was never longer, cells: behind that all is zero */
	/* The size is a register too. nr > RACE_SIZES_MAX: any. */
	uint32_t nr_sizes;
	struct race_state size[RACE_SIZES_MAX];
};

/* On its way from one place to another: so far behind the first cell. */
struct race_extent {
	uint32_t at;
	pf_value v;
};

/* A bit for each cell of an operation under way, from its first one on: race_marks.c. */
struct race_marks {
	uint64_t *bits;
	uint32_t words, max; /* behind words none is set */
};

/* An operation under way. */
struct race_pend {
	const struct pf_race_rec *rec; /* NULL: none */
	const struct pf_race_run *runs;
	uint32_t lo, hi;      /* cells of file that it acts on or looks at */
	uint32_t run, run_cell; /* looks: the run that was asked for last, and its first cell */
	bool writes, zeroes, moves, looks, sizes; /* what it does */
	uint8_t target;	      /* of m->f: the one that it acts on */
	uint32_t meets;	      /* threads that act on some of its cells, or look there, or did */
	uint32_t moved_lo; /* from this cell on a shift or clone overlaps it; UINT32_MAX: nowhere */
	uint32_t size_lo, size_hi; /* its file may have had meanwhile, cells */
	bool size_seen;		   /* looks: explained */
	bool alone;		   /* nothing else that changes its file's size overlaps it */
	/* Where others acted meanwhile. Shifts and clones: on the source and on the target. Not
	 * cleared. */
	uint32_t nr_over;
	struct race_span {
		uint32_t lo, hi;
		uint8_t file;
	} over[16];
	struct race_marks explained, done, doubtful;
};

enum race_bad { RACE_BAD_VALUE, RACE_BAD_READ, RACE_BAD_SIZE, RACE_BAD_CLAIM };

/* A contradiction: consecutive cells of one look or claim. */
struct race_violation {
	enum race_bad bad;
	const struct pf_race_rec *rec;
	uint32_t file, cell, nr;
	pf_value want, saw; /* at the first; want may be one of several */
	uint32_t run_kind;  /* enum pf_run_kind, RACE_BAD_READ */
	uint8_t seen_view;  /* view + 1 that saw what had to be there */
};

struct race_model {
	uint32_t nr_files, nr_threads;
	struct race_file f[PF_RACE_FILES_MAX];
	struct race_pend p[PF_RACE_THREADS_MAX];
	struct race_set *pool;
	uint32_t pool_nr, pool_max, pool_free;
	struct race_extent *taken;
	uint32_t nr_taken, taken_max;
	uint64_t operations, checked, undecided, nr_violations;
	bool out_of_memory;
	/* Told of every contradiction, at once. */
	void (*tell)(void *arg, const struct race_violation *v);
	void *arg;
};

/* 0 or -ENOMEM. */
int race_model_init(struct race_model *m, const struct pf_race_header *h);
void race_model_exit(struct race_model *m);
/* One event. @m->out_of_memory says when it could not be followed. */
void race_model_event(struct race_model *m, const struct race_event *ev);

#endif
