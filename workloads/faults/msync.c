// SPDX-License-Identifier: GPL-2.0
/*
 * msync - write the mapping to the disk.
 *
 * Kernel path: msync(MS_SYNC) -> vfs_fsync_range() on the mapping's file: fsync by another door,
 * and the one that programs with mappings use (pmem libraries where MAP_SYNC is refused).
 * Can show: as fsync. Without a mapping (before pin) it makes one for the length of the call.
 * Source: msync(2).
 */
#include "state.h"

static int msync_run(struct pf_fault_call *c)
{
	size_t len_bytes = c->file->map ? c->file->map_bytes : state_size_bytes(c->file->fd);
	void *map = c->file->map;
	int ret;

	if (!map) {
		map = mmap(NULL, len_bytes, PROT_READ, MAP_SHARED, c->file->fd, 0);
		if (map == MAP_FAILED)
			return -errno;
	}
	ret = msync(map, len_bytes, MS_SYNC) < 0 ? -errno : 0;
	if (map != c->file->map)
		munmap(map, len_bytes);
	return ret;
}

static const struct pf_fault_ops msync_ops = {
	.name = "msync",
	.summary = "write the mapping to the disk (msync MS_SYNC)",
	.prim = PF_PRIM_SYNC,
	.args = PF_ARGS_FILE,
	.prepare = state_sync_prepare,
	.run = msync_run,
	.effect = state_sync_effect,
};
PF_FAULT(msync_ops);
