// SPDX-License-Identifier: GPL-2.0
/*
 * XFS: xfs_fsr(8) moves a file to other blocks while a page of it is pinned for I/O. What the pin
 * writes is lost, and on DAX lands in whatever file has the old block by then.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.xfs /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt
 *
 * exit: 0 nothing is lost; 1 data is; 2 cannot run here. A defragmenter that waits for the pin is
 * given two seconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 8
#define OTHERS 400

static char *map, *source;

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

/* Memory that nobody can read from before we say so. */
static int withhold(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	source = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (uffd < 0 || source == MAP_FAILED || ioctl(uffd, UFFDIO_API, &api))
		quit("userfaultfd");
	reg.range.start = (uintptr_t)source;
	reg.range.len = PAGE;
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		quit("UFFDIO_REGISTER");
	return uffd;
}

/* Pins the second page of the file, then sleeps because its source is not there. */
static void *write_thread(void *arg)
{
	struct iovec from = { source, PAGE }, to = { map + PAGE, PAGE };

	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != (ssize_t)PAGE)
		quit("process_vm_writev");
	return arg;
}

static int make_file(const char *dir, const char *name, int nr)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s%d", dir, name, nr);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		quit(path);
	return fd;
}

static void write_page(int fd, int page, char fill)
{
	char data[PAGE];

	memset(data, fill, PAGE);
	if (pwrite(fd, data, PAGE, page * (off_t)PAGE) != (ssize_t)PAGE || fsync(fd))
		quit("pwrite");
}

/* How many bytes of this page are not @fill. */
static size_t not_as(int fd, int page, char fill)
{
	char data[PAGE];
	size_t bad = 0;

	if (pread(fd, data, PAGE, page * (off_t)PAGE) != (ssize_t)PAGE)
		quit("pread");
	for (size_t i = 0; i < PAGE; i++)
		bad += data[i] != fill;
	return bad;
}

/* Its process, still waiting after two seconds; 0: it is over. */
static pid_t defragment(const char *path)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execlp("xfs_fsr", "xfs_fsr", "-v", path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; pid > 0 && i < 20; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			if (!WIFEXITED(status) || WEXITSTATUS(status) == 127)
				quit("xfs_fsr");
			return 0;
		}
		usleep(100000);
	}
	return pid;
}

int main(int argc, char **argv)
{
	static char page[PAGE];
	struct uffdio_copy copy = { .src = (uintptr_t)page, .len = PAGE };
	int a, b, uffd, others[OTHERS], bad_files = 0;
	pthread_t thread;
	char path[4096];
	pid_t waiting;
	size_t lost;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	a = make_file(argv[1], "a", 0);
	b = make_file(argv[1], "b", 0);
	for (int i = 0; i < PAGES; i++) { /* in turn: the file is in pieces */
		write_page(a, i, 'a');
		write_page(b, i, 'b');
	}
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	if (map == MAP_FAILED)
		quit("mmap");
	uffd = withhold();
	if (pthread_create(&thread, NULL, write_thread, NULL))
		quit("pthread_create");
	usleep(300000); /* the page is pinned */
	snprintf(path, sizeof(path), "%s/a0", argv[1]);
	waiting = defragment(path);
	printf("a page is pinned; xfs_fsr %s\n", waiting ? "waits" : "is over");
	fflush(stdout);
	if (!waiting)
		sync();
	for (int i = 0; !waiting && i < OTHERS; i++) {
		others[i] = make_file(argv[1], "other", i);
		write_page(others[i], 0, 'o');
	}
	memset(page, 'D', PAGE);
	copy.dst = (uintptr_t)source;
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		quit("UFFDIO_COPY");
	pthread_join(thread, NULL);
	puts("process_vm_writev() has written the page, says its return value");
	if (waiting)
		waitpid(waiting, NULL, 0);
	fsync(a);
	lost = not_as(a, 1, 'D');
	printf("%s: %zu of %lu bytes of it are not in the file\n", lost ? "FAIL" : "ok", lost,
	       PAGE);
	for (int i = 0; !waiting && i < OTHERS; i++) {
		size_t bad = not_as(others[i], 0, 'o');

		if (bad)
			printf("FAIL: %zu bytes of file other%d are not what was written\n", bad,
			       i);
		bad_files += bad != 0;
	}
	puts(lost || bad_files ? "FAIL" : "PASS");
	return lost || bad_files;
}
