// SPDX-License-Identifier: GPL-2.0
/*
 * btrfs: fallocate(2), to make a range zeros or a hole, waits for metadata space with the range
 * locked; whoever is to make some writes the same file, and waits for that lock.
 *
 *	cc -O2 -Wall -Wextra -pthread reproduce.c -o reproduce
 *	mkfs.btrfs -f -b 200M DEVICE; mount DEVICE DIRECTORY
 *	./reproduce DIRECTORY [FILES [punch|store]]
 *
 * Root, or vm.unprivileged_userfaultfd=1: a process_vm_writev is kept waiting for its source, with
 * the pages that it writes to pinned. FILES (3000) are made in the directory, of 16K each. With
 * `punch` a hole is punched instead of zeros being made; with `store` the mapping is written to by
 * the CPU instead, and all is well. Exit: 1 one of the calls took five seconds or more, 0 none did,
 * 2 this cannot be tried here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 4 * PAGE, WRITTEN = 2 * PAGE };
#define LONG_S 5.0

static char *source, *map;
static char data[SIZE];
static int uffd = -1;

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

static void no_page(int sig)
{
	static const char why[] = "SIGBUS: no space for a page that is stored to\n";

	(void)sig;
	_exit(write(2, why, sizeof(why) - 1) < 0 ? 3 : 2);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Memory that nobody can read before we say so. */
static void withhold(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	source = mmap(NULL, WRITTEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (uffd < 0 || source == MAP_FAILED || ioctl(uffd, UFFDIO_API, &api))
		quit("userfaultfd");
	reg.range.start = (uintptr_t)source;
	reg.range.len = WRITTEN;
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		quit("UFFDIO_REGISTER");
}

/* Pins the pages of the file, then sleeps for what it is to put into them. */
static void *write_thread(void *arg)
{
	struct iovec from = { source, WRITTEN }, to = { map, WRITTEN };

	(void)arg;
	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != WRITTEN)
		quit("process_vm_writev");
	return NULL;
}

/* The file is written back while a write of its first two pages is on its way. */
static void write_behind(int fd)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)source,
		.src = (uintptr_t)data,
		.len = WRITTEN,
	};
	struct uffd_msg msg;
	pthread_t thread;

	if (pthread_create(&thread, NULL, write_thread, NULL))
		quit("pthread_create");
	if (read(uffd, &msg, sizeof(msg)) != sizeof(msg) || fsync(fd) ||
	    ioctl(uffd, UFFDIO_COPY, &copy))
		quit("what is held");
	pthread_join(thread, NULL);
	madvise(source, WRITTEN, MADV_DONTNEED);
}

/* Seconds that fallocate(@mode) of the second page of file @nr took. */
static double fallocate_takes(int dir, int nr, bool stores, int mode)
{
	char name[32];
	double began, took;
	int fd;

	snprintf(name, sizeof(name), "f%d", nr);
	fd = openat(dir, name, O_RDWR | O_CLOEXEC);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || map == MAP_FAILED)
		quit(name);
	memset(map, 'b', WRITTEN);
	if (stores && fsync(fd))
		quit("fsync");
	if (stores)
		memset(map, 'c', WRITTEN);
	else
		write_behind(fd);
	began = now();
	if (fallocate(fd, mode, PAGE, PAGE))
		quit("fallocate");
	took = now() - began;
	munmap(map, SIZE);
	close(fd);
	return took;
}

int main(int argc, char **argv)
{
	int dir = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int files = argc > 2 ? atoi(argv[2]) : 3000;
	bool stores = argc > 3 && !strcmp(argv[3], "store");
	int mode = argc > 3 && !strcmp(argv[3], "punch") ?
			   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE :
			   FALLOC_FL_ZERO_RANGE;
	double longest = 0;
	int nr_long = 0;

	if (dir < 0 || files < 1) {
		fprintf(stderr, "usage: %s DIRECTORY [FILES [punch|store]]\n", argv[0]);
		return 2;
	}
	signal(SIGBUS, no_page);
	withhold();
	memset(data, 'a', sizeof(data));
	for (int i = 0; i < files; i++) {
		char name[32];
		int fd;

		snprintf(name, sizeof(name), "f%d", i);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, data, SIZE) != SIZE)
			quit(name);
		close(fd);
		/* Much at once would have more space given to metadata. */
		if ((i % 100 == 99 || i == files - 1) && syncfs(dir))
			quit("syncfs");
	}
	for (int i = 0; i < files; i++) {
		double took = fallocate_takes(dir, i, stores, mode);

		if (took >= LONG_S)
			printf("file %d: fallocate took %.1f s\n", i, took);
		fflush(stdout);
		nr_long += took >= LONG_S;
		longest = took > longest ? took : longest;
	}
	printf("%s: %d of %d calls took %.0f s or more; the longest %.3f s\n",
	       nr_long ? "FAIL" : "ok", nr_long, files, LONG_S, longest);
	return nr_long ? 1 : 0;
}
