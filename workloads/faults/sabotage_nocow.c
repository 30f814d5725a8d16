// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-nocow - make an empty file one that is overwritten in place, without checksums.
 *
 * On btrfs a block is never overwritten and its checksum is elsewhere, so that what is done behind
 * its back is either missed or found at once (see sabotage-rot). FS_NOCOW_FL turns both off; it is
 * only taken by a file of size 0, so the hole that the file is becomes one again afterwards. Other
 * filesystems overwrite in place anyway, and nothing is done: the same sequence runs on all.
 * Breaks nothing by itself. Source: btrfs(5), nodatacow; ioctl_iflags(2).
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "state.h"

static bool is_btrfs(int fd)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) == 0 && sfs.f_type == BTRFS_SUPER_MAGIC;
}

static int sabotage_nocow_prepare(struct pf_fault_call *c)
{
	c->size_bytes = state_size_bytes(c->file->fd);
	/* A file with data would lose it. */
	return pf_data_bytes(c->file->fd, 0, c->size_bytes) ? -EINVAL : 0;
}

static int sabotage_nocow_run(struct pf_fault_call *c)
{
	unsigned int flags = 0;
	int fd = c->file->fd;

	if (!is_btrfs(fd))
		return 0;
	if (ftruncate(fd, 0) < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	flags |= FS_NOCOW_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 || ftruncate(fd, (off_t)c->size_bytes) < 0)
		return -errno;
	return 0;
}

static enum pf_effect sabotage_nocow_effect(struct pf_fault_call *c, char *evidence,
					    size_t evidence_bytes)
{
	unsigned int flags = 0;

	if (!is_btrfs(c->file->fd)) {
		state_say(evidence, evidence_bytes, "nothing to do: overwrites in place as it is");
		return PF_EFFECT_SHOWN;
	}
	if (ioctl(c->file->fd, FS_IOC_GETFLAGS, &flags) < 0)
		return PF_EFFECT_UNKNOWN;
	state_say(evidence, evidence_bytes, "inode flags are %#x", flags);
	return flags & FS_NOCOW_FL ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_nocow_ops = {
	.name = "sabotage-nocow",
	.summary = "make a hole of a file one that is overwritten in place (btrfs)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_nocow_prepare,
	.run = sabotage_nocow_run,
	.effect = sabotage_nocow_effect,
};
PF_FAULT(sabotage_nocow_ops);
