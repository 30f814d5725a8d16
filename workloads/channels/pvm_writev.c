// SPDX-License-Identifier: GPL-2.0
/*
 * pvm_writev.c - process_vm_writev(2) to ourselves, the remote side being the mapping.
 *
 * Path: process_vm_rw_single_vec() pins up to 1024 remote pages (pin_user_pages_remote,
 * FOLL_WRITE), then copies from the local side, which may fault. The local side of a hold is
 * userfaultfd memory: the first fault is reported when the remote pages are pinned and nothing is
 * copied yet, and the copy sleeps, without the mmap lock, until UFFDIO_COPY brings the data. An I/O
 * of 4 MiB that does not begin at a page boundary is 1025 pages: the last one is pinned only after
 * the others are written.
 *
 * Can show: what dio-read can, without a device or a filesystem of our own; pages are dirtied at
 * unpin, after whatever happened meanwhile (cc5095747edf "ext4: don't BUG if someone dirty pages
 * without asking ext4 first" was found through this call).
 *
 * Source: process_vm_writev(2), userfaultfd(2); mm/process_vm_access.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "../../harness/core/clock.h"
#include "channel_probe.h"
#include "held_io.h"

#define PAGE_BYTES 4096u

struct pvm {
	struct held_io io[PF_HOLDS_MAX];
	struct pf_io *out[PF_HOLDS_MAX]; /* NULL: nobody waits for it */
	int uffd;			 /* -1 until the first hold */
	uint8_t *area;			 /* PF_HOLDS_MAX slots of PF_IO_MAX_BYTES, registered */
	_Alignas(8) uint8_t tail[PAGE_BYTES]; /* a slot's last page, if the data ends inside */
};

static long pvm_copy(void *dst, const void *src, size_t len_bytes)
{
	struct iovec local = { .iov_base = (void *)(uintptr_t)src, .iov_len = len_bytes };
	struct iovec remote = { .iov_base = dst, .iov_len = len_bytes };
	ssize_t n = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);

	return n < 0 ? -errno : n;
}

static long pvm_run(struct held_io *h)
{
	return pvm_copy(h->dst, h->data, h->len_bytes);
}

static uint8_t *slot_addr(const struct pvm *p, unsigned int nr)
{
	return p->area + (size_t)nr * PF_IO_MAX_BYTES;
}

/* A userfaultfd that also reports faults of the kernel: root, or vm.unprivileged_userfaultfd. */
static int open_uffd(char *why, size_t why_bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), rc;

	if (fd < 0) {
		rc = -errno;
		snprintf(why, why_bytes,
			 rc == -EPERM ? "userfaultfd for kernel faults needs CAP_SYS_PTRACE or "
					"vm.unprivileged_userfaultfd=1"
				      : "userfaultfd: %s",
			 strerror(-rc));
		return rc;
	}
	if (ioctl(fd, UFFDIO_API, &api)) {
		rc = -errno;
		snprintf(why, why_bytes, "UFFDIO_API: %s", strerror(-rc));
		close(fd);
		return rc;
	}
	return fd;
}

static int make_area(struct pvm *p, char *why, size_t why_bytes)
{
	size_t bytes = (size_t)PF_HOLDS_MAX * PF_IO_MAX_BYTES;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int rc;

	if (p->uffd >= 0)
		return 0;
	p->uffd = open_uffd(why, why_bytes);
	if (p->uffd < 0) {
		rc = p->uffd;
		p->uffd = -1;
		return rc;
	}
	p->area = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	reg.range.start = (uintptr_t)p->area;
	reg.range.len = bytes;
	if (p->area == MAP_FAILED || ioctl(p->uffd, UFFDIO_REGISTER, &reg)) {
		rc = -errno;
		snprintf(why, why_bytes, "userfaultfd memory: %s", strerror(-rc));
		if (p->area != MAP_FAILED)
			munmap(p->area, bytes);
		p->area = NULL;
		close(p->uffd);
		p->uffd = -1;
		return rc;
	}
	return 0;
}

/* Put whole pages there and wake who waits for them. EEXIST: they are there. */
static int uffd_copy(int uffd, uint8_t *dst, const void *src, size_t len_bytes)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len_bytes,
	};

	while (copy.len) {
		if (!ioctl(uffd, UFFDIO_COPY, &copy) || errno == EEXIST)
			return 0;
		if (errno != EAGAIN)
			return -errno;
		if (copy.copy > 0) { /* part of it was done */
			copy.dst += (uint64_t)copy.copy;
			copy.src += (uint64_t)copy.copy;
			copy.len -= (uint64_t)copy.copy;
		}
		copy.copy = 0;
	}
	return 0;
}

static int deliver(struct pvm *p, unsigned int nr, const void *data, size_t len_bytes)
{
	size_t whole = len_bytes / PAGE_BYTES * PAGE_BYTES;
	int rc = 0;

	/* The tail first: the copy then finds everything in place when the head wakes it. */
	if (whole < len_bytes) {
		memset(p->tail, 0, sizeof(p->tail));
		memcpy(p->tail, (const uint8_t *)data + whole, len_bytes - whole);
		rc = uffd_copy(p->uffd, slot_addr(p, nr) + whole, p->tail, PAGE_BYTES);
	}
	return rc || !whole ? rc : uffd_copy(p->uffd, slot_addr(p, nr), data, whole);
}

