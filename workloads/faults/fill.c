// SPDX-License-Identifier: GPL-2.0
/*
 * fill - take all space of the filesystem.
 *
 * Kernel path: fallocate(2) in ever smaller pieces, then write(2) in pieces (all of it where there
 * is no fallocate, as in the ext2 format), into a file beside those under test, until both say
 * ENOSPC. What has blocks, or was promised some (delayed
 * allocation, a page that ->page_mkwrite has prepared), keeps them; what has none gets none.
 * Can show: a write to a hole that is told of success and has nowhere to go, since a pin went past
 * the reservation: the data is lost at writeback, with ENOSPC in an error that nobody reads. A CPU
 * store to such a hole is SIGBUS, which is right. `drain` gives the space back.
 * Refuses (EPERM) the filesystem that / is on.
 * Source: page_mkwrite in Documentation/filesystems/locking.rst; xfstests generic/015, generic/213.
 */
#include <stdlib.h>

#include "state.h"

#define PIECE_MAX_BYTES (1ull << 30)
#define WRITE_BYTES (1u << 20)

static int fill_prepare(struct pf_fault_call *c)
{
	return state_is_root_fs(c->file->fd) ? -EPERM : 0;
}

/* Whole pieces, halved whenever one does not fit. Bytes taken. */
static uint64_t take_pieces(int fd)
{
	uint64_t at = 0;

	for (uint64_t piece = PIECE_MAX_BYTES; piece >= STATE_PAGE_BYTES;) {
		if (fallocate(fd, 0, (off_t)at, (off_t)piece) == 0)
			at += piece;
		else
			piece /= 2;
	}
	return at;
}

/* The rest by writing: 1 MiB at a time, in the end what still fits. 0 or -errno. */
static int take_by_writing(int fd, uint64_t *at_bytes)
{
	uint8_t *zero = calloc(1, WRITE_BYTES);
	size_t piece = WRITE_BYTES;
	int ret = zero ? 0 : -ENOMEM;
	ssize_t n;

	while (!ret && piece >= STATE_PAGE_BYTES) {
		n = pwrite(fd, zero, piece, (off_t)*at_bytes);
		if (n < 0 && errno != ENOSPC)
			ret = -errno;
		else if (n <= 0)
			piece /= 2;
		else
			*at_bytes += (uint64_t)n;
	}
	free(zero);
	return ret;
}

static int fill_run(struct pf_fault_call *c)
{
	int fd = openat(c->file->dirfd, ".fill", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	c->before[0] = take_pieces(fd);
	ret = take_by_writing(fd, &c->before[0]);
	/* Delayed allocations of its own must not fail later in somebody else's name. */
	fsync(fd);
	close(fd);
	return ret;
}

static enum pf_effect fill_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct statvfs vfs;

	if (fstatvfs(c->file->fd, &vfs) < 0)
		return PF_EFFECT_UNKNOWN;
	state_say(evidence, evidence_bytes, "%" PRIu64 " KiB taken, %" PRIu64 " KiB free",
		  c->before[0] >> 10, (uint64_t)vfs.f_bfree * vfs.f_frsize >> 10);
	return c->before[0] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops fill_ops = {
	.name = "fill",
	.summary = "take all space of the filesystem, until ENOSPC",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_EXCLUSIVE,
	.prepare = fill_prepare,
	.run = fill_run,
	.effect = fill_effect,
};
PF_FAULT(fill_ops);
