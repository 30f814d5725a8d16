// SPDX-License-Identifier: GPL-2.0
/*
 * reproduce.c - XFS with DAX and reflink in 6.1: a store into a page of a block that is unwritten
 * and shared shows, in the rest of the page, what a deleted file had on the disk.
 *
 * build:    gcc -O2 -Wall -o reproduce reproduce.c
 * prepare:  mkfs.xfs -f -m reflink=1 -b size=4096 DEV; mount -o dax=always DEV DIR
 *           DEV is persistent memory (/dev/pmem0: an NVDIMM, or RAM by memmap=1G!4G)
 * run:      ./reproduce DIR       (needs no root; fills DIR and frees it again)
 * exit:     0 the page is zeros around what was stored; 1 it is not; 2 it cannot run here
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define JUNK 0xaa
#define PAGE 4096

static char data[1 << 20];

static int open_new(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0) {
		perror(name);
		exit(2);
	}
	return fd;
}

static void must(const char *what, int failed)
{
	if (failed) {
		perror(what);
		exit(2);
	}
}

/* All blocks that are free hold JUNK. */
static void junk_on_disk(void)
{
	int fd = open_new("junk");

	memset(data, JUNK, sizeof(data));
	while (write(fd, data, sizeof(data)) > 0)
		;
	while (write(fd, data, PAGE) > 0)
		;
	must("fsync", fsync(fd));
	close(fd);
	must("unlink", unlink("junk"));
	sync();
}

/* Bytes that are not zero and that nobody wrote. */
static int try_once(void)
{
	int a = open_new("a"), b = open_new("b"), bad = 0;
	unsigned char *map;

	memset(data, 'a', 4 * PAGE);
	must("write", write(a, data, 4 * PAGE) != 4 * PAGE || fsync(a));
	junk_on_disk();
	must("zero-range", fallocate(a, FALLOC_FL_ZERO_RANGE, PAGE, PAGE)); /* unwritten now */
	must("FICLONE", ioctl(b, FICLONE, a));				    /* and shared */
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	must("mmap", map == MAP_FAILED);
	map[0] = 'x';	       /* copy on write; the new extent has room for the page behind it */
	map[PAGE + 100] = 'x'; /* which gets the next block of that */
	for (int i = PAGE; i < 2 * PAGE; i++)
		bad += map[i] && i != PAGE + 100;
	if (bad)
		printf("FAIL: %d of 4095 bytes that nobody wrote are not zero: at %d 0x%02x\n", bad,
		       PAGE, map[PAGE]);
	munmap(map, 4 * PAGE);
	close(a);
	close(b);
	unlink("a");
	unlink("b");
	return bad;
}

/* What is free for root only is not filled, and may be what is taken first. */
int main(int argc, char **argv)
{
	must("chdir", argc != 2 || chdir(argv[1]));
	for (int i = 0; i < 10; i++)
		if (try_once())
			return 1;
	printf("zeros, as it must be\n");
	return 0;
}
