// SPDX-License-Identifier: GPL-2.0
/* test_race_plan.c - random streams, and how a race chooses. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "../executor/race.h"

START_TEST(rng_streams)
{
	struct pf_rng a, b, c, d;
	unsigned int equal = 0, low[7] = { 0 };

	pf_rng_init(&a, 42, "choices", 0);
	pf_rng_init(&b, 42, "choices", 0);
	pf_rng_init(&c, 42, "choices", 1);
	pf_rng_init(&d, 42, "else", 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t x = pf_rng_next(&a);

		ck_assert(x == pf_rng_next(&b));
		equal += x == pf_rng_next(&c);
		equal += x == pf_rng_next(&d);
	}
	ck_assert_uint_eq(equal, 0);
	for (int i = 0; i < 7000; i++)
		low[pf_rng_below(&a, 7)]++;
	for (int i = 0; i < 7; i++)
		ck_assert_msg(low[i] > 850 && low[i] < 1150, "%d: %u of 7000", i, low[i]);
}
END_TEST

static struct race_plan plan;

static struct race_params params(void)
{
	return (struct race_params){ .nr = 1, .threads = 4, .files = 2, .size_bytes = 256 << 10 };
}

static bool same_choice(const struct race_choice *a, const struct race_choice *b)
{
	return a->verb == b->verb && a->view == b->view && a->fault == b->fault &&
	       a->file == b->file && a->file2 == b->file2 && a->off_bytes == b->off_bytes &&
	       a->len_bytes == b->len_bytes && a->size_bytes == b->size_bytes &&
	       a->repin == b->repin;
}

START_TEST(plan_is_a_function_of_the_seed)
{
	struct race_params p = params();
	struct pf_rng a, b, other;
	char why[200];
	unsigned int differ = 0;

	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	pf_rng_init(&a, 5, "race choices", 2);
	pf_rng_init(&b, 5, "race choices", 2);
	pf_rng_init(&other, 5, "race choices", 3);
	for (int i = 0; i < 10000; i++) {
		struct race_choice x, y, z;

		race_choose(&plan, &a, &x);
		race_choose(&plan, &b, &y);
		race_choose(&plan, &other, &z);
		ck_assert(same_choice(&x, &y));
		differ += !same_choice(&x, &z);
	}
	ck_assert_uint_gt(differ, 9000);
}
END_TEST

/* What makes a race judgeable (race.h) holds for every choice there is. */
static void check_choice(const struct race_choice *c)
{
	uint64_t end = c->off_bytes + c->len_bytes, max = 2 * plan.size_bytes;

	ck_assert_uint_lt(c->file, plan.nr_files);
	ck_assert_uint_lt(c->file2, plan.nr_files);
	ck_assert_uint_le(c->len_bytes, VIEW_BUFFER_BYTES);
	if (c->verb != PF_RACE_FAULT) {
		ck_assert_uint_gt(c->len_bytes, 0);
		ck_assert_uint_le(end, max);
		ck_assert_uint_eq((c->off_bytes | c->len_bytes) % PF_CELL_BYTES, 0);
		ck_assert(c->verb != PF_RACE_PWRITE || end <= plan.size_bytes / 2 ||
			  (c->off_bytes | c->len_bytes) % plan.block_bytes == 0);
		return;
	}
	ck_assert_uint_eq((c->off_bytes | c->len_bytes | c->size_bytes) % plan.block_bytes, 0);
	ck_assert((c->fault->ops->args == PF_ARGS_FILE_FILE) == (c->file != c->file2));
	if (c->fault->ops->args == PF_ARGS_FILE_SIZE)
		ck_assert(c->size_bytes >= plan.size_bytes / 2 && c->size_bytes <= max);
}

