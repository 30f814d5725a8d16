// SPDX-License-Identifier: GPL-2.0
/*
 * test_judge_race.c - the judge of races against every possible order.
 *
 * It keeps less than the exact judge does, so it may miss. It must never invent: whatever brute
 * force explains,
 * it is silent on. How often it misses is printed, and must stay small; histories without clones
 * and shifts it
 * must decide as well as brute force does, but for what a truncate does to writes beside it.
 *
 *	BRUTE_HISTORIES=100000 BRUTE_SEED=7 build/test_judge_race
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../core/cell.h"
#include "../core/fault.h"
#include "../core/seq.h"
#include "../judge/race_model.h"
#include "history_gen.h"

#define CELL PF_CELL_BYTES
#define STATES_MAX (1u << 18)

/* A history as records: every operation in the first thread that is free. */
struct record {
	struct pf_race_rec rec;
	struct pf_race_run runs[BRUTE_CELLS];
	uint32_t inv_at, ret_at, thread; /* ret_at 0: never */
};

struct race {
	struct record r[BRUTE_OPS];
	int nr;
	struct pf_race_header h;
};

static void record_op(const struct judge *j, struct record *r, uint32_t n)
{
	static const uint8_t verbs[] = { 0, 0, PF_RACE_WRITE, PF_RACE_STORE, PF_RACE_PWRITE, 0,
					 PF_RACE_FAULT };
	static const uint8_t prims[] = {PF_PRIM_NONE,	  PF_PRIM_ZERO,	  PF_PRIM_RESIZE,
					PF_PRIM_COLLAPSE, PF_PRIM_INSERT, PF_PRIM_COPY,
					PF_PRIM_SYNC,	  PF_PRIM_SYNCFS};
	const struct j_op *op = &j->ops[n];

	r->inv_at = op->inv_at;
	r->ret_at = op->returned ? op->ret_at : 0;
	r->rec = (struct pf_race_rec){
		.op = n,
		.verb = verbs[op->verb],
		.what = op->verb == J_FAULT ? prims[op->prim] : 0,
		.file = (uint8_t)op->obj,
		.file2 = (uint8_t)(op->obj2 >= 0 ? op->obj2 : op->obj),
		.first_cell = (uint32_t)(op->off_bytes / CELL),
		.nr_cells = (uint32_t)(op->len_bytes / CELL),
		.result = !op->ok ? -EIO : j_is_write(op) ? (int32_t)(op->value / CELL) : 0,
	};
	if (op->verb == J_FAULT && op->prim == J_RESIZE)
		r->rec.first_cell = (uint32_t)(op->size_bytes / CELL);
	if (op->verb == J_FAULT && op->prim == J_COPY)
		r->rec.first_cell = r->rec.nr_cells = 0;
}

static void record_look(struct record *r, const struct j_look *l)
{
	r->inv_at = l->inv_at;
	r->ret_at = l->ret_at;
	r->rec = (struct pf_race_rec){ .op = l->op, .verb = PF_RACE_LOOK, .what = PF_VIEW_BUFFERED,
				       .file = (uint8_t)l->obj, .file2 = (uint8_t)l->obj,
				       .nr_cells = l->nr_obs, .nr_runs = l->nr_obs,
				       .size_cells = (uint32_t)(l->size_bytes / CELL) };
	for (uint32_t i = 0; i < l->nr_obs; i++)
		r->runs[i] = (struct pf_race_run){
			.value = l->obs[i].kind == SEEN_CELL ? l->obs[i].value : PF_VALUE_ZERO,
			.count = 1,
			.kind = l->obs[i].kind == SEEN_CELL ? PF_RUN_CELLS : PF_RUN_ZERO,
		};
}

static void convert(const struct judge *j, struct race *q)
{
	memset(q, 0, sizeof(*q));
	q->h.nr_files = (uint32_t)j->nr_objects;
	q->h.nr_threads = PF_RACE_THREADS_MAX;
	for (int i = 0; i < j->nr_objects; i++)
		q->h.files[i] = (struct pf_race_file){
			.id = j->objects[i].id,
			.cells = (uint32_t)(j->objects[i].size_bytes / CELL),
			.op = j->objects[i].made_by,
		};
	for (uint32_t n = 1; n <= j->last_op; n++)
		if (j->ops[n].known)
			record_op(j, &q->r[q->nr++], n);
	for (uint32_t n = 0; n < j->nr_looks; n++)
		record_look(&q->r[q->nr++], &j->looks[n]);
}

