// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_odp.c - an RDMA device writes into a mapping through on-demand paging: no page is pinned.
 *
 * Kernel path: ibv_reg_mr(IBV_ACCESS_ON_DEMAND) -> ib_umem_odp_get, which registers an
 * mmu_interval_notifier. An access to a page the device does not know faults it in
 * (ib_umem_odp_map_dma_and_lock -> hmm_range_fault); truncate, punch, writeback and migration
 * invalidate what the device knows before they go on. So the filesystem is asked again for every
 * page it took away, as if the device were a CPU.
 *
 * What it can show: data that the device wrote to a page after its invalidation; a write to a page
 * that was never faulted for writing, hence not dirty and without blocks; a truncate that hangs on
 * the notifier; data at the wrong place. A write beyond the end of a truncated file must end in
 * "remote access error", not in success.
 *
 * Soft-RoCE has it since d03fb5c6599e ("RDMA/rxe: Allow registering MRs for On-Demand Paging") and
 * 2fae67ab63db ("RDMA/rxe: Add support for Send/Recv/Write/Read with ODP"), 6.15. Its known
 * defects are the reason for the variants:
 * - the copy ignores the offset within the page (__rxe_odp_mr_copy), so only whole, aligned pages
 *   with a path MTU of a page arrive where they belong: any other geometry, "mtu1024" above all, is
 *   misplaced, and the completion says success;
 * - the check for a page fault does not ask for write permission (rxe_check_pagefault): a WRITE
 *   after the page was mapped read-only (registered while so, or by a READ: "atomic" begins with
 *   one) dirties nothing;
 * - a fault that fails returned with umem_mutex held, and truncate hung behind it (3c68cf68233e);
 * - hmm_range_fault could starve under migration (b570f37a2ce4, 7.0).
 */
#include <infiniband/verbs.h>

#include "rdma_common.h"

static int rdma_odp_probe(const char *variant, char *why, size_t why_bytes)
{
	return pf_rdma_probe(variant, 1, why, why_bytes);
}

static int rdma_odp_pin(struct pf_channel *ch, struct pf_file *f)
{
	return pf_rdma_pin(ch, f, IBV_ACCESS_ON_DEMAND);
}

static const struct pf_channel_ops rdma_odp_ops = {
	.name = "rdma-odp",
	.summary = "RDMA into a memory region that faults the mapping's pages on demand",
	.class = PF_CLASS_FAULTING,
	.hold_kind = PF_HOLD_TRIVIAL,
	.variants = pf_rdma_variants,
	.probe = rdma_odp_probe,
	.open = pf_rdma_open,
	.pin = rdma_odp_pin,
	.unpin = pf_rdma_unpin,
	.write = pf_rdma_write,
	.close = pf_rdma_close,
};
PF_CHANNEL(rdma_odp_ops);
