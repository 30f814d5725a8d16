// SPDX-License-Identifier: GPL-2.0
/*
 * defrag - move the file to other blocks, as the filesystem's own defragmenter does.
 *
 * XFS: a nameless file gets a copy, XFS_IOC_SWAPEXT exchanges the extents if the times of the file
 * are what they were before (xfs_fsr(8)). ext4: a nameless file gets blocks, EXT4_IOC_MOVE_EXT
 * exchanges page by page what both have (e4defrag(8)). btrfs: BTRFS_IOC_DEFRAG_RANGE dirties what
 * is in several extents, and writes it (btrfs-filesystem(8)).
 * Kernel path: XFS: both files locked and flushed, their pages taken out of the cache, the extents
 * exchanged; the old blocks go with the nameless file. ext4: each folio locked, read, its buffers
 * dropped and mapped anew, dirtied.
 * Can show: a write through a pin that lands after the copy: on the page cache in a page that is
 * the file's no more, on DAX in a block that is by then anybody's.
 * Source: xfs_swap_extents(), xfsprogs fsr/xfs_fsr.c (packfile()), ext4_move_extents(), e2fsprogs
 * misc/e4defrag.c, btrfs_defrag_file(). No kernel header of Debian 12 has the first two: numbers
 * and structures are those of fs/xfs/libxfs/xfs_fs.h and fs/ext4/ext4.h.
 */
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

#include "state.h"

#define COPY_BYTES (64u << 10)
#define TICK_US 1000 /* to look again: the clock of the times ticks every 1 to 10 ms */

struct xfs_bstime {
	int64_t sec;
	int32_t nsec;
};

/* Of struct xfs_bstat only the times are looked at. */
struct xfs_bstat {
	uint64_t ino;
	uint16_t mode, nlink;
	uint32_t uid, gid, rdev;
	int32_t blksize;
	int64_t size;
	struct xfs_bstime atime, mtime, ctime;
	int64_t blocks;
	uint32_t more[10];
};

struct xfs_swapext {
	int64_t version, fdtarget, fdtmp, offset, length;
	char pad[16];
	struct xfs_bstat stat;
};

struct move_extent {
	uint32_t reserved, donor_fd;
	uint64_t orig_start, donor_start, len, moved_len; /* blocks */
};

#define XFS_IOC_SWAPEXT _IOWR('X', 109, struct xfs_swapext)
#define EXT4_IOC_MOVE_EXT _IOWR('f', 15, struct move_extent)

/* One stretch of data, past the page cache: @fd is O_DIRECT. */
static int copy_data(int fd, int to, uint8_t *buffer, off_t at, off_t end)
{
	while (at < end) {
		size_t want = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
		/* In whole blocks, also where the file ends within one. */
		size_t whole = (want + STATE_PAGE_BYTES - 1) / STATE_PAGE_BYTES * STATE_PAGE_BYTES;
		ssize_t n = pread(fd, buffer, whole, at);

		if (n > (ssize_t)want)
			n = (ssize_t)want;
		if (n <= 0 || pwrite(to, buffer, (size_t)n, at) != n)
			return n < 0 || errno ? -errno : -EIO;
		at += n;
	}
	return 0;
}

/* What is a hole stays one. */
static int copy_file(int fd, int to, off_t size)
{
	uint8_t *buffer = aligned_alloc(STATE_PAGE_BYTES, COPY_BYTES);
	off_t at, end = 0;
	int rc = buffer ? 0 : -ENOMEM;

	errno = 0;
	if (!rc && ftruncate(to, size) < 0)
		rc = -errno;
	while (!rc && end < size) {
		at = lseek(fd, end, SEEK_DATA);
		if (at < 0) {
			rc = errno == ENXIO ? 0 : -errno;
			break;
		}
		end = lseek(fd, at, SEEK_HOLE);
		rc = end < 0 ? -errno : copy_data(fd, to, buffer, at, end);
	}
	free(buffer);
	return rc;
}

