// SPDX-License-Identifier: GPL-2.0
/*
 * unshare - give the file blocks of its own where it shares them with a clone.
 *
 * Kernel path: fallocate(FALLOC_FL_UNSHARE_RANGE) -> xfs_reflink_unshare() -> iomap_file_unshare()
 * (dax_file_unshare() on DAX): dirty every shared folio in place and write it to new blocks. XFS
 * only; other filesystems say EOPNOTSUPP.
 * Can show: on the page cache, a write through a pin that falls between the copy and the cleaning
 * of its page; on DAX, one that goes on to the old block, which is now the clone's alone: the
 * snapshot changes, and the file does not.
 * Source: fallocate(2); "fsdax: invalidate pages when CoW", "zero the edges if source is HOLE or
 * UNWRITTEN" (6.2) for what this path got wrong.
 */
#include <linux/falloc.h>

#include "state.h"

static int unshare_prepare(struct pf_fault_call *c)
{
	struct pf_extents x;

	if (pf_extents(c->file->fd, c->off_bytes, c->len_bytes, &x) == 0) {
		c->before[0] = x.shared_bytes;
		c->before[1] = x.first_physical;
	}
	return 0;
}

static int unshare_run(struct pf_fault_call *c)
{
	/* Without KEEP_SIZE it would extend a file that ends before the range does. */
	return fallocate(c->file->fd, FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE,
			 (off_t)c->off_bytes, (off_t)c->len_bytes) < 0 ? -errno : 0;
}

static enum pf_effect unshare_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct pf_extents x;
	int ret = pf_extents(c->file->fd, c->off_bytes, c->len_bytes, &x);

	if (ret < 0) {
		state_say(evidence, evidence_bytes, "FIEMAP: %s", strerror(-ret));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes,
		  "shared bytes %" PRIu64 " before, %" PRIu64 " after; block %s",
		  c->before[0], x.shared_bytes,
		  x.first_physical == c->before[1] ? "stayed" : "moved");
	return c->before[0] && !x.shared_bytes ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops unshare_ops = {
	.name = "unshare",
	.summary = "copy shared blocks to own ones (fallocate UNSHARE_RANGE)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = unshare_prepare,
	.run = unshare_run,
	.effect = unshare_effect,
};
PF_FAULT(unshare_ops);
