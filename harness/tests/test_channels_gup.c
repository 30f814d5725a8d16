// SPDX-License-Identifier: GPL-2.0
/*
 * test_channels_gup.c - the channels that need no RDMA write what they are told where it belongs.
 *
 * On tmpfs and on ext4: gup_fixture.c. What they hold is test_channels_held.c's.
 */
#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gup_fixture.h"

START_TEST(test_plain_writes)
{
	static const struct {
		uint64_t off_bytes;
		size_t len_bytes;
	} where[] = {
		{ 0, 4096 },	    { 0, 64 },	      { 64, 64 },	{ 4096 - 64, 128 },
		{ 4096 - 64, 8256 }, { 512, 1024 },   { 8192, 12288 }, { 64, 4032 },
		{ 0, FILE_BYTES },  { 128, FILE_BYTES - 192 },
	};
	const struct subject *s = &subjects[_i / 2];
	const char *fs = fs_names[_i % 2];
	struct bench b;
	int rc;

	if (!usable(s))
		return;
	rc = bench_open(&b, s, fs, FILE_BYTES);
	if (rc) { /* long pins of file mappings: EFAULT, EOPNOTSUPP before 6.5 */
		ck_assert_int_eq(s->ops->class, PF_CLASS_LONG_PIN);
		ck_assert_str_eq(fs, "ext4");
		ck_assert(rc == -EFAULT || rc == -EOPNOTSUPP);
		fprintf(stderr, "note: %s on %s refused: %s\n", s->name, fs, strerror(-rc));
	}
	for (size_t i = 0; !rc && i < sizeof(where) / sizeof(where[0]); i++) {
		struct pf_io io = { .file = &b.file, .off_bytes = where[i].off_bytes,
				    .len_bytes = where[i].len_bytes, .data = b.data };
		long n;

		fill(b.data, io.len_bytes, (unsigned int)i);
		n = s->ops->write(&b.ch, &io);
		if (n == -EINVAL && !strcmp(s->variant, "loop") &&
		    (io.off_bytes % 512 || io.len_bytes % 512))
			continue; /* the block layer's right */
		ck_assert_msg(n == (long)io.len_bytes, "%s/%s on %s: %zu at %lu: %ld %s", s->name,
			      s->variant, fs, io.len_bytes, (unsigned long)io.off_bytes, n,
			      io.detail);
		check_arrived(&b, &io);
	}
	if (!rc && s->ops->unpin)
		ck_assert_int_eq(s->ops->unpin(&b.ch, &b.file), 0);
	bench_close(&b);
}
END_TEST

START_TEST(test_store_past_end)
{
	const struct subject *s = &subjects[0];
	struct bench b;
	struct pf_io io = { .file = &b.file, .off_bytes = 8192, .len_bytes = 64 };

	if (!usable(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, "ext4", FILE_BYTES), 0);
	io.data = b.data;
	ck_assert_int_eq(ftruncate(b.file.fd, 4096), 0);
	ck_assert_int_eq(s->ops->write(&b.ch, &io), -EFAULT);
	ck_assert_str_eq(io.detail, "SIGBUS");
	bench_close(&b);
}
END_TEST

/* Requests go to a worker of io_uring's, as they do where the source file knows no NOWAIT. */
static bool punted;

int io_uring_submit(struct io_uring *ring)
{
	static int (*submit)(struct io_uring *ring);
	unsigned int last = ring->sq.sqe_tail - 1;

	if (!submit)
		*(void **)&submit = dlsym(RTLD_NEXT, "io_uring_submit");
	if (punted && ring->sq.sqe_tail != ring->sq.sqe_head)
		ring->sq.sqes[last & ring->sq.ring_mask].flags |= IOSQE_ASYNC;
	return submit(ring);
}

/* One that takes longer than the deadline is not over: nothing else may use what it reads from. */
START_TEST(test_slow_fixed)
{
	const struct subject *s = subjects;
	struct bench b;

	while (s < subjects + nr_subjects && strcmp(s->name, "uring-fixed") != 0)
		s++;
	if (!usable(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, "tmpfs", 8u << 20), 0);
	b.ch.deadline_ms = 0;
	punted = true;
	for (unsigned int i = 0; i < 8; i++) {
		struct pf_io io = { .file = &b.file, .off_bytes = i % 2 * PF_IO_MAX_BYTES,
				    .len_bytes = PF_IO_MAX_BYTES, .data = b.data };

		fill(b.data, io.len_bytes, i);
		ck_assert_int_eq(s->ops->write(&b.ch, &io), (long)io.len_bytes);
		check_arrived(&b, &io);
	}
	punted = false;
	ck_assert_int_eq(s->ops->unpin(&b.ch, &b.file), 0);
	bench_close(&b);
}
END_TEST

static Suite *gup_suite(void)
{
	Suite *suite = suite_create("channels-gup");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_plain_writes, 0, 2 * nr_subjects);
	tcase_add_test(tc, test_store_past_end);
	tcase_add_test(tc, test_slow_fixed);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return gup_fixture_main("test_channels_gup", gup_suite);
}
