// SPDX-License-Identifier: GPL-2.0
/*
 * syncfs - write the whole filesystem to the disk.
 *
 * Kernel path: syncfs(2) -> sync_filesystem(): writeback of all dirty inodes, then the log. It
 * finds its inodes on the superblock's dirty lists, where fsync is told which one.
 * Can show: an inode whose page was dirtied by a pin without the filesystem being told may be on
 * no list, and is passed over: success, and the data is not on the disk.
 * Source: syncfs(2).
 */
#include "state.h"

static int syncfs_run(struct pf_fault_call *c)
{
	return syncfs(c->file->fd) < 0 ? -errno : 0;
}

static const struct pf_fault_ops syncfs_ops = {
	.name = "syncfs",
	.summary = "write the whole filesystem to the disk (syncfs)",
	.prim = PF_PRIM_SYNCFS,
	.args = PF_ARGS_FILE,
	.prepare = state_sync_prepare,
	.run = syncfs_run,
	.effect = state_sync_effect,
};
PF_FAULT(syncfs_ops);