START_TEST(plan_keeps_to_the_rules)
{
	static const uint64_t sizes[] = { 32 << 10, 256 << 10, 4 << 20 };
	struct race_params p = params();
	unsigned int verbs[PF_RACE_VERBS_NR] = { 0 }, faults[RACE_FAULTS_MAX] = { 0 };
	struct race_choice c;
	struct pf_rng r;
	char why[200];

	p.files = 3;
	for (size_t k = 0; k < 3; k++) {
		p.size_bytes = sizes[k];
		ck_assert_int_eq(race_plan_init(&plan, &p, 1024, why, sizeof(why)), 0);
		ck_assert_uint_eq(plan.block_bytes, 4096);
		pf_rng_init(&r, 1, "test", k);
		for (int i = 0; i < 200000; i++) {
			race_choose(&plan, &r, &c);
			check_choice(&c);
			verbs[c.verb]++;
			if (c.verb == PF_RACE_FAULT)
				faults[c.fault - plan.faults]++;
		}
	}
	for (unsigned int i = 0; i < PF_RACE_VERBS_NR; i++)
		ck_assert_uint_gt(verbs[i], 0);
	for (unsigned int i = 0; i < plan.nr_faults; i++)
		ck_assert_msg(faults[i], "%s is never chosen", plan.faults[i].ops->name);
}
END_TEST

START_TEST(plan_chooses_the_verbs_that_it_is_told)
{
	static const char *const wrong[] = { "lok", "write,fault", "look,fault", "" };
	struct race_params p = params();
	unsigned int verbs[PF_RACE_VERBS_NR] = { 0 };
	struct race_choice c;
	struct pf_rng r;
	char why[200];

	p.verbs = "pwrite,look,fault";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	pf_rng_init(&r, 1, "test", 0);
	for (int i = 0; i < 100000; i++) {
		race_choose(&plan, &r, &c);
		check_choice(&c);
		verbs[c.verb]++;
	}
	ck_assert_uint_eq(verbs[PF_RACE_WRITE] + verbs[PF_RACE_STORE], 0);
	/* Of 57 each has as many as of 100. */
	ck_assert_uint_gt(verbs[PF_RACE_PWRITE], 18500);
	ck_assert_uint_gt(verbs[PF_RACE_LOOK], 76000);
	ck_assert_uint_gt(verbs[PF_RACE_FAULT], 3000);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		p.verbs = wrong[i];
		ck_assert_msg(race_plan_init(&plan, &p, 4096, why, sizeof(why)) == -EINVAL, "%s",
			      wrong[i]);
	}
}
END_TEST

static bool planned(const char *name)
{
	for (unsigned int i = 0; i < plan.nr_faults; i++)
		if (!strcmp(plan.faults[i].ops->name, name))
			return true;
	return false;
}

START_TEST(plan_takes_what_can_be_raced)
{
	static const char *const no[] = { "crash",  "freeze", "thaw", "remount", "unlink", "rename",
					  "fork",   "panic",  "hang", "sabotage-swap" };
	static const char *const yes[] = { "punch", "truncate", "collapse", "insert", "clone",
					   "dedupe", "fsync", "syncfs", "evict", "migrate" };
	struct race_params p = params();
	char why[200];

	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		ck_assert_msg(!planned(no[i]), "%s", no[i]);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		ck_assert_msg(planned(yes[i]), "%s", yes[i]);
	p.faults = "punch,fsync";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	ck_assert_uint_eq(plan.nr_faults, 2);
	p.faults = "none";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	ck_assert_uint_eq(plan.nr_faults, 0);
	p.faults = "punch,freeze";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "fault 'freeze' cannot be raced");
	p.faults = "punsh";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "fault 'punsh' does not exist");
	p.faults = NULL;
	p.without = "zero-range,fsync";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	ck_assert(!planned("zero-range") && !planned("fsync") && planned("punch"));
	p.without = "zero-rang";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "fault 'zero-rang' does not exist");
	p.without = NULL;
	p.files = 1;
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	ck_assert(!planned("clone"));
	p.size_bytes = 12345;
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), -EINVAL);
	p.size_bytes = 256 << 10;
	p.views = "mmap";
	ck_assert_int_eq(race_plan_init(&plan, &p, 4096, why, sizeof(why)), 0);
	ck_assert_uint_eq(plan.nr_views, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("race's choices");
	TCase *t = tcase_create("race's choices");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, rng_streams);
	tcase_add_test(t, plan_is_a_function_of_the_seed);
	tcase_add_test(t, plan_keeps_to_the_rules);
	tcase_add_test(t, plan_chooses_the_verbs_that_it_is_told);
	tcase_add_test(t, plan_takes_what_can_be_raced);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
