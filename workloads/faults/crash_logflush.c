// SPDX-License-Identifier: GPL-2.0
/*
 * crash-logflush - stop the filesystem after forcing its log: metadata without data.
 *
 * Kernel path: FS_IOC_SHUTDOWN with LOGFLUSH: the log is forced, so that every metadata change is
 * recovered by the next mount, while dirty pages are dropped.
 * Can show: sizes and extents that point at data which was never written: stale blocks, another
 * file's old content, or zeros, where a pin's write had been acknowledged. Harsher on ordering than
 * crash, which loses both together.
 * Refuses (EPERM) the filesystem that / is on. ENOTTY where there is no such call (tmpfs, ext2,
 * btrfs of most kernels).
 * Source: xfs_io(8) shutdown; FS_IOC_SHUTDOWN of XFS, ext4 and f2fs, which share its number.
 */
#include <sys/ioctl.h>

#include "state.h"

#ifndef FS_IOC_SHUTDOWN
#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#endif
#define SHUTDOWN_HOW 1 /* LOGFLUSH */

static int crash_logflush_prepare(struct pf_fault_call *c)
{
	return state_is_root_fs(c->file->fd) ? -EPERM : 0;
}

static int crash_logflush_run(struct pf_fault_call *c)
{
	uint32_t how = SHUTDOWN_HOW;

	return ioctl(c->file->fd, FS_IOC_SHUTDOWN, &how) < 0 ? -errno : 0;
}

/* A dead filesystem makes no files; asking for one touches no page of those under test. */
static enum pf_effect crash_logflush_effect(struct pf_fault_call *c, char *evidence,
					    size_t evidence_bytes)
{
	int fd = openat(c->file->dirfd, ".dead", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0) {
		state_say(evidence, evidence_bytes, "creating a file: %s", strerror(errno));
		return errno == EIO || errno == EROFS ? PF_EFFECT_SHOWN : PF_EFFECT_UNKNOWN;
	}
	close(fd);
	unlinkat(c->file->dirfd, ".dead", 0);
	state_say(evidence, evidence_bytes, "a file could still be created");
	return PF_EFFECT_NONE;
}

static const struct pf_fault_ops crash_logflush_ops = {
	.name = "crash-logflush",
	.summary = "shut the filesystem down, log flushed first (FS_IOC_SHUTDOWN)",
	.prim = PF_PRIM_CRASH,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_EXCLUSIVE | PF_FAULT_LAST,
	.prepare = crash_logflush_prepare,
	.run = crash_logflush_run,
	.effect = crash_logflush_effect,
};
PF_FAULT(crash_logflush_ops);
