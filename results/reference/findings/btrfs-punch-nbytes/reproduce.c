// SPDX-License-Identifier: GPL-2.0
/*
 * btrfs with large folios: a hole is punched into a page that an O_DIRECT read has written to
 * through a mapping, and the inode's nbytes is too small from then on: st_blocks is wrong, and so
 * says `btrfs check`.
 *
 *	cc -O2 -Wall -Wextra -pthread reproduce.c -o reproduce
 *	./reproduce DIRECTORY [SECONDS [store]]
 *
 * DIRECTORY is on btrfs, and any user may write to it; source and target are made in it. With
 * `store` the mapping is written to by the CPU instead, and all is well. Exit: 1 it is wrong, 0 it
 * was not in so many seconds (60), 2 this cannot be tried here. The file is left, so that `btrfs
 * check` of the unmounted filesystem can look at it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 4 * PAGE, ROUNDS = 50, EXTENTS = 16 };

static char *map;
static int source;
static int store;
static atomic_bool stop;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* Half of the file, through the mapping, again and again. */
static void *writer(void *unused)
{
	while (!atomic_load(&stop)) {
		if (store)
			memset(map, 'n', SIZE / 2);
		/* EIO, EFAULT: the page was zeroed, or written back, under the read. */
		else if (pread(source, map, SIZE / 2, 0) < 0 && errno != EFAULT && errno != EIO)
			die("O_DIRECT read");
	}
	return unused;
}

/* Bytes of the file's extents. */
static long long allocated(int fd)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
	} u = { .map = { .fm_length = FIEMAP_MAX_OFFSET,
			 .fm_flags = FIEMAP_FLAG_SYNC,
			 .fm_extent_count = EXTENTS } };
	long long sum = 0;

	if (ioctl(fd, FS_IOC_FIEMAP, &u.map))
		die("FS_IOC_FIEMAP");
	for (unsigned int i = 0; i < u.map.fm_mapped_extents; i++)
		sum += (long long)u.map.fm_extents[i].fe_length;
	return sum;
}

static int create(const char *dir, const char *name, char byte)
{
	char path[4096], buffer[SIZE];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	memset(buffer, byte, sizeof(buffer));
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || pwrite(fd, buffer, SIZE, 0) != SIZE || fsync(fd))
		die(path);
	return fd;
}

/* A file of its own. Returns whether st_blocks is wrong in the end, with nothing under way. */
static int try(const char *dir)
{
	int fd = create(dir, "target", 'o');
	pthread_t thread;
	struct stat st;
	long long extents;

	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	atomic_store(&stop, 0);
	if (pthread_create(&thread, NULL, writer, NULL))
		die("pthread_create");
	for (int i = 0; i < ROUNDS; i++)
		if (fsync(fd) || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
			die("fsync, fallocate");
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	munmap(map, SIZE);
	if (fsync(fd))
		die("fsync");
	extents = allocated(fd);
	if (fstat(fd, &st))
		die("fstat");
	close(fd);
	if (extents == st.st_blocks * 512LL)
		return 0;
	printf("FAIL: the file has extents of %lld bytes, and st_blocks says %lld\n", extents,
	       st.st_blocks * 512LL);
	return 1;
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : ".";
	time_t end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 60);
	char path[4096];
	int files = 0, wrong = 0;

	store = argc > 3;
	close(create(dir, "source", 'n'));
	snprintf(path, sizeof(path), "%s/source", dir);
	source = open(path, O_RDONLY | O_DIRECT);
	if (source < 0)
		die("O_DIRECT");
	for (; !wrong && time(NULL) < end; files++)
		wrong = try(dir);
	printf("%d files, %d holes punched\n", files, files * ROUNDS);
	return wrong;
}
