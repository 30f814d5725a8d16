// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-nosync - say that the file is synced, and do nothing (selftest).
 *
 * What a kernel does that has forgotten which pages are dirty: its fsync(2) returns 0, and flushes
 * nothing (results/reference/findings/dax-fsync-forgets). No view shows it.
 * Kernel path: none.
 */
#include "state.h"

static int sabotage_nosync_run(struct pf_fault_call *c)
{
	(void)c;
	return 0;
}

static enum pf_effect sabotage_nosync_effect(struct pf_fault_call *c, char *evidence,
					     size_t evidence_bytes)
{
	(void)c;
	state_say(evidence, evidence_bytes, "nothing was synced");
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_nosync_ops = {
	.name = "sabotage-nosync",
	.summary = "say that the file is synced, and do nothing",
	.prim = PF_PRIM_SYNC,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.run = sabotage_nosync_run,
	.effect = sabotage_nosync_effect,
};
PF_FAULT(sabotage_nosync_ops);
