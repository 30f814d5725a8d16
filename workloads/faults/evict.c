// SPDX-License-Identifier: GPL-2.0
/*
 * evict - take this file's clean pages out of the page cache.
 *
 * Kernel path: MADV_DONTNEED of the mapping, so that no page table entry holds a page, then
 * posix_fadvise(POSIX_FADV_DONTNEED): start writeback of what is dirty (not waiting for it) and
 * invalidate_mapping_pages() on the rest. An fsync is no part of it: a dirty page stays.
 * Can show: as drop-caches, for one file, and without touching the neighbours.
 * Source: posix_fadvise(2).
 */
#include "state.h"

static int evict_run(struct pf_fault_call *c)
{
	if (c->file->map && madvise(c->file->map, c->file->map_bytes, MADV_DONTNEED) < 0)
		return -errno;
	return -posix_fadvise(c->file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static const struct pf_fault_ops evict_ops = {
	.name = "evict",
	.summary = "drop the file's clean pages (POSIX_FADV_DONTNEED)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_BEST_EFFORT,
	.prepare = state_evict_prepare,
	.run = evict_run,
	.effect = state_evict_effect,
};
PF_FAULT(evict_ops);
