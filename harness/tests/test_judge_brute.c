// SPDX-License-Identifier: GPL-2.0
/*
 * test_judge_brute.c - the judge against every possible order, on random small histories.
 *
 * Each history is made by really taking steps of up to eight operations in a random order (so it is
 * coherent), and then, more often than not, broken in one place. The judge must say of each what
 * the
 * exhaustive search says.
 *
 *	BRUTE_HISTORIES=100000 BRUTE_SEED=7 build/test_judge_brute
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../core/cell.h"
#include "../judge/coarse.h"
#include "history_gen.h"

#define STATES_MAX (1u << 18)

static uint64_t env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

static void compare(uint64_t seed, uint64_t nr, bool with_crash)
{
	uint64_t coherent = 0, corrupt = 0, given_up = 0, relaxed = 0, missed = 0, invented = 0;
	uint64_t unsure = 0;
	static struct maker m;

	for (uint64_t i = 0; i < nr; i++) {
		struct x_result r;
		int truth;

		gen_make(&m, seed + i, with_crash);
		if (gen_below(100) < 70)
			gen_break(&m);
		ck_assert_int_eq(j_make_room(m.j), 0);
		ck_assert_int_eq(brute_open(&m.b, m.j), 0);
		truth = brute_coherent(&m.b, STATES_MAX);
		x_run(m.j, NULL, &r, NULL, NULL);
		ck_assert(!r.out_of_memory);
		coherent += truth == 1;
		corrupt += truth == 0;
		given_up += truth < 0;
		relaxed += r.relaxed != 0;
		if (truth >= 0 && (truth == 1) != (r.nr == 0)) {
			missed += truth == 0 && !r.relaxed;
			unsure += truth == 0 && r.relaxed;
			invented += truth == 1;
			if (truth ? invented <= 3 : missed + unsure <= 3) {
				fprintf(stderr, "seed %llu: %s, the judge says %u contradictions "
					"(relaxed %llu)\n",
					(unsigned long long)(seed + i),
					truth ? "coherent" : "corrupt", r.nr,
					(unsigned long long)r.relaxed);
				gen_dump(m.j);
			}
		}
		x_result_free(&r);
		judge_free(m.j);
	}
	fprintf(stderr,
		"brute force%s: %llu histories from seed %llu: %llu coherent, %llu corrupt, %llu "
		"given "
		"up; judge: %llu missed, %llu invented; %llu relaxed, %llu of them missed\n",
		with_crash ? " with crashes" : "", (unsigned long long)nr, (unsigned long long)seed,
		(unsigned long long)coherent, (unsigned long long)corrupt,
		(unsigned long long)given_up, (unsigned long long)missed,
		(unsigned long long)invented, (unsigned long long)relaxed,
		(unsigned long long)unsure);
	ck_assert_uint_eq(missed, 0);
	ck_assert_uint_eq(invented, 0);
	/* A comparison with one answer only would compare nothing. */
	ck_assert_uint_gt(coherent, nr / 10);
	ck_assert_uint_gt(corrupt, nr / 10);
	ck_assert_uint_lt(given_up, nr / 20 + 1);
	if (!getenv("BRUTE_SMALL_LIMITS")) /* a build in which they are reached all the time */
		/* What a crash cuts short of a clone onto a longer file is not followed. */
		ck_assert_uint_lt(relaxed, with_crash ? nr / 50 + 5 : nr / 200 + 2);
}

START_TEST(test_judge_says_what_brute_force_says)
{
	compare(env("BRUTE_SEED", (uint64_t)time(NULL) << 20), env("BRUTE_HISTORIES", 3000), false);
}
END_TEST

START_TEST(test_and_of_crashes)
{
	compare(env("BRUTE_SEED", (uint64_t)time(NULL) << 20), env("BRUTE_HISTORIES", 3000) / 2 + 1,
		true);
}
END_TEST

/* Each cell of a history becomes @times cells, in which the same has happened. */
static void enlarge(struct judge *j, uint32_t times)
{
	j->page_cells *= times;
	for (int i = 0; i < j->nr_objects; i++) {
		j->objects[i].size_bytes *= times;
		j->objects[i].cells_max *= times;
	}
	for (uint32_t n = 1; n <= j->last_op; n++) {
		j->ops[n].off_bytes *= times;
		j->ops[n].len_bytes *= times;
		j->ops[n].size_bytes *= times;
		j->ops[n].value *= times;
	}
	for (uint32_t i = 0; i < j->nr_looks; i++) {
		j->looks[i].size_bytes *= times;
		for (uint32_t k = 0; k < j->looks[i].nr_obs; k++) {
			struct j_obs *b = &j->looks[i].obs[k];

			b->first *= times;
			b->nr *= times;
			if (b->kind == SEEN_CELL)
				b->value = pf_value_make(pf_value_op(b->value),
							 pf_value_file(b->value),
							 pf_value_cell(b->value) * times);
		}
	}
}

