// SPDX-License-Identifier: GPL-2.0
/*
 * rename - give the file the second file's name; what had that name loses it.
 *
 * Kernel path: renameat(2): the way every careful program replaces a file. ext4 flushes the new
 * file's delayed allocations (auto_da_alloc) when it replaces another; the replaced inode becomes
 * an orphan as by unlink.
 * Can show: a pinned writer of the old file goes on writing, and nothing of it may appear in the
 * new one; a flush by rename cleans the page like fsync does, with the same consequences.
 * Source: rename(2); ext4(5), auto_da_alloc.
 */
#include "state.h"

/* Neither is by now another file's: that one would be moved, or lose its name. */
static int rename_run(struct pf_fault_call *c)
{
	if (!state_has_name(c->file) || !state_has_name(c->file2))
		return -ENOENT;
	return renameat(c->file->dirfd, state_leaf(c->file->path), c->file2->dirfd,
			state_leaf(c->file2->path)) < 0 ? -errno : 0;
}

static enum pf_effect rename_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct stat st, named;

	if (fstat(c->file->fd, &st) < 0 ||
	    fstatat(c->file2->dirfd, state_leaf(c->file2->path), &named, 0) < 0) {
		state_say(evidence, evidence_bytes, "stat: %s", strerror(errno));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "the name %s leads to %s inode",
		  state_leaf(c->file2->path),
		  st.st_ino == named.st_ino ? "the file's" : "another");
	return st.st_ino == named.st_ino ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops rename_ops = {
	.name = "rename",
	.summary = "rename the file over the second (rename)",
	.prim = PF_PRIM_RENAME,
	.args = PF_ARGS_FILE_FILE,
	.run = rename_run,
	.effect = rename_effect,
};
PF_FAULT(rename_ops);
