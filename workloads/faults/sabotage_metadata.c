// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-metadata - say which inode is to be damaged once the filesystem is unmounted (selftest).
 *
 * What is damaged under a mounted filesystem is repaired by it without a word when it writes the
 * inode back. So this only names the inode; the runner, which made the device, breaks it between
 * unmount and fsck (harness/runner/damage.py: a wrong link count on XFS and ext4, a flipped byte in
 * both copies of the root tree on btrfs).
 * Can show: that a checker's complaint comes out as `metadata`, and at the case at fault.
 * EOPNOTSUPP where there is no checker (tmpfs).
 */
#include "state.h"

static int sabotage_metadata_prepare(struct pf_fault_call *c)
{
	struct stat st;

	if (state_is_tmpfs(c->file->fd)) {
		c->why = "tmpfs has no metadata on a device, and no checker";
		return -EOPNOTSUPP;
	}
	if (fstat(c->file->fd, &st) < 0)
		return -errno;
	c->before[0] = st.st_ino;
	return 0;
}

static int sabotage_metadata_run(struct pf_fault_call *c)
{
	(void)c;
	return 0;
}

/* The runner reads this line: "inode N". */
static enum pf_effect sabotage_metadata_effect(struct pf_fault_call *c, char *evidence,
					       size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "inode %" PRIu64, c->before[0]);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_metadata_ops = {
	.name = "sabotage-metadata",
	.summary = "have the file's inode damaged on the device after the unmount",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_EXCLUSIVE,
	.prepare = sabotage_metadata_prepare,
	.run = sabotage_metadata_run,
	.effect = sabotage_metadata_effect,
};
PF_FAULT(sabotage_metadata_ops);
