// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-foreign - copy a cell of the second file into the first, at its offset (selftest).
 *
 * Kernel path: pread(2) and pwrite(2), nothing special. The cell is perfect and at the offset it
 * was made for; only the file is the wrong one. It is how a block looks that two files think is
 * theirs, or a page that was recycled while a device still wrote to it.
 */
#include "../../harness/core/cell.h"
#include "state.h"

static int sabotage_foreign_run(struct pf_fault_call *c)
{
	uint8_t cell[PF_CELL_BYTES];
	struct pf_cell_id id;
	ssize_t n = pread(c->file2->fd, cell, sizeof(cell), 0);

	if (n != sizeof(cell))
		return n < 0 ? -errno : -ENODATA;
	if (pf_cell_decode(cell, &id) != PF_CELL_VALID || id.file != c->file2->id)
		return -ENODATA;
	n = pwrite(c->file->fd, cell, sizeof(cell), 0);
	return n == sizeof(cell) ? 0 : n < 0 ? -errno : -EIO;
}

static enum pf_effect sabotage_foreign_effect(struct pf_fault_call *c, char *evidence,
					      size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "the first cell of %s is that of %s", c->file->name,
		  c->file2->name);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_foreign_ops = {
	.name = "sabotage-foreign",
	.summary = "copy the second file's first cell into the first and say nothing",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE_FILE,
	.flags = PF_FAULT_SELFTEST,
	.run = sabotage_foreign_run,
	.effect = sabotage_foreign_effect,
};
PF_FAULT(sabotage_foreign_ops);
