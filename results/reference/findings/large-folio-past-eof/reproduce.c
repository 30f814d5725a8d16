// SPDX-License-Identifier: GPL-2.0
/*
 * reproduce.c - What lands behind the end must not be in the file when it grows
 * again
 *
 * Seen on Linux 7.3.4, ext4, with process_vm_writev(2) into the mapping: lost (past-eof).
 * A [4096, +4096) must be zeros. It was what step 3 wrote through mmap, read(2).
 *
 * The steps:
 *    1  file A 16K written
 *    2  pin A
 *    3  hold w1 A 0 8K
 *    4  truncate A 4K
 *    5  land w1
 *    6  truncate A 16K
 *
 * build:    gcc -O2 -Wall -o reproduce reproduce.c -lpthread
 * prepare:  mkfs.ext4 -F -b 4096 -N 8192 -J size=4 DEV; mount DEV DIR
 *           DEV is a disk, or: truncate -s 1G IMAGE; DEV=$(losetup -f --show IMAGE)
 * run:      ./reproduce DIR        (as root; it makes a folder of its own in DIR)
 * exit:     0 all is as it must be, or was refused; 1 not so, see the lines that begin with FAIL;
 *           2 it cannot run here
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STEPS 6
#define SIZE 16384 /* no file here becomes longer */

/* Eight bytes say which step wrote them, and where in its file. Zero is what nobody wrote. */
#define BY(step, off) ((uint64_t)(step) << 40 | (uint64_t)(off))

struct file {
	const char *name;
	int fd;
	char *map;		/* NULL while it is not mapped */
	size_t map_len;
};

static char dir[4096];
static int failed;

static _Noreturn void leave(int status)
{
	DIR *d = opendir(".");
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlink(e->d_name);
	if (!chdir(".."))
		rmdir(strrchr(dir, '/') + 1);
	exit(status);
}

static _Noreturn void cannot(const char *what)
{
	printf("cannot run here: %s: %s\n", what, strerror(errno));
	leave(2);
}

/* A folder of our own in @where; every name below is in there. */
static void begin(const char *where, const char *name)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(dir, sizeof(dir), "%s/%s.XXXXXX", where, name);
	if (!mkdtemp(dir) || chdir(dir)) {
		printf("cannot run here: %s: %s\n", dir, strerror(errno));
		exit(2);
	}
}

/* What @step writes to [off, off + len), and zeros to the end of a page after it. */
static char *data(int step, off_t off, size_t len)
{
	size_t room = (len / 4096 + 2) * 4096;
	uint64_t *p = aligned_alloc(4096, room);

	if (!p)
		cannot("memory");
	memset(p, 0, room);
	for (size_t i = 0; i < len / 8; i++)
		p[i] = BY(step, off + 8 * i);
	return (char *)p;
}

static long tell(const char *what, long ret)
{
	if (ret < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, ret);
	return ret;
}

/* A step that returned @want. Where it is refused nothing is promised, and nothing compared. */
static void step(const char *what, long ret, long want)
{
	int err = errno;

	if (tell(what, ret) == want)
		return;
	errno = err;
	if (ret < 0 && (err == EOPNOTSUPP || err == ENOTTY || err == ENOSYS || err == ETIMEDOUT))
		cannot(what);
	printf("refused, or cut short, and said so: nothing to compare\n");
	leave(0);
}

static void create(struct file *f)
{
	f->fd = open(f->name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (f->fd < 0)
		cannot(f->name);
}

static void map(struct file *f, size_t len)
{
	f->map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED)
		cannot("mmap");
	f->map_len = len;
}

static void unmap(struct file *f)
{
	munmap(f->map, f->map_len);
	f->map = NULL;
}

/* A new file of @size bytes, on the disk. */
static void create_written(struct file *f, int nr, size_t size)
{
	create(f);
	if (pwrite(f->fd, data(nr, 0, size), size, 0) != (ssize_t)size || fsync(f->fd))
		cannot(f->name);
}

static ssize_t copy(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	return (ssize_t)len;
}

