// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-lost-flush - what is written from here on is gone after the power cut (selftest).
 *
 * Kernel path: none. The runner stops the guest, copies its NVDIMM and disk images, lets it go on,
 * and puts the copies back after the next power cut: a disk that acknowledges flushes and keeps
 * nothing of them. fsync returns 0 in between and lies, through no fault of the kernel. Every other
 * case under the same power cut loses its data too: run it alone.
 * Source: "forget an fsync by restoring an old image"; QEMU's cache=unsafe is such a disk when the
 * host dies.
 */
#include "state.h"

static int sabotage_lost_flush_run(struct pf_fault_call *c)
{
	return c->ask ? c->ask(c, PF_ASK_FORGET) : -EPERM;
}

static enum pf_effect sabotage_lost_flush_effect(struct pf_fault_call *c, char *evidence,
						 size_t evidence_bytes)
{
	(void)c;
	state_say(evidence, evidence_bytes, "the runner has copied the images");
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_lost_flush_ops = {
	.name = "sabotage-lost-flush",
	.summary = "forget at the next power cut what is written from here on",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_GUEST_ONLY,
	.run = sabotage_lost_flush_run,
	.effect = sabotage_lost_flush_effect,
};
PF_FAULT(sabotage_lost_flush_ops);
