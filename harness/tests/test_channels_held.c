// SPDX-License-Identifier: GPL-2.0
/*
 * test_channels_held.c - a held write has its pages pinned and its data withheld until it lands.
 *
 * Every channel that holds and needs no RDMA, on tmpfs and on ext4: gup_fixture.c. Held reads are
 * test_held_read.c's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/clock.h"
#include "gup_fixture.h"
#include "pins_held.h"

#define BIG_BYTES (2 * PF_IO_MAX_BYTES)

/* After hold: nothing arrived, pages pinned. After land: everything did, and the pins are gone. */
START_TEST(test_hold_and_land)
{
	const struct subject *s = &subjects[_i / 2];
	struct bench b;
	struct pf_io io;
	long before, during, n;
	int rc;

	if (!holds(s))
		return;
	rc = bench_open(&b, s, fs_names[_i % 2], BIG_BYTES);
	ck_assert_int_eq(rc, 0);
	for (size_t len_bytes = 8192; len_bytes <= PF_IO_MAX_BYTES; len_bytes *= 8) {
		io = (struct pf_io){ .file = &b.file, .off_bytes = 4096, .len_bytes = len_bytes,
				     .data = b.data };
		memset(b.file.map, 0, BIG_BYTES);
		before = pins_held();
		rc = s->ops->hold(&b.ch, &io);
		ck_assert_msg(!rc, "%s/%s hold: %s %s", s->name, s->variant, strerror(-rc),
			      io.detail);
		ck_assert_str_eq(io.detail, "");
		during = pins_held();
		ck_assert(all_zero(b.file.map + 4096, len_bytes));
		n = s->ops->land(&b.ch, &io);
		ck_assert_int_eq(n, (long)len_bytes);
		check_arrived(&b, &io);
		fprintf(stderr, "note: %s/%s %zu bytes: pinned pages %ld -> %ld -> %ld\n", s->name,
			s->variant, len_bytes, before, during, pins_held());
	}
	bench_close(&b);
}
END_TEST

/* Threads of this process, without those that io_uring makes as it likes. */
static int nr_threads(void)
{
	char path[300], comm[32];
	struct dirent *e;
	DIR *dir = opendir("/proc/self/task");
	int nr = 0;

	while (dir && (e = readdir(dir))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = *e->d_name == '.' ? NULL : fopen(path, "re");
		if (!f)
			continue;
		nr += fgets(comm, sizeof(comm), f) && strncmp(comm, "iou-", 4) != 0;
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return nr;
}

/* One hold after the other, in the same memory and the same thread: each is held before its data
 * comes, whatever the one before has left there. */
START_TEST(test_held_again)
{
	static const size_t lens[] = { 8192, 64, 4160, 1 << 20, 12288, 4096, 1 << 20, 64, 20544 };
	const struct subject *s = &subjects[_i];
	int before = nr_threads(), first = 0;
	struct bench b;

	if (s->ops->hold_kind != PF_HOLD_INFLIGHT || !usable(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, "ext4", BIG_BYTES), 0);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		/* O_DIRECT reads whole blocks. */
		size_t unit = s->ops->class == PF_CLASS_SYSCALL || !strcmp(s->name, "pvm-writev") ?
				      64 : 4096;
		size_t len_bytes = (lens[i] + unit - 1) / unit * unit;
		struct pf_io io = { .file = &b.file, .off_bytes = 4096, .len_bytes = len_bytes,
				    .data = b.data };

		memset(b.file.map, 0, BIG_BYTES);
		ck_assert_msg(!s->ops->hold(&b.ch, &io), "%s/%s, hold %zu of %zu bytes: %s",
			      s->name, s->variant, i, len_bytes, io.detail);
		/* Of a write(2) the first half may be there, at most 2048 bytes. */
		ck_assert(all_zero(b.file.map + 4096 + len_bytes / 2, len_bytes - len_bytes / 2));
		ck_assert_int_eq(s->ops->land(&b.ch, &io), (long)len_bytes);
		check_arrived(&b, &io);
		first = first ? first : nr_threads();
		ck_assert_int_eq(nr_threads(), first);
	}
	ck_assert_int_gt(first, before);
	bench_close(&b);
	for (int ms = 0; nr_threads() != before && ms < 1000; ms++)
		poll(NULL, 0, 1); /* a joined thread may be listed for a moment */
	ck_assert_int_eq(nr_threads(), before);
}
END_TEST

/* The kernel's own count shows the pin: FOLL_PIN for process_vm_writev and, from 6.15, for FUSE. */
START_TEST(test_pin_is_counted)
{
	const struct subject *s = &subjects[_i];
	struct bench b;
	struct pf_io io = { .file = &b.file, .len_bytes = 32768 };
	long before = pins_held(), during;

	if (!holds(s))
		return;
	if (before < 0) {
		skip(s->name, "this kernel does not count FOLL_PIN");
		return;
	}
	ck_assert_int_eq(bench_open(&b, s, "ext4", FILE_BYTES), 0);
	io.data = b.data;
	before = pins_held();
	ck_assert_int_eq(s->ops->hold(&b.ch, &io), 0);
	during = pins_held();
	ck_assert_int_eq(s->ops->land(&b.ch, &io), 32768);
	if (during == before && strcmp(s->name, "pvm-writev"))
		skip(s->name, "plain references here, not FOLL_PIN");
	else
		ck_assert_int_ge(during - before, 8);
	bench_close(&b);
}
END_TEST

