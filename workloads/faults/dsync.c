// SPDX-License-Identifier: GPL-2.0
/*
 * dsync - write a range again, the same bytes, with O_DSYNC semantics.
 *
 * Kernel path: pread(2), then pwritev2(2) with RWF_DSYNC -> ->write_iter() -> generic_write_sync()
 * -> vfs_fsync_range() with datasync, of the range only. On DAX the copy itself flushes the CPU's
 * cache, and the log is written where the range was not allocated yet.
 * Can show: a log commit or a flush left out on this way into fsync. Bytes that a pin left in a
 * clean page are read from memory, dirtied by the write and so saved: what the other syncs lose.
 * Promises the range and nothing around it. A write in flight into the range would be lost to the
 * second half of this read and write: let none be.
 * Source: open(2) O_DSYNC; readv(2) RWF_DSYNC (4.7).
 */
#include <stdlib.h>

#include "state.h"

#define DSYNC_BYTES_MAX (16u << 20)

static int dsync_prepare(struct pf_fault_call *c)
{
	if (c->len_bytes > DSYNC_BYTES_MAX)
		return -EINVAL;
	return state_sync_prepare(c);
}

static int dsync_run(struct pf_fault_call *c)
{
	struct iovec iov = { .iov_base = malloc(c->len_bytes), .iov_len = c->len_bytes };
	off_t off = (off_t)c->off_bytes;
	ssize_t n;
	int ret = 0;

	if (!iov.iov_base)
		return -ENOMEM;
	n = pread(c->file->fd, iov.iov_base, c->len_bytes, off);
	if (n >= 0 && (size_t)n == c->len_bytes)
		n = pwritev2(c->file->fd, &iov, 1, off, RWF_DSYNC);
	if (n < 0)
		ret = -errno;
	else if ((size_t)n < c->len_bytes)
		ret = -EIO; /* past the end of the file, or a short write: nothing is promised */
	free(iov.iov_base);
	return ret;
}

static const struct pf_fault_ops dsync_ops = {
	.name = "dsync",
	.summary = "write a range again with O_DSYNC (pwritev2 RWF_DSYNC)",
	.prim = PF_PRIM_SYNC,
	.flags = PF_FAULT_REWRITES,
	.args = PF_ARGS_FILE_RANGE,
	.prepare = dsync_prepare,
	.run = dsync_run,
	.effect = state_sync_effect,
};
PF_FAULT(dsync_ops);
