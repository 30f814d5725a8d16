// SPDX-License-Identifier: GPL-2.0
/*
 * extent.c - where a file has blocks, asked in a way that changes nothing.
 *
 * FIEMAP is called without FIEMAP_FLAG_SYNC: with it the question itself would write back dirty
 * pages and so clean the very state that a case is about. Delayed allocations are therefore
 * reported as such, and counted as mapped: space is promised for them.
 */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fault.h"

#define EXTENTS_PER_CALL 64

/* Add what @e covers of [start, end) to @out. */
static void extent_account(const struct fiemap_extent *e, uint64_t start, uint64_t end,
			   struct pf_extents *out)
{
	uint64_t from = e->fe_logical > start ? e->fe_logical : start;
	uint64_t to = e->fe_logical + e->fe_length < end ? e->fe_logical + e->fe_length : end;

	if (from >= to)
		return;
	out->mapped_bytes += to - from;
	if (e->fe_flags & FIEMAP_EXTENT_UNWRITTEN)
		out->unwritten_bytes += to - from;
	if (e->fe_flags & FIEMAP_EXTENT_SHARED)
		out->shared_bytes += to - from;
	if (e->fe_flags & FIEMAP_EXTENT_DELALLOC)
		out->delalloc_bytes += to - from;
	else if (!out->first_physical && !(e->fe_flags & FIEMAP_EXTENT_UNKNOWN))
		out->first_physical = e->fe_physical + (from - e->fe_logical);
}

int pf_extents(int fd, uint64_t off_bytes, uint64_t len_bytes, struct pf_extents *out)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + EXTENTS_PER_CALL * sizeof(struct fiemap_extent)];
	} u;
	const struct fiemap_extent *e;
	uint64_t pos = off_bytes, end;

	memset(out, 0, sizeof(*out));
	if (__builtin_add_overflow(off_bytes, len_bytes, &end))
		end = UINT64_MAX;
	while (pos < end) {
		memset(&u.map, 0, sizeof(u.map));
		u.map.fm_start = pos;
		u.map.fm_length = end - pos;
		u.map.fm_extent_count = EXTENTS_PER_CALL;
		if (ioctl(fd, FS_IOC_FIEMAP, &u.map) < 0)
			return -errno;
		if (!u.map.fm_mapped_extents)
			return 0;
		for (uint32_t i = 0; i < u.map.fm_mapped_extents; i++)
			extent_account(&u.map.fm_extents[i], pos, end, out);
		e = &u.map.fm_extents[u.map.fm_mapped_extents - 1];
		if (e->fe_flags & FIEMAP_EXTENT_LAST)
			return 0;
		/* An extent that ends where the question began would ask it again for ever. */
		if (e->fe_logical + e->fe_length <= pos)
			return -EIO;
		pos = e->fe_logical + e->fe_length;
	}
	return 0;
}

/* Count the data bytes of [pos, end); moves the file offset. */
static long data_bytes(int fd, uint64_t pos, uint64_t end)
{
	uint64_t sum_bytes = 0;
	off_t data, hole;

	while (pos < end) {
		data = lseek(fd, (off_t)pos, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? (long)sum_bytes : -errno;
		if ((uint64_t)data >= end)
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return errno == ENXIO ? (long)sum_bytes : -errno;
		if ((uint64_t)hole > end)
			hole = (off_t)end;
		sum_bytes += (uint64_t)(hole - data);
		pos = (uint64_t)hole;
	}
	return (long)sum_bytes;
}

long pf_data_bytes(int fd, uint64_t off_bytes, uint64_t len_bytes)
{
	off_t saved = lseek(fd, 0, SEEK_CUR);
	long ret;

	if (saved < 0)
		return -errno;
	ret = data_bytes(fd, off_bytes, off_bytes + len_bytes);
	/* The descriptor belongs to somebody else: leave its offset as it was. */
	if (lseek(fd, saved, SEEK_SET) < 0 && ret >= 0)
		ret = -errno;
	return ret;
}