static int fault_punch(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16384);
}

static int fault_truncate(int fd)
{
	return ftruncate(fd, 0);
}

/* The page cache waits for no pin: the fault completes under the hold, and land claims success. */
START_TEST(test_fault_while_held)
{
	static int (*const faults[])(int fd) = { fault_punch, fault_truncate, fsync };
	const struct subject *s = &subjects[_i / 3];
	struct bench b;
	struct pf_io io = { .file = &b.file, .len_bytes = 16384 };
	struct stat st;

	if (!holds(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, "ext4", FILE_BYTES), 0);
	io.data = b.data;
	ck_assert_int_eq(s->ops->hold(&b.ch, &io), 0);
	ck_assert_int_eq(faults[_i % 3](b.file.fd), 0);
	ck_assert_int_eq(fstat(b.file.fd, &st), 0);
	ck_assert_int_eq(st.st_size, _i % 3 == 1 ? 0 : FILE_BYTES);
	ck_assert_int_eq(s->ops->land(&b.ch, &io), 16384);
	bench_close(&b);
}
END_TEST

/* All holds at once, landed in another order than they began; the last is left to close. */
START_TEST(test_many_holds)
{
	static const unsigned int order[] = { 2, 0, 3 };
	const struct subject *s = &subjects[_i];
	struct bench b;
	struct pf_io io[PF_HOLDS_MAX + 1];

	if (!holds(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, "ext4", FILE_BYTES), 0);
	for (unsigned int i = 0; i <= PF_HOLDS_MAX; i++) {
		io[i] = (struct pf_io){ .file = &b.file, .off_bytes = i * 8192, .len_bytes = 8192,
					.data = b.data + i * 8192 };
		ck_assert_int_eq(s->ops->hold(&b.ch, &io[i]), i < PF_HOLDS_MAX ? 0 : -EBUSY);
	}
	ck_assert_int_eq(s->ops->write(&b.ch, &io[PF_HOLDS_MAX]), 8192);
	check_arrived(&b, &io[PF_HOLDS_MAX]);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_int_eq(s->ops->land(&b.ch, &io[order[i]]), 8192);
		check_arrived(&b, &io[order[i]]);
		ck_assert_int_eq(s->ops->hold(&b.ch, &io[order[i]]), 0); /* and once more */
		ck_assert_int_eq(s->ops->land(&b.ch, &io[order[i]]), 8192);
	}
	ck_assert_mem_ne(b.file.map + 8192, io[1].data, 8192);
	s->ops->close(&b.ch);
	check_arrived(&b, &io[1]);
	bench_close(&b);
}
END_TEST

/* Where only the first page can be had the hold is a short one, soon, and says so. */
START_TEST(test_hold_past_end)
{
	const struct subject *s = &subjects[_i];
	struct bench b;
	struct pf_io io = { .file = &b.file, .len_bytes = 8192 };
	uint64_t start_ns;
	int rc;

	if (!holds(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, "ext4", FILE_BYTES), 0);
	io.data = b.data;
	ck_assert_int_eq(ftruncate(b.file.fd, 4096), 0);
	start_ns = pf_now_ns();
	rc = s->ops->hold(&b.ch, &io);
	fprintf(stderr, "note: %s/%s hold past the end: %d \"%s\" after %lu ms\n", s->name,
		s->variant, rc, io.detail,
		(unsigned long)((pf_now_ns() - start_ns) / PF_NS_PER_MS));
	ck_assert_int_lt(pf_now_ns() - start_ns, DEADLINE_MS * PF_NS_PER_MS);
	if (!rc)
		ck_assert_int_eq(s->ops->land(&b.ch, &io), 4096);
	io = (struct pf_io){ .file = &b.file, .len_bytes = 8192, .data = b.data };
	io.off_bytes = 8192;
	ck_assert_int_eq(s->ops->hold(&b.ch, &io), -EFAULT);
	bench_close(&b);
}
END_TEST

/* A held write(2) has the file's lock, and at most half of a page copied; landed it is all there,
 * also where it makes the file longer. */
