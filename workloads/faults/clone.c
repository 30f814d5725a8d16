// SPDX-License-Identifier: GPL-2.0
/*
 * clone - make the second file a snapshot of the first, sharing its blocks.
 *
 * The second file ends up exactly as the first is, so a longer one is emptied first: FICLONE itself
 * would leave its tail. So is any where the first may be about to get shorter. The caller has
 * created it (O_RDWR|O_CREAT).
 * Kernel path: FICLONE -> ->remap_file_range: both files locked, the source written back, its page
 * table entries write-protected by that; then the extents are shared, and from here on a write to
 * either must allocate (->page_mkwrite or iomap_begin sees IOMAP_F_SHARED).
 * Can show: a write through a pin taken before skips the copy on write. On the page cache it is
 * lost at eviction or reaches the disk by somebody else's doing; on DAX it goes into the shared
 * block: the snapshot changes after the fact. A clone waits for short DAX pins.
 * Source: ioctl_ficlonerange(2); DAX and reflink together from 6.0, right from 6.2.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "state.h"

static int clone_prepare(struct pf_fault_call *c)
{
	uint64_t size_bytes = state_size_bytes(c->file2->fd);

	if (size_bytes == UINT64_MAX)
		return -EBADF;
	c->before[0] = c->resizing || size_bytes > state_size_bytes(c->file->fd);
	return 0;
}

static int clone_run(struct pf_fault_call *c)
{
	if (c->before[0] && ftruncate(c->file2->fd, 0) < 0)
		return -errno;
	return ioctl(c->file2->fd, FICLONE, c->file->fd) < 0 ? -errno : 0;
}

static enum pf_effect clone_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	uint64_t size_bytes = state_size_bytes(c->file2->fd);
	struct pf_extents x;
	int ret = pf_extents(c->file2->fd, 0, size_bytes, &x);

	if (ret < 0) {
		state_say(evidence, evidence_bytes, "FIEMAP: %s", strerror(-ret));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "%s is %" PRIu64 " bytes, %" PRIu64 " of them shared",
		  c->file2->name, size_bytes, x.shared_bytes);
	return size_bytes == state_size_bytes(c->file->fd) && x.shared_bytes ? PF_EFFECT_SHOWN :
									       PF_EFFECT_NONE;
}

static const struct pf_fault_ops clone_ops = {
	.name = "clone",
	.summary = "make the second file a reflink copy of the first (FICLONE)",
	.prim = PF_PRIM_COPY,
	.args = PF_ARGS_FILE_FILE,
	.prepare = clone_prepare,
	.run = clone_run,
	.effect = clone_effect,
};
PF_FAULT(clone_ops);
