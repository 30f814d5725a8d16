// SPDX-License-Identifier: GPL-2.0
/*
 * collapse - remove a range from the middle of the file; what follows moves down.
 *
 * Kernel path: fallocate(FALLOC_FL_COLLAPSE_RANGE): the filesystem writes back and drops every page
 * from the range to the end of the file, then shifts the extents. On fs-dax the blocks keep their
 * pages and only change their place in the file.
 * Can show: a write through a pin that is lost with its dropped page, or (DAX) that appears at the
 * shifted offset: misplaced data that is valid in itself. Only cells that know their home see it.
 * Source: fallocate(2); one of the four operations of xfstests generic/503.
 */
#include <linux/falloc.h>

#include "state.h"

static int collapse_prepare(struct pf_fault_call *c)
{
	c->before[0] = state_size_bytes(c->file->fd);
	return 0;
}

static int collapse_run(struct pf_fault_call *c)
{
	return fallocate(c->file->fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)c->off_bytes,
			 (off_t)c->len_bytes) < 0 ? -errno : 0;
}

static enum pf_effect collapse_effect(struct pf_fault_call *c, char *evidence,
				      size_t evidence_bytes)
{
	uint64_t now_bytes = state_size_bytes(c->file->fd);

	state_say(evidence, evidence_bytes, "size %" PRIu64 " before, %" PRIu64 " after",
		  c->before[0], now_bytes);
	return now_bytes + c->len_bytes == c->before[0] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops collapse_ops = {
	.name = "collapse",
	.summary = "remove a range, the tail moves down (fallocate COLLAPSE_RANGE)",
	.prim = PF_PRIM_COLLAPSE,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = collapse_prepare,
	.run = collapse_run,
	.effect = collapse_effect,
};
PF_FAULT(collapse_ops);
