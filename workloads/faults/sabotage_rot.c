// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-rot - flip a bit of a file's first block on the device, and drop the cache (selftest).
 *
 * Kernel path: FIEMAP (and the chunk tree of btrfs), pread(2) and pwrite(2) with O_DIRECT on the
 * device, then MADV_DONTNEED and POSIX_FADV_DONTNEED, so that the next read asks the device.
 * Can show: on a filesystem with data checksums the read fails with EIO and the log says why; on
 * one without, a cell that nobody wrote is read as if nothing was wrong.
 * EOPNOTSUPP without a device of the harness's own.
 */
#include "behind.h"
#include "state.h"

#define ROT_BYTE 40u /* in the first cell's filler */

static struct behind rot = { .dev_fd = -1 };

static int sabotage_rot_prepare(struct pf_fault_call *c)
{
	return behind_find(c, 0, &rot);
}

static int sabotage_rot_run(struct pf_fault_call *c)
{
	int ret;

	rot.block[ROT_BYTE] ^= 1;
	ret = behind_write(&rot);
	c->before[0] = rot.physical_bytes;
	behind_close(&rot);
	behind_drop_cache(c->file);
	return ret;
}

static enum pf_effect sabotage_rot_effect(struct pf_fault_call *c, char *evidence,
					  size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "flipped a bit at %" PRIu64 " of the device",
		  c->before[0] + ROT_BYTE);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_rot_ops = {
	.name = "sabotage-rot",
	.summary = "flip a bit of the first block on the device, and drop the cache",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_EXCLUSIVE,
	.prepare = sabotage_rot_prepare,
	.run = sabotage_rot_run,
	.effect = sabotage_rot_effect,
};
PF_FAULT(sabotage_rot_ops);