struct told {
	uint64_t nr, sum; /* the sum is of what they say */
};

static void count(void *arg, const struct race_violation *v)
{
	const uint64_t says[] = { v->bad, v->rec->op, v->file, v->cell, v->nr, v->saw };
	struct told *told = arg;

	told->nr++;
	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++)
		told->sum = (told->sum ^ says[i]) * 0x100000001b3ull;
}

/* Feed the events in their order; returns the contradictions that were told. @once: both events of
 * an operation at once where nothing comes in between, as the reader of streams does. */
static struct told judge_events(const struct judge *j, struct race *q, bool once,
				uint64_t *undecided)
{
	struct told told = { 0 };
	static struct race_model m;
	bool busy[PF_RACE_THREADS_MAX] = { false };

	ck_assert_int_eq(race_model_init(&m, &q->h), 0);
	m.tell = count;
	m.arg = &told;
	for (uint32_t at = 1; at <= j->nr_events; at++)
		for (int i = 0; i < q->nr; i++) {
			struct record *r = &q->r[i];
			bool both = once && r->ret_at == r->inv_at + 1;
			struct race_event ev = { .begins = r->inv_at == at,
						 .ends = r->ret_at == at || both, .rec = &r->rec,
						 .runs = r->runs };

			if (!ev.begins && (r->ret_at != at || both))
				continue;
			if (ev.begins)
				for (r->thread = 0; busy[r->thread];)
					r->thread++;
			busy[r->thread] = !ev.ends;
			ev.thread = r->thread;
			r->rec.inv_ns = ev.begins ? at : r->rec.inv_ns;
			r->rec.ret_ns = r->ret_at ? r->ret_at : PF_RACE_UNRETURNED;
			race_model_event(&m, &ev);
		}
	*undecided = m.undecided;
	ck_assert(!m.out_of_memory);
	race_model_exit(&m);
	return told;
}

static uint64_t judge_it(const struct judge *j, struct race *q, uint64_t *undecided)
{
	uint64_t unsure;
	struct told once = judge_events(j, q, true, undecided);
	struct told twice = judge_events(j, q, false, &unsure);

	ck_assert_uint_eq(twice.nr, once.nr);
	ck_assert_uint_eq(twice.sum, once.sum);
	ck_assert_uint_eq(unsure, *undecided);
	return once.nr;
}

/* Every cell is @times as many: what happened is the same. */
static void widen(struct race *q, uint32_t times)
{
	for (uint32_t i = 0; i < q->h.nr_files; i++)
		q->h.files[i].cells *= times;
	for (int i = 0; i < q->nr; i++) {
		struct record *r = &q->r[i];

		r->rec.first_cell *= times;
		r->rec.nr_cells *= times;
		r->rec.size_cells *= times;
		if (r->rec.result > 0)
			r->rec.result *= (int32_t)times;
		for (uint32_t k = 0; k < r->rec.nr_runs; k++) {
			r->runs[k].value += pf_value_cell(r->runs[k].value) * (times - 1);
			r->runs[k].count = times;
		}
	}
}

/* What a write does behind the end depends on pages. */
static bool passes_end(const struct race *q)
{
	bool passes = false;

	for (int i = 0; i < q->nr; i++)
		passes |= q->r[i].rec.first_cell + q->r[i].rec.nr_cells >
			  q->h.files[q->r[i].rec.file].cells;
	return passes;
}

static bool moves_or_resizes(const struct judge *j)
{
	for (uint32_t n = 1; n <= j->last_op; n++)
		if (j->ops[n].known && (j->ops[n].verb == J_PWRITE ||
					(j->ops[n].verb == J_FAULT && j->ops[n].prim >= J_RESIZE &&
					 j->ops[n].prim <= J_COPY)))
			return true;
	return false;
}

