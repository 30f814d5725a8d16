// SPDX-License-Identifier: GPL-2.0
/* held_uffd.c - system calls whose near side is memory that arrives when told to; held_uffd.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../harness/core/cell.h"
#include "../../harness/core/clock.h"
#include "held_uffd.h"

#define PAGE_BYTES 4096u
#define SLOT_BYTES ((size_t)PF_IO_MAX_BYTES + PAGE_BYTES) /* the data, and a page for its head */

struct held_uffd {
	struct held_io io[PF_HOLDS_MAX];
	struct pf_io *out[PF_HOLDS_MAX]; /* NULL: nobody waits for it */
	int uffd;			 /* -1: there is none (yet) */
	pthread_mutex_t lock;		 /* from a fault's message to faulted_fd of its slot */
	int faulted_fd[PF_HOLDS_MAX];	 /* eventfds: the slot's copy has faulted */
	uint8_t *area;			 /* PF_HOLDS_MAX slots of SLOT_BYTES, registered */
	bool head;			 /* a copy is held in its middle */
	size_t head_bytes[PF_HOLDS_MAX]; /* there before the first missing page */
	/* Of each slot, a page that the data begins or ends in. */
	_Alignas(8) uint8_t page[PF_HOLDS_MAX][PAGE_BYTES];
};

static uint8_t *slot_addr(const struct held_uffd *p, unsigned int nr)
{
	return p->area + (size_t)nr * SLOT_BYTES;
}

/* Of a slot, at most: whole pages for @len_bytes, and one for the head. */
static size_t slot_used(size_t len_bytes)
{
	return (len_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES + PAGE_BYTES;
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

static int make_area(struct held_uffd *p, char *why, size_t why_bytes)
{
	size_t bytes = (size_t)PF_HOLDS_MAX * SLOT_BYTES;
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

/* Room for what a held read brings. 0 or -errno. */
static int uffd_zero(int uffd, uint8_t *dst, size_t len_bytes)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)dst, len_bytes } };

	while (zero.range.len) {
		if (!ioctl(uffd, UFFDIO_ZEROPAGE, &zero) || errno == EEXIST)
			return 0;
		if (errno != EAGAIN)
			return -errno;
		if (zero.zeropage > 0) { /* part of it was done */
			zero.range.start += (uint64_t)zero.zeropage;
			zero.range.len -= (uint64_t)zero.zeropage;
		}
		zero.zeropage = 0;
	}
	return 0;
}

/* What comes before the first missing page. 0 or -errno. */
static int deliver_head(struct held_uffd *p, unsigned int nr, const void *data, size_t len_bytes)
{
	size_t head = p->head ? len_bytes / 2 / PF_CELL_BYTES * PF_CELL_BYTES : 0;

	head = head < PAGE_BYTES / 2 ? head : PAGE_BYTES / 2;
	p->head_bytes[nr] = head;
	if (!head)
		return 0;
	memset(p->page[nr], 0, PAGE_BYTES);
	memcpy(p->page[nr] + PAGE_BYTES - head, data, head);
	return uffd_copy(p->uffd, slot_addr(p, nr), p->page[nr], PAGE_BYTES);
}

/* The rest: page by page from the slot's second page, or from its first if there is no head. */
static int deliver(struct held_uffd *p, unsigned int nr, const void *data, size_t len_bytes)
{
	size_t head = p->head_bytes[nr], whole = (len_bytes - head) / PAGE_BYTES * PAGE_BYTES;
	uint8_t *to = slot_addr(p, nr) + (head ? PAGE_BYTES : 0);
	const uint8_t *from = (const uint8_t *)data + head;
	int rc = 0;

	/* The tail first: the copy then finds everything in place when the head wakes it. */
	if (head + whole < len_bytes) {
		memset(p->page[nr], 0, PAGE_BYTES);
		memcpy(p->page[nr], from + whole, len_bytes - head - whole);
		rc = uffd_copy(p->uffd, to + whole, p->page[nr], PAGE_BYTES);
	}
	return rc || !whole ? rc : uffd_copy(p->uffd, to, from, whole);
}

int held_uffd_prepare(struct pf_channel *ch, char *why, size_t why_bytes)
{
	struct held_uffd *p = ch->priv;
	int rc = make_area(p, why, why_bytes);

	return rc ? rc : held_io_threads(p->io, PF_HOLDS_MAX);
}

int held_uffd_open(struct pf_channel *ch, long (*run)(struct held_io *h), bool head)
{
	struct held_uffd *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (!p)
		return -ENOMEM;
	ch->priv = p;
	p->uffd = -1;
	p->head = head;
	pthread_mutex_init(&p->lock, NULL);
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		p->io[i].done_fd = p->faulted_fd[i] = -1;
	for (unsigned int i = 0; i < PF_HOLDS_MAX && !rc; i++) {
		p->io[i].run = run;
		p->io[i].nr = i;
		rc = held_io_init(&p->io[i]);
		p->faulted_fd[i] = rc ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (!rc && p->faulted_fd[i] < 0)
			rc = -errno;
	}
	/* Without it there are still plain writes; a hold tries again, and says what it lacks. */
	if (!rc && ch->holds)
		held_uffd_prepare(ch, NULL, 0);
	return rc;
}

