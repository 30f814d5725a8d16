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
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"

/* ch->priv is the memfd, plus one so that NULL means none. */
static int copyout_fd(const struct pf_channel *ch)
{
	return (int)(intptr_t)ch->priv - 1;
}

static int copyout_open(struct pf_channel *ch)
{
	int fd = memfd_create("pinfault-copyout", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	ch->priv = (void *)(intptr_t)(fd + 1);
	return 0;
}

static long copyout_write(struct pf_channel *ch, struct pf_io *io)
{
	ssize_t n = pwrite(copyout_fd(ch), io->data, io->len_bytes, 0);
	int rc;

	if (n != (ssize_t)io->len_bytes) {
		rc = n < 0 ? -errno : -ENOSPC;
		snprintf(io->detail, sizeof(io->detail), "filling the memfd");
		return rc;
	}
	n = pread(copyout_fd(ch), io->file->map + io->off_bytes, io->len_bytes, 0);
	return n < 0 ? -errno : n;
}

static void copyout_close(struct pf_channel *ch)
{
	if (ch->priv)
		close(copyout_fd(ch));
	ch->priv = NULL;
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
