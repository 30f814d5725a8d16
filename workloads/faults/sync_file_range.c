// SPDX-License-Identifier: GPL-2.0
/*
 * sync-file-range - write back a range of pages and wait; promises nothing about a crash.
 *
 * Kernel path: sync_file_range(WAIT_BEFORE | WRITE | WAIT_AFTER): page writeback only, no log, no
 * device cache flush. It is the purest way to clean pages (and write-protect their page table
 * entries) at a known moment.
 * Can show: what writeback does to a pinned page, apart from what a log force would hide.
 * Source: sync_file_range(2), which says in so many words that it is no integrity operation.
 */
#include "state.h"

/* A DAX file has no page cache to write back: the call returns 0 and does nothing. */
static int sync_file_range_prepare(struct pf_fault_call *c)
{
	return state_is_dax(c->file->fd) ? -EOPNOTSUPP : state_sync_prepare(c);
}

static int sync_file_range_run(struct pf_fault_call *c)
{
	return sync_file_range(c->file->fd, (off_t)c->off_bytes, (off_t)c->len_bytes,
			       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				       SYNC_FILE_RANGE_WAIT_AFTER) < 0 ? -errno : 0;
}

/* Unlike fsync it promises nothing, so only pages that really became clean count. */
static enum pf_effect sync_file_range_effect(struct pf_fault_call *c, char *evidence,
					     size_t evidence_bytes)
{
	long after = state_dirty_pages(c->file);

	state_sync_effect(c, evidence, evidence_bytes);
	if (after < 0 || c->before[0] == UINT64_MAX)
		return PF_EFFECT_UNKNOWN;
	return (uint64_t)after < c->before[0] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sync_file_range_ops = {
	.name = "sync-file-range",
	.summary = "write back a range of pages and wait (sync_file_range)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = sync_file_range_prepare,
	.run = sync_file_range_run,
	.effect = sync_file_range_effect,
};
PF_FAULT(sync_file_range_ops);
