// SPDX-License-Identifier: GPL-2.0
/*
 * insert - put a hole into the middle of the file; what follows moves up.
 *
 * Kernel path: fallocate(FALLOC_FL_INSERT_RANGE): write back and drop every page from the offset to
 * the end of the file, then shift the extents up.
 * Can show: the same as collapse, in the other direction: data at the old offset that belongs to
 * the new one, or lost with its dropped page.
 * Source: fallocate(2).
 */
#include <linux/falloc.h>

#include "state.h"

static int insert_prepare(struct pf_fault_call *c)
{
	c->before[0] = state_size_bytes(c->file->fd);
	return 0;
}

static int insert_run(struct pf_fault_call *c)
{
	return fallocate(c->file->fd, FALLOC_FL_INSERT_RANGE, (off_t)c->off_bytes,
			 (off_t)c->len_bytes) < 0 ? -errno : 0;
}

static enum pf_effect insert_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	uint64_t now_bytes = state_size_bytes(c->file->fd);

	state_say(evidence, evidence_bytes, "size %" PRIu64 " before, %" PRIu64 " after",
		  c->before[0], now_bytes);
	return now_bytes == c->before[0] + c->len_bytes ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops insert_ops = {
	.name = "insert",
	.summary = "insert a hole, the tail moves up (fallocate INSERT_RANGE)",
	.prim = PF_PRIM_INSERT,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = insert_prepare,
	.run = insert_run,
	.effect = insert_effect,
};
PF_FAULT(insert_ops);
