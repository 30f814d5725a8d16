// SPDX-License-Identifier: GPL-2.0
/*
 * What is counted of a page of zeros. That it is the kernel's which is looked at was seen where a
 * kernel lets it be overwritten: results/reference/findings/6.18-odp-zero-page.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../executor/exec.h"

static uint8_t bytes[4096];

START_TEST(test_each_byte_counts)
{
	static const size_t at[] = { 0, 1, 2047, sizeof(bytes) - 1 };

	ck_assert_uint_eq(zeros_count_wrong(bytes, sizeof(bytes)), 0);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		bytes[at[i]] = (uint8_t)(i + 1);
		ck_assert_uint_eq(zeros_count_wrong(bytes, sizeof(bytes)), 1);
		bytes[at[i]] = 0;
	}
	memset(bytes, 0x5a, sizeof(bytes)); /* all alike */
	ck_assert_uint_eq(zeros_count_wrong(bytes, sizeof(bytes)), sizeof(bytes));
}
END_TEST

START_TEST(test_this_machine_is_sound)
{
	ck_assert_uint_eq(zeros_wrong(), 0); /* not looked at yet */
	zeros_open();
	ck_assert_uint_eq(zeros_wrong(), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("zeros");
	TCase *tc = tcase_create("page");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_each_byte_counts);
	tcase_add_test(tc, test_this_machine_is_sound);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
