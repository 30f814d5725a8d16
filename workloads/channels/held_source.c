// SPDX-License-Identifier: GPL-2.0
/*
 * held_source.c - a file whose reads answer when told to; held_source.h says how to use it.
 *
 * Speaks the FUSE protocol itself: one inode, six requests that matter, no allocation after the
 * start. libfuse would mount, fork and keep its own descriptor table, which is what must not happen
 * here.
 *
 * What decides whether a long read is held as a whole: FUSE splits an O_DIRECT read into requests
 * of at most max_pages pages (256 where FUSE_MAX_PAGES is granted, 32 before), and only with
 * FUSE_ASYNC_DIO does it send the next one before the last one is answered, through the background
 * queue, of which max_background are handed out at a time. So we ask for all three. A request also
 * ends where GUP ends: if the second page of two cannot be had, one request for the first arrives
 * and no other ever will.
 *
 * Source: Documentation/filesystems/fuse.rst, include/uapi/linux/fuse.h, fuse_direct_IO().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../../harness/core/clock.h"
#include "held_source.h"

#define NODE_ROOT FUSE_ROOT_ID
#define NODE_FILE 2u
#define FILE_NAME "source"
#define FILE_BYTES (1ull << 50)
#define SLOT_STRIDE_BYTES (8ull << 20)
#define PENDING_MAX 1100u	 /* a 4 MiB read, one page a request, unaligned */
#define REQUEST_BYTES 16384u	 /* at least FUSE_MIN_READ_BUFFER, and max_write with its header */
#define ANSWER_MAX_BYTES (1u << 20) /* 256 pages */
#define FOREVER_S (1u << 30)

struct pending {
	uint64_t unique, pos_bytes;
	uint32_t len_bytes;
};

struct slot {
	const uint8_t *data; /* NULL: retired */
	size_t len_bytes, asked_bytes;
	uint64_t pos_bytes;
	bool withhold;
	unsigned int nr_pending;
	struct pending pending[PENDING_MAX];
};

struct held_source {
	pthread_t thread;
	pthread_mutex_t lock; /* slots */
	struct slot slots[HELD_SLOTS];
	uint64_t offers;
	int fd, fsfd, ready_fd, wake_fd, asked_fd;
	int dev_fd; /* the server thread's own */
	int rc;	    /* of the server's part of the start, with what */
	const char *what;
	_Atomic bool quit;
	bool started, unshared, joined;
	int dumpable;
	_Alignas(8) uint8_t request[REQUEST_BYTES]; /* the server's */
};

static const uint8_t zeros[ANSWER_MAX_BYTES];

static void bump(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* fails only when the counter is full, and then it is readable */
}

static void drain(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n;
}

/*
 * Answer @unique. A failure means the request is gone (interrupted, aborted): nothing to be done.
 */
static void answer(const struct held_source *s, uint64_t unique, int err, const void *body,
		   size_t body_bytes, const void *tail, size_t tail_bytes)
{
	struct fuse_out_header out = {
		.unique = unique,
		.error = err,
		.len = (uint32_t)(sizeof(out) + body_bytes + tail_bytes),
	};
	struct iovec iov[3] = {
		{ .iov_base = &out, .iov_len = sizeof(out) },
		{ .iov_base = (void *)(uintptr_t)body, .iov_len = body_bytes },
		{ .iov_base = (void *)(uintptr_t)tail, .iov_len = tail_bytes },
	};
	ssize_t n = writev(s->dev_fd, iov, tail_bytes ? 3 : body_bytes ? 2 : 1);

	(void)n;
}

static void answer_body(const struct held_source *s, uint64_t unique, const void *body,
			size_t bytes)
{
	answer(s, unique, 0, body, bytes, NULL, 0);
}

/*
 * A read is never answered short: the kernel would take that for the end of the file. One that
 * comes for a slot after its time fails, because zeros would land in somebody's mapping as if
 * written.
 */
static void answer_read(const struct held_source *s, const struct slot *slot,
			const struct pending *p)
{
	uint64_t at = slot ? p->pos_bytes - slot->pos_bytes : 0;
	uint64_t offer = p->pos_bytes / SLOT_STRIDE_BYTES;
	size_t have = 0;

	if (!slot && offer >= 1 && offer <= s->offers) {
		answer(s, p->unique, -EIO, NULL, 0, NULL, 0);
	} else if (slot && at < slot->len_bytes) {
		have = slot->len_bytes - (size_t)at;
		have = have < p->len_bytes ? have : p->len_bytes;
		answer(s, p->unique, 0, slot->data + at, have, zeros, p->len_bytes - have);
	} else {
		answer(s, p->unique, 0, zeros, p->len_bytes, NULL, 0);
	}
}

