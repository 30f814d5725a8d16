// SPDX-License-Identifier: GPL-2.0
/*
 * A hole punch on a DAX file sleeps for good when its page is loaded from while it waits for a pin.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.ext4 -b 4096 /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt/file
 *
 * With "quiet" as second argument nothing is loaded, and nothing hangs.
 * exit: 0 the punch ended; 1 not within ten seconds after the pin was gone; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
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

static char *map, *source;
static int fd;
static _Atomic pid_t punch_tid;
static atomic_int written, punched;

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

/* Pins the page of the file, then sleeps because its source is not there. */
static void *write_thread(void *arg)
{
	struct iovec from = { source, PAGE }, to = { map, PAGE };

	(void)arg;
	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != (ssize_t)PAGE)
		quit("process_vm_writev");
	written = 1;
	return NULL;
}

static void *punch_thread(void *arg)
{
	(void)arg;
	punch_tid = gettid();
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
		perror("fallocate");
	punched = 1;
	return NULL;
}

/* Where does the punch sleep? */
static const char *punch_wchan(void)
{
	static char name[64];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", punch_tid);
	f = fopen(path, "r");
	memset(name, 0, sizeof(name));
	if (f && fread(name, 1, sizeof(name) - 1, f) == 0)
		name[0] = '\0';
	if (f)
		fclose(f);
	return name;
}

static int wait_for(atomic_int *what, int seconds)
{
	for (int i = 0; i < 100 * seconds && !*what; i++)
		usleep(10000);
	return *what;
}

int main(int argc, char **argv)
{
	int quiet = argc > 2 && !strcmp(argv[2], "quiet"), uffd, status = 0;
	struct uffdio_zeropage zero = { 0 };
	pthread_t thread;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE-ON-DAX [quiet]\n", argv[0]);
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, 4 * PAGE))
		quit(argv[1]);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		quit("mmap");
	memset(map, 'a', 4 * PAGE);
	uffd = withhold();
	if (pthread_create(&thread, NULL, write_thread, NULL))
		quit("pthread_create");
	usleep(300000); /* it has nothing else to do than to pin, and to sleep */
	if (written)
		quit("the write was not held");
	if (pthread_create(&thread, NULL, punch_thread, NULL))
		quit("pthread_create");
	usleep(300000);
	printf("the punch %s\n", punched ? "did not wait for the pin" : "waits for the pin");
	if (punched)
		return 2; /* not DAX: nothing to see */
	printf("  in %s\n", punch_wchan());
	if (!quiet)
		printf("loaded '%c' through the mapping meanwhile\n", *(volatile char *)map);
	zero.range.start = (uintptr_t)source;
	zero.range.len = PAGE;
	if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
		quit("UFFDIO_ZEROPAGE");
	if (!wait_for(&written, 10))
		quit("the write does not end");
	puts("the write is over, nothing is pinned any more");
	if (!wait_for(&punched, 10)) {
		printf("FAIL: ten seconds later the punch still sleeps in %s\n", punch_wchan());
		munmap(map, 4 * PAGE);
		printf("after munmap it %s\n", wait_for(&punched, 2) ? "ends" : "sleeps on");
		status = 1;
	} else {
		puts("the punch has ended");
	}
	fflush(stdout);
	_exit(status);
}
