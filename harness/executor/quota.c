// SPDX-License-Identifier: GPL-2.0
/*
 * quota.c - what a filesystem charges root for, and what root's files really have.
 *
 * Every file of a run is root's, the neighbours' as well, so one walk over the filesystem is the
 * whole account: the sum of st_blocks over each inode once. A block that a file was given behind
 * the accounting (a write through a pin into a hole, as an example) makes the two differ, for good.
 * The filesystem is synced first: what is promised and not yet allocated is then allocated.
 * Kernel path: quotactl_fd(2) (5.14), Q_GETQUOTA, which XFS answers as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec.h"

#define OPEN_DIRS 16
#define LINKED_MAX 1024 /* inodes with several names that are remembered */

static struct {
	uint64_t space_bytes;
	ino_t linked[LINKED_MAX];
	size_t nr_linked;
} sum;

/* Has this inode been counted under another name? */
static bool seen_before(const struct stat *st)
{
	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return false;
	for (size_t i = 0; i < sum.nr_linked; i++)
		if (sum.linked[i] == st->st_ino)
			return true;
	if (sum.nr_linked < LINKED_MAX)
		sum.linked[sum.nr_linked++] = st->st_ino;
	return false;
}

static int count(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)path;
	(void)where;
	if (type != FTW_NS && !st->st_uid && !seen_before(st))
		sum.space_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

/* The blocks of all of root's files on the filesystem mounted at @mnt. 0 or -errno. */
static int files_bytes(const char *mnt, uint64_t *space_bytes)
{
	memset(&sum, 0, sizeof(sum));
	if (nftw(mnt, count, OPEN_DIRS, FTW_MOUNT | FTW_PHYS))
		return errno ? -errno : -EIO;
	*space_bytes = sum.space_bytes;
	return 0;
}

static int quota_of_root(int fd, uint64_t *space_bytes)
{
	struct dqblk q = { 0 };

	if (syscall(SYS_quotactl_fd, fd, QCMD(Q_GETQUOTA, USRQUOTA), 0, &q) < 0)
		return -errno;
	*space_bytes = q.dqb_curspace;
	return 0;
}

void do_quota(struct agent *a, char **words, int nr)
{
	uint64_t charged = 0, has = 0;
	int fd, rc;

	if (nr != 1) {
		agent_line(a, "err 22 quota%%20PATH");
		return;
	}
	fd = open(words[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 || syncfs(fd) ? -errno : files_bytes(words[0], &has);
	if (!rc) {
		agent_line(a, "env files_bytes %llu", (unsigned long long)has);
		rc = quota_of_root(fd, &charged);
	}
	if (fd >= 0)
		close(fd);
	if (rc)
		agent_line(a, "err %d %s", -rc, pf_errno_name(-rc));
	else
		agent_line(a, "env quota_bytes %llu\nok", (unsigned long long)charged);
}