static struct slot *slot_at(struct held_source *s, uint64_t pos_bytes)
{
	for (unsigned int i = 0; i < HELD_SLOTS; i++)
		if (s->slots[i].data && pos_bytes >= s->slots[i].pos_bytes &&
		    pos_bytes - s->slots[i].pos_bytes < SLOT_STRIDE_BYTES)
			return &s->slots[i];
	return NULL;
}

/* Somebody reads: piece of a slot, or somewhere else (udev looking at a loop device). */
static void on_read(struct held_source *s, uint64_t unique, const struct fuse_read_in *in)
{
	struct pending p = { .unique = unique, .pos_bytes = in->offset, .len_bytes = in->size };
	struct slot *slot;

	if (in->size > ANSWER_MAX_BYTES) {
		answer(s, unique, -EINVAL, NULL, 0, NULL, 0);
		return;
	}
	pthread_mutex_lock(&s->lock);
	slot = slot_at(s, p.pos_bytes);
	if (slot) {
		slot->asked_bytes += p.len_bytes;
		bump(s->asked_fd);
	}
	if (slot && slot->withhold && slot->nr_pending < PENDING_MAX)
		slot->pending[slot->nr_pending++] = p;
	else
		answer_read(s, slot, &p);
	pthread_mutex_unlock(&s->lock);
}

static void fill_attr(struct fuse_attr *attr, uint64_t node)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = node;
	attr->nlink = 1;
	attr->blksize = 4096;
	attr->mode = node == NODE_ROOT ? S_IFDIR | 0500 : S_IFREG | 0400;
	attr->size = node == NODE_ROOT ? 0 : FILE_BYTES;
}

static void on_init(const struct held_source *s, uint64_t unique, const struct fuse_init_in *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = in->flags & (FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_MAX_PAGES),
		.max_background = 2048,
		.congestion_threshold = 2048,
		.max_write = 4096,
		.max_pages = ANSWER_MAX_BYTES / 4096,
		.time_gran = 1,
	};

	answer_body(s, unique, &out, sizeof(out));
}

static void on_lookup(const struct held_source *s, uint64_t unique, const char *name)
{
	struct fuse_entry_out out = {
		.nodeid = NODE_FILE,
		.entry_valid = FOREVER_S,
		.attr_valid = FOREVER_S,
	};

	if (strcmp(name, FILE_NAME)) {
		answer(s, unique, -ENOENT, NULL, 0, NULL, 0);
		return;
	}
	fill_attr(&out.attr, NODE_FILE);
	answer_body(s, unique, &out, sizeof(out));
}

static void on_request(struct held_source *s, const struct fuse_in_header *in, const void *body)
{
	struct fuse_attr_out attr = { .attr_valid = FOREVER_S };
	struct fuse_open_out opened = { .open_flags = 0 };
	struct fuse_statfs_out statfs = { .st = { .bsize = 4096, .frsize = 4096, .namelen = 255 } };

	switch (in->opcode) {
	case FUSE_INIT:
		on_init(s, in->unique, body);
		return;
	case FUSE_LOOKUP:
		on_lookup(s, in->unique, body);
		return;
	case FUSE_GETATTR:
		fill_attr(&attr.attr, in->nodeid);
		answer_body(s, in->unique, &attr, sizeof(attr));
		return;
	case FUSE_OPEN:
		answer_body(s, in->unique, &opened, sizeof(opened));
		return;
	case FUSE_READ:
		on_read(s, in->unique, body);
		return;
	case FUSE_STATFS: /* the loop driver asks for the block size */
		answer_body(s, in->unique, &statfs, sizeof(statfs));
		return;
	case FUSE_RELEASE:
	case FUSE_FLUSH:
	case FUSE_DESTROY:
		answer(s, in->unique, 0, NULL, 0, NULL, 0);
		return;
	case FUSE_FORGET: /* these three take no answer */
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		answer(s, in->unique, -ENOSYS, NULL, 0, NULL, 0);
	}
}

