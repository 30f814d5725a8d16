// SPDX-License-Identifier: GPL-2.0
/*
 * A hole punch on a DAX file that waits for a pin sleeps on when the pin is gone, because a
 * clone of the file has the shared block mapped.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.xfs -m reflink=1 -b size=4096 /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt/file
 *
 * With "quiet" as second argument the clone is not read from, and nothing hangs.
 * exit: 0 the punch ended; 1 not within ten seconds after the pin was gone; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
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

static char *map, *sink;
static int fd;
static atomic_int was_read, punched;

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

/* Memory that nobody can write to before we say so. */
static int withhold(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	sink = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (uffd < 0 || sink == MAP_FAILED || ioctl(uffd, UFFDIO_API, &api))
		quit("userfaultfd");
	reg.range.start = (uintptr_t)sink;
	reg.range.len = PAGE;
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		quit("UFFDIO_REGISTER");
	return uffd;
}

/* Pins the page of the file for reading, then sleeps because there is nowhere to copy it to. */
static void *read_thread(void *arg)
{
	struct iovec to = { sink, PAGE }, from = { map, PAGE };

	(void)arg;
	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)PAGE)
		quit("process_vm_readv");
	was_read = 1;
	return NULL;
}

static void *punch_thread(void *arg)
{
	(void)arg;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
		perror("fallocate");
	punched = 1;
	return NULL;
}

static int wait_for(atomic_int *what, int seconds)
{
	for (int i = 0; i < 100 * seconds && !*what; i++)
		usleep(10000);
	return *what;
}

/* A file of one written block, and a clone of it, mapped. */
static char *make_files(const char *name)
{
	char block[PAGE], other[4096], *clone;
	int clone_fd;

	memset(block, 'a', sizeof(block));
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || pwrite(fd, block, PAGE, 0) != (ssize_t)PAGE || fsync(fd))
		quit(name);
	snprintf(other, sizeof(other), "%s.clone", name);
	clone_fd = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (clone_fd < 0 || ioctl(clone_fd, FICLONE, fd))
		quit("FICLONE");
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	clone = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, clone_fd, 0);
	if (map == MAP_FAILED || clone == MAP_FAILED)
		quit("mmap");
	return clone;
}

int main(int argc, char **argv)
{
	int quiet = argc > 2 && !strcmp(argv[2], "quiet"), uffd;
	struct uffdio_zeropage zero = { 0 };
	pthread_t thread;
	char *clone;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE-ON-DAX [quiet]\n", argv[0]);
		return 2;
	}
	clone = make_files(argv[1]);
	if (!quiet)
		printf("the clone has '%c'\n", *(volatile char *)clone);
	uffd = withhold();
	if (pthread_create(&thread, NULL, read_thread, NULL))
		quit("pthread_create");
	usleep(300000); /* it has nothing else to do than to pin, and to sleep */
	if (was_read)
		quit("the read was not held");
	if (pthread_create(&thread, NULL, punch_thread, NULL))
		quit("pthread_create");
	usleep(300000);
	printf("the punch %s\n", punched ? "did not wait for the pin" : "waits for the pin");
	if (punched)
		return 2; /* not DAX: nothing to see */
	zero.range.start = (uintptr_t)sink;
	zero.range.len = PAGE;
	if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
		quit("UFFDIO_ZEROPAGE");
	if (!wait_for(&was_read, 10))
		quit("the read does not end");
	puts("the read is over, nothing is pinned any more");
	if (wait_for(&punched, 10)) {
		puts("the punch has ended");
		return 0;
	}
	puts("FAIL: ten seconds later the punch still sleeps");
	munmap(map, PAGE);
	printf("after munmap of the file it %s\n", wait_for(&punched, 2) ? "ends" : "sleeps on");
	munmap(clone, PAGE);
	printf("after munmap of the clone it %s\n", wait_for(&punched, 2) ? "ends" : "sleeps on");
	fflush(stdout);
	_exit(1);
}