static uint64_t env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

START_TEST(test_race_judge_never_invents)
{
	uint64_t seed = env("BRUTE_SEED", (uint64_t)time(NULL) << 20);
	uint64_t nr = env("BRUTE_HISTORIES", 3000), coherent = 0, corrupt = 0, invented = 0;
	uint64_t missed = 0, simple = 0, simple_missed = 0, undecided = 0;
	/* Borders of cells, of words of bitmaps, and of what is allocated first. */
	static const uint32_t widths[] = { 40, 64, 100, 256 };
	static struct maker m;
	static struct race q;

	for (uint64_t i = 0; i < nr; i++) {
		struct brute b;
		uint64_t told, wide, unsure, wide_unsure;
		uint32_t times = widths[i % 4];
		int truth;

		gen_make(&m, seed + i, false);
		if (gen_below(100) < 70)
			gen_break(&m);
		m.j->page_cells = RACE_PAGE_CELLS;
		ck_assert_int_eq(j_make_room(m.j), 0);
		ck_assert_int_eq(brute_open(&b, m.j), 0);
		truth = brute_coherent(&b, STATES_MAX);
		convert(m.j, &q);
		told = judge_it(m.j, &q, &unsure);
		widen(&q, times);
		wide = judge_it(m.j, &q, &wide_unsure);
		if (!moves_or_resizes(m.j) && !passes_end(&q)) {
			ck_assert_uint_eq(wide != 0, told != 0);
			ck_assert_uint_eq(wide_unsure, unsure * times);
		}
		undecided += unsure;
		coherent += truth == 1;
		corrupt += truth == 0;
		if (truth == 1 && told) {
			invented++;
			if (invented <= 3) {
				fprintf(stderr,
					"seed %llu: coherent, and the judge of races says not\n",
					(unsigned long long)(seed + i));
				gen_dump(m.j);
			}
		}
		if (truth == 0) {
			missed += !told;
			simple += !moves_or_resizes(m.j);
			simple_missed += !told && !moves_or_resizes(m.j);
			if (!told && !moves_or_resizes(m.j) && simple_missed <= 3) {
				fprintf(stderr, "seed %llu: missed\n",
					(unsigned long long)(seed + i));
				gen_dump(m.j);
			}
		}
		judge_free(m.j);
	}
	fprintf(stderr,
		"brute force and races: %llu histories from seed %llu: %llu coherent, %llu "
		"corrupt; judge of "
		"races: %llu invented, %llu missed; without moves %llu corrupt, %llu missed\n",
		(unsigned long long)nr, (unsigned long long)seed, (unsigned long long)coherent,
		(unsigned long long)corrupt, (unsigned long long)invented,
		(unsigned long long)missed, (unsigned long long)simple,
		(unsigned long long)simple_missed);
	ck_assert_uint_eq(invented, 0);
	ck_assert_uint_eq(simple_missed, 0);
	ck_assert_uint_gt(coherent, nr / 10);
	ck_assert_uint_gt(corrupt, nr / 10);
	ck_assert_uint_lt(missed, corrupt / 2);
}
END_TEST

/* Coherent histories that it once called corrupt. */
START_TEST(test_race_judge_is_silent_where_it_once_was_not)
{
	/* 2274: a look shows, behind the end, what a pwrite beside a collapse left there. */
	static const uint64_t seeds[] = { 2274 };
	static struct maker m;
	static struct race q;

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		struct brute b;
		uint64_t unsure;

		gen_make(&m, seeds[i], false);
		if (gen_below(100) < 70)
			gen_break(&m);
		m.j->page_cells = RACE_PAGE_CELLS;
		ck_assert_int_eq(j_make_room(m.j), 0);
		ck_assert_int_eq(brute_open(&b, m.j), 0);
		ck_assert_int_eq(brute_coherent(&b, STATES_MAX), 1);
		convert(m.j, &q);
		ck_assert_uint_eq(judge_it(m.j, &q, &unsure), 0);
		judge_free(m.j);
	}
}
END_TEST

