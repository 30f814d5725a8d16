// SPDX-License-Identifier: GPL-2.0
/*
 * held_read.c - process_vm_readv(2) of ourselves; held_read.h.
 *
 * Path: process_vm_rw_single_vec() pins up to 1024 remote pages (pin_user_pages_remote, without
 * FOLL_WRITE), then copies to the local side, which may fault: in a hold it is userfaultfd memory.
 * The pin only reads, so nobody is asked for a block of the file's own, as ->page_mkwrite would be.
 * The copy comes to its first store with up to 64 bytes in registers (a loop of moves, as on an
 * emulated CPU; rep movsb begins anew), so the first cell may be half of then and half of later.
 * Nothing else is read before it lands.
 *
 * Can show: layout changes that do not wait for whoever reads a DAX block, or do not wake up when
 * he is gone, and blocks given to another file while they are read.
 *
 * Source: process_vm_readv(2), userfaultfd(2); mm/process_vm_access.c.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

#include "held_read.h"

long held_read_now(void *into, const void *src, size_t len_bytes)
{
	struct iovec local = { .iov_base = into, .iov_len = len_bytes };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)src, .iov_len = len_bytes };
	ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	return n < 0 ? -errno : n;
}

static long held_read_run(struct held_io *h)
{
	return held_read_now((void *)(uintptr_t)h->data, h->dst, h->len_bytes);
}

int held_read_open(struct pf_channel *ch, char *why, size_t why_bytes)
{
	int rc = held_uffd_open(ch, held_read_run, false);

	rc = rc ? rc : held_uffd_prepare(ch, why, why_bytes);
	if (rc)
		held_uffd_close(ch);
	return rc;
}
