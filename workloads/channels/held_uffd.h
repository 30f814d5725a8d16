/* SPDX-License-Identifier: GPL-2.0 */
/*
 * held_uffd.h - system calls that copy from, or to, memory which arrives when told to: userfaultfd.
 *
 * The near side of a held I/O is memory of which some pages are not there. The kernel's copy comes
 * to the first that is missing, is reported, and sleeps without the mmap lock until UFFDIO_COPY
 * brings the data, or UFFDIO_ZEROPAGE room for it. All of hold, land, write and close for channels
 * of that kind; used by pvm-writev and pwrite, which say in run how the data gets from there to
 * its place, and by held_read, which says how it gets there.
 *
 * Source: userfaultfd(2).
 */
#ifndef PF_HELD_UFFD_H
#define PF_HELD_UFFD_H

#include "held_io.h"

/* In ch->priv; made by held_uffd_open, freed by held_uffd_close. */
struct held_uffd;

/*
 * @run is what a held I/O does, in a thread of its own: h->arg is the struct pf_file *, h->dst the
 * place in its mapping, h->pos_bytes the place in the file, h->data the near side; it returns bytes
 * or -errno. With @head the data that comes before the first missing page is there from the start
 * (at most half of it, and of a page), so that the copy is held in its middle and not before it.
 */
int held_uffd_open(struct pf_channel *ch, long (*run)(struct held_io *h), bool head);
/*
 * Make what all holds use, unless it is there: open did so if ch->holds, as a write that sleeps
 * later on may have the mmap lock. 0, or -errno with @why: no userfaultfd here.
 */
int held_uffd_prepare(struct pf_channel *ch, char *why, size_t why_bytes);
/* Is an I/O to @f held? */
bool held_uffd_out(const struct pf_channel *ch, const struct pf_file *f);
/*
 * A write of io->data, or a read to io->into. -errno with io->detail; -EIO if the I/O was over
 * before it came to the missing page.
 */
int held_uffd_hold(struct pf_channel *ch, struct pf_io *io);
long held_uffd_land(struct pf_channel *ch, struct pf_io *io);
/* Accepts the half-open. Leaks what a thread that is still in the kernel will come back to. */
void held_uffd_close(struct pf_channel *ch);

#endif
