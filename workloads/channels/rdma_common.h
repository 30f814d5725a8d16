/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rdma_common.h - what rdma-pinned and rdma-odp share: everything except how the file's mapping is
 * registered, which is the one thing they are compared by.
 *
 * All functions return 0 (or bytes) or -errno, with more in ch->detail or io->detail.
 */
#ifndef PF_RDMA_COMMON_H
#define PF_RDMA_COMMON_H

#include <stddef.h>

#include "channel.h"

/*
 * "" RDMA WRITE into the mapping; "read" RDMA READ with the mapping as the local side; "send" SEND
 * into the mapping as a posted receive buffer; "atomic" the mapping written by 8-byte compare and
 * swap; "mtu1024" RDMA WRITE in packets of 1024 bytes.
 */
extern const char *const pf_rdma_variants[];

/*
 * The probe of both: opens a device, connects the pair and closes it. With @odp also what the
 * variant needs of on-demand paging, first as the device declares it, then as a registration of
 * anonymous memory shows it.
 */
int pf_rdma_probe(const char *variant, int odp, char *why, size_t why_bytes);

/* Load the drivers and list the devices, for the children that will be forked. */
void pf_rdma_preload(void);

int pf_rdma_open(struct pf_channel *ch);

/*
 * Register @f's mapping with @access_extra (0 or IBV_ACCESS_ON_DEMAND) beside all remote rights.
 * The errno of a refusal is ibv_reg_mr's own.
 */
int pf_rdma_pin(struct pf_channel *ch, struct pf_file *f, int access_extra);
int pf_rdma_unpin(struct pf_channel *ch, struct pf_file *f);

/* Write all of @io in the way of the channel's variant. */
long pf_rdma_write(struct pf_channel *ch, struct pf_io *io);

/*
 * RDMA READ @io's range of the mapping into anonymous memory and copy it to @dst (io->len_bytes),
 * or drop it if @dst is NULL. For tests: any variant can read what it has written.
 */
long pf_rdma_fetch(struct pf_channel *ch, struct pf_io *io, void *dst);

void pf_rdma_close(struct pf_channel *ch);

#endif
