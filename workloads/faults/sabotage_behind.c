// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-behind - bring an old block back on the device, under a mounted filesystem (selftest).
 *
 * Used twice: the first call remembers the file's first block as it is on the device; the second
 * syncs the file (a filesystem that was shut down cannot) and writes the old block there again. The
 * page cache does not know of it.
 * Kernel path: FIEMAP, then pread(2) and pwrite(2) with O_DIRECT on the device itself.
 * Can show: while the cache holds the new bytes, buffered and direct reads differ (view split);
 * after an fsync and a shutdown, the next mount finds what had been there before (not durable), as
 * on a disk that lies about its write cache. Needs a filesystem that overwrites in place: XFS and
 * ext4, and btrfs after sabotage-nocow. EOPNOTSUPP without a device of the harness's own.
 */
#include "behind.h"
#include "state.h"

static struct {
	uint32_t file_id; /* 0: nothing remembered */
	struct behind place;
	uint8_t bytes[BEHIND_BLOCK_BYTES];
} old_block = { .place.dev_fd = -1 };

static int sabotage_behind_prepare(struct pf_fault_call *c)
{
	int ret;

	c->before[0] = old_block.file_id == c->file->id;
	if (c->before[0])
		return 0;
	ret = behind_find(c, 0, &old_block.place);
	if (ret)
		return ret;
	memcpy(old_block.bytes, old_block.place.block, BEHIND_BLOCK_BYTES);
	old_block.file_id = c->file->id;
	return 0;
}

static int sabotage_behind_run(struct pf_fault_call *c)
{
	struct behind *b = &old_block.place;
	int ret;

	if (!c->before[0])
		return 0;
	c->before[1] = fsync(c->file->fd) == 0; /* not after a shutdown */
	ret = behind_read(b);
	/* The new block must be in the old one's place, or there is nothing to bring back. */
	if (!ret && !memcmp(b->block, old_block.bytes, BEHIND_BLOCK_BYTES))
		ret = -ENODATA;
	if (ret)
		return ret;
	memcpy(b->block, old_block.bytes, BEHIND_BLOCK_BYTES);
	ret = behind_write(b);
	behind_close(b);
	old_block.file_id = 0;
	return ret;
}

static enum pf_effect sabotage_behind_effect(struct pf_fault_call *c, char *evidence,
					     size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "%s the block at %" PRIu64 " of the device%s",
		  c->before[0] ? "put back" : "remembered", old_block.place.physical_bytes,
		  c->before[0] && !c->before[1] ? ", the filesystem being down" : "");
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_behind_ops = {
	.name = "sabotage-behind",
	.summary = "remember the first block on the device; the second time, put it back there",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_behind_prepare,
	.run = sabotage_behind_run,
	.effect = sabotage_behind_effect,
};
PF_FAULT(sabotage_behind_ops);
