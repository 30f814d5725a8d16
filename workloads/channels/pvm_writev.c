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
#include <sys/uio.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"
#include "held_uffd.h"

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

static int pvm_open(struct pf_channel *ch)
{
	return held_uffd_open(ch, pvm_run, false);
}

static long pvm_write(struct pf_channel *ch, struct pf_io *io)
{
	(void)ch;
	return pvm_copy(io->file->map + io->off_bytes, io->data, io->len_bytes);
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
	.hold = held_uffd_hold,
	.land = held_uffd_land,
	.close = held_uffd_close,
};
PF_CHANNEL(pvm_writev_ops);

static int pvm_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&pvm_writev_ops, variant, why, why_bytes);
}
