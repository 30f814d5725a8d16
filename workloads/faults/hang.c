// SPDX-License-Identifier: GPL-2.0
/*
 * hang - a system call that never comes back and cannot be killed (selftest, guest only).
 *
 * Kernel path: FIFREEZE, then write(2) to the frozen filesystem: sb_start_write() waits in
 * uninterruptible sleep until somebody thaws. SIGKILL does not end it, so the case's process cannot
 * be reaped before the agent thaws, once the deadline is past: the same picture as a lost
 * completion or a leaked umem_mutex.
 * Can show: that a deadline ends such a case, names the place, and that the rest of the run goes
 * on. EOPNOTSUPP where there is no freezing (tmpfs). Refuses (EPERM) the filesystem that / is on.
 * Source: fsfreeze(8); 3c68cf68233e (rxe ODP, missing unlock) for the real thing.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "state.h"

static int hang_prepare(struct pf_fault_call *c)
{
	return state_is_root_fs(c->file->fd) ? -EPERM : 0;
}

static int hang_run(struct pf_fault_call *c)
{
	if (ioctl(c->file->fd, FIFREEZE, 0) < 0)
		return -errno;
	if (pwrite(c->file->fd, "", 1, 0) < 0)
		return -errno;
	return -EIO; /* it came back: this was no hang */
}

static const struct pf_fault_ops hang_ops = {
	.name = "hang",
	.summary = "hang for good in uninterruptible sleep (write to a frozen filesystem)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_GUEST_ONLY | PF_FAULT_EXCLUSIVE | PF_FAULT_LAST,
	.prepare = hang_prepare,
	.run = hang_run,
};
PF_FAULT(hang_ops);
