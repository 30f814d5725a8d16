// SPDX-License-Identifier: GPL-2.0
/*
 * process_vm_readv of a DAX block that two files share never returns.
 *
 *	gcc -O2 -Wall -o reproduce reproduce.c
 *	mkfs.xfs -m reflink=1 -b size=4096 /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt/file
 *
 * It makes /mnt/file and /mnt/file.clone. With "own" as second argument no clone is made, and the
 * read returns.
 * exit: 0 the read returned; 1 not within five seconds; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul

static void quit(const char *what)
{
	perror(what);
	exit(2);
}

static int make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		quit(path);
	return fd;
}

static int read_it(void *from)
{
	static char sink[PAGE];
	struct iovec local = { sink, PAGE }, remote = { from, PAGE };

	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != PAGE)
		quit("process_vm_readv");
	return sink[0] != 'a';
}

int main(int argc, char **argv)
{
	const struct timespec tick = { .tv_nsec = 100000000 };
	char clone[4096], page[PAGE];
	int fd, status, ended = 0;
	struct tms t;
	pid_t pid;
	void *map;

	if (argc < 2)
		return 2;
	fd = make(argv[1]);
	memset(page, 'a', PAGE);
	if (pwrite(fd, page, PAGE, 0) != PAGE)
		quit("pwrite");
	snprintf(clone, sizeof(clone), "%s.clone", argv[1]);
	if (argc == 2 && ioctl(make(clone), FICLONE, fd))
		quit("FICLONE");
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		quit("mmap");
	pid = fork();
	if (!pid)
		_exit(read_it(map));
	for (int i = 0; i < 50 && !ended; i++) {
		nanosleep(&tick, NULL);
		ended = waitpid(pid, &status, WNOHANG) == pid;
	}
	if (!ended) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		times(&t);
		printf("FAIL: five seconds later the read has not returned; "
		       "it ran for %.1f s in the kernel\n",
		       (double)t.tms_cstime / (double)sysconf(_SC_CLK_TCK));
		return 1;
	}
	printf("the read returned%s\n", status ? ", and not what was written" : "");
	return status ? 2 : 0;
}