/* Take one request off the device. 0, or -errno when the connection is over. */
static int serve_one(struct held_source *s)
{
	uint8_t *buf = s->request;
	ssize_t n = read(s->dev_fd, buf, REQUEST_BYTES - 1);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ENOENT ? 0 : -errno;
	buf[n] = '\0'; /* a name ends here at the latest */
	if ((size_t)n >= sizeof(struct fuse_in_header))
		on_request(s, (const void *)buf, buf + sizeof(struct fuse_in_header));
	return 0;
}

static void answer_released(struct held_source *s)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < HELD_SLOTS; i++) {
		struct slot *slot = &s->slots[i];

		for (unsigned int k = 0; !slot->withhold && k < slot->nr_pending; k++)
			answer_read(s, slot->data ? slot : NULL, &slot->pending[k]);
		if (!slot->withhold)
			slot->nr_pending = 0;
	}
	pthread_mutex_unlock(&s->lock);
}

/* Close every descriptor of this thread's table that is not among @keep, which is sorted. */
static int close_all_but(const int *keep, size_t nr)
{
	unsigned int from = 3;

	for (size_t i = 0; i < nr; i++) {
		if (keep[i] < (int)from)
			continue;
		if (keep[i] > (int)from && close_range(from, (unsigned int)keep[i] - 1, 0))
			return -errno;
		from = (unsigned int)keep[i] + 1;
	}
	return close_range(from, ~0u, 0) ? -errno : 0;
}