/* process_vm_writev(2) to ourselves: it pins the pages of the mapping, then copies. */
static ssize_t channel_write(struct file *f, off_t off, const char *src, size_t len)
{
	struct iovec local = { .iov_base = (char *)src, .iov_len = len };
	struct iovec remote = { .iov_base = f->map + off, .iov_len = len };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

/* A step that waits for the held write would wait for ever: it lands after so long by itself. */
#define LAND_AFTER_S 5

/*
 * A write that is under way while its data has not come: its source is memory that userfaultfd(2)
 * withholds, and the kernel sleeps in the fault.
 */
struct hold {
	struct file *f;
	off_t off;
	size_t len, there;	/* bytes; so many of them are in src from the start */
	char *data, *src;
	int uffd, over, err;
	long ret;
	sem_t held, land;
	pthread_t writer, pager;
};

static int bring(struct hold *h, char *to, char *from, size_t len)
{
	struct uffdio_copy c = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = (len + 4095) / 4096 * 4096,
	};

	return ioctl(h->uffd, UFFDIO_COPY, &c);
}

static void *hold_writer(void *arg)
{
	struct hold *h = arg;

	h->ret = channel_write(h->f, h->off, h->src, h->len);
	h->err = errno;
	h->over = 1;
	sem_post(&h->held);
	return NULL;
}

static void *hold_pager(void *arg)
{
	struct hold *h = arg;
	struct timespec until;
	struct uffd_msg msg;

	if (read(h->uffd, &msg, sizeof(msg)) != sizeof(msg))
		return NULL;
	sem_post(&h->held);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LAND_AFTER_S;
	if (sem_timedwait(&h->land, &until))
		printf("  (a step waits for the write that is under way: it lands now)\n");
	bring(h, h->src + h->there, h->data + h->there, h->len - h->there);
	return NULL;
}

/* 0 once the write is under way and sleeps; -1 if it ended before that. */
static int hold(struct hold *h, int nr, struct file *f, off_t off, size_t len, size_t there)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t room = (len / 4096 + 3) * 4096;
	char *area = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*h = (struct hold){ .f = f, .off = off, .len = len, .there = there,
			    .data = data(nr, off, len), .src = area + 4096 - there };
	sem_init(&h->held, 0, 0);
	sem_init(&h->land, 0, 0);
	h->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = (uintptr_t)area;
	reg.range.len = room;
	if (area == MAP_FAILED || h->uffd < 0 || ioctl(h->uffd, UFFDIO_API, &api) ||
	    ioctl(h->uffd, UFFDIO_REGISTER, &reg))
		cannot("userfaultfd");
	if (there) {
		char page[4096] = { 0 };

		memcpy(page + 4096 - there, h->data, there);
		if (bring(h, area, page, 4096))
			cannot("UFFDIO_COPY");
	}
	if (pthread_create(&h->pager, NULL, hold_pager, h) ||
	    pthread_create(&h->writer, NULL, hold_writer, h))
		cannot("thread");
	sem_wait(&h->held);
	errno = h->ret < 0 ? h->err : EIO;
	return h->over ? -1 : 0;
}

/* Let the data come. What the write returned. */
static long land(struct hold *h)
{
	sem_post(&h->land);
	pthread_join(h->writer, NULL);
	errno = h->err;
	return h->ret;
}

/* What the last look saw of a file; 0xff where there is nothing, or it could not be read. */
static char seen[SIZE + 8192] __attribute__((aligned(4096)));
static off_t seen_size;

enum view { MMAP, READ, DIRECT, DROPPED };
static const char *const view_name[] = {
	"mmap", "read(2)", "O_DIRECT read(2)", "read(2) after the cache was dropped"
};

