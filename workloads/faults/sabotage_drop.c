// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-drop - make one cell zero behind everybody's back (selftest).
 *
 * Kernel path: pwrite(2), nothing special. It is the smallest lost write there is: 64 bytes that
 * read as a hole, in a file that was never punched (prim none). A judge that takes zero for "not
 * written yet" passes this.
 * Source: the poison self-test every checker needs (Jepsen's lazyfs loses writes like this).
 */
#include "state.h"

#define CELL_BYTES 64u

static const uint8_t zero_cell[CELL_BYTES];

static int sabotage_drop_prepare(struct pf_fault_call *c)
{
	uint64_t size_bytes = state_size_bytes(c->file->fd);
	uint8_t cell[CELL_BYTES];

	if (size_bytes == UINT64_MAX)
		return -EBADF;
	for (uint64_t off = 0; off + CELL_BYTES <= size_bytes; off += CELL_BYTES) {
		if (pread(c->file->fd, cell, CELL_BYTES, (off_t)off) == CELL_BYTES &&
		    memcmp(cell, zero_cell, CELL_BYTES)) {
			c->before[0] = off;
			return 0;
		}
	}
	return -ENODATA;
}

static int sabotage_drop_run(struct pf_fault_call *c)
{
	ssize_t n = pwrite(c->file->fd, zero_cell, CELL_BYTES, (off_t)c->before[0]);

	return n == CELL_BYTES ? 0 : n < 0 ? -errno : -EIO;
}

static enum pf_effect sabotage_drop_effect(struct pf_fault_call *c, char *evidence,
					   size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "zeroed the cell at %" PRIu64, c->before[0]);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_drop_ops = {
	.name = "sabotage-drop",
	.summary = "zero one cell and say nothing",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_drop_prepare,
	.run = sabotage_drop_run,
	.effect = sabotage_drop_effect,
};
PF_FAULT(sabotage_drop_ops);
