// SPDX-License-Identifier: GPL-2.0
/*
 * uring_read.c - IORING_OP_READ from an O_DIRECT file into the mapping.
 *
 * Path: as dio-read, but the I/O is asynchronous by nature: FUSE files know no NOWAIT, so the
 * request goes to an io-wq worker, which pins the mapping's pages, queues the FUSE reads and
 * leaves. From then on nothing but the request holds the pins; they are dropped, and the pages
 * dirtied, in the context of whoever completes the I/O (here the server), not of the submitter.
 *
 * Can show: what dio-read can, with the dirtying done by a stranger.
 *
 * A ring belongs to one I/O until it is back, and stays for the next; what was submitted by a
 * thread that ends is cancelled, so each I/O is waited for by the thread that submitted it.
 *
 * Source: io_uring_enter(2); xfstests generic/678.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"
#include "held_io.h"
#include "uring_why.h"

struct uring_read {
	struct held_reader reader; /* first: h->arg points here */
	struct io_uring ring[HELD_SLOTS];
	unsigned int nr_rings; /* there are */
};

static long uring_read_run(struct held_io *h)
{
	struct uring_read *u = h->arg;
	struct io_uring *ring = &u->ring[h->nr];
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	long n;
	int rc;

	sqe = io_uring_get_sqe(ring);
	if (!sqe)
		return -EBUSY;
	io_uring_prep_read(sqe, held_source_fd(u->reader.src), h->dst, (unsigned int)h->len_bytes,
			   h->pos_bytes);
	rc = io_uring_submit(ring);
	if (rc < 0)
		return rc;
	do
		rc = io_uring_wait_cqe(ring, &cqe);
	while (rc == -EINTR);
	if (rc)
		return rc;
	n = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return n;
}

/* Is thread @tid an io-wq worker of ring owner @owner that has something to do? */
static bool busy_worker_of(int tid, int owner)
{
	char path[64], comm[32], want[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, comm, sizeof(comm) - 1);
	close(fd);
	comm[n > 0 ? n : 0] = '\0';
	snprintf(want, sizeof(want), "iou-wrk-%d\n", owner);
	return !strcmp(comm, want) && !held_io_asleep_in(tid, "io_wq_worker");
}

/*
 * The submitter waits for a completion and none of its workers (threads of this process from 5.12)
 * is at work, in a page fault for instance: what could be pinned is pinned.
 */
static bool uring_read_settled(const struct held_io *h)
{
	int owner = atomic_load(&((struct held_io *)(uintptr_t)h)->tid);
	bool busy = !held_io_asleep_in(owner, "io_cqring_wait");
	struct dirent *e;
	DIR *dir;

	if (busy)
		return false;
	dir = opendir("/proc/self/task");
	if (!dir)
		return false;
	while (!busy && (e = readdir(dir)))
		busy = busy_worker_of(atoi(e->d_name), owner);
	closedir(dir);
	return !busy;
}

/* All at once, as threads are (held_io_threads): a ring is mapped. */
static int uring_read_ready(struct held_reader *r, struct pf_channel *ch)
{
	struct uring_read *u = (struct uring_read *)r;
	int rc = 0;

	while (u->nr_rings < HELD_SLOTS && !rc) {
		rc = io_uring_queue_init(2, &u->ring[u->nr_rings], 0);
		u->nr_rings += !rc;
	}
	if (rc)
		snprintf(ch->detail, sizeof(ch->detail), "io_uring_setup");
	return rc;
}

static int uring_read_open(struct pf_channel *ch)
{
	struct uring_read *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	ch->priv = u;
	u->reader.ready = uring_read_ready;
	return held_reader_init(&u->reader, uring_read_run, uring_read_settled);
}

static long uring_read_write(struct pf_channel *ch, struct pf_io *io)
{
	return held_reader_write(ch->priv, ch, io);
}

static int uring_read_hold(struct pf_channel *ch, struct pf_io *io)
{
	return held_reader_hold(ch->priv, ch, io);
}

static long uring_read_land(struct pf_channel *ch, struct pf_io *io)
{
	return held_reader_land(ch->priv, ch, io);
}

static void uring_read_close(struct pf_channel *ch)
{
	struct uring_read *u = ch->priv;

	ch->priv = NULL;
	if (!u || !held_reader_close(&u->reader, ch))
		return;
	for (unsigned int i = 0; i < u->nr_rings; i++)
		io_uring_queue_exit(&u->ring[i]);
	free(u);
}

static int uring_read_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops uring_read_ops = {
	.name = "uring-read",
	.summary = "io_uring read, O_DIRECT, into the mapping, from a FUSE file",
	.class = PF_CLASS_SHORT_PIN,
	.hold_kind = PF_HOLD_INFLIGHT,
	.brief = 1,
	.probe = uring_read_probe,
	.open = uring_read_open,
	.write = uring_read_write,
	.hold = uring_read_hold,
	.land = uring_read_land,
	.close = uring_read_close,
};
PF_CHANNEL(uring_read_ops);

static int uring_read_probe(const char *variant, char *why, size_t why_bytes)
{
	int rc = uring_why(why, why_bytes);

	return rc ? rc : channel_probe(&uring_read_ops, variant, why, why_bytes);
}
