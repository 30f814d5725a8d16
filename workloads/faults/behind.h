/* SPDX-License-Identifier: GPL-2.0 */
/*
 * behind.h - a file's block on the device, behind the filesystem's back (for the sabotages).
 *
 * Only the device that the file under test is mounted from is ever opened, and only where that is
 * shown to be the harness's: a loop device over one of its own images, or any disk inside one of
 * its guests; never the device that / is on. Only a block that holds this file's own cells, in
 * their place, is ever written. Everything else is refused.
 */
#ifndef PF_FAULT_BEHIND_H
#define PF_FAULT_BEHIND_H

#include <stdint.h>

#include "fault.h"

#define BEHIND_BLOCK_BYTES 4096u

struct behind {
	int dev_fd;		 /* O_DIRECT, read and write; -1: not open */
	uint64_t physical_bytes; /* where the block lies on the device */
	uint8_t *block;		 /* BEHIND_BLOCK_BYTES, aligned for O_DIRECT */
};

/*
 * Find the device block of c->file at @off_bytes (a multiple of BEHIND_BLOCK_BYTES), after an
 * fsync, and read it into b->block. The block must begin with a cell of this file at this offset.
 * 0, or -errno with b closed: EOPNOTSUPP, and c->why, where there is no device or it is not ours;
 * ENODATA where the file has no block of its own there, or the device holds something else.
 */
int behind_find(struct pf_fault_call *c, uint64_t off_bytes, struct behind *b);
/* Read the block again, without asking the filesystem: also after a shutdown. 0 or -errno. */
int behind_read(struct behind *b);
/* Write b->block to the device, past all caches of the filesystem. 0 or -errno. */
int behind_write(struct behind *b);
/* Accepts one that was never opened, but zeroed with dev_fd -1. */
void behind_close(struct behind *b);
/* Drop the file's clean pages, also those its mapping maps; the caller has synced it. */
void behind_drop_cache(const struct pf_file *f);

#endif
