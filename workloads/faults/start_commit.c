// SPDX-License-Identifier: GPL-2.0
/*
 * start-commit - begin an update of a file that is to happen at once: note how it is, and copy it.
 *
 * The second file becomes the copy, which `commit-range` puts in its place. What is written to the
 * first between the two must be in the file in the end: it has changed, so nothing is to be put in
 * its place.
 * Kernel path: XFS: ctime and mtime are read, under the locks of the file. Nothing is written back.
 * Can show: by itself nothing.
 * Source: ioctl_xfs_commit_range(2), from 6.12; fs/xfs/xfs_exchrange.c; mkfs.xfs -i exchange=1.
 */
#include <stdlib.h>

#include "commit.h"

/* Of two files that nobody else knows: of the file itself it would write back what is dirty. */
static int start_commit_prepare(struct pf_fault_call *c)
{
	struct xfs_commit_range range = {0};
	int a = state_nameless(c), b = state_nameless(c), rc;

	rc = a < 0 ? a : b < 0 ? b : commit_start(a, &range);
	if (!rc)
		rc = commit_range(a, b, &range, XFS_EXCHANGE_RANGE_DRY_RUN);
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	return rc;
}

static int copy(int from, int to, size_t bytes)
{
	uint8_t *buffer = malloc(bytes ? bytes : 1);
	int rc = buffer ? 0 : -ENOMEM;

	errno = 0;
	if (!rc && (ftruncate(to, (off_t)bytes) < 0 ||
		    pread(from, buffer, bytes, 0) != (ssize_t)bytes ||
		    pwrite(to, buffer, bytes, 0) != (ssize_t)bytes || fsync(to) < 0))
		rc = errno ? -errno : -EIO;
	free(buffer);
	return rc;
}

static int start_commit_run(struct pf_fault_call *c)
{
	struct xfs_commit_range range = {0};
	int rc = commit_start(c->file->fd, &range);

	if (rc)
		return rc;
	memcpy(c->file->commit, range.file2_freshness, sizeof(c->file->commit));
	return copy(c->file->fd, c->file2->fd, state_size_bytes(c->file->fd));
}

static enum pf_effect start_commit_effect(struct pf_fault_call *c, char *evidence,
					  size_t evidence_bytes)
{
	uint64_t bytes = state_size_bytes(c->file2->fd);

	state_say(evidence, evidence_bytes, "%s is a copy of %" PRIu64 " bytes", c->file2->name,
		  bytes);
	return bytes == state_size_bytes(c->file->fd) ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops start_commit_ops = {
	.name = "start-commit",
	.summary = "note how a file is, and copy it to the second (XFS_IOC_START_COMMIT)",
	.prim = PF_PRIM_COPY,
	.args = PF_ARGS_FILE_FILE,
	.flags = PF_FAULT_REWRITES | PF_FAULT_NO_RACE,
	.prepare = start_commit_prepare,
	.run = start_commit_run,
	.effect = start_commit_effect,
};
PF_FAULT(start_commit_ops);
