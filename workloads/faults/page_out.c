// SPDX-License-Identifier: GPL-2.0
/*
 * page-out - let reclaim have the mapping's pages.
 *
 * Kernel path: madvise(MADV_PAGEOUT) -> reclaim_pages() -> shrink_folio_list(): what memory
 * pressure does, at a known moment: unmap through the rmap, then free what is clean and has no
 * further reference. folio_maybe_dma_pinned() makes it keep away from pins where it is asked.
 * Can show: reclaim of a page that a device still writes to; a clean page with a pin's data in it
 * freed as if the disk had the same. It needs a mapping whose pages are mapped; without one
 * nothing happens (effect unknown).
 * Source: madvise(2); Linux 5.4.
 */
#include <sys/sysinfo.h>

#include "state.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static int page_out_prepare(struct pf_fault_call *c)
{
	struct sysinfo info;

	/* Nothing to reclaim to: DAX pages are the storage, those of tmpfs need swap. */
	if (state_is_dax(c->file->fd))
		return -EOPNOTSUPP;
	if (state_is_tmpfs(c->file->fd) && (sysinfo(&info) < 0 || !info.totalswap))
		return -EOPNOTSUPP;
	return state_evict_prepare(c);
}

static int page_out_run(struct pf_fault_call *c)
{
	if (!c->file->map)
		return 0;
	return madvise(c->file->map, c->file->map_bytes, MADV_PAGEOUT) < 0 ? -errno : 0;
}

static enum pf_effect page_out_effect(struct pf_fault_call *c, char *evidence,
				      size_t evidence_bytes)
{
	if (c->file->map)
		return state_evict_effect(c, evidence, evidence_bytes);
	state_say(evidence, evidence_bytes, "%s is not mapped", c->file->name);
	return PF_EFFECT_UNKNOWN;
}

static const struct pf_fault_ops page_out_ops = {
	.name = "page-out",
	.summary = "reclaim the mapping's pages (MADV_PAGEOUT)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_BEST_EFFORT,
	.prepare = page_out_prepare,
	.run = page_out_run,
	.effect = page_out_effect,
};
PF_FAULT(page_out_ops);
