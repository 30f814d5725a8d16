// SPDX-License-Identifier: GPL-2.0
/*
 * fdatasync - write the file's data to the disk, and of its metadata what finding it needs.
 *
 * Kernel path: as fsync, with datasync set: the log is forced only if the inode changed in a way
 * that matters for reading the data (size, extents), not for a timestamp.
 * Can show: as fsync; and an allocation that fdatasync did not know it had to commit, because the
 * write that needed it went past ->page_mkwrite.
 * Source: fdatasync(2).
 */
#include "state.h"

static int fdatasync_run(struct pf_fault_call *c)
{
	return fdatasync(c->file->fd) < 0 ? -errno : 0;
}

static const struct pf_fault_ops fdatasync_ops = {
	.name = "fdatasync",
	.summary = "write the file's data to the disk (fdatasync)",
	.prim = PF_PRIM_SYNC,
	.args = PF_ARGS_FILE,
	.prepare = state_sync_prepare,
	.run = fdatasync_run,
	.effect = state_sync_effect,
};
PF_FAULT(fdatasync_ops);
