// SPDX-License-Identifier: GPL-2.0
/*
 * uring_fixed.c - an io_uring registered buffer over the mapping, filled by IORING_OP_READ_FIXED.
 *
 * Path: io_uring_register(IORING_REGISTER_BUFFERS) pins the whole mapping with FOLL_LONGTERM;
 * READ_FIXED from a memfd then copies into those pages through a bvec, whatever the page table says
 * by then. No RDMA hardware needed: the same kind of pin, from a system call every process has.
 *
 * Can show: writes after a truncate, punch or writeback going to pages the file has given up, with
 * success reported, on kernels and filesystems where the registration is not refused. Refusals:
 * EOPNOTSUPP for any file but shmem and hugetlbfs up to 6.4, EFAULT from the page tables' side
 * since (8ac268436e6d "mm/gup: disallow FOLL_LONGTERM GUP-nonfast writing to file-backed
 * mappings").
 *
 * Source: io_uring_register(2); liburing test/io_uring_register.c.
 */
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"
#include "uring_why.h"

#define FILES_MAX 4

struct pinned_file {
	struct pf_file *file; /* NULL: free */
	struct io_uring ring;
};

struct uring_fixed {
	struct pinned_file pinned[FILES_MAX];
	int memfd; /* where the data is read from */
};

/* Without CAP_IPC_LOCK registered memory counts against RLIMIT_MEMLOCK: take all we may have. */
static void raise_memlock(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_MEMLOCK, &lim))
		return;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &lim); /* if not, the registration will say ENOMEM */
}

static struct pinned_file *find(struct uring_fixed *u, const struct pf_file *f)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		if (u->pinned[i].file == f)
			return &u->pinned[i];
	return NULL;
}

static int uring_fixed_open(struct pf_channel *ch)
{
	struct uring_fixed *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	ch->priv = u;
	raise_memlock();
	u->memfd = memfd_create("pinfault-uring-fixed", MFD_CLOEXEC);
	return u->memfd < 0 ? -errno : 0;
}

static int uring_fixed_pin(struct pf_channel *ch, struct pf_file *f)
{
	struct iovec iov = { .iov_base = f->map, .iov_len = f->map_bytes };
	struct pinned_file *p = find(ch->priv, NULL);
	int rc;

	if (!p)
		return -EMFILE;
	rc = io_uring_queue_init(2, &p->ring, 0);
	if (rc) {
		snprintf(ch->detail, sizeof(ch->detail), "io_uring_setup");
		return rc;
	}
	rc = io_uring_register_buffers(&p->ring, &iov, 1);
	if (rc) {
		snprintf(ch->detail, sizeof(ch->detail), "IORING_REGISTER_BUFFERS");
		io_uring_queue_exit(&p->ring);
		return rc;
	}
	p->file = f;
	return 0;
}

/*
 * Unregister first: it drops the pins before it returns, where a ring is torn down later, by a
 * kworker.
 */
static int uring_fixed_unpin(struct pf_channel *ch, struct pf_file *f)
{
	struct pinned_file *p = f ? find(ch->priv, f) : NULL;
	int rc;

	if (!p)
		return -ENOENT;
	rc = io_uring_unregister_buffers(&p->ring);
	io_uring_queue_exit(&p->ring);
	p->file = NULL;
	return rc;
}

/*
 * For as long as it takes, as pread(2) would: what is given up goes on reading from the memfd, into
 * the file, and its completion would be taken for the next one's. Whoever called sees when it is
 * late.
 */
static long wait_result(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	long n;
	int rc;

	do
		rc = io_uring_wait_cqe(ring, &cqe);
	while (rc == -EINTR);
	if (rc)
		return rc;
	n = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return n;
}

static long uring_fixed_write(struct pf_channel *ch, struct pf_io *io)
{
	struct uring_fixed *u = ch->priv;
	struct pinned_file *p = find(u, io->file);
	struct io_uring_sqe *sqe;
	ssize_t n;
	int rc;

	if (!p)
		return -ENOENT;
	n = pwrite(u->memfd, io->data, io->len_bytes, 0);
	if (n != (ssize_t)io->len_bytes) {
		rc = n < 0 ? -errno : -ENOSPC;
		snprintf(io->detail, sizeof(io->detail), "filling the memfd");
		return rc;
	}
	sqe = io_uring_get_sqe(&p->ring);
	if (!sqe)
		return -EBUSY;
	io_uring_prep_read_fixed(sqe, u->memfd, io->file->map + io->off_bytes,
				 (unsigned int)io->len_bytes, 0, 0);
	rc = io_uring_submit(&p->ring);
	return rc < 0 ? rc : wait_result(&p->ring);
}

static void uring_fixed_close(struct pf_channel *ch)
{
	struct uring_fixed *u = ch->priv;

	ch->priv = NULL;
	if (!u)
		return;
	for (size_t i = 0; i < FILES_MAX; i++) {
		if (!u->pinned[i].file)
			continue;
		io_uring_unregister_buffers(&u->pinned[i].ring);
		io_uring_queue_exit(&u->pinned[i].ring);
	}
	if (u->memfd >= 0)
		close(u->memfd);
	free(u);
}

static int uring_fixed_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops uring_fixed_ops = {
	.name = "uring-fixed",
	.summary = "io_uring READ_FIXED into a registered buffer over the mapping",
	.class = PF_CLASS_LONG_PIN,
	.hold_kind = PF_HOLD_TRIVIAL,
	.brief = 1,
	.probe = uring_fixed_probe,
	.open = uring_fixed_open,
	.pin = uring_fixed_pin,
	.unpin = uring_fixed_unpin,
	.write = uring_fixed_write,
	.close = uring_fixed_close,
};
PF_CHANNEL(uring_fixed_ops);

static int uring_fixed_probe(const char *variant, char *why, size_t why_bytes)
{
	int rc = uring_why(why, why_bytes);

	return rc ? rc : channel_probe(&uring_fixed_ops, variant, why, why_bytes);
}
