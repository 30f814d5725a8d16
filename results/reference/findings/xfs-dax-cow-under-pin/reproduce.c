// SPDX-License-Identifier: GPL-2.0
/*
 * XFS with DAX: write(2), or a store after a sync, copies a block that nobody shares on write, and
 * frees the old one while it is pinned. What the pin writes is lost, and lands in whatever file has
 * the block by then.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.xfs -m reflink=1 /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt		# both, with a hole
 *
 * or with no hole and no write(2): a clone, of which one page is written, and a new mount
 *
 *	./reproduce /mnt prepare && umount /mnt && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt again
 *
 * unprivileged.sh calls it with "slow".
 *
 * exit: 0 nothing is lost; 1 data is; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
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
#include <unistd.h>

#define PAGE 4096ul
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

static int make_file(const char *dir, const char *name, int nr, char fill, size_t bytes)
{
	static char data[4 * PAGE];
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s%d", dir, name, nr);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	memset(data, fill, bytes);
	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || fsync(fd))
		quit(path);
	return fd;
}

/* How many of the @bytes at @offset of @fd are not @fill. */
static size_t not_as(int fd, size_t offset, size_t bytes, char fill)
{
	char data[PAGE];
	size_t bad = 0;

	if (pread(fd, data, bytes, (off_t)offset) != (ssize_t)bytes)
		quit("pread");
	for (size_t i = 0; i < bytes; i++)
		bad += data[i] != fill;
	return bad;
}

static char *map_file(int fd)
{
	char *at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		quit("mmap");
	return at;
}

/* A file whose blocks another one shares, but for the second, which is its own (or yet a hole). */
static int cloned_file(const char *dir, int hole)
{
	int a = make_file(dir, "a", 0, 'a', 4 * PAGE), b = make_file(dir, "b", 0, 'b', 4 * PAGE);

	if (hole && fallocate(a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE))
		quit("fallocate");
	if (fsync(a) || ioctl(b, FICLONE, a))
		quit("FICLONE");
	if (!hole) {
		map_file(a)[PAGE] = 'P';
		if (fsync(a))
			quit("fsync");
	}
	close(b);
	return a;
}

static int nr_others = OTHERS; /* 0: somebody else makes files, in ten seconds */

/* 0, or 1 if data of the pin on the second page of @a is lost, or another file is overwritten. */
static int try_file(const char *dir, int a, int by_write)
{
	static char page[PAGE];
	struct uffdio_copy copy = { .src = (uintptr_t)page, .len = PAGE };
	int uffd, others[OTHERS], bad_files = 0;
	pthread_t thread;
	size_t lost;

	map = map_file(a);
	uffd = withhold();
	if (pthread_create(&thread, NULL, write_thread, NULL))
		quit("pthread_create");
	usleep(300000); /* the page is pinned; nobody shares its block */
	map[0] = 'A'; /* the block before it is shared, and copied */
	if (by_write) {
		if (pwrite(a, "pwrite", 6, PAGE) != 6)
			quit("pwrite");
	} else {
		sync(); /* nothing may be written to without a page fault now */
		map[PAGE] = 'S';
	}
	sync();
	for (int i = 0; i < nr_others; i++)
		others[i] = make_file(dir, "other", i, 'o', PAGE);
	printf("a page is pinned; %s; others are made\n",
	       by_write ? "pwrite(2) writes six bytes to its start"
			: "a sync, and one byte is stored to its start");
	fflush(stdout);
	sleep(nr_others ? 0 : 10);
	memset(page, 'D', PAGE);
	copy.dst = (uintptr_t)source;
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		quit("UFFDIO_COPY");
	pthread_join(thread, NULL);
	puts("process_vm_writev() has written the page, says its return value");
	fsync(a);
	/* Its first bytes may be either's. */
	lost = not_as(a, PAGE + 8, PAGE - 8, 'D');
	printf("%s: %zu of %lu bytes of it are not in the file\n", lost ? "FAIL" : "ok", lost,
	       PAGE - 8);
	for (int i = 0; i < nr_others; i++) {
		size_t bad = not_as(others[i], 0, PAGE, 'o');

		if (bad)
			printf("FAIL: %zu bytes of file other%d are not what was written\n", bad,
			       i);
		bad_files += bad != 0;
		close(others[i]);
	}
	close(uffd);
	close(a);
	return lost || bad_files;
}

int main(int argc, char **argv)
{
	char path[4096];
	int fd, bad;

	if (argc == 3 && !strcmp(argv[2], "prepare")) {
		close(cloned_file(argv[1], 0));
		return 0;
	}
	if (argc == 3 && !strcmp(argv[2], "again")) {
		snprintf(path, sizeof(path), "%s/a0", argv[1]);
		fd = open(path, O_RDWR);
		if (fd < 0)
			quit(path);
		bad = try_file(argv[1], fd, 0);
	} else if (argc == 3 && !strcmp(argv[2], "slow")) {
		nr_others = 0;
		bad = try_file(argv[1], cloned_file(argv[1], 1), 0);
	} else if (argc == 2) {
		bad = try_file(argv[1], cloned_file(argv[1], 1), 1);
		bad |= try_file(argv[1], cloned_file(argv[1], 1), 0);
	} else {
		fprintf(stderr, "usage: %s DIRECTORY-ON-DAX [prepare | again | slow]\n", argv[0]);
		return 2;
	}
	puts(bad ? "FAIL" : "PASS");
	return bad;
}
