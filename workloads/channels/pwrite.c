// SPDX-License-Identifier: GPL-2.0
/*
 * pwrite.c - write(2) to the file itself, not through the mapping: what everything else is compared
 * with, and a control.
 *
 * Path: generic_perform_write(), iomap_file_buffered_write(), dax_iomap_rw(). The source of a hold
 * is userfaultfd memory of which the second page is missing. On the page cache the kernel faults
 * its source in before it takes a folio, so a held write has begun, holds the inode's lock and has
 * copied nothing of what is left. On DAX the copy itself sleeps, with the blocks allocated and half
 * of a page written.
 *
 * Can show: write(2) against page faults on the same block (xfs: copy on write of a shared block by
 * both), faults that come between two chunks of a write.
 *
 * Source: write(2), userfaultfd(2); fs/dax.c dax_iomap_iter(), mm/filemap.c
 * generic_perform_write().
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"
#include "held_uffd.h"

static long pwrite_run(struct held_io *h)
{
	const struct pf_file *f = h->arg;
	ssize_t n = pwrite(f->fd, h->data, h->len_bytes, (off_t)h->pos_bytes);

	return n < 0 ? -errno : n;
}

static int pwrite_open(struct pf_channel *ch)
{
	return held_uffd_open(ch, pwrite_run, true);
}

static long pwrite_write(struct pf_channel *ch, struct pf_io *io)
{
	ssize_t n = pwrite(io->file->fd, io->data, io->len_bytes, (off_t)io->off_bytes);

	(void)ch;
	return n < 0 ? -errno : n;
}

/* A second one would wait for the first, and come to no page of its source that is missing. */
static int pwrite_hold(struct pf_channel *ch, struct pf_io *io)
{
	if (held_uffd_out(ch, io->file)) {
		snprintf(io->detail, sizeof(io->detail), "a held write has the file's lock");
		return -EBUSY;
	}
	return held_uffd_hold(ch, io);
}

static int pwrite_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops pwrite_ops = {
	.name = "pwrite",
	.summary = "write(2) to the file, from userfaultfd memory when held",
	.class = PF_CLASS_SYSCALL,
	.hold_kind = PF_HOLD_INFLIGHT,
	.probe = pwrite_probe,
	.open = pwrite_open,
	.write = pwrite_write,
	.hold = pwrite_hold,
	.land = held_uffd_land,
	.close = held_uffd_close,
};
PF_CHANNEL(pwrite_ops);

static int pwrite_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&pwrite_ops, variant, why, why_bytes);
}
