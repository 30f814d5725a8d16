// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-old - bring back a page as it was earlier, behind everybody's back (selftest).
 *
 * Used twice in a sequence with a write in between: the first call remembers the file's first page,
 * the second puts it back. (prepare runs right before run, so one call could only put back what is
 * there.) The memory is this process's, which lives for one case.
 * Kernel path: pread(2) and pwrite(2), nothing special. The page then holds perfect cells, in their
 * place, of an operation that really happened: only the order is wrong. A judge that checks content
 * and not history passes this; it is how a write looks that never made it to the disk.
 * Source: the poison self-test every checker needs.
 */
#include "state.h"

static struct {
	uint32_t file_id; /* 0: nothing remembered */
	uint8_t bytes[STATE_PAGE_BYTES];
} old_page;

static int sabotage_old_prepare(struct pf_fault_call *c)
{
	ssize_t n;

	c->before[0] = old_page.file_id == c->file->id; /* is this the call that puts it back? */
	if (c->before[0])
		return 0;
	n = pread(c->file->fd, old_page.bytes, sizeof(old_page.bytes), 0);
	if (n != sizeof(old_page.bytes))
		return n < 0 ? -errno : -ENODATA;
	old_page.file_id = c->file->id;
	return 0;
}

static int sabotage_old_run(struct pf_fault_call *c)
{
	ssize_t n;

	if (!c->before[0])
		return 0;
	n = pwrite(c->file->fd, old_page.bytes, sizeof(old_page.bytes), 0);
	return n == sizeof(old_page.bytes) ? 0 : n < 0 ? -errno : -EIO;
}

static enum pf_effect sabotage_old_effect(struct pf_fault_call *c, char *evidence,
					  size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, c->before[0] ? "put the first page back as it was" :
							   "remembered the first page");
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_old_ops = {
	.name = "sabotage-old",
	.summary = "remember the first page; the second time, put it back and say nothing",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_old_prepare,
	.run = sabotage_old_run,
	.effect = sabotage_old_effect,
};
PF_FAULT(sabotage_old_ops);
