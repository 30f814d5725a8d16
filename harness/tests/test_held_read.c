// SPDX-License-Identifier: GPL-2.0
/*
 * test_held_read.c - a held read pins its pages at once and copies nothing before it lands.
 *
 * On a file of tmpfs. Where there is no userfaultfd it says so, on stderr, and passes.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../workloads/channels/held_read.h"
#include "pins_held.h"

#define FILE_BYTES (1u << 20)
#define OFF 4032u /* in the page before the others */
#define LEN 8256u
#define BEFORE 64u /* may be in registers when the copy comes to its first store */

static struct pf_channel ch;
static struct pf_file file;
static uint8_t seen[FILE_BYTES];

/* False: it cannot be tested here. */
static bool begin(void)
{
	char why[160] = "";
	int rc;

	ch = (struct pf_channel){ .deadline_ms = 5000 };
	file = (struct pf_file){ .fd = memfd_create("held", MFD_CLOEXEC), .map_bytes = FILE_BYTES };
	ck_assert_int_ge(file.fd, 0);
	ck_assert_int_eq(ftruncate(file.fd, FILE_BYTES), 0);
	file.map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	ck_assert_ptr_ne(file.map, MAP_FAILED);
	memset(file.map, 'a', FILE_BYTES);
	memset(seen, '?', sizeof(seen));
	rc = held_read_open(&ch, why, sizeof(why));
	if (rc)
		fprintf(stderr, "skip: %s: %s\n", strerror(-rc), why);
	ck_assert(!rc || *why);
	return !rc;
}

static void end(void)
{
	held_uffd_close(&ch);
	munmap(file.map, FILE_BYTES);
	close(file.fd);
}

static struct pf_io read_of(uint64_t off_bytes, size_t len_bytes)
{
	return (struct pf_io){ .file = &file, .off_bytes = off_bytes, .len_bytes = len_bytes,
			       .into = seen };
}

static bool all(const uint8_t *p, size_t len_bytes, uint8_t c)
{
	return p[0] == c && !memcmp(p, p + 1, len_bytes - 1);
}

/* What changes in the page until it lands is what is read: nothing was copied before. */
START_TEST(copies_when_it_lands)
{
	struct pf_io io = read_of(OFF, LEN);
	long before;

	if (!begin())
		return;
	before = pins_held();
	ck_assert_int_eq(held_uffd_hold(&ch, &io), 0);
	if (before >= 0)
		ck_assert_int_ge(pins_held() - before, 3);
	ck_assert(all(seen, LEN, '?'));
	memset(file.map, 'b', FILE_BYTES);
	ck_assert_int_eq(held_uffd_land(&ch, &io), LEN);
	ck_assert(all(seen + BEFORE, LEN - BEFORE, 'b'));
	ck_assert_int_eq(seen[LEN], '?');
	end();
}
END_TEST

/* The page is the reader's: a punch takes it from the file, not from him. */
START_TEST(keeps_the_page_that_was_punched)
{
	struct pf_io io = read_of(0, 4096);

	if (!begin())
		return;
	ck_assert_int_eq(held_uffd_hold(&ch, &io), 0);
	ck_assert_int_eq(fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   FILE_BYTES), 0);
	ck_assert_int_eq(held_read_now(seen, file.map, 4096), 4096);
	ck_assert(all(seen, 4096, 0));
	ck_assert_int_eq(held_uffd_land(&ch, &io), 4096);
	ck_assert(all(seen, 4096, 'a'));
	end();
}
END_TEST

/* Each hold finds its pages missing again, and several are out at once. */
START_TEST(many_and_again)
{
	struct pf_io io[PF_HOLDS_MAX + 1];

	if (!begin())
		return;
	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i <= PF_HOLDS_MAX; i++) {
			io[i] = read_of(4096 * i, 4096);
			io[i].into = seen + (size_t)4096 * i;
			ck_assert_int_eq(held_uffd_hold(&ch, &io[i]),
					 i < PF_HOLDS_MAX ? 0 : -EBUSY);
		}
		memset(file.map, 'c' + round, FILE_BYTES);
		for (unsigned int i = PF_HOLDS_MAX; i-- > 0;)
			ck_assert_int_eq(held_uffd_land(&ch, &io[i]), 4096);
		for (size_t i = 0; i < PF_HOLDS_MAX; i++)
			ck_assert(all(seen + 4096 * i + BEFORE, 4096 - BEFORE,
				      (uint8_t)('c' + round)));
	}
	io[0] = read_of(0, FILE_BYTES);
	ck_assert_int_eq(held_uffd_hold(&ch, &io[0]), 0);
	ck_assert_int_eq(held_uffd_land(&ch, &io[0]), FILE_BYTES);
	ck_assert(all(seen, FILE_BYTES, 'e'));
	end();
}
END_TEST

/* Behind the end there is no page to pin: all or the rest of it is refused. */
START_TEST(past_the_end)
{
	struct pf_io io = read_of(8192, 4096);

	if (!begin())
		return;
	ck_assert_int_eq(ftruncate(file.fd, 8192), 0);
	ck_assert_int_eq(held_uffd_hold(&ch, &io), -EFAULT);
	ck_assert_int_eq(held_read_now(seen, file.map + 8192, 4096), -EFAULT);
	io = read_of(4096, 8192);
	ck_assert_int_eq(held_uffd_hold(&ch, &io), 0);
	ck_assert_int_eq(held_uffd_land(&ch, &io), 4096);
	end();
}
END_TEST

/* What is still held when the reader is closed comes to its end. */
START_TEST(closed_while_held)
{
	struct pf_io io = read_of(0, 4096);

	if (!begin())
		return;
	ck_assert_int_eq(held_uffd_hold(&ch, &io), 0);
	end();
	ck_assert(all(seen, 4096, 'a'));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("held-read");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, copies_when_it_lands);
	tcase_add_test(tc, keeps_the_page_that_was_punched);
	tcase_add_test(tc, many_and_again);
	tcase_add_test(tc, past_the_end);
	tcase_add_test(tc, closed_while_held);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
