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

#include "../judge/exact.h"
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

int main(void)
{
	Suite *s = suite_create("judge against brute force");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 0);
	tcase_add_test(t, test_judge_says_what_brute_force_says);
	tcase_add_test(t, test_and_of_crashes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