static int compare_int(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * A descriptor table of our own, with nothing in it but what we need: the copies of the executor's
 * files would keep them open, and their filesystem busy, for as long as we live.
 */
static int own_descriptors(struct held_source *s)
{
	int keep[] = { s->fsfd, s->ready_fd, s->wake_fd, s->asked_fd };

	s->what = "unshare descriptors";
	if (unshare(CLONE_FILES))
		return -errno;
	s->unshared = true;
	qsort(keep, sizeof(keep) / sizeof(keep[0]), sizeof(keep[0]), compare_int);
	return close_all_but(keep, sizeof(keep) / sizeof(keep[0]));
}

/* The FUSE superblock is made here, where /dev/fuse is; the mount, by whoever holds fsfd too. */
static int make_superblock(struct held_source *s)
{
	char number[16];

	s->what = "open /dev/fuse";
	s->dev_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (s->dev_fd < 0)
		return -errno;
	s->what = "mount fuse";
	snprintf(number, sizeof(number), "%d", s->dev_fd);
	if (fsconfig(s->fsfd, FSCONFIG_SET_STRING, "source", "pinfault", 0) ||
	    fsconfig(s->fsfd, FSCONFIG_SET_STRING, "fd", number, 0) ||
	    fsconfig(s->fsfd, FSCONFIG_SET_STRING, "rootmode", "040000", 0) ||
	    fsconfig(s->fsfd, FSCONFIG_SET_STRING, "user_id", "0", 0) ||
	    fsconfig(s->fsfd, FSCONFIG_SET_STRING, "group_id", "0", 0) ||
	    fsconfig(s->fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	return 0;
}

static void *server_main(void *arg)
{
	struct held_source *s = arg;
	struct pollfd fds[2];
	int rc;

	s->dev_fd = -1;
	rc = own_descriptors(s);
	if (!rc)
		rc = make_superblock(s);
	if (s->unshared)
		close(s->fsfd);
	s->rc = rc;
	bump(s->ready_fd);
	fds[0] = (struct pollfd){ .fd = s->dev_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = s->wake_fd, .events = POLLIN };
	while (!rc && !atomic_load(&s->quit)) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents) {
			drain(s->wake_fd);
			answer_released(s);
		}
		if (fds[0].revents)
			rc = serve_one(s);
	}
	if (s->dev_fd >= 0)
		close(s->dev_fd); /* the last reference: this aborts the connection */
	return NULL;
}

static int start_server(struct held_source *s)
{
	sigset_t all, old;
	int rc;

	/* Signals are for the executor's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&s->thread, NULL, server_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->started = !rc;
	return rc;
}

static int open_descriptors(struct held_source *s)
{
	s->what = "eventfd";
	s->ready_fd = eventfd(0, EFD_CLOEXEC);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->asked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->ready_fd < 0 || s->wake_fd < 0 || s->asked_fd < 0)
		return -errno;
	s->what = "fsopen fuse";
	s->fsfd = fsopen("fuse", FSOPEN_CLOEXEC);
	return s->fsfd < 0 ? -errno : 0;
}

/*
 * Mount what the server made, nowhere, and open its file. Closing the mount leaves the file usable.
 */
static int open_file(struct held_source *s)
{
	int mnt_fd, rc = 0;

	s->what = "fsmount fuse";
	mnt_fd = fsmount(s->fsfd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
	if (mnt_fd < 0)
		return -errno;
	s->what = "open of the served file";
	s->fd = openat(mnt_fd, FILE_NAME, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (s->fd < 0)
		rc = -errno;
	close(mnt_fd);
	return rc;
}

int held_source_start(struct held_source **out, unsigned int deadline_ms, char *detail,
		      size_t detail_bytes)
{
	struct held_source *s = calloc(1, sizeof(*s));
	struct pollfd ready;
	int rc;

	if (!s)
		return -ENOMEM;
	s->fd = s->fsfd = s->ready_fd = s->wake_fd = s->asked_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	/*
	 * A core dump would stop the server before it closed /dev/fuse and then wait for the
	 * reader, which waits for the server: forbid it while this source lives. (Seen on 6.18:
	 * after SIGSEGV under a hold the process slept in vfs_coredump, unkillable, until the
	 * connection was aborted through fusectl.)
	 */
	s->dumpable = prctl(PR_GET_DUMPABLE);
	prctl(PR_SET_DUMPABLE, 0);
	rc = open_descriptors(s);
	if (!rc)
		rc = start_server(s);
	if (rc)
		goto out;
	ready = (struct pollfd){ .fd = s->ready_fd, .events = POLLIN };
	if (poll(&ready, 1, (int)deadline_ms) != 1) {
		snprintf(detail, detail_bytes, "FUSE server did not start");
		return -ETIMEDOUT; /* leaked: its thread may still come to use it */
	}
	rc = s->rc;
	if (!rc)
		rc = open_file(s);
out:
	if (rc) {
		snprintf(detail, detail_bytes, "%s", s->what);
		held_source_stop(s);
		return rc;
	}
	close(s->fsfd);
	s->fsfd = -1;
	*out = s;
	return 0;
}

int held_source_fd(const struct held_source *s)
{
	return s->fd;
}

int held_source_asked_fd(const struct held_source *s)
{
	return s->asked_fd;
}

uint64_t held_source_pos(const struct held_source *s, unsigned int nr)
{
	return s->slots[nr].pos_bytes;
}

void held_source_offer(struct held_source *s, unsigned int nr, const void *data, size_t len_bytes,
		       bool withhold)
{
	struct slot *slot = &s->slots[nr];

	pthread_mutex_lock(&s->lock);
	slot->data = data;
	slot->len_bytes = len_bytes;
	slot->asked_bytes = 0;
	slot->withhold = withhold;
	slot->pos_bytes = ++s->offers * SLOT_STRIDE_BYTES;
	pthread_mutex_unlock(&s->lock);
}

size_t held_source_asked(struct held_source *s, unsigned int nr)
{
	size_t asked;

	pthread_mutex_lock(&s->lock);
	asked = s->slots[nr].asked_bytes;
	pthread_mutex_unlock(&s->lock);
	return asked;
}

void held_source_release(struct held_source *s, unsigned int nr)
{
	pthread_mutex_lock(&s->lock);
	s->slots[nr].withhold = false;
	pthread_mutex_unlock(&s->lock);
	bump(s->wake_fd);
}

void held_source_retire(struct held_source *s, unsigned int nr)
{
	pthread_mutex_lock(&s->lock);
	s->slots[nr].data = NULL;
	s->slots[nr].withhold = false;
	pthread_mutex_unlock(&s->lock);
}

int held_source_abort(struct held_source *s, unsigned int deadline_ms)
{
	uint64_t until_ns = pf_now_ns() + deadline_ms * PF_NS_PER_MS;
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000ull),
		.tv_nsec = (long)(until_ns % 1000000000ull),
	};

	if (!s->started || s->joined)
		return 0;
	atomic_store(&s->quit, true);
	bump(s->wake_fd);
	if (pthread_clockjoin_np(s->thread, NULL, CLOCK_MONOTONIC, &until))
		return -ETIMEDOUT;
	s->joined = true;
	return 0;
}

void held_source_stop(struct held_source *s)
{
	int fds[5];

	if (!s || held_source_abort(s, 1000))
		return;
	memcpy(fds, (int[]){ s->fd, s->fsfd, s->ready_fd, s->wake_fd, s->asked_fd }, sizeof(fds));
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (s->dumpable > 0)
		prctl(PR_SET_DUMPABLE, s->dumpable);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
