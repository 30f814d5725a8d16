// SPDX-License-Identifier: GPL-2.0
/*
 * migrate - make the kernel move the file's pages to other page frames.
 *
 * Kernel path: where there is a second memory node, move_pages(2) with MPOL_MF_MOVE_ALL; and
 * always /proc/sys/vm/compact_memory. Both end in migrate_pages(): unmap through the rmap, check
 * that the reference count is what the kernel can explain, copy, and put the new folio into the
 * mapping. A pinned page must not move (folio_maybe_dma_pinned; a reference that cannot be
 * explained).
 * Can show: a device that writes on into the old frame, which belongs to somebody else by now; the
 * write is lost for the file, and is a corruption wherever it lands.
 * Effect: the frame numbers of up to three mapped pages (first, second, last) before and after,
 * from /proc/self/pagemap. Best effort: compaction moves what stands in its way and nothing else,
 * so on one node a page often stays with no pin at all, and the effect is unknown. With a second
 * node a page that stayed was held.
 * Source: move_pages(2); Documentation/admin-guide/sysctl/vm.rst; Documentation/core-api/
 * pin_user_pages.rst.
 */
#include "state.h"

#define MIGRATE_PAGES_MAX 64
#define MIGRATE_MOVE_ALL 4 /* MPOL_MF_MOVE_ALL; <numaif.h> is libnuma's */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN ((1ull << 55) - 1)

/* before[0]: node to move to plus one, or 0; before[1..3]: frames of the sampled pages, or 0. */

static size_t migrate_sample(const struct pf_file *f, int which)
{
	size_t pages = f->map_bytes / STATE_PAGE_BYTES;

	if (which == 2)
		return pages ? pages - 1 : 0;
	return pages > 1 ? (size_t)which : 0;
}

/* The frame that @page of the mapping is in, 0 if it is not mapped or we may not know. */
static uint64_t migrate_frame(const struct pf_file *f, size_t page)
{
	uint64_t virt = (uint64_t)(uintptr_t)f->map / STATE_PAGE_BYTES + page, entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (off_t)(virt * sizeof(entry))) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry & PAGEMAP_PRESENT ? entry & PAGEMAP_PFN : 0;
}

/* A memory node other than the one the mapping's first page is on, or -1. */
static int migrate_target(const struct pf_file *f)
{
	void *page = f->map;
	int node = -1;
	char path[64];

	if (syscall(SYS_move_pages, 0, 1ul, &page, NULL, &node, 0) < 0 || node < 0)
		return -1;
	for (int other = 0; other < 8; other++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", other);
		if (other != node && access(path, F_OK) == 0)
			return other;
	}
	return -1;
}

static int migrate_prepare(struct pf_fault_call *c)
{
	/* The pages of a DAX file are the storage itself, and stay. */
	if (state_is_dax(c->file->fd))
		return -EOPNOTSUPP;
	if (!c->file->map)
		return 0;
	c->before[0] = (uint64_t)(migrate_target(c->file) + 1);
	for (int i = 0; i < 3; i++)
		c->before[1 + i] = migrate_frame(c->file, migrate_sample(c->file, i));
	return 0;
}

static int migrate_move(const struct pf_file *f, int target)
{
	size_t nr = f->map_bytes / STATE_PAGE_BYTES;
	int nodes[MIGRATE_PAGES_MAX], status[MIGRATE_PAGES_MAX];
	void *pages[MIGRATE_PAGES_MAX];

	if (nr > MIGRATE_PAGES_MAX)
		nr = MIGRATE_PAGES_MAX;
	for (size_t i = 0; i < nr; i++) {
		pages[i] = f->map + i * STATE_PAGE_BYTES;
		nodes[i] = target;
	}
	/* What did not move is in @status, page by page; the effect looks for itself. */
	if (syscall(SYS_move_pages, 0, nr, pages, nodes, status, MIGRATE_MOVE_ALL) < 0)
		return -errno;
	return 0;
}

static int migrate_run(struct pf_fault_call *c)
{
	int fd, ret;

	if (c->before[0]) {
		ret = migrate_move(c->file, (int)c->before[0] - 1);
		if (ret < 0)
			return ret;
	}
	fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, "1", 1) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static enum pf_effect migrate_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	int looked = 0, moved = 0;
	uint64_t now;

	if (!c->file->map) {
		state_say(evidence, evidence_bytes, "the file is not mapped");
		return PF_EFFECT_UNKNOWN;
	}
	/* A large folio comes back unmapped: where it is now shows when it is touched again. */
	madvise(c->file->map, c->file->map_bytes, MADV_POPULATE_READ);
	for (int i = 0; i < 3; i++) {
		now = migrate_frame(c->file, migrate_sample(c->file, i));
		if (!now || !c->before[1 + i])
			continue;
		looked++;
		moved += now != c->before[1 + i];
	}
	state_say(evidence, evidence_bytes, "%d of %d sampled pages are in another frame (%s)",
		  moved, looked, c->before[0] ? "two nodes" : "compaction only");
	if (moved)
		return PF_EFFECT_SHOWN;
	/* Only move_pages is told which pages: what compaction left alone says nothing. */
	return looked && c->before[0] ? PF_EFFECT_NONE : PF_EFFECT_UNKNOWN;
}

static const struct pf_fault_ops migrate_ops = {
	.name = "migrate",
	.summary = "move the file's pages to other frames (move_pages, compaction)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_BEST_EFFORT,
	.prepare = migrate_prepare,
	.run = migrate_run,
	.effect = migrate_effect,
};
PF_FAULT(migrate_ops);
