// SPDX-License-Identifier: GPL-2.0
/*
 * copyout.c - a buffered read(2) whose destination is the mapping: the kernel stores through the
 * page table.
 *
 * Path: filemap_read()/shmem_file_read_iter() -> copy_to_user() into the mapping; a page that is
 * not there faults in as for a CPU store (page_mkwrite). No pin. Second of the control group: it
 * has dio-read's system call and store's path.
 *
 * Can show: short counts and EFAULT past the end of the file, which must be reported as such.
 *
 * Source: read(2), memfd_create(2); xfstests generic/647 for the same file on both sides.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"
#include "write_slot.h"

struct copyout {
	int memfd; /* PF_IO_MAX_BYTES for each write under way */
	atomic_uint writes;
};

static int copyout_open(struct pf_channel *ch)
{
	struct copyout *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	ch->priv = c;
	c->memfd = memfd_create("pinfault-copyout", MFD_CLOEXEC);
	return c->memfd < 0 ? -errno : 0;
}

static long copyout_through(int memfd, off_t at, struct pf_io *io)
{
	ssize_t n = pwrite(memfd, io->data, io->len_bytes, at);
	int rc;

	if (n != (ssize_t)io->len_bytes) {
		rc = n < 0 ? -errno : -ENOSPC;
		snprintf(io->detail, sizeof(io->detail), "filling the memfd");
		return rc;
	}
	n = pread(memfd, io->file->map + io->off_bytes, io->len_bytes, at);
	return n < 0 ? -errno : n;
}

static long copyout_write(struct pf_channel *ch, struct pf_io *io)
{
	struct copyout *c = ch->priv;
	int nr = write_slot_take(&c->writes);
	long n;

	if (nr < 0)
		return nr;
	n = copyout_through(c->memfd, (off_t)nr * PF_IO_MAX_BYTES, io);
	write_slot_give(&c->writes, nr);
	return n;
}

static void copyout_close(struct pf_channel *ch)
{
	struct copyout *c = ch->priv;

	ch->priv = NULL;
	if (!c)
		return;
	if (c->memfd >= 0)
		close(c->memfd);
	free(c);
}

static int copyout_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops copyout_ops = {
	.name = "copyout",
	.summary = "buffered read(2) into the mapping",
	.class = PF_CLASS_PTE,
	.hold_kind = PF_HOLD_TRIVIAL,
	.brief = 1,
	.probe = copyout_probe,
	.open = copyout_open,
	.write = copyout_write,
	.close = copyout_close,
};
PF_CHANNEL(copyout_ops);

static int copyout_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&copyout_ops, variant, why, why_bytes);
}
