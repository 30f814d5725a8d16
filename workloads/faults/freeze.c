// SPDX-License-Identifier: GPL-2.0
/*
 * freeze - bring the filesystem to a clean state and let nobody write to it until thaw.
 *
 * Kernel path: FIFREEZE -> freeze_super(): stop writers, write everything back (which cleans and
 * write-protects every page), stop page faults for writing, then the log. A CPU store now sleeps
 * in ->page_mkwrite (sb_start_pagefault); a pin taken before knows nothing of it.
 * Can show: a filesystem that a snapshot tool believes to be still changes; a page dirtied in a
 * frozen filesystem and written back, or marked clean and lost.
 * Refuses (EPERM) the filesystem that / is on. Whoever runs a case that may be killed between
 * freeze and thaw has to thaw.
 * Source: ioctl_fs(FIFREEZE), fsfreeze(8); Documentation of sb_start_pagefault().
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "state.h"

static int freeze_prepare(struct pf_fault_call *c)
{
	return state_is_root_fs(c->file->fd) ? -EPERM : 0;
}

static int freeze_run(struct pf_fault_call *c)
{
	return ioctl(c->file->fd, FIFREEZE, 0) < 0 ? -errno : 0;
}

/* A second freeze is refused with EBUSY: the cheapest question there is, and it touches no page. */
static enum pf_effect freeze_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	if (ioctl(c->file->fd, FIFREEZE, 0) < 0) {
		state_say(evidence, evidence_bytes, "a second freeze: %s", strerror(errno));
		return errno == EBUSY ? PF_EFFECT_SHOWN : PF_EFFECT_UNKNOWN;
	}
	/* It was not frozen, and now is, by the question: undo that. */
	ioctl(c->file->fd, FITHAW, 0);
	state_say(evidence, evidence_bytes, "a second freeze was possible");
	return PF_EFFECT_NONE;
}

static const struct pf_fault_ops freeze_ops = {
	.name = "freeze",
	.summary = "freeze the filesystem (FIFREEZE)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_EXCLUSIVE | PF_FAULT_OPENS,
	.prepare = freeze_prepare,
	.run = freeze_run,
	.effect = freeze_effect,
};
PF_FAULT(freeze_ops);
