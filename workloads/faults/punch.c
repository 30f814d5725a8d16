// SPDX-License-Identifier: GPL-2.0
/*
 * punch - make a hole in the file; the size stays.
 *
 * Kernel path: fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) -> truncate_pagecache_range()
 * and the filesystem's unmapping of the blocks; on fs-dax behind break_layouts, which waits for
 * short pins.
 * Can show: the same as truncate, inside the file. It is the conflict of xfstests generic/503 and
 * of ext4's "handle layout changes to pinned DAX mapping": DMA into a block that was freed, and
 * perhaps given to another file, under the pin. 6be3e21d25ca: the scan for busy DAX pages could
 * miss one.
 * Source: fallocate(2).
 */
#include <linux/falloc.h>

#include "state.h"

static int punch_prepare(struct pf_fault_call *c)
{
	uint64_t off_bytes = 0, len_bytes = state_whole_blocks(c, &off_bytes);
	long data_bytes = len_bytes ? state_data_bytes(c->file->fd, off_bytes, len_bytes) : 0;

	c->before[0] = data_bytes < 0 ? 0 : (uint64_t)data_bytes;
	return 0;
}

static int punch_run(struct pf_fault_call *c)
{
	return fallocate(c->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)c->off_bytes, (off_t)c->len_bytes) < 0 ? -errno : 0;
}

/* Less than a block cannot be seen in the extents: such a piece is zeroed in its page. */
static enum pf_effect punch_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	uint64_t off_bytes = 0, len_bytes = state_whole_blocks(c, &off_bytes);
	long data_bytes;
	int zero;

	if (!len_bytes) {
		zero = state_reads_zero(c->file->fd, c->off_bytes, c->len_bytes);
		state_say(evidence, evidence_bytes, "no whole block in the range; it %s",
			  zero == 1 ? "reads as zero" : zero ? "is not in memory" : "is not zero");
		return zero == 1 ? PF_EFFECT_SHOWN : zero ? PF_EFFECT_UNKNOWN : PF_EFFECT_NONE;
	}
	data_bytes = state_data_bytes(c->file->fd, off_bytes, len_bytes);
	state_say(evidence, evidence_bytes,
		  "%" PRIu64 " bytes of data in the range before, %ld after", c->before[0],
		  data_bytes);
	return data_bytes == 0 && c->before[0] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops punch_ops = {
	.name = "punch",
	.summary = "make a hole (fallocate PUNCH_HOLE)",
	.prim = PF_PRIM_ZERO,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = punch_prepare,
	.run = punch_run,
	.effect = punch_effect,
};
PF_FAULT(punch_ops);
