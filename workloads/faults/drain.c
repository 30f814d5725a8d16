// SPDX-License-Identifier: GPL-2.0
/*
 * drain - give back the space that `fill` took.
 *
 * Kernel path: unlink(2) of its file, and a sync of the filesystem, after which what was freed can
 * be had again. Data that was promised space and did not get any has its last chance at writeback.
 */
#include "state.h"

static int drain_run(struct pf_fault_call *c)
{
	if (unlinkat(c->file->dirfd, ".fill", 0) < 0)
		return -errno;
	return syncfs(c->file->dirfd) < 0 ? -errno : 0;
}

static enum pf_effect drain_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct statvfs vfs;

	if (fstatvfs(c->file->fd, &vfs) < 0)
		return PF_EFFECT_UNKNOWN;
	state_say(evidence, evidence_bytes, "%" PRIu64 " KiB are free",
		  (uint64_t)vfs.f_bfree * vfs.f_frsize >> 10);
	return vfs.f_bfree ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops drain_ops = {
	.name = "drain",
	.summary = "give back what fill took",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_EXCLUSIVE,
	.run = drain_run,
	.effect = drain_effect,
};
PF_FAULT(drain_ops);
