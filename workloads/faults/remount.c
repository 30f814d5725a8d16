// SPDX-License-Identifier: GPL-2.0
/*
 * remount - make the filesystem read-only and writable again.
 *
 * Kernel path: mount(2) MS_REMOUNT | MS_RDONLY -> sb_prepare_remount_readonly(): EBUSY if anything
 * is open for writing, and that includes the file behind a shared writable mapping. That EBUSY is
 * what stands between a pinned mapping and a read-only filesystem, and it shows as `denied`; should
 * it ever succeed, the pin writes into a filesystem that is promised not to change.
 * The mount's options are kept as statvfs has them; filesystem options stay, since none are given.
 * Refuses (EPERM) the filesystem that / is on.
 * Source: mount(2).
 */
#include <sys/mount.h>

#include "state.h"

static unsigned long remount_flags(unsigned long st_flags)
{
	static const struct {
		unsigned long st, ms;
	} same[] = {
		{ST_NOSUID, MS_NOSUID},		{ST_NODEV, MS_NODEV},
		{ST_NOEXEC, MS_NOEXEC},		{ST_SYNCHRONOUS, MS_SYNCHRONOUS},
		{ST_NOATIME, MS_NOATIME},	{ST_NODIRATIME, MS_NODIRATIME},
		{ST_RELATIME, MS_RELATIME},
	};
	unsigned long flags = 0;

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (st_flags & same[i].st)
			flags |= same[i].ms;
	return flags;
}

static int remount_prepare(struct pf_fault_call *c)
{
	struct statvfs vfs;

	if (!c->file->mnt || fstatvfs(c->file->fd, &vfs) < 0)
		return -EINVAL;
	if (state_is_root_fs(c->file->fd))
		return -EPERM;
	c->before[0] = remount_flags(vfs.f_flag);
	return 0;
}

static int remount_run(struct pf_fault_call *c)
{
	unsigned long flags = MS_REMOUNT | c->before[0];
	struct statvfs vfs;

	if (mount(NULL, c->file->mnt, NULL, flags | MS_RDONLY, NULL) < 0)
		return -errno;
	if (fstatvfs(c->file->fd, &vfs) == 0)
		c->before[1] = vfs.f_flag & ST_RDONLY;
	return mount(NULL, c->file->mnt, NULL, flags, NULL) < 0 ? -errno : 0;
}

static enum pf_effect remount_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct statvfs vfs;

	if (fstatvfs(c->file->fd, &vfs) < 0)
		return PF_EFFECT_UNKNOWN;
	state_say(evidence, evidence_bytes, "it was %s in between, and is %s now",
		  c->before[1] ? "read-only" : "writable",
		  vfs.f_flag & ST_RDONLY ? "read-only" : "writable");
	return c->before[1] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops remount_ops = {
	.name = "remount",
	.summary = "remount read-only, then writable again",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_EXCLUSIVE,
	.prepare = remount_prepare,
	.run = remount_run,
	.effect = remount_effect,
};
PF_FAULT(remount_ops);