START_TEST(test_held_write)
{
	const struct subject *s = &subjects[nr_subjects - 1];
	struct bench b;
	struct pf_io io = { .file = &b.file, .len_bytes = 12288 }, second;
	struct stat st;

	ck_assert_int_eq(s->ops->class, PF_CLASS_SYSCALL);
	if (!usable(s))
		return;
	ck_assert_int_eq(bench_open(&b, s, fs_names[_i], FILE_BYTES), 0);
	io.data = b.data;
	ck_assert_int_eq(s->ops->hold(&b.ch, &io), 0);
	ck_assert_mem_ne(b.file.map + 2048, b.data + 2048, 2048);
	second = (struct pf_io){ .file = &b.file, .off_bytes = 16384, .len_bytes = 64,
				 .data = b.data };
	ck_assert_int_eq(s->ops->hold(&b.ch, &second), -EBUSY);
	ck_assert_int_eq(s->ops->land(&b.ch, &io), 12288);
	check_arrived(&b, &io);
	io = (struct pf_io){ .file = &b.file, .off_bytes = FILE_BYTES, .len_bytes = 64,
			     .data = b.data };
	ck_assert_int_eq(s->ops->hold(&b.ch, &io), 0);
	ck_assert_int_eq(s->ops->land(&b.ch, &io), 64);
	ck_assert_int_eq(fstat(b.file.fd, &st), 0);
	ck_assert_int_eq(st.st_size, FILE_BYTES + 64);
	bench_close(&b);
}
END_TEST

/* Is @text on some line of @path? */
static bool grep(const char *path, const char *text)
{
	char line[1024];
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, text) != NULL;
	if (f)
		fclose(f);
	return found;
}

/* Reap @pid within the deadline; false if it cannot die. */
static bool reaped(pid_t pid)
{
	uint64_t until_ns = pf_now_ns() + DEADLINE_MS * PF_NS_PER_MS;

	while (pf_now_ns() < until_ns) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		sched_yield();
	}
	return false;
}

/* A process that dies with a hold out dies at once, and leaves no mount behind. */
START_TEST(test_killed_while_held)
{
	const struct subject *s = &subjects[_i / 2];
	int sig = _i % 2 ? SIGSEGV : SIGKILL, pipe_fd[2];
	char word = 0;
	pid_t pid;

	if (!holds(s))
		return;
	ck_assert_int_eq(pipe(pipe_fd), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct bench b;
		struct pf_io io = { .file = &b.file, .len_bytes = 16384 };

		if (bench_open(&b, s, "ext4", FILE_BYTES))
			_exit(1);
		io.data = b.data;
		word = s->ops->hold(&b.ch, &io) ? 'n' : 'y';
		signal(SIGSEGV, SIG_DFL);
		if (write(pipe_fd[1], &word, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(pipe_fd[1]);
	ck_assert_int_eq(read(pipe_fd[0], &word, 1), 1);
	ck_assert_int_eq(word, 'y');
	kill(pid, sig);
	ck_assert_msg(reaped(pid), "%s/%s cannot be killed while held", s->name, s->variant);
	ck_assert(!grep("/proc/self/mountinfo", "fuse pinfault"));
	close(pipe_fd[0]);
}
END_TEST

/* What a case pays: open and close without I/O, and with one held write. */
START_TEST(test_cost)
{
	const struct subject *s = &subjects[_i];
	enum { ROUNDS = 50 };
	uint64_t bare_ns, held_ns, at_ns;
	struct bench b;

	if (!holds(s))
		return;
	at_ns = pf_now_ns();
	for (int i = 0; i < ROUNDS; i++) {
		ck_assert_int_eq(bench_open(&b, s, "tmpfs", FILE_BYTES), 0);
		bench_close(&b);
	}
	bare_ns = pf_now_ns() - at_ns;
	at_ns = pf_now_ns();
	for (int i = 0; i < ROUNDS; i++) {
		struct pf_io io = { .file = &b.file, .len_bytes = 8192 };

		ck_assert_int_eq(bench_open(&b, s, "tmpfs", FILE_BYTES), 0);
		io.data = b.data;
		ck_assert_int_eq(s->ops->hold(&b.ch, &io), 0);
		ck_assert_int_eq(s->ops->land(&b.ch, &io), 8192);
		bench_close(&b);
	}
	held_ns = pf_now_ns() - at_ns;
	fprintf(stderr, "note: %s/%s: a case of nothing %lu us, of one held write %lu us\n",
		s->name, s->variant, (unsigned long)(bare_ns / ROUNDS / 1000),
		(unsigned long)(held_ns / ROUNDS / 1000));
}
END_TEST

static Suite *held_suite(void)
{
	Suite *suite = suite_create("channels-held");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_hold_and_land, 0, 2 * nr_subjects);
	tcase_add_loop_test(tc, test_held_again, 0, nr_subjects);
	tcase_add_loop_test(tc, test_pin_is_counted, 0, nr_subjects);
	tcase_add_loop_test(tc, test_fault_while_held, 0, 3 * nr_subjects);
	tcase_add_loop_test(tc, test_many_holds, 0, nr_subjects);
	tcase_add_loop_test(tc, test_hold_past_end, 0, nr_subjects);
	tcase_add_loop_test(tc, test_held_write, 0, 2);
	tcase_add_loop_test(tc, test_killed_while_held, 0, 2 * nr_subjects);
	tcase_add_loop_test(tc, test_cost, 0, nr_subjects);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return gup_fixture_main("test_channels_held", held_suite);
}
