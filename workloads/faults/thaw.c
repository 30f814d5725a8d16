// SPDX-License-Identifier: GPL-2.0
/*
 * thaw - let a frozen filesystem be written to again.
 *
 * Kernel path: FITHAW -> thaw_super(): wakes the stores that slept in ->page_mkwrite. EINVAL if the
 * filesystem is not frozen.
 * Can show: what happened to a write that came in while frozen; a store that never wakes.
 * Source: ioctl_fs(FITHAW), fsfreeze(8).
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "state.h"

static int thaw_run(struct pf_fault_call *c)
{
	return ioctl(c->file->fd, FITHAW, 0) < 0 ? -errno : 0;
}

static enum pf_effect thaw_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	if (ioctl(c->file->fd, FITHAW, 0) < 0) {
		state_say(evidence, evidence_bytes, "a second thaw: %s", strerror(errno));
		return errno == EINVAL ? PF_EFFECT_SHOWN : PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "it was frozen twice: a second thaw was possible");
	return PF_EFFECT_NONE;
}

static const struct pf_fault_ops thaw_ops = {
	.name = "thaw",
	.summary = "thaw the filesystem (FITHAW)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_EXCLUSIVE | PF_FAULT_CLOSES,
	.run = thaw_run,
	.effect = thaw_effect,
};
PF_FAULT(thaw_ops);
