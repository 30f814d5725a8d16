// SPDX-License-Identifier: GPL-2.0
/*
 * panic - crash the kernel at once (selftest, guest only).
 *
 * Kernel path: 'c' to /proc/sysrq-trigger -> sysrq_handle_crash() -> panic(). Works for root
 * whatever kernel.sysrq says.
 * Can show: that a dead guest costs the case that killed it, and no other. Never on the machine the
 * harness runs on: the executor refuses PF_FAULT_GUEST_ONLY there.
 * Source: Documentation/admin-guide/sysrq.rst.
 */
#include "state.h"

static int panic_run(struct pf_fault_call *c)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC), ret;

	(void)c;
	if (fd < 0)
		return -errno;
	ret = write(fd, "c", 1) < 0 ? -errno : -EIO; /* to come back at all is a failure */
	close(fd);
	return ret;
}

static const struct pf_fault_ops panic_ops = {
	.name = "panic",
	.summary = "panic the kernel (sysrq c)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_GUEST_ONLY | PF_FAULT_EXCLUSIVE | PF_FAULT_LAST,
	.run = panic_run,
};
PF_FAULT(panic_ops);
