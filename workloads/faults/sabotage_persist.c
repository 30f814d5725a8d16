// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-persist - what persist does, of a mapping that is not MAP_SYNC (selftest).
 *
 * The lines are flushed and durability is claimed, as a program would that has asked for MAP_SYNC
 * with MAP_SHARED, which drops the flag and says nothing (mmap(2)). The bytes are on the NVDIMM,
 * and after a power cut in a block that belongs to no file.
 * Kernel path: none.
 */
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "state.h"

static int sabotage_persist_prepare(struct pf_fault_call *c)
{
	if (!c->file->map || !state_is_dax(c->file->fd)) {
		c->why = "persistent memory is not mapped here";
		return -EOPNOTSUPP;
	}
	if (c->off_bytes > c->file->map_bytes || c->len_bytes > c->file->map_bytes - c->off_bytes)
		return -EINVAL;
	return 0;
}

static int sabotage_persist_run(struct pf_fault_call *c)
{
#ifdef __x86_64__
	for (uint64_t off = 0; off < c->len_bytes; off += 64)
		_mm_clflush(c->file->map + c->off_bytes + off);
	_mm_sfence();
#endif
	(void)c;
	return 0;
}

static enum pf_effect sabotage_persist_effect(struct pf_fault_call *c, char *evidence,
					      size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "%" PRIu64 " bytes flushed, and no more",
		  c->len_bytes);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_persist_ops = {
	.name = "sabotage-persist",
	.summary = "claim durability of a mapping that is not MAP_SYNC",
	.prim = PF_PRIM_SYNC,
	.args = PF_ARGS_FILE_RANGE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_UNSEEN,
	.prepare = sabotage_persist_prepare,
	.run = sabotage_persist_run,
	.effect = sabotage_persist_effect,
};
PF_FAULT(sabotage_persist_ops);
