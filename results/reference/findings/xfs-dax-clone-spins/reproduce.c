// SPDX-License-Identifier: GPL-2.0
/*
 * FICLONE of a DAX file of XFS that is pinned for an I/O: where its inode number is lower than that
 * of the target, the clone sleeps until the I/O is over; where it is higher, it runs in a loop that
 * no signal ends.
 *
 *	gcc -O2 -Wall -pthread -o reproduce reproduce.c
 *	mkfs.xfs -m reflink=1 /dev/pmem0 && mount -o dax=always /dev/pmem0 /mnt
 *	./reproduce /mnt
 *
 * exit: 0 both slept; 1 one ran, or did not die; 2 cannot run here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define WATCH_S 5

static char *map, *source;

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

	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != (ssize_t)PAGE)
		quit("process_vm_writev");
	return arg;
}

/* What /proc says of @pid: its state, and for how long it has run in the kernel. */
static char state_of(pid_t pid, double *ran_s)
{
	unsigned long user, system;
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	*ran_s = 0;
	if (f && fscanf(f,
			"%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			&state, &user, &system) == 3)
		*ran_s = (double)system / (double)sysconf(_SC_CLK_TCK);
	if (f)
		fclose(f);
	return state;
}

static int open_file(const char *dir, const char *name)
{
	char path[4096], data[4 * PAGE];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	memset(data, *name, sizeof(data));
	if (fd < 0 || write(fd, data, sizeof(data)) != (ssize_t)sizeof(data) || fsync(fd))
		quit(path);
	return fd;
}

static unsigned long inode_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		quit("fstat");
	return st.st_ino;
}

/* Clone @from, of which a page is pinned, into @to. 0: it slept; 1: it did not. */
static int try(int from, int to)
{
	int uffd = withhold(), status, bad = 0;
	struct uffdio_zeropage zero = { 0 };
	double ran_s, later_s;
	pthread_t thread;
	char state;
	pid_t pid;

	printf("source: inode %lu, pinned; target: inode %lu\n", inode_of(from), inode_of(to));
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, from, 0);
	if (map == MAP_FAILED || pthread_create(&thread, NULL, write_thread, NULL))
		quit("mmap");
	usleep(300000); /* it has nothing else to do than to pin, and to sleep */
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		quit("fork");
	if (!pid)
		_exit(ioctl(to, FICLONE, from) ? 2 : 0);
	sleep(1);
	if (waitpid(pid, &status, WNOHANG) != 0)
		quit("the clone does not wait for the pin: not DAX, or no reflink");
	state_of(pid, &ran_s);
	sleep(WATCH_S);
	state = state_of(pid, &later_s);
	printf("  the clone is in state %c and ran for %.1f of %d s in the kernel\n", state,
	       later_s - ran_s, WATCH_S);
	bad = later_s - ran_s > 0.2 * WATCH_S;
	kill(pid, SIGKILL);
	sleep(1);
	if (waitpid(pid, &status, WNOHANG) == pid) {
		puts("  SIGKILL ended it");
		pid = 0;
	} else {
		puts("  a second after SIGKILL it is still there");
		bad = 1;
	}
	zero.range.start = (uintptr_t)source;
	zero.range.len = PAGE;
	if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
		quit("UFFDIO_ZEROPAGE");
	pthread_join(thread, NULL);
	if (pid && waitpid(pid, &status, 0) == pid)
		puts("  with the pin gone it ends");
	munmap(map, PAGE);
	munmap(source, PAGE);
	close(uffd);
	return bad;
}

int main(int argc, char **argv)
{
	int a, b, low, high, bad;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY-ON-DAX\n", argv[0]);
		return 2;
	}
	a = open_file(argv[1], "a");
	b = open_file(argv[1], "b");
	low = inode_of(a) < inode_of(b) ? a : b;
	high = low == a ? b : a;
	bad = try(low, high);
	bad |= try(high, low);
	puts(bad ? "FAIL" : "PASS");
	return bad;
}
