/* SPDX-License-Identifier: GPL-2.0 */
/*
 * commit.h - XFS_IOC_START_COMMIT and XFS_IOC_COMMIT_RANGE, for the two faults that are one update
 * of a file.
 *
 * No kernel header of Debian 12 has them: numbers and structure are those of
 * fs/xfs/libxfs/xfs_fs.h.
 */
#ifndef PF_FAULT_COMMIT_H
#define PF_FAULT_COMMIT_H

#include <sys/ioctl.h>

#include "state.h"

struct xfs_commit_range {
	int32_t file1_fd;
	uint32_t pad;
	uint64_t file1_offset, file2_offset, length, flags;
	uint64_t file2_freshness[6];
};

#define XFS_IOC_START_COMMIT _IOR('X', 130, struct xfs_commit_range)
#define XFS_IOC_COMMIT_RANGE _IOW('X', 131, struct xfs_commit_range)
#define XFS_EXCHANGE_RANGE_TO_EOF 1u
#define XFS_EXCHANGE_RANGE_DRY_RUN 4u

static inline int commit_start(int fd, struct xfs_commit_range *range)
{
	return ioctl(fd, XFS_IOC_START_COMMIT, range) < 0 ? -errno : 0;
}

/* All of @fd and of @copy_fd: each has then what the other had. */
static inline int commit_range(int fd, int copy_fd, struct xfs_commit_range *range, uint64_t flags)
{
	range->file1_fd = copy_fd;
	range->flags = XFS_EXCHANGE_RANGE_TO_EOF | flags;
	return ioctl(fd, XFS_IOC_COMMIT_RANGE, range) < 0 ? -errno : 0;
}

#endif