/*
 * Longer histories than brute force can judge: what the short way tells is what the long one does.
 * Operations are carried out half when they begin and half when they end, and some fail. That is
 * coherent, but where looks see what is no more.
 */
#define LONG_OPS 80
#define LONG_CELLS 300u
#define LONG_THREADS 5u
#define LONG_RUNS 64u

struct long_op {
	struct pf_race_rec rec;
	struct pf_race_run runs[LONG_RUNS];
	pf_value saw[LONG_CELLS];
	uint32_t half; /* up to this cell it acts when it begins */
	bool stale;
};

struct long_race {
	struct pf_race_header h;
	struct long_op op[LONG_OPS];
	struct long_event {
		uint32_t op, thread;
		bool begins, ends;
	} ev[2 * LONG_OPS];
	uint32_t nr_ops, nr_events;
	bool stale; /* some looks see what is no more; else it is coherent */
	bool faults; /* more of them */
	pf_value now[2][LONG_CELLS], was[2][LONG_CELLS];
};

static void act(struct long_race *q, struct long_op *o, uint32_t lo, uint32_t hi)
{
	const struct pf_race_rec *r = &o->rec;
	pf_value *now = q->now[r->file2], *was = q->was[r->file2];

	for (uint32_t c = lo; c < hi; c++) {
		if (r->verb == PF_RACE_LOOK) {
			o->saw[c] = o->stale ? was[c] : now[c];
			continue;
		}
		was[c] = now[c];
		now[c] = r->verb != PF_RACE_FAULT     ? pf_value_make(r->op, r->file + 1u, c) :
			 r->what == PF_PRIM_COPY ? q->now[r->file][c] :
						   PF_VALUE_ZERO;
	}
}

/* What was seen, as far as there is room for runs. */
static void note_runs(struct long_op *o)
{
	struct pf_race_run *run = NULL;

	for (uint32_t c = o->rec.first_cell; c < o->rec.first_cell + o->rec.nr_cells; c++) {
		pf_value v = o->saw[c];

		if (run && run->value + (run->value ? run->count : 0) == v) {
			run->count++;
			continue;
		}
		if (o->rec.nr_runs == LONG_RUNS)
			break;
		run = &o->runs[o->rec.nr_runs++];
		*run = (struct pf_race_run){ v, 1, v ? PF_RUN_CELLS : PF_RUN_ZERO };
	}
}

static void long_begin(struct long_race *q)
{
	static const uint8_t verbs[] = { PF_RACE_WRITE, PF_RACE_STORE, PF_RACE_PWRITE };
	static const uint8_t prims[] = { PF_PRIM_ZERO, PF_PRIM_RESIZE, PF_PRIM_COPY };
	struct long_op *o = &q->op[q->nr_ops++];
	struct pf_race_rec *r = &o->rec;
	uint32_t dice = gen_below(q->faults ? 48 : 40);

	memset(o, 0, sizeof(*o));
	r->op = q->nr_ops + 1;
	r->file = r->file2 = !gen_below(8);
	/* Borders that many share, and others. */
	r->first_cell = gen_below(2) ? gen_below(3) * 80 : gen_below(LONG_CELLS - 1);
	r->nr_cells = gen_below(2) ? 80 : 1 + gen_below(LONG_CELLS);
	r->nr_cells = r->nr_cells < LONG_CELLS - r->first_cell ? r->nr_cells :
								  LONG_CELLS - r->first_cell;
	r->verb = dice < 16 ? PF_RACE_LOOK : dice < 38 ? verbs[dice % 3] : PF_RACE_FAULT;
	r->size_cells = LONG_CELLS;
	if (r->verb == PF_RACE_LOOK) {
		r->what = PF_VIEW_BUFFERED;
		o->stale = q->stale && !gen_below(8);
	} else if (r->verb != PF_RACE_FAULT) {
		r->result = gen_below(5) ? (int32_t)r->nr_cells : -EIO;
	} else {
		r->what = prims[dice % 3];
		r->file2 = r->what == PF_PRIM_COPY ? !r->file : r->file;
	}
	if (r->verb == PF_RACE_FAULT && r->what != PF_PRIM_ZERO) {
		r->first_cell = r->what == PF_PRIM_RESIZE ? LONG_CELLS : 0;
		r->nr_cells = 0;
	}
	o->half = r->first_cell + gen_below(3) * r->nr_cells / 2;
	act(q, o, r->first_cell, o->half);
}