/* Of all that a file may hold in the end, whatever the order in which it is told. */
static void sum_held(void *arg, int obj, uint32_t cell, pf_value v)
{
	uint64_t x = (v + 1) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)obj << 32 | cell);

	*(uint64_t *)arg += (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull;
}

static bool same_results(const struct x_result *a, const struct x_result *b)
{
	if (a->nr != b->nr || a->nr_cells != b->nr_cells || a->checked_cells != b->checked_cells ||
	    a->checked_sizes != b->checked_sizes || a->undecided_cells != b->undecided_cells)
		return false;
	for (uint32_t i = 0; i < a->nr; i++) {
		const struct x_violation *v = &a->v[i], *w = &b->v[i];

		if (v->bad != w->bad || v->look != w->look || v->op != w->op ||
		    v->obj != w->obj || v->first != w->first || v->nr != w->nr ||
		    v->obs != w->obs || v->nr_want != w->nr_want ||
		    memcmp(v->want, w->want, (size_t)v->nr_want * sizeof(v->want[0])) != 0)
			return false;
	}
	return true;
}

/* With one cell for many the answer is the same, to the last contradiction. */
static void compare_coarse(uint64_t seed, uint64_t nr, bool with_crash)
{
	uint64_t corrupt = 0;
	static struct maker m;

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t held = 0, held_coarse = 0;
		struct x_result fine, coarse;
		uint32_t times;

		gen_make(&m, seed + i, with_crash);
		if (gen_below(100) < 70)
			gen_break(&m);
		times = 2 + gen_below(7);
		ck_assert_int_eq(j_make_room(m.j), 0);
		enlarge(m.j, times);
		ck_assert_uint_eq(x_unit(m.j) % times, 0);
		x_run(m.j, NULL, &fine, sum_held, &held);
		x_run_coarse(m.j, &coarse, sum_held, &held_coarse);
		corrupt += fine.nr > 0;
		/* A limit is reached sooner where more is followed. */
		if (!fine.relaxed && !coarse.relaxed &&
		    (!same_results(&fine, &coarse) || held != held_coarse)) {
			gen_dump(m.j);
			ck_abort_msg("seed %llu, %u times: %u contradictions; with one cell for "
				     "many %u",
				     (unsigned long long)(seed + i), times, fine.nr, coarse.nr);
		}
		x_result_free(&fine);
		x_result_free(&coarse);
		judge_free(m.j);
	}
	ck_assert_uint_gt(corrupt, nr / 10);
}

START_TEST(test_one_cell_for_many)
{
	compare_coarse(env("BRUTE_SEED", (uint64_t)time(NULL) << 20), env("BRUTE_HISTORIES", 3000),
		       _i != 0);
}
END_TEST

/* One thing that does not begin or end where the others do, and there is one cell for each. */
START_TEST(test_the_unit_divides_all)
{
	struct j_op *op;
	static struct maker m;

	for (uint64_t seed = 1, left = 200; left; seed++) {
		gen_make(&m, seed, false);
		ck_assert_int_eq(j_make_room(m.j), 0);
		enlarge(m.j, 64);
		m.j->page_cells = 64;
		ck_assert_uint_eq(x_unit(m.j), 64);
		op = NULL;
		for (uint32_t n = 1; n <= m.j->last_op; n++)
			op = m.j->ops[n].known && m.j->ops[n].verb == J_WRITE ? &m.j->ops[n] : op;
		if (op) {
			left--;
			op->len_bytes += 32ull * PF_CELL_BYTES;
			ck_assert_uint_eq(x_unit(m.j), 32);
			op->off_bytes += PF_CELL_BYTES;
			ck_assert_uint_eq(x_unit(m.j), 1);
			op->off_bytes -= PF_CELL_BYTES;
		}
		if (m.j->nr_looks && m.j->looks[0].judged && m.j->looks[0].nr_obs) {
			m.j->looks[0].obs[0].nr -= 16;
			ck_assert_uint_eq(x_unit(m.j), 16);
			m.j->looks[0].size_bytes -= 1;
			ck_assert_uint_eq(x_unit(m.j), 1);
		}
		judge_free(m.j);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("judge against brute force");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 0);
	tcase_add_test(t, test_judge_says_what_brute_force_says);
	tcase_add_test(t, test_and_of_crashes);
	tcase_add_loop_test(t, test_one_cell_for_many, 0, 2); /* without and with crashes */
	tcase_add_test(t, test_the_unit_divides_all);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