static bool same_tick(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The times of the file, when no write from here on can leave it the same. */
static int settled(int fd, struct stat *st)
{
	struct timespec now;

	do {
		usleep(TICK_US);
		if (fstat(fd, st) < 0 || clock_gettime(CLOCK_REALTIME_COARSE, &now) < 0)
			return -errno;
	} while (same_tick(&st->st_mtim, &now) || same_tick(&st->st_ctim, &now));
	return 0;
}

/* @st is from before an fsync: a store after that needs a page fault, and changes the times. */
static int swap_xfs(const struct pf_fault_call *c, int donor, const struct stat *st)
{
	struct xfs_swapext swap = {.fdtarget = c->file->fd, .fdtmp = donor};
	char path[32];
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->file->fd);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = copy_file(fd, donor, st->st_size);
	close(fd);
	if (rc)
		return rc;
	swap.length = st->st_size;
	swap.stat.mtime.sec = st->st_mtim.tv_sec;
	swap.stat.mtime.nsec = (int32_t)st->st_mtim.tv_nsec;
	swap.stat.ctime.sec = st->st_ctim.tv_sec;
	swap.stat.ctime.nsec = (int32_t)st->st_ctim.tv_nsec;
	if (fsync(donor) < 0 || ioctl(c->file->fd, XFS_IOC_SWAPEXT, &swap) < 0)
		return -errno;
	return 0;
}

static int move_ext4(const struct pf_fault_call *c, int donor, uint64_t block_bytes)
{
	uint64_t blocks = (state_size_bytes(c->file->fd) + block_bytes - 1) / block_bytes;
	struct move_extent move = {.donor_fd = (uint32_t)donor, .len = blocks};

	if (fallocate(donor, 0, 0, (off_t)(blocks * block_bytes)) < 0 ||
	    ioctl(c->file->fd, EXT4_IOC_MOVE_EXT, &move) < 0)
		return -errno;
	return 0;
}

static int defrag_run(struct pf_fault_call *c)
{
	struct btrfs_ioctl_defrag_range_args range = {
		.len = UINT64_MAX,
		.flags = BTRFS_DEFRAG_RANGE_START_IO,
	};
	struct statfs sfs;
	struct stat st;
	int donor, rc;

	if (fstatfs(c->file->fd, &sfs) < 0)
		return -errno;
	if (sfs.f_type != XFS_SUPER_MAGIC && sfs.f_type != EXT4_SUPER_MAGIC &&
	    sfs.f_type != BTRFS_SUPER_MAGIC)
		return -EOPNOTSUPP;
	rc = sfs.f_type == XFS_SUPER_MAGIC ? settled(c->file->fd, &st) : 0;
	if (rc)
		return rc;
	/* All three begin with it: what is dirty has no block yet, and ext4 does not move it. */
	if (fsync(c->file->fd) < 0)
		return -errno;
	state_note_place(c);
	/* The write it starts is not waited for, and the blocks are where they were until then. */
	if (sfs.f_type == BTRFS_SUPER_MAGIC)
		return ioctl(c->file->fd, BTRFS_IOC_DEFRAG_RANGE, &range) < 0 ||
		       fsync(c->file->fd) < 0 ? -errno : 0;
	donor = state_nameless(c);
	if (donor < 0)
		return donor;
	rc = sfs.f_type == XFS_SUPER_MAGIC ? swap_xfs(c, donor, &st) :
					     move_ext4(c, donor, (uint64_t)sfs.f_bsize);
	close(donor);
	return rc;
}

static const struct pf_fault_ops defrag_ops = {
	.name = "defrag",
	.summary = "move the file to other blocks (the ioctl of the defragmenter)",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_NO_RACE,
	.run = defrag_run,
	.effect = state_moved_effect,
};
PF_FAULT(defrag_ops);
