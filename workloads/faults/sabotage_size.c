// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-size - make the file one page longer and say nothing (selftest).
 *
 * Kernel path: ftruncate(2). No byte that was there before changes, and the new page is zero: only
 * the size is wrong. It is how a size update looks that is done twice, or by a write that failed.
 */
#include "state.h"

static int sabotage_size_run(struct pf_fault_call *c)
{
	c->before[0] = state_size_bytes(c->file->fd);
	if (c->before[0] == UINT64_MAX)
		return -EBADF;
	return ftruncate(c->file->fd, (off_t)(c->before[0] + STATE_PAGE_BYTES)) < 0 ? -errno : 0;
}

static enum pf_effect sabotage_size_effect(struct pf_fault_call *c, char *evidence,
					   size_t evidence_bytes)
{
	uint64_t size_bytes = state_size_bytes(c->file->fd);

	state_say(evidence, evidence_bytes, "%" PRIu64 " bytes before, %" PRIu64 " after",
		  c->before[0], size_bytes);
	return size_bytes == c->before[0] + STATE_PAGE_BYTES ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_size_ops = {
	.name = "sabotage-size",
	.summary = "make the file a page longer and say nothing",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.run = sabotage_size_run,
	.effect = sabotage_size_effect,
};
PF_FAULT(sabotage_size_ops);
