// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_pinned.c - an RDMA device writes into a mapping that was registered in the ordinary way.
 *
 * Kernel path: ibv_reg_mr -> ib_umem_get -> pin_user_pages_fast(FOLL_LONGTERM | FOLL_WRITE). From
 * then on the device holds the pages' addresses. It never looks at the page tables again, so
 * nothing that the filesystem does to the file is seen by it; the pages are marked dirty once, when
 * the registration ends (ib_umem_release).
 *
 * What it can show: after truncate, punch, collapse or a rename over the file, data that the device
 * reported as written lies in pages that belong to no file any more; after writeback, data that is
 * in the page cache and not dirty: fsync returns 0 and the disk keeps the old bytes; a clone or a
 * checksum taken while the device writes.
 *
 * Since 8ac268436e6d ("mm/gup: disallow FOLL_LONGTERM GUP-nonfast writing to file-backed mappings")
 * and a6e79df92e4a (the same for GUP-fast), both 6.5, the registration is refused with EFAULT where
 * the filesystem tracks dirty pages; tmpfs, which does not, stays allowed. fs-dax has always
 * refused it, with EOPNOTSUPP up to 6.14 and later by e5cb23256347 ("mm/gup: don't allow
 * FOLL_LONGTERM pinning of FS DAX pages").
 */
#include "rdma_common.h"

static int rdma_pinned_probe(const char *variant, char *why, size_t why_bytes)
{
	return pf_rdma_probe(variant, 0, why, why_bytes);
}

static int rdma_pinned_pin(struct pf_channel *ch, struct pf_file *f)
{
	return pf_rdma_pin(ch, f, 0);
}

static const struct pf_channel_ops rdma_pinned_ops = {
	.name = "rdma-pinned",
	.summary = "RDMA into a memory region that pins the mapping's pages",
	.class = PF_CLASS_LONG_PIN,
	.hold_kind = PF_HOLD_TRIVIAL,
	.variants = pf_rdma_variants,
	.probe = rdma_pinned_probe,
	.preload = pf_rdma_preload,
	.open = pf_rdma_open,
	.pin = rdma_pinned_pin,
	.unpin = pf_rdma_unpin,
	.write = pf_rdma_write,
	.close = pf_rdma_close,
};
PF_CHANNEL(rdma_pinned_ops);