/* Fill seen[] with [off, off + len) of @f (len 0: with all of it). 0 if there is no such view. */
static int look(const struct file *f, enum view view, size_t off, size_t len)
{
	char path[64];
	struct stat st;
	int fd = f->fd;

	if (fstat(f->fd, &st))
		cannot(f->name);
	seen_size = st.st_size;
	memset(seen, 0xff, sizeof(seen));
	if (st.st_size > SIZE)
		st.st_size = SIZE;
	if (!len || off + len > (size_t)st.st_size)
		len = (size_t)st.st_size > off ? st.st_size - off : 0;
	if (view == MMAP) {
		if (!f->map || off >= f->map_len)
			return 0;
		len = off + len < f->map_len ? len : f->map_len - off;
		for (size_t n, end = off + len; off < end; off += n) {
			n = end - off < 4096 ? end - off : 4096;
			if (copy(seen + off, f->map + off, n) < 0)
				printf("mmap of %s at %zu: %s\n", f->name, off, strerror(errno));
		}
		return 1;
	}
	if (view == DIRECT) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
		fd = open(path, O_RDONLY | O_DIRECT);
		if (fd < 0)
			return 0;
		len = (off % 4096 + len + 4095) / 4096 * 4096;
		off = off / 4096 * 4096;
	}
	if (len && pread(fd, seen + off, len, off) < 0)
		printf("%s of %s: %s\n", view_name[view], f->name, strerror(errno));
	if (view == DIRECT)
		close(fd);
	return 1;
}

static uint64_t seen_at(size_t off)
{
	uint64_t word;

	memcpy(&word, seen + off, 8);
	return word;
}

static void say(uint64_t word)
{
	if (!word)
		printf("zeros");
	else if (word == ~0ull)
		printf("nothing, or unreadable");
	else if (word >> 40 == 0 || word >> 40 > STEPS)
		printf("foreign bytes");
	else
		printf("what step %u wrote at %llu", (unsigned int)(word >> 40),
		       (unsigned long long)word & (BY(1, 0) - 1));
}

/* [off, off + len) must be what a step wrote, its first eight bytes being @want; 0: zeros. */
static void expect(const struct file *f, enum view view, size_t off, size_t len, uint64_t want)
{
	for (size_t at = off; at < off + len; at += 8, want += want ? 8 : 0) {
		if (seen_at(at) == want)
			continue;
		printf("FAIL %s of %s at %zu: ", view_name[view], f->name, at);
		say(seen_at(at));
		printf(", must be ");
		say(want);
		printf("\n");
		failed = 1;
		return;
	}
}

static struct file A = { .name = "A", .fd = -1 };
static struct hold w1;

/* What must hold when all steps are done. */
static void check(const struct file *f, enum view view)
{
	if (f == &A) {
		/* A [4096, +4096) must be zeros. It was what step 3 wrote through mmap, read(2). */
		expect(f, view, 4096, 4096, 0);
	}
}

static void all_views(const struct file *f)
{
	for (enum view v = MMAP; v <= DIRECT; v++)
		if (look(f, v, 0, 0))
			check(f, v);
}

static void fresh_views(struct file *f)
{
	struct stat st;

	if (!fstat(f->fd, &st) && st.st_size)
		map(f, st.st_size);
	all_views(f);
	if (f->map)
		unmap(f);
}

static void dropped_view(const struct file *f)
{
	if (fsync(f->fd))
		printf("fsync of %s: %s\n", f->name, strerror(errno));
	posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (look(f, DROPPED, 0, 0))
		check(f, DROPPED);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		printf("usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	begin(argv[1], "held-truncate-land-regrow");

	/* 1: file A 16K written */
	create_written(&A, 1, 16384);

	/* 2: pin A */
	map(&A, 16384);

	/* 3: hold w1 A 0 8K */
	step("3 hold w1 A 0 8K", hold(&w1, 3, &A, 0, 8192, 0), 0);

	/* 4: truncate A 4K */
	step("4 truncate A 4K", ftruncate(A.fd, 4096), 0);

	/* 5: land w1 */
	step("5 land w1", land(&w1), 8192);

	/* 6: truncate A 16K */
	step("6 truncate A 16K", ftruncate(A.fd, 16384), 0);

	/* Every file through every view: as it is now, */
	all_views(&A);
	/* through a mapping made for it, */
	unmap(&A);
	fresh_views(&A);
	/* and from the disk. */
	dropped_view(&A);

	printf("%s\n", failed ? "FAILED" : "all is as it must be");
	leave(failed);
}
