// SPDX-License-Identifier: GPL-2.0
/*
 * persist - flush a range of a MAP_SYNC mapping from the CPU's caches: fsync without the kernel.
 *
 * Kernel path: none, and that is the point. clflush of each line and sfence, as pmem libraries do
 * (clwb where the CPU has it: the same promise), once MADV_POPULATE_WRITE has seen to it that all
 * of the range is mapped writable; pages that were stored to are so already, and nothing happens.
 * While a page is mapped writable by MAP_SYNC, what is in it is in the file, at the same offset,
 * even after a crash: the fault that mapped it has made the block durable, the size too.
 * Can show: a fault that mapped a block for writing whose allocation, conversion from unwritten, or
 * size, was not in the log yet.
 * On an emulated NVDIMM there is no cache to lose: an executed store is in the image's file. So
 * what a power cut can prove there is the filesystem's half of the promise, not the CPU's.
 * EOPNOTSUPP where the mapping is not MAP_SYNC (only store/sync makes one): it promises nothing.
 * Source: mmap(2), MAP_SYNC; madvise(2), MADV_POPULATE_WRITE (Linux 5.14).
 */
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "state.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LINE_BYTES 64u /* cells are lines, and the range is whole cells */

/* Has the mapping at @map the flag "sf" in /proc/self/smaps: synchronous faults? */
static bool map_is_sync(const uint8_t *map)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool here = false, sync = false, over = false;
	char line[512], mode[5];
	uintptr_t from, to;

	while (smaps && !over && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s ", &from, &to, mode) == 3)
			here = from <= (uintptr_t)map && (uintptr_t)map < to;
		over = here && !strncmp(line, "VmFlags:", 8);
		sync = over && strstr(line, " sf");
	}
	if (smaps)
		fclose(smaps);
	return sync;
}

static int persist_prepare(struct pf_fault_call *c)
{
#ifndef __x86_64__
	c->why = "no instruction known here that flushes a line";
	return -EOPNOTSUPP;
#endif
	if (!c->file->map || !map_is_sync(c->file->map)) {
		c->why = "the mapping is not MAP_SYNC";
		return -EOPNOTSUPP;
	}
	if (c->off_bytes > c->file->map_bytes || c->len_bytes > c->file->map_bytes - c->off_bytes)
		return -EINVAL;
	return 0;
}

static void flush_lines(const uint8_t *at, uint64_t bytes)
{
#ifdef __x86_64__
	for (uint64_t off = 0; off < bytes; off += LINE_BYTES)
		_mm_clflush(at + off);
	_mm_sfence();
#else
	(void)at;
	(void)bytes;
#endif
}

static int persist_run(struct pf_fault_call *c)
{
	uint64_t from = c->off_bytes - c->off_bytes % STATE_PAGE_BYTES;
	uint64_t to = c->off_bytes + c->len_bytes;

	/* EFAULT behind the end of the file. */
	if (madvise(c->file->map + from, to - from, MADV_POPULATE_WRITE) < 0)
		return errno == EINVAL ? -ENOSYS : -errno;
	flush_lines(c->file->map + c->off_bytes, c->len_bytes);
	return 0;
}

static enum pf_effect persist_effect(struct pf_fault_call *c, char *evidence,
				     size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "VmFlags: sf, %" PRIu64 " lines flushed",
		  c->len_bytes / LINE_BYTES);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops persist_ops = {
	.name = "persist",
	.summary = "flush a range of a MAP_SYNC mapping from the CPU's caches",
	.prim = PF_PRIM_SYNC,
	.args = PF_ARGS_FILE_RANGE,
	.flags = PF_FAULT_UNSEEN,
	.prepare = persist_prepare,
	.run = persist_run,
	.effect = persist_effect,
};
PF_FAULT(persist_ops);
