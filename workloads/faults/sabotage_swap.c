// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-swap - exchange two cells of the file behind everybody's back (selftest).
 *
 * Kernel path: pread(2), pwrite(2), nothing special: the harness breaks the file and claims (prim
 * none) that it did not. Both cells stay valid in themselves, only their place is wrong: a checker
 * that looks at checksums and not at homes passes this, and would pass misplaced RDMA data too.
 * A run in which this is not found corrupt has no working judge.
 * Source: the poison self-test every checker needs (Jepsen's file nemesis).
 */
#include "state.h"

#define CELL_BYTES 64u

/* Find the first cell that has data, and the last that differs from it. */
static int sabotage_swap_prepare(struct pf_fault_call *c)
{
	static const uint8_t zero[CELL_BYTES];
	uint8_t first[CELL_BYTES], cell[CELL_BYTES];
	uint64_t size_bytes = state_size_bytes(c->file->fd), a = 0, b;
	int fd = c->file->fd;

	if (size_bytes == UINT64_MAX)
		return -EBADF;
	for (; a + CELL_BYTES <= size_bytes; a += CELL_BYTES)
		if (pread(fd, first, CELL_BYTES, (off_t)a) == CELL_BYTES &&
		    memcmp(first, zero, CELL_BYTES))
			break;
	for (b = size_bytes / CELL_BYTES * CELL_BYTES; b > a + CELL_BYTES;) {
		b -= CELL_BYTES;
		if (pread(fd, cell, CELL_BYTES, (off_t)b) == CELL_BYTES &&
		    memcmp(first, cell, CELL_BYTES)) {
			c->before[0] = a;
			c->before[1] = b;
			return 0;
		}
	}
	return -ENODATA;
}

static int sabotage_swap_run(struct pf_fault_call *c)
{
	uint8_t a[CELL_BYTES], b[CELL_BYTES];
	int fd = c->file->fd;

	errno = 0; /* a short transfer sets none */
	if (pread(fd, a, CELL_BYTES, (off_t)c->before[0]) != CELL_BYTES ||
	    pread(fd, b, CELL_BYTES, (off_t)c->before[1]) != CELL_BYTES ||
	    pwrite(fd, b, CELL_BYTES, (off_t)c->before[0]) != CELL_BYTES ||
	    pwrite(fd, a, CELL_BYTES, (off_t)c->before[1]) != CELL_BYTES)
		return errno ? -errno : -EIO;
	return 0;
}

static enum pf_effect sabotage_swap_effect(struct pf_fault_call *c, char *evidence,
					   size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "swapped the cells at %" PRIu64 " and %" PRIu64,
		  c->before[0], c->before[1]);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_swap_ops = {
	.name = "sabotage-swap",
	.summary = "exchange two cells and say nothing",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_swap_prepare,
	.run = sabotage_swap_run,
	.effect = sabotage_swap_effect,
};
PF_FAULT(sabotage_swap_ops);
