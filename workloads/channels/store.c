// SPDX-License-Identifier: GPL-2.0
/*
 * store.c - a CPU store through the page table: the first of the control group.
 *
 * Path: the MMU; a store to a page that is not mapped writable faults into the filesystem
 * (page_mkwrite, dax_iomap_fault), which is how every filesystem learns of a write to a mapping.
 *
 * Can show: nothing that is GUP's doing. If this channel is not coherent, the filesystem, or the
 * harness, is at fault.
 *
 * Source: mmap(2); Documentation/filesystems/locking.rst, vm_operations_struct.
 */
#include <errno.h>
#include <stdio.h>

#include "../../harness/core/channel.h"
#include "../../harness/core/guard.h"
#include "channel_probe.h"

/* A page past the end of the file raises SIGBUS; what was stored before it stays stored. */
static long store_write(struct pf_channel *ch, struct pf_io *io)
{
	size_t n = pf_guarded_copy(io->file->map + io->off_bytes, io->data, io->len_bytes);

	(void)ch;
	if (n == io->len_bytes)
		return (long)n;
	if (n)
		snprintf(io->detail, sizeof(io->detail), "SIGBUS after %zu bytes", n);
	else
		snprintf(io->detail, sizeof(io->detail), "SIGBUS");
	return -EFAULT;
}

static int store_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops store_ops = {
	.name = "store",
	.summary = "CPU store through the page table",
	.class = PF_CLASS_PTE,
	.hold_kind = PF_HOLD_TRIVIAL,
	.probe = store_probe,
	.write = store_write,
};
PF_CHANNEL(store_ops);

static int store_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&store_ops, variant, why, why_bytes);
}
