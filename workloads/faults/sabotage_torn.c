// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-torn - put half of an earlier write's cell over a later one (selftest).
 *
 * Used twice with a write in between: the first call remembers the file's first cell, the second
 * writes the second half of it over what is there. Both halves are real bytes of real writes to
 * this place; only together they are nobody's. It is how a write looks that stopped in the middle.
 * Kernel path: pread(2) and pwrite(2), nothing special.
 */
#include "../../harness/core/cell.h"
#include "state.h"

#define HALF_BYTES (PF_CELL_BYTES / 2)

static struct {
	uint32_t file_id; /* 0: nothing remembered */
	uint8_t bytes[PF_CELL_BYTES];
} old_cell;

static int sabotage_torn_prepare(struct pf_fault_call *c)
{
	ssize_t n;

	c->before[0] = old_cell.file_id == c->file->id;
	if (c->before[0])
		return 0;
	n = pread(c->file->fd, old_cell.bytes, sizeof(old_cell.bytes), 0);
	if (n != sizeof(old_cell.bytes))
		return n < 0 ? -errno : -ENODATA;
	old_cell.file_id = c->file->id;
	return 0;
}

static int sabotage_torn_run(struct pf_fault_call *c)
{
	ssize_t n;

	if (!c->before[0])
		return 0;
	n = pwrite(c->file->fd, old_cell.bytes + HALF_BYTES, HALF_BYTES, HALF_BYTES);
	return n == HALF_BYTES ? 0 : n < 0 ? -errno : -EIO;
}

/* Torn only if what it was put over is another write's. */
static enum pf_effect sabotage_torn_effect(struct pf_fault_call *c, char *evidence,
					   size_t evidence_bytes)
{
	uint8_t now[PF_CELL_BYTES];
	struct pf_cell_id id;

	state_say(evidence, evidence_bytes, c->before[0] ?
		  "put the second half of the old first cell back" : "remembered the first cell");
	if (!c->before[0])
		return PF_EFFECT_SHOWN;
	if (pread(c->file->fd, now, sizeof(now), 0) != sizeof(now))
		return PF_EFFECT_UNKNOWN;
	return pf_cell_decode(now, &id) == PF_CELL_TORN ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_torn_ops = {
	.name = "sabotage-torn",
	.summary = "remember the first cell; the second time, put half of it back",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_torn_prepare,
	.run = sabotage_torn_run,
	.effect = sabotage_torn_effect,
};
PF_FAULT(sabotage_torn_ops);
