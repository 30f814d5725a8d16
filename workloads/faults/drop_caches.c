// SPDX-License-Identifier: GPL-2.0
/*
 * drop-caches - ask the kernel to forget every clean page, dentry and inode.
 *
 * The page table entries go first (MADV_DONTNEED), since a mapped page is not dropped.
 * Kernel path: /proc/sys/vm/drop_caches = 3 -> invalidate_mapping_pages(): a folio that is dirty,
 * under writeback, mapped, or has references that cannot be explained (a pin) stays.
 * Can show: data that a pin wrote into a clean page disappears with it, without any error: the
 * file goes back to what is on the disk. While the pin lasts it must hold the page (best effort:
 * effect none, with a pin, is the pin doing its job); a page dropped all the same is the worst
 * case, as the device goes on to write into memory that is somebody else's.
 * Source: Documentation/admin-guide/sysctl/vm.rst.
 */
#include "state.h"

static int drop_caches_run(struct pf_fault_call *c)
{
	ssize_t n;
	int fd, ret;

	if (c->file->map && madvise(c->file->map, c->file->map_bytes, MADV_DONTNEED) < 0)
		return -errno;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, "3", 1);
	ret = n < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static const struct pf_fault_ops drop_caches_ops = {
	.name = "drop-caches",
	.summary = "drop all clean pages of the machine (vm.drop_caches)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_BEST_EFFORT,
	.prepare = state_evict_prepare,
	.run = drop_caches_run,
	.effect = state_evict_effect,
};
PF_FAULT(drop_caches_ops);
