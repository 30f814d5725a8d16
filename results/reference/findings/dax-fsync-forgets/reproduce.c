// SPDX-License-Identifier: GPL-2.0
/*
 * DAX: what was stored to a mapped file is not flushed by fsync(2), if a block elsewhere in it was
 * punched, or its end cut off, in between; or (XFS) the file was cloned.
 *
 *	gcc -O2 -Wall -o reproduce reproduce.c
 *	mkfs.xfs /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt	# or mkfs.ext4
 *	mount -t tracefs tracefs /sys/kernel/tracing
 *	./reproduce /mnt
 *
 * A flush is what the kernel traces as fs_dax:dax_writeback_one. Root, for the trace.
 * exit: 0 fsync flushes what was stored; 1 it does not; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 8
#define TRACING "/sys/kernel/tracing/"

static const char *directory;

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		quit(path);
	close(fd);
}

static int flushes(void)
{
	FILE *trace = fopen(TRACING "trace", "re");
	char line[1024];
	int nr = 0;

	if (!trace)
		quit(TRACING "trace");
	while (fgets(line, sizeof(line), trace))
		nr += strstr(line, " dax_writeback_one: ") != NULL;
	fclose(trace);
	return nr;
}

static int nothing(int fd)
{
	return fd < 0;
}

static int punch(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * PAGE, PAGE);
}

static int zero(int fd)
{
	return fallocate(fd, FALLOC_FL_ZERO_RANGE, 4 * PAGE, PAGE);
}

static int cut(int fd)
{
	return ftruncate(fd, (PAGES - 1) * PAGE);
}

/* XFS: of the whole file, onto one without a name. */
static int clone_it(int fd)
{
	int to = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), rc;

	rc = ioctl(to, FICLONE, fd);
	close(to);
	return rc;
}

static const struct {
	const char *what;
	int (*run)(int fd);
} ways[] = {
	{ "nothing", nothing },
	{ "a punch of the fifth page", punch },
	{ "a zero-range of the fifth page", zero },
	{ "a truncate to seven pages", cut },
	{ "a clone of the file", clone_it },
};

int main(int argc, char **argv)
{
	static char data[PAGES * PAGE];
	char path[4096], *map;
	int fd, nr, bad = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	directory = argv[1];
	snprintf(path, sizeof(path), "%s/a", directory);
	memset(data, 'a', sizeof(data));
	put(TRACING "events/fs_dax/dax_writeback_one/enable", "1");
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		unlink(path);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, data, sizeof(data)) != sizeof(data) || fsync(fd))
			quit(path);
		map = mmap(NULL, sizeof(data), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			quit("mmap");
		map[0] = 'b'; /* the first page */
		put(TRACING "trace", "");
		if (ways[i].run(fd))
			perror(ways[i].what);
		if (fsync(fd))
			quit("fsync");
		nr = flushes();
		printf("a store to the first page, %s, fsync: %d flushed\n", ways[i].what, nr);
		if (!i && !nr)
			quit("no flush at all: not DAX?");
		bad += !nr;
		munmap(map, sizeof(data));
		close(fd);
	}
	put(TRACING "events/fs_dax/dax_writeback_one/enable", "0");
	puts(bad ? "FAIL" : "PASS");
	return bad != 0;
}
