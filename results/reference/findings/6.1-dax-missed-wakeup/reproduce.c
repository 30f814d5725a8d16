// SPDX-License-Identifier: GPL-2.0
/*
 * A punch on a DAX file that meets an O_DIRECT read of a block device into its mapping sleeps on
 * after the read has ended (6.1.y).
 *
 *	cc -o reproduce reproduce.c -lpthread
 *	modprobe null_blk nr_devices=1 irqmode=2 completion_nsec=2000000000 gb=1
 *	mkfs.ext4 -b 4096 /dev/pmem0; mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt/file /dev/nullb0
 *
 * Prints what happens and exits 1 when the punch is still asleep three seconds after the read
 * returned, 0 when it returned, 2 when something else failed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES 65536
#define READ_BYTES 8192

static int file, device;
static char *map;
static volatile int punched;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void *read_into_mapping(void *unused)
{
	ssize_t n = pread(device, map, READ_BYTES, 0);

	printf("the read returned %zd\n", n);
	return unused;
}

static void *punch(void *unused)
{
	int rc = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);

	punched = 1;
	printf("the punch returned %d\n", rc);
	return unused;
}

int main(int argc, char **argv)
{
	static char bytes[FILE_BYTES];
	pthread_t reader, puncher;

	if (argc != 3) {
		fprintf(stderr, "usage: %s FILE-ON-DAX DEVICE-THAT-TAKES-2-SECONDS\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || write(file, memset(bytes, 7, FILE_BYTES), FILE_BYTES) != FILE_BYTES)
		die(argv[1]);
	fsync(file);
	map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	device = open(argv[2], O_RDONLY | O_DIRECT);
	if (map == MAP_FAILED || device < 0)
		die(argv[2]);
	memset(map, 1, FILE_BYTES);
	pthread_create(&reader, NULL, read_into_mapping, NULL);
	usleep(500000); /* the pages are pinned, the device takes two seconds */
	pthread_create(&puncher, NULL, punch, NULL);
	pthread_join(reader, NULL);
	for (int i = 0; i < 30 && !punched; i++)
		usleep(100000);
	if (!punched)
		printf("three seconds later the punch still sleeps\n");
	_exit(!punched);
}