static void long_end(struct long_race *q, struct long_op *o)
{
	const struct pf_race_rec *r = &o->rec;

	if (r->what == PF_PRIM_COPY && r->verb == PF_RACE_FAULT)
		act(q, o, 0, LONG_CELLS);
	else if (r->result >= 0)
		act(q, o, o->half, r->first_cell + r->nr_cells);
	if (r->verb == PF_RACE_LOOK)
		note_runs(o);
}

static void long_make(struct long_race *q)
{
	uint32_t under_way[LONG_THREADS] = { 0 };

	memset(q, 0, offsetof(struct long_race, op));
	q->nr_ops = q->nr_events = 0;
	q->stale = gen_below(2);
	q->faults = gen_below(2);
	q->h.nr_files = 2;
	q->h.nr_threads = LONG_THREADS;
	for (uint32_t f = 0; f < 2; f++) {
		q->h.files[f] = (struct pf_race_file){ .id = f + 1, .cells = LONG_CELLS, .op = 1 };
		for (uint32_t c = 0; c < LONG_CELLS; c++)
			q->now[f][c] = q->was[f][c] = pf_value_make(1, f + 1, c);
	}
	while (q->nr_ops < LONG_OPS) {
		uint32_t t = gen_below(LONG_THREADS);
		bool ends = under_way[t] || gen_below(5) < 3, begins = !under_way[t];

		if (begins) {
			long_begin(q);
			under_way[t] = q->nr_ops;
		}
		q->ev[q->nr_events++] =
			(struct long_event){ under_way[t] - 1, t, begins, ends };
		if (ends) {
			long_end(q, &q->op[under_way[t] - 1]);
			under_way[t] = 0;
		}
	}
}

static struct told judge_long(struct long_race *q, bool once, uint64_t *undecided)
{
	static struct race_model m;
	struct told told = { 0 };

	ck_assert_int_eq(race_model_init(&m, &q->h), 0);
	m.tell = count;
	m.arg = &told;
	for (uint32_t i = 0; i < q->nr_events; i++) {
		const struct long_event *e = &q->ev[i];
		struct long_op *o = &q->op[e->op];
		struct race_event ev = { e->begins, e->ends, e->thread, &o->rec, o->runs };

		if (e->begins && e->ends && !once) {
			ev.ends = false;
			race_model_event(&m, &ev);
			ev.begins = false;
			ev.ends = true;
		}
		race_model_event(&m, &ev);
	}
	*undecided = m.undecided;
	ck_assert(!m.out_of_memory);
	race_model_exit(&m);
	return told;
}

START_TEST(test_the_short_way_tells_what_the_long_one_does)
{
	uint64_t seed = env("BRUTE_SEED", (uint64_t)time(NULL) << 20), told = 0;
	uint64_t nr = env("BRUTE_HISTORIES", 3000);
	static struct long_race q;

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t unsure, unsure_twice;
		struct told once, twice;

		gen_seed(seed + i);
		long_make(&q);
		once = judge_long(&q, true, &unsure);
		twice = judge_long(&q, false, &unsure_twice);
		if (once.sum != twice.sum || unsure != unsure_twice)
			fprintf(stderr, "seed %llu: the ways differ\n",
				(unsigned long long)(seed + i));
		ck_assert_uint_eq(once.nr, twice.nr);
		ck_assert_uint_eq(once.sum, twice.sum);
		ck_assert_uint_eq(unsure, unsure_twice);
		if (!q.stale)
			ck_assert_uint_eq(once.nr, 0);
		told += once.nr != 0;
	}
	ck_assert_uint_gt(told, nr / 10);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("judge of races against brute force");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 0);
	tcase_add_test(t, test_race_judge_never_invents);
	tcase_add_test(t, test_race_judge_is_silent_where_it_once_was_not);
	tcase_add_test(t, test_the_short_way_tells_what_the_long_one_does);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
