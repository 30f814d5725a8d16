// SPDX-License-Identifier: GPL-2.0
/*
 * fsync - write the file's data and metadata to the disk, and promise it.
 *
 * Kernel path: fsync(2) -> file_write_and_wait_range(): write-protect the page table entries
 * (folio_mkclean), clear the dirty bit, write; then the log. On DAX dax_writeback_mapping_range().
 * Can show: data that a pin wrote after the page was cleaned is in memory and not on the disk, and
 * a further fsync finds nothing dirty and returns 0: the promise was empty. On ext4 before
 * cc5095747edf a page dirtied behind its back was a BUG(); after, it is marked clean and lost.
 * Source: fsync(2); 8ac268436e6d, a6e79df92e4a (6.5) and the four steps in their cover letter.
 */
#include "state.h"

static int fsync_run(struct pf_fault_call *c)
{
	return fsync(c->file->fd) < 0 ? -errno : 0;
}

static const struct pf_fault_ops fsync_ops = {
	.name = "fsync",
	.summary = "write the file to the disk (fsync)",
	.prim = PF_PRIM_SYNC,
	.args = PF_ARGS_FILE,
	.prepare = state_sync_prepare,
	.run = fsync_run,
	.effect = state_sync_effect,
};
PF_FAULT(fsync_ops);
