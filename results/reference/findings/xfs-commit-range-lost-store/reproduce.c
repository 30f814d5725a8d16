// SPDX-License-Identifier: GPL-2.0
/*
 * XFS: XFS_IOC_COMMIT_RANGE does not see what was stored to a mapped file since
 * XFS_IOC_START_COMMIT, and loses it.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.xfs -i exchange=1 /dev/vdb && mount /dev/vdb /mnt	# xfsprogs 6.10 or later
 *	./reproduce /mnt store	# one store between the two
 *	./reproduce /mnt write	# a write(2) within the same tick of the clock, 1000 times
 *	./reproduce /mnt fsr	# xfs_fsr(8) beside a program that stores, 12 times (DAX)
 *
 * exit: 0 nothing is lost; 1 something is; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 16
#define BYTES (PAGES * PAGE)
#define WRITES 1000
#define FSR_TIMES 12
#define STORE_US 1500

/* fs/xfs/libxfs/xfs_fs.h, Linux 6.12 */
struct xfs_commit_range {
	int32_t file1_fd;
	uint32_t pad;
	uint64_t file1_offset, file2_offset, length, flags;
	uint64_t file2_freshness[6];
};
#define XFS_IOC_START_COMMIT _IOR('X', 130, struct xfs_commit_range)
#define XFS_IOC_COMMIT_RANGE _IOW('X', 131, struct xfs_commit_range)

static char path[4096], buffer[BYTES];

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

static int make_file(const char *dir, const char *name)
{
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		quit(path);
	return fd;
}

static void write_at(int fd, const char *data, size_t len, off_t at)
{
	if (pwrite(fd, data, len, at) != (ssize_t)len)
		quit("pwrite");
}

static char *map_file(int fd)
{
	char *map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		quit("mmap");
	return map;
}

static void start(int a, struct xfs_commit_range *commit)
{
	if (ioctl(a, XFS_IOC_START_COMMIT, commit))
		quit("XFS_IOC_START_COMMIT");
}

/* 0: the copy @b took the place of @a; EBUSY: it did not, for @a has changed. */
static int commit(int a, int b, struct xfs_commit_range *commit, size_t len)
{
	commit->file1_fd = b;
	commit->pad = 0;
	commit->length = len;
	if (!ioctl(a, XFS_IOC_COMMIT_RANGE, commit))
		return 0;
	if (errno != EBUSY)
		quit("XFS_IOC_COMMIT_RANGE");
	return EBUSY;
}

static int store(const char *dir)
{
	int a = make_file(dir, "a"), b = make_file(dir, "b"), rc;
	struct xfs_commit_range range = { 0 };
	char *map;

	write_at(a, buffer, BYTES, 0);
	if (fsync(a))
		quit("fsync");
	map = map_file(a);
	strcpy(map + PAGE, "first"); /* from here on the page is dirty, and may be written to */
	sleep(1);
	start(a, &range);
	if (pread(a, buffer, BYTES, 0) != (ssize_t)BYTES)
		quit("pread");
	write_at(b, buffer, BYTES, 0);
	sleep(1);
	strcpy(map + PAGE, "second");
	rc = commit(a, b, &range, BYTES);
	printf("stored \"second\"; XFS_IOC_COMMIT_RANGE: %s; the file has \"%s\" now\n",
	       rc ? "EBUSY" : "success", map + PAGE);
	return strcmp(map + PAGE, "second") != 0;
}

static int write_in_a_tick(const char *dir)
{
	int a = make_file(dir, "a"), b = make_file(dir, "b"), lost = 0, busy = 0;
	char c;

	for (int i = 0; i < WRITES; i++) {
		struct xfs_commit_range range = { 0 };

		write_at(a, buffer, PAGE, 0);
		start(a, &range);
		write_at(b, buffer, PAGE, 0);
		write_at(a, "D", 1, 0);
		busy += commit(a, b, &range, PAGE) == EBUSY;
		if (pread(a, &c, 1, 0) != 1)
			quit("pread");
		lost += c != 'D';
	}
	printf("%d of %d write(2)s are lost; XFS_IOC_COMMIT_RANGE said EBUSY to %d\n", lost, WRITES,
	       busy);
	return lost > 0;
}

static _Atomic uint64_t *counter, gone;
static atomic_bool stop;

static void *count(void *arg)
{
	for (uint64_t n = 1; !atomic_load(&stop); n++) {
		uint64_t seen = atomic_load(counter);

		if (seen != n - 1) { /* it was stored, and is not there */
			atomic_store(&gone, n - 1);
			printf("stored %llu, and the page has %llu\n", (unsigned long long)(n - 1),
			       (unsigned long long)seen);
			n = seen + 1;
		}
		atomic_store(counter, n);
		usleep(STORE_US);
	}
	return arg;
}

static int fsr_once(const char *dir)
{
	int a = make_file(dir, "a"), b = make_file(dir, "b"), status;
	pthread_t thread;
	pid_t pid;

	for (size_t i = 0; i < PAGES; i++) { /* in turn: the file is in pieces */
		write_at(a, buffer, PAGE, (off_t)(i * PAGE));
		write_at(b, buffer, PAGE, (off_t)(i * PAGE));
		if (fsync(a) || fsync(b))
			quit("fsync");
	}
	counter = (_Atomic uint64_t *)(map_file(a) + PAGE);
	atomic_store(counter, 0);
	atomic_store(&stop, false);
	atomic_store(&gone, 0);
	if (pthread_create(&thread, NULL, count, NULL))
		quit("pthread_create");
	usleep(200000);
	snprintf(path, sizeof(path), "%s/a", dir);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		execlp("xfs_fsr", "xfs_fsr", path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == 127)
		quit("xfs_fsr");
	usleep(100000);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	munmap((char *)counter - PAGE, BYTES);
	close(a);
	close(b);
	return atomic_load(&gone) != 0;
}

int main(int argc, char **argv)
{
	int bad = 0;

	memset(buffer, 'a', sizeof(buffer));
	if (argc == 3 && !strcmp(argv[2], "store")) {
		bad = store(argv[1]);
	} else if (argc == 3 && !strcmp(argv[2], "write")) {
		bad = write_in_a_tick(argv[1]);
	} else if (argc == 3 && !strcmp(argv[2], "fsr")) {
		for (int i = 0; i < FSR_TIMES; i++)
			bad += fsr_once(argv[1]);
		printf("%d of %d times\n", bad, FSR_TIMES);
	} else {
		fprintf(stderr, "usage: %s DIRECTORY store|write|fsr\n", argv[0]);
		return 2;
	}
	puts(bad ? "FAIL" : "PASS");
	return bad != 0;
}
