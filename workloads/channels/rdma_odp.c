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
 * 2fae67ab63db ("RDMA/rxe: Add support for Send/Recv/Write/Read with ODP"), 6.15. Its defects are
 * why the variants are there:
 * - __rxe_odp_mr_copy() ignores the offset within the page and does not advance between pages: what
 *   does not begin at a page's start lands there, packet by packet, and the completion says
 *   success. Right are transfers that begin page-aligned with a path MTU of a page; "mtu1024" is
 *   right up to one packet. Seen on 7.3.4 for WRITE, READ and SEND. The atomics themselves heed the
 *   offset, but the READ before them does not, so "atomic" ends in a compare mismatch there.
 * - rxe_check_pagefault() once did not ask for write permission: a WRITE to a page that was known
 *   read-only (mapped so when it was registered, or by an RDMA READ) dirtied nothing and was lost
 *   with the cache. Of a hole of a DAX file, or of fresh memory, that page is the kernel's page of
 *   zeros (results/reference/findings/6.18-odp-zero-page). Not so on 7.2.9 and 7.3.4.
 * - A fault that failed returned with umem_mutex held, and truncate hung behind it (fixed by
 *   3c68cf68233e).
 * - hmm_range_fault() could starve under migration (fixed by b570f37a2ce4, 7.0).
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
	.preload = pf_rdma_preload,
	.open = pf_rdma_open,
	.pin = rdma_odp_pin,
	.unpin = pf_rdma_unpin,
	.write = pf_rdma_write,
	.close = pf_rdma_close,
};
PF_CHANNEL(rdma_odp_ops);