static int pvm_open(struct pf_channel *ch)
{
	struct pvm *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (!p)
		return -ENOMEM;
	ch->priv = p;
	p->uffd = -1;
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		p->io[i].done_fd = -1;
	for (unsigned int i = 0; i < PF_HOLDS_MAX && !rc; i++) {
		p->io[i].run = pvm_run;
		p->io[i].nr = i;
		rc = held_io_init(&p->io[i]);
	}
	return rc;
}

static long pvm_write(struct pf_channel *ch, struct pf_io *io)
{
	(void)ch;
	return pvm_copy(io->file->map + io->off_bytes, io->data, io->len_bytes);
}

/* Did a fault in slot @nr arrive? Others that come along are of I/Os that are landing. */
static bool take_fault(const struct pvm *p, unsigned int nr)
{
	uintptr_t lo = (uintptr_t)slot_addr(p, nr);
	struct uffd_msg msg;

	while (read(p->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg))
		if (msg.event == UFFD_EVENT_PAGEFAULT && msg.arg.pagefault.address >= lo &&
		    msg.arg.pagefault.address - lo < PF_IO_MAX_BYTES)
			return true;
	return false;
}

/* 0 once the copy has faulted; -ECANCELED if the I/O ended without; -ETIMEDOUT. */
static int await_fault(struct pvm *p, struct held_io *h, unsigned int deadline_ms)
{
	struct pollfd fds[2] = {
		{ .fd = h->done_fd, .events = POLLIN },
		{ .fd = p->uffd, .events = POLLIN },
	};
	uint64_t until_ns = pf_now_ns() + deadline_ms * PF_NS_PER_MS, now_ns;

	while ((now_ns = pf_now_ns()) < until_ns) {
		if (poll(fds, 2, (int)((until_ns - now_ns) / PF_NS_PER_MS) + 1) <= 0)
			continue;
		if (fds[1].revents && take_fault(p, h->nr))
			return 0;
		if (fds[0].revents)
			return -ECANCELED;
	}
	return -ETIMEDOUT;
}

/* Deliver and wait. Whatever comes of it, the caller's data is not needed any more afterwards. */
static long finish(struct pvm *p, struct held_io *h, const void *data, unsigned int deadline_ms)
{
	int rc = deliver(p, h->nr, data, h->len_bytes);
	long n;

	p->out[h->nr] = NULL;
	if (rc)
		return rc;
	n = held_io_finish(h, deadline_ms);
	if (!h->running) /* the next hold must fault again */
		madvise(slot_addr(p, h->nr), PF_IO_MAX_BYTES, MADV_DONTNEED);
	return n;
}

static int pvm_hold(struct pf_channel *ch, struct pf_io *io)
{
	struct pvm *p = ch->priv;
	struct held_io *h;
	unsigned int nr;
	long n;
	int rc = make_area(p, io->detail, sizeof(io->detail));

	if (rc)
		return rc;
	for (nr = 0; nr < PF_HOLDS_MAX && p->io[nr].running; nr++)
		;
	if (nr == PF_HOLDS_MAX)
		return -EBUSY;
	h = &p->io[nr];
	h->dst = io->file->map + io->off_bytes;
	h->data = slot_addr(p, nr);
	h->len_bytes = io->len_bytes;
	rc = held_io_start(h);
	if (rc)
		return rc;
	p->out[nr] = io;
	io->priv = h;
	rc = await_fault(p, h, ch->deadline_ms);
	if (!rc)
		return 0;
	n = finish(p, h, io->data, ch->deadline_ms);
	if (rc == -ETIMEDOUT)
		return rc;
	if (n < 0)
		return (int)n;
	snprintf(io->detail, sizeof(io->detail), "over before it was held: %ld bytes", n);
	return -EIO;
}

static long pvm_land(struct pf_channel *ch, struct pf_io *io)
{
	struct held_io *h = io->priv;
	long n = finish(ch->priv, h, io->data, ch->deadline_ms);

	if (h->running)
		snprintf(io->detail, sizeof(io->detail), "still in the kernel after landing");
	return n;
}

static void pvm_close(struct pf_channel *ch)
{
	struct pvm *p = ch->priv;
	bool all_back = true;

	ch->priv = NULL;
	if (!p)
		return;
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++) {
		if (p->io[i].running && p->out[i])
			finish(p, &p->io[i], p->out[i]->data, ch->deadline_ms);
		else if (p->io[i].running)
			held_io_finish(&p->io[i], ch->deadline_ms);
		all_back = all_back && !p->io[i].running;
	}
	if (!all_back) /* leaked: a thread in the kernel will come back to it */
		return;
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		held_io_exit(&p->io[i]);
	if (p->uffd >= 0) {
		munmap(p->area, (size_t)PF_HOLDS_MAX * PF_IO_MAX_BYTES);
		close(p->uffd);
	}
	free(p);
}

static int pvm_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops pvm_writev_ops = {
	.name = "pvm-writev",
	.summary = "process_vm_writev(2) to ourselves, from userfaultfd memory when held",
	.class = PF_CLASS_SHORT_PIN,
	.hold_kind = PF_HOLD_INFLIGHT,
	.probe = pvm_probe,
	.open = pvm_open,
	.write = pvm_write,
	.hold = pvm_hold,
	.land = pvm_land,
	.close = pvm_close,
};
PF_CHANNEL(pvm_writev_ops);

static int pvm_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&pvm_writev_ops, variant, why, why_bytes);
}
