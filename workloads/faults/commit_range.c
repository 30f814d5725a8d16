// SPDX-License-Identifier: GPL-2.0
/*
 * commit-range - put the copy that `start-commit` has made in the place of the file, unless the
 * file has changed since.
 *
 * Kernel path: both files locked, on DAX what is pinned waited for; both flushed; ctime and mtime
 * compared with what was noted (EBUSY); the pages taken out of the cache, the extents exchanged.
 * Can show: a write that did not change the times (a store to a page that was writable already, one
 * through a pin) is taken away with the old blocks.
 * Source: ioctl_xfs_commit_range(2), from 6.12; fs/xfs/xfs_exchrange.c.
 */
#include "commit.h"

static int commit_range_prepare(struct pf_fault_call *c)
{
	static const uint64_t none[sizeof(c->file->commit) / sizeof(c->file->commit[0])];

	if (!memcmp(c->file->commit, none, sizeof(none))) {
		c->why = "no start-commit before it";
		return -EOPNOTSUPP;
	}
	state_note_place(c);
	return 0;
}

static int commit_range_run(struct pf_fault_call *c)
{
	struct xfs_commit_range range = {0};

	memcpy(range.file2_freshness, c->file->commit, sizeof(range.file2_freshness));
	return commit_range(c->file->fd, c->file2->fd, &range, 0);
}

static const struct pf_fault_ops commit_range_ops = {
	.name = "commit-range",
	.summary = "put the copy in the place of the file, unless that changed (COMMIT_RANGE)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE_FILE,
	.flags = PF_FAULT_NO_RACE,
	.prepare = commit_range_prepare,
	.run = commit_range_run,
	.effect = state_moved_effect,
};
PF_FAULT(commit_range_ops);
