/* SPDX-License-Identifier: GPL-2.0 */
/*
 * state.h - what faults look at to show their effect, without disturbing it.
 *
 * Nothing here brings a page in, writes one back or changes a page table of the file under test:
 * mincore(2) and cachestat(2) look into the page cache from outside, RWF_NOWAIT reads only what is
 * there already. All functions are safe from any thread. Static inline, because several faults
 * need them and a fault is one file.
 */
#ifndef PF_FAULT_STATE_H
#define PF_FAULT_STATE_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif
#ifndef __NR_cachestat
#define __NR_cachestat 451 /* Linux 6.5, the same number on every architecture */
#endif

#define STATE_PAGE_BYTES 4096u

static inline bool state_is_tmpfs(int fd)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) == 0 && sfs.f_type == TMPFS_MAGIC;
}

static inline bool state_is_dax(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) == 0 &&
	       (stx.stx_attributes & STATX_ATTR_DAX);
}

/* Why pages of this file cannot leave memory, or NULL if they can. */
static inline const char *state_uncached_why(int fd)
{
	if (state_is_tmpfs(fd))
		return "tmpfs";
	if (state_is_dax(fd))
		return "DAX";
	return NULL;
}

/* A file without a name in the case's directory. Its descriptor, or -errno. */
static inline int state_nameless(const struct pf_fault_call *c)
{
	int fd = openat(c->file->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

/* Is @fd on the filesystem that / is on? Faults that stop a whole filesystem refuse that one. */
static inline bool state_is_root_fs(int fd)
{
	struct stat st, root;

	return fstat(fd, &st) < 0 || stat("/", &root) < 0 || st.st_dev == root.st_dev;
}

/* The name that a file was made with, in its directory. */
static inline const char *state_leaf(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Does that name still lead to the file? */
static inline bool state_has_name(const struct pf_file *f)
{
	struct stat st, named;

	return fstat(f->fd, &st) == 0 &&
	       fstatat(f->dirfd, state_leaf(f->path), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == named.st_dev && st.st_ino == named.st_ino;
}

static inline uint64_t state_size_bytes(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? UINT64_MAX : (uint64_t)st.st_size;
}

/* Pages of the file that are in the page cache, or -errno. Meaningless on DAX. */
static inline long state_resident_pages(int fd)
{
	uint64_t size_bytes = state_size_bytes(fd);
	unsigned char vec[1024];
	size_t chunk;
	void *map;
	long nr = 0;

	if (size_bytes == UINT64_MAX || size_bytes == 0)
		return 0;
	/* A mapping of our own that nobody touches: mincore then asks the page cache. */
	map = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	for (uint64_t off = 0; off < size_bytes; off += chunk) {
		chunk = sizeof(vec) * STATE_PAGE_BYTES;
		if (chunk > size_bytes - off)
			chunk = size_bytes - off;
		if (mincore((char *)map + off, chunk, vec) < 0) {
			nr = -errno;
			break;
		}
		for (size_t i = 0; i < (chunk + STATE_PAGE_BYTES - 1) / STATE_PAGE_BYTES; i++)
			nr += vec[i] & 1;
	}
	munmap(map, size_bytes);
	return nr;
}

/* Dirty pages of the mapping at @map, from smaps: the pages it maps that are dirty themselves. */
static inline long state_smaps_dirty_pages(const void *map)
{
	unsigned long start, end, kb;
	bool inside = false;
	char line[512];
	long nr = -ENOENT;
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)map >= start && (unsigned long)map < end;
		else if (inside && (sscanf(line, "Shared_Dirty: %lu kB", &kb) == 1 ||
				    sscanf(line, "Private_Dirty: %lu kB", &kb) == 1))
			nr = (nr < 0 ? 0 : nr) + (long)(kb / 4);
	}
	fclose(f);
	return nr;
}

/*
 * Dirty or under-writeback pages of the file. -EOPNOTSUPP where that is not to be known: DAX,
 * tmpfs (which never marks its pages as to be written), an unmapped file before Linux 6.5.
 */
static inline long state_dirty_pages(const struct pf_file *f)
{
	struct {
		uint64_t off_bytes, len_bytes;
	} range = {0, 0}; /* the whole file */
	struct {
		uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
	} cs;

	if (state_uncached_why(f->fd))
		return -EOPNOTSUPP;
	if (syscall(__NR_cachestat, f->fd, &range, &cs, 0) == 0)
		return (long)(cs.nr_dirty + cs.nr_writeback);
	return f->map ? state_smaps_dirty_pages(f->map) : -EOPNOTSUPP;
}

/* 1 if [off, off+len) reads as zero from memory, 0 if not, -EAGAIN if it is not in memory. */
static inline int state_reads_zero(int fd, uint64_t off_bytes, uint64_t len_bytes)
{
	static const uint8_t zero[STATE_PAGE_BYTES];
	/* tmpfs knows no RWF_NOWAIT, and needs none: whatever it has is in memory. */
	int flags = state_is_tmpfs(fd) ? 0 : RWF_NOWAIT;
	uint8_t buf[STATE_PAGE_BYTES] = {0};
	struct iovec iov;
	ssize_t n;

	while (len_bytes) {
		iov.iov_base = buf;
		iov.iov_len = len_bytes < sizeof(buf) ? len_bytes : sizeof(buf);
		n = preadv2(fd, &iov, 1, (off_t)off_bytes, flags);
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		if (memcmp(buf, zero, (size_t)n))
			return 0;
		off_bytes += (uint64_t)n;
		len_bytes -= (uint64_t)n;
	}
	return 1;
}

/* Bytes of the whole blocks inside the call's range, and where they begin. */
static inline uint64_t state_whole_blocks(const struct pf_fault_call *c, uint64_t *off_bytes)
{
	uint64_t block_bytes, end;
	struct statvfs vfs;

	if (fstatvfs(c->file->fd, &vfs) < 0 || !vfs.f_bsize)
		return 0;
	block_bytes = vfs.f_bsize;
	*off_bytes = (c->off_bytes + block_bytes - 1) / block_bytes * block_bytes;
	end = (c->off_bytes + c->len_bytes) / block_bytes * block_bytes;
	return end > *off_bytes ? end - *off_bytes : 0;
}

/* Bytes of [off, off+len) that hold data (allocated and not unwritten), or -errno. */
static inline long state_data_bytes(int fd, uint64_t off_bytes, uint64_t len_bytes)
{
	struct pf_extents x;

	if (pf_extents(fd, off_bytes, len_bytes, &x) == 0)
		return (long)(x.mapped_bytes - x.unwritten_bytes);
	return pf_data_bytes(fd, off_bytes, len_bytes);
}

__attribute__((format(printf, 3, 4))) static inline void
state_say(char *evidence, size_t evidence_bytes, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(evidence, evidence_bytes, fmt, ap);
	va_end(ap);
}

/* Page table entries of the mapping that hold a page, by /proc/self/pagemap. */
static inline uint64_t state_mapped_pages(const struct pf_file *f)
{
	uint64_t entries[512], nr = 0, page = (uint64_t)(uintptr_t)f->map / STATE_PAGE_BYTES;
	uint64_t end = page + f->map_bytes / STATE_PAGE_BYTES;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	while (f->map && fd >= 0 && n > 0 && page < end) {
		size_t want = end - page < 512 ? end - page : 512;

		n = pread(fd, entries, want * sizeof(entries[0]),
			  (off_t)(page * sizeof(entries[0])));
		for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(entries[0]); i++)
			nr += entries[i] >> 63;
		page += want;
	}
	if (fd >= 0)
		close(fd);
	return nr;
}

/*
 * prepare and effect of the faults that make pages leave the page cache. A partly evicted file is
 * shown: what stayed is said, and is what the pin (or dirt) held.
 */
static inline int state_evict_prepare(struct pf_fault_call *c)
{
	long nr = state_resident_pages(c->file->fd);

	c->before[0] = nr < 0 ? 0 : (uint64_t)nr;
	c->before[1] = state_mapped_pages(c->file);
	return 0;
}

/*
 * Where pages cannot leave memory, what is left of an eviction is that the page table is emptied:
 * a faulting device has to fault again, which is worth the case.
 */
static inline enum pf_effect state_unmap_effect(struct pf_fault_call *c, const char *why,
						char *evidence, size_t evidence_bytes)
{
	uint64_t after = state_mapped_pages(c->file);

	state_say(evidence, evidence_bytes,
		  "%" PRIu64 " pages unmapped, none can leave memory (%s)",
		  c->before[1] > after ? c->before[1] - after : 0, why);
	return after < c->before[1] ? PF_EFFECT_SHOWN : PF_EFFECT_UNKNOWN;
}

static inline enum pf_effect state_evict_effect(struct pf_fault_call *c, char *evidence,
						size_t evidence_bytes)
{
	long before = (long)c->before[0], after = state_resident_pages(c->file->fd);
	long dirty = state_dirty_pages(c->file);
	const char *why = state_uncached_why(c->file->fd);

	if (after < 0) {
		state_say(evidence, evidence_bytes, "mincore: %s", strerror((int)-after));
		return PF_EFFECT_UNKNOWN;
	}
	if (why && after >= before)
		return state_unmap_effect(c, why, evidence, evidence_bytes);
	if (!before) {
		state_say(evidence, evidence_bytes, "no page was resident before");
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "%ld of %ld pages left memory, %ld dirty pages remain",
		  before - after, before, dirty < 0 ? 0 : dirty);
	return after < before ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

/* prepare and effect of the faults that write back. before[0] is UINT64_MAX if not countable. */
static inline int state_sync_prepare(struct pf_fault_call *c)
{
	long nr = state_dirty_pages(c->file);

	/* tmpfs answers every sync with 0 and has nowhere to write to: there is no such fault. */
	if (state_is_tmpfs(c->file->fd))
		return -EOPNOTSUPP;
	c->before[0] = nr < 0 ? UINT64_MAX : (uint64_t)nr;
	return 0;
}

/*
 * A sync that returned 0 has made its promise, whether anything was dirty or is dirty still: that
 * the data of a pin is not seen as dirt, or is left behind, is the defect, not a reason to doubt
 * that fsync ran. The numbers are the evidence.
 */
static inline enum pf_effect state_sync_effect(struct pf_fault_call *c, char *evidence,
					       size_t evidence_bytes)
{
	long after = state_dirty_pages(c->file);

	if (after < 0 || c->before[0] == UINT64_MAX) {
		state_say(evidence, evidence_bytes, "returned 0; dirty pages cannot be counted");
		return PF_EFFECT_SHOWN;
	}
	state_say(evidence, evidence_bytes, "dirty pages: %" PRIu64 " before, %ld after",
		  c->before[0], after);
	return PF_EFFECT_SHOWN;
}

/* Where a file is that is to move, for state_moved_effect(). */
static inline void state_note_place(struct pf_fault_call *c)
{
	struct pf_extents x;

	if (pf_extents(c->file->fd, 0, state_size_bytes(c->file->fd), &x) == 0)
		c->before[0] = x.first_physical;
}

static inline enum pf_effect state_moved_effect(struct pf_fault_call *c, char *evidence,
						size_t evidence_bytes)
{
	struct pf_extents x;
	int ret = pf_extents(c->file->fd, 0, state_size_bytes(c->file->fd), &x);

	if (ret < 0) {
		state_say(evidence, evidence_bytes, "FIEMAP: %s", strerror(-ret));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "the first block was at %" PRIu64 ", is at %" PRIu64,
		  c->before[0], x.first_physical);
	return x.first_physical != c->before[0] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

#endif