/* Tell each hold of its fault: several may be waiting for theirs, each in a thread of its own. */
static void take_faults(struct held_uffd *p)
{
	uint64_t one = 1, slot;
	struct uffd_msg msg;
	ssize_t n = 0;

	pthread_mutex_lock(&p->lock);
	while (read(p->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg)) {
		slot = (msg.arg.pagefault.address - (uintptr_t)p->area) / SLOT_BYTES;
		if (msg.event == UFFD_EVENT_PAGEFAULT && slot < PF_HOLDS_MAX)
			n = write(p->faulted_fd[slot], &one, sizeof(one));
	}
	(void)n;
	pthread_mutex_unlock(&p->lock);
}

/* Faults of the slot's last I/O, which also had some while it landed. */
static void forget_faults(struct held_uffd *p, unsigned int nr)
{
	uint64_t count;
	ssize_t n;

	pthread_mutex_lock(&p->lock);
	n = read(p->faulted_fd[nr], &count, sizeof(count));
	(void)n;
	pthread_mutex_unlock(&p->lock);
}

/* 0 once the copy has faulted; -ECANCELED if the I/O ended without; -ETIMEDOUT. */
static int await_fault(struct held_uffd *p, struct held_io *h, unsigned int deadline_ms)
{
	struct pollfd fds[3] = {
		{ .fd = h->done_fd, .events = POLLIN },
		{ .fd = p->faulted_fd[h->nr], .events = POLLIN },
		{ .fd = p->uffd, .events = POLLIN },
	};
	uint64_t until_ns = pf_now_ns() + deadline_ms * PF_NS_PER_MS, now_ns;

	while ((now_ns = pf_now_ns()) < until_ns) {
		if (poll(fds, 3, (int)((until_ns - now_ns) / PF_NS_PER_MS) + 1) <= 0)
			continue;
		if (fds[1].revents)
			return 0;
		if (fds[2].revents)
			take_faults(p);
		else if (fds[0].revents)
			return -ECANCELED;
	}
	return -ETIMEDOUT;
}

/* Deliver and wait. Whatever comes of it, the caller's data is not needed any more afterwards. */
static long finish(struct held_uffd *p, struct held_io *h, struct pf_io *io,
		   unsigned int deadline_ms)
{
	int rc = io->into ? uffd_zero(p->uffd, slot_addr(p, h->nr), slot_used(h->len_bytes))
			  : deliver(p, h->nr, io->data, h->len_bytes);
	long n;

	p->out[h->nr] = NULL;
	io->out = false;
	if (rc)
		return rc;
	n = held_io_finish(h, deadline_ms);
	io->out = h->running;
	if (io->into && n > 0)
		memcpy(io->into, h->data, (size_t)n);
	/* The next hold must fault again. No more than what was there: a large range empties the
	 * whole TLB. */
	if (!h->running)
		madvise(slot_addr(p, h->nr), slot_used(h->len_bytes), MADV_DONTNEED);
	return n;
}

bool held_uffd_out(const struct pf_channel *ch, const struct pf_file *f)
{
	const struct held_uffd *p = ch->priv;

	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		if (p->io[i].running && p->out[i] && p->out[i]->file == f)
			return true;
	return false;
}

int held_uffd_hold(struct pf_channel *ch, struct pf_io *io)
{
	struct held_uffd *p = ch->priv;
	struct held_io *h;
	unsigned int nr;
	long n;
	int rc = held_uffd_prepare(ch, io->detail, sizeof(io->detail));

	if (rc)
		return rc;
	for (nr = 0; nr < PF_HOLDS_MAX && p->io[nr].running; nr++)
		;
	if (nr == PF_HOLDS_MAX)
		return -EBUSY;
	h = &p->io[nr];
	h->running = true;
	rc = io->into ? 0 : deliver_head(p, nr, io->data, io->len_bytes);
	h->arg = io->file;
	h->dst = io->file->map + io->off_bytes;
	h->pos_bytes = io->off_bytes;
	h->data = slot_addr(p, nr) + (p->head_bytes[nr] ? PAGE_BYTES - p->head_bytes[nr] : 0);
	h->len_bytes = io->len_bytes;
	h->running = !rc;
	if (rc)
		return rc;
	forget_faults(p, nr);
	held_io_start(h, io);
	p->out[nr] = io;
	io->priv = h;
	rc = await_fault(p, h, ch->deadline_ms);
	if (!rc)
		return 0;
	n = finish(p, h, io, ch->deadline_ms);
	if (rc == -ETIMEDOUT)
		return rc;
	if (n < 0)
		return (int)n;
	snprintf(io->detail, sizeof(io->detail), "over before it was held: %ld bytes", n);
	return -EIO;
}

long held_uffd_land(struct pf_channel *ch, struct pf_io *io)
{
	return finish(ch->priv, io->priv, io, ch->deadline_ms);
}

void held_uffd_close(struct pf_channel *ch)
{
	struct held_uffd *p = ch->priv;
	bool all_back = true;

	ch->priv = NULL;
	if (!p)
		return;
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++) {
		if (p->io[i].running && p->out[i])
			finish(p, &p->io[i], p->out[i], ch->deadline_ms);
		else if (p->io[i].running)
			held_io_finish(&p->io[i], ch->deadline_ms);
		all_back = all_back && !p->io[i].running;
	}
	if (!all_back) /* leaked: a thread in the kernel will come back to it */
		return;
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++) {
		held_io_exit(&p->io[i]);
		if (p->faulted_fd[i] >= 0)
			close(p->faulted_fd[i]);
	}
	if (p->uffd >= 0) {
		munmap(p->area, (size_t)PF_HOLDS_MAX * SLOT_BYTES);
		close(p->uffd);
	}
	free(p);
}

