// SPDX-License-Identifier: GPL-2.0
/*
 * Where a thread is. The one that runs shares a CPU with the one that asks, as on a machine of one
 * CPU: only of what is put off it can the kernel read the stack.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../executor/exec.h"

static atomic_int tid, stop;
static void *buffer;
static int pipe_fds[2], zero_fd;

#define BUFFER_BYTES (64u << 20)

/* Not read(2) by its name: a sanitizer looks at all that it has brought. */
static void *spins_in_read(void *arg)
{
	(void)arg;
	atomic_store(&tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&stop) && syscall(SYS_read, zero_fd, buffer, BUFFER_BYTES) > 0)
		;
	return NULL;
}

/* What is called within differs from one moment to the next. */
static void *spins_in_madvise(void *arg)
{
	(void)arg;
	atomic_store(&tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&stop) && !madvise(buffer, BUFFER_BYTES, MADV_DONTNEED) &&
	       !madvise(buffer, BUFFER_BYTES, MADV_POPULATE_WRITE))
		;
	return NULL;
}

static void *spins_in_two_calls(void *arg)
{
	(void)arg;
	atomic_store(&tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&stop) && !madvise(buffer, BUFFER_BYTES, MADV_DONTNEED) &&
	       !madvise(buffer, BUFFER_BYTES, MADV_POPULATE_WRITE) &&
	       syscall(SYS_read, zero_fd, buffer, BUFFER_BYTES) > 0)
		;
	return NULL;
}

static void *spins_in_user_space(void *arg)
{
	(void)arg;
	atomic_store(&tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&stop))
		;
	return NULL;
}

static void *sleeps(void *arg)
{
	char c;

	(void)arg;
	atomic_store(&tid, (int)syscall(SYS_gettid));
	return read(pipe_fds[0], &c, 1) < 0 ? buffer : NULL;
}

static void where_of(void *(*thread)(void *), char *where, size_t bytes)
{
	cpu_set_t all, one;
	pthread_t t;

	atomic_store(&tid, 0);
	atomic_store(&stop, 0);
	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	ck_assert_ptr_ne(buffer, MAP_FAILED);
	memset(buffer, 1, BUFFER_BYTES);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, thread, NULL), 0);
	while (!atomic_load(&tid))
		usleep(1000);
	usleep(20000);
	thread_where(atomic_load(&tid), where, bytes);
	atomic_store(&stop, 1);
	ck_assert_int_eq(write(pipe_fds[1], "", 1), 1);
	pthread_join(t, NULL);
	sched_setaffinity(0, sizeof(all), &all);
	munmap(buffer, BUFFER_BYTES);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(zero_fd);
}

START_TEST(test_where_a_thread_is)
{
	static const struct {
		void *(*thread)(void *);
		const char *where, *or;
	} rows[] = {
		{ spins_in_read, "R running:read_iter_zero", "R running:read_zero" },
		{ spins_in_madvise, "R running:do_madvise", "R running:madvise_do_behavior" },
		{ spins_in_two_calls, "R running", "R running" },
		{ spins_in_user_space, "R running", "R running" },
		{ sleeps, "S anon_pipe_read", "S pipe_read" },
	};
	char where[128], stack[512];

	thread_stack((int)syscall(SYS_gettid), stack, sizeof(stack));
	if (!*stack)
		return; /* none can be read: not root */
	/* It may be seen between two calls, once in some hundred times. */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool found = false;

		for (int n = 0; n < 3 && !found; n++) {
			where_of(rows[i].thread, where, sizeof(where));
			found = !strcmp(where, rows[i].where) || !strcmp(where, rows[i].or);
		}
		ck_assert_msg(found, "%zu: %s", i, where);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker");
	TCase *tc = tcase_create("where");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_where_a_thread_is);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
