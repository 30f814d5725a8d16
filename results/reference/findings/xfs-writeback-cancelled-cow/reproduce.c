// SPDX-License-Identifier: GPL-2.0
/*
 * reproduce.c - XFS: writeback goes on with a copy-on-write mapping that is no more
 *
 * A file that shares all its blocks is written to, page by page, and written back. Between two
 * pages of that writeback it is truncated, and a page behind the new end is written with
 * pwrite(2). Then fsync(2), which returns 0, and the page is read from the disk. It must be what
 * was written.
 *
 * `other`: the blocks that the truncate gave back are made another file's before the writeback
 * goes on: that file is filled, and synced, and must not change any more.
 *
 * `clone`: no truncate. A page is written back by itself, and cloned; then it is written again.
 * The clone must stay.
 *
 * build:    gcc -O2 -Wall -o reproduce reproduce.c -lpthread
 * prepare:  mkfs.xfs -m reflink=1 DEV; mount DEV DIR
 *           DEV is a disk, or: truncate -s 600M IMAGE; DEV=$(losetup -f --show IMAGE)
 *           For `other` the filesystem is filled up: take a small one, made for it.
 * run:      ./reproduce DIR SECONDS [other | clone]	(any user; one that may write to DIR)
 * exit:     0 nothing was lost; 1 it was, see the lines that begin with FAIL; 2 it cannot run here
 *
 * Writeback runs at SCHED_IDLE on the CPU of the rest: what wakes up finds it half way through.
 * Where writes go to large folios there is one folio to write back and nothing in between, so
 * pages are dirtied with a write each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 128
#define ENOUGH 10 /* failures */

static int file, failed;
static sem_t begin, ended;
static volatile int busy;

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(2);
	}
}

static void *write_back(void *arg)
{
	struct sched_param none = { 0 };

	need(sched_setscheduler(0, SCHED_IDLE, &none) == 0, "SCHED_IDLE");
	for (;;) {
		sem_wait(&begin);
		need(sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE) == 0, "sync_file_range");
		sem_post(&ended);
	}
	return arg;
}

/* While it is busy, who is SCHED_IDLE has next to nothing of the CPU. */
static void *keep_busy(void *arg)
{
	for (;;)
		if (!busy)
			usleep(500);
	return arg;
}

static void put(int fd, int byte, int first, int pages)
{
	static char data[PAGES * PAGE];
	size_t bytes = (size_t)pages * PAGE;

	memset(data, byte, bytes);
	need(pwrite(fd, data, bytes, (off_t)first * PAGE) == (ssize_t)bytes, "pwrite");
}

static int create(const char *dir, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	need(fd >= 0, path);
	need(unlink(path) == 0, path);
	return fd;
}

/* What is left: room for the file and for the other one. */
static void fill(const char *dir)
{
	int fd = create(dir, "reproduce.rest");
	struct statvfs fs;

	need(statvfs(dir, &fs) == 0, dir);
	if (fs.f_bavail > 3 * PAGES) {
		off_t bytes = (off_t)((fs.f_bavail - 3 * PAGES) * fs.f_frsize);

		errno = posix_fallocate(fd, 0, bytes);
		need(errno == 0, "fill");
	}
	need(syncfs(fd) == 0, "syncfs");
}

/* The cache is dropped and the page read: the byte it is full of, or ? where they differ. */
static int page_on_disk(int fd, int page)
{
	char data[PAGE];

	need(fsync(fd) == 0, "fsync");
	need(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
	need(pread(fd, data, PAGE, (off_t)page * PAGE) == PAGE, "pread");
	return memcmp(data, data + 1, PAGE - 1) ? '?' : data[0];
}

/* A page is written back and cloned, and written again. */
static void clone_it(int clone, int page)
{
	struct file_clone_range range = {
		.src_fd = file,
		.src_offset = (uint64_t)page * PAGE,
		.src_length = PAGE,
	};
	unsigned int write_it = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER;

	need(sync_file_range(file, (off_t)page * PAGE, PAGE, write_it) == 0, "sync_file_range");
	need(ftruncate(clone, 0) == 0 && ioctl(clone, FICLONERANGE, &range) == 0, "FICLONERANGE");
	put(file, 'n', page, 1);
}

/* What the truncate has freed is made another file's. */
static void truncate_it(int other, int small, int size, int page)
{
	need(ftruncate(file, (off_t)size * PAGE) == 0, "ftruncate");
	put(file, 'n', page, 1);
	if (other < 0)
		return;
	put(small, 'l', 0, 1); /* its fsync writes the log: what was freed may be used again */
	need(fsync(small) == 0 && ftruncate(other, 0) == 0, "small");
	put(other, 'O', 0, PAGES);
	need(fsync(other) == 0, "other");
}

static void check(int round, int fd, int page, int byte, const char *what)
{
	int is = page_on_disk(fd, page);

	if (is == byte)
		return;
	failed++;
	printf("FAIL round %d: page %d of %s must be %c on the disk, is %c\n", round, page, what,
	       byte, is ? is : '0');
}

int main(int argc, char **argv)
{
	int source, other = -1, small = -1, round;
	int clone = argc > 3 && !strcmp(argv[3], "clone");
	pthread_t thread;
	cpu_set_t one;
	time_t end;

	if (argc < 3 || (argc > 3 && !clone && strcmp(argv[3], "other"))) {
		fprintf(stderr, "usage: %s DIR SECONDS [other | clone]\n", argv[0]);
		return 2;
	}
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	need(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity");
	source = create(argv[1], "reproduce.source");
	file = create(argv[1], "reproduce.file");
	put(source, 's', 0, PAGES);
	need(syncfs(source) == 0, "syncfs");
	sem_init(&begin, 0, 0);
	sem_init(&ended, 0, 0);
	need(pthread_create(&thread, NULL, write_back, NULL) == 0, "pthread_create");
	if (argc > 3) {
		other = create(argv[1], "reproduce.other");
		small = create(argv[1], "reproduce.small");
		need(pthread_create(&thread, NULL, keep_busy, NULL) == 0, "pthread_create");
		if (!clone)
			fill(argv[1]);
	}
	end = time(NULL) + atoi(argv[2]);
	for (round = 0; time(NULL) < end && failed < ENOUGH; round++) {
		int size = 20 + rand() % 90, page = size + 1 + rand() % (PAGES - size - 1);
		struct timespec wait = { 0, rand() % 3000000 };

		need(ftruncate(file, 0) == 0 && ioctl(file, FICLONE, source) == 0, "FICLONE");
		for (int i = 0; i < PAGES; i++)
			put(file, 'o', i, 1);
		sem_post(&begin);
		nanosleep(&wait, NULL);
		busy = other >= 0;
		if (clone)
			clone_it(other, page);
		else
			truncate_it(other, small, size, page);
		busy = 0;
		sem_wait(&ended);
		check(round, file, page, 'n', "the file, written and synced,");
		if (clone)
			check(round, other, 0, 'o', "the clone");
		for (int i = 0; !clone && other >= 0 && i < PAGES; i++)
			check(round, other, i, 'O', "another file, written and synced,");
	}
	printf("%d rounds, %d failures\n", round, failed);
	return failed != 0;
}
