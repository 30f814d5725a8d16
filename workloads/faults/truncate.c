// SPDX-License-Identifier: GPL-2.0
/*
 * truncate - set the file's size, down or up.
 *
 * Kernel path: ftruncate(2) -> ->setattr -> truncate_pagecache(): unmap, then take the folios out
 * of the mapping whatever their reference count; then free the blocks. On fs-dax the filesystem
 * breaks layouts first (dax_layout_busy_page) and waits for short pins.
 * Can show: a write through a pin that lands in a page the file no longer has (success, and the
 * data is gone); on DAX a write into a freed block, now another file's; bytes past the new end of
 * file coming to light when the file grows again (a large folio that was not split because of its
 * pin: fa04f5b60fda, 74207de2ba10).
 * Source: ftruncate(2); the 2019 LSF/MM longterm-GUP topic.
 */
#include "state.h"

static int truncate_prepare(struct pf_fault_call *c)
{
	c->before[0] = state_size_bytes(c->file->fd);
	return 0;
}

static int truncate_run(struct pf_fault_call *c)
{
	return ftruncate(c->file->fd, (off_t)c->size_bytes) < 0 ? -errno : 0;
}

static enum pf_effect truncate_effect(struct pf_fault_call *c, char *evidence,
				      size_t evidence_bytes)
{
	uint64_t now_bytes = state_size_bytes(c->file->fd);

	state_say(evidence, evidence_bytes, "size %" PRIu64 " before, %" PRIu64 " after",
		  c->before[0], now_bytes);
	return now_bytes == c->size_bytes && now_bytes != c->before[0] ? PF_EFFECT_SHOWN :
									  PF_EFFECT_NONE;
}

static const struct pf_fault_ops truncate_ops = {
	.name = "truncate",
	.summary = "set the file's size (ftruncate), down or up",
	.prim = PF_PRIM_RESIZE,
	.args = PF_ARGS_FILE_SIZE,
	.prepare = truncate_prepare,
	.run = truncate_run,
	.effect = truncate_effect,
};
PF_FAULT(truncate_ops);
