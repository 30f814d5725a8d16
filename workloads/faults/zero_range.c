// SPDX-License-Identifier: GPL-2.0
/*
 * zero-range - make a range read as zero without giving its space back; the size stays.
 *
 * Kernel path: fallocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE): XFS and ext4 take the folios
 * out of the page cache and turn the extents unwritten, btrfs replaces them by preallocated ones.
 * Can show: a write through a pin that is lost with its page; and one that reaches the blocks (DAX)
 * but stays invisible, because the extent is still marked unwritten and nobody was told.
 * Source: fallocate(2).
 */
#include <linux/falloc.h>

#include "state.h"

static int zero_range_prepare(struct pf_fault_call *c)
{
	uint64_t off_bytes = 0, len_bytes = state_whole_blocks(c, &off_bytes);
	struct pf_extents x;

	if (!len_bytes || pf_extents(c->file->fd, off_bytes, len_bytes, &x) < 0)
		return 0;
	c->before[0] = x.mapped_bytes - x.unwritten_bytes;
	c->before[1] = x.mapped_bytes;
	return 0;
}

static int zero_range_run(struct pf_fault_call *c)
{
	return fallocate(c->file->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
			 (off_t)c->off_bytes, (off_t)c->len_bytes) < 0 ? -errno : 0;
}

/*
 * The usual sign is that written extents became unwritten, or a hole allocated. A kernel may also
 * write real zeros; then the content, where it is in memory, has to do.
 */
static enum pf_effect zero_range_effect(struct pf_fault_call *c, char *evidence,
					size_t evidence_bytes)
{
	uint64_t off_bytes = 0, len_bytes = state_whole_blocks(c, &off_bytes);
	struct pf_extents x = {0};
	uint64_t data_bytes;
	int zero;

	if (len_bytes && pf_extents(c->file->fd, off_bytes, len_bytes, &x) == 0) {
		data_bytes = x.mapped_bytes - x.unwritten_bytes;
		state_say(evidence, evidence_bytes,
			  "written bytes %" PRIu64 " before, %" PRIu64 " after; allocated %" PRIu64
			  " before, %" PRIu64 " after",
			  c->before[0], data_bytes, c->before[1], x.mapped_bytes);
		if (!data_bytes && (c->before[0] || x.mapped_bytes != c->before[1]))
			return PF_EFFECT_SHOWN;
		if (!data_bytes)
			return PF_EFFECT_NONE;
	}
	zero = state_reads_zero(c->file->fd, c->off_bytes, c->len_bytes);
	state_say(evidence, evidence_bytes, "extents do not tell; the range %s",
		  zero == 1 ? "reads as zero" : zero ? "is not in memory" : "is not zero");
	return zero == 1 ? PF_EFFECT_SHOWN : zero ? PF_EFFECT_UNKNOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops zero_range_ops = {
	.name = "zero-range",
	.summary = "zero a range, space kept (fallocate ZERO_RANGE)",
	.prim = PF_PRIM_ZERO,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = zero_range_prepare,
	.run = zero_range_run,
	.effect = zero_range_effect,
};
PF_FAULT(zero_range_ops);
