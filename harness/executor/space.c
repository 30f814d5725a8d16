// SPDX-License-Identifier: GPL-2.0
/*
 * space.c - was the filesystem asked for space? What FIEMAP says after a write on a full one.
 *
 * A write that returned success must have a block under each byte, or the promise of one (delayed
 * allocation): whoever lets it succeed on a full filesystem without has told nobody of ENOSPC, and
 * the data is on its way to nowhere, or to whatever is freed in time. It is asked at once, while
 * nobody has had the time to free anything; what becomes of the data the judge says.
 *
 * "Full" means that `fill` has taken the space, and its file is still there. No line where it
 * cannot be told: when an operation that takes blocks away, or moves them, overlapped the write;
 * and where the filesystem says nothing of its extents and has no holes to seek.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "case.h"

static bool takes_blocks(enum pf_prim prim)
{
	return prim != PF_PRIM_NONE && prim != PF_PRIM_SYNC && prim != PF_PRIM_SYNCFS;
}

void space_fault(struct case_run *c, enum pf_prim prim, bool begins)
{
	if (!takes_blocks(prim))
		return;
	atomic_fetch_add(&c->reshaping, begins ? 1 : -1);
	atomic_fetch_add(&c->reshapes, 1);
}

/* A number that stays the same if nothing takes blocks away meanwhile; 0 while something does. */
unsigned int space_before_write(struct case_run *c)
{
	unsigned int reshapes = atomic_load(&c->reshapes);

	return atomic_load(&c->reshaping) ? 0 : reshapes + 1;
}

/* Bytes of [from, to) with a block or a promise. -errno where that is not known. */
static int64_t backed_bytes(int fd, uint64_t from, uint64_t to)
{
	struct pf_extents x;
	int rc = pf_extents(fd, from, to - from, &x);

	if (!rc)
		return (int64_t)x.mapped_bytes;
	return rc == -EOPNOTSUPP || rc == -ENOTTY ? pf_data_bytes(fd, from, to - from) : rc;
}

void space_wrote(struct case_run *c, const struct pf_io *io, long n, uint32_t op, unsigned int mark)
{
	uint64_t unit, from = io->off_bytes, to = io->off_bytes + (uint64_t)n;
	struct statfs sfs;
	struct stat st;
	int64_t backed;

	if (n <= 0 || !mark || faccessat(c->dirfd, ".fill", F_OK, 0) ||
	    fstat(io->file->fd, &st) || fstatfs(io->file->fd, &sfs))
		return;
	unit = (uint64_t)sfs.f_bsize;
	to = to < (uint64_t)st.st_size ? to : (uint64_t)st.st_size;
	from -= from % unit;
	if (from >= to)
		return; /* behind the end: the judge knows */
	backed = backed_bytes(io->file->fd, from, to);
	if (backed < 0 || mark != space_before_write(c))
		return;
	pf_history_line(&c->history,
			"note space%%20%u%%20%s%%20%lld%%20of%%20%llu%%20bytes%%20have%%20a"
			"%%20block,%%20on%%20a%%20full%%20filesystem",
			op, (uint64_t)backed < to - from ? "no" : "yes", (long long)backed,
			(unsigned long long)(to - from));
}
