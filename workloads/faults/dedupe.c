// SPDX-License-Identifier: GPL-2.0
/*
 * dedupe - share the blocks of two files whose content is equal.
 *
 * Cells name their file, so only a clone has equal content: sequences clone first (and unshare,
 * where the filesystem can). Content that differs is -EBADE (FILE_DEDUPE_RANGE_DIFFERS), a refusal
 * of this call; nothing is shared then.
 * Kernel path: FIDEDUPERANGE -> vfs_dedupe_file_range(): both files locked and written back, every
 * page compared under its lock, then the extents remapped and the destination's pages dropped.
 * Can show: a write through a pin that lands between the comparison and the remap (data that was
 * never compared is replaced), and everything clone can show.
 * Source: ioctl_fideduperange(2).
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "state.h"

static int dedupe_prepare(struct pf_fault_call *c)
{
	uint64_t size_bytes = state_size_bytes(c->file->fd);
	struct pf_extents x;

	if (size_bytes == UINT64_MAX || c->file2->fd < 0)
		return -EBADF;
	c->before[0] = size_bytes;
	if (pf_extents(c->file2->fd, 0, size_bytes, &x) == 0)
		c->before[1] = x.shared_bytes;
	return 0;
}

static int dedupe_run(struct pf_fault_call *c)
{
	union {
		struct file_dedupe_range range;
		char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
	} u;

	memset(&u, 0, sizeof(u));
	u.range.src_length = c->before[0];
	u.range.dest_count = 1;
	u.range.info[0].dest_fd = c->file2->fd;
	if (ioctl(c->file->fd, FIDEDUPERANGE, &u.range) < 0)
		return -errno;
	if (u.range.info[0].status == FILE_DEDUPE_RANGE_DIFFERS)
		return -EBADE;
	if (u.range.info[0].status < 0)
		return u.range.info[0].status;
	c->before[2] = u.range.info[0].bytes_deduped;
	return 0;
}

static enum pf_effect dedupe_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct pf_extents x;
	int ret = pf_extents(c->file2->fd, 0, c->before[0], &x);

	if (ret < 0) {
		state_say(evidence, evidence_bytes, "%" PRIu64 " bytes deduped; FIEMAP: %s",
			  c->before[2], strerror(-ret));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes,
		  "%" PRIu64 " bytes deduped; shared bytes %" PRIu64 " before, %" PRIu64 " after",
		  c->before[2], c->before[1], x.shared_bytes);
	return c->before[2] && x.shared_bytes ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops dedupe_ops = {
	.name = "dedupe",
	.summary = "share the blocks of two files of equal content (FIDEDUPERANGE)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE_FILE,
	.prepare = dedupe_prepare,
	.run = dedupe_run,
	.effect = dedupe_effect,
};
PF_FAULT(dedupe_ops);
