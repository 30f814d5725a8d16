// SPDX-License-Identifier: GPL-2.0
/*
 * power-cut - the machine dies, and the next one finds its disks.
 *
 * Kernel path: none. The runner kills the emulator with SIGKILL, boots a new guest of the same
 * kernel on the same NVDIMM and disk images, and mounts: the log is recovered from what had reached
 * them. No shutdown ioctl, no unmount, no last writeback: filesystem, block layer and pins end in
 * the middle of whatever they did. The operation never returns, and the steps after it in the
 * sequence are repeated until the power is gone, so that one of them is in flight then.
 * Can show: what fsync, fdatasync, msync, syncfs or O_DSYNC promised and did not keep, also where
 * there is no FS_IOC_SHUTDOWN (btrfs before 6.19), and what a recovery makes of a write in flight.
 * On an emulated NVDIMM every store that was executed is kept (there is no CPU cache to lose), and
 * on the disk every write that was completed, flushed or not.
 * Guests only. EOPNOTSUPP on tmpfs, which no power cut leaves anything of.
 * Source: CrashMonkey (OSDI '18) and dm-log-writes replay what was written; this cuts for real.
 */
#include "state.h"

static int power_cut_prepare(struct pf_fault_call *c)
{
	return state_is_tmpfs(c->file->fd) ? -EOPNOTSUPP : 0;
}

static int power_cut_run(struct pf_fault_call *c)
{
	return c->ask ? c->ask(c, PF_ASK_POWER) : -EPERM;
}

static const struct pf_fault_ops power_cut_ops = {
	.name = "power-cut",
	.summary = "kill the guest; the next one recovers its disks",
	.prim = PF_PRIM_CRASH,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_GUEST_ONLY | PF_FAULT_LAST | PF_FAULT_POWER,
	.prepare = power_cut_prepare,
	.run = power_cut_run,
};
PF_FAULT(power_cut_ops);
