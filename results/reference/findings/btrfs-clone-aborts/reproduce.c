// SPDX-License-Identifier: GPL-2.0
/*
 * btrfs aborts its transaction and goes read-only: a file is the destination of FICLONE while
 * O_DIRECT reads into a shared mapping of it make its pages dirty behind the page tables.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.btrfs -f /dev/DEVICE && mount /dev/DEVICE /mnt
 *	./reproduce /mnt			(60 s; any user who may write there)
 *	./reproduce /mnt 150 dedupe pvm		(FIDEDUPERANGE, process_vm_writev instead)
 *
 * The filesystem has to be made anew afterwards, or mounted again at least.
 * exit: 0 nothing in that time; 1 the filesystem is read-only; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BYTES (256ul << 10)
#define SYNC_EVERY_US 200
#define CLONE_EVERY_US 2000

/* Three files of the same bytes: dedupe wants that of two, and the others do not mind. */
struct run {
	const char *dir;
	int source, target, data;
	char *map, *bytes;
	bool dedupe, pvm;
	atomic_bool over;
	atomic_long writes, syncs;
	long shared, refused;
	int refusal;
};

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

static int make_file(const struct run *run, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", run->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | flags, 0600);
	if (fd < 0 || pwrite(fd, run->bytes, BYTES, 0) != (ssize_t)BYTES || fsync(fd))
		quit(path);
	return fd;
}

static void make_files(struct run *run)
{
	if (posix_memalign((void **)&run->bytes, 4096, BYTES))
		quit("memory");
	memset(run->bytes, 'a', BYTES);
	run->source = make_file(run, "source", 0);
	run->target = make_file(run, "target", 0);
	run->data = make_file(run, "data", O_DIRECT);
	run->map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, run->target, 0);
	if (run->map == MAP_FAILED)
		quit("mmap");
}

/* Pins the mapped pages for writing, as long as the copy or the I/O takes. */
static void *write_thread(void *arg)
{
	struct run *run = arg;
	struct iovec to = { run->map, BYTES }, from = { run->bytes, BYTES };
	ssize_t n;

	while (!run->over) {
		if (run->pvm)
			n = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
		else
			n = pread(run->data, run->map, BYTES, 0);
		run->writes += n > 0;
	}
	return NULL;
}

/* Writeback cleans the pages between pin and unpin: unpinning makes them dirty again. */
static void *sync_thread(void *arg)
{
	struct run *run = arg;

	while (!run->over) {
		sync_file_range(run->target, 0, BYTES, SYNC_FILE_RANGE_WRITE);
		run->syncs++;
		usleep(SYNC_EVERY_US);
	}
	return NULL;
}

/* Returns 0 or an errno. */
static int share(const struct run *run)
{
	union {
		struct file_dedupe_range range;
		char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
	} same = { .range = { .src_length = BYTES, .dest_count = 1 } };

	if (!run->dedupe)
		return ioctl(run->target, FICLONE, run->source) ? errno : 0;
	same.range.info[0].dest_fd = run->target;
	if (ioctl(run->source, FIDEDUPERANGE, &same))
		return errno;
	return same.range.info[0].status < 0 ? -same.range.info[0].status : 0;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool read_only(const struct run *run)
{
	struct statvfs fs;

	if (fstatvfs(run->target, &fs))
		quit("fstatvfs");
	return fs.f_flag & ST_RDONLY;
}

/* Clones or dedupes for that time. Returns whether the filesystem has given up. */
static bool share_for(struct run *run, double seconds)
{
	double end_s = now_s() + seconds;

	while (now_s() < end_s) {
		int error = share(run);

		run->shared += !error;
		run->refused += !!error;
		if (error)
			run->refusal = error;
		if (error && read_only(run))
			return true;
		usleep(CLONE_EVERY_US);
	}
	return read_only(run);
}

static int report(const struct run *run, double took_s, bool gave_up)
{
	printf("%.2f s: shared %ld times, %ld writes, %ld syncs\n", took_s, run->shared,
	       run->writes, run->syncs);
	if (run->refused)
		printf("%ld times it said: %s\n", run->refused, strerror(run->refusal));
	if (gave_up) {
		puts("FAIL: the filesystem is read-only");
		return 1;
	}
	if (!run->shared || !run->writes) {
		puts("nothing was shared, or nothing written into the mapping");
		return 2;
	}
	puts("the filesystem is fine");
	return 0;
}

int main(int argc, char **argv)
{
	struct run run = { .dir = argc > 1 ? argv[1] : NULL };
	double seconds = argc > 2 ? atof(argv[2]) : 60, start_s;
	pthread_t writer, syncer;
	bool gave_up;

	if (!run.dir || seconds <= 0) {
		fprintf(stderr, "usage: %s DIR-ON-BTRFS [SECONDS [dedupe] [pvm]]\n", argv[0]);
		return 2;
	}
	for (int i = 3; i < argc; i++) {
		run.dedupe |= !strcmp(argv[i], "dedupe");
		run.pvm |= !strcmp(argv[i], "pvm");
	}
	make_files(&run);
	start_s = now_s();
	if (pthread_create(&writer, NULL, write_thread, &run) ||
	    pthread_create(&syncer, NULL, sync_thread, &run))
		quit("pthread_create");
	gave_up = share_for(&run, seconds);
	run.over = true;
	pthread_join(writer, NULL);
	pthread_join(syncer, NULL);
	return report(&run, now_s() - start_s, gave_up);
}
