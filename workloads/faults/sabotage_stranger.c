// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-stranger - replace the first cell by the same one of another run (selftest).
 *
 * Kernel path: pread(2) and pwrite(2), nothing special. File, offset and operation are those of a
 * write of this case; only the run is not. It is how a block looks whose old content a filesystem
 * gave away unwritten: data of an earlier filesystem on the same device.
 */
#include "../../harness/core/cell.h"
#include "state.h"

static int sabotage_stranger_run(struct pf_fault_call *c)
{
	uint8_t cell[PF_CELL_BYTES];
	struct pf_cell_id id;
	ssize_t n = pread(c->file->fd, cell, sizeof(cell), 0);

	if (n != sizeof(cell))
		return n < 0 ? -errno : -ENODATA;
	if (pf_cell_decode(cell, &id) != PF_CELL_VALID)
		return -ENODATA;
	id.run ^= 0x5a5a5a5au;
	pf_cell_stamp(cell, &id);
	n = pwrite(c->file->fd, cell, sizeof(cell), 0);
	return n == sizeof(cell) ? 0 : n < 0 ? -errno : -EIO;
}

static enum pf_effect sabotage_stranger_effect(struct pf_fault_call *c, char *evidence,
					       size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "the first cell of %s is of another run",
		  c->file->name);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_stranger_ops = {
	.name = "sabotage-stranger",
	.summary = "make the first cell one of another run and say nothing",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.run = sabotage_stranger_run,
	.effect = sabotage_stranger_effect,
};
PF_FAULT(sabotage_stranger_ops);
